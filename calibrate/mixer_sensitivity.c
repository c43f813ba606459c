/* mixer_sensitivity.c: products of mixers with the matrix at each level. */
#include "mixer_sensitivity.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mq_mixer_sensitivity {
    struct mq_sensitivity_job job;
    size_t ldx, ldy;
    float *x;       /* [tokens][ldx] */
    float *y;       /* [levels + 1][tokens][ldy] */
    double *errors; /* [view's tensors][levels]: sums of squares */
    double *wholes; /* [view's tensors]: the same of the products */
    double *added;  /* [layers]: of what mixers add */
};

/* The last product of a mixer. */
static bool is_last(enum mq_role role)
{
    return role == MQ_ROLE_ATTN_O || role == MQ_ROLE_MIX_OUT;
}

moeq_status mq_mixer_sensitivity_create(const struct mq_sensitivity_job *job,
                                        struct mq_mixer_sensitivity **mixers, moeq_error *err)
{
    const struct mq_view *view = job->view;
    const size_t n = view->tensors_count, k = job->options->levels_count;
    struct mq_mixer_sensitivity *m = calloc(1, sizeof *m);
    uint64_t rows = 0, cols = 0;
    if (!m)
        return mq_fail_memory(err, "measuring what levels cost");
    *mixers = m;
    m->job = *job;
    for (size_t i = 0; i < n; i++)
        if (mq_sensitivity_is_mixer(view, &view->tensors[i])) {
            rows = mq_max_u64(rows, view->tensors[i].rows);
            cols = mq_max_u64(cols, view->tensors[i].cols);
        }
    m->ldx = mq_round_up(cols, 16) + MQ_ROW_PAD;
    m->ldy = mq_round_up(rows, 16) + MQ_ROW_PAD;
    m->x = calloc(job->tokens * m->ldx, sizeof *m->x);
    m->y = calloc((k + 1) * job->tokens * m->ldy, sizeof *m->y);
    m->errors = calloc(n * k + 1, sizeof *m->errors);
    m->wholes = calloc(n + 1, sizeof *m->wholes);
    m->added = calloc(view->hparams.layers + 1u, sizeof *m->added);
    return m->x && m->y && m->errors && m->wholes && m->added
               ? MOEQ_OK
               : mq_fail_memory(err, "measuring what levels cost");
}

void mq_mixer_sensitivity_destroy(struct mq_mixer_sensitivity *m)
{
    if (!m)
        return;
    free(m->x);
    free(m->y);
    free(m->errors);
    free(m->wholes);
    free(m->added);
    free(m);
}

static moeq_status multiply(struct mq_mixer_sensitivity *m, const struct mq_product *p,
                            size_t tokens, moeq_error *err)
{
    const struct mq_sensitivity_job *job = &m->job;
    const size_t k = job->options->levels_count;
    for (size_t t = 0; t < tokens; t++)
        memcpy(m->x + t * m->ldx, p->x + mq_sensitivity_token(t, tokens, p->tokens) * p->ldx,
               p->tensor->cols * sizeof *m->x);
    for (size_t i = 0; i <= k; i++)
        job->arms[i] =
            (struct mq_linear_arm){.weights = mq_sensitivity_weights(
                                       job, p->tensor, i ? job->options->levels[i - 1] : NULL),
                                   .x = m->x,
                                   .ldx = m->ldx,
                                   .tokens = tokens,
                                   .y = m->y + i * job->tokens * m->ldy,
                                   .ldy = m->ldy,
                                   .first_row = p->first_row,
                                   .rows_count = p->rows};
    return mq_linear_apply(job->linear, MQ_LINEAR_STORE, job->arms, k + 1, 1, err);
}

moeq_status mq_mixer_sensitivity_product(struct mq_mixer_sensitivity *m, const struct mq_product *p,
                                         moeq_error *err)
{
    const struct mq_sensitivity_job *job = &m->job;
    const struct mq_kernels *kernels = mq_kernels_get(job->context->isa);
    const size_t k = job->options->levels_count, i = (size_t)(p->tensor - job->view->tensors);
    const size_t tokens = mq_min_u64(p->tokens, job->tokens);
    if (!mq_sensitivity_is_mixer(job->view, p->tensor) || p->tensor->layer == 0 || tokens == 0)
        return MOEQ_OK;
    MQ_TRY(multiply(m, p, tokens, err));
    const double weight = (double)p->tokens / (double)tokens;
    double whole = 0.0;
    for (size_t l = 0; l < k; l++)
        for (size_t t = 0; t < tokens; t++) {
            const float *y = m->y + t * m->ldy;
            double squares[2];
            kernels->sum_squares(y, y + (l + 1) * job->tokens * m->ldy, p->rows, squares);
            m->errors[i * k + l] += weight * squares[0];
            whole += l ? 0.0 : weight * squares[1];
        }
    m->wholes[i] += whole;
    if (p->first_row == 0)
        job->result->tokens[i] += p->tokens;
    if (is_last(p->tensor->role))
        m->added[p->tensor->layer] += whole * p->shape->residual_scale * p->shape->residual_scale;
    return MOEQ_OK;
}

void mq_mixer_sensitivity_finish(struct mq_mixer_sensitivity *m, const double *stream)
{
    const struct mq_view *view = m->job.view;
    const size_t k = m->job.options->levels_count;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (!mq_sensitivity_is_mixer(view, t) || t->layer == 0)
            continue;
        if (!(m->wholes[i] > 0.0 && m->added[t->layer] > 0.0)) {
            m->job.result->tokens[i] = 0; /* nothing is known of it */
            continue;
        }
        const double factor = m->added[t->layer] / m->wholes[i];
        for (size_t l = 0; l < k; l++)
            m->job.result->loss[i * k + l] =
                factor * m->errors[i * k + l] / (stream[t->layer] + m->added[t->layer]);
    }
}
