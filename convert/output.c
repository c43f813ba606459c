/* output.c: the files being written, and the file that their journal is in (journal.h). */
#include "output_int.h"

#include "buffer.h"
#include "error.h"
#include "file.h"
#include "kept_states.h"
#include "moeq_index.h"
#include "new_file.h"
#include "other_systems.h"
#include "text_match.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define PART_SUFFIX ".part"
#define JOURNAL_SUFFIX ".part.journal"
#define JOURNAL_CAP_BYTES (1u << 30) /* 38 bytes a chunk: of 14 T weights */

/* ---- names ---- */

void mq_convert_file_name(const char *output, const struct mq_plan_file *file, char *path,
                          size_t room)
{
    char folder[PATH_MAX];
    if (file->name) {
        snprintf(path, room, "%s/%s", mq_folder_name(output, folder) ? folder : output, file->name);
        return;
    }
    const char *extension = mq_extension(output);
    snprintf(path, room, "%.*s%s%s%s", (int)(extension - output), output, file->name_part,
             extension, file->name_end);
}

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
    const bool folder_source = mq_path_is_folder(plan->view->path);
    if (folder_source && !realpath(plan->view->path, source))
        return mq_fail_errno(err, plan->view->path, "cannot tell where it is");
    if (folder_source && is_inside(parent, source))
        return mq_fail_file(
            err, MOEQ_INVALID_ARGUMENT, output,
            "the output would lie inside the source folder %s; choose another place",
            plan->view->path);
    /* The part and the journal are written to before OUT is, so they must be no input either. */
    static const char *const suffixes[] = {"", PART_SUFFIX, JOURNAL_SUFFIX, MQ_KEPT_SUFFIX};
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
        char path[PATH_MAX];
        struct stat st;
        if (!(k ? mq_name_beside(output, suffixes[k], path)
                : snprintf(path, sizeof path, "%s", output) < PATH_MAX) ||
            stat(path, &st) != 0)
            continue;
        const char *input = mq_view_has_file(plan->view, st.st_dev, st.st_ino);
        struct stat index;
        const char *index_path = plan->view->index_path;
        if (!input && index_path && stat(index_path, &index) == 0 && index.st_dev == st.st_dev &&
            index.st_ino == st.st_ino)
            input = index_path;
        if (input)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                "the output is also the input %s; choose another name", input);
    }
    return MOEQ_OK;
}

/* What stands at the name of a finished file must be a file that may be replaced. */
static moeq_status check_replaceable(const char *path, bool replace, moeq_error *err)
{
    struct stat st;
    const bool is_there = lstat(path, &st) == 0; /* a link that leads nowhere, too */
    if (!is_there && errno != ENOENT)
        return mq_fail_errno(err, path, "cannot tell whether it exists");
    if (is_there && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "exists and is no regular file");
    if (is_there && !replace)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "exists already; give --force to replace it");
    return MOEQ_OK;
}

static moeq_status check_folder(const struct mq_plan *plan,
                                const struct mq_convert_options *options, moeq_error *err)
{
    char folder[PATH_MAX];
    if (!mq_folder_name(options->output, folder) || strlen(mq_base_name(folder)) > NAME_MAX ||
        strlen(folder) + 2 * NAME_MAX > PATH_MAX)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, options->output, "path is too long");
    MQ_TRY(refuse_source(plan, folder, err));
    return mq_folder_check(plan, folder, options->replace, err);
}

moeq_status mq_output_check(const struct mq_plan *plan, const struct mq_convert_options *options,
                            moeq_error *err)
{
    const char *path = options->output;
    if (!path[0] || strlen(path) + 64 > PATH_MAX)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "no usable file name");
    if (plan->is_folder)
        return check_folder(plan, options, err);
    if (path[strlen(path) - 1] == '/' || mq_path_is_folder(path))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is a folder; the output is one file, such as %s%smodel.moeq", path,
                            path[strlen(path) - 1] == '/' ? "" : "/");
    for (size_t i = 0; i < plan->files_count; i++) {
        char name[PATH_MAX], part[PATH_MAX];
        mq_convert_file_name(path, &plan->files[i], name, sizeof name);
        if (strlen(mq_base_name(name)) > NAME_MAX) /* what is unfinished may have a shorter one */
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, name, "path is too long");
        MQ_TRY(refuse_source(plan, name, err));
        if (!mq_name_beside(name, PART_SUFFIX, part))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, name, "path is too long");
        /* Only the first file is renamed last: the others may be an interrupted run's own, which
         * mq_output_open finds out. */
        if (i == 0 || mq_path_exists(part))
            MQ_TRY(check_replaceable(name, options->replace, err));
    }
    return MOEQ_OK;
}

