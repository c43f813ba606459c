/* pass_common.c: what the steps of a pass have in common: weights, products, rounding, progress. */
#include "pass_int.h"

#include "checked.h"
#include "error.h"
#include "kept_weights.h"
#include "round_bf16.h"

#include <stdio.h>

/* ---- sizes ---- */

static void add_sizes(const struct mq_program *program, struct mq_linear_sizes *sizes)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at))) {
        sizes->rows = mq_max_u64(sizes->rows, slot->rows);
        sizes->cols = mq_max_u64(sizes->cols, slot->cols);
    }
}

/* Rows that an arm's levels encode together. */
static uint64_t band_rows_of(const struct mq_arm *arm)
{
    uint64_t most = 1;
    for (size_t i = 0; arm->levels && i < arm->view->tensors_count; i++)
        if (arm->levels[i])
            most = mq_max_u64(most, arm->levels[i]->band_rows);
    return most;
}

/* A weight takes at most 4 bytes in any storage. */
struct mq_linear_sizes mq_pass_products(const struct mq_arm *arms, size_t count)
{
    const struct mq_model_program *program = arms[0].view->program;
    struct mq_linear_sizes sizes = {.arms = count};
    for (size_t a = 0; a < count; a++) {
        sizes.int8 |= arms[a].compute == MQ_COMPUTE_INT8;
        sizes.band_rows = mq_max_u64(sizes.band_rows, band_rows_of(&arms[a]));
    }
    add_sizes(&program->end, &sizes);
    for (size_t i = 0; i < program->kinds_count; i++)
        add_sizes(&program->kinds[i], &sizes);
    sizes.row_bytes = 4 * sizes.cols + 64;
    return sizes;
}

uint64_t mq_pass_weights_sum(const struct mq_view *view, uint32_t begin, uint32_t end, bool logits)
{
    uint64_t sum = logits ? (uint64_t)view->hparams.vocab * view->hparams.hidden : 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (t->layer >= (int64_t)begin && t->layer < (int64_t)end && t->rows > 1)
            sum += t->rows * t->cols;
    }
    return sum;
}

/* ---- progress ---- */

moeq_status mq_pass_check_cancelled(const struct mq_pass *pass, moeq_error *err)
{
    return mq_cancelled(pass->context) ? mq_fail(err, MOEQ_CANCELLED, "interrupted") : MOEQ_OK;
}

void mq_pass_progress(struct mq_pass *pass, int32_t layer, uint64_t weights)
{
    pass->weights_done = mq_min_u64(pass->weights_done + weights, pass->weights_total);
    if (!pass->context->progress || !pass->weights_total)
        return;
    char phase[96];
    const uint32_t layers = pass->hparams->layers;
    if (layer >= 0)
        snprintf(phase, sizeof phase, "pass %zu/%zu layer %d/%u", pass->pass, pass->passes,
                 layer + 1, layers);
    else
        snprintf(phase, sizeof phase, "pass %zu/%zu logits", pass->pass, pass->passes);
    /* The share of the weights that are done, told as tokens: the rate is then that of whole
     * tokens. */
    const uint64_t tokens = (uint64_t)pass->windows->count * pass->windows->length;
    const double share = (double)pass->weights_done / (double)pass->weights_total;
    const struct mq_progress progress = {phase, (uint64_t)(share * (double)tokens), tokens,
                                         "tokens"};
    pass->context->progress(pass->context->progress_user, &progress);
}

void mq_pass_weights(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert)
{
    mq_pass_weights_of(pass, role, layer, expert, 0);
}

void mq_pass_weights_of(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert,
                        size_t product)
{
    struct mq_linear_arm *products = pass->products + product * pass->arms_count;
    size_t running = 0;
    while (!mq_pass_runs(pass, running)) /* mq_arms_check has seen one that does */
        running++;
    for (size_t a = 0; a < pass->arms_count; a++) {
        /* A played-back arm has no weights in a layer: with another's and no tokens it costs
         * nothing. */
        const bool idle = layer >= 0 && !mq_pass_runs(pass, a);
        products[a] = (struct mq_linear_arm){
            .weights = mq_arm_weights(pass->arms[idle ? running : a].arm, role, layer, expert),
            .tokens = idle ? 0 : pass->tokens,
            .compute = pass->arms[a].arm->compute,
            .int8 = pass->arms[a].int8,
            .bf16 = pass->arms[a].arm->bf16_activations,
        };
    }
}

