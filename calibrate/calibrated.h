/*
 * calibrated.h: a conversion's MLPs and experts encoded with error feedback, layer after layer of one pass of the
 * original model over a text.
 *
 * When an expert's tokens are gathered, their covariance is formed, its gate and up matrices are encoded against
 * it, its tokens are run through both forms, and its down matrix is encoded for what the quantized ones give it. Then all of
 * it is dropped: memory holds the tokens' states and one MLP. Layers do not wait for each other, as every one sees the
 * original's states.
 */
#ifndef MQ_CALIBRATED_H
#define MQ_CALIBRATED_H

#include "convert.h"
#include "evaluator.h"
#include "feedback.h"

struct mq_calibrated_options {
    struct mq_feedback_options feedback;
    size_t columns; /* errors are made good within runs of so many columns; 0: of a whole row */
    /* Seconds of work after which the tokens' states are kept beside the output, so that an interrupted conversion need
     * not run their layers again: at a layer's end, and if writing them last took less than a twentieth of that;
     * 0: MQ_CALIBRATED_KEEP_SECONDS; below 0: never */
    double keep_seconds;
};

enum { MQ_CALIBRATED_KEEP_SECONDS = 60 };

/* What came of it: matrices and experts of each kind. */
struct mq_calibrated_result {
    uint64_t matrices;  /* encoded so */
    uint64_t experts, few, without; /* experts met by tokens; by fewer than the matrix has columns; by none */
    uint64_t tokens;
    uint32_t layers_resumed; /* that an earlier run had run */
    uint32_t states_kept;    /* times */
    moeq_error states_error; /* why states could not be kept, or those of an earlier run not used */
};

struct mq_calibrated {
    const struct mq_context *context;
    const struct mq_view *view;
    const struct mq_windows *windows;
    struct mq_calibrated_options options;
    struct mq_calibrated_result result;
};

/* Bytes for the states of all tokens, for the covariances and one MLP. */
uint64_t mq_calibrated_memory(const struct mq_calibrated *calibrated);

/* The widest runs of columns for which context->memory_bytes suffices on one thread: the same whatever the machine. 0:
 * whole rows, also where no memory was asked for, or nothing suffices. */
size_t mq_calibrated_columns(const struct mq_calibrated *calibrated);

/* MOEQ_LIMIT where the memory does not suffice even so: how many tokens would do. */
moeq_status mq_calibrated_check_memory(const struct mq_calibrated *calibrated, moeq_error *err);

/* For struct mq_policy's calibration: on how many tokens, and which; the windows' ids_crc32 as of protocol.h. */
enum { MQ_CALIBRATED_SENTENCE = 128 };
void mq_calibrated_sentence(const struct mq_calibrated *calibrated, uint32_t ids_crc32,
                            char sentence[MQ_CALIBRATED_SENTENCE]);

/* For mq_convert_options.encoder: `user` is a struct mq_calibrated. MOEQ_LIMIT where context->memory_bytes (0: half of
 * the machine's) does not suffice, naming how many tokens would. */
moeq_status mq_calibrated_run(void *user, struct mq_convert_sink *sink, moeq_error *err);

#endif
