/* budget_option.c: --bpw, --size, and --gpu or --vram, of convert and export. */
#include "budget_option.h"

#include "convert.h"
#include "error.h"
#include "fit_option.h"
#include "feedback.h"
#include "plan_output.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Levels that a budget chooses among unless --levels names them: all that errors can be fed back in. The others cost
 * many times as much to try. */
static void all_levels(struct mq_budget_cli *budget)
{
    for (size_t i = 0; i < mq_levels_count; i++)
        if (mq_feedback_can(&mq_levels[i]) && budget->how.levels_count < MQ_BUDGET_NAMED_LEVELS)
            budget->levels[budget->how.levels_count++] = &mq_levels[i];
}

static bool named_levels(const char *command, const char *names, struct mq_budget_cli *budget)
{
    char *copy = mq_said_memory(strdup(names)), *rest = copy;
    bool good = copy != NULL;
    for (char *name; good && (name = strsep(&rest, ",")) != NULL;) {
        const struct mq_level *level = mq_option_level(command, "--levels", name);
        if (level && budget->how.levels_count == MQ_BUDGET_NAMED_LEVELS) {
            mq_usage(command, "--levels: at most %d", MQ_BUDGET_NAMED_LEVELS);
            level = NULL;
        }
        good = level != NULL;
        if (good)
            budget->levels[budget->how.levels_count++] = level;
    }
    free(copy);
    return good;
}

/* What is no expert's or MLP's may keep more: these are among its levels whatever --levels names. */
static void add_levels_of_others(struct mq_budget_cli *budget)
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
    budget->how.not_for_mlps = budget->not_for_mlps;
}

static bool parse_bpw(const char *command, const char *text, double *bpw)
{
    char *end;
    *bpw = strtod(text, &end);
    if (end != text && *end == '\0' && *bpw >= 1.0 && *bpw <= 32.0)
        return true;
    mq_usage(command, "--bpw '%s': expected bits per weight of experts, such as 4.25", text);
    return false;
}

/* The option that gives the budget; NULL: none does. False after a message: several do. */
static bool find_option(const char *command, const struct mq_options *o, const char **option)
{
    const struct {
        const char *name;
        bool given;
    } all[] = {{"--bpw", o->bpw != NULL},
               {"--size", o->size > 0},
               {o->gpu ? "--gpu" : "--vram", o->gpu || o->vram}};
    *option = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i].given)
            continue;
        if (*option) {
            mq_usage(command, "%s and %s exclude each other", *option, all[i].name);
            return false;
        }
        *option = all[i].name;
    }
    if (*option && o->kv && !o->gpu && !o->vram) {
        mq_usage(command, "--kv is of a card's budget (--gpu, --vram), %s has no KV cache",
                 *option);
        return false;
    }
    if (*option || !(o->levels || o->granularity || o->kv))
        return true;
    mq_usage(command,
             "--levels, --granularity and --kv go with a budget: --bpw, --size, --gpu or --vram");
    return false;
}

/* What does not go with a budget. */
static bool check_others(const char *command, const struct mq_options *options, const char *option)
{
    if (options->level || options->recipe) {
        mq_usage(command,
                 "%s and %s exclude each other: a budget chooses levels "
                 "(--attention, --shared, --embeddings and --tensor set those of what is no part of it)",
                 option, options->level ? "--level" : "--recipe");
        return false;
    }
    if (mq_calibrated_option_text(options) || !(options->bpw || options->granularity))
        return true;
    mq_usage(command, "%s needs --text FILE: by it is found out what each matrix loses",
             options->bpw ? "--bpw" : "--granularity");
    return false;
}

/* --gpu and --vram */
static bool read_card(const char *command, const struct mq_options *options,
                      struct mq_fit_target *target, const struct mq_kv_kind **kv)
{
    if (!options->gpu && !options->vram)
        return true;
    return mq_option_fit_target(command, options, target, kv);
}

