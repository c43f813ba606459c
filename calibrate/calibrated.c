/*
 * calibrated.c: an observer of each MLP's inputs that encodes its matrices.
 *
 * With peers, each process encodes the matrices of its own layers, whose tokens all meet it in one pass.
 *
 * The covariance of gate and up is that of the tokens' states; of down, that of the activations that the quantized gate and
 * up give, with a cross covariance of these and the original ones.
 */
#include "calibrated.h"

#include "calibrated_attention.h"
#include "calibrated_states.h"
#include "checked.h"
#include "columns.h"
#include "kernels.h"
#include "load_matrix.h"
#include "mlp.h"
#include "pages.h"
#include "product.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of an expert that fewer tokens met than a matrix has columns, tokens that go elsewhere tell a part: OTHERS times as many as
 * there are columns, together as heavy as a quarter of so many of its own. Measured on a model of 256 columns, q3_k, mean KLD
 * on other text, 1e-3, of 512 tokens in all (half a column each): 9.4, without 10.0, by their full number 10.1; of
 * 1024: 9.1, 9.2, 9.5. */
enum { OTHERS = 4 };
#define OTHERS_WEIGHT 0.25

struct pass {
    struct mq_calibrated *calibrated;
    struct mq_convert_sink *sink;
    size_t hidden, rows, ldh, ldr; /* of the largest MLP */
    struct mq_columns inputs, activations;
    struct mq_covariance cross;        /* of activations that are whole */
    float *weights[MQ_MLP_MATRICES];   /* as in the source */
    float *quantized[MQ_MLP_MATRICES]; /* gate and up as encoded; biases: */
    float *bias[MQ_MLP_MATRICES];
    uint8_t *bytes[MQ_MLP_MATRICES];
    uint8_t *scratch;                     /* of load_matrix.h */
    float *x, *gate, *up, *gate_q, *up_q; /* [MQ_COVARIANCE_ROWS] rows */
    float *packed;
    struct mq_calibrated_attention attention;
    struct mq_calibrated_states states;
    uint32_t *others; /* tokens that do not meet the expert, as many as are asked at most */
};

/* One MLP. */
struct mlp {
    const struct mq_mlp_inputs *inputs;
    struct mq_mlp_tensors tensors;
    const struct mq_level *level[MQ_MLP_MATRICES];
    bool wanted[MQ_MLP_MATRICES];
};

void mq_calibrated_sentence(const struct mq_calibrated *calibrated, uint32_t ids_crc32,
                            char sentence[MQ_CALIBRATED_SENTENCE])
{
    const struct mq_windows *w = calibrated->windows;
    char runs[64] = "";
    if (calibrated->options.columns)
        snprintf(runs, sizeof runs, " within %zu columns (--memory)", calibrated->options.columns);
    snprintf(sentence, MQ_CALIBRATED_SENTENCE,
             "error feedback%s on %zu tokens in windows of %zu (ids %08" PRIx32 ")", runs,
             w->count * w->length, w->length, ids_crc32);
}

/* ---- memory ---- */

struct sizes {
    size_t hidden, rows;  /* rows of the largest gate or up */
    uint64_t weights;     /* of the largest matrix */
    uint64_t scratch;     /* of load_matrix.h */
};

static struct sizes measure(const struct mq_view *view)
{
    struct sizes s = {.hidden = view->hparams.hidden};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        s.scratch = mq_max_u64(s.scratch, mq_load_matrix_scratch(t));
        if (!mq_mlp_is_matrix(view, t))
            continue;
        s.weights = mq_max_u64(s.weights, t->rows * t->cols);
        s.rows = mq_max_u64(s.rows, mq_max_u64(t->rows, t->cols) == s.hidden
                                        ? mq_min_u64(t->rows, t->cols)
                                        : mq_max_u64(t->rows, t->cols));
    }
    return s;
}

/* Whether down is encoded for what gate and up have lost: not in runs of columns. */
static bool crosses(const struct mq_calibrated *c, size_t cols)
{
    return !c->options.columns || c->options.columns >= cols;
}

