/* budget_output.c: what a budget chose, in words and as JSON. */
#include "budget_option.h"

#include <stdio.h>

/* The level that, alone, loses least within the bytes that were used; levels_count if none is as small. */
static size_t best_alone(const struct mq_budget_cli *budget, const struct mq_view *view)
{
    size_t best = budget->how.levels_count;
    double loss = 0.0;
    for (size_t l = 0; l < budget->how.levels_count; l++) {
        const struct mq_budget_option all =
            mq_budget_uniform(view, &budget->sensitivity, &budget->how, l);
        if (all.bytes <= budget->result.bytes &&
            (best == budget->how.levels_count || all.loss < loss)) {
            best = l;
            loss = all.loss;
        }
    }
    return best;
}

void mq_budget_option_print(const struct mq_budget_cli *budget, const struct mq_view *view)
{
    const size_t alone = best_alone(budget, view);
    if (!budget->given)
        return;
    printf(
        "  budget: experts and MLPs take %.4f bits per weight; expected loss %.3g of the residual "
        "stream's\n  squares",
        mq_bits_per_weight(budget->result.bytes, budget->weights), budget->result.loss);
    if (alone < budget->how.levels_count &&
        mq_budget_uniform(view, &budget->sensitivity, &budget->how, alone).loss > 0)
        printf(", %.2f of what %s for all of them loses",
               budget->result.loss /
                   mq_budget_uniform(view, &budget->sensitivity, &budget->how, alone).loss,
               budget->levels[alone]->name);
    printf("\n");
}

cJSON *mq_budget_option_json(struct mq_json_tree *b, const struct mq_budget_cli *budget,
                             const struct mq_view *view)
{
    cJSON *o = mq_json_object(b), *levels = mq_json_array(b);
    mq_json_put_count(b, o, "bytes", budget->result.bytes);
    mq_json_put_number(b, o, "bits_per_weight",
                       mq_bits_per_weight(budget->result.bytes, budget->weights));
    mq_json_put_text(b, o, "granularity", budget->how.per_matrix ? "matrix" : "expert");
    mq_json_put_number(b, o, "expected_loss", budget->result.loss);
    mq_json_put_number(b, o, "expected_loss_bound", budget->result.bound);
    for (size_t l = 0; l < budget->how.levels_count; l++) {
        const struct mq_budget_option all =
            mq_budget_uniform(view, &budget->sensitivity, &budget->how, l);
        cJSON *level = mq_json_object(b);
        mq_json_put_text(b, level, "level", budget->levels[l]->name);
        mq_json_put_count(b, level, "bytes", all.bytes);
        mq_json_put_number(b, level, "expected_loss", all.loss);
        mq_json_append(b, levels, level);
    }
    mq_json_put(b, o, "uniform", levels);
    return o;
}
