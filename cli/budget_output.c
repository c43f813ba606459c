/* budget_output.c: what a budget chose, in words and as JSON. */
#include "budget_option.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct mq_budget_option alone(const struct mq_budget *budget, const struct mq_view *view,
                                     size_t level)
{
    return mq_budget_uniform(view, &budget->sensitivity, &budget->how, level, budget->rest);
}

/* The level that for all experts and MLPs, with the rest at its default, loses least within the bytes that were used;
 * levels_count if none is as small. */
static size_t best_alone(const struct mq_budget *budget, const struct mq_view *view)
{
    size_t best = budget->how.levels_count;
    double loss = 0.0;
    for (size_t l = 0; l < budget->how.levels_count; l++) {
        const struct mq_budget_option all = alone(budget, view, l);
        if (!budget->not_for_mlps[l] && all.bytes <= budget->result.bytes &&
            (best == budget->how.levels_count || all.loss < loss)) {
            best = l;
            loss = all.loss;
        }
    }
    return best;
}

/* All matrices of a role. */
struct of_role {
    uint64_t tensors, weights, bytes;
    uint64_t at_level[MQ_BUDGET_LEVELS];
    double loss;
};

static struct of_role add_role(const struct mq_budget *budget, const struct mq_view *view,
                               enum mq_role role)
{
    struct of_role sum = {0};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (t->role != role || !budget->chosen[i])
            continue;
        size_t l = 0;
        while (budget->levels[l] != budget->chosen[i])
            l++;
        sum.tensors++;
        sum.weights += t->rows * t->cols;
        sum.bytes += t->rows * mq_level_row_bytes(budget->levels[l], t->cols);
        sum.at_level[l]++;
        sum.loss += budget->sensitivity.loss[i * budget->sensitivity.levels + l];
    }
    return sum;
}

static void print_roles(const struct mq_budget *budget, const struct mq_view *view)
{
    const bool narrow = mq_output_columns() < 60;
    const int names = narrow ? 12 : 14;
    for (int role = 0; role < MQ_ROLE_COUNT; role++) {
        const struct of_role r = add_role(budget, view, (enum mq_role)role);
        if (!r.tensors)
            continue;
        char levels[512] = "";
        for (size_t l = 0; l < budget->how.levels_count; l++)
            if (r.at_level[l])
                snprintf(levels + strlen(levels), sizeof levels - strlen(levels), "%s%s %" PRIu64,
                         levels[0] ? " " : "", budget->levels[l]->name, r.at_level[l]);
        const int at = printf("%*s%-*.*s %7.4f bits  %9.3g", narrow ? 2 : 4, "", names, names,
                              mq_role_name((enum mq_role)role),
                              mq_bits_per_weight(r.bytes, r.weights), r.loss);
        if (!narrow)
            printf("  ");
        mq_print_wrapped(levels, at + 2, at + 2);
    }
}

void mq_budget_option_print(const struct mq_budget_cli *cli, const struct mq_view *view)
{
    const struct mq_budget *budget = &cli->budget;
    if (!cli->given)
        return;
    const size_t best = best_alone(budget, view);
    char beside[96] = "", of[96] = "";
    if (budget->weights.mlps && budget->weights.rest)
        snprintf(beside, sizeof beside,
                 ", as much as %.4f of experts and MLPs beside %s of the rest",
                 mq_budget_bpw(budget, view), MQ_BUDGET_REST);
    if (best < budget->how.levels_count && alone(budget, view, best).loss > 0)
        snprintf(of, sizeof of, ", %.2f of what %s for all experts and MLPs loses",
                 budget->result.loss / alone(budget, view, best).loss, budget->levels[best]->name);
    mq_print_sentence(
        4,
        "  budget: %.4f bits per weight%s; expected loss %.3g of the residual stream's squares%s",
        mq_bits_per_weight(budget->result.bytes, budget->weights.mlps + budget->weights.rest),
        beside, budget->result.loss, of);
    print_roles(budget, view);
}

static cJSON *roles_json(struct mq_json_tree *b, const struct mq_budget *budget,
                         const struct mq_view *view)
{
    cJSON *roles = mq_json_array(b);
    for (int role = 0; role < MQ_ROLE_COUNT; role++) {
        const struct of_role r = add_role(budget, view, (enum mq_role)role);
        if (!r.tensors)
            continue;
        cJSON *o = mq_json_object(b), *levels = mq_json_object(b);
        mq_json_put_text(b, o, "role", mq_role_name((enum mq_role)role));
        mq_json_put_count(b, o, "tensors", r.tensors);
        mq_json_put_count(b, o, "weights", r.weights);
        mq_json_put_count(b, o, "bytes", r.bytes);
        mq_json_put_number(b, o, "bits_per_weight", mq_bits_per_weight(r.bytes, r.weights));
        mq_json_put_number(b, o, "expected_loss", r.loss);
        for (size_t l = 0; l < budget->how.levels_count; l++)
            if (r.at_level[l])
                mq_json_put_count(b, levels, budget->levels[l]->name, r.at_level[l]);
        mq_json_put(b, o, "levels", levels);
        mq_json_append(b, roles, o);
    }
    return roles;
}

cJSON *mq_budget_option_json(struct mq_json_tree *b, const struct mq_budget_cli *cli,
                             const struct mq_view *view)
{
    const struct mq_budget *budget = &cli->budget;
    cJSON *o = mq_json_object(b), *levels = mq_json_array(b);
    mq_json_put_count(b, o, "bytes", budget->result.bytes);
    mq_json_put_count(b, o, "weights", budget->weights.mlps + budget->weights.rest);
    mq_json_put_number(
        b, o, "bits_per_weight",
        mq_bits_per_weight(budget->result.bytes, budget->weights.mlps + budget->weights.rest));
    if (budget->weights.mlps)
        mq_json_put_number(b, o, "bits_per_weight_beside_" MQ_BUDGET_REST,
                           mq_budget_bpw(budget, view));
    mq_json_put_text(b, o, "granularity", budget->how.per_matrix ? "matrix" : "expert");
    mq_json_put_number(b, o, "expected_loss", budget->result.loss);
    mq_json_put_number(b, o, "expected_loss_bound", budget->result.bound);
    mq_json_put(b, o, "roles", roles_json(b, budget, view));
    for (size_t l = 0; l < budget->how.levels_count; l++) {
        const struct mq_budget_option all = alone(budget, view, l);
        if (budget->not_for_mlps[l])
            continue;
        cJSON *level = mq_json_object(b);
        mq_json_put_text(b, level, "level", budget->levels[l]->name);
        mq_json_put_count(b, level, "bytes", all.bytes);
        mq_json_put_number(b, level, "expected_loss", all.loss);
        mq_json_append(b, levels, level);
    }
    mq_json_put(b, o, "uniform", levels);
    return o;
}
