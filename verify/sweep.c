/* sweep.c: the baseline and its quantized arms, side by side. */
#include "sweep.h"

#include "error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Squared error and squared weights of each tensor of each arm, filled in any order by the
 * evaluator and summed in the order of tensors. */
struct errors {
    double squared_error, squared_weights;
    bool seen;
};

struct sweep {
    const struct mq_view *view;
    struct mq_referee *referee;
    struct mq_observer inner;       /* the referee's */
    struct mq_arm *arms;            /* [1 + arms] */
    const struct mq_level **levels; /* [arms][tensors] */
    struct errors *errors;          /* [arms][tensors] */
};

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
    if (arm < 1)
        return;
    const size_t n = s->view->tensors_count;
    s->errors[(size_t)(arm - 1) * n + (size_t)(tensor - s->view->tensors)] =
        (struct errors){squared_error, squared_weights, true};
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

static void fill_row(struct mq_sweep_row *row, const char *name, const struct mq_plan_total *total,
                     uint64_t weight_bytes, uint64_t file_bytes)
{
    row->name = name;
    row->weights = total->weights;
    row->weight_bytes = weight_bytes;
    row->file_bytes = file_bytes;
    row->bits_per_weight = total->weights ? 8.0 * (double)weight_bytes / (double)total->weights : 0;
}

/* Sizes, from plans: nothing is written. */
static moeq_status measure(const struct mq_view *view, const struct mq_sweep_arm *arms,
                           size_t arms_count, struct mq_sweep_row *rows, moeq_error *err)
{
    for (size_t a = 0; a < arms_count; a++) {
        struct mq_plan *plan;
        MQ_TRY(mq_plan_create(view, &arms[a].policy, &plan, err));
        fill_row(&rows[1 + a], arms[a].name, &plan->total, plan->total.bytes,
                 plan->layout.file_bytes);
        rows[1 + a].policy = arms[a].policy;
        mq_plan_free(plan);
    }
    struct mq_plan_total stored = {0};
    uint64_t file_bytes = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        stored.weights += view->tensors[i].rows * view->tensors[i].cols;
        stored.bytes += view->tensors[i].rows * view->tensors[i].row_bytes;
    }
    for (size_t i = 0; i < view->files_count; i++)
        file_bytes += view->files[i].file.size_bytes;
    fill_row(&rows[0], "source", &stored, stored.bytes, file_bytes);
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

static moeq_status prepare(struct sweep *s, const struct mq_sweep_arm *arms, size_t arms_count,
                           moeq_error *err)
{
    const size_t n = s->view->tensors_count;
    s->arms = calloc(1 + arms_count, sizeof *s->arms);
    s->levels = calloc(arms_count * n + 1, sizeof *s->levels);
    s->errors = calloc(arms_count * n + 1, sizeof *s->errors);
    if (!s->arms || !s->levels || !s->errors)
        return mq_fail_memory(err, "preparing a sweep");
    s->arms[0] = (struct mq_arm){.name = "source", .view = s->view, .routes_from = -1};
    for (size_t a = 0; a < arms_count; a++) {
        MQ_TRY(choose_levels(s->view, &arms[a].policy, s->levels + a * n, err));
        s->arms[1 + a] = (struct mq_arm){.name = arms[a].name,
                                         .view = s->view,
                                         .levels = s->levels + a * n,
                                         .effort = arms[a].policy.effort,
                                         .routes_from = -1};
    }
    return MOEQ_OK;
}

static moeq_status run(struct sweep *s, const struct mq_context *context, size_t arms_count,
                       struct mq_sweep_result *result, moeq_error *err)
{
    MQ_TRY(mq_referee_create(context, s->arms, 1 + arms_count, &result->text, &s->referee, err));
    s->inner = mq_referee_observer(s->referee);
    const struct mq_observer observer = {
        .user = s,
        .on_router = s->inner.on_router ? on_router : NULL,
        .wants_logits = wants_logits,
        .on_logits = on_logits,
        .on_quantized = on_quantized,
    };
    MQ_TRY(mq_evaluate(context, s->arms, 1 + arms_count, &result->text.windows, &observer, err));
    struct mq_arm_result *results = calloc(1 + arms_count, sizeof *results);
    if (!results)
        return mq_fail_memory(err, "summing up a sweep");
    const moeq_status status = mq_referee_finish(s->referee, results, err);
    for (size_t a = 0; a <= arms_count && status == MOEQ_OK; a++)
        result->rows[a].result = results[a]; /* moves the arrays */
    for (size_t a = 0; a < arms_count && status == MOEQ_OK; a++)
        sum_errors(s, a, &result->rows[1 + a]);
    free(results);
    return status;
}

moeq_status mq_sweep(const struct mq_context *context, const struct mq_view *view,
                     const char *text_path, const struct mq_protocol_options *options,
                     const struct mq_sweep_arm *arms, size_t arms_count,
                     struct mq_sweep_result *result, moeq_error *err)
{
    struct sweep s = {.view = view};
    moeq_status status = MOEQ_OK;
    memset(result, 0, sizeof *result);
    result->view = view;
    result->text_path = text_path;
    result->rows = calloc(1 + arms_count, sizeof *result->rows);
    if (!result->rows) {
        status = mq_fail_memory(err, "preparing a sweep");
        goto out;
    }
    result->rows_count = 1 + arms_count;
    MQ_TRY_OUT(measure(view, arms, arms_count, result->rows, err));
    MQ_TRY_OUT(prepare(&s, arms, arms_count, err));
    MQ_TRY_OUT(mq_protocol_text(options, view, text_path, &result->text, err));
    MQ_TRY_OUT(run(&s, context, arms_count, result, err));
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
    for (size_t i = 0; i < result->rows_count; i++)
        mq_arm_result_free(&result->rows[i].result);
    free(result->rows);
    mq_text_windows_free(&result->text);
    memset(result, 0, sizeof *result);
}
