/* output_ranks.c: see output_int.h: the journals of a job's ranks. */
#include "output_int.h"

#include "error.h"
#include "file.h"
#include "text_match.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RANK_CAP_BYTES (1u << 30) /* as OUT.part.journal's */

/* False: the path is too long. */
static bool name_journal(const struct mq_output *o, unsigned rank, char path[PATH_MAX])
{
    const int n = snprintf(path, PATH_MAX, "%s.%u", o->journal, rank);
    return n > 0 && n < PATH_MAX;
}

static void remove_journal(const struct mq_output *o, unsigned rank)
{
    char path[PATH_MAX];
    if (name_journal(o, rank, path))
        unlink(path);
}

/* ---- what an earlier run has left ---- */

/* OUT.part.journal.RANK, as it is printed. */
static bool is_journal(const char *name, const char *journal, unsigned *rank)
{
    const size_t n = strlen(journal);
    char again[16];
    if (strncmp(name, journal, n) != 0 || name[n] != '.')
        return false;
    const unsigned long number = strtoul(name + n + 1, NULL, 10);
    *rank = (unsigned)number;
    snprintf(again, sizeof again, "%u", *rank);
    return number > 0 && strcmp(name + n + 1, again) == 0;
}

static int by_number(const void *a, const void *b)
{
    const unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

/* The ranks of all that are called so. */
static moeq_status list(const struct mq_output *o, unsigned **ranks, size_t *count, moeq_error *err)
{
    char text[PATH_MAX];
    unsigned rank;
    size_t room = 0;
    memcpy(text, o->journal, sizeof text);
    const char *folder = dirname(text);
    DIR *d = opendir(folder);
    if (!d)
        return mq_fail_errno(err, folder, "cannot list");
    moeq_status status = MOEQ_OK;
    for (const struct dirent *e; status == MOEQ_OK && (e = readdir(d));) {
        if (!is_journal(e->d_name, mq_base_name(o->journal), &rank))
            continue;
        if (*count == room) {
            room = 2 * room + 16;
            unsigned *more = realloc(*ranks, room * sizeof *more);
            if (!more) {
                status = mq_fail_memory(err, "reading journals");
                break;
            }
            *ranks = more;
        }
        (*ranks)[(*count)++] = rank;
    }
    closedir(d);
    if (*count)
        qsort(*ranks, *count, sizeof **ranks, by_number);
    return status;
}

/* That nobody writes to it: ranks outlive rank 0 for some seconds where that was killed. */
static moeq_status check_unlocked(const char *path, moeq_error *err)
{
    const int fd = MQ_AGAIN(open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0) /* whose else it may be, reading it says */
        return MOEQ_OK;
    const bool locked = MQ_AGAIN(flock(fd, LOCK_EX | LOCK_NB)) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return locked ? mq_fail_file(err, MOEQ_IO, path, "another command is writing this output")
                  : MOEQ_OK;
}

static size_t last_stamp(const struct mq_journal_line *lines, size_t count)
{
    while (count > 0 && lines[count - 1].kind != MQ_JOURNAL_PARTS)
        count--;
    return count; /* the line behind it; 0: there is none */
}

/* What a rank has finished; and what it has read again since the parts were as OUT.part.journal says at its end. */
static moeq_status add_lines(struct mq_ranks_left *left, const struct mq_journal_line *lines,
                             size_t count, const struct mq_journal_line *stamp, moeq_error *err)
{
    const size_t seeing = last_stamp(lines, count);
    const bool same = seeing && stamp && lines[seeing - 1].value == stamp->value &&
                      lines[seeing - 1].chunk == stamp->chunk;
    struct mq_journal_line *all =
        realloc(left->lines, (left->lines_count + count + 1) * sizeof *all);
    if (!all)
        return mq_fail_memory(err, "reading journals");
    left->lines = all;
    for (size_t i = 0; i < count; i++) {
        const enum mq_journal_kind kind = lines[i].kind;
        if (kind == MQ_JOURNAL_TENSOR || kind == MQ_JOURNAL_CHUNK ||
            (kind == MQ_JOURNAL_SEEN && same && i >= seeing))
            all[left->lines_count++] = lines[i];
    }
    return MOEQ_OK;
}

/* One of them. *ours: it is a journal, of whatever plan, or what is left of one. */
static moeq_status read_one(const char *path, uint32_t identity, struct mq_ranks_left *left,
                            const struct mq_journal_line *stamp, bool *ours, moeq_error *err)
{
    struct mq_buffer text = {0};
    struct mq_journal_line *lines = NULL;
    struct stat st;
    size_t count;
    uint64_t end;
    *ours = false;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return MOEQ_OK;
    MQ_TRY(check_unlocked(path, err));
    MQ_TRY(mq_file_read_all(path, RANK_CAP_BYTES, &text, err));
    *ours = !text.size || mq_journal_is(text.data, text.size);
    moeq_status status = mq_journal_read(text.data, text.size, identity, &lines, &count, &end, err);
    if (status == MOEQ_OK && lines)
        status = add_lines(left, lines, count, stamp, err);
    free(lines);
    mq_buffer_free(&text);
    return status;
}

moeq_status mq_ranks_look(const struct mq_output *o, uint32_t identity,
                          const struct mq_journal_line *lines, size_t count,
                          struct mq_ranks_left *left, moeq_error *err)
{
    const size_t seeing = last_stamp(lines, count);
    size_t found = 0;
    MQ_TRY(list(o, &left->ranks, &found, err));
    for (size_t i = 0; i < found; i++) {
        char path[PATH_MAX];
        bool ours = false;
        const unsigned rank = left->ranks[i];
        if (!name_journal(o, rank, path))
            continue;
        MQ_TRY(read_one(path, identity, left, seeing ? &lines[seeing - 1] : NULL, &ours, err));
        if (ours)
            left->ranks[left->count++] = rank;
        else if (rank < mq_peers_count(o->peers))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                "is where the journal of rank %u would be, and something else: "
                                "remove it",
                                rank);
    }
    return MOEQ_OK;
}

