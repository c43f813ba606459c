/*
 * mixers_int.h: what the steps `delta`, `convolution` and `mamba` share: their small weights, room
 * for states, and their products.
 */
#ifndef MQ_MIXERS_INT_H
#define MQ_MIXERS_INT_H

#include "pass_int.h"
#include "recurrent.h"

/* Of the arm and layer at hand, all as floats; NULL or unused in a model without such mixers. */
struct mq_mixers {
    uint8_t *bytes;     /* the convolution's weights as stored, */
    float *stored;      /* as read: [channels][taps], */
    float *weights;     /* and as mq_convolve takes them: [taps][channels] */
    float *bias;        /* [channels] */
    float *vectors[4];  /* [longest vector]: decay, step_bias, skip, norm */
    float *scratch;     /* of recurrences: of all threads */
    size_t taps_bytes;  /* of a channel in `bytes`, at most */
    size_t channels, taps, vector, thread_floats;
};

/* For all layers of a program. */
uint64_t mq_mixers_bytes(const struct mq_context *context, const struct mq_model_program *program);
moeq_status mq_mixers_create(const struct mq_context *context,
                             const struct mq_model_program *program, struct mq_mixers **mixers,
                             moeq_error *err);
void mq_mixers_destroy(struct mq_mixers *mixers); /* NULL is fine */

/* mixers->stored and ->bias = an arm's convolution of a layer. */
moeq_status mq_mixers_load_convolution(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                       int32_t layer, moeq_error *err);
/* mixers->vectors = an arm's decay, step_bias and norm, and skip where there is one. */
moeq_status mq_mixers_load_vectors(struct mq_pass *pass, const struct mq_pass_arm *arm, bool skip,
                                   int32_t layer, moeq_error *err);
enum { MQ_MIXER_DECAY, MQ_MIXER_STEP_BIAS, MQ_MIXER_SKIP, MQ_MIXER_NORM };

/* The convolution's job at a place of an arm's rows, with what was loaded. */
struct mq_convolution_job mq_mixers_convolution(const struct mq_pass *pass,
                                                const struct mq_pass_arm *arm, int32_t layer,
                                                float *x, size_t ld, size_t channels);
/* `heads` heads of n numbers side by side. */
struct mq_head_rows mq_mixers_heads(float *rows, size_t ld, size_t heads, size_t n);

/* A product of all arms' x, `at` floats into the work area. f32: whatever the arm computes in. */
moeq_status mq_mixers_project(struct mq_pass *pass, enum mq_role role, int32_t layer, size_t at,
                              size_t ld, bool f32, moeq_error *err);
/* The branch: MIX_OUT of what stands `at` floats into the work area. */
moeq_status mq_mixers_out(struct mq_pass *pass, int32_t layer, size_t at, size_t ld,
                          moeq_error *err);

#endif
