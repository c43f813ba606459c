/* budget_option.c: --bpw and --size, of convert and export. */
#include "budget_option.h"

#include "feedback.h"
#include "plan_output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Levels that a budget chooses among unless --levels names them: all that errors can be fed back in. The others cost
 * many times as much to try. */
static void all_levels(struct mq_budget_cli *budget)
{
    for (size_t i = 0; i < mq_levels_count; i++)
        if (mq_feedback_can(&mq_levels[i]) && budget->how.levels_count < MQ_BUDGET_LEVELS)
            budget->levels[budget->how.levels_count++] = &mq_levels[i];
}

static bool named_levels(const char *command, const char *names, struct mq_budget_cli *budget)
{
    char *copy = strdup(names), *rest = copy;
    bool good = copy != NULL;
    for (char *name; good && (name = strsep(&rest, ",")) != NULL;) {
        const struct mq_level *level = mq_option_level(command, "--levels", name);
        if (level && budget->how.levels_count == MQ_BUDGET_LEVELS) {
            mq_usage(command, "--levels: at most %d", MQ_BUDGET_LEVELS);
            level = NULL;
        }
        good = level != NULL;
        if (good)
            budget->levels[budget->how.levels_count++] = level;
    }
    free(copy);
    return good;
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

bool mq_budget_option_check(const char *command, const struct mq_options *options, bool gguf,
                            struct mq_budget_cli *budget)
{
    *budget = (struct mq_budget_cli){.given = options->bpw || options->size};
    if (!budget->given) {
        if (options->levels || options->granularity) {
            mq_usage(command, "--levels and --granularity go with a budget: --bpw or --size");
            return false;
        }
        return true;
    }
    if (options->bpw && options->size) {
        mq_usage(command, "--bpw and --size exclude each other");
        return false;
    }
    if (options->level || options->recipe) {
        mq_usage(command,
                 "%s and %s exclude each other: a budget chooses the levels of experts "
                 "(--attention, --shared, --embeddings and --tensor set those of others)",
                 options->bpw ? "--bpw" : "--size", options->level ? "--level" : "--recipe");
        return false;
    }
    if (!mq_calibrated_option_text(options)) {
        mq_usage(command, "%s needs --text FILE: by it is found out what each matrix loses",
                 options->bpw ? "--bpw" : "--size");
        return false;
    }
    budget->how.levels = budget->levels;
    budget->how.without_shared = options->shared != NULL;
    budget->how.per_matrix =
        options->granularity ? strcmp(options->granularity, "matrix") == 0 : gguf;
    if (options->bpw && !parse_bpw(command, options->bpw, &budget->bpw))
        return false;
    if (options->levels)
        return named_levels(command, options->levels, budget);
    all_levels(budget);
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

static moeq_status choose(const struct mq_view *view, struct mq_budget_cli *budget, uint64_t bytes,
                          moeq_error *err)
{
    budget->how.bytes = bytes;
    moeq_error inner = {0};
    const moeq_status status = mq_budget_levels(view, &budget->sensitivity, &budget->how,
                                                budget->chosen, &budget->result, &inner);
    if (status != MOEQ_LIMIT)
        *err = inner;
    else
        return mq_fail(err, MOEQ_LIMIT,
                       "experts and MLPs take at least %" PRIu64 " bytes (%.4f bits per weight) at "
                       "the smallest levels; the budget leaves them %" PRIu64,
                       budget->result.bytes,
                       mq_bits_per_weight(budget->result.bytes, budget->weights), bytes);
    return status;
}

static moeq_status measure(const struct mq_options *options, const struct mq_view *view,
                           const struct mq_policy *policy, const struct mq_calibrated_option *calibrated,
                           struct mq_budget_cli *budget, moeq_error *err)
{
    const struct mq_sensitivity_options how = {
        .levels = budget->levels, .levels_count = budget->how.levels_count,
        .effort = policy->effort, .importance = policy->importance};
    struct mq_job_ui ui;
    if (!mq_job_begin(options, &ui))
        return MOEQ_INVALID_ARGUMENT;
    const moeq_status status = mq_sensitivity_measure(
        &ui.context, view, &calibrated->windows.windows, &how, &budget->sensitivity, err);
    mq_job_end(&ui);
    return status;
}

/* Levels for so many bytes of experts, and the plan with them. */
static enum mq_exit choose_and_plan(const struct mq_options *options, const struct mq_view *view,
                                    const struct mq_policy *policy,
                                    const struct mq_gguf_options *gguf,
                                    struct mq_budget_cli *budget, uint64_t bytes,
                                    struct mq_plan **plan)
{
    moeq_error err = {0};
    mq_plan_free(*plan);
    *plan = NULL;
    const moeq_status status = choose(view, budget, bytes, &err);
    return status == MOEQ_OK ? mq_make_plan(options, view, policy, gguf, plan) : mq_report(&err);
}

/* Of --size: experts get what the rest of the files leaves, which depends a little on their levels (alignment, shards). */
static enum mq_exit plan_size(const struct mq_options *options, const struct mq_view *view,
                              const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                              struct mq_budget_cli *budget, struct mq_plan **plan)
{
    uint64_t bytes = options->size, fits = 0;
    for (int attempt = 0; attempt < 8; attempt++) {
        const enum mq_exit code = choose_and_plan(options, view, policy, gguf, budget, bytes, plan);
        if (code != MQ_EXIT_GOOD)
            return code;
        const uint64_t rest = (*plan)->output_bytes - budget->result.bytes;
        const uint64_t next = options->size > rest ? options->size - rest : 0;
        const bool good = (*plan)->output_bytes <= options->size;
        if (good && next <= bytes)
            return code;
        if (good)
            fits = bytes;
        bytes = good || next < bytes ? next : bytes - (bytes >> 10) - 1;
    }
    return choose_and_plan(options, view, policy, gguf, budget, fits, plan);
}

enum mq_exit mq_budget_option_plan(const struct mq_options *options, const struct mq_view *view,
                                   struct mq_policy *policy, const struct mq_gguf_options *gguf,
                                   const struct mq_calibrated_option *calibrated,
                                   struct mq_budget_cli *budget, struct mq_plan **plan)
{
    moeq_error err = {0};
    if (!budget->given)
        return mq_make_plan(options, view, policy, gguf, plan);
    budget->chosen = calloc(view->tensors_count + 1, sizeof *budget->chosen);
    moeq_status status = budget->chosen ? MOEQ_OK : mq_fail_memory(&err, "choosing levels");
    if (status == MOEQ_OK)
        status = measure(options, view, policy, calibrated, budget, &err);
    if (status != MOEQ_OK)
        return mq_report(&err);
    budget->weights = mq_budget_weights(view, &budget->how);
    if (options->bpw)
        snprintf(budget->sentence, sizeof budget->sentence,
                 "a level each for %s bits per weight (text ids %08" PRIx32 ")", options->bpw,
                 calibrated->windows.ids_crc32);
    else
        snprintf(budget->sentence, sizeof budget->sentence,
                 "a level each for %" PRIu64 " bytes in all (text ids %08" PRIx32 ")",
                 options->size, calibrated->windows.ids_crc32);
    policy->chosen = budget->chosen;
    policy->chosen_by = budget->sentence;
    if (options->size)
        return plan_size(options, view, policy, gguf, budget, plan);
    status = choose(view, budget, (uint64_t)(budget->bpw / 8.0 * (double)budget->weights), &err);
    return status == MOEQ_OK ? mq_make_plan(options, view, policy, gguf, plan) : mq_report(&err);
}

void mq_budget_option_free(struct mq_budget_cli *budget)
{
    mq_sensitivity_free(&budget->sensitivity);
    free(budget->chosen);
}