static uint64_t own_bytes(const struct mq_calibrated *c, const struct sizes *s)
{
    const size_t wide = mq_max_u64(s->rows, s->hidden);
    const uint64_t covariances =
        mq_columns_bytes(c->context, s->hidden, c->options.columns, wide) +
        mq_columns_bytes(c->context, s->rows, c->options.columns, wide) +
        (crosses(c, s->rows) ? mq_covariance_bytes(c->context, s->rows) : 0);
    const uint64_t matrices = 5 * s->weights * sizeof(float) + 3 * s->weights * 2;
    const uint64_t rows = 5 * (uint64_t)MQ_COVARIANCE_ROWS * (wide + MQ_ROW_PAD + 16) * sizeof(float);
    const uint64_t packed = c->context->threads * mq_product_floats(wide) * sizeof(float);
    return covariances + matrices + rows + packed + mq_feedback_bytes(c->context, wide) +
           mq_calibrated_attention_bytes(c->context, c->view, c->options.columns);
}

static uint64_t memory_of(const struct mq_calibrated *c, size_t windows)
{
    const struct mq_arm arm = {.view = c->view, .routes_from = -1};
    const struct sizes s = measure(c->view);
    return mq_evaluation_bytes(c->context, &arm, 1, c->windows->length, windows) + own_bytes(c, &s);
}

uint64_t mq_calibrated_memory(const struct mq_calibrated *calibrated)
{
    return memory_of(calibrated, calibrated->windows->count);
}

/* The windows whose states fit beside everything else. */
static size_t windows_that_fit(const struct mq_calibrated *c, uint64_t budget)
{
    const struct mq_arm arm = {.view = c->view, .routes_from = -1};
    const struct sizes s = measure(c->view);
    const uint64_t own = own_bytes(c, &s);
    return budget <= own ? 0
                         : mq_evaluation_windows(c->context, &arm, 1, c->windows->length,
                                                 c->windows->count, budget - own);
}

size_t mq_calibrated_columns(const struct mq_calibrated *calibrated)
{
    struct mq_calibrated c = *calibrated;
    struct mq_context one = *c.context; /* the bytes that are made are to depend on no number of threads */
    const struct sizes s = measure(c.view);
    size_t width = mq_max_u64(s.rows, s.hidden);
    one.threads = 1;
    c.context = &one;
    c.options.columns = 0;
    if (!one.memory_bytes || mq_calibrated_memory(&c) <= one.memory_bytes)
        return 0;
    while (width > MQ_COLUMNS_WIDTH) {
        c.options.columns = width = mq_round_up(width / 2, MQ_COLUMNS_WIDTH);
        if (mq_calibrated_memory(&c) <= one.memory_bytes)
            return width;
    }
    return 0; /* nothing helps: mq_calibrated_check_memory says so */
}

moeq_status mq_calibrated_check_memory(const struct mq_calibrated *c, moeq_error *err)
{
    struct mq_calibrated least = *c;
    char needed[32], there[32];
    const uint64_t budget = mq_memory_or_half(c->context);
    if (mq_calibrated_memory(c) <= budget)
        return MOEQ_OK;
    least.options.columns = MQ_COLUMNS_WIDTH;
    const size_t fit = windows_that_fit(&least, budget);
    if (fit >= c->windows->count)
        return mq_fail(err, MOEQ_LIMIT,
                       "error feedback needs %s with %u threads; there are %s: give fewer "
                       "--threads or --tokens%s",
                       mq_mib(mq_calibrated_memory(c), needed), c->context->threads,
                       mq_mib(budget, there),
                       c->context->memory_bytes
                           ? ""
                           : ", or --memory SIZE: where it is short, errors are made good in runs "
                             "of columns");
    if (fit == 0)
        return mq_fail(err, MOEQ_LIMIT,
                       "error feedback needs %s for covariances, matrices and one window of "
                       "text; there are %s (--memory)",
                       mq_mib(memory_of(&least, 1), needed), mq_mib(budget, there));
    return mq_fail(err, MOEQ_LIMIT,
                   "error feedback needs %s for the states of %zu tokens and the covariances; "
                   "there are %s (--memory), enough for --tokens %zu",
                   mq_mib(mq_calibrated_memory(&least), needed),
                   c->windows->count * c->windows->length, mq_mib(budget, there),
                   fit * c->windows->length);
}

