/* attribution.c: parts of a model quantized one at a time, as candidates of a comparison. */
#include "attribution.h"

#include "error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parts of one evaluation: each holds states of all its tokens. */
enum { PARTS_AT_ONCE = 16 };

bool mq_attribution_by(const char *text, int *by)
{
    static const struct {
        const char *text;
        int by;
    } all[] = {{"layer", MQ_ATTRIBUTE_LAYER},
               {"role", MQ_ATTRIBUTE_ROLE},
               {"layer,role", MQ_ATTRIBUTE_LAYER | MQ_ATTRIBUTE_ROLE},
               {"role,layer", MQ_ATTRIBUTE_LAYER | MQ_ATTRIBUTE_ROLE}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(text, all[i].text) == 0) {
            *by = all[i].by;
            return true;
        }
    return false;
}

static bool is_part_of(const struct mq_attribution_part *part, int by, const struct mq_tensor *t)
{
    return (!(by & MQ_ATTRIBUTE_LAYER) || part->layer == (t->layer < 0 ? -1 : t->layer)) &&
           (!(by & MQ_ATTRIBUTE_ROLE) || part->role == (int)t->role);
}

static void name_part(struct mq_attribution_part *part, int by)
{
    const char *role = part->role >= 0 ? mq_role_name((enum mq_role)part->role) : "";
    if (part->layer >= 0)
        snprintf(part->name, sizeof part->name, "layer %d%s%s", part->layer, *role ? " " : "",
                 role);
    else
        snprintf(part->name, sizeof part->name, "%s",
                 by & MQ_ATTRIBUTE_ROLE ? role : "outside layers");
}

static int compare_parts(const void *a, const void *b)
{
    const struct mq_attribution_part *x = a, *y = b;
    const uint32_t left = (uint32_t)x->layer, right = (uint32_t)y->layer; /* -1: last */
    return left != right ? (left < right ? -1 : 1) : (x->role > y->role) - (x->role < y->role);
}

/* The parts that a policy quantizes anything of. levels[view's tensors]: NULL for what it does not. */
static moeq_status find_parts(const struct mq_view *view, const struct mq_level *const *levels,
                              struct mq_attribution *a, moeq_error *err)
{
    a->parts = calloc(view->tensors_count + 1, sizeof *a->parts);
    if (!a->parts)
        return mq_fail_memory(err, "attributing a loss");
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        size_t p = 0;
        if (!levels[i])
            continue;
        while (p < a->parts_count && !is_part_of(&a->parts[p], a->by, t))
            p++;
        struct mq_attribution_part *part = &a->parts[p];
        if (p == a->parts_count) {
            part->layer = a->by & MQ_ATTRIBUTE_LAYER && t->layer >= 0 ? t->layer : -1;
            part->role = a->by & MQ_ATTRIBUTE_ROLE ? (int)t->role : -1;
            name_part(part, a->by);
            a->parts_count++;
        }
        part->tensors++;
        part->weights += t->rows * t->cols;
        part->bytes += t->rows * mq_level_row_bytes(levels[i], t->cols);
    }
    qsort(a->parts, a->parts_count, sizeof *a->parts, compare_parts);
    return MOEQ_OK;
}

static moeq_status run_some(const struct mq_context *context, const struct mq_baseline *baseline,
                            const struct mq_policy *policy, const struct mq_level **levels,
                            const struct mq_comparison_options *options, struct mq_attribution *a,
                            size_t first, size_t count, moeq_error *err)
{
    const size_t n = baseline->view->tensors_count;
    struct mq_candidate candidates[PARTS_AT_ONCE] = {0};
    struct mq_comparison c = {0};
    const struct mq_level **chosen = calloc(count * n + 1, sizeof *chosen);
    moeq_status status = MOEQ_OK;
    if (!chosen)
        return mq_fail_memory(err, "attributing a loss");
    for (size_t p = 0; p < count; p++) {
        for (size_t i = 0; i < n; i++)
            if (is_part_of(&a->parts[first + p], a->by, &baseline->view->tensors[i]))
                chosen[p * n + i] = levels[i];
        candidates[p] =
            (struct mq_candidate){.name = a->parts[first + p].name,
                                  .policy = {.chosen = chosen + p * n,
                                             .chosen_by = a->parts[first + p].name,
                                             .effort = policy->effort,
                                             .allow_nonfinite = policy->allow_nonfinite}};
    }
    MQ_TRY_OUT(mq_compare(context, baseline, candidates, count, options, &c, err));
    for (size_t p = 0; p < count; p++) {
        struct mq_attribution_part *part = &a->parts[first + p];
        const struct mq_arm_result *r = &c.rows[1 + p].result;
        part->kld = r->kld.mean;
        part->log_ppl_ratio = r->log_ppl_ratio;
        part->exact_routes = r->has_routing ? r->routing.overall.metric[MQ_ROUTING_EXACT_SET]
                                            : (struct mq_estimate){NAN, NAN};
        a->sum += part->kld.value;
    }
out:
    mq_comparison_free(&c);
    free(chosen);
    return status;
}

moeq_status mq_attribute(const struct mq_context *context, const struct mq_baseline *baseline,
                         const struct mq_policy *policy, int by,
                         const struct mq_comparison_options *options,
                         struct mq_attribution *attribution, moeq_error *err)
{
    struct mq_attribution *a = attribution;
    const struct mq_view *view = baseline->view;
    const struct mq_level **levels = calloc(view->tensors_count + 1, sizeof *levels);
    moeq_status status = levels ? MOEQ_OK : mq_fail_memory(err, "attributing a loss");
    *a = (struct mq_attribution){.by = by};
    if (status != MOEQ_OK)
        return status;
    MQ_TRY_OUT(mq_comparison_levels(view, policy, levels, err));
    MQ_TRY_OUT(find_parts(view, levels, a, err));
    for (size_t first = 0; first < a->parts_count; first += PARTS_AT_ONCE) {
        const size_t left = a->parts_count - first;
        MQ_TRY_OUT(run_some(context, baseline, policy, levels, options, a, first,
                            left < PARTS_AT_ONCE ? left : PARTS_AT_ONCE, err));
    }
out:
    free(levels);
    return status;
}

void mq_attribution_free(struct mq_attribution *attribution)
{
    free(attribution->parts);
    memset(attribution, 0, sizeof *attribution);
}
