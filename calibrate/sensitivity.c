/*
 * sensitivity.c: each matrix of an expert quantized alone.
 *
 * The products stream the weights once for all variants (linear.h): with k levels, gate's product
 * is formed k + 1 times, up's for those and k of its own, down's for all 2k + 1 and k of its own.
 */
#include "sensitivity.h"

#include "checked.h"
#include "ends_sensitivity.h"
#include "error.h"
#include "feedback.h"
#include "kernels.h"
#include "mixer_sensitivity.h"
#include "mlp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct measuring {
    struct mq_sensitivity_job job;
    const struct mq_windows *windows;
    size_t hidden, ldh;
    size_t ldr;         /* of the largest MLP */
    float *x;           /* [tokens][ldh] */
    float *activations; /* [2k + 1][tokens][ldr] */
    float *outputs;     /* [3k + 1][tokens][ldh] */
    float *bias;        /* [the longest] */
    uint8_t *bytes;     /* of a row */
    double *stream;     /* [layers + 1]: sums of squares of what enters the layer */
    struct mq_mixer_sensitivity *mixers;
    struct mq_head_sensitivity *head;
};

static size_t levels(const struct measuring *m)
{
    return m->job.options->levels_count;
}

static float *activations(const struct measuring *m, size_t which)
{
    return m->activations + which * m->job.tokens * m->ldr;
}

/* ---- one MLP ---- */

struct mlp {
    const struct mq_mlp_inputs *inputs;
    struct mq_mlp_tensors tensors;
    size_t tokens; /* of those the ones that are used */
};

static size_t chosen_token(const struct mlp *mlp, size_t i)
{
    return i * mlp->inputs->tokens / mlp->tokens;
}

/* The product number `arm` of a matrix, at a level (NULL: as stored). */
static void set(const struct measuring *m, const struct mlp *mlp, int matrix, size_t arm,
                const struct mq_level *level, const float *x, size_t ldx, float *y, size_t ldy)
{
    const struct mq_tensor *tensor = mlp->tensors.matrix[matrix];
    m->job.arms[arm] = (struct mq_linear_arm){
        .weights = mq_sensitivity_weights(&m->job, tensor, level),
        .x = x,
        .ldx = ldx,
        .tokens = mlp->tokens,
        .y = y,
        .ldy = ldy,
        .bias = mlp->tensors.bias[matrix] ? m->bias : NULL,
        .activation = mlp->inputs->shape->ffn.activation,
        .activation_limit = mlp->inputs->shape->ffn.activation_limit,
    };
}

static moeq_status apply(const struct measuring *m, const struct mlp *mlp, int matrix,
                         enum mq_linear_output output, size_t arms, moeq_error *err)
{
    if (mlp->tensors.bias[matrix]) {
        const struct mq_tensor *t = mlp->tensors.bias[matrix];
        const struct mq_weights bias = {.view = m->job.view, .tensor = t,
                                        .storage = mq_level_find(t->storage)};
        MQ_TRY(mq_weights_load(&bias, m->job.context->isa, 0, 1, m->bytes, m->bias, err));
    }
    return mq_linear_apply(m->job.linear, output, m->job.arms, arms, 1, err);
}

/* Activations: number 0 of the weights as they are, 1..k with gate's levels, k + 1..2k with up's. */
static moeq_status activate(const struct measuring *m, const struct mlp *mlp, moeq_error *err)
{
    const size_t k = levels(m);
    const bool gated = mlp->tensors.matrix[MQ_MLP_GATE] != NULL;
    if (gated) {
        for (size_t i = 0; i <= k; i++)
            set(m, mlp, MQ_MLP_GATE, i, i ? m->job.options->levels[i - 1] : NULL, m->x, m->ldh,
                activations(m, i), m->ldr);
        MQ_TRY(apply(m, mlp, MQ_MLP_GATE, MQ_LINEAR_STORE, k + 1, err));
        for (size_t i = k + 1; i <= 2 * k; i++)
            memcpy(activations(m, i), activations(m, 0), mlp->tokens * m->ldr * sizeof(float));
    }
    size_t arms = 0;
    for (size_t i = 0; i <= 2 * k; i++)
        if (gated || i == 0 || i > k)
            set(m, mlp, MQ_MLP_UP, arms++, i > k ? m->job.options->levels[i - k - 1] : NULL, m->x,
                m->ldh, activations(m, i), m->ldr);
    return apply(m, mlp, MQ_MLP_UP, MQ_LINEAR_GATE, arms, err);
}

/* Outputs: 0..2k of the activations, 2k + 1..3k with down's levels. */
static moeq_status put_out(const struct measuring *m, const struct mlp *mlp, size_t *arms,
                           moeq_error *err)
{
    const size_t k = levels(m);
    const bool gated = mlp->tensors.matrix[MQ_MLP_GATE] != NULL;
    *arms = 0;
    for (size_t i = 0; i <= 3 * k; i++) {
        if (!gated && i > 0 && i <= k)
            continue;
        set(m, mlp, MQ_MLP_DOWN, *arms, i > 2 * k ? m->job.options->levels[i - 2 * k - 1] : NULL,
            activations(m, i > 2 * k ? 0 : i), m->ldr, m->outputs + *arms * m->job.tokens * m->ldh,
            m->ldh);
        ++*arms;
    }
    return apply(m, mlp, MQ_MLP_DOWN, MQ_LINEAR_STORE, *arms, err);
}

