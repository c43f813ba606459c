/* sweep.c: the baseline and its quantized arms, side by side. */
#include "sweep.h"

#include "error.h"
#include "stored.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Squared error and squared weights of each tensor of each arm, filled in any order by the
 * evaluator and summed in the order of tensors. */
struct errors {
    double squared_error, squared_weights;
    bool seen;
};

/* Arms in this order: the baseline; the levels, each followed with `swap` by its weights with the
 * baseline's routes and the baseline's weights with its routes, and with `int8` by its weights
 * computed with as integers; the noise floor. */
struct sweep {
    const struct mq_view *view;
    const struct mq_sweep_options *options;
    size_t levels_count, arms_count;
    struct mq_referee *referee;
    struct mq_observer inner;       /* the referee's */
    struct mq_arm *arms;            /* [arms_count] */
    const struct mq_level **levels; /* [levels_count][tensors] */
    struct errors *errors;          /* [levels_count][tensors] */
};

/* The place of a level's arm. */
static size_t arm_of(const struct sweep *s, size_t level)
{
    return 1 + level * (1 + 2u * s->options->swap + s->options->int8);
}

/* The place of the same level's arm of integers. */
static size_t int8_arm_of(const struct sweep *s, size_t level)
{
    return arm_of(s, level) + 1 + 2u * s->options->swap;
}

static moeq_status on_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    struct sweep *s = user;
    return s->inner.on_router(s->inner.user, layer, first_token, tokens, routes, err);
}

static bool wants_logits(void *user, size_t position)
{
    struct sweep *s = user;
    return s->inner.wants_logits(s->inner.user, position);
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct sweep *s = user;
    return s->inner.on_logits(s->inner.user, token_index, tokens, logits, err);
}

static void on_quantized(void *user, int arm, const struct mq_tensor *tensor, double squared_error,
                         double squared_weights)
{
    struct sweep *s = user;
    const size_t n = s->view->tensors_count, at = (size_t)(tensor - s->view->tensors);
    for (size_t l = 0; l < s->levels_count; l++)
        if (arm_of(s, l) == (size_t)arm)
            s->errors[l * n + at] = (struct errors){squared_error, squared_weights, true};
}

