/* budget_option.c: --bpw, --size, and --gpu or --vram, of convert and export. */
#include "budget_option.h"

#include "error.h"
#include "fit_option.h"
#include "plan_output.h"

#include <stdlib.h>
#include <string.h>

static bool named_levels(const char *command, const char *names, struct mq_budget *budget)
{
    char *copy = mq_option_memory(strdup(names)), *rest = copy;
    bool good = copy != NULL;
    for (char *name; good && (name = strsep(&rest, ",")) != NULL;) {
        const struct mq_level *level = mq_option_level(command, "--levels", name);
        good = level && mq_budget_add_level(budget, level);
        if (level && !good)
            mq_usage(command, "--levels: at most %d", MQ_BUDGET_NAMED_LEVELS);
    }
    free(copy);
    return good;
}

static bool parse_bpw(const char *command, const char *text, double *bpw)
{
    char *end;
    *bpw = strtod(text, &end);
    if (end != text && *end == '\0' && *bpw >= MQ_BUDGET_MIN_BPW && *bpw <= MQ_BUDGET_MAX_BPW)
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
                            struct mq_budget_cli *cli)
{
    struct mq_budget *budget = &cli->budget;
    *cli = (struct mq_budget_cli){0};
    if (!find_option(command, options, &budget->option))
        return false;
    if (!budget->option)
        return true;
    if (!check_others(command, options, budget->option))
        return false;
    cli->given = mq_calibrated_option_text(options);
    cli->choice.given = !cli->given;
    if (cli->choice.given)
        return read_card(command, options, &cli->choice.target, &cli->choice.kv);
    budget->how.pinned[MQ_CLASS_SHARED] = options->shared != NULL;
    budget->how.pinned[MQ_CLASS_ATTENTION] = options->attention != NULL;
    budget->how.pinned[MQ_CLASS_EMBEDDINGS] = options->embeddings != NULL;
    budget->how.per_matrix =
        options->granularity ? strcmp(options->granularity, "matrix") == 0 : gguf;
    budget->size = options->size;
    budget->context = options->context;
    budget->bpw_text = options->bpw;
    if (options->bpw && !parse_bpw(command, options->bpw, &budget->bpw))
        return false;
    if (!read_card(command, options, &budget->target, &budget->kv))
        return false;
    if (!options->levels)
        mq_budget_all_levels(budget);
    else if (!named_levels(command, options->levels, budget))
        return false;
    mq_budget_end_levels(budget);
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

static moeq_status plan_budget(const struct mq_options *options, const struct mq_view *view,
                               struct mq_policy *policy, const struct mq_gguf_options *gguf,
                               const struct mq_calibrated_option *calibrated,
                               struct mq_budget *budget, struct mq_plan **plan, moeq_error *err)
{
    struct mq_job_ui ui;
    if (!mq_job_begin(options, &ui))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "--memory or --threads cannot be had");
    const struct mq_budget_job job = {.context = &ui.context,
                                      .view = view,
                                      .gguf = gguf,
                                      .shard_bytes = options->shard_bytes,
                                      .output = options->dry_run ? NULL : options->output,
                                      .replace = options->force,
                                      .windows = &calibrated->windows.windows,
                                      .ids_crc32 = calibrated->windows.ids_crc32,
                                      .feedback = calibrated->given};
    const moeq_status status = mq_budget_plan(&job, policy, budget, plan, err);
    mq_job_end(&ui);
    return status;
}

enum mq_exit mq_budget_option_plan(const struct mq_options *options, const struct mq_view *view,
                                   struct mq_policy *policy, const struct mq_gguf_options *gguf,
                                   const struct mq_calibrated_option *calibrated,
                                   struct mq_budget_cli *cli, struct mq_plan **plan)
{
    moeq_error err = {0};
    const moeq_status status =
        cli->given ? plan_budget(options, view, policy, gguf, calibrated, &cli->budget, plan, &err)
                   : mq_make_plan(options, view, policy, gguf, plan, &err);
    return status == MOEQ_OK ? MQ_EXIT_GOOD : mq_report(&err);
}

void mq_budget_option_free(struct mq_budget_cli *cli)
{
    mq_budget_free(&cli->budget);
}