/* sum over tokens of share^2 |output - output 0|^2 */
static double difference(const struct measuring *m, const struct mlp *mlp, size_t output)
{
    const struct mq_kernels *kernels = mq_kernels_get(m->job.context->isa);
    double sum = 0.0;
    for (size_t t = 0; t < mlp->tokens; t++) {
        const float *a = m->outputs + t * m->ldh;
        const float share = mq_mlp_share(mlp->inputs, chosen_token(mlp, t));
        double squares[2];
        kernels->sum_squares(a, a + output * m->job.tokens * m->ldh, m->hidden, squares);
        sum += (double)share * (double)share * squares[0];
    }
    return sum;
}

static void note(const struct measuring *m, const struct mlp *mlp, int matrix, size_t level,
                 double sum)
{
    const size_t tensor = (size_t)(mlp->tensors.matrix[matrix] - m->job.view->tensors);
    double *loss = &m->job.result->loss[tensor * levels(m) + level];
    const double all = sum * (double)mlp->inputs->tokens / (double)mlp->tokens;
    *loss = isnan(*loss) ? all : *loss + all;
}

static moeq_status on_mlp(void *user, const struct mq_mlp_inputs *inputs, moeq_error *err)
{
    struct measuring *m = user;
    struct mlp mlp = {.inputs = inputs,
                      .tensors = mq_mlp_tensors(m->job.view, inputs),
                      .tokens = mq_min_u64(inputs->tokens, m->job.tokens)};
    if (mlp.tokens == 0)
        return MOEQ_OK;
    for (size_t t = 0; t < mlp.tokens; t++)
        mq_mlp_row(inputs, chosen_token(&mlp, t), m->hidden, m->x + t * m->ldh);
    size_t outputs, next = 1;
    MQ_TRY(activate(m, &mlp, err));
    MQ_TRY(put_out(m, &mlp, &outputs, err));
    for (int matrix = 0; matrix < MQ_MLP_MATRICES; matrix++) {
        if (!mlp.tensors.matrix[matrix])
            continue;
        m->job.result->tokens[mlp.tensors.matrix[matrix] - m->job.view->tensors] += inputs->tokens;
        for (size_t l = 0; l < levels(m); l++)
            note(m, &mlp, matrix, l, difference(m, &mlp, next++));
    }
    return MOEQ_OK;
}

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct measuring *m = user;
    const struct mq_kernels *kernels = mq_kernels_get(m->job.context->isa);
    (void)first_token;
    (void)err;
    for (size_t t = 0; t < tokens; t++) {
        const float *row = hidden[0] + t * m->hidden;
        double squares[2];
        kernels->sum_squares(row, row, m->hidden, squares);
        m->stream[layer] += squares[1];
    }
    return MOEQ_OK;
}

static moeq_status on_product(void *user, struct mq_product *product, moeq_error *err)
{
    struct measuring *m = user;
    if (product->tensor->layer >= 0)
        return mq_mixer_sensitivity_product(m->mixers, product, err);
    mq_head_sensitivity_product(m->head, product);
    return MOEQ_OK;
}

/* Of each window as many tokens as give the head's measurement enough of all, evenly. */
static bool wants_logits(void *user, size_t token)
{
    const struct measuring *m = user;
    const size_t length = m->windows->length;
    const size_t each = mq_min_u64(length, mq_max_u64(1, m->job.tokens / m->windows->count));
    return (token + 1) * each / length > token * each / length;
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct measuring *m = user;
    (void)token_index;
    return mq_head_sensitivity_logits(m->head, logits[0], tokens, err);
}

/* What error feedback leaves of a loss: 0.42 to 0.50 at every level (docs/quality.md, "calibrated" against "moeq"). It
 * treats what is in layers. */
static const double left_by_feedback = 0.45;

static void expect_feedback(const struct measuring *m)
{
    for (size_t i = 0; i < m->job.view->tensors_count; i++)
        for (size_t l = 0; l < levels(m); l++)
            if (m->job.view->tensors[i].layer >= 0 && mq_feedback_can(m->job.options->levels[l]))
                m->job.result->loss[i * levels(m) + l] *= left_by_feedback;
}

/* ---- all of them ---- */

