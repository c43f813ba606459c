/* collect.c: an observer of each product's inputs that sums their squares. */
#include "collect.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SETS = 2, /* whole, apart */
    /* Rows after which sums are looked at: so many of the largest squares, 2^39, are 2^60 units. */
    ROWS_AT_ONCE = 1 << 13,
    COLUMNS_AT_ONCE = 256, /* a thread's */
};
#define MOST_UNITS (INT64_C(1) << 61)

/* Of one matrix of the layer at hand. */
struct matrix {
    struct mq_calibration_sums sums[SETS];
    struct mq_exact_sum *columns[SETS]; /* NULL where another group has them */
    struct mq_output_squares runs[SETS];
};

struct collector {
    const struct mq_context *context;
    const struct mq_collect_options *options;
    const struct mq_calibration_groups *groups;
    size_t sets, boundary; /* tokens from `boundary` on, over all windows, are of the second set */
    size_t pass_token;     /* the first of the pass at hand */
    int32_t layer;         /* -1: none yet */
    struct matrix *matrices;
    size_t *first;                /* [groups]: a group's first expert in `matrices` */
    struct mq_exact_sum *columns; /* of all matrices of the layer */
    struct mq_exact_sum *old;     /* [widest]: scratch */
    uint64_t *weighed; /* [view's tensors]: rows of weights whose squares were asked for */
    uint64_t column_bytes, matrices_count; /* of the largest layer */
};

/* ---- a layer's sums ---- */

static size_t end_of_layer(const struct collector *c, size_t group)
{
    const struct mq_calibration_groups *g = c->groups;
    size_t end = group;
    while (end < g->count && g->all[end].layer == g->all[group].layer)
        end++;
    return end;
}

static size_t begin_of_layer(const struct collector *c, int32_t layer)
{
    size_t i = 0;
    while (i < c->groups->count && c->groups->all[i].layer < layer)
        i++;
    return i;
}

/* Room for the largest layer: its matrices, and the columns of those that have their own. */
static void measure(struct collector *c, size_t *widest)
{
    const struct mq_calibration_groups *g = c->groups;
    for (size_t begin = 0, end; begin < g->count; begin = end) {
        uint64_t matrices = 0, columns = 0;
        end = end_of_layer(c, begin);
        for (size_t i = begin; i < end; i++) {
            matrices += g->all[i].experts;
            columns += g->all[i].inputs == i ? g->all[i].experts * g->all[i].cols : 0;
            *widest = mq_max_u64(*widest, g->all[i].cols);
        }
        c->matrices_count = mq_max_u64(c->matrices_count, matrices);
        c->column_bytes = mq_max_u64(c->column_bytes, c->sets * columns * sizeof *c->columns);
    }
}

static void clear(struct collector *c, int32_t layer)
{
    const struct mq_calibration_groups *g = c->groups;
    const size_t begin = begin_of_layer(c, layer);
    struct mq_exact_sum *columns = c->columns;
    size_t n = 0;
    c->layer = layer;
    memset(c->matrices, 0, c->matrices_count * sizeof *c->matrices);
    memset(c->columns, 0, c->column_bytes);
    for (size_t i = begin; i < g->count && g->all[i].layer == layer; i++) {
        c->first[i] = n;
        for (uint32_t e = 0; e < g->all[i].experts; e++, n++)
            for (size_t s = 0; s < c->sets && g->all[i].inputs == i; s++) {
                c->matrices[n].columns[s] = columns;
                columns += g->all[i].cols;
            }
    }
}

/* Adds what there is of the layer to the files. */
static moeq_status flush(struct collector *c, moeq_error *err)
{
    struct mq_calibration_writer *const to[SETS] = {c->options->whole, c->options->apart};
    const struct mq_calibration_groups *g = c->groups;
    if (c->layer < 0)
        return MOEQ_OK;
    for (size_t i = begin_of_layer(c, c->layer); i < g->count && g->all[i].layer == c->layer; i++)
        for (uint32_t e = 0; e < g->all[i].experts; e++) {
            const struct matrix *m = &c->matrices[c->first[i] + e];
            for (size_t s = 0; s < c->sets; s++)
                MQ_TRY(mq_calibration_put(to[s], &g->all[i], e, &m->sums[s], m->columns[s], c->old,
                                          err));
        }
    c->layer = -1;
    return MOEQ_OK;
}