static moeq_status prepare(struct pass *p, moeq_error *err)
{
    const struct mq_calibrated *c = p->calibrated;
    const struct sizes s = measure(c->view);
    const size_t wide = mq_max_u64(s.rows, s.hidden);
    p->attention = (struct mq_calibrated_attention){
        .context = c->context, .view = c->view, .sink = p->sink, .feedback = c->options.feedback};
    MQ_TRY(mq_calibrated_attention_prepare(&p->attention, err));
    p->hidden = s.hidden;
    p->rows = s.rows;
    p->ldh = mq_round_up(s.hidden, 16) + MQ_ROW_PAD;
    p->ldr = mq_round_up(wide, 16) + MQ_ROW_PAD;
    MQ_TRY(mq_columns_create(c->context, s.hidden, c->options.columns, wide, &p->inputs, err));
    MQ_TRY(mq_columns_create(c->context, s.rows, c->options.columns, wide, &p->activations, err));
    if (crosses(c, s.rows))
        MQ_TRY(mq_covariance_create(c->context, s.rows, &p->cross, err));
    bool ready = true;
    for (int i = 0; i < MQ_MLP_MATRICES; i++) {
        p->weights[i] = mq_pages_alloc(s.weights * sizeof(float));
        p->quantized[i] = i == MQ_MLP_DOWN ? NULL : mq_pages_alloc(s.weights * sizeof(float));
        p->bias[i] = calloc(wide, sizeof(float));
        p->bytes[i] = malloc(s.weights * 2 + 64); /* no level that is encoded so takes more than 16 bits */
        ready = ready && p->weights[i] && (i == MQ_MLP_DOWN || p->quantized[i]) && p->bias[i] &&
                p->bytes[i];
    }
    float **rows[] = {&p->x, &p->gate, &p->up, &p->gate_q, &p->up_q};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *rows[i] = mq_pages_alloc(MQ_COVARIANCE_ROWS * p->ldr * sizeof(float));
        ready = ready && *rows[i];
    }
    p->scratch = malloc(s.scratch);
    p->packed = mq_pages_alloc(c->context->threads * mq_product_floats(wide) * sizeof(float));
    p->others = calloc(OTHERS * wide, sizeof *p->others);
    return ready && p->scratch && p->packed && p->others ? MOEQ_OK
                                                         : mq_fail_memory(err, "error feedback");
}

static void finish(struct pass *p)
{
    mq_calibrated_attention_finish(&p->attention);
    mq_columns_destroy(&p->inputs);
    mq_columns_destroy(&p->activations);
    mq_covariance_destroy(&p->cross);
    for (int i = 0; i < MQ_MLP_MATRICES; i++) {
        free(p->weights[i]);
        free(p->quantized[i]);
        free(p->bias[i]);
        free(p->bytes[i]);
    }
    free(p->x);
    free(p->gate);
    free(p->up);
    free(p->gate_q);
    free(p->up_q);
    free(p->scratch);
    free(p->packed);
    free(p->others);
}

/* ---- what is read ---- */

static moeq_status load_rows(const struct pass *p, const struct mq_tensor *t, float *rows,
                             moeq_error *err)
{
    const struct mq_calibrated *c = p->calibrated;
    return mq_load_matrix(c->context, c->view, t, p->scratch, rows, err);
}

static moeq_status load(const struct pass *p, const struct mlp *mlp, moeq_error *err)
{
    for (int i = 0; i < MQ_MLP_MATRICES; i++) {
        if (mlp->tensors.matrix[i])
            MQ_TRY(load_rows(p, mlp->tensors.matrix[i], p->weights[i], err));
        if (mlp->tensors.bias[i])
            MQ_TRY(load_rows(p, mlp->tensors.bias[i], p->bias[i], err));
    }
    return MOEQ_OK;
}

/* ---- inputs ---- */

/* rows *= the tokens' shares in the layer's sum */
static void weigh(const struct mlp *mlp, size_t first, size_t count, float *rows, size_t ld,
                  size_t cols)
{
    for (size_t i = 0; i < count; i++) {
        const float share = mq_mlp_share(mlp->inputs, first + i);
        for (size_t c = 0; c < cols; c++)
            rows[i * ld + c] *= share;
    }
}

static void take_rows(const struct pass *p, const struct mlp *mlp, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mq_mlp_row(mlp->inputs, first + i, p->hidden, p->x + i * p->ldr);
}

/* activations[i] = f(gate x) * up x of the rows in p->x, in `up`. */
static void activate(const struct pass *p, const struct mlp *mlp, float *const weights[],
                     size_t count, float *gate, float *up)
{
    const struct mq_context *context = p->calibrated->context;
    const struct mq_kernels *kernels = mq_kernels_get(context->isa);
    const struct mq_layer_ffn *f = &mlp->inputs->shape->ffn;
    float *const out[] = {gate, up};
    const struct mq_tensor *t = mlp->tensors.matrix[MQ_MLP_UP];
    for (int i = 0; i < 2; i++)
        if (mlp->tensors.matrix[i])
            mq_product(context, weights[i], t->rows, t->cols,
                       mlp->tensors.bias[i] ? p->bias[i] : NULL, p->x, p->ldr, count, out[i],
                       p->ldr, p->packed);
    for (size_t i = 0; i < count; i++) {
        /* the kernel leaves f(gate) * up in its first argument; of an activation without a gate the first is
         * of no account */
        float *a = gate + i * p->ldr, *b = up + i * p->ldr;
        kernels->activate_times[f->activation](a, b, t->rows, f->activation_limit);
        memcpy(b, a, t->rows * sizeof *b);
    }
}

