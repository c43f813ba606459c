/* budget_plan.c: levels by a text for bits, bytes or cards, and the plan with them. */
#include "budget_plan.h"

#include "error.h"
#include "feedback.h"
#include "sensitivity_int.h"
#include "sizes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- levels ---- */

bool mq_budget_add_level(struct mq_budget *budget, const struct mq_level *level)
{
    if (budget->how.levels_count == MQ_BUDGET_NAMED_LEVELS)
        return false;
    budget->levels[budget->how.levels_count++] = level;
    return true;
}

void mq_budget_all_levels(struct mq_budget *budget)
{
    for (size_t i = 0; i < mq_levels_count; i++)
        if (mq_feedback_can(&mq_levels[i]) && !mq_levels[i].wide_scales)
            mq_budget_add_level(budget, &mq_levels[i]);
}

/* What is no expert's or MLP's may keep more: these are among its levels whatever was named. */
void mq_budget_end_levels(struct mq_budget *budget)
{
    static const char *const names[] = {"q4_k", "q5_k", "q6_k", MQ_BUDGET_REST};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct mq_level *level = mq_level_find(names[i]);
        size_t l = 0;
        while (l < budget->how.levels_count && budget->levels[l] != level)
            l++;
        if (l == budget->how.levels_count) {
            budget->not_for_mlps[l] = true;
            budget->levels[budget->how.levels_count++] = level;
        }
        budget->rest = l; /* the last one's */
    }
    budget->how.levels = budget->levels;
    budget->how.not_for_mlps = budget->not_for_mlps;
}

/* ---- bytes ---- */

uint64_t mq_budget_rest_bytes(const struct mq_budget *budget, const struct mq_view *view)
{
    return mq_budget_uniform(view, &budget->sensitivity, &budget->how, SIZE_MAX, budget->rest)
        .bytes;
}

double mq_budget_bpw(const struct mq_budget *budget, const struct mq_view *view)
{
    return 8.0 * ((double)budget->result.bytes - (double)mq_budget_rest_bytes(budget, view)) /
           (double)budget->weights.mlps;
}

/* As many as where experts and MLPs have the bits, and the rest its default. */
static uint64_t bytes_of_bpw(const struct mq_budget *budget, const struct mq_view *view)
{
    return (uint64_t)(budget->bpw / 8.0 * (double)budget->weights.mlps) +
           mq_budget_rest_bytes(budget, view);
}

/* ---- the plan of a choice ---- */

struct planning {
    const struct mq_budget_job *job;
    const struct mq_view *view;
    struct mq_policy *policy;
    struct mq_budget *budget;
    struct mq_plan **plan;
};

static moeq_status make_plan(const struct planning *p, moeq_error *err)
{
    mq_plan_free(*p->plan);
    *p->plan = NULL;
    return mq_convert_plan(p->job->context, p->view, p->policy, p->job->gguf, p->job->shard_bytes,
                           p->plan, err);
}

/* Levels for so many bytes of experts, and the plan with them. MOEQ_LIMIT: the smallest levels take more,
 * budget->result.bytes. */
static moeq_status choose_and_plan(const struct planning *p, uint64_t bytes, moeq_error *err)
{
    struct mq_budget *budget = p->budget;
    mq_plan_free(*p->plan);
    *p->plan = NULL;
    budget->how.bytes = bytes;
    MQ_TRY(mq_budget_levels(p->view, &budget->sensitivity, &budget->how, budget->chosen,
                            &budget->result, err));
    return make_plan(p, err);
}

/* What the plan leaves of the budget; negative: that much is missing. */
static moeq_status find_spare(const struct planning *p, int64_t *spare, moeq_error *err)
{
    const struct mq_budget *budget = p->budget;
    if (!budget->kv) {
        uint64_t bytes;
        MQ_TRY(mq_convert_files_bytes(*p->plan, p->job->output, &bytes, err));
        *spare = (int64_t)budget->size - (int64_t)bytes;
        return MOEQ_OK;
    }
    struct mq_fit *fit = calloc(1, sizeof *fit);
    moeq_status status = fit ? MOEQ_OK : mq_fail_memory(err, "choosing levels for a card");
    if (status == MOEQ_OK)
        status = mq_fit_begin(p->view, &budget->target, budget->context, budget->kv, fit, err);
    if (status == MOEQ_OK)
        status = mq_fit_add(fit, "budget", p->policy, err);
    if (status == MOEQ_OK) {
        *spare = fit->rows[0].spare_bytes;
        /* several cards: their layers may not divide so */
        if (fit->rows[0].verdict != MQ_FIT_FITS && *spare >= 0)
            *spare = -(int64_t)(budget->result.bytes >> 8) - 1;
    }
    free(fit);
    return status;
}

