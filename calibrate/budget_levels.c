/* budget_levels.c: units of a budget from measured matrices, and back. */
#include "budget_levels.h"

#include "mlp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Whether a tensor may have a level. */
static bool may_have(const struct mq_view *view, const struct mq_budget_levels_options *options,
                     const struct mq_tensor *t, size_t level)
{
    if (mq_mlp_is_matrix(view, t))
        return !options->not_for_mlps || !options->not_for_mlps[level];
    return !options->per_matrix || t->cols % options->levels[level]->block_weights == 0;
}

static bool has_level(const struct mq_view *view, const struct mq_budget_levels_options *options,
                      const struct mq_tensor *t)
{
    size_t l = 0;
    while (l < options->levels_count && !may_have(view, options, t, l))
        l++;
    return l < options->levels_count;
}

bool mq_budget_covers(const struct mq_view *view, const struct mq_sensitivity *sensitivity,
                      const struct mq_budget_levels_options *options, size_t tensor)
{
    const struct mq_tensor *t = &view->tensors[tensor];
    if (options->pinned[mq_view_class(view, t->role)] || (options->fixed && options->fixed[tensor]))
        return false;
    /* of experts that no token met others tell; of what else was not measured nothing does */
    return mq_mlp_is_matrix(view, t) ||
           (sensitivity->tokens[tensor] > 0 && has_level(view, options, t));
}

struct mq_budget_weights mq_budget_weights(const struct mq_view *view,
                                           const struct mq_sensitivity *sensitivity,
                                           const struct mq_budget_levels_options *options)
{
    struct mq_budget_weights sum = {0};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (mq_budget_covers(view, sensitivity, options, i))
            *(mq_mlp_is_matrix(view, t) ? &sum.mlps : &sum.rest) += t->rows * t->cols;
    }
    return sum;
}

moeq_status mq_budget_fill(const struct mq_view *view, struct mq_sensitivity *s, moeq_error *err)
{
    const size_t kinds = (view->hparams.layers + 1) * (size_t)MQ_ROLE_COUNT;
    double *least = malloc(kinds * s->levels * sizeof *least);
    if (!least)
        return mq_fail_memory(err, "choosing levels");
    for (size_t i = 0; i < kinds * s->levels; i++)
        least[i] = INFINITY;
    for (int fill = 0; fill < 2; fill++)
        for (size_t i = 0; i < s->tensors; i++) {
            const struct mq_tensor *t = &view->tensors[i];
            double *of_kind =
                least + ((size_t)(t->layer + 1) * MQ_ROLE_COUNT + t->role) * s->levels;
            for (size_t l = 0; l < s->levels; l++) {
                double *loss = &s->loss[i * s->levels + l];
                if (!fill)
                    of_kind[l] = *loss < of_kind[l] ? *loss : of_kind[l]; /* a NAN is not */
                else if (!isfinite(*loss))
                    *loss = isfinite(of_kind[l]) ? of_kind[l] : 0.0;
            }
        }
    free(least);
    return MOEQ_OK;
}

static void add(const struct mq_view *view, const struct mq_sensitivity *s,
                const struct mq_budget_levels_options *options, size_t tensor, size_t level,
                struct mq_budget_option *sum)
{
    const struct mq_tensor *t = &view->tensors[tensor];
    sum->bytes += t->rows * mq_level_row_bytes(options->levels[level], t->cols);
    sum->loss += s->loss[tensor * s->levels + level];
}

struct mq_budget_option mq_budget_uniform(const struct mq_view *view,
                                          const struct mq_sensitivity *sensitivity,
                                          const struct mq_budget_levels_options *options,
                                          size_t level, size_t rest)
{
    struct mq_budget_option sum = {0, 0.0};
    for (size_t i = 0; i < sensitivity->tensors; i++) {
        const size_t of = mq_mlp_is_matrix(view, &view->tensors[i]) ? level : rest;
        if (of != SIZE_MAX && mq_budget_covers(view, sensitivity, options, i))
            add(view, sensitivity, options, i, of, &sum);
    }
    return sum;
}

/* unit[tensor]: the number of the unit that it is part of. */
static size_t number_units(const struct mq_view *view, const struct mq_sensitivity *s,
                           const struct mq_budget_levels_options *options, size_t *unit)
{
    size_t *of_kind = calloc((view->hparams.layers + 1) * (size_t)MQ_ROLE_COUNT, sizeof *of_kind);
    size_t units = 0;
    for (size_t i = 0; of_kind && i < s->tensors; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        unit[i] = SIZE_MAX;
        if (!mq_budget_covers(view, s, options, i))
            continue;
        size_t *kind = &of_kind[(size_t)(t->layer + 1) * MQ_ROLE_COUNT + t->role];
        if (!options->per_matrix || !*kind)
            *kind = ++units;
        unit[i] = *kind - 1;
    }
    free(of_kind);
    return of_kind ? units : SIZE_MAX;
}

moeq_status mq_budget_levels(const struct mq_view *view, const struct mq_sensitivity *sensitivity,
                             const struct mq_budget_levels_options *options,
                             const struct mq_level **chosen, struct mq_budget_result *result,
                             moeq_error *err)
{
    const size_t n = sensitivity->tensors, levels = options->levels_count;
    size_t *unit = calloc(n + 1, sizeof *unit);
    const size_t units = unit ? number_units(view, sensitivity, options, unit) : SIZE_MAX;
    struct mq_budget_option *o = units == SIZE_MAX ? NULL : calloc(units * levels + 1, sizeof *o);
    uint8_t *level = units == SIZE_MAX ? NULL : calloc(units + 1, 1);
    moeq_status status = MOEQ_OK;
    if (!o || !level) {
        status = mq_fail_memory(err, "choosing levels");
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < levels && unit[i] != SIZE_MAX; l++) {
            struct mq_budget_option *sum = &o[unit[i] * levels + l];
            if (!may_have(view, options, &view->tensors[i], l))
                sum->bytes = UINT64_MAX;
            else if (sum->bytes != UINT64_MAX)
                add(view, sensitivity, options, i, l, sum);
        }
    MQ_TRY_OUT(mq_budget_choose(o, units, levels, options->bytes, level, result, err));
    for (size_t i = 0; i < n; i++)
        chosen[i] = unit[i] == SIZE_MAX ? NULL : options->levels[level[unit[i]]];
out:
    free(unit);
    free(o);
    free(level);
    return status;
}