bool mq_budget_option_check(const char *command, const struct mq_options *options, bool gguf,
                            struct mq_budget_cli *budget)
{
    *budget = (struct mq_budget_cli){0};
    if (!find_option(command, options, &budget->option))
        return false;
    if (!budget->option)
        return true;
    if (!check_others(command, options, budget->option))
        return false;
    budget->given = mq_calibrated_option_text(options);
    budget->choice.given = !budget->given;
    if (budget->choice.given)
        return read_card(command, options, &budget->choice.target, &budget->choice.kv);
    budget->how.levels = budget->levels;
    budget->how.pinned[MQ_CLASS_SHARED] = options->shared != NULL;
    budget->how.pinned[MQ_CLASS_ATTENTION] = options->attention != NULL;
    budget->how.pinned[MQ_CLASS_EMBEDDINGS] = options->embeddings != NULL;
    budget->how.per_matrix =
        options->granularity ? strcmp(options->granularity, "matrix") == 0 : gguf;
    if (options->bpw && !parse_bpw(command, options->bpw, &budget->bpw))
        return false;
    if (!read_card(command, options, &budget->target, &budget->kv))
        return false;
    if (!options->levels)
        all_levels(budget);
    else if (!named_levels(command, options->levels, budget))
        return false;
    add_levels_of_others(budget);
    return true;
}

bool mq_budget_option_target(const char *command, const struct mq_options *options,
                             const struct mq_budget_cli *budget, struct mq_option_target *target)
{
    if (!mq_option_level_or_recipe(command, options, target))
        return false;
    if (budget->given) /* of what is no expert's: see mq_policy_default */
        target->level = mq_level_find("q4_k");
    return true;
}

static moeq_status measure(const struct mq_options *options, const struct mq_view *view,
                           const struct mq_policy *policy, const struct mq_calibrated_option *calibrated,
                           struct mq_budget_cli *budget, moeq_error *err)
{
    const struct mq_sensitivity_options how = {.levels = budget->levels,
                                               .levels_count = budget->how.levels_count,
                                               .effort = policy->effort,
                                               .importance = policy->importance,
                                               .feedback = calibrated->given};
    struct mq_job_ui ui;
    if (!mq_job_begin(options, &ui))
        return MOEQ_INVALID_ARGUMENT;
    const moeq_status status = mq_sensitivity_measure(
        &ui.context, view, &calibrated->windows.windows, &how, &budget->sensitivity, err);
    mq_job_end(&ui);
    return status == MOEQ_OK ? mq_budget_fill(view, &budget->sensitivity, err) : status;
}

/* Levels for so many bytes of experts, and the plan with them. MOEQ_LIMIT: the smallest levels take more,
 * budget->result.bytes. */
static moeq_status choose_and_plan(const struct mq_options *options, const struct mq_view *view,
                                   const struct mq_policy *policy,
                                   const struct mq_gguf_options *gguf, struct mq_budget_cli *budget,
                                   uint64_t bytes, struct mq_plan **plan, moeq_error *err)
{
    mq_plan_free(*plan);
    *plan = NULL;
    budget->how.bytes = bytes;
    MQ_TRY(mq_budget_levels(view, &budget->sensitivity, &budget->how, budget->chosen,
                            &budget->result, err));
    return mq_make_plan(options, view, policy, gguf, plan, err);
}

/* As many as where experts and MLPs have the bits, and the rest its default. */
static uint64_t bytes_of_bpw(const struct mq_budget_cli *budget, const struct mq_view *view)
{
    return (uint64_t)(budget->bpw / 8.0 * (double)budget->weights.mlps) + mq_budget_option_rest_bytes(budget, view);
}