static void say_budget(const struct planning *p, uint64_t size)
{
    struct mq_budget *budget = p->budget;
    char what[64] = "";
    if (budget->bpw > 0)
        snprintf(what, sizeof what, "%.16s bits per weight of experts and MLPs", budget->bpw_text);
    else if (budget->size)
        snprintf(what, sizeof what, "%" PRIu64 " bytes in all", size);
    else
        snprintf(what, sizeof what, "%u card%s of %.1f GiB", budget->target.cards,
                 budget->target.cards > 1 ? "s" : "",
                 (double)mq_fit_target_usable(&budget->target) / 0x1p30);
    snprintf(budget->sentence, sizeof budget->sentence,
             "a level each for %s (text ids %08" PRIx32 ")", what, p->job->ids_crc32);
}

/* ---- too small ---- */

/* The least size that suffices for the levels that are chosen: the files say their budget, so that a longer number may
 * take more. */
static moeq_status find_least_size(const struct planning *p, uint64_t *least, moeq_error *err)
{
    uint64_t bytes = 0;
    do {
        *least = bytes;
        say_budget(p, *least);
        MQ_TRY(make_plan(p, err));
        MQ_TRY(mq_convert_files_bytes(*p->plan, p->job->output, &bytes, err));
    } while (bytes > *least);
    say_budget(p, p->budget->size);
    return MOEQ_OK;
}

/* The plan with the smallest of the levels, which may fit where a larger one's alignment made it seem that it does not,
 * or how much it takes. */
static moeq_status too_small(const struct planning *p, moeq_error *err)
{
    struct mq_budget *budget = p->budget;
    const double bits =
        mq_bits_per_weight(budget->result.bytes, budget->weights.mlps + budget->weights.rest);
    char text[32];
    int64_t spare;
    uint64_t least;
    if (budget->bpw > 0)
        return mq_fail(err, MOEQ_LIMIT,
                       "%s %s is too small: the smallest of the levels take %s %.4f",
                       budget->option, budget->bpw_text, budget->option,
                       ceil(mq_budget_bpw(budget, p->view) * 1e4) / 1e4);
    MQ_TRY(choose_and_plan(p, budget->result.bytes, err));
    MQ_TRY(find_spare(p, &spare, err));
    if (spare >= 0)
        return MOEQ_OK;
    if (!budget->size)
        return mq_fail(
            err, MOEQ_LIMIT,
            "%s: too small: with the smallest of the levels (%.4f bits per weight) %s are missing",
            budget->option, bits, mq_format_bytes((uint64_t)-spare, text));
    MQ_TRY(find_least_size(p, &least, err));
    return mq_fail(err, MOEQ_LIMIT,
                   "%s %" PRIu64 " is too small: with the smallest of the levels (%.4f bits "
                   "per weight) the files take %" PRIu64 " bytes (%s %s)",
                   budget->option, budget->size, bits, least, budget->option,
                   mq_format_size_up(least, text));
}

/* ---- what suffices ---- */

/* Experts get what all else leaves, which depends a little on their levels (alignment, shards, layers on cards). */
static moeq_status plan_within(const struct planning *p, uint64_t most, moeq_error *err)
{
    uint64_t bytes = most, fits = 0;
    for (int attempt = 0; attempt < 12; attempt++) {
        int64_t spare;
        MQ_TRY(choose_and_plan(p, bytes, err));
        MQ_TRY(find_spare(p, &spare, err));
        const int64_t left = (int64_t)p->budget->result.bytes + spare;
        const uint64_t next = left > 0 ? (uint64_t)left : 0;
        if (spare >= 0 && next <= bytes)
            return MOEQ_OK;
        if (spare >= 0)
            fits = bytes;
        bytes = spare >= 0 || next < bytes ? next : bytes - (bytes >> 10) - 1;
    }
    return choose_and_plan(p, fits, err);
}

static moeq_status choose(const struct planning *p, moeq_error *err)
{
    struct mq_budget *budget = p->budget;
    moeq_error inner = {0};
    const moeq_status status =
        budget->bpw > 0
            ? choose_and_plan(p, bytes_of_bpw(budget, p->view), &inner)
            : plan_within(p, budget->kv ? mq_fit_target_usable(&budget->target) : budget->size,
                          &inner);
    if (status == MOEQ_LIMIT && budget->result.bytes > budget->how.bytes)
        return too_small(p, err);
    if (status != MOEQ_OK && err)
        *err = inner;
    return status;
}

/* ---- measuring, and what is before it ---- */

