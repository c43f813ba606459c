/* text_input.c: texts are held in memory whole, so what comes through a pipe goes there too. */
#include "text_input.h"

#include "buffer.h"
#include "error.h"
#include "file.h"
#include "json.h"
#include "other_systems.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TEXT_BYTES ((uint64_t)1 << 30)

enum { READ_BYTES = 1 << 20 };

static bool is_stdin(const char *path)
{
    return strcmp(path, "-") == 0;
}

static const char *shown_name(const char *path)
{
    return is_stdin(path) ? "standard input" : path;
}

/* Opens for reading; blocks at a pipe until someone writes to it. */
static moeq_status open_input(const char *path, int *fd, struct stat *st, moeq_error *err)
{
    const char *name = shown_name(path);
    *fd = is_stdin(path) ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                         : MQ_AGAIN(open(path, O_RDONLY | O_CLOEXEC));
    if (*fd < 0)
        return mq_fail_errno(err, name, "cannot open");
    moeq_status status = MOEQ_OK;
    if (fstat(*fd, st) != 0)
        status = mq_fail_errno(err, name, "cannot stat");
    else if (S_ISDIR(st->st_mode))
        status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, name, "expected a file, found a folder");
    if (status != MOEQ_OK)
        close(*fd);
    return status;
}

/* Appends all that can be read; `cap` is of the whole buffer. */
static moeq_status append_all(int fd, const char *name, uint64_t cap, struct mq_buffer *bytes,
                              moeq_error *err)
{
    char *block = malloc(READ_BYTES);
    moeq_status status = block ? MOEQ_OK : mq_fail_memory(err, "reading a text");
    while (status == MOEQ_OK) {
        const ssize_t got = read(fd, block, READ_BYTES);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = mq_fail_errno(err, name, "cannot read");
        else if ((uint64_t)got > cap - bytes->size)
            status = mq_fail_file(err, MOEQ_LIMIT, name, "gives more than %llu bytes",
                                  (unsigned long long)cap);
        else
            mq_buffer_append(bytes, block, (size_t)got);
        if (status == MOEQ_OK && !mq_buffer_ok(bytes))
            status = mq_fail_memory(err, "reading a text");
    }
    free(block);
    return status;
}

/* Half of one text and half of another is neither. */
static moeq_status check_whole(int fd, const char *name, const struct stat *st, moeq_error *err)
{
    struct mq_file file = {.fd = fd, .path = (char *)name};
    mq_file_set_facts(&file, st);
    return mq_file_check_whole(&file, err);
}

/* A file that is too large is refused before it is read. */
static moeq_status append_input(const char *path, uint64_t cap, struct mq_buffer *bytes,
                                struct stat *st, moeq_error *err)
{
    int fd;
    MQ_TRY(open_input(path, &fd, st, err));
    const bool too_large = S_ISREG(st->st_mode) && (uint64_t)st->st_size > cap - bytes->size;
    moeq_status status =
        too_large
            ? mq_fail_file(err, MOEQ_LIMIT, path, "file has %llu bytes; at most %llu expected",
                           (unsigned long long)st->st_size, (unsigned long long)(cap - bytes->size))
            : append_all(fd, shown_name(path), cap, bytes, err);
    if (status == MOEQ_OK && S_ISREG(st->st_mode))
        status = check_whole(fd, shown_name(path), st, err);
    close(fd);
    return status;
}

moeq_status mq_input_read(const char *path, uint64_t cap, struct mq_buffer *bytes, moeq_error *err)
{
    struct stat st;
    memset(bytes, 0, sizeof *bytes);
    moeq_status status = append_input(path, cap, bytes, &st, err);
    if (status == MOEQ_OK) {
        mq_buffer_putc(bytes, '\0'); /* so that there is a text, if an empty one */
        if (mq_buffer_ok(bytes))
            bytes->size--;
        else
            status = mq_fail_memory(err, "reading a text");
    }
    if (status != MOEQ_OK)
        mq_buffer_free(bytes);
    return status;
}