/* ---- the journal ---- */

/* What must be equal for a part to be continued: the headers say levels and places; the sources'
 * names, sizes, headers and times say that the data is the same; effort and importance, that the
 * search is. */
static uint32_t identity_of(const struct mq_plan *plan, bool here)
{
    const char *effort = mq_effort_name(plan->effort);
    uLong crc = crc32_z(0, (const Bytef *)effort, strlen(effort));
    if (plan->calibration)
        crc = crc32_z(crc, (const Bytef *)plan->calibration, strlen(plan->calibration));
    if (plan->importance) {
        const uint32_t fingerprint = mq_importance_fingerprint(plan->importance);
        crc = crc32_z(crc, (const Bytef *)&fingerprint, sizeof fingerprint);
    }
    if (plan->allow_nonfinite)
        crc = crc32_z(crc, (const Bytef *)"nonfinite", 9);
    for (size_t i = plan->has_index; i < plan->files_count; i++)
        crc = crc32_z(crc, (const Bytef *)plan->files[i].header, plan->files[i].header_bytes);
    for (size_t i = 0; i < plan->view->files_count; i++) {
        const struct mq_source_file *f = &plan->view->files[i];
        char text[128];
        const int n = snprintf(text, sizeof text, " %" PRIu64 " %08" PRIx32 " %" PRId64 "\n",
                               f->file.size_bytes, f->header_crc32, f->file.mtime_ns);
        crc = crc32_z(crc, (const Bytef *)f->name, strlen(f->name));
        crc = crc32_z(crc, (const Bytef *)text, (size_t)n);
        /* Sums are of the source as this run reads it: it must be the one that earlier runs have read. */
        if (plan->source_sums && here)
            crc = crc32_z(crc, (const Bytef *)&f->file.ctime_ns, sizeof f->file.ctime_ns);
    }
    return (uint32_t)crc;
}

uint32_t mq_output_identity(const struct mq_plan *plan)
{
    return identity_of(plan, true);
}

moeq_status mq_output_check_peers(const struct mq_plan *plan, const struct mq_peers *peers,
                                  moeq_error *err)
{
    static const char *const words[] = {"another model, or other times of its files (cp -p and rsync -a keep "
                                        "them), or other levels"};
    const uint32_t own = identity_of(plan, false);
    return mq_peers_same(peers, &own, words, 1, err);
}

/* ---- opening ---- */

static moeq_status reserve(struct mq_output *o, moeq_error *err)
{
    uint64_t need = 0;
    for (size_t i = 0; i < o->files_count; i++)
        need += o->files[i].bytes;
    for (size_t i = 0; i < o->files_count; i++)
        /* What parts of another plan take is free space. */
        if (MQ_AGAIN(ftruncate(o->files[i].fd, 0)) != 0)
            return mq_fail_errno(err, o->files[i].part, "cannot empty");
    MQ_TRY(mq_check_room(o->files[0].fd, o->files[0].path, need, err));
    for (size_t i = 0; i < o->files_count; i++)
        MQ_TRY(mq_reserve(o->files[i].fd, o->files[i].part, o->files[i].bytes, err));
    return MOEQ_OK;
}

static moeq_status start_journal(const struct mq_plan *plan, struct mq_output *o, moeq_error *err)
{
    struct mq_buffer text = {0};
    mq_journal_begin(&text, mq_output_identity(plan));
    o->journal_bytes = 0;
    const moeq_status status = mq_output_note(o, &text, err);
    o->synced_bytes = o->journal_bytes;
    mq_buffer_free(&text);
    return status;
}

