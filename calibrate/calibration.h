/*
 * calibration.h: what a model's matrices met of some texts, as sums: what `moeq calibrate` writes.
 *
 * A calibration is a safetensors file, laid out and checksummed as a moeq file is (so `check` works):
 *
 *     ROLE.L.sums     I64 [experts, 7]         of each expert's matrix (experts is 1 where there are none)
 *                                              a struct mq_calibration_sums
 *     ROLE.L.in_sum2  I64 [experts, 2 * cols]  of each of its columns the sum of the inputs' squares, a
 *                                              struct mq_exact_sum. None of a gate: its inputs are up's
 *     config.json     U8                       the architecture
 *     moeq.pad.*, moeq.crc32                   as in a moeq file (formats/FORMAT.md)
 *
 * Metadata: format "moeqcal", moeqcal.version, .producer, .family, .model (a JSON object: name, and
 * fingerprint, see model_fingerprint.h), .texts (a JSON array, see struct mq_calibration_text), and
 * moeq.options as in a moeq file.
 *
 * Sums are exact (exact_sum.h): calibrations of different texts add up to that of all of them, in any
 * order, to the last bit.
 */
#ifndef MQ_CALIBRATION_H
#define MQ_CALIBRATION_H

#include "context.h"
#include "exact_sum.h"
#include "model_view.h"
#include "safetensors.h"

#define MQ_CALIBRATION_FORMAT "moeqcal"
#define MQ_CALIBRATION_VERSION "1"
#define MQ_CALIBRATION_META_VERSION "moeqcal.version"
#define MQ_CALIBRATION_META_PRODUCER "moeqcal.producer"
#define MQ_CALIBRATION_META_FAMILY "moeqcal.family"
#define MQ_CALIBRATION_META_MODEL "moeqcal.model"
#define MQ_CALIBRATION_META_TEXTS "moeqcal.texts"

/* Of one matrix. Its outputs are without biases; its weights' squares are those of the matrix alone, once,
 * and 0 where no token met it. */
struct mq_calibration_sums {
    int64_t tokens;
    struct mq_exact_sum routing; /* of the tokens' routing weights; 0 of no expert's */
    struct mq_exact_sum outputs, weights;
};

/* Matrices of a role in a layer. */
struct mq_calibration_group {
    enum mq_role role;
    int32_t layer;
    uint32_t experts; /* 1 where the matrix is no expert's, */
    bool routed;      /* false */
    uint64_t rows, cols;
    size_t inputs; /* the group that has the inputs' squares: this one, or up's of a gate */
    uint64_t sums_offset, columns_offset; /* in a file; columns_offset of `inputs` */
};

struct mq_calibration_groups {
    struct mq_calibration_group *all; /* by layer, then role */
    size_t count;
    int32_t *of; /* [layers][MQ_ROLE_COUNT] -> all; -1: none */
};

/* The groups of a model: all matrices of layers but routers and what else is never quantized. */
moeq_status mq_calibration_groups(const struct mq_view *view, struct mq_arena *arena,
                                  struct mq_calibration_groups *groups, moeq_error *err);
/* That of a tensor; NULL: none. */
const struct mq_calibration_group *
mq_calibration_group_of(const struct mq_calibration_groups *groups, const struct mq_tensor *tensor);

static inline uint64_t mq_calibration_column_bytes(const struct mq_calibration_group *group)
{
    return group->cols * sizeof(struct mq_exact_sum);
}

/* A text that was seen. */
struct mq_calibration_text {
    const char *name; /* of the domain */
    uint64_t tokens, context, bytes;
    uint32_t crc32, ids_crc32; /* of the text, of the tokens' ids */
    double common;             /* see token_profile.h; */
    const char *profile;       /* NULL: not known, since the file is older */
};

/* A calibration, opened, or one that is being made. */
struct mq_calibration {
    const char *path;
    struct mq_view *view; /* the architecture; the reader's own */
    struct mq_calibration_groups groups;
    struct mq_file file;
    const char *model_name;
    uint32_t fingerprint;
    struct mq_calibration_text *texts;
    size_t texts_count;
};

/* Whether a file begins as calibrations do; a folder, and what is not there, is none. */
moeq_status mq_is_calibration(const char *path, bool *yes, moeq_error *err);

/* Checks every checksum (the file is read once from end to end) and every shape. context NULL: checksums are
 * not looked at, for fuzzing. */
moeq_status mq_calibration_open(const struct mq_context *context, const char *path,
                                struct mq_calibration **calibration, moeq_error *err);
void mq_calibration_close(struct mq_calibration *calibration); /* NULL is fine */
/* Fails if its file is another one by now. */
moeq_status mq_calibration_check_unchanged(const struct mq_calibration *calibration,
                                           moeq_error *err);

/* The sums of one matrix, and of its inputs' columns [group->cols] (NULL: not wanted). */
moeq_status mq_calibration_read(const struct mq_calibration *calibration,
                                const struct mq_calibration_group *group, uint32_t expert,
                                struct mq_calibration_sums *sums, struct mq_exact_sum *columns,
                                moeq_error *err);

/* Whether sums are of squares and weights that did not overflow: as they are read, and written. */
bool mq_calibration_is_sound(const struct mq_calibration_sums *sums);

/* a += b, of sums that are >= 0: false where that is too large. */
bool mq_calibration_add(struct mq_exact_sum *a, const struct mq_exact_sum *b);
bool mq_calibration_add_sums(struct mq_calibration_sums *a, const struct mq_calibration_sums *b);

/* mean |W x|^2 cols / (|W|^2 mean |x|^2): by how much more the inputs are where the matrix is large than
 * inputs of the same size and any direction would. NAN where nothing is known. */
double mq_calibration_alignment(const struct mq_calibration_group *group,
                                const struct mq_calibration_sums *sums,
                                const struct mq_exact_sum *columns);

#endif
