/* sums_list.c: see the header. */
#include "sums_list.h"

#include "error.h"
#include "strmap.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DIGITS = MQ_SHA256_TEXT - 1 };

/* ---- a line ---- */

struct piece {
    const char *at;
    size_t n;
};

static bool takes(struct piece *p, const char *text)
{
    const size_t n = strlen(text);
    if (p->n < n || memcmp(p->at, text, n) != 0)
        return false;
    p->at += n;
    p->n -= n;
    return true;
}

static bool takes_digits(struct piece *p, char hex[MQ_SHA256_TEXT])
{
    if (p->n < DIGITS)
        return false;
    for (int i = 0; i < DIGITS; i++) {
        if (!isxdigit((unsigned char)p->at[i]))
            return false;
        hex[i] = (char)tolower((unsigned char)p->at[i]);
    }
    hex[DIGITS] = '\0';
    p->at += DIGITS;
    p->n -= DIGITS;
    return true;
}

/* "HEX  name", "HEX *name" */
static bool parse_plain(struct piece line, char hex[MQ_SHA256_TEXT], struct piece *name)
{
    if (!takes_digits(&line, hex) || (!takes(&line, "  ") && !takes(&line, " *")))
        return false;
    *name = line;
    return true;
}

/* "SHA256 (name) = HEX": the name ends at the last bracket. */
static bool parse_tagged(struct piece line, char hex[MQ_SHA256_TEXT], struct piece *name)
{
    static const char middle[] = ") = ";
    const size_t behind = sizeof middle - 1 + DIGITS;
    if (!takes(&line, "SHA256 (") || line.n < behind)
        return false;
    *name = (struct piece){line.at, line.n - behind};
    struct piece rest = {line.at + name->n, behind};
    return takes(&rest, middle) && takes_digits(&rest, hex);
}

static bool parse_line(struct piece line, char hex[MQ_SHA256_TEXT], struct piece *name,
                       bool *escaped)
{
    while (takes(&line, " ") || takes(&line, "\t"))
        ;
    *escaped = takes(&line, "\\");
    return (parse_plain(line, hex, name) || parse_tagged(line, hex, name)) && name->n > 0 &&
           !memchr(name->at, '\0', name->n);
}

/* In place: what it stands for is no longer. False: it ends in a backslash, or has an escape that there is not. */
static bool unescape(char *name)
{
    char *to = name;
    for (const char *p = name; *p; p++, to++) {
        if (*p != '\\') {
            *to = *p;
            continue;
        }
        switch (*++p) {
        case '\\':
            *to = '\\';
            break;
        case 'n':
            *to = '\n';
            break;
        case 'r':
            *to = '\r';
            break;
        default:
            return false;
        }
    }
    *to = '\0';
    return true;
}

/* Whether one of its parts is "..". */
static bool leads_out(const char *name)
{
    for (const char *p = name; p;) {
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
            return true;
        p = strchr(p, '/');
        p = p ? p + 1 : NULL;
    }
    return name[0] == '/';
}

static const char *without_dots(const char *name)
{
    while (name[0] == '.' && name[1] == '/')
        for (name += 2; *name == '/'; name++)
            ;
    return name;
}

/* ---- a list ---- */

struct job {
    struct mq_sums *sums;
    struct mq_arena *arena;
    struct mq_strmap names;
    moeq_error *err;
};

static moeq_status fail_line(const struct job *job, uint32_t line, const char *what)
{
    return mq_fail_file(job->err, MOEQ_MALFORMED, job->sums->path, "line %u: %s", line, what);
}

static moeq_status add_line(struct job *job, struct piece text, uint32_t line)
{
    struct mq_sums *sums = job->sums;
    char hex[MQ_SHA256_TEXT];
    struct piece at;
    bool escaped;
    if (text.n && text.at[text.n - 1] == '\r')
        text.n--;
    if (!text.n || text.at[0] == '#')
        return MOEQ_OK;
    if (!parse_line(text, hex, &at, &escaped))
        return fail_line(
            job, line,
            "expected 64 hexadecimal digits, two spaces and a name, or SHA256 (name) = "
            "digits, as sha256sum writes them");
    if (at.n >= PATH_MAX)
        return fail_line(job, line, "the name is too long");
    char *name = mq_arena_strndup(job->arena, at.at, at.n);
    char *sum = mq_arena_strdup(job->arena, hex);
    if (!name || !sum)
        return mq_fail_memory(job->err, "reading a list of sums");
    if (escaped && !unescape(name))
        return fail_line(job, line, "expected \\\\, \\n or \\r in the name, found another escape");
    if (leads_out(name))
        return fail_line(job, line,
                         "the name leads out of the folder; expected one that is relative to it, "
                         "without '..'");
    const char *short_name = without_dots(name);
    if (!*short_name)
        return fail_line(job, line, "the name is that of the folder; expected a file's");
    uint32_t before;
    switch (mq_strmap_add(&job->names, short_name, strlen(short_name), (uint32_t)sums->count)) {
    case MQ_STRMAP_NO_MEMORY:
        return mq_fail_memory(job->err, "reading a list of sums");
    case MQ_STRMAP_DUPLICATE:
        mq_strmap_get(&job->names, short_name, strlen(short_name), &before);
        return strcmp(sums->rows[before].sha256, sum) == 0
                   ? MOEQ_OK
                   : fail_line(job, line, "the name stands there before, with another sum");
    case MQ_STRMAP_ADDED:
        break;
    }
    sums->rows[sums->count++] = (struct mq_sum){short_name, sum, line};
    return MOEQ_OK;
}

static struct piece next_line(struct piece *text)
{
    const char *end = memchr(text->at, '\n', text->n);
    const size_t n = end ? (size_t)(end - text->at) : text->n;
    const struct piece line = {text->at, n};
    text->at += n + (end != NULL);
    text->n -= n + (end != NULL);
    return line;
}