void mq_output_discard(const struct mq_output *o)
{
    /* The journal first: a part without one is never continued. */
    unlink(o->journal);
    mq_ranks_remove(o);
    mq_kept_states_remove(o->states);
    for (size_t i = 0; i < o->files_count; i++)
        unlink(o->files[i].part);
    if (o->is_folder)
        mq_folder_discard(o);
}

/* Whether a name is STEM-ddddd-of-dddddEXT.part, as the parts of shards of any number are named. */
static bool is_shard_part(const char *name, const char *output)
{
    const char *end = mq_extension(output);
    const size_t stem = (size_t)(end - output), n = strlen(name);
    const size_t tail = strlen(end) + sizeof PART_SUFFIX - 1;
    static const char pattern[] = "-ddddd-of-ddddd";
    const size_t m = sizeof pattern - 1;
    if (n != stem + m + tail || strncmp(name, output, stem) != 0 ||
        strncmp(name + stem + m, end, strlen(end)) != 0 || !mq_ends_with(name, PART_SUFFIX))
        return false;
    for (size_t i = 0; i < m; i++)
        if (pattern[i] == 'd' ? !isdigit((unsigned char)name[stem + i])
                              : name[stem + i] != pattern[i])
            return false;
    return true;
}

/* The parts that an interrupted run to the same OUT has left, which had another number of shards:
 * nothing continues them. The lock on the index's part says that no one is writing to them. */
static void remove_other_shards(const struct mq_output *o, const char *output)
{
    char text[PATH_MAX], path[PATH_MAX];
    snprintf(text, sizeof text, "%s", output);
    const char *folder = dirname(text);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        bool ours = false;
        const int n = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path || !is_shard_part(e->d_name, mq_base_name(output)))
            continue;
        for (size_t i = 0; i < o->files_count; i++)
            ours = ours || strcmp(mq_base_name(o->files[i].part), e->d_name) == 0;
        if (!ours)
            unlink(path);
    }
    if (d)
        closedir(d);
}

/* Empties parts and journal, and reserves the output's size. `left`: of ranks, which goes too. */
static moeq_status start_afresh(const struct mq_plan *plan, const char *output, struct mq_output *o,
                                const struct mq_ranks_left *left, moeq_error *err)
{
    /* The journal first: a part that is being emptied must not look finished. */
    moeq_status status = MQ_AGAIN(ftruncate(o->journal_fd, 0)) == 0
                             ? MOEQ_OK
                             : mq_fail_errno(err, o->journal, "cannot empty");
    mq_ranks_left_remove(o, left);
    mq_kept_states_remove(o->states);
    if (status == MOEQ_OK && plan->has_index)
        remove_other_shards(o, output);
    if (status == MOEQ_OK && plan->is_folder)
        status = mq_folder_remove_others(plan, o, err);
    /* Then the journal: it is what tells a part of ours from a file that is called so. */
    if (status == MOEQ_OK)
        status = start_journal(plan, o, err);
    if (status == MOEQ_OK)
        status = reserve(o, err);
    if (status != MOEQ_OK) /* nothing in them is worth keeping */
        mq_output_discard(o);
    return status;
}

/* Opens and locks a part. The run that held the lock before may have renamed the file to its name
 * between our open and our lock: what we hold then is the finished output, not a part. */
static moeq_status lock_part(struct mq_output_file *f, mode_t mode, moeq_error *err)
{
    struct stat held, named;
    f->fd = MQ_AGAIN(
        open(f->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mq_mode_at(f->path, mode)));
    if (f->fd < 0 && errno == ELOOP)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, f->part,
                            "is a symbolic link, where the unfinished output would be: remove it");
    if (f->fd < 0)
        return mq_fail_errno(err, f->part, "cannot create");
    if (MQ_AGAIN(flock(f->fd, LOCK_EX | LOCK_NB)) != 0) {
        if (errno != EWOULDBLOCK)
            return mq_fail_errno(err, f->part, "cannot lock");
        return mq_fail_file(err, MOEQ_IO, f->part, "another command is writing this output");
    }
    if (fstat(f->fd, &held) != 0)
        return mq_fail_errno(err, f->part, "cannot stat");
    const bool has_name = stat(f->part, &named) == 0;
    if (!has_name && errno != ENOENT)
        return mq_fail_errno(err, f->part, "cannot stat");
    if (!has_name || named.st_dev != held.st_dev || named.st_ino != held.st_ino)
        return mq_fail_file(err, MOEQ_IO, f->part, "another command has just finished this output");
    if (!S_ISREG(held.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, f->part, "exists and is no regular file");
    /* Those of what is replaced from the beginning, and not wider until the end. */
    if (held.st_size != 0 ||
        (held.st_mode & 07777) == (mq_mode_at(f->path, held.st_mode & mode) & 07777))
        return MOEQ_OK;
    if (fchmod(f->fd, mq_mode_at(f->path, held.st_mode & mode)) != 0)
        return mq_fail_errno(err, f->part, "cannot set its permissions");
    return MOEQ_OK;
}

