/*
 * verify.h: `verify MODEL [MODEL_B] --against BASE|REF`: stored models judged against the original,
 * or against a recording of it, with figures that are the same to the last digit.
 */
#ifndef MQ_VERIFY_H
#define MQ_VERIFY_H

#include "bootstrap.h"
#include "record.h"
#include "sweep.h"

enum { MQ_VERIFY_MODELS = 2 };

struct mq_verify_result;

struct mq_verify_options {
    const char *against;                /* a model, or a recording */
    const struct mq_open_options *open; /* how `against` is read; NULL: the defaults */
    /* Against a model. Against a recording, which has its own text: NULL, or one whose tokens are
     * the same (anything else fails); the protocol is the recording's. */
    const struct mq_text *text;
    struct mq_protocol_options protocol;
    /* Two more arms for each model, as in a sweep; against a recording, which has no weights to run
     * with a model's routes, one: the model's weights with the recorded routes. */
    bool swap;
    bool noise_floor; /* one more arm, as in a sweep; against a model alone */
    /* The arithmetic of all models that run, the original among them. Not given: against a
     * recording, whose states were computed long ago, the one that it was made with; else f32. */
    bool has_compute;
    enum mq_compute compute;
    /* Called when all is opened, checked and cut into windows, before the evaluation, which may
     * take hours: of the result everything but what is measured is there. May be NULL; what it
     * returns other than MOEQ_OK ends the verification. */
    moeq_status (*before)(void *user, const struct mq_verify_result *result, moeq_error *err);
    void *before_user;
};

/* B minus A: of two models' figures, window by window. */
struct mq_paired_difference {
    const char *name; /* "kld_nats" */
    struct mq_bootstrap b_minus_a;
};

struct mq_verify_result {
    /* rows[0] the baseline, then the models, then the noise floor if asked for; what a sweep says
     * of its arms. `view` is the baseline's, `compute` the models': see mq_verify_same_compute. */
    struct mq_sweep_result sweep;
    const struct mq_view *models[MQ_VERIFY_MODELS];
    size_t models_count; /* so rows[models_count] is the last model's: what gates are about */
    struct mq_reference *reference; /* NULL against a model */
    struct mq_view *base;           /* NULL against a recording */
    const char *paths[1 + MQ_VERIFY_MODELS];
    /* Whether the model's own tokenizer was found to cut the text as the original's does; false
     * where one of them has none that can be read. */
    bool tokens_compared[MQ_VERIFY_MODELS];                     /* see mq_verify_token_note */
    struct mq_paired_difference differences[MQ_WINDOW_FIGURES]; /* with two models */
    size_t differences_count;
    /* Set with the failure that options.text caused: it is not the recording's text. */
    bool other_text;
};

/*
 * views[count], 1 or 2 models; they and the strings in options must outlive the result. Fails,
 * before anything is evaluated, if one of the models has another tokenizer or another architecture
 * than the baseline (models without a tokenizer.json are compared by architecture alone, which
 * includes the vocabulary's size).
 */
moeq_status mq_verify(const struct mq_context *context, const struct mq_view *const *views,
                      size_t count, const struct mq_verify_options *options,
                      struct mq_verify_result *result, moeq_error *err);
void mq_verify_result_free(struct mq_verify_result *result);

/* Whether the models ran with the baseline's arithmetic. Otherwise the figures hold what that
 * changes, too. */
static inline bool mq_verify_same_compute(const struct mq_verify_result *result)
{
    return result->sweep.rows[0].compute == result->sweep.compute;
}

/* The note on model i where its tokens could not be compared with the original's. */
void mq_verify_token_note(const struct mq_verify_result *result, size_t i, struct mq_buffer *note);

#endif
