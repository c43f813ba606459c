/* ends_sensitivity.c: the first layer with the embeddings, and products of the head, at each level. */
#include "ends_sensitivity.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"
#include "portable_math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- before the first MLP ---- */

enum { ARMS_AT_ONCE = 16, MOST_TOKENS = 1024 };

/* Tensors and levels that are arms, one of each. */
struct first_layer {
    const struct mq_sensitivity_job *job;
    size_t tensor[ARMS_AT_ONCE], level[ARMS_AT_ONCE], arms;
    double errors[ARMS_AT_ONCE], whole;
    size_t tokens; /* of the chunk, once they are seen */
};

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct first_layer *f = user;
    const struct mq_kernels *kernels = mq_kernels_get(f->job->context->isa);
    const size_t n = f->job->view->hparams.hidden;
    (void)first_token;
    if (layer != 1)
        return MOEQ_OK;
    for (size_t a = 0; a < f->arms; a++)
        for (size_t t = 0; t < tokens; t++) {
            double squares[2];
            kernels->sum_squares(hidden[0] + t * n, hidden[a + 1] + t * n, n, squares);
            f->errors[a] += squares[0];
            f->whole += a ? 0.0 : squares[1];
        }
    f->tokens += tokens;
    return mq_fail(err, MOEQ_CANCELLED, "what comes behind the first layer is not wanted");
}

/* So many windows that one pass holds them: a second would go through all layers first. */
static moeq_status run_chunks(struct first_layer *f, const struct mq_arm *arms,
                              const struct mq_windows *windows, moeq_error *err)
{
    const struct mq_context *context = f->job->context;
    const struct mq_observer observer = {.user = f, .on_hidden = on_hidden};
    const size_t step = mq_evaluation_step(context, arms, f->arms + 1, windows);
    for (size_t first = 0; first < windows->count; first += step) {
        const struct mq_windows some = {windows->ids + first * windows->length,
                                        mq_min_u64(step, windows->count - first), windows->length};
        moeq_error inner = {0};
        f->tokens = 0;
        const moeq_status status =
            mq_evaluate(context, arms, f->arms + 1, &some, &observer, &inner);
        if (f->tokens == 0) {
            *err = inner;
            return status;
        }
    }
    return MOEQ_OK;
}

static moeq_status run_arms(struct first_layer *f, const struct mq_windows *windows,
                            moeq_error *err)
{
    const struct mq_sensitivity_job *job = f->job;
    const size_t n = job->view->tensors_count, k = job->options->levels_count;
    struct mq_arm arms[ARMS_AT_ONCE + 1];
    const struct mq_level **levels = calloc(f->arms * n + 1, sizeof *levels);
    if (!levels)
        return mq_fail_memory(err, "measuring what levels cost");
    for (size_t a = 0; a <= f->arms; a++) {
        arms[a] = (struct mq_arm){.name = "calibration",
                                  .view = job->view,
                                  .levels = a ? levels + (a - 1) * n : NULL,
                                  .effort = job->options->effort,
                                  .importance = job->options->importance,
                                  .routes_from = -1};
        if (a)
            levels[(a - 1) * n + f->tensor[a - 1]] = job->options->levels[f->level[a - 1]];
    }
    const moeq_status status = run_chunks(f, arms, windows, err);
    free(levels);
    for (size_t a = 0; a < f->arms; a++)
        job->result->loss[f->tensor[a] * k + f->level[a]] = f->errors[a] / f->whole;
    return status;
}

static moeq_status run_all(const struct mq_sensitivity_job *job, const struct mq_windows *windows,
                           moeq_error *err)
{
    const struct mq_view *view = job->view;
    struct first_layer f = {.job = job};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (t->role != MQ_ROLE_EMBEDDING && !(t->layer == 0 && mq_sensitivity_is_mixer(view, t)))
            continue;
        job->result->tokens[i] = windows->count * windows->length;
        for (size_t l = 0; l < job->options->levels_count; l++) {
            f.tensor[f.arms] = i;
            f.level[f.arms++] = l;
            if (f.arms < ARMS_AT_ONCE)
                continue;
            MQ_TRY(run_arms(&f, windows, err));
            f = (struct first_layer){.job = job};
        }
    }
    return f.arms ? run_arms(&f, windows, err) : MOEQ_OK;
}