static moeq_status measure(const struct planning *p, moeq_error *err)
{
    struct mq_budget *budget = p->budget;
    const struct mq_sensitivity_options how = {.levels = budget->levels,
                                               .levels_count = budget->how.levels_count,
                                               .effort = p->policy->effort,
                                               .importance = p->policy->importance,
                                               .feedback = p->job->feedback};
    MQ_TRY(mq_sensitivity_measure(p->job->context, p->view, p->job->windows, &how,
                                  &budget->sensitivity, err));
    return mq_budget_fill(p->view, &budget->sensitivity, err);
}

/* Whether a tensor will have been measured. */
static bool is_measurable(const struct mq_view *view, const struct mq_tensor *t)
{
    return t->role == MQ_ROLE_EMBEDDING || t->role == MQ_ROLE_HEAD ||
           mq_sensitivity_is_mixer(view, t);
}

/* Which tensors have levels of their own. */
static moeq_status fix_tensors(const struct planning *p, moeq_error *err)
{
    struct mq_budget *budget = p->budget;
    for (size_t k = 0; k < p->policy->overrides_count; k++)
        for (size_t i = 0; i < p->view->tensors_count; i++)
            budget->fixed[i] |=
                mq_policy_override_matches(&p->policy->overrides[k], &p->view->tensors[i]);
    budget->how.fixed = budget->fixed;
    budget->weights = mq_budget_weights(p->view, &budget->sensitivity, &budget->how);
    if (budget->weights.mlps || (budget->weights.rest && !(budget->bpw > 0)))
        return MOEQ_OK;
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%s: --tensor leaves no matrix to choose a level for", budget->option);
}

/* A budget that the smallest of the levels exceed, as if every matrix lost nothing at each: what takes least needs no
 * measuring. */
static moeq_status check_least(const struct planning *p, moeq_error *err)
{
    struct mq_budget *budget = p->budget;
    struct mq_sensitivity *s = &budget->sensitivity;
    moeq_error inner = {0};
    const size_t n = p->view->tensors_count;
    *s = (struct mq_sensitivity){.tensors = n, .levels = budget->how.levels_count};
    s->loss = calloc(n * s->levels + 1, sizeof *s->loss);
    s->tokens = calloc(n + 1, sizeof *s->tokens);
    moeq_status status = s->loss && s->tokens ? MOEQ_OK : mq_fail_memory(err, "choosing levels");
    for (size_t i = 0; status == MOEQ_OK && i < n; i++)
        s->tokens[i] = is_measurable(p->view, &p->view->tensors[i]);
    if (status == MOEQ_OK)
        status = fix_tensors(p, err);
    if (status == MOEQ_OK) {
        budget->how.bytes = 0;
        status =
            mq_budget_levels(p->view, s, &budget->how, budget->chosen, &budget->result, &inner);
        const bool small =
            budget->bpw > 0 ? budget->result.bytes > bytes_of_bpw(budget, p->view) : true;
        if (status == MOEQ_LIMIT)
            status = small ? too_small(p, err) : MOEQ_OK;
    }
    mq_sensitivity_free(s);
    *s = (struct mq_sensitivity){0};
    return status;
}

/* What no measuring changes: the name of the output, and memory for writing it. */
static moeq_status check_output(const struct planning *p, moeq_error *err)
{
    const struct mq_convert_options how = {.output = p->job->output, .replace = p->job->replace};
    if (!p->job->output)
        return MOEQ_OK;
    MQ_TRY(make_plan(p, err));
    return mq_convert_check(p->job->context, *p->plan, &how, err);
}

moeq_status mq_budget_plan(const struct mq_budget_job *job, struct mq_policy *policy,
                           struct mq_budget *budget, struct mq_plan **plan, moeq_error *err)
{
    const struct planning p = {job, job->view, policy, budget, plan};
    budget->chosen = calloc(job->view->tensors_count + 1, sizeof *budget->chosen);
    budget->fixed = calloc(job->view->tensors_count + 1, sizeof *budget->fixed);
    if (!budget->chosen || !budget->fixed)
        return mq_fail_memory(err, "choosing levels");
    MQ_TRY(check_output(&p, err));
    say_budget(&p, budget->size);
    policy->chosen = budget->chosen;
    policy->chosen_by = budget->sentence;
    MQ_TRY(check_least(&p, err));
    MQ_TRY(measure(&p, err));
    MQ_TRY(fix_tensors(&p, err));
    return choose(&p, err);
}

void mq_budget_free(struct mq_budget *budget)
{
    mq_sensitivity_free(&budget->sensitivity);
    free(budget->chosen);
    free(budget->fixed);
}
