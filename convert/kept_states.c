/* kept_states.c: see the header. */
#include "kept_states.h"

#include "error.h"
#include "file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const char magic[] = "moeqstat";

enum { VERSION = 1, MAGIC_BYTES = 8, OWN = sizeof((struct mq_convert_point *)0)->own / 8 };

struct header {
    char magic[MAGIC_BYTES];
    uint64_t version, identity, finished, step, own[OWN], bytes, crc32, zero;
    uint64_t check;
};

static uint64_t check_of(const struct header *h)
{
    return crc32_z(0, (const Bytef *)h, offsetof(struct header, check));
}

/* Opens the file and reads its header. */
static moeq_status open_file(const char *path, struct mq_file *file, struct header *h,
                             moeq_error *err)
{
    MQ_TRY(mq_file_open(path, file, err));
    const moeq_status status =
        file->size_bytes < sizeof *h
            ? mq_fail_file(
                  err, MOEQ_MALFORMED, path,
                  "states of an interrupted conversion: expected %zu bytes and more, found "
                  "%" PRIu64,
                  sizeof *h, file->size_bytes)
            : mq_file_read_at(file, 0, h, sizeof *h, err);
    if (status != MOEQ_OK)
        mq_file_close(file);
    return status;
}

/* Whether a file begins as these do, as far as it goes. */
static bool is_ours(const char *path)
{
    struct mq_file file;
    char begin[MAGIC_BYTES];
    moeq_error ignored = {0};
    if (mq_file_open(path, &file, &ignored) != MOEQ_OK)
        return false;
    const size_t n = file.size_bytes < MAGIC_BYTES ? file.size_bytes : MAGIC_BYTES;
    const bool ours =
        mq_file_read_at(&file, 0, begin, n, &ignored) == MOEQ_OK && memcmp(begin, magic, n) == 0;
    mq_file_close(&file);
    return ours;
}

bool mq_kept_states_may_write(const char *path)
{
    return !mq_path_exists(path) || is_ours(path);
}

/* Under a name of its own, which the lock on OUT.part makes nobody else's, so that what a killed run leaves there is
 * found again: it begins as the file does. */
static bool name_new(const char *path, char name[PATH_MAX])
{
    const int n = snprintf(name, PATH_MAX, "%s.new", path);
    return n > 0 && n < PATH_MAX;
}

static moeq_status write_file(const char *path, const struct header *h, const void *bytes,
                              moeq_error *err)
{
    char name[PATH_MAX];
    if (!name_new(path, name))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
    if (is_ours(name))
        unlink(name);
    const int fd = MQ_AGAIN(open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd < 0)
        return mq_fail_errno(err, name, "cannot create");
    moeq_status status = mq_write_at(fd, name, 0, h, sizeof *h, err);
    if (status == MOEQ_OK)
        status = mq_write_at(fd, name, sizeof *h, bytes, h->bytes, err);
    if (status == MOEQ_OK && MQ_AGAIN(fsync(fd)) != 0)
        status = mq_fail_errno(err, name, "cannot sync");
    if (close(fd) != 0 && errno != EINTR && status == MOEQ_OK)
        status = mq_fail_errno(err, name, "cannot close");
    if (status == MOEQ_OK && rename(name, path) != 0)
        status = mq_fail_errno(err, path, "cannot rename the finished file to this name");
    if (status != MOEQ_OK)
        unlink(name);
    return status == MOEQ_OK ? mq_sync_folder_of(path, err) : status;
}

void mq_kept_states_remove(const char *path)
{
    char name[PATH_MAX];
    if (mq_path_exists(path) && is_ours(path))
        unlink(path);
    if (name_new(path, name) && mq_path_exists(name) && is_ours(name))
        unlink(name);
}

moeq_status mq_kept_states_write(const char *path, const struct mq_kept_states *kept,
                                 const void *bytes, moeq_error *err)
{
    const struct mq_convert_point *point = &kept->point;
    struct header h = {.version = VERSION,
                       .identity = kept->identity,
                       .finished = kept->finished,
                       .step = point->step,
                       .bytes = point->bytes,
                       .crc32 = crc32_z(0, bytes, point->bytes)};
    memcpy(h.magic, magic, MAGIC_BYTES);
    memcpy(h.own, point->own, sizeof h.own);
    h.check = check_of(&h);
    return write_file(path, &h, bytes, err);
}

moeq_status mq_kept_states_read(const char *path, struct mq_kept_states *kept, moeq_error *err)
{
    struct mq_file file;
    struct header h;
    MQ_TRY(open_file(path, &file, &h, err));
    const uint64_t size = file.size_bytes;
    mq_file_close(&file);
    if (memcmp(h.magic, magic, MAGIC_BYTES) != 0 || h.check != check_of(&h) || h.version != VERSION)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "is no states of an interrupted conversion, or damaged");
    if (h.identity != kept->identity || h.bytes != kept->point.bytes)
        return mq_fail_file(err, MOEQ_MALFORMED, path, "states of a conversion of another kind");
    if (size - sizeof h != h.bytes)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "states of an interrupted conversion: expected %" PRIu64
                            " bytes of them, found %" PRIu64,
                            h.bytes, size - sizeof h);
    kept->finished = h.finished;
    kept->point.step = h.step;
    memcpy(kept->point.own, h.own, sizeof h.own);
    return MOEQ_OK;
}

moeq_status mq_kept_states_load(const char *path, void *bytes, moeq_error *err)
{
    struct mq_file file;
    struct header h;
    MQ_TRY(open_file(path, &file, &h, err));
    moeq_status status = mq_file_read_at(&file, sizeof h, bytes, h.bytes, err);
    mq_file_close(&file);
    if (status == MOEQ_OK && crc32_z(0, bytes, h.bytes) != h.crc32)
        status = mq_fail_file(err, MOEQ_MALFORMED, path,
                              "states of an interrupted conversion: damaged (CRC-32)");
    return status;
}