moeq_status mq_first_sensitivity(const struct mq_sensitivity_job *job,
                                 const struct mq_windows *windows, moeq_error *err)
{
    const size_t length = windows->length,
                 count = mq_min_u64(windows->count, mq_max_u64(1, MOST_TOKENS / length));
    int32_t *ids = malloc(count * length * sizeof *ids + 1);
    if (!ids)
        return mq_fail_memory(err, "measuring what levels cost");
    for (size_t w = 0; w < count; w++)
        memcpy(ids + w * length,
               windows->ids + mq_sensitivity_token(w, count, windows->count) * length,
               length * sizeof *ids);
    const struct mq_windows some = {ids, count, length};
    const moeq_status status = run_all(job, &some, err);
    free(ids);
    return status;
}

/* ---- the head ---- */

/* Of one token: sum of p e^2 and of p e over the vocabulary, for each level and for the random state. */
struct moments {
    double square, mean;
};

struct mq_head_sensitivity {
    struct mq_sensitivity_job job;
    const struct mq_tensor *tensor;
    const float *x; /* the states that the product at hand meets */
    size_t ldx;
    size_t tokens; /* of them at a time, at most */
    float *random; /* [tokens][ldr] */
    size_t ldr;
    float *y;                /* [levels + 2][tokens][rows at a time] */
    double *most, *total;    /* [tokens]: the largest logit, the sum of all e^(logit - it) */
    struct moments *moments; /* [tokens][levels + 1] */
    double *sums;            /* [levels + 1]: variances; the last of random states */
    uint64_t state;
};

moeq_status mq_head_sensitivity_create(const struct mq_sensitivity_job *job,
                                       struct mq_head_sensitivity **head, moeq_error *err)
{
    const size_t k = job->options->levels_count;
    struct mq_head_sensitivity *h = calloc(1, sizeof *h);
    if (!h)
        return mq_fail_memory(err, "measuring what levels cost");
    *head = h;
    h->job = *job;
    h->tokens = job->tokens;
    h->ldr = mq_round_up(job->view->hparams.hidden, 16) + MQ_ROW_PAD;
    h->random = calloc(h->tokens * h->ldr, sizeof *h->random);
    h->y = calloc((k + 2) * h->tokens * MQ_SENSITIVITY_HEAD_ROWS, sizeof *h->y);
    h->most = calloc(h->tokens, sizeof *h->most);
    h->total = calloc(h->tokens, sizeof *h->total);
    h->moments = calloc((k + 1) * h->tokens, sizeof *h->moments);
    h->sums = calloc(k + 1, sizeof *h->sums);
    return h->random && h->y && h->most && h->total && h->moments && h->sums
               ? MOEQ_OK
               : mq_fail_memory(err, "measuring what levels cost");
}

void mq_head_sensitivity_destroy(struct mq_head_sensitivity *h)
{
    if (!h)
        return;
    free(h->random);
    free(h->y);
    free(h->most);
    free(h->total);
    free(h->moments);
    free(h->sums);
    free(h);
}

void mq_head_sensitivity_product(struct mq_head_sensitivity *h, const struct mq_product *p)
{
    h->tensor = p->tensor;
    h->x = p->x;
    h->ldx = p->ldx;
}

/* Every component plus or minus the root mean square of the state's (Knuth's MMIX generator). */
static void make_random(struct mq_head_sensitivity *h, const float *x, float *random)
{
    const size_t n = h->job.view->hparams.hidden;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    const float size = (float)sqrt(sum / (double)n);
    for (size_t i = 0; i < n; i++) {
        h->state = h->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        random[i] = h->state >> 63 ? size : -size;
    }
}

static void sum_up(struct mq_head_sensitivity *h, size_t token, const float *logits, size_t n)
{
    double most = (double)logits[0], total = 0.0;
    for (size_t v = 0; v < n; v++)
        most = fmax(most, (double)logits[v]);
    for (size_t v = 0; v < n; v++)
        total += mq_exp((double)logits[v] - most);
    h->most[token] = most;
    h->total[token] = total;
}