/* Of the file at a path; of what is none, UINT64_MAX. */
static moeq_status size_of(const char *path, uint64_t *bytes, moeq_error *err)
{
    struct stat st;
    const bool is_there = stat(path, &st) == 0;
    *bytes = is_there && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
    return is_there || errno == ENOENT ? MOEQ_OK : mq_fail_errno(err, path, "cannot stat");
}

static bool has_size(const char *path, uint64_t bytes)
{
    uint64_t size;
    return size_of(path, &size, NULL) == MOEQ_OK && size == bytes;
}

/* Opens the other parts. `resumed`: the journal is of this plan; then a file that an interrupted
 * run has given its name already becomes a part again. */
static moeq_status open_other_parts(struct mq_output *o, mode_t mode, bool replace, bool resumed,
                                    moeq_error *err)
{
    for (size_t i = 1; i < o->files_count; i++) {
        struct mq_output_file *f = &o->files[i];
        uint64_t part = 0, finished = 0;
        if (resumed)
            MQ_TRY(size_of(f->part, &part, err));
        if (resumed && !o->is_folder)
            MQ_TRY(size_of(f->path, &finished, err));
        if (o->is_folder) {
            ; /* looked at as a whole */
        } else if (part == UINT64_MAX && finished == f->bytes) {
            if (rename(f->path, f->part) != 0)
                return mq_fail_errno(err, f->path, "cannot be made a part again");
        } else {
            MQ_TRY(check_replaceable(f->path, replace, err));
        }
        MQ_TRY(lock_part(f, mode, err));
    }
    return MOEQ_OK;
}

/* The text of the index: without checksums (NULL) of the same length as with them. */
static moeq_status print_index(const struct mq_plan *plan, const struct mq_output *o,
                               const uint32_t *crcs, struct mq_buffer *text, moeq_error *err)
{
    const size_t n = plan->files_count - 1;
    struct mq_index_shard *shards = calloc(n, sizeof *shards);
    const struct mq_layout **layouts = calloc(n, sizeof *layouts);
    for (size_t i = 0; i < n && shards && layouts; i++) {
        const struct mq_output_file *f = &o->files[i + 1];
        shards[i] = (struct mq_index_shard){
            .name = mq_base_name(f->path), .size_bytes = f->bytes, .crc32 = crcs ? crcs[i + 1] : 0};
        layouts[i] = plan->files[i + 1].layout;
    }
    if (shards && layouts)
        mq_moeq_index_print(text, shards, layouts, n);
    const bool ok = shards && layouts && mq_buffer_ok(text);
    free(shards);
    free(layouts);
    return ok ? MOEQ_OK : mq_fail_memory(err, "printing the index");
}

/* Parts, journal and lock of a folder. */
static bool name_folder(const struct mq_plan *plan, const char *output, struct mq_output *o)
{
    o->is_folder = true;
    bool fits = mq_folder_name(output, o->folder) &&
                mq_name_beside(o->folder, PART_SUFFIX, o->folder_part) &&
                mq_name_beside(o->folder, JOURNAL_SUFFIX, o->journal) &&
                mq_name_beside(o->folder, MQ_KEPT_SUFFIX, o->states);
    memcpy(o->own_journal, o->journal, sizeof o->own_journal);
    for (size_t i = 0; i < o->files_count && fits; i++) {
        struct mq_output_file *f = &o->files[i];
        const int n =
            snprintf(f->part, sizeof f->part, "%s/%s", o->folder_part, plan->files[i].name);
        fits = n > 0 && (size_t)n < sizeof f->part;
    }
    return fits;
}