/* A file without a name that holds these bytes. */
static moeq_status make_file(const char *name, const struct mq_buffer *bytes, int *fd,
                             moeq_error *err)
{
    *fd = memfd_create("input", MFD_CLOEXEC);
    if (*fd < 0)
        return mq_fail_errno(err, name, "cannot hold what it gives");
    const moeq_status status = mq_write_at(*fd, name, 0, bytes->data, bytes->size, err);
    if (status != MOEQ_OK)
        close(*fd);
    return status;
}

moeq_status mq_input_open(const char *path, uint64_t cap, struct mq_file *file, moeq_error *err)
{
    struct stat st;
    struct mq_buffer bytes = {0};
    if (!is_stdin(path) && (stat(path, &st) != 0 || S_ISREG(st.st_mode)))
        return mq_file_open(path, file, err);
    int fd = -1;
    memset(file, 0, sizeof *file);
    file->fd = -1;
    moeq_status status = append_input(path, cap, &bytes, &st, err);
    if (status == MOEQ_OK)
        status = make_file(shown_name(path), &bytes, &fd, err);
    if (status == MOEQ_OK) {
        *file = (struct mq_file){.fd = fd,
                                 .size_bytes = bytes.size,
                                 .path = strdup(shown_name(path)),
                                 .device = st.st_dev, /* of what it was read from */
                                 .inode = st.st_ino};
        if (!file->path) {
            mq_file_close(file);
            status = mq_fail_memory(err, "opening a file");
        }
    }
    mq_buffer_free(&bytes);
    return status;
}

/* What begins as UTF-16 does: with its byte order mark, or with Latin letters, every other byte of
 * which is zero. */
static bool is_utf16(const char *text, size_t n)
{
    if (n >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return true;
    const size_t look = n < 64 ? n & ~(size_t)1 : 64;
    size_t zeros[2] = {0, 0};
    for (size_t i = 0; i < look; i++)
        zeros[i % 2] += text[i] == '\0';
    return look >= 8 && (zeros[0] == 0) != (zeros[1] == 0) && zeros[0] + zeros[1] == look / 2;
}

/* What begins with UTF-32's byte order mark, or with Latin letters in it. */
static bool is_utf32(const char *text, size_t n)
{
    static const struct {
        const char *bytes;
        size_t n;
    } starts[] = {{"\xff\xfe\0\0", 4}, {"\0\0\xfe\xff", 4}};
    size_t letters[4] = {0};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (n >= starts[i].n && memcmp(text, starts[i].bytes, starts[i].n) == 0)
            return true;
    for (size_t i = 0; i < 32 && n >= 32; i++)
        letters[i % 4] += text[i] != '\0';
    return (letters[0] == 8 && !letters[1] && !letters[2] && !letters[3]) ||
           (letters[3] == 8 && !letters[0] && !letters[1] && !letters[2]);
}

static moeq_status check_text(const struct mq_text *text, moeq_error *err)
{
    size_t bad = 0;
    for (size_t i = 0; i < text->count; i++) {
        const struct mq_text_source *s = &text->sources[i];
        if (is_utf32(text->data + s->offset, s->size))
            return mq_fail_file(
                err, MOEQ_UNSUPPORTED, s->name,
                "is UTF-32 text; expected UTF-8 (iconv -f UTF-32 -t UTF-8 makes it)");
        if (is_utf16(text->data + s->offset, s->size))
            return mq_fail_file(
                err, MOEQ_UNSUPPORTED, s->name,
                "is UTF-16 text; expected UTF-8 (iconv -f UTF-16 -t UTF-8 makes it)");
    }
    if (mq_utf8_valid(text->data, text->size, &bad))
        return MOEQ_OK;
    size_t i = text->count - 1;
    while (i && text->sources[i].offset > bad)
        i--;
    return mq_fail_file(
        err, MOEQ_MALFORMED, text->sources[i].name,
        "text at byte %zu: invalid UTF-8 (of Western text in one byte a letter iconv -f "
        "WINDOWS-1252 -t UTF-8 makes it)",
        bad - text->sources[i].offset);
}

bool mq_text_same_source(const struct mq_text *a, size_t i, const struct mq_text *b, size_t k)
{
    const struct mq_text_source *x = &a->sources[i], *y = &b->sources[k];
    return (x->device == y->device && x->inode == y->inode) ||
           (x->size == y->size && memcmp(a->data + x->offset, b->data + y->offset, x->size) == 0);
}

static moeq_status read_sources(const char *const *paths, struct mq_text *text,
                                struct mq_buffer *bytes, struct mq_buffer *name, moeq_error *err)
{
    bool stdin_read = false;
    for (size_t i = 0; i < text->count; i++) {
        struct mq_text_source *s = &text->sources[i];
        struct stat st;
        if (is_stdin(paths[i]) && stdin_read)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, "standard input",
                                "is given twice; it can be read once");
        stdin_read = stdin_read || is_stdin(paths[i]);
        s->name = shown_name(paths[i]);
        s->offset = bytes->size;
        MQ_TRY(append_input(paths[i], MAX_TEXT_BYTES, bytes, &st, err));
        s->size = bytes->size - s->offset;
        s->device = st.st_dev;
        s->inode = st.st_ino;
        mq_buffer_puts(name, i ? " + " : "");
        mq_buffer_puts(name, s->name);
    }
    return MOEQ_OK;
}