/* The sums of a matrix, in a layer that may be a new one. */
static moeq_status find(struct collector *c, const struct mq_tensor *tensor, struct matrix **matrix,
                        const struct mq_calibration_group **group, moeq_error *err)
{
    *group = mq_calibration_group_of(c->groups, tensor);
    if (!*group)
        return MOEQ_OK;
    if (tensor->layer != c->layer) {
        MQ_TRY(flush(c, err));
        clear(c, tensor->layer);
    }
    const size_t expert = tensor->expert < 0 ? 0 : (size_t)tensor->expert;
    *matrix = &c->matrices[c->first[*group - c->groups->all] + expert];
    return MOEQ_OK;
}

/* ---- what is seen ---- */

static moeq_status add_columns(const struct collector *c, const struct mq_product *p, size_t first,
                               size_t end, struct mq_exact_sum *columns, moeq_error *err)
{
    const struct mq_kernels *kernels = mq_kernels_get(c->context->isa);
    const size_t cols = p->tensor->cols;
    for (; first < end; first += ROWS_AT_ONCE) {
        const size_t rows = mq_min_u64(ROWS_AT_ONCE, end - first);
#pragma omp parallel for num_threads(mq_team(c->context, rows *cols)) schedule(static)
        for (int64_t j = 0; j < (int64_t)cols; j += COLUMNS_AT_ONCE)
            kernels->exact_column_squares(p->x + first * p->ldx + j, p->ldx, rows,
                                          mq_min_u64(COLUMNS_AT_ONCE, cols - (uint64_t)j),
                                          columns + j);
        for (size_t j = 0; j < cols; j++)
            if (columns[j].units > MOST_UNITS)
                return mq_fail(
                    err, MOEQ_LIMIT,
                    "tensor '%s': the squares of column %zu of its inputs are beyond what "
                    "sums hold: the model overflows on this text",
                    mq_tensor_shown(p->tensor), j);
    }
    return MOEQ_OK;
}

/* How many of a product's tokens are of the first set. */
static size_t tokens_before(const struct collector *c, const struct mq_product *p)
{
    if (!p->token)
        return c->boundary > p->first_token ? mq_min_u64(p->tokens, c->boundary - p->first_token)
                                            : 0;
    size_t n = p->tokens;
    while (n > 0 && p->first_token + p->token[n - 1] >= c->boundary)
        n--;
    return n;
}

static moeq_status on_product(void *user, struct mq_product *p, moeq_error *err)
{
    struct collector *c = user;
    const struct mq_calibration_group *group;
    struct matrix *m;
    MQ_TRY(find(c, p->tensor, &m, &group, err));
    if (!group)
        return MOEQ_OK;
    const size_t ends[SETS] = {tokens_before(c, p), p->tokens};
    uint64_t *weighed = &c->weighed[p->tensor - c->options->view->tensors];
    for (size_t s = 0; s < c->sets; s++) {
        const size_t first = s ? ends[s - 1] : 0;
        m->runs[s] = (struct mq_output_squares){ends[s], &m->sums[s].outputs};
        if (p->first_row > 0) /* more rows, for the same inputs */
            continue;
        m->sums[s].tokens += (int64_t)(ends[s] - first);
        if (m->columns[s])
            MQ_TRY(add_columns(c, p, first, ends[s], m->columns[s], err));
    }
    p->sums = (struct mq_product_sums){.runs = m->runs, .runs_count = c->sets};
    /* once, for tokens that count */
    if (ends[0] > 0 && *weighed == p->first_row) {
        p->sums.weights = &m->sums[0].weights;
        *weighed += p->rows;
    }
    return MOEQ_OK;
}

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct collector *c = user;
    (void)layer, (void)tokens, (void)hidden, (void)err;
    c->pass_token = first_token;
    return MOEQ_OK;
}