static struct mq_linear_sizes measure_products(struct measuring *m)
{
    struct mq_linear_sizes sizes = {.arms = 3 * levels(m) + 2,
                                    .rows = MQ_SENSITIVITY_HEAD_ROWS,
                                    .cols = m->job.view->hparams.hidden};
    for (size_t l = 0; l < levels(m); l++)
        sizes.band_rows = mq_max_u64(sizes.band_rows, m->job.options->levels[l]->band_rows);
    for (size_t i = 0; i < m->job.view->tensors_count; i++) {
        const struct mq_tensor *t = &m->job.view->tensors[i];
        sizes.row_bytes = mq_max_u64(sizes.row_bytes, t->row_bytes);
        if (!mq_mlp_is_matrix(m->job.view, t) && !mq_sensitivity_is_mixer(m->job.view, t))
            continue;
        sizes.rows = mq_max_u64(sizes.rows, t->rows);
        sizes.cols = mq_max_u64(sizes.cols, t->cols);
        for (size_t l = 0; l < levels(m); l++)
            sizes.row_bytes = mq_max_u64(sizes.row_bytes,
                                         mq_level_row_bytes(m->job.options->levels[l], t->cols));
    }
    return sizes;
}

static moeq_status prepare(struct measuring *m, moeq_error *err)
{
    const size_t k = levels(m), n = m->job.view->tensors_count;
    const struct mq_linear_sizes sizes = measure_products(m);
    m->hidden = m->job.view->hparams.hidden;
    m->ldh = mq_round_up(m->hidden, 16) + MQ_ROW_PAD;
    m->ldr = mq_round_up(mq_max_u64(sizes.rows, sizes.cols), 16) + MQ_ROW_PAD;
    m->job.tokens = m->job.options->tokens ? m->job.options->tokens : MQ_SENSITIVITY_TOKENS;
    m->job.arms = calloc(3 * k + 2, sizeof *m->job.arms);
    m->x = calloc(m->job.tokens * m->ldh, sizeof *m->x);
    m->activations = calloc((2 * k + 1) * m->job.tokens * m->ldr, sizeof *m->activations);
    m->outputs = calloc((3 * k + 1) * m->job.tokens * m->ldh, sizeof *m->outputs);
    m->bias = calloc(m->ldr, sizeof *m->bias);
    m->bytes = malloc(sizes.row_bytes + 1);
    m->stream = calloc(m->job.view->hparams.layers + 1, sizeof *m->stream);
    *m->job.result = (struct mq_sensitivity){.tensors = n,
                                         .levels = k,
                                         .loss = calloc(n * k + 1, sizeof(double)),
                                         .tokens = calloc(n + 1, sizeof(uint64_t))};
    if (!m->job.arms || !m->x || !m->activations || !m->outputs || !m->bias || !m->bytes ||
        !m->stream || !m->job.result->loss || !m->job.result->tokens)
        return mq_fail_memory(err, "measuring what levels cost");
    for (size_t i = 0; i < n * k; i++)
        m->job.result->loss[i] = NAN;
    MQ_TRY(mq_linear_create(m->job.context, &sizes, &m->job.linear, err));
    MQ_TRY(mq_mixer_sensitivity_create(&m->job, &m->mixers, err));
    MQ_TRY(mq_head_sensitivity_create(&m->job, &m->head, err));
    return mq_first_sensitivity(&m->job, m->windows, err);
}

moeq_status mq_sensitivity_measure(const struct mq_context *context, const struct mq_view *view,
                                   const struct mq_windows *windows,
                                   const struct mq_sensitivity_options *options,
                                   struct mq_sensitivity *result, moeq_error *err)
{
    struct mq_context alone = *context; /* each process measures all of it, with what others would have to hand over */
    alone.peers = NULL;
    struct measuring m = {
        .job = {.context = &alone, .view = view, .options = options, .result = result},
        .windows = windows};
    const struct mq_arm arm = {.name = "calibration", .view = view, .routes_from = -1};
    const struct mq_observer observer = {.user = &m,
                                         .on_hidden = on_hidden,
                                         .on_mlp = on_mlp,
                                         .on_product = on_product,
                                         .wants_logits = wants_logits,
                                         .on_logits = on_logits};
    moeq_status status;
    MQ_TRY_OUT(prepare(&m, err));
    MQ_TRY_OUT(mq_evaluate(&alone, &arm, 1, windows, &observer, err));
    for (size_t i = 0; i < view->tensors_count; i++)
        for (size_t l = 0; l < result->levels; l++)
            if (mq_mlp_is_matrix(view, &view->tensors[i]))
                result->loss[i * result->levels + l] /= m.stream[view->tensors[i].layer + 1];
    mq_mixer_sensitivity_finish(m.mixers, m.stream);
    mq_head_sensitivity_finish(m.head);
    if (options->feedback)
        expect_feedback(&m);
out:
    if (status != MOEQ_OK)
        mq_sensitivity_free(result);
    mq_mixer_sensitivity_destroy(m.mixers);
    mq_head_sensitivity_destroy(m.head);
    mq_linear_destroy(m.job.linear);
    free(m.job.arms);
    free(m.x);
    free(m.activations);
    free(m.outputs);
    free(m.bias);
    free(m.bytes);
    free(m.stream);
    return status;
}

void mq_sensitivity_free(struct mq_sensitivity *result)
{
    free(result->loss);
    free(result->tokens);
    *result = (struct mq_sensitivity){0};
}