moeq_status mq_text_read(const char *const *paths, size_t count, struct mq_text *text,
                         moeq_error *err)
{
    struct mq_buffer bytes = {0}, name = {0};
    *text = (struct mq_text){.sources = calloc(count + 1, sizeof *text->sources), .count = count};
    moeq_status status = text->sources ? read_sources(paths, text, &bytes, &name, err)
                                       : mq_fail_memory(err, "reading a text");
    mq_buffer_putc(&bytes, '\0');
    mq_buffer_putc(&name, '\0');
    if (status == MOEQ_OK && (!mq_buffer_ok(&bytes) || !mq_buffer_ok(&name)))
        status = mq_fail_memory(err, "reading a text");
    text->data = bytes.data;
    text->size = status == MOEQ_OK ? bytes.size - 1 : 0;
    text->name = name.data;
    if (status == MOEQ_OK)
        status = check_text(text, err);
    if (status != MOEQ_OK)
        mq_text_free(text);
    return status;
}

bool mq_text_note(const struct mq_text *text, char sentence[MQ_TEXT_NOTE_BYTES])
{
    for (size_t i = 0; i < text->count; i++) {
        const struct mq_text_source *s = &text->sources[i];
        if (s->size < 3 || memcmp(text->data + s->offset, "\xef\xbb\xbf", 3) != 0)
            continue;
        snprintf(sentence, MQ_TEXT_NOTE_BYTES,
                 "%.255s begins with a byte order mark (EF BB BF), which is tokenized as text, as "
                 "by Transformers and llama.cpp: take it out if it is not meant",
                 s->name);
        return true;
    }
    return false;
}

/* Where the run of sources behind source i of the same domain ends. */
static size_t domain_end(const struct mq_text *text, size_t i)
{
    const char *name = text->sources[i].domain;
    while (i < text->count && strcmp(text->sources[i].domain, name) == 0)
        i++;
    return i;
}

size_t mq_text_domains(const struct mq_text *text)
{
    size_t n = 0;
    for (size_t i = 0; text->count && text->sources[0].domain && i < text->count; n++)
        i = domain_end(text, i);
    return n;
}

struct mq_text mq_text_domain(const struct mq_text *text, size_t number)
{
    size_t first = 0;
    if (!mq_text_domains(text))
        return *text;
    while (number--)
        first = domain_end(text, first);
    const size_t end = domain_end(text, first);
    const struct mq_text_source *s = &text->sources[first], *last = &text->sources[end - 1];
    return (struct mq_text){
        .name = end - first > 1 ? s->domain : (char *)s->name,
        .data = text->data + s->offset,
        .size = last->offset + last->size - s->offset,
        .sources = &text->sources[first],
        .count = end - first,
    };
}

void mq_text_free(struct mq_text *text)
{
    for (size_t i = 0; text->sources && i < text->count; i++)
        free(text->sources[i].domain);
    free(text->name);
    free(text->data);
    free(text->sources);
    memset(text, 0, sizeof *text);
}