/* What the plan leaves of the budget; negative: that much is missing. */
static moeq_status find_spare(const struct mq_options *options, const struct mq_view *view,
                              const struct mq_policy *policy, const struct mq_budget_cli *budget,
                              const struct mq_plan *plan, int64_t *spare, moeq_error *err)
{
    uint64_t index;
    MQ_TRY(mq_convert_index_bytes(plan, options->output ? options->output : "model.moeq", &index,
                                  err));
    *spare = (int64_t)options->size - (int64_t)(plan->output_bytes + index);
    if (!budget->kv)
        return MOEQ_OK;
    struct mq_fit *fit = calloc(1, sizeof *fit);
    moeq_status status = fit ? MOEQ_OK : mq_fail_memory(err, "choosing levels for a card");
    if (status == MOEQ_OK)
        status = mq_fit_begin(view, &budget->target, options->context, budget->kv, fit, err);
    if (status == MOEQ_OK)
        status = mq_fit_add(fit, "budget", policy, err);
    if (status == MOEQ_OK) {
        *spare = fit->rows[0].spare_bytes;
        /* several cards: their layers may not divide so */
        if (fit->rows[0].verdict != MQ_FIT_FITS && *spare >= 0)
            *spare = -(int64_t)(budget->result.bytes >> 8) - 1;
    }
    free(fit);
    return status;
}

/* The plan with the smallest of the levels, which may fit where a larger one's alignment made it seem that it does not,
 * or how much it takes. */
static moeq_status too_small(const struct mq_options *options, const struct mq_view *view,
                             const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                             struct mq_budget_cli *budget, struct mq_plan **plan, moeq_error *err)
{
    const double bits =
        mq_bits_per_weight(budget->result.bytes, budget->weights.mlps + budget->weights.rest);
    char size[32];
    int64_t spare;
    if (options->bpw)
        return mq_fail(err, MOEQ_LIMIT,
                       "--bpw %s is too small: the smallest of the levels take --bpw %.4f",
                       options->bpw, ceil(mq_budget_option_bpw(budget, view) * 1e4) / 1e4);
    MQ_TRY(choose_and_plan(options, view, policy, gguf, budget, budget->result.bytes, plan, err));
    MQ_TRY(find_spare(options, view, policy, budget, *plan, &spare, err));
    if (spare >= 0)
        return MOEQ_OK;
    const uint64_t missing = (uint64_t)-spare;
    if (options->size)
        return mq_fail(err, MOEQ_LIMIT,
                       "--size %" PRIu64
                       " is too small: with the smallest of the levels (%.4f bits "
                       "per weight) the files take %" PRIu64 " bytes",
                       options->size, bits, options->size + missing);
    return mq_fail(
        err, MOEQ_LIMIT,
        "%s: too small: with the smallest of the levels (%.4f bits per weight) %s are missing",
        budget->option, bits, mq_format_bytes(missing, size));
}

/* Experts get what all else leaves, which depends a little on their levels (alignment, shards, layers on cards). */
static moeq_status plan_within(const struct mq_options *options, const struct mq_view *view,
                               const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                               struct mq_budget_cli *budget, uint64_t most, struct mq_plan **plan,
                               moeq_error *err)
{
    uint64_t bytes = most, fits = 0;
    for (int attempt = 0; attempt < 12; attempt++) {
        int64_t spare;
        MQ_TRY(choose_and_plan(options, view, policy, gguf, budget, bytes, plan, err));
        MQ_TRY(find_spare(options, view, policy, budget, *plan, &spare, err));
        const int64_t left = (int64_t)budget->result.bytes + spare;
        const uint64_t next = left > 0 ? (uint64_t)left : 0;
        if (spare >= 0 && next <= bytes)
            return MOEQ_OK;
        if (spare >= 0)
            fits = bytes;
        bytes = spare >= 0 || next < bytes ? next : bytes - (bytes >> 10) - 1;
    }
    return choose_and_plan(options, view, policy, gguf, budget, fits, plan, err);
}

static void say_budget(const struct mq_options *options, uint32_t ids, struct mq_budget_cli *budget)
{
    char what[64] = "";
    if (options->bpw)
        snprintf(what, sizeof what, "%.16s bits per weight of experts and MLPs", options->bpw);
    else if (options->size)
        snprintf(what, sizeof what, "%" PRIu64 " bytes in all", options->size);
    else
        snprintf(what, sizeof what, "%u card%s of %.1f GiB", budget->target.cards,
                 budget->target.cards > 1 ? "s" : "",
                 (double)mq_fit_target_usable(&budget->target) / 0x1p30);
    snprintf(budget->sentence, sizeof budget->sentence,
             "a level each for %s (text ids %08" PRIx32 ")", what, ids);
}