static moeq_status name_files(const struct mq_plan *plan, const char *output, struct mq_output *o,
                              moeq_error *err)
{
    o->journal_fd = o->folder_fd = -1;
    o->files = calloc(plan->files_count, sizeof *o->files);
    if (!o->files)
        return mq_fail_memory(err, "opening the output");
    o->files_count = plan->files_count;
    for (size_t i = 0; i < o->files_count; i++) {
        struct mq_output_file *f = &o->files[i];
        f->fd = -1;
        f->bytes = plan->files[i].file_bytes;
        mq_convert_file_name(output, &plan->files[i], f->path, sizeof f->path - 32);
        if (!plan->is_folder && !mq_name_beside(f->path, PART_SUFFIX, f->part))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, f->path, "path is too long");
    }
    if (plan->is_folder)
        return name_folder(plan, output, o)
                   ? MOEQ_OK
                   : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output, "path is too long");
    /* As the lock, beside the first file: the same OUT in one file and in several are two jobs. */
    if (!mq_name_beside(o->files[0].path, JOURNAL_SUFFIX, o->journal) ||
        !mq_name_beside(o->files[0].path, MQ_KEPT_SUFFIX, o->states))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, o->files[0].path, "path is too long");
    memcpy(o->own_journal, o->journal, sizeof o->own_journal);
    if (!plan->has_index)
        return MOEQ_OK;
    struct mq_buffer index = {0};
    const moeq_status status = print_index(plan, o, NULL, &index, err);
    o->files[0].bytes = index.size;
    mq_buffer_free(&index);
    return status;
}

moeq_status mq_convert_index_bytes(const struct mq_plan *plan, const char *output, uint64_t *bytes,
                                   moeq_error *err)
{
    struct mq_output o = {0};
    *bytes = 0;
    if (!plan->has_index)
        return MOEQ_OK;
    const moeq_status status = name_files(plan, output, &o, err);
    if (status == MOEQ_OK)
        *bytes = o.files[0].bytes;
    mq_output_close(&o);
    return status;
}

/* What mq_output_open finds. */
struct found {
    struct mq_journal_line *lines; /* NULL: nothing to go on with */
    size_t count;
    struct mq_ranks_left left;
    bool touched; /* there is something of an earlier run, or of someone else */
};

static moeq_status read_journal(const struct mq_plan *plan, struct mq_output *o, struct found *f,
                                bool *ours, size_t *bytes, moeq_error *err)
{
    struct mq_buffer text;
    MQ_TRY(mq_file_read_all(o->journal, JOURNAL_CAP_BYTES, &text, err));
    f->touched = f->touched || text.size;
    *bytes = text.size;
    *ours = mq_journal_is(text.data, text.size);
    const moeq_status status = mq_journal_read(text.data, text.size, mq_output_identity(plan),
                                               &f->lines, &f->count, &o->journal_bytes, err);
    mq_buffer_free(&text);
    MQ_TRY(status);
    return mq_ranks_look(o, mq_output_identity(plan), f->lines, f->count, &f->left, err);
}

static moeq_status refuse_foreign(const char *path, moeq_error *err)
{
    return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                        "exists already and is no conversion that was interrupted; remove it, or "
                        "give --force to replace it");
}

