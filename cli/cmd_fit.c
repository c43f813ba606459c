/* cmd_fit.c: moeq fit. */
#include "model_options.h"

#include "error.h"
#include "fit.h"
#include "fit_evaluator.h"
#include "fit_option.h"
#include "fit_print.h"
#include "text_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the card ---- */

/* One card of one size. */
static void list_gpu(const struct mq_gpu *g, uint32_t memory_gb, struct mq_json_tree *b,
                     cJSON *list)
{
    const double usable = (double)mq_gpu_usable_bytes(g->memory, (uint64_t)memory_gb << 30);
    if (!list) {
        printf("%-30s %4u %7.2f %5u  %s\n", g->name, memory_gb, usable / 0x1p30, g->bandwidth_gbs,
               g->source);
        return;
    }
    cJSON *o = mq_json_object(b);
    mq_json_put_text(b, o, "name", g->name);
    mq_json_put_count(b, o, "memory_gb", memory_gb);
    mq_json_put_number(b, o, "usable_bytes", usable);
    mq_json_put_count(b, o, "bandwidth_gb_per_second", g->bandwidth_gbs);
    mq_json_put_bool(b, o, "unified_memory", mq_gpu_is_unified(g->memory));
    mq_json_put_text(b, o, "rule", mq_gpu_memory_rule(g->memory));
    mq_json_put_text(b, o, "source", g->source);
    mq_json_append(b, list, o);
}

static enum mq_exit list_gpus(const struct mq_options *options)
{
    struct mq_json_tree b = {0};
    cJSON *list = options->json ? mq_json_array(&b) : NULL;
    if (!options->json)
        printf("%-30s %4s %7s %5s  %s\n", "card", "GB", "usable", "GB/s", "source");
    for (size_t i = 0; i < mq_gpus_count; i++)
        for (size_t k = 0; mq_gpu_size_gb(&mq_gpus[i], k); k++)
            list_gpu(&mq_gpus[i], mq_gpu_size_gb(&mq_gpus[i], k), &b, list);
    if (options->json)
        return mq_print_json(mq_json_finish(&b, list));
    printf("\nusable, in GiB: what a program can have of the memory on the label, in GB.\n");
    for (int m = 0; m < MQ_GPU_MEMORY_COUNT; m++) {
        static const char *const kinds[] = {"others", "T4 to L40S and older, ECC in line",
                                            "Orin to Strix Halo", "Apple"};
        printf("  %s: ", kinds[m]);
        mq_print_wrapped(mq_gpu_memory_rule((enum mq_gpu_memory)m), (int)strlen(kinds[m]) + 4, 4);
    }
    printf("--vram SIZE takes any other figure.\n");
    return mq_finish_output();
}

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
    char *names = mq_said_memory(strdup(options->levels)), *rest = names, *name;
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

enum { MIX_ROOM = 1024 };

/* The options that levels are mixed by, for the command that makes a file. */
static void say_mix(const struct mq_options *o, char mix[MIX_ROOM])
{
    const struct {
        const char *name, *value;
    } given[] = {{"shared", o->shared}, {"attention", o->attention}, {"embeddings", o->embeddings}};
    size_t used = 0;
    mix[0] = '\0';
    for (size_t i = 0; i < sizeof given / sizeof *given && used < MIX_ROOM; i++)
        if (given[i].value)
            used += (size_t)snprintf(mix + used, MIX_ROOM - used, " --%s %s", given[i].name,
                                     given[i].value);
    for (size_t i = 0; i < o->tensor.count && used < MIX_ROOM; i++)
        used +=
            (size_t)snprintf(mix + used, MIX_ROOM - used, " --tensor '%s'", o->tensor.values[i]);
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
        return list_gpus(options);
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
    struct mq_fit *fit = calloc(1, sizeof *fit);
    enum mq_exit code = MQ_EXIT_FAILURE;
    if (!fit)
        mq_fail_memory(&err, "fitting a model to a card");
    if (!fit || mq_open_model_or_config(options, options->positional[0], &view, &err) != MOEQ_OK ||
        mq_fit_begin(view, &target, options->context, kv, fit, &err) != MOEQ_OK) {
        code = mq_report(&err);
        goto out;
    }
    char mix[MIX_ROOM];
    say_mix(options, mix);
    fit->mix = mix;
    code = add_rows(options, fit);
    if (code != MQ_EXIT_GOOD)
        goto out;
    if (options->quality && mq_fit_join_quality(fit, options->quality, &err) != MOEQ_OK)
        code = mq_report(&err);
    else if (options->json)
        code = mq_print_json(mq_fit_json(fit));
    else
        mq_print_fit(options, fit), code = mq_finish_output();
out:
    free(fit);
    mq_view_close(view);
    return code;
}
