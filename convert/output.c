/*
 * output.c: the file being written, and its journal.
 *
 * The journal is text, one record a line: "moeq-journal 1 <plan>" first, then "<item> <crc> <check>"
 * in hexadecimal for each finished tensor, where check is the CRC-32 of the line before it. A torn
 * last line fails its check and is ignored: that tensor is done again.
 */
#include "output_int.h"

#include "buffer.h"
#include "error.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#define JOURNAL_MAGIC "moeq-journal 1"

/* ---- checks before anything is written ---- */

/* True if `inner` is `outer` or lies below it; both are canonical. */
static bool is_inside(const char *inner, const char *outer)
{
    const size_t n = strlen(outer);
    return strncmp(inner, outer, n) == 0 &&
           (inner[n] == '\0' || inner[n] == '/' || (n > 0 && outer[n - 1] == '/'));
}

static moeq_status refuse_source(const struct mq_plan *plan, const char *output, moeq_error *err)
{
    char parent_text[PATH_MAX], parent[PATH_MAX], source[PATH_MAX];
    snprintf(parent_text, sizeof parent_text, "%s", output);
    const char *folder = dirname(parent_text);
    if (!realpath(folder, parent))
        return mq_fail_errno(err, folder, "cannot write to this folder");
    if (mq_path_is_folder(plan->view->path) && realpath(plan->view->path, source) &&
        is_inside(parent, source))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output,
                            "the output would lie inside the source folder %s; choose another place",
                            plan->view->path);
    struct stat st;
    if (stat(output, &st) != 0)
        return MOEQ_OK;
    for (size_t i = 0; i < plan->view->files_count; i++) {
        const struct mq_file *f = &plan->view->files[i].file;
        if (f->device == st.st_dev && f->inode == st.st_ino)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output,
                                "the output is also the input %s; choose another name", f->path);
    }
    return MOEQ_OK;
}

moeq_status mq_output_check(const struct mq_plan *plan, const struct mq_convert_options *options,
                            moeq_error *err)
{
    const char *path = options->output;
    struct stat st;
    if (!path[0] || strlen(path) + 32 > PATH_MAX)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "no usable file name");
    if (path[strlen(path) - 1] == '/' || mq_path_is_folder(path))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is a folder; the output is one file, such as %s%smodel.moeq", path,
                            path[strlen(path) - 1] == '/' ? "" : "/");
    MQ_TRY(refuse_source(plan, path, err));
    if (stat(path, &st) != 0)
        return MOEQ_OK;
    if (!S_ISREG(st.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "exists and is no regular file");
    if (!options->replace)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "exists already; give --force to replace it");
    return MOEQ_OK;
}

/* ---- the journal ---- */

/* What must be equal for a part to be continued: the header says levels, places and sources' names, sizes
 * and headers; the sources' times say that their data is the same. */
static uint32_t plan_identity(const struct mq_plan *plan)
{
    uLong crc = crc32_z(0, (const Bytef *)plan->layout.header, plan->layout.header_bytes);
    for (size_t i = 0; i < plan->view->files_count; i++) {
        const struct mq_file *f = &plan->view->files[i].file;
        char text[128];
        const int n = snprintf(text, sizeof text, "%" PRIu64 " %" PRId64 "\n", f->size_bytes,
                               f->mtime_ns);
        crc = crc32_z(crc, (const Bytef *)text, (size_t)n);
    }
    return (uint32_t)crc;
}

/* Reads the records of a journal of this plan; false if it is another plan's, or none. */
static bool read_journal(const char *text, const struct mq_plan *plan, bool *done, uint32_t *crcs)
{
    char magic[64];
    const int n = snprintf(magic, sizeof magic, JOURNAL_MAGIC " %08" PRIx32 "\n", plan_identity(plan));
    if (strncmp(text, magic, (size_t)n) != 0)
        return false;
    for (const char *line = text + n, *end; (end = strchr(line, '\n')); line = end + 1) {
        uint32_t item, crc, check;
        int used = 0;
        if (sscanf(line, "%" SCNx32 " %" SCNx32 "%n %" SCNx32, &item, &crc, &used, &check) != 3 ||
            (uint32_t)crc32_z(0, (const Bytef *)line, (size_t)used) != check ||
            item >= plan->layout.count)
            break;
        done[item] = true;
        crcs[item] = crc;
    }
    return true;
}

/* ---- opening ---- */

static moeq_status reserve(const struct mq_plan *plan, struct mq_output *o, moeq_error *err)
{
    const uint64_t need = plan->layout.file_bytes;
    struct statvfs fs;
    if (ftruncate(o->fd, 0) != 0)
        return mq_fail_errno(err, o->part, "cannot empty");
    if (fstatvfs(o->fd, &fs) == 0) {
        const uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
        if (available < need)
            return mq_fail_file(err, MOEQ_NO_SPACE, o->path,
                                "needs %.2f GiB (%" PRIu64 " bytes), the disk has %.2f GiB (%" PRIu64
                                ") free",
                                (double)need / 0x1p30, need, (double)available / 0x1p30, available);
    }
    if (fallocate(o->fd, 0, 0, (off_t)need) == 0)
        return MOEQ_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return mq_fail_errno(err, o->part, "cannot reserve the output's size");
    /* A file system that cannot reserve: then at least the size is right and the gaps are zero. */
    if (ftruncate(o->fd, (off_t)need) != 0)
        return mq_fail_errno(err, o->part, "cannot set the output's size");
    return MOEQ_OK;
}

