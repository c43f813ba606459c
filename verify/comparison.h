/*
 * comparison.h: one baseline and any number of candidates, judged side by side in one pass over the
 * weights: what `sweep` and `verify` are.
 *
 * A candidate is a way to quantize the baseline (a level or a recipe), on the fly, or a model stored
 * in files of its own. With the same weights both give the same figures to the last digit; and so
 * does a recording in the place of its original.
 */
#ifndef MQ_COMPARISON_H
#define MQ_COMPARISON_H

#include "baseline.h"
#include "bootstrap.h"
#include "figures.h"
#include "losses.h"
#include "plan.h"
#include "referee.h"

/* Far more than one compares; each has its row in tables and its colour in charts, its states for
 * every token of a pass, and its files open at a time. */
enum { MQ_CANDIDATES_MAX = 64 };

struct mq_candidate {
    const char *name;           /* "q4_k", "A" */
    struct mq_policy policy;    /* how to quantize the baseline; or, not read then: */
    const struct mq_view *file; /* a stored model */
    /* Of a policy: a stored model that was made by it already, which runs in place of quantizing on the fly; NULL:
     * none. */
    const struct mq_view *made;
};

/* What rows call the file number i, from 0: "A" to "Z", then "AA". */
const char *mq_file_letter(size_t i);

/*
 * The 2x2 table of a candidate, weights by routes: neither is the baseline, both is the candidate
 * itself, and these are the others. An arm that runs with another's routes takes its experts and
 * their weights, at every token of every layer, and its own router decides nothing.
 */
struct mq_swap_result {
    struct mq_arm_result weights; /* all of the candidate's weights, with the baseline's routes */
    /* The baseline's weights, with the routes that the candidate chose. Not there where the
     * baseline is a recording: then has_routes is false, and its shares and the interaction NaN. */
    struct mq_arm_result routes;
    bool has_routes;
    struct mq_loss_shares nll_shares, kld_shares;
};

enum mq_row_kind { MQ_ROW_BASELINE, MQ_ROW_LEVEL, MQ_ROW_FILE, MQ_ROW_NOISE_FLOOR };

struct mq_comparison_row {
    const char *name;
    enum mq_row_kind kind;
    enum mq_compute compute;    /* of `result` and `swap` */
    struct mq_policy policy;    /* of a level; all NULL for the others */
    const struct mq_view *file; /* of a file; NULL for the others */
    /* Of a file: whether its own tokenizer was found to cut the text as the baseline's does; false
     * where one of them has none that can be read. See mq_row_token_note. */
    bool tokens_compared;
    char *
        domain_note; /* owned: that it was calibrated on text of another kind (token_profile.h); NULL: nothing to say */
    uint64_t weights, weight_bytes; /* all tensors; of the baseline and of files, as stored */
    uint64_t file_bytes;            /* of the moeq file a level would make; of the model's files */
    double bits_per_weight;         /* 8 weight_bytes / weights */
    /* sqrt(sum of squared errors / sum of squared weights) over the experts' and MLPs' matrices
     * that were quantized on the fly; 0 where nothing was, NaN of one that was made before. */
    double expert_relative_rmse;
    uint64_t expert_tensors_quantized;
    struct mq_losses losses; /* matrices that lost more than usual, of a level on the fly */
    struct mq_arm_result result;
    struct mq_swap_result *swap; /* of a candidate; NULL unless asked for */
    struct mq_arm_result *int8;  /* of a candidate, with MQ_COMPUTE_INT8; NULL unless asked for */
};

/* One candidate minus another: their figures, window by window. */
struct mq_difference {
    size_t row, minus; /* rows */
    struct {
        const struct mq_figure *figure;
        struct mq_bootstrap difference;
    } figures[MQ_WINDOW_FIGURES];
    size_t figures_count;
};

