/* cmd_export.c: moeq export: GGUF files, for llama.cpp, Ollama and what else reads them. */
#include "plan_output.h"

#include "text_match.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The commands that run what was written. */
static void print_hints(const struct mq_options *options, const struct mq_plan *plan)
{
    char path[PATH_MAX];
    mq_convert_file_name(options->output, &plan->files[0], path, sizeof path);
    const char *name = mq_base_name(path);
    const int stem = (int)(mq_extension(path) - name);
    printf("run it with llama.cpp:  llama-cli -m '%s'\n", path);
    if (plan->files_count > 1)
        printf("run it with Ollama:     not in splits; export without --split-max-size\n");
    else
        printf("run it with Ollama:     echo 'FROM %s%s' > Modelfile && ollama create '%.*s' -f "
               "Modelfile && ollama run '%.*s'\n",
               path[0] == '/' ? "" : "./", path, stem, name, stem, name);
}

static enum mq_exit run(const struct mq_options *options, struct mq_policy *policy,
                        struct mq_budget_cli *budget)
{
    const struct mq_gguf_options how = {.unify_up = options->unify != NULL,
                                        .split_bytes = options->split_bytes};
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_plan *plan = NULL;
    struct mq_calibrated_option calibrated = {0};
    moeq_status status = mq_open_model(options, options->positional[0], &view, &err);
    if (status == MOEQ_OK)
        status = mq_calibrated_option_read(options, view, &calibrated, policy, &err);
    enum mq_exit code = status == MOEQ_OK ? mq_budget_option_plan(options, view, policy, &how,
                                                                  &calibrated, budget, &plan)
                                          : mq_report(&err);
    if (code == MQ_EXIT_GOOD)
        code = mq_execute_plan("export", options, plan, &calibrated, budget);
    if (code == MQ_EXIT_GOOD && !options->dry_run && !options->json && !options->quiet) {
        print_hints(options, plan);
        code = mq_finish_output();
    }
    mq_calibrated_option_free(&calibrated);
    mq_plan_free(plan);
    mq_view_close(view);
    return code;
}

enum mq_exit mq_cmd_export(const struct mq_options *options)
{
    struct mq_option_target target;
    struct mq_policy policy;
    struct mq_policy_override *overrides = NULL;
    if (!options->output && !options->dry_run)
        return mq_usage("export", "-o FILE.gguf is missing (or --dry-run, to see the plan)");
    if (options->unify && strcmp(options->unify, "up") != 0)
        return mq_usage("export", "--unify '%s': expected up", options->unify);
    enum mq_exit code = MQ_EXIT_USAGE;
    struct mq_budget_cli budget = {0};
    if (mq_budget_option_check("export", options, true, &budget) &&
        mq_calibrated_option_check("export", options) &&
        mq_budget_option_target("export", options, &budget, &target) &&
        mq_option_policy("export", options, &target, &policy, &overrides))
        code = run(options, &policy, &budget);
    mq_budget_option_free(&budget);
    mq_option_policy_free(options, overrides);
    return code;
}