void mq_ranks_left_remove(const struct mq_output *o, const struct mq_ranks_left *left)
{
    for (size_t i = 0; i < left->count; i++)
        remove_journal(o, left->ranks[i]);
}

void mq_ranks_left_free(struct mq_ranks_left *left)
{
    free(left->ranks);
    free(left->lines);
    *left = (struct mq_ranks_left){0};
}

/* ---- this run's ---- */

static void print_begin(struct mq_buffer *text, uint32_t identity, unsigned rank, uint32_t run)
{
    mq_journal_begin(text, identity);
    mq_journal_put(text,
                   &(struct mq_journal_line){.kind = MQ_JOURNAL_RANK, .item = rank, .value = run});
}

static moeq_status create_one(const char *path, const struct mq_buffer *text, moeq_error *err)
{
    if (!mq_buffer_ok(text))
        return mq_fail_memory(err, "writing a journal");
    const int fd = MQ_AGAIN(open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (fd < 0)
        return mq_fail_errno(err, path, "cannot create");
    moeq_status status = mq_write_at(fd, path, 0, text->data, text->size, err);
    if (close(fd) != 0 && errno != EINTR && status == MOEQ_OK)
        status = mq_fail_errno(err, path, "cannot close");
    if (status != MOEQ_OK)
        unlink(path);
    return status;
}

moeq_status mq_ranks_create(const struct mq_output *o, uint32_t identity, uint32_t run,
                            moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    unsigned made = 1;
    while (status == MOEQ_OK && made < mq_peers_count(o->peers)) {
        char path[PATH_MAX];
        struct mq_buffer text = {0};
        print_begin(&text, identity, made, run);
        status = name_journal(o, made, path)
                     ? create_one(path, &text, err)
                     : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, o->journal, "path is too long");
        mq_buffer_free(&text);
        made += status == MOEQ_OK;
    }
    for (unsigned r = 1; status != MOEQ_OK && r < made; r++)
        remove_journal(o, r);
    return status;
}

void mq_ranks_remove(const struct mq_output *o)
{
    for (unsigned r = 1; r < mq_peers_count(o->peers); r++)
        remove_journal(o, r);
}

static moeq_status fail_elsewhere(const struct mq_output *o, const char *path, moeq_error *err)
{
    const struct mq_peers *p = o->peers;
    return mq_fail_file(err, MOEQ_IO, path,
                        "rank %u on %s does not see here what rank 0 on %s has just written: the "
                        "output's folder must be one that all hosts share",
                        p->rank, p->host(p->user, p->rank), p->host(p->user, 0));
}

/* What a network file system remembers of a folder, such as that a file is not there, it looks at anew. */
static void refresh_folder(const char *path)
{
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%s", path);
    const int fd = MQ_AGAIN(open(dirname(text), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd >= 0)
        close(fd);
}

static moeq_status open_journal(struct mq_output *o, const struct mq_buffer *begin, moeq_error *err)
{
    struct mq_buffer text = {0};
    refresh_folder(o->own_journal);
    o->journal_fd = MQ_AGAIN(open(o->own_journal, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (o->journal_fd < 0)
        return errno == ENOENT ? fail_elsewhere(o, o->own_journal, err)
                               : mq_fail_errno(err, o->own_journal, "cannot open");
    if (MQ_AGAIN(flock(o->journal_fd, LOCK_EX | LOCK_NB)) != 0 && errno == EWOULDBLOCK)
        return mq_fail_file(err, MOEQ_IO, o->own_journal, "another command is writing this output");
    MQ_TRY(mq_file_read_all(o->own_journal, RANK_CAP_BYTES, &text, err));
    const bool same = text.size == begin->size && memcmp(text.data, begin->data, begin->size) == 0;
    o->journal_bytes = o->synced_bytes = text.size;
    mq_buffer_free(&text);
    return same ? MOEQ_OK : fail_elsewhere(o, o->own_journal, err);
}

static moeq_status open_part(const struct mq_output *o, struct mq_output_file *f, moeq_error *err)
{
    struct stat st;
    f->fd = MQ_AGAIN(open(f->part, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (f->fd < 0)
        return errno == ENOENT ? fail_elsewhere(o, f->part, err)
                               : mq_fail_errno(err, f->part, "cannot open");
    if (fstat(f->fd, &st) != 0)
        return mq_fail_errno(err, f->part, "cannot stat");
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->bytes
               ? MOEQ_OK
               : fail_elsewhere(o, f->part, err);
}

moeq_status mq_ranks_open(struct mq_output *o, uint32_t identity, uint32_t run, moeq_error *err)
{
    struct mq_buffer begin = {0};
    if (!name_journal(o, o->peers->rank, o->own_journal))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, o->journal, "path is too long");
    print_begin(&begin, identity, o->peers->rank, run);
    moeq_status status = mq_buffer_ok(&begin) ? open_journal(o, &begin, err)
                                              : mq_fail_memory(err, "opening a journal");
    mq_buffer_free(&begin);
    if (status == MOEQ_OK && o->is_folder)
        refresh_folder(o->files[0].part);
    for (size_t i = 0; i < o->files_count && status == MOEQ_OK; i++)
        status = open_part(o, &o->files[i], err);
    return status;
}