/* What no measuring changes is refused before it: the name of the output, and memory for writing it. */
static moeq_status check_output(const struct mq_options *options, const struct mq_view *view,
                                const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                                moeq_error *err)
{
    const struct mq_convert_options how = {.output = options->output, .replace = options->force};
    struct mq_job_ui ui;
    struct mq_plan *plan = NULL;
    if (options->dry_run || !options->output)
        return MOEQ_OK;
    moeq_status status = mq_make_plan(options, view, policy, gguf, &plan, err);
    if (status == MOEQ_OK && !mq_job_begin(options, &ui))
        status = mq_fail(err, MOEQ_INVALID_ARGUMENT, "--memory or --threads cannot be had");
    if (status == MOEQ_OK) {
        status = mq_convert_check(&ui.context, plan, &how, err);
        mq_job_end(&ui);
    }
    mq_plan_free(plan);
    return status;
}

/* Which tensors have levels of their own. */
static moeq_status fix_tensors(const struct mq_view *view, const struct mq_policy *policy,
                               struct mq_budget_cli *budget, moeq_error *err)
{
    for (size_t k = 0; k < policy->overrides_count; k++)
        for (size_t i = 0; i < view->tensors_count; i++)
            budget->fixed[i] |=
                mq_policy_override_matches(&policy->overrides[k], &view->tensors[i]);
    budget->how.fixed = budget->fixed;
    budget->weights = mq_budget_weights(view, &budget->sensitivity, &budget->how);
    if (budget->weights.mlps || (budget->weights.rest && !budget->bpw))
        return MOEQ_OK;
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%s: --tensor leaves no matrix to choose a level for", budget->option);
}

static moeq_status plan_budget(const struct mq_options *options, const struct mq_view *view,
                               struct mq_policy *policy, const struct mq_gguf_options *gguf,
                               const struct mq_calibrated_option *calibrated,
                               struct mq_budget_cli *budget, struct mq_plan **plan, moeq_error *err)
{
    budget->chosen = calloc(view->tensors_count + 1, sizeof *budget->chosen);
    budget->fixed = calloc(view->tensors_count + 1, sizeof *budget->fixed);
    if (!budget->chosen || !budget->fixed)
        return mq_fail_memory(err, "choosing levels");
    MQ_TRY(check_output(options, view, policy, gguf, err));
    MQ_TRY(measure(options, view, policy, calibrated, budget, err));
    MQ_TRY(fix_tensors(view, policy, budget, err));
    say_budget(options, calibrated->windows.ids_crc32, budget);
    policy->chosen = budget->chosen;
    policy->chosen_by = budget->sentence;
    moeq_error inner = {0};
    const moeq_status status =
        options->bpw
            ? choose_and_plan(options, view, policy, gguf, budget, bytes_of_bpw(budget, view), plan,
                              &inner)
            : plan_within(options, view, policy, gguf, budget,
                          budget->kv ? mq_fit_target_usable(&budget->target) : options->size, plan,
                          &inner);
    if (status == MOEQ_LIMIT && budget->result.bytes > budget->how.bytes)
        return too_small(options, view, policy, gguf, budget, plan, err);
    if (status != MOEQ_OK)
        *err = inner;
    return status;
}

enum mq_exit mq_budget_option_plan(const struct mq_options *options, const struct mq_view *view,
                                   struct mq_policy *policy, const struct mq_gguf_options *gguf,
                                   const struct mq_calibrated_option *calibrated,
                                   struct mq_budget_cli *budget, struct mq_plan **plan)
{
    moeq_error err = {0};
    const moeq_status status =
        budget->given ? plan_budget(options, view, policy, gguf, calibrated, budget, plan, &err)
                      : mq_make_plan(options, view, policy, gguf, plan, &err);
    return status == MOEQ_OK ? MQ_EXIT_GOOD : mq_report(&err);
}

void mq_budget_option_free(struct mq_budget_cli *budget)
{
    mq_sensitivity_free(&budget->sensitivity);
    free(budget->chosen);
    free(budget->fixed);
}