static moeq_status start_journal(const struct mq_plan *plan, struct mq_output *o, moeq_error *err)
{
    char line[64];
    const int n = snprintf(line, sizeof line, JOURNAL_MAGIC " %08" PRIx32 "\n", plan_identity(plan));
    if (ftruncate(o->journal_fd, 0) != 0)
        return mq_fail_errno(err, o->journal, "cannot empty");
    MQ_TRY(mq_write_at(o->journal_fd, o->journal, 0, line, (size_t)n, err));
    if (lseek(o->journal_fd, 0, SEEK_END) < 0)
        return mq_fail_errno(err, o->journal, "cannot seek");
    return MOEQ_OK;
}

/* Cuts a torn record off, so that new ones are appended behind whole lines. */
static moeq_status trim_journal(struct mq_output *o, const char *text, moeq_error *err)
{
    const char *last = strrchr(text, '\n');
    if (ftruncate(o->journal_fd, last ? last + 1 - text : 0) != 0 ||
        lseek(o->journal_fd, 0, SEEK_END) < 0)
        return mq_fail_errno(err, o->journal, "cannot cut");
    return MOEQ_OK;
}

moeq_status mq_output_open(const struct mq_plan *plan, const struct mq_convert_options *options,
                           struct mq_output *o, bool *done, uint32_t *crcs, moeq_error *err)
{
    o->fd = o->journal_fd = -1;
    snprintf(o->path, sizeof o->path, "%s", options->output);
    snprintf(o->part, sizeof o->part, "%s.part", options->output);
    snprintf(o->journal, sizeof o->journal, "%s.part.journal", options->output);
    o->fd = open(o->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (o->fd < 0)
        return mq_fail_errno(err, o->part, "cannot create");
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0)
        return mq_fail_file(err, MOEQ_IO, o->part, "another conversion is writing this output");
    o->journal_fd = open(o->journal, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
    if (o->journal_fd < 0)
        return mq_fail_errno(err, o->journal, "cannot create");
    struct mq_buffer text;
    MQ_TRY(mq_file_read_all(o->journal, 64u << 20, &text, err));
    struct stat st;
    moeq_status status;
    if (fstat(o->fd, &st) == 0 && (uint64_t)st.st_size == plan->layout.file_bytes &&
        read_journal(text.data, plan, done, crcs)) {
        status = trim_journal(o, text.data, err);
    } else {
        /* The journal first: a part that is being emptied must not look finished. */
        status = ftruncate(o->journal_fd, 0) == 0
                     ? reserve(plan, o, err) : mq_fail_errno(err, o->journal, "cannot empty");
        if (status == MOEQ_OK)
            status = start_journal(plan, o, err);
        if (status == MOEQ_NO_SPACE) {
            unlink(o->part);
            unlink(o->journal);
        }
    }
    mq_buffer_free(&text);
    return status;
}

moeq_status mq_output_note(struct mq_output *o, const uint32_t *items, const uint32_t *crcs,
                           size_t count, moeq_error *err)
{
    if (fdatasync(o->fd) != 0)
        return mq_fail_errno(err, o->part, "cannot sync");
    struct mq_buffer text = {0};
    for (size_t i = 0; i < count; i++) {
        char line[64];
        const int n = snprintf(line, sizeof line, "%" PRIx32 " %08" PRIx32, items[i], crcs[i]);
        mq_buffer_printf(&text, "%s %08" PRIx32 "\n", line,
                         (uint32_t)crc32_z(0, (const Bytef *)line, (size_t)n));
    }
    moeq_status status = MOEQ_OK;
    if (!mq_buffer_ok(&text))
        status = mq_fail_memory(err, "writing the journal");
    else if (text.size && write(o->journal_fd, text.data, text.size) != (ssize_t)text.size)
        status = mq_fail_errno(err, o->journal, "cannot write");
    mq_buffer_free(&text);
    return status;
}

moeq_status mq_output_finish(struct mq_output *o, moeq_error *err)
{
    if (fsync(o->fd) != 0)
        return mq_fail_errno(err, o->part, "cannot sync");
    if (rename(o->part, o->path) != 0)
        return mq_fail_errno(err, o->path, "cannot rename the finished file to this name");
    unlink(o->journal);
    MQ_TRY(mq_sync_folder_of(o->path, err));
    const int fd = o->fd;
    o->fd = -1;
    if (close(fd) != 0)
        return mq_fail_errno(err, o->path, "cannot close");
    return MOEQ_OK;
}

void mq_output_close(struct mq_output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    if (o->journal_fd >= 0)
        close(o->journal_fd);
    o->fd = o->journal_fd = -1;
}