/* ---- covariances ---- */

/* Rows of activations for the rows in p->x: those of the weights as they are in p->up, of the quantized ones in p->up_q. */
static void activate_both(const struct pass *p, const struct mlp *mlp, size_t count, bool quantized)
{
    activate(p, mlp, p->weights, count, p->gate, p->up);
    if (quantized)
        activate(p, mlp, p->quantized, count, p->gate_q, p->up_q);
}

/* p->others: evenly some of the tokens that do not meet the expert. */
static size_t choose_others(const struct pass *p, const struct mlp *mlp, size_t wanted)
{
    const struct mq_mlp_inputs *in = mlp->inputs;
    const size_t all = in->pass_tokens - in->tokens, count = mq_min_u64(all, wanted);
    size_t chosen = 0;
    for (size_t t = 0, met = 0, other = 0; t < in->pass_tokens && chosen < count; t++) {
        if (met < in->tokens && in->token[met] == t) {
            met++;
            continue;
        }
        if (other++ * count / all == chosen)
            p->others[chosen++] = (uint32_t)t;
    }
    return chosen;
}

static size_t take_others(const struct pass *p, const struct mlp *mlp, size_t first, size_t count)
{
    const size_t n = mq_min_u64(MQ_COVARIANCE_ROWS, count - first);
    for (size_t i = 0; i < n; i++)
        memcpy(p->x + i * p->ldr, mlp->inputs->x + p->others[first + i] * mlp->inputs->ldx,
               p->hidden * sizeof(float));
    return n;
}

/* How many inputs of an expert's own are too few for a matrix of so many columns. */
static bool is_few(const struct mlp *mlp, size_t cols)
{
    return mlp->inputs->expert >= 0 && mlp->inputs->tokens < cols;
}

/*
 * Adds the rows of tokens that go elsewhere, `count` of them: of the states, or (down) of the original's
 * activations.
 */
static void add_others(struct pass *p, const struct mlp *mlp, bool down, size_t count,
                       struct mq_columns *h)
{
    const struct mq_kernels *kernels = mq_kernels_get(p->calibrated->context->isa);
    const float *rows = down ? p->up : p->x;
    const double own = mq_columns_trace(h);
    double others = 0.0;
    float factor = 1.0f;
    for (int round = 0; round < 2; round++) {
        for (size_t first = 0; first < count; first += MQ_COVARIANCE_ROWS) {
            const size_t n = take_others(p, mlp, first, count);
            if (down)
                activate_both(p, mlp, n, false);
            for (size_t i = 0; i < n && round == 0; i++) {
                double squares[2];
                kernels->sum_squares(rows + i * p->ldr, rows + i * p->ldr, h->n, squares);
                others += squares[1];
            }
            for (size_t i = 0; i < n && round == 1; i++)
                for (size_t c = 0; c < h->n; c++)
                    (down ? p->up : p->x)[i * p->ldr + c] *= factor;
            if (round == 1)
                mq_columns_add(h, rows, p->ldr, n);
        }
        if (own > 0.0 && others > 0.0)
            factor = (float)sqrt(own / (double)mlp->inputs->tokens * OTHERS_WEIGHT * (double)h->n /
                                 others);
    }
}

/* Sums of the states of the tokens that meet the MLP. */
static void gather_inputs(struct pass *p, const struct mlp *mlp)
{
    mq_columns_begin(&p->inputs, p->hidden);
    for (size_t first = 0; first < mlp->inputs->tokens; first += MQ_COVARIANCE_ROWS) {
        const size_t count = mq_min_u64(MQ_COVARIANCE_ROWS, mlp->inputs->tokens - first);
        take_rows(p, mlp, first, count);
        weigh(mlp, first, count, p->x, p->ldr, p->hidden);
        mq_columns_add(&p->inputs, p->x, p->ldr, count);
    }
    if (is_few(mlp, p->hidden))
        add_others(p, mlp, false, choose_others(p, mlp, OTHERS * p->hidden), &p->inputs);
}

