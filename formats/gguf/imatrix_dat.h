/*
 * imatrix_dat.h: llama.cpp's importance matrices as they were before they became GGUF files (imatrix.dat).
 *
 *     i32 entries | entries | i32 chunks | i32 length | name of the text         the last three may be absent
 *     entry       i32 length | name | i32 calls | i32 values | f32 values[]
 *
 * All little-endian. values / calls are the mean squares of the columns of the tensor NAME, of stacked experts one
 * after the other; of how many inputs, it does not say. Experts without any have ones.
 * (Source: save_imatrix_legacy and load_imatrix_legacy of llama.cpp's tools/imatrix/imatrix.cpp.)
 */
#ifndef MQ_IMATRIX_DAT_H
#define MQ_IMATRIX_DAT_H

#include "arena.h"
#include "file.h"
#include "strmap.h"

struct mq_imatrix_dat_entry {
    const char *name;
    int32_t calls;
    uint64_t values, offset; /* of them in the file */
};

struct mq_imatrix_dat {
    struct mq_file file;
    struct mq_imatrix_dat_entry *entries;
    size_t count;
    struct mq_strmap by_name;
};

/* Whether a file begins as one: nothing but its first entry tells. */
moeq_status mq_is_imatrix_dat(const char *path, bool *yes, moeq_error *err);

/* Names and tables live in the caller's arena; close frees the rest. */
moeq_status mq_imatrix_dat_open(const char *path, struct mq_arena *arena,
                                struct mq_imatrix_dat *dat, moeq_error *err);
void mq_imatrix_dat_close(struct mq_imatrix_dat *dat);

/* NULL if there is none. */
const struct mq_imatrix_dat_entry *mq_imatrix_dat_find(const struct mq_imatrix_dat *dat,
                                                       const char *name);

#endif