moeq_status mq_sums_parse(const char *path, const char *text, size_t size, struct mq_arena *arena,
                          struct mq_sums *sums, moeq_error *err)
{
    struct job job = {.sums = sums, .arena = arena, .err = err};
    struct piece rest = {text, size};
    moeq_status status = MOEQ_OK;
    *sums = (struct mq_sums){.path = path};
    takes(&rest, "\xEF\xBB\xBF"); /* what Windows' editors put in front */
    sums->rows = mq_arena_alloc(arena, size / (DIGITS + 3) + 1, sizeof *sums->rows);
    if (!sums->rows || !mq_strmap_init(&job.names, 64))
        status = mq_fail_memory(err, "reading a list of sums");
    for (uint32_t line = 1; status == MOEQ_OK && rest.n; line++)
        status = add_line(&job, next_line(&rest), line);
    mq_strmap_free(&job.names);
    if (status == MOEQ_OK && !sums->count)
        status = mq_fail_file(err, MOEQ_MALFORMED, path,
                              "expected lines as sha256sum writes them, found none");
    return status;
}

moeq_status mq_sums_read(const char *path, struct mq_arena *arena, struct mq_sums *sums,
                         moeq_error *err)
{
    struct mq_buffer text = {0};
    MQ_TRY(mq_file_read_all(path, MQ_SUMS_MAX_BYTES, &text, err));
    const moeq_status status = mq_sums_parse(path, text.data, text.size, arena, sums, err);
    mq_buffer_free(&text);
    return status;
}

bool mq_sums_is(const char *text, size_t size)
{
    struct piece rest = {text, size}, name;
    char hex[MQ_SHA256_TEXT];
    bool escaped;
    return parse_line(next_line(&rest), hex, &name, &escaped);
}

void mq_sums_put(struct mq_buffer *text, const char *sha256, const char *name)
{
    mq_buffer_printf(text, "%s%s  ", strpbrk(name, "\\\n\r") ? "\\" : "", sha256);
    for (; *name; name++)
        if (*name == '\\' || *name == '\n' || *name == '\r')
            mq_buffer_puts(text, *name == '\\' ? "\\\\" : *name == '\n' ? "\\n" : "\\r");
        else
            mq_buffer_putc(text, *name);
    mq_buffer_putc(text, '\n');
}

/* ---- files ---- */

struct identity {
    dev_t device;
    ino_t inode;
    bool there;
};

static struct identity identity_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return (struct identity){0};
    return (struct identity){st.st_dev, st.st_ino, true};
}

static struct identity identity_in(const char *folder, size_t n, const char *name)
{
    char path[PATH_MAX];
    const int used = snprintf(path, sizeof path, "%.*s%s%s", (int)n, folder, n ? "/" : "", name);
    return used > 0 && (size_t)used < sizeof path ? identity_of(path) : (struct identity){0};
}

/* By its name in the model's folder, or in the list's. */
static struct identity find(const struct mq_sums *sums, const char *folder, const char *name)
{
    const struct identity here = identity_in(folder, strlen(folder), name);
    const char *slash = strrchr(sums->path, '/');
    if (here.there)
        return here;
    return slash == sums->path
               ? identity_in("/", 1, name)
               : identity_in(sums->path, slash ? (size_t)(slash - sums->path) : 0, name);
}

static moeq_status match_row(const struct mq_sums *sums, const struct mq_sum *row,
                             const char *folder, bool whole, const struct identity *of,
                             struct mq_summed *files, size_t count, size_t *others, moeq_error *err)
{
    const struct identity at = find(sums, folder, row->name);
    bool found = false;
    if (!at.there && whole)
        return mq_fail_file(err, MOEQ_NOT_FOUND, sums->path,
                            "line %u: '%s' is not there, neither in %s nor beside the list; what "
                            "the model does not need may be taken out of the list",
                            row->line, row->name, folder[0] ? folder : "this folder");
    for (size_t i = 0; i < count; i++) {
        if (!at.there || !of[i].there || of[i].device != at.device || of[i].inode != at.inode)
            continue;
        if (files[i].sha256 && strcmp(files[i].sha256, row->sha256) != 0)
            return mq_fail_file(err, MOEQ_MALFORMED, sums->path,
                                "line %u: '%s' is %s, of which another line says another sum",
                                row->line, row->name, files[i].path);
        files[i].sha256 = row->sha256;
        found = true;
    }
    *others += !found;
    return MOEQ_OK;
}

moeq_status mq_sums_match(const struct mq_sums *sums, const char *folder, bool whole,
                          struct mq_summed *files, size_t count, size_t *others, moeq_error *err)
{
    struct identity *of = calloc(count + 1, sizeof *of);
    moeq_status status = of ? MOEQ_OK : mq_fail_memory(err, "reading a list of sums");
    *others = 0;
    for (size_t i = 0; status == MOEQ_OK && i < count; i++)
        of[i] = identity_of(files[i].path);
    for (size_t i = 0; status == MOEQ_OK && i < sums->count; i++)
        status = match_row(sums, &sums->rows[i], folder, whole, of, files, count, others, err);
    for (size_t i = 0; status == MOEQ_OK && i < count; i++)
        if (files[i].required && !files[i].sha256)
            status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, sums->path,
                                  "has no line for '%s', which would go unverified", files[i].name);
    free(of);
    return status;
}

moeq_status mq_sums_differ(const char *path, const char *expected, const char *found,
                           moeq_error *err)
{
    return mq_fail_file(
        err, MOEQ_CORRUPT, path,
        "is not the file that the list of sums means: SHA-256 expected %s, found %s", expected,
        found);
}