/* The same of the activations, and of the original's with the quantized ones' where `crossing`. */
static void gather_activations(struct pass *p, const struct mlp *mlp, size_t cols, bool crossing)
{
    struct mq_columns *h = &p->activations;
    struct mq_covariance *x = &p->cross;
    mq_columns_begin(h, cols);
    if (crossing) {
        x->n = cols;
        mq_covariance_clear(x);
    }
    for (size_t first = 0; first < mlp->inputs->tokens; first += MQ_COVARIANCE_ROWS) {
        const size_t count = mq_min_u64(MQ_COVARIANCE_ROWS, mlp->inputs->tokens - first);
        take_rows(p, mlp, first, count);
        activate_both(p, mlp, count, crossing);
        weigh(mlp, first, count, p->up, p->ldr, cols);
        if (crossing) {
            weigh(mlp, first, count, p->up_q, p->ldr, cols);
            mq_covariance_add_cross(x, p->up, p->up_q, p->ldr, count);
        }
        mq_columns_add(h, crossing ? p->up_q : p->up, p->ldr, count);
    }
    if (is_few(mlp, cols))
        add_others(p, mlp, true, choose_others(p, mlp, OTHERS * cols), h);
}

/* ---- matrices ---- */

static moeq_status encode(struct pass *p, const struct mlp *mlp, int matrix,
                          const struct mq_columns *columns, moeq_error *err)
{
    const struct mq_calibrated *c = p->calibrated;
    const struct mq_tensor *t = mlp->tensors.matrix[matrix];
    MQ_TRY(mq_columns_encode(columns, mlp->level[matrix], &c->options.feedback, p->weights[matrix],
                             t->rows, p->bytes[matrix], err));
    if (matrix != MQ_MLP_DOWN)
        mq_level_decode_rows(mlp->level[matrix], c->context->isa, p->bytes[matrix], t->rows, t->cols,
                             p->quantized[matrix]);
    return MOEQ_OK;
}

/* gate and up; one that is not to be encoded stays as it is for what comes after. */
static moeq_status encode_inputs(struct pass *p, const struct mlp *mlp, moeq_error *err)
{
    const char *name = mq_tensor_shown(mlp->tensors.matrix[MQ_MLP_UP]);
    gather_inputs(p, mlp);
    MQ_TRY(mq_columns_factor(&p->inputs, mq_covariance_lambda(p->hidden, mlp->inputs->tokens), name,
                             err));
    for (int i = 0; i < MQ_MLP_DOWN; i++) {
        const struct mq_tensor *t = mlp->tensors.matrix[i];
        if (t && mlp->level[i])
            MQ_TRY(encode(p, mlp, i, &p->inputs, err));
        else if (t)
            memcpy(p->quantized[i], p->weights[i], t->rows * t->cols * sizeof(float));
    }
    return MOEQ_OK;
}

static moeq_status encode_down(struct pass *p, const struct mlp *mlp, moeq_error *err)
{
    const struct mq_tensor *t = mlp->tensors.matrix[MQ_MLP_DOWN];
    const bool crossing = crosses(p->calibrated, t->cols) && !is_few(mlp, t->cols);
    struct mq_columns *h = &p->activations;
    const double lambda = mq_covariance_lambda(t->cols, mlp->inputs->tokens);
    gather_activations(p, mlp, t->cols, crossing);
    MQ_TRY(mq_columns_factor(h, lambda, mq_tensor_shown(t), err));
    if (crossing) {
        mq_covariance_finish_cross(&p->cross, &h->runs[0]);
        MQ_TRY(mq_feedback_cross_target(&h->runs[0], &p->cross, p->weights[MQ_MLP_DOWN], t->rows,
                                        err));
    }
    return encode(p, mlp, MQ_MLP_DOWN, h, err);
}

/* ---- one MLP ---- */

/* Which matrices are to be encoded so; false if none is. */
static bool choose(const struct pass *p, struct mlp *mlp)
{
    bool any = false;
    for (int i = 0; i < MQ_MLP_MATRICES; i++) {
        const struct mq_tensor *t = mlp->tensors.matrix[i];
        if (!t)
            continue;
        const struct mq_level *level = mq_convert_level(p->sink, t);
        if (!mq_convert_as_it_is(p->sink, t) || !mq_feedback_can(level))
            continue;
        mlp->level[i] = level;
        mlp->wanted[i] = mq_convert_wants(p->sink, t);
        any = any || mlp->wanted[i];
    }
    return any;
}