/* Levels for the evaluator: NULL where the tensor stays as it is stored. */
static moeq_status choose_levels(const struct mq_view *view, const struct mq_policy *policy,
                                 const struct mq_level **levels, moeq_error *err)
{
    MQ_TRY(mq_policy_apply(policy, view, levels, err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_level *stored;
        MQ_TRY(mq_tensor_level(view, &view->tensors[i], &stored, err));
        if (levels[i] == stored)
            levels[i] = NULL;
    }
    return MOEQ_OK;
}

static void fill_row(struct mq_sweep_row *row, const char *name, struct mq_stored_size size)
{
    row->name = name;
    row->weights = size.weights;
    row->weight_bytes = size.weight_bytes;
    row->file_bytes = size.file_bytes;
    row->bits_per_weight = mq_bits_per_weight(size.weight_bytes, size.weights);
}

/* Sizes, from plans: nothing is written. */
static moeq_status measure(const struct mq_view *view, const struct mq_sweep_arm *arms,
                           size_t arms_count, struct mq_sweep_row *rows, moeq_error *err)
{
    for (size_t a = 0; a < arms_count; a++) {
        struct mq_plan *plan;
        rows[1 + a].kind = MQ_SWEEP_LEVEL;
        MQ_TRY(mq_plan_create(view, &arms[a].policy, &plan, err));
        const struct mq_stored_size size = {plan->total.weights, plan->total.bytes,
                                            plan->output_bytes};
        fill_row(&rows[1 + a], arms[a].name, size);
        rows[1 + a].policy = arms[a].policy;
        mq_plan_free(plan);
    }
    fill_row(&rows[0], "source", mq_stored_size(view));
    return MOEQ_OK;
}

static void sum_errors(const struct sweep *s, size_t arm, struct mq_sweep_row *row)
{
    const struct errors *errors = s->errors + arm * s->view->tensors_count;
    double error = 0, weights = 0;
    for (size_t i = 0; i < s->view->tensors_count; i++) {
        if (!errors[i].seen || mq_role_class(s->view->tensors[i].role) != MQ_CLASS_EXPERTS)
            continue;
        error += errors[i].squared_error;
        weights += errors[i].squared_weights;
        row->expert_tensors_quantized++;
    }
    row->expert_relative_rmse = weights > 0 ? sqrt(error / weights) : 0;
}

static moeq_status prepare(struct sweep *s, const struct mq_sweep_arm *arms, moeq_error *err)
{
    const size_t n = s->view->tensors_count;
    const bool floor = s->options->noise_floor;
    s->arms_count = arm_of(s, s->levels_count) + floor;
    s->arms = calloc(s->arms_count, sizeof *s->arms);
    s->levels = calloc(s->levels_count * n + 1, sizeof *s->levels);
    s->errors = calloc(s->levels_count * n + 1, sizeof *s->errors);
    if (!s->arms || !s->levels || !s->errors)
        return mq_fail_memory(err, "preparing a sweep");
    const struct mq_arm source = {.name = "source", .view = s->view, .routes_from = -1};
    s->arms[0] = source;
    for (size_t l = 0; l < s->levels_count; l++) {
        struct mq_arm *arm = &s->arms[arm_of(s, l)];
        MQ_TRY(choose_levels(s->view, &arms[l].policy, s->levels + l * n, err));
        *arm = source;
        arm->name = arms[l].name;
        arm->levels = s->levels + l * n;
        arm->effort = arms[l].policy.effort;
        if (s->options->swap) {
            arm[1] = arm[0];
            arm[1].routes_from = 0;
            arm[2] = source;
            arm[2].routes_from = (int)(arm - s->arms);
        }
        if (s->options->int8) {
            s->arms[int8_arm_of(s, l)] = *arm;
            s->arms[int8_arm_of(s, l)].compute = MQ_COMPUTE_INT8;
        }
    }
    if (floor) {
        s->arms[s->arms_count - 1] = source;
        s->arms[s->arms_count - 1].bf16_activations = true;
    }
    return MOEQ_OK;
}

/* Moves a level's other two results to its row. */
static moeq_status finish_swap(const struct sweep *s, size_t level, struct mq_arm_result *results,
                               struct mq_sweep_row *row, moeq_error *err)
{
    const size_t a = arm_of(s, level);
    row->swap = calloc(1, sizeof *row->swap);
    if (!row->swap)
        return mq_fail_memory(err, "summing up a sweep");
    row->swap->weights = results[a + 1];
    row->swap->routes = results[a + 2];
    row->swap->has_routes = true;
    memset(&results[a + 1], 0, 2 * sizeof *results);
    return mq_referee_shares(s->referee, a, a + 1, a + 2, &row->swap->nll_shares,
                             &row->swap->kld_shares, err);
}

static moeq_status finish_int8(const struct sweep *s, size_t level, struct mq_arm_result *results,
                               struct mq_sweep_row *row, moeq_error *err)
{
    struct mq_arm_result *result = &results[int8_arm_of(s, level)];
    row->int8 = malloc(sizeof *row->int8);
    if (!row->int8)
        return mq_fail_memory(err, "summing up a sweep");
    *row->int8 = *result;
    memset(result, 0, sizeof *result);
    return MOEQ_OK;
}

/* Moves the arms' results to their rows; what is left in `results` is the caller's to free. */
static moeq_status fill_results(const struct sweep *s, struct mq_arm_result *results,
                                struct mq_sweep_result *result, moeq_error *err)
{
    for (size_t i = 0; i < result->rows_count; i++) {
        struct mq_sweep_row *row = &result->rows[i];
        const size_t a = row->kind == MQ_SWEEP_BASELINE ? 0
                         : row->kind == MQ_SWEEP_LEVEL  ? arm_of(s, i - 1)
                                                        : s->arms_count - 1;
        row->result = results[a];
        memset(&results[a], 0, sizeof *results);
        if (row->kind != MQ_SWEEP_LEVEL)
            continue;
        sum_errors(s, i - 1, row);
        if (s->options->swap)
            MQ_TRY(finish_swap(s, i - 1, results, row, err));
        if (s->options->int8)
            MQ_TRY(finish_int8(s, i - 1, results, row, err));
    }
    return MOEQ_OK;
}

static moeq_status run(struct sweep *s, const struct mq_context *context,
                       struct mq_sweep_result *result, moeq_error *err)
{
    MQ_TRY(mq_referee_create(context, s->arms, s->arms_count, &result->text, &s->referee, err));
    s->inner = mq_referee_observer(s->referee);
    const struct mq_observer observer = {
        .user = s,
        .on_router = s->inner.on_router ? on_router : NULL,
        .wants_logits = wants_logits,
        .on_logits = on_logits,
        .on_quantized = on_quantized,
    };
    MQ_TRY(mq_evaluate(context, s->arms, s->arms_count, &result->text.windows, &observer, err));
    struct mq_arm_result *results = calloc(s->arms_count, sizeof *results);
    if (!results)
        return mq_fail_memory(err, "summing up a sweep");
    moeq_status status = mq_referee_finish(s->referee, results, err);
    if (status == MOEQ_OK)
        status = fill_results(s, results, result, err);
    for (size_t a = 0; a < s->arms_count; a++)
        mq_arm_result_free(&results[a]);
    free(results);
    return status;
}

moeq_status mq_sweep(const struct mq_context *context, const struct mq_view *view,
                     const struct mq_text *source, const struct mq_sweep_options *options,
                     const struct mq_sweep_arm *arms, size_t arms_count,
                     struct mq_sweep_result *result, moeq_error *err)
{
    struct sweep s = {.view = view, .options = options, .levels_count = arms_count};
    moeq_status status = MOEQ_OK;
    memset(result, 0, sizeof *result);
    result->view = view;
    result->text_path = source->name;
    result->source = source;
    if (options->swap && view->hparams.experts == 0)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s is a dense model: it has no routes to swap",
                       view->path);
    result->rows = calloc(2 + arms_count, sizeof *result->rows);
    if (!result->rows) {
        status = mq_fail_memory(err, "preparing a sweep");
        goto out;
    }
    result->rows_count = 1 + arms_count + options->noise_floor;
    MQ_TRY_OUT(measure(view, arms, arms_count, result->rows, err));
    if (options->noise_floor) { /* the source in all but its activations */
        result->rows[1 + arms_count] = result->rows[0];
        result->rows[1 + arms_count].name = "bf16 activations";
        result->rows[1 + arms_count].kind = MQ_SWEEP_NOISE_FLOOR;
    }
    MQ_TRY_OUT(prepare(&s, arms, err));
    MQ_TRY_OUT(mq_protocol_text(&options->protocol, view, source, &result->text, err));
    MQ_TRY_OUT(run(&s, context, result, err));
out:
    mq_referee_free(s.referee);
    free(s.arms);
    free(s.levels);
    free(s.errors);
    if (status != MOEQ_OK)
        mq_sweep_result_free(result);
    return status;
}

void mq_sweep_result_free(struct mq_sweep_result *result)
{
    for (size_t i = 0; i < result->rows_count; i++) {
        struct mq_swap_result *swap = result->rows[i].swap;
        mq_arm_result_free(&result->rows[i].result);
        if (swap) {
            mq_arm_result_free(&swap->weights);
            mq_arm_result_free(&swap->routes);
        }
        free(swap);
        if (result->rows[i].int8)
            mq_arm_result_free(result->rows[i].int8);
        free(result->rows[i].int8);
    }
    free(result->rows);
    mq_text_windows_free(&result->text);
    memset(result, 0, sizeof *result);
}
