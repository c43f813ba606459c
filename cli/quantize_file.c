/* quantize_file.c: from a model and options to files. */
#include "quantize_file.h"

#include "source_sums.h"

struct job {
    const char *command;
    const struct mq_options *options;
    const struct mq_gguf_options *gguf;
    const struct mq_folder_options *folder;
    struct mq_option_target target;
    struct mq_policy policy;
    struct mq_policy_override *overrides;
    struct mq_budget_cli budget;
    struct mq_calibrated_option calibrated;
    struct mq_view *view;
    struct mq_source_list *sums;
    struct mq_plan *plan;
};

static bool make_policy(struct job *job)
{
    return mq_option_policy(job->command, job->options, &job->target, &job->policy,
                            &job->overrides);
}

/* What can be said before a model is read. A level that is to be chosen for a card needs the model. */
static bool check(struct job *job)
{
    if (!mq_budget_option_check(job->command, job->options, job->gguf != NULL, &job->budget) ||
        !mq_calibrated_option_check(job->command, job->options))
        return false;
    return job->budget.choice.given ||
           (mq_budget_option_target(job->command, job->options, &job->budget, &job->target) &&
            make_policy(job));
}

static enum mq_exit choose(struct job *job)
{
    const enum mq_exit code = mq_choice_make(job->command, job->options, job->view, job->gguf,
                                             &job->budget.choice);
    job->target = job->budget.choice.chosen.target;
    return code != MQ_EXIT_GOOD ? code : make_policy(job) ? MQ_EXIT_GOOD : MQ_EXIT_USAGE;
}

/* A text chooses levels for what does not fit: what fits as it is stays so, as it does without a text. Not where levels
 * were named, or bits. */
static enum mq_exit try_as_stored(struct job *job)
{
    const struct mq_options *o = job->options;
    struct mq_budget_cli *cli = &job->budget;
    bool held = false;
    if (!cli->given || o->bpw || o->levels || o->shared || o->attention || o->embeddings ||
        o->tensor.count)
        return MQ_EXIT_GOOD;
    struct mq_choice choice = {.given = true, .target = cli->budget.target, .kv = cli->budget.kv};
    const enum mq_exit code =
        mq_choice_make_stored(job->command, o, job->view, job->gguf, &choice, &held);
    if (code != MQ_EXIT_GOOD || !held)
        return code;
    cli->choice = choice;
    cli->given = false;
    job->target = choice.chosen.target;
    mq_option_policy_free(o, job->overrides);
    job->overrides = NULL;
    return make_policy(job) ? MQ_EXIT_GOOD : MQ_EXIT_USAGE;
}

/* What nobody asked for is as the runtime takes it. */
static bool set_folder_policy(struct job *job)
{
    const struct mq_options *o = job->options;
    if (!o->level && !o->recipe) {
        job->target.level = mq_folder_default_level(job->view, job->folder);
        mq_option_policy_free(o, job->overrides);
        job->overrides = NULL;
        if (!make_policy(job))
            return false;
    }
    mq_folder_fit_policy(job->view, job->folder, &job->policy);
    return true;
}

static enum mq_exit make_plan(struct job *job)
{
    moeq_error err = {0};
    if (!job->folder)
        return mq_budget_option_plan(job->options, job->view, &job->policy, job->gguf,
                                     &job->calibrated, &job->budget, &job->plan);
    const moeq_status status =
        mq_make_folder_plan(job->options, job->view, &job->policy, job->folder, &job->plan, &err);
    return status == MOEQ_OK ? MQ_EXIT_GOOD : mq_report(&err);
}

static enum mq_exit run(struct job *job)
{
    moeq_error err = {0};
    enum mq_exit code = MQ_EXIT_GOOD;
    if (mq_open_model(job->options, job->options->positional[0], &job->view, &err) != MOEQ_OK)
        return mq_report(&err);
    if (job->options->sha256 &&
        mq_source_list_read(job->options->sha256, job->view, &job->sums, &err) != MOEQ_OK)
        return mq_report(&err);
    if (job->budget.choice.given)
        code = choose(job);
    else
        code = try_as_stored(job);
    if (code != MQ_EXIT_GOOD)
        return code;
    if (job->folder && !set_folder_policy(job))
        return MQ_EXIT_USAGE;
    job->policy.source_sums = job->sums;
    if (!job->budget.choice.no_text &&
        mq_calibrated_option_read(job->options, job->view, NULL, &job->calibrated, &job->policy,
                                  &err) != MOEQ_OK)
        return mq_report(&err);
    code = make_plan(job);
    return code == MQ_EXIT_GOOD ? mq_execute_plan(job->command, job->options, job->plan,
                                                  &job->calibrated, &job->budget)
                                : code;
}

enum mq_exit mq_quantize_file(const char *command, const struct mq_options *options,
                              const struct mq_gguf_options *gguf,
                              const struct mq_folder_options *folder,
                              void (*hints)(const struct mq_options *, const struct mq_plan *))
{
    struct job job = {.command = command, .options = options, .gguf = gguf, .folder = folder};
    enum mq_exit code = check(&job) ? run(&job) : MQ_EXIT_USAGE;
    if (code == MQ_EXIT_GOOD && hints && !options->dry_run && !options->json && !options->quiet) {
        hints(options, job.plan);
        code = mq_finish_output();
    }
    mq_budget_option_free(&job.budget);
    mq_calibrated_option_free(&job.calibrated);
    mq_plan_free(job.plan);
    mq_view_close(job.view);
    mq_option_policy_free(options, job.overrides);
    return code;
}