struct mq_comparison {
    const struct mq_baseline *baseline;
    const char *text_path;        /* its name */
    const struct mq_text *source; /* NULL: a recording's */
    struct mq_text_windows text;
    enum mq_compute compute; /* of the candidates' rows; see mq_same_compute */
    /* [0]: the baseline; then the candidates; then the noise floor if asked for */
    struct mq_comparison_row *rows;
    size_t rows_count;
    size_t candidates_count; /* so rows[candidates_count] is the last one's: what gates judge */
    size_t files_count;      /* of them */
    /* Of every candidate but the first, minus the first; only where one of them is a file. */
    struct mq_difference *differences;
    size_t differences_count;
    /* How it is run, known before it is: models and variants side by side that are computed (not a recording's), passes
     * over the weights, and bytes of buffers and states. */
    size_t arms_count, passes;
    uint64_t pass_bytes;
    /* Set with the failure that the text caused: it is not the recording's. */
    bool other_text;
};

struct mq_comparison_options {
    /* Against a model. Against a recording, which has its own text: NULL, or one whose tokens are
     * the same (anything else fails); the protocol is the recording's. */
    const struct mq_text *text;
    struct mq_protocol_options protocol;
    /* Two more arms for each candidate, which separate the damage by coarse weights from that by
     * wrong routes; against a recording, which has no weights to run with a candidate's routes, one:
     * the candidate's weights with the recorded routes. */
    bool swap;
    /* One more arm: the baseline's weights with activations rounded to bf16
     * (mq_arm.bf16_activations). An implementation in bf16 loses about so much by its rounding
     * alone. Against a model alone. */
    bool noise_floor;
    /* One more arm for each candidate: the same weights computed with as integers
     * (MQ_COMPUTE_INT8), whatever `compute` is. */
    bool int8;
    /* The arithmetic of all models that run, the baseline among them. Not given: against a
     * recording, whose states were computed long ago, the one that it was made with; else f32. */
    bool has_compute;
    enum mq_compute compute;
    /* A matrix that its level cannot hold (losses.h) is no error. */
    bool allow_loss;
    /* Called when all is checked and cut into windows, before the evaluation, which may take hours:
     * of the comparison everything but what is measured is there. May be NULL; what it returns
     * other than MOEQ_OK ends the comparison. */
    moeq_status (*before)(void *user, const struct mq_comparison *comparison, moeq_error *err);
    void *before_user;
};

/*
 * Writes nothing. Fails, before anything is evaluated, if a file has another tokenizer or another
 * architecture than the baseline (models without a tokenizer.json are compared by architecture
 * alone, which includes the vocabulary's size), if a file is given twice, if levels are to be made
 * of a recording, or if the routes of a model without experts are to be swapped.
 *
 * A tensor whose level is the one it is stored at keeps its bytes, so the baseline's own level gives
 * exactly the baseline. The baseline, the candidates' names and files and the text must outlive the
 * result.
 */
moeq_status mq_compare(const struct mq_context *context, const struct mq_baseline *baseline,
                       const struct mq_candidate *candidates, size_t count,
                       const struct mq_comparison_options *options,
                       struct mq_comparison *comparison, moeq_error *err);
/* Levels for the evaluator, [view's tensors]: NULL where the tensor stays as it is stored. */
moeq_status mq_comparison_levels(const struct mq_view *view, const struct mq_policy *policy,
                                 const struct mq_level **levels, moeq_error *err);
void mq_comparison_free(struct mq_comparison *comparison);

/* Whether the candidates ran with the baseline's arithmetic. Otherwise the figures hold what that
 * changes, too. */
static inline bool mq_same_compute(const struct mq_comparison *c)
{
    return c->rows[0].compute == c->compute;
}

/* Whether a row has a note on its domain that no level before it had: levels are calibrated together. */
bool mq_row_tells_domain(const struct mq_comparison *comparison, size_t row);

/* The note on a file whose tokens could not be compared with the baseline's. */
void mq_row_token_note(const struct mq_comparison_row *row, struct mq_buffer *note);

#endif