moeq_status mq_pass_tell_product(const struct mq_pass *pass, struct mq_linear_arm *arm, int number,
                                 size_t first, const uint32_t *token, const float *scale,
                                 moeq_error *err)
{
    const struct mq_observer *observer = pass->observer;
    const struct mq_tensor *tensor = arm->weights.tensor;
    struct mq_product product = {
        .arm = number,
        .shape = pass->layer,
        .tensor = tensor,
        .first_row = arm->first_row,
        .rows = arm->rows_count ? arm->rows_count : tensor->rows,
        .tokens = arm->tokens,
        .x = arm->x,
        .ldx = arm->ldx,
        .first_token = pass->first_window * pass->windows->length + first,
        .token = token,
        .scale = scale,
    };
    if (!observer->on_product || !mq_pass_runs(pass, (size_t)number))
        return MOEQ_OK;
    MQ_TRY(observer->on_product(observer->user, &product, err));
    arm->sums = product.sums;
    return MOEQ_OK;
}

moeq_status mq_pass_tell_quantized(const struct mq_pass *pass, size_t products, moeq_error *err)
{
    const struct mq_observer *observer = pass->observer;
    for (size_t i = 0; i < products * pass->arms_count; i++) {
        const struct mq_linear_arm *p = &pass->products[i];
        const struct mq_quantized quantized = {.arm = (int)(i % pass->arms_count),
                                               .view = p->weights.view,
                                               .tensor = p->weights.tensor,
                                               .level = p->weights.level,
                                               .rows = p->rows_count ? p->rows_count
                                                                     : p->weights.tensor->rows,
                                               .squares = p->squares};
        if (p->measure && p->weights.level)
            MQ_TRY(observer->on_quantized(observer->user, &quantized, err));
    }
    return MOEQ_OK;
}

moeq_status mq_pass_apply(struct mq_pass *pass, enum mq_linear_output output, moeq_error *err)
{
    const struct mq_tensor *tensor = pass->products[0].weights.tensor;
    const uint64_t some = pass->products[0].rows_count;
    const bool measure = pass->first_window == 0 && pass->observer->on_quantized;
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].measure = measure && (tensor->layer < 0 || mq_pass_runs(pass, a));
        MQ_TRY(mq_pass_tell_product(pass, &pass->products[a], (int)a, 0, NULL, NULL, err));
    }
    MQ_TRY(mq_linear_apply(pass->linear, output, pass->products, pass->arms_count, 1, err));
    if (measure)
        MQ_TRY(mq_pass_tell_quantized(pass, 1, err));
    if (tensor->layer >= 0)
        mq_pass_progress(pass, tensor->layer, (some ? some : tensor->rows) * tensor->cols);
    return MOEQ_OK;
}

void mq_pass_round(const struct mq_pass *pass, const struct mq_pass_arm *arm, float *x, size_t n,
                   size_t ld)
{
    if (!arm->arm->bf16_activations)
        return;
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        mq_round_bf16(x + (size_t)t * ld, n);
}

moeq_status mq_pass_bias(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert,
                         moeq_error *err)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        float *bias = pass->biases + a * pass->sizes.vector;
        if (layer >= 0 && !mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_vector(pass, &pass->arms[a], role, layer, expert, bias, err));
        pass->products[a].bias = bias;
    }
    return MOEQ_OK;
}

moeq_status mq_pass_load_vector(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                enum mq_role role, int32_t layer, int32_t expert, float *vector,
                                moeq_error *err)
{
    const struct mq_weights weights = mq_arm_weights(arm->arm, role, layer, expert);
    const struct mq_level *level = weights.level ? weights.level : weights.storage;
    struct mq_kept_matrix *kept = mq_kept_weights_matrix(pass->kept, &weights);
    if (mq_kept_matrix_has(kept, 0, 1)) {
        const uint8_t *bytes;
        MQ_TRY(mq_kept_matrix_get(kept, 0, 1, pass->row_bytes, &bytes, err));
        mq_level_decode_rows(level, pass->context->isa, bytes, 1, weights.tensor->cols, vector);
        return MOEQ_OK;
    }
    const uint64_t begin_ns = mq_kept_clock_ns();
    MQ_TRY(mq_weights_load(&weights, pass->context->isa, 0, 1, pass->row_bytes, vector, err));
    if (kept) {
        mq_kept_matrix_put(kept, 0, 1, pass->row_bytes, begin_ns);
        mq_kept_matrix_add(kept, 0, 1);
    }
    return MOEQ_OK;
}

/* ---- norms ---- */

void mq_pass_norm_rows(const struct mq_pass *pass, const struct mq_pass_arm *arm, const float *x,
                       float *y)
{
    const size_t n = pass->sizes.hidden;
    if (pass->layer->norm == MQ_NORM_LAYER)
        pass->kernels->layer_norm(x, pass->norm, pass->layer->norm_bias ? pass->norm_bias : NULL, n,
                                  pass->layer->norm_eps, y);
    else
        pass->kernels->rms_norm(x, pass->norm, n, pass->layer->norm_eps, y);
    if (arm->arm->bf16_activations)
        mq_round_bf16(y, n);
}

