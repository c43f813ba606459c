/*
 * what_is_it.h: what a file is, told by its first bytes, and what to do about it.
 *
 * People hand over what lies on their disks: a Git LFS pointer, a web page saved under a model's
 * name, a download that never began, a model of another format. A parser could only say that some
 * number is wrong; this unit says what the file is. Openers ask it before they parse:
 *
 *     MQ_TRY(mq_refuse_other_file(&file, MQ_FILE_SAFETENSORS, err));
 */
#ifndef MQ_WHAT_IS_IT_H
#define MQ_WHAT_IS_IT_H

#include "file.h"

enum { MQ_WHAT_BYTES = 512 }; /* as many as a look needs; less where the file is shorter */

/* What openers ask for, as bits; everything else is OTHER. */
enum mq_file_kind {
    MQ_FILE_UNKNOWN = 0, /* nothing that is known here: let the parser speak */
    MQ_FILE_SAFETENSORS = 1,
    MQ_FILE_GGUF = 2,
    MQ_FILE_JSON = 4, /* an object or an array, unless it says that it is an error */
    MQ_FILE_TEXT = 8,
    MQ_FILE_BLANK = 16, /* empty, or zeros */
    MQ_FILE_OTHER = 32,
};

struct mq_what {
    enum mq_file_kind kind;
    char is[200];       /* "is a Git LFS pointer, which stands for ...": the rest of a sentence */
    const char *advice; /* what to do; NULL where `kind` is UNKNOWN */
};

/* Judges a file of size_bytes by its first n bytes. */
void mq_what_is(const void *start, size_t n, uint64_t size_bytes, struct mq_what *what);

/* The same for a file on disk. */
moeq_status mq_what_is_file(const char *path, struct mq_what *what, moeq_error *err);

/* Fails if the file is known to be of none of the kinds `wanted` (bits): "path: is a web page, no
 * safetensors file: ...". An unknown one passes. */
moeq_status mq_refuse_what(const char *path, const struct mq_what *what, unsigned wanted,
                           moeq_error *err);
/* Fails if a regular file is known to be no text, where one is expected: a pointer to it, an
 * archive, a model. A page or JSON is a text. */
moeq_status mq_refuse_no_text(const char *path, moeq_error *err);
moeq_status mq_refuse_other_file(const struct mq_file *file, unsigned wanted, moeq_error *err);

#endif
