/* coverage.c: see coverage.h. */
#include "coverage.h"

#include "checked.h"
#include "error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct measuring {
    const struct mq_calibration *whole, *apart;
    struct mq_coverage *coverage;
    struct mq_exact_sum *columns, *other; /* [widest] */
    double weight;                        /* of the role's distances so far */
};

/* ---- roles ---- */

static struct mq_coverage_role *role_of(struct measuring *m, enum mq_role role)
{
    struct mq_coverage *c = m->coverage;
    for (size_t i = 0; i < c->roles_count; i++)
        if (c->roles[i].role == role)
            return &c->roles[i];
    struct mq_coverage_role *r = &c->roles[c->roles_count++];
    *r = (struct mq_coverage_role){.role = role,
                                   .alignment_least = NAN,
                                   .alignment_most = NAN,
                                   .distance_mean = NAN,
                                   .distance_most = NAN};
    return r;
}

static void note_alignment(struct mq_coverage_role *r, double alignment)
{
    if (isnan(alignment))
        return;
    r->alignment_least = fmin(r->alignment_least, alignment);
    r->alignment_most = fmax(r->alignment_most, alignment);
    r->alignment_mean += (alignment - r->alignment_mean) / (double)++r->seen;
}

static double sum_of(const struct mq_exact_sum *columns, uint64_t n)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += mq_exact_sum_value(&columns[i]);
    return sum;
}

static double distance(const struct mq_exact_sum *a, const struct mq_exact_sum *b, uint64_t n)
{
    const double of_a = sum_of(a, n), of_b = sum_of(b, n);
    double sum = 0;
    if (!(of_a > 0 && of_b > 0))
        return NAN;
    for (uint64_t i = 0; i < n; i++)
        sum += fabs(mq_exact_sum_value(&a[i]) / of_a - mq_exact_sum_value(&b[i]) / of_b);
    return sum / 2;
}

static moeq_status note_distance(struct measuring *m, const struct mq_calibration_group *g,
                                 uint32_t expert, struct mq_coverage_role *r, moeq_error *err)
{
    struct mq_calibration_sums sums;
    MQ_TRY(mq_calibration_read(m->apart, g, expert, &sums, m->other, err));
    const double d = distance(m->columns, m->other, g->cols);
    if (isnan(d))
        return MOEQ_OK;
    const double tokens = (double)sums.tokens, before = isnan(r->distance_mean) ? 0 : m->weight;
    m->weight = before + tokens;
    r->distance_mean = ((before > 0 ? before * r->distance_mean : 0) + tokens * d) / m->weight;
    r->distance_most = fmax(r->distance_most, d);
    return MOEQ_OK;
}

/* ---- experts ---- */

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static moeq_status finish_layer(struct mq_coverage *c, struct mq_coverage_layer *l, moeq_error *err)
{
    int64_t *sorted = malloc(l->experts * sizeof *sorted);
    if (!sorted)
        return mq_fail_memory(err, "counting experts' tokens");
    memcpy(sorted, l->tokens, l->experts * sizeof *sorted);
    qsort(sorted, l->experts, sizeof *sorted, by_value);
    l->least = sorted[0];
    l->median = sorted[l->experts / 2];
    l->most = sorted[l->experts - 1];
    free(sorted);
    for (uint32_t e = 0; e < l->experts; e++) {
        l->without += l->tokens[e] == 0;
        l->few += l->tokens[e] > 0 && l->tokens[e] < MQ_COVERAGE_FEW;
    }
    c->experts += l->experts;
    c->without += l->without;
    c->few += l->few;
    return MOEQ_OK;
}

/* The tokens of a layer's experts, as its up or down matrices met them. */
static moeq_status add_layer(struct measuring *m, const struct mq_calibration_group *g,
                             moeq_error *err)
{
    struct mq_coverage *c = m->coverage;
    struct mq_coverage_layer *l = &c->layers[c->layers_count++];
    *l = (struct mq_coverage_layer){
        .layer = g->layer,
        .experts = g->experts,
        .tokens = mq_arena_alloc(c->arena, g->experts, sizeof *l->tokens),
        .routing = mq_arena_alloc(c->arena, g->experts, sizeof *l->routing)};
    if (!l->tokens || !l->routing)
        return mq_fail_memory(err, "counting experts' tokens");
    for (uint32_t e = 0; e < g->experts; e++) {
        struct mq_calibration_sums sums, held = {0};
        MQ_TRY(mq_calibration_read(m->whole, g, e, &sums, NULL, err));
        l->tokens[e] = sums.tokens;
        l->routing[e] = mq_exact_sum_value(&sums.routing);
        if (!m->apart)
            continue;
        MQ_TRY(mq_calibration_read(m->apart, g, e, &held, NULL, err));
        c->held_out_visits += held.tokens;
        c->held_out_few += sums.tokens < MQ_COVERAGE_FEW ? held.tokens : 0;
    }
    return finish_layer(c, l, err);
}

/* ---- all of it ---- */

static moeq_status add_group(struct measuring *m, size_t number, moeq_error *err)
{
    const struct mq_calibration_group *g = &m->whole->groups.all[number];
    struct mq_coverage_role *r = role_of(m, g->role);
    for (uint32_t e = 0; e < g->experts; e++) {
        struct mq_calibration_sums sums;
        MQ_TRY(mq_calibration_read(m->whole, g, e, &sums, m->columns, err));
        r->matrices++;
        note_alignment(r, mq_calibration_alignment(g, &sums, m->columns));
        if (m->apart && g->inputs == number)
            MQ_TRY(note_distance(m, g, e, r, err));
    }
    return g->role == MQ_ROLE_EXPERT_DOWN ? add_layer(m, g, err) : MOEQ_OK;
}

moeq_status mq_coverage_measure(const struct mq_calibration *whole,
                                const struct mq_calibration *apart, struct mq_coverage *coverage,
                                moeq_error *err)
{
    struct measuring m = {.whole = whole, .apart = apart, .coverage = coverage};
    const struct mq_calibration_groups *groups = &whole->groups;
    size_t widest = 1;
    moeq_status status;
    *coverage = (struct mq_coverage){.arena = mq_arena_create()};
    for (size_t i = 0; i < groups->count; i++)
        widest = mq_max_u64(widest, groups->all[i].cols);
    m.columns = calloc(widest, sizeof *m.columns);
    m.other = calloc(widest, sizeof *m.other);
    if (coverage->arena) {
        coverage->roles = mq_arena_alloc(coverage->arena, MQ_ROLE_COUNT, sizeof *coverage->roles);
        coverage->layers =
            mq_arena_alloc(coverage->arena, groups->count + 1, sizeof *coverage->layers);
    }
    if (!m.columns || !m.other || !coverage->roles || !coverage->layers) {
        status = mq_fail_memory(err, "looking at a calibration");
        goto out;
    }
    status = MOEQ_OK;
    for (int role = 0; role < MQ_ROLE_COUNT && status == MOEQ_OK; role++) {
        m.weight = 0;
        for (size_t i = 0; i < groups->count && status == MOEQ_OK; i++)
            if (groups->all[i].role == (enum mq_role)role)
                status = add_group(&m, i, err);
    }
out:
    free(m.columns);
    free(m.other);
    if (status != MOEQ_OK)
        mq_coverage_free(coverage);
    return status;
}

void mq_coverage_free(struct mq_coverage *coverage)
{
    mq_arena_destroy(coverage->arena);
    *coverage = (struct mq_coverage){0};
}