/* Arm 0: the product; 1..levels: at each level; levels + 1: of the random states. */
static moeq_status multiply(struct mq_head_sensitivity *h, const float *x, size_t tokens,
                            uint64_t row, uint64_t rows, moeq_error *err)
{
    const struct mq_sensitivity_job *job = &h->job;
    const size_t k = job->options->levels_count;
    for (size_t i = 0; i <= k + 1; i++)
        job->arms[i] = (struct mq_linear_arm){
            .weights = mq_sensitivity_weights(job, h->tensor,
                                              i && i <= k ? job->options->levels[i - 1] : NULL),
            .x = i <= k ? x : h->random,
            .ldx = i <= k ? h->ldx : h->ldr,
            .tokens = tokens,
            .y = h->y + i * h->tokens * MQ_SENSITIVITY_HEAD_ROWS,
            .ldy = MQ_SENSITIVITY_HEAD_ROWS,
            .first_row = row,
            .rows_count = rows};
    return mq_linear_apply(job->linear, MQ_LINEAR_STORE, job->arms, k + 2, 1, err);
}

static void add_rows(struct mq_head_sensitivity *h, size_t token, const float *logits,
                     uint64_t rows)
{
    const size_t k = h->job.options->levels_count;
    const float *y = h->y + token * MQ_SENSITIVITY_HEAD_ROWS;
    struct moments *moments = h->moments + token * (k + 1);
    for (uint64_t r = 0; r < rows; r++) {
        const double p = mq_exp((double)logits[r] - h->most[token]) / h->total[token];
        for (size_t i = 0; i <= k; i++) {
            const double other = (double)y[(i + 1) * h->tokens * MQ_SENSITIVITY_HEAD_ROWS + r];
            const double e = i < k ? other - (double)y[r] : other;
            moments[i].square += p * e * e;
            moments[i].mean += p * e;
        }
    }
}

/* Of at most h->tokens tokens. */
static moeq_status measure_head(struct mq_head_sensitivity *h, const float *x, const float *logits,
                                size_t tokens, moeq_error *err)
{
    const size_t k = h->job.options->levels_count, vocab = h->job.view->hparams.vocab;
    const int team = mq_team(h->job.context, tokens * vocab);
    memset(h->moments, 0, (k + 1) * tokens * sizeof *h->moments);
    for (size_t t = 0; t < tokens; t++)
        make_random(h, x + t * h->ldx, h->random + t * h->ldr);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t t = 0; t < (int64_t)tokens; t++)
        sum_up(h, (size_t)t, logits + (size_t)t * vocab, vocab);
    for (size_t row = 0; row < vocab; row += MQ_SENSITIVITY_HEAD_ROWS) {
        const size_t rows = mq_min_u64(MQ_SENSITIVITY_HEAD_ROWS, vocab - row);
        MQ_TRY(multiply(h, x, tokens, row, rows, err));
#pragma omp parallel for num_threads(team) schedule(static)
        for (int64_t t = 0; t < (int64_t)tokens; t++)
            add_rows(h, (size_t)t, logits + (size_t)t * vocab + row, rows);
    }
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i <= k; i++) {
            const struct moments *m = &h->moments[t * (k + 1) + i];
            h->sums[i] += m->square - m->mean * m->mean;
        }
    return MOEQ_OK;
}

moeq_status mq_head_sensitivity_logits(struct mq_head_sensitivity *h, const float *logits,
                                       size_t tokens, moeq_error *err)
{
    const size_t vocab = h->job.view->hparams.vocab;
    for (size_t t = 0; t < tokens; t += h->tokens)
        MQ_TRY(measure_head(h, h->x + t * h->ldx, logits + t * vocab,
                            mq_min_u64(h->tokens, tokens - t), err));
    h->job.result->tokens[h->tensor - h->job.view->tensors] += tokens;
    return MOEQ_OK;
}

void mq_head_sensitivity_finish(struct mq_head_sensitivity *h)
{
    const size_t k = h->job.options->levels_count;
    if (!h->tensor || !(h->sums[k] > 0.0))
        return;
    double *loss = h->job.result->loss + (size_t)(h->tensor - h->job.view->tensors) * k;
    for (size_t l = 0; l < k; l++)
        loss[l] = (isnan(loss[l]) ? 0.0 : loss[l]) + h->sums[l] / h->sums[k];
}