/* Reads the journal and opens the other parts. */
static moeq_status open_locked(const struct mq_plan *plan, const struct mq_convert_options *options,
                               struct mq_output *o, struct found *found, moeq_error *err)
{
    bool ours = false, resumed;
    size_t journal_bytes;
    /* The run that held the lock before may have finished since mq_output_check. */
    MQ_TRY(o->is_folder ? mq_folder_check(plan, o->folder, options->replace, err)
                        : check_replaceable(o->files[0].path, options->replace, err));
    o->journal_fd = MQ_AGAIN(open(o->journal, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (o->journal_fd < 0 && errno == ELOOP)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, o->journal,
                            "is a symbolic link, where the journal would be: remove it");
    if (o->journal_fd < 0)
        return mq_fail_errno(err, o->journal, "cannot create");
    MQ_TRY(read_journal(plan, o, found, &ours, &journal_bytes, err));
    if (!ours && !options->replace && journal_bytes)
        return refuse_foreign(o->journal, err);
    resumed = found->lines;
    if (o->is_folder)
        MQ_TRY(mq_folder_refuse_foreign(plan, o, err));
    MQ_TRY(open_other_parts(o, mq_view_mode(plan->view), options->replace, resumed, err));
    for (size_t i = 0; i < o->files_count; i++) {
        uint64_t size;
        MQ_TRY(size_of(o->files[i].part, &size, err));
        resumed = resumed && size == o->files[i].bytes;
        if (!ours && !options->replace && size)
            return refuse_foreign(o->files[i].part, err);
    }
    if (!resumed) {
        free(found->lines);
        found->lines = NULL;
        found->count = 0;
    }
    return MOEQ_OK;
}

/* Nothing was opened for good: what is empty is ours, of this moment. */
static void undo_open(const struct mq_output *o, bool touched)
{
    for (size_t i = 0; i < o->files_count && !touched; i++)
        if (o->files[i].fd >= 0 && has_size(o->files[i].part, 0))
            unlink(o->files[i].part);
    if (!touched || has_size(o->journal, 0))
        unlink(o->journal);
    if (o->is_folder && !touched)
        rmdir(o->folder_part);
}

/* What ranks of an earlier run have written becomes a part of OUT.part.journal before their own journals go. */
static moeq_status join_left(struct mq_output *o, struct found *f, moeq_error *err)
{
    const struct mq_ranks_left *left = &f->left;
    struct mq_buffer text = {0};
    if (left->lines_count) {
        struct mq_journal_line *all =
            realloc(f->lines, (f->count + left->lines_count) * sizeof *all);
        if (!all)
            return mq_fail_memory(err, "reading journals");
        memcpy(all + f->count, left->lines, left->lines_count * sizeof *all);
        f->lines = all;
        f->count += left->lines_count;
    }
    for (size_t i = 0; i < left->lines_count; i++)
        mq_journal_put(&text, &left->lines[i]);
    moeq_status status = mq_output_note(o, &text, err);
    mq_buffer_free(&text);
    if (status == MOEQ_OK && left->lines_count && MQ_AGAIN(fdatasync(o->journal_fd)) != 0)
        status = mq_fail_errno(err, o->journal, "cannot sync");
    if (status == MOEQ_OK)
        mq_ranks_left_remove(o, left);
    return status;
}

/* All of it alone, or as rank 0. */
static moeq_status open_first(const struct mq_plan *plan, const struct mq_convert_options *options,
                              struct mq_output *o, struct found *found, moeq_error *err)
{
    if (plan->is_folder)
        MQ_TRY(mq_folder_open(o, err));
    const moeq_status locked = lock_part(&o->files[0], mq_view_mode(plan->view), err);
    if (locked != MOEQ_OK) {
        if (o->is_folder)
            rmdir(o->folder_part); /* if there is nothing in it */
        return locked;
    }
    found->touched = !has_size(o->files[0].part, 0);
    const moeq_status status = open_locked(plan, options, o, found, err);
    if (status != MOEQ_OK) {
        undo_open(o, found->touched);
        return status;
    }
    if (!found->lines)
        return start_afresh(plan, options->output, o, &found->left, err);
    if (MQ_AGAIN(ftruncate(o->journal_fd, (off_t)o->journal_bytes)) != 0)
        return mq_fail_errno(err, o->journal, "cannot cut");
    MQ_TRY(join_left(o, found, err));
    o->synced_bytes = o->journal_bytes;
    return MOEQ_OK;
}

/* What rank 0 has opened, and the others need to know. */
struct opened {
    uint64_t count; /* lines, of which `resumed` says whether there are any */
    uint32_t identity, run;
    bool resumed;
};

/* A number that no other run is likely to have. */
static uint32_t number_of_run(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint32_t)now.tv_nsec ^ (uint32_t)now.tv_sec << 12 ^ (uint32_t)getpid() << 20;
}

