/* cmd_convert.c: moeq convert. */
#include "plan_output.h"
#include "what_is_it.h"

/* A GGUF file without a level asked for: its blocks are copied as they are. */
static bool is_gguf(const char *path)
{
    struct mq_what what;
    return mq_what_is_file(path, &what, NULL) == MOEQ_OK && what.kind == MQ_FILE_GGUF;
}

enum mq_exit mq_cmd_convert(const struct mq_options *options)
{
    const bool budget_given = options->bpw || options->size || options->gpu || options->vram;
    if (!options->level && !options->recipe && !budget_given && !is_gguf(options->positional[0]))
        return mq_usage("convert", "--level is missing, such as --level q4_k");
    if (!options->output && !options->dry_run)
        return mq_usage("convert", "-o FILE is missing (or --dry-run, to see the plan)");
    struct mq_option_target target;
    struct mq_policy policy;
    struct mq_policy_override *overrides = NULL;
    struct mq_budget_cli budget;
    if (!mq_budget_option_check("convert", options, false, &budget) ||
        !mq_calibrated_option_check("convert", options) ||
        !mq_budget_option_target("convert", options, &budget, &target) ||
        !mq_option_policy("convert", options, &target, &policy, &overrides)) {
        mq_option_policy_free(options, overrides);
        return MQ_EXIT_USAGE;
    }
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_plan *plan = NULL;
    struct mq_calibrated_option calibrated = {0};
    moeq_status status = mq_open_model(options, options->positional[0], &view, &err);
    if (status == MOEQ_OK)
        status = mq_calibrated_option_read(options, view, &calibrated, &policy, &err);
    enum mq_exit code = status == MOEQ_OK ? mq_budget_option_plan(options, view, &policy, NULL,
                                                                  &calibrated, &budget, &plan)
                                          : mq_report(&err);
    if (code == MQ_EXIT_GOOD)
        code = mq_execute_plan("convert", options, plan, &calibrated, &budget);
    mq_budget_option_free(&budget);
    mq_calibrated_option_free(&calibrated);
    mq_plan_free(plan);
    mq_view_close(view);
    mq_option_policy_free(options, overrides);
    return code;
}