/* Routing weights, of all three matrices of an expert. */
static moeq_status on_mlp(void *user, const struct mq_mlp_inputs *inputs, moeq_error *err)
{
    struct collector *c = user;
    if (inputs->expert < 0 || !inputs->scale)
        return MOEQ_OK;
    struct mq_exact_sum sum[SETS] = {{0}};
    for (size_t i = 0; i < inputs->tokens; i++)
        mq_exact_sum_add(&sum[c->pass_token + inputs->token[i] >= c->boundary],
                         fabs((double)inputs->scale[i]));
    for (int matrix = 0; matrix < 3; matrix++) {
        const struct mq_calibration_group *group;
        struct matrix *m;
        const enum mq_role role = mq_role_of_matrix(inputs->gate, matrix);
        const struct mq_tensor *t =
            mq_view_find(c->options->view, role, inputs->layer, inputs->expert);
        if (!t)
            continue;
        MQ_TRY(find(c, t, &m, &group, err));
        for (size_t s = 0; group && s < c->sets; s++)
            mq_exact_sum_join(&m->sums[s].routing, sum[s].units, sum[s].fine);
    }
    return MOEQ_OK;
}

/* ---- the pass ---- */

static moeq_status prepare(struct collector *c, uint64_t *bytes, moeq_error *err)
{
    const size_t tensors = c->options->view->tensors_count;
    size_t widest = 1;
    measure(c, &widest);
    *bytes = c->column_bytes + c->matrices_count * sizeof *c->matrices + widest * sizeof *c->old +
             tensors * sizeof *c->weighed;
    c->matrices = calloc(c->matrices_count + 1, sizeof *c->matrices);
    c->first = calloc(c->groups->count + 1, sizeof *c->first);
    c->columns = malloc(c->column_bytes + 1);
    c->old = calloc(widest, sizeof *c->old);
    c->weighed = calloc(tensors + 1, sizeof *c->weighed);
    return c->matrices && c->first && c->columns && c->old && c->weighed
               ? MOEQ_OK
               : mq_fail_memory(err, "sums of squares");
}

/* What is left for the evaluation. */
static moeq_status take_memory(struct mq_context *context, uint64_t own, moeq_error *err)
{
    const uint64_t budget = mq_memory_or_half(context);
    char needed[32], there[32];
    if (budget <= own)
        return mq_fail(err, MOEQ_LIMIT, "the sums of one layer need %s; there are %s (--memory)",
                       mq_mib(own, needed), mq_mib(budget, there));
    context->memory_bytes = budget - own;
    return MOEQ_OK;
}

moeq_status mq_collect(const struct mq_context *context, const struct mq_collect_options *options,
                       moeq_error *err)
{
    const struct mq_windows *w = options->windows;
    struct mq_context own = *context;
    struct collector c = {.context = context,
                          .options = options,
                          .groups = &options->whole->calibration.groups,
                          .sets = options->held_out ? 2 : 1,
                          .boundary = (w->count - options->held_out) * w->length,
                          .layer = -1};
    const struct mq_arm arm = {.name = "calibration", .view = options->view, .routes_from = -1};
    const struct mq_observer observer = {
        .user = &c,
                                         .on_hidden = on_hidden,
                                         .on_mlp = on_mlp,
                                         .on_product = on_product,
                                         .one_pipeline = true};
    uint64_t bytes;
    moeq_status status;
    MQ_TRY_OUT(prepare(&c, &bytes, err));
    MQ_TRY_OUT(take_memory(&own, bytes, err));
    MQ_TRY_OUT(mq_evaluate(&own, &arm, 1, w, &observer, err));
    MQ_TRY_OUT(flush(&c, err));
out:
    free(c.matrices);
    free(c.first);
    free(c.columns);
    free(c.old);
    free(c.weighed);
    return status;
}