/* Gives the lines to all, who open what is theirs. */
static moeq_status open_others(struct mq_output *o, struct opened *opened, struct found *found,
                               moeq_error *err)
{
    const bool first = mq_peers_first(o->peers);
    moeq_status status = MOEQ_OK;
    MQ_TRY(mq_peers_broadcast(o->peers, opened, sizeof *opened, err));
    found->count = opened->count;
    if (!first && opened->resumed) {
        found->lines = calloc(found->count + 1, sizeof *found->lines);
        if (!found->lines)
            status = mq_fail_memory(err, "reading a journal");
    }
    if (status == MOEQ_OK && !first)
        status = mq_ranks_open(o, opened->identity, opened->run, err);
    MQ_TRY(mq_peers_agree(o->peers, status, err));
    return mq_peers_broadcast(o->peers, found->lines, found->count * sizeof *found->lines, err);
}

static moeq_status open_all(const struct mq_plan *plan, const struct mq_convert_options *options,
                            struct mq_output *o, struct found *found, moeq_error *err)
{
    const bool first = mq_peers_first(o->peers);
    MQ_TRY(name_files(plan, options->output, o, err));
    moeq_status status = first ? open_first(plan, options, o, found, err) : MOEQ_OK;
    if (!o->peers)
        return status;
    struct opened opened = {.count = found->count,
                            .identity = mq_output_identity(plan),
                            .run = number_of_run(),
                            .resumed = found->lines};
    const bool afresh = first && status == MOEQ_OK && !opened.resumed;
    if (first && status == MOEQ_OK)
        status = mq_ranks_create(o, opened.identity, opened.run, err);
    status = mq_peers_agree(o->peers, status, err);
    if (status == MOEQ_OK)
        status = open_others(o, &opened, found, err);
    if (status != MOEQ_OK && afresh)
        mq_output_discard(o);
    else if (status != MOEQ_OK && first)
        mq_ranks_remove(o);
    return status;
}

moeq_status mq_output_open(const struct mq_plan *plan, const struct mq_convert_options *options,
                           const struct mq_peers *peers, struct mq_output *o,
                           struct mq_journal_line **lines, size_t *count, moeq_error *err)
{
    struct found found = {0};
    o->peers = peers;
    const moeq_status status = open_all(plan, options, o, &found, err);
    mq_ranks_left_free(&found.left);
    if (status != MOEQ_OK) {
        free(found.lines);
        found = (struct found){0};
    }
    *lines = found.lines;
    *count = found.count;
    return status;
}

moeq_status mq_output_note(struct mq_output *o, const struct mq_buffer *text, moeq_error *err)
{
    if (!mq_buffer_ok(text))
        return mq_fail_memory(err, "writing the journal");
    MQ_TRY(
        mq_write_at(o->journal_fd, o->own_journal, o->journal_bytes, text->data, text->size, err));
    o->journal_bytes += text->size;
    return MOEQ_OK;
}

static void close_all(struct mq_output *o)
{
    for (size_t i = 0; i < o->files_count; i++) {
        if (o->files[i].fd >= 0)
            close(o->files[i].fd);
        o->files[i].fd = -1;
    }
    if (o->journal_fd >= 0)
        close(o->journal_fd);
    if (o->is_folder && o->folder_fd >= 0)
        close(o->folder_fd);
    o->journal_fd = o->folder_fd = -1;
}

static moeq_status sync_all(const struct mq_output *o, moeq_error *err)
{
    for (size_t i = 0; i < o->files_count; i++)
        if (MQ_AGAIN(fdatasync(o->files[i].fd)) != 0)
            return mq_fail_errno(err, o->files[i].part, "cannot sync");
    return MQ_AGAIN(fdatasync(o->journal_fd)) == 0
               ? MOEQ_OK
               : mq_fail_errno(err, o->own_journal, "cannot sync");
}

moeq_status mq_output_sync(struct mq_output *o, uint64_t upto, moeq_error *err)
{
    const moeq_status status = sync_all(o, err);
    if (status == MOEQ_OK)
        o->synced_bytes = upto;
    else if (MQ_AGAIN(ftruncate(o->journal_fd, (off_t)o->synced_bytes)) != 0)
        unlink(o->own_journal); /* then nothing is gone on with */
    return status;
}