static void count_tokens(struct pass *p, const struct mlp *mlp)
{
    struct mq_calibrated_result *r = &p->calibrated->result;
    const size_t tokens = mlp->inputs->tokens;
    if (mlp->inputs->expert < 0)
        return;
    r->experts++;
    r->without += tokens == 0;
    r->few += tokens > 0 && tokens < p->hidden;
}

static moeq_status on_mlp(void *user, const struct mq_mlp_inputs *inputs, moeq_error *err)
{
    struct pass *p = user;
    struct mlp mlp = {.inputs = inputs, .tensors = mq_mlp_tensors(p->calibrated->view, inputs)};
    count_tokens(p, &mlp);
    if (!choose(p, &mlp))
        return MOEQ_OK;
    MQ_TRY(load(p, &mlp, err));
    MQ_TRY(encode_inputs(p, &mlp, err));
    if (mlp.level[MQ_MLP_DOWN])
        MQ_TRY(encode_down(p, &mlp, err));
    for (int i = 0; i < MQ_MLP_MATRICES; i++)
        if (mlp.wanted[i]) {
            MQ_TRY(mq_convert_put(p->sink, mlp.tensors.matrix[i], p->bytes[i], err));
            p->calibrated->result.matrices++;
        }
    return MOEQ_OK;
}

static moeq_status on_product(void *user, struct mq_product *product, moeq_error *err)
{
    struct pass *p = user;
    return mq_calibrated_attention_product(&p->attention, product, err);
}

static moeq_status on_begin(void *user, size_t first_token, size_t tokens, float *const *hidden,
                            uint32_t *layer, moeq_error *err)
{
    struct pass *p = user;
    (void)first_token; /* all windows are in one pass */
    return mq_calibrated_states_restore(&p->states, tokens, hidden[0], layer, err);
}

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct pass *p = user;
    (void)first_token;
    if (layer == p->calibrated->view->hparams.layers)
        return MOEQ_OK;
    return mq_calibrated_states_keep(&p->states, layer, tokens, hidden[0], err);
}

/* All windows are in one pass. Where other processes bring them the states that enter a layer, that is in batches of what is
 * left, of one window at least. */
static uint64_t memory_of_batches(const struct mq_calibrated *c)
{
    const uint64_t budget = mq_memory_or_half(c->context), own = mq_calibrated_memory(c);
    if (mq_peers_count(c->context->peers) == 1)
        return UINT64_MAX;
    return budget > own ? budget - own : 1;
}

/* What each process has counted in its layers becomes what all have. */
static moeq_status add_up(const struct mq_calibrated *c, struct mq_calibrated_result *r,
                          moeq_error *err)
{
    uint64_t counts[] = {r->matrices, r->experts, r->few, r->without};
    MQ_TRY(mq_peers_reduce(c->context->peers, MQ_SUM, counts, sizeof counts / sizeof *counts, err));
    r->matrices = counts[0];
    r->experts = counts[1];
    r->few = counts[2];
    r->without = counts[3];
    return MOEQ_OK;
}

moeq_status mq_calibrated_run(void *user, struct mq_convert_sink *sink, moeq_error *err)
{
    struct mq_calibrated *c = user;
    struct pass p = {.calibrated = c, .sink = sink};
    const struct mq_arm arm = {.name = "calibration", .view = c->view, .routes_from = -1};
    const struct mq_observer observer = {.user = &p,
                                         .on_begin = on_begin,
                                         .on_hidden = on_hidden,
                                         .on_mlp = on_mlp,
                                         .on_product = on_product,
                                         .whole = true};
    struct mq_context context = *c->context;
    moeq_status status;
    c->result = (struct mq_calibrated_result){.tokens = c->windows->count * c->windows->length};
    MQ_TRY_OUT(mq_calibrated_check_memory(c, err));
    context.memory_bytes = memory_of_batches(c);
    MQ_TRY_OUT(prepare(&p, err));
    p.states = (struct mq_calibrated_states){.sink = sink,
                                             .result = &c->result,
                                             .attention_matrices = &p.attention.matrices,
                                             .hidden = p.hidden};
    /* with peers, states of other processes would have to be of the same moment */
    mq_calibrated_states_begin(&p.states,
                               mq_peers_count(context.peers) > 1 ? -1 : c->options.keep_seconds);
    MQ_TRY_OUT(mq_evaluate(&context, &arm, 1, c->windows, &observer, err));
    c->result.matrices += p.attention.matrices;
    MQ_TRY_OUT(add_up(c, &c->result, err));
out:
    finish(&p);
    return status;
}
