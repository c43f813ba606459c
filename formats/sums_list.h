/*
 * sums_list.h: lists of SHA-256 sums, as sha256sum writes them and checks them (-c).
 *
 *     <64 digits>  name          <64 digits> *name          SHA256 (name) = <64 digits>
 *
 * A line that begins with a backslash has a name in which "\\", "\n" and "\r" stand for a backslash
 * and for ends of lines. (Source: coreutils' manual, "md5sum invocation" and "cksum output modes".)
 * Names are taken as relative to a folder; a list of which one leads out of it, by "..", or from the
 * root, is refused: whose files those are is not for a list to say.
 */
#ifndef MQ_SUMS_LIST_H
#define MQ_SUMS_LIST_H

#include "arena.h"
#include "buffer.h"
#include "sha256.h"

#define MQ_SUMS_MAX_BYTES (4u << 20) /* some 40,000 lines */

struct mq_sum {
    const char *name; /* without "./" in front */
    const char *sha256;
    uint32_t line;
};

struct mq_sums {
    const char *path; /* the list's */
    struct mq_sum *rows;
    size_t count;
};

/* Reads a list. A line that is none of these, two sums for one name, and a list without any are
 * errors that name the line. All is the arena's, but `path`. */
moeq_status mq_sums_read(const char *path, struct mq_arena *arena, struct mq_sums *sums,
                         moeq_error *err);
/* The same of a text in memory. */
moeq_status mq_sums_parse(const char *path, const char *text, size_t size, struct mq_arena *arena,
                          struct mq_sums *sums, moeq_error *err);

/* Whether a text begins as a list does: with a line of one. */
bool mq_sums_is(const char *text, size_t size);

/* Appends a line. */
void mq_sums_put(struct mq_buffer *text, const char *sha256, const char *name);

/* A file that a list should name. */
struct mq_summed {
    const char *path;   /* where it is */
    const char *name;   /* as messages have it */
    bool required;      /* it is an error if the list does not name it */
    const char *sha256; /* what the list says; NULL: nothing */
};

/*
 * Finds the lines of files, by their names in `folder`, or in the list's own. Names are looked up, and
 * files that they lead to are told by their identity; nothing is opened. It is an error if the list
 * does not name a file that is required, if two of its names lead to one file and say different things,
 * or, of a model that is the folder (`whole`), if it names a file that is not there. *others: lines that
 * are about no file of these.
 */
moeq_status mq_sums_match(const struct mq_sums *sums, const char *folder, bool whole,
                          struct mq_summed *files, size_t count, size_t *others, moeq_error *err);

/* What a list says of a model that is a source (convert/source_sums.h). */
struct mq_source_list {
    const char *path;
    const char *const *files; /* [view's files] their sums */
    const char
        *text;    /* lines of all that were or will be hashed, as a list has them, for metadata */
    size_t count; /* of those */
};

/* "sha256 expected, found": the error of a file that is another one than the list says. */
moeq_status mq_sums_differ(const char *path, const char *expected, const char *found,
                           moeq_error *err);

#endif
