/* cmd_fit.c: moeq fit. */
#include "model_options.h"

#include "error.h"
#include "escape.h"
#include "fit.h"
#include "fit_evaluator.h"
#include "fit_option.h"
#include "fit_print.h"
#include "gpu_list.h"
#include "text_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the levels ---- */

/* Adds the row of a level under the options' mix, or of a recipe. */
static enum mq_exit add_target(const struct mq_options *options,
                               const struct mq_option_target *target, struct mq_fit *fit)
{
    struct mq_policy policy;
    struct mq_policy_override *overrides = NULL;
    moeq_error err = {0};
    enum mq_exit code = MQ_EXIT_USAGE;
    if (mq_option_policy("fit", options, target, &policy, &overrides))
        code = mq_fit_add(fit, mq_option_target_name(target), &policy, &err) == MOEQ_OK
                   ? MQ_EXIT_GOOD
                   : mq_report(&err);
    mq_option_policy_free(options, overrides);
    return code;
}

/* --levels A,B,... */
static enum mq_exit add_list(const struct mq_options *options, struct mq_fit *fit)
{
    char *names = mq_option_memory(strdup(options->levels)), *rest = names, *name;
    enum mq_exit code = names ? MQ_EXIT_GOOD : MQ_EXIT_FAILURE;
    while (code == MQ_EXIT_GOOD && (name = strsep(&rest, ","))) {
        struct mq_option_target target;
        code = mq_option_target("fit", "--levels", name, &target)
                   ? add_target(options, &target, fit)
                   : MQ_EXIT_USAGE;
    }
    free(names);
    return code;
}

static enum mq_exit add_rows(const struct mq_options *options, struct mq_fit *fit)
{
    if (options->levels)
        return add_list(options, fit);
    if (options->level) {
        struct mq_option_target target;
        return mq_option_target("fit", "--level", options->level, &target)
                   ? add_target(options, &target, fit)
                   : MQ_EXIT_USAGE;
    }
    struct mq_policy mix;
    struct mq_policy_override *overrides = NULL;
    moeq_error err = {0};
    enum mq_exit code = MQ_EXIT_USAGE;
    if (mq_option_policy("fit", options, &(struct mq_option_target){0}, &mix, &overrides))
        code = mq_fit_add_usual(fit, &mix, &err) == MOEQ_OK ? MQ_EXIT_GOOD : mq_report(&err);
    mq_option_policy_free(options, overrides);
    return code;
}

/* The options that levels are mixed by, for the command that makes a file. */
static void say_mix(const struct mq_options *o, struct mq_buffer *mix)
{
    const struct {
        const char *name, *value;
    } given[] = {{"shared", o->shared}, {"attention", o->attention}, {"embeddings", o->embeddings}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i].value) {
            mq_buffer_printf(mix, " --%s ", given[i].name);
            mq_shell_word(mix, "", given[i].value);
        }
    for (size_t i = 0; i < o->tensor.count; i++)
        mq_shell_command(mix, " --tensor %", &o->tensor.values[i]);
}

static enum mq_exit fit_evaluator(const struct mq_options *options)
{
    moeq_error err = {0};
    struct mq_view *view = NULL;
    enum mq_exit code =
        mq_open_model_or_config(options, options->positional[0], &view, &err) == MOEQ_OK
            ? mq_fit_evaluator(options, view)
            : mq_report(&err);
    mq_view_close(view);
    return code;
}

enum mq_exit mq_cmd_fit(const struct mq_options *options)
{
    if (options->list_gpus || (options->gpu && strcasecmp(options->gpu, "list") == 0))
        return mq_list_gpus(options);
    if (!options->positional_count)
        return mq_usage("fit", "expected: moeq fit MODEL --gpu NAME | --vram SIZE");
    if (options->level && options->levels)
        return mq_usage("fit", "give --level or --levels, not both");
    if (options->runtime && strcasecmp(options->runtime, "moeq") == 0)
        return fit_evaluator(options);
    const struct mq_kv_kind *kv;
    struct mq_fit_target target;
    if (!mq_option_fit_target("fit", options, &target, &kv))
        return MQ_EXIT_USAGE;
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_buffer mix = {0};
    struct mq_fit *fit = calloc(1, sizeof *fit);
    enum mq_exit code = MQ_EXIT_FAILURE;
    if (!fit)
        mq_fail_memory(&err, "fitting a model to a card");
    if (!fit || mq_open_model_or_config(options, options->positional[0], &view, &err) != MOEQ_OK ||
        mq_fit_begin(view, &target, options->context, kv, fit, &err) != MOEQ_OK) {
        code = mq_report(&err);
        goto out;
    }
    say_mix(options, &mix);
    fit->mix = mix.data;
    if (!mq_buffer_ok(&mix))
        mq_fail_memory(&err, "naming a mix of levels");
    code = mq_buffer_ok(&mix) ? add_rows(options, fit) : mq_report(&err);
    if (code != MQ_EXIT_GOOD)
        goto out;
    if (options->quality && mq_fit_join_quality(fit, options->quality, &err) != MOEQ_OK)
        code = mq_report(&err);
    else if (options->json)
        code = mq_print_json(mq_fit_json(fit));
    else
        mq_print_fit(options, fit), code = mq_finish_output();
out:
    mq_buffer_free(&mix);
    free(fit);
    mq_view_close(view);
    return code;
}
