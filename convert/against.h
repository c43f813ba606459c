/*
 * against.h: is a file what a plan would write? The plan is executed, and every byte of its tensors compared with the file's
 * instead of being written; then side files and metadata.
 *
 * Tensors are found by their names, so it does not matter how the model is cut into files.
 */
#ifndef MQ_AGAINST_H
#define MQ_AGAINST_H

#include "convert.h"

struct mq_against_difference {
    const char *tensor, *file;  /* of the output; file NULL where it is not there */
    const char *why;            /* NULL: bytes differ; otherwise a sentence */
    int64_t expert;             /* of a tensor that holds several; otherwise -1 */
    uint64_t row;               /* of it, as the file has it: the first that differs */
    uint64_t offset;            /* in the file: the first byte that differs */
    uint64_t bytes, size_bytes; /* that differ, of so many */
};

struct mq_against_key {
    const char *key, *expected, *found; /* as people read it; NULL: it is not there */
};

enum { MQ_AGAINST_LISTED = 1000 };

struct mq_against_result {
    struct mq_against_difference *differences; /* in the order of the file, at most so many */
    size_t listed_count;
    uint64_t different; /* all */
    struct mq_against_key *keys;
    size_t keys_count;
    uint64_t tensors, bytes; /* compared */
    const char *notes[4];    /* what is not compared, and is another */
    size_t notes_count;
    struct mq_arena *arena;
};

static inline bool mq_against_equal(const struct mq_against_result *r)
{
    return !r->different && !r->keys_count;
}

/* output: what is to be found out about; plan: of its source, made for this (places in it become those of the output). Free
 * the result in any case. */
moeq_status mq_against(const struct mq_context *context, const struct mq_view *output,
                       struct mq_plan *plan, bool gguf, const struct mq_convert_encoder *encoder,
                       struct mq_against_result *result, moeq_error *err);
void mq_against_free(struct mq_against_result *result);

/* MOEQ_OK, or the first difference. */
moeq_status mq_against_status(const struct mq_view *output, const struct mq_against_result *result,
                              moeq_error *err);

#endif