moeq_status mq_pass_load_norm(struct mq_pass *pass, const struct mq_pass_arm *arm,
                              enum mq_role role, int32_t layer, moeq_error *err)
{
    MQ_TRY(mq_pass_load_vector(pass, arm, role, layer, -1, pass->norm, err));
    const size_t n = mq_arm_weights(arm->arm, role, layer, -1).tensor->cols;
    for (size_t i = 0; pass->layer->norm == MQ_NORM_RMS_PLUS_ONE && i < n; i++)
        pass->norm[i] += 1.0f;
    return MOEQ_OK;
}

/* The norm of a step, with its biases where it has them. */
moeq_status mq_pass_load_step_norm(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                   const struct mq_step *step, int32_t layer, moeq_error *err)
{
    if (pass->layer->norm_bias)
        MQ_TRY(mq_pass_load_vector(pass, arm, step->slots[1].role, layer, -1, pass->norm_bias, err));
    return mq_pass_load_norm(pass, arm, step->slots[0].role, layer, err);
}

/* x = norm(h). Norms are one vector: read anew each time, which costs nothing beside matrices. */
moeq_status mq_pass_norm(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                         moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_step_norm(pass, arm, step, layer, err));
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
            mq_pass_norm_rows(pass, arm, arm->hidden + (size_t)t * s->hidden,
                              arm->x + (size_t)t * s->ldh);
    }
    return mq_pass_check_cancelled(pass, err);
}

/* The branch is normalized where it stands. */
moeq_status mq_pass_norm_out(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                             moeq_error *err)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_step_norm(pass, arm, step, layer, err));
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++) {
            float *b = arm->branch + (size_t)t * arm->branch_ld;
            mq_pass_norm_rows(pass, arm, b, b);
        }
    }
    return MOEQ_OK;
}

/* x = h / rms(h) * w * own_norm (Gemma 4's router: own_norm is 1 / sqrt(hidden)). */
moeq_status mq_pass_router_norm(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                                moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_vector(pass, arm, step->slots[0].role, layer, -1, pass->norm, err));
        for (size_t i = 0; i < s->hidden; i++)
            pass->norm[i] *= pass->layer->ffn.router.own_norm;
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
            pass->kernels->rms_norm(arm->hidden + (size_t)t * s->hidden, pass->norm, s->hidden,
                                    pass->layer->norm_eps, arm->x + (size_t)t * s->ldh);
        mq_pass_round(pass, arm, arm->x, s->hidden, s->ldh);
    }
    return MOEQ_OK;
}

/* ---- branches and the residual stream ---- */

/* [tokens][hidden] of every arm: y = (add ? y : 0) + x. */
static void copy_rows(const struct mq_pass *pass, float *y, size_t ldy, const float *x, size_t ldx,
                      bool add)
{
    const size_t n = pass->sizes.hidden;
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        for (size_t i = 0; i < n; i++)
            y[(size_t)t * ldy + i] = (add ? y[(size_t)t * ldy + i] : 0.0f) + x[(size_t)t * ldx + i];
}

moeq_status mq_pass_keep(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                         moeq_error *err)
{
    (void)step, (void)layer, (void)err;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (mq_pass_runs(pass, a))
            copy_rows(pass, arm->kept, pass->sizes.hidden, arm->branch, arm->branch_ld, false);
    }
    return MOEQ_OK;
}

moeq_status mq_pass_add_kept(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                             moeq_error *err)
{
    (void)step, (void)layer, (void)err;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        copy_rows(pass, arm->branch, arm->branch_ld, arm->kept, pass->sizes.hidden, true);
        mq_pass_round(pass, arm, arm->branch, pass->sizes.hidden, arm->branch_ld);
    }
    return MOEQ_OK;
}

moeq_status mq_pass_rescale(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                            moeq_error *err)
{
    const size_t n = pass->sizes.hidden;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        float scale;
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_vector(pass, arm, step->slots[0].role, layer, -1, &scale, err));
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t i = 0; i < (int64_t)(pass->tokens * n); i++)
            arm->hidden[i] *= scale;
        mq_pass_round(pass, arm, arm->hidden, n, n);
    }
    return MOEQ_OK;
}

void mq_pass_branch_is_x(struct mq_pass *pass)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->arms[a].branch = pass->arms[a].x;
        pass->arms[a].branch_ld = pass->sizes.ldh;
    }
}

/* An arm of bf16 activations rounds the branch and the sum. */
moeq_status mq_pass_add(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                        moeq_error *err)
{
    const size_t n = pass->sizes.hidden;
    (void)step, (void)layer, (void)err;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        mq_pass_round(pass, arm, arm->branch, n, arm->branch_ld);
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
            pass->kernels->add_scaled(arm->hidden + (size_t)t * n,
                                      arm->branch + (size_t)t * arm->branch_ld,
                                      pass->layer->residual_scale, n);
        mq_pass_round(pass, arm, arm->hidden, n, n);
    }
    return MOEQ_OK;
}