moeq_status mq_output_leave(struct mq_output *o, moeq_error *err)
{
    const moeq_status status = sync_all(o, err);
    close_all(o);
    return status;
}

void mq_output_refresh(const struct mq_output *o)
{
    for (size_t i = 0; i < o->files_count; i++) { /* network file systems do so at every open */
        const int fd = MQ_AGAIN(open(o->files[i].part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
        if (fd >= 0)
            close(fd);
    }
}

static moeq_status stamp_of(const struct mq_output *o, uint32_t *stamp, moeq_error *err)
{
    uLong crc = 0;
    for (size_t i = 0; i < o->files_count; i++) {
        struct stat st;
        if (fstat(o->files[i].fd, &st) != 0)
            return mq_fail_errno(err, o->files[i].part, "cannot stat");
        const uint64_t facts[] = {(uint64_t)st.st_ino,         (uint64_t)st.st_size,
                                  (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
                                  (uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec};
        crc = crc32_z(crc, (const Bytef *)facts, sizeof facts);
    }
    *stamp = (uint32_t)crc;
    return MOEQ_OK;
}

moeq_status mq_output_stamp(const struct mq_output *o, uint32_t *stamp, moeq_error *err)
{
    if (!o->peers)
        return stamp_of(o, stamp, err);
    moeq_status status = MOEQ_OK;
    if (mq_peers_first(o->peers)) {
        mq_output_refresh(o);
        status = stamp_of(o, stamp, err);
    }
    MQ_TRY(mq_peers_agree(o->peers, status, err));
    return mq_peers_broadcast(o->peers, stamp, sizeof *stamp, err);
}

moeq_status mq_output_write_index(const struct mq_plan *plan, const struct mq_output *o,
                                  const uint32_t *crcs, moeq_error *err)
{
    struct mq_buffer text = {0};
    moeq_status status = print_index(plan, o, crcs, &text, err);
    if (status == MOEQ_OK)
        status = mq_write_at(o->files[0].fd, o->files[0].part, 0, text.data, text.size, err);
    mq_buffer_free(&text);
    return status;
}

/* Files under their names, which are on the disk. */
static moeq_status rename_files(struct mq_output *o, moeq_error *err)
{
    /* What makes several files a model must not stand over those of another. */
    if (o->files_count > 1 && unlink(o->files[0].path) != 0 && errno != ENOENT)
        return mq_fail_errno(err, o->files[0].path, "cannot be replaced");
    /* The first one last: as long as it has no name, the job is unfinished (open_other_parts). */
    for (size_t i = o->files_count; i-- > 0;) {
        MQ_TRY(mq_copy_permissions(o->files[i].fd, o->files[i].path, err));
        if (i == 0 && o->files_count > 1)
            MQ_TRY(mq_sync_folder_of(o->files[0].path, err));
        if (rename(o->files[i].part, o->files[i].path) != 0)
            return mq_fail_errno(err, o->files[i].path,
                                 "cannot rename the finished file to this name");
    }
    return MOEQ_OK;
}

moeq_status mq_output_finish(const struct mq_plan *plan, struct mq_output *o, moeq_error *err)
{
    for (size_t i = 0; i < o->files_count; i++)
        if (MQ_AGAIN(fsync(o->files[i].fd)) != 0)
            return mq_fail_errno(err, o->files[i].part, "cannot sync");
    MQ_TRY(o->is_folder ? mq_folder_finish(plan, o, err) : rename_files(o, err));
    unlink(o->journal);
    mq_ranks_remove(o);
    mq_kept_states_remove(o->states);
    MQ_TRY(mq_sync_folder_of(o->is_folder ? o->folder : o->files[0].path, err));
    for (size_t i = 0; i < o->files_count; i++) {
        const int fd = o->files[i].fd;
        o->files[i].fd = -1;
        if (close(fd) != 0 && errno != EINTR) /* closed all the same */
            return mq_fail_errno(err, o->files[i].path, "cannot close");
    }
    return MOEQ_OK;
}

void mq_output_close(struct mq_output *o)
{
    close_all(o);
    free(o->files);
    o->files = NULL;
    o->files_count = 0;
}
