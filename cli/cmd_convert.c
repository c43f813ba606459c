/* cmd_convert.c: moeq convert. */
#include "convert.h"
#include "model_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_overrides(const struct mq_plan *plan, const struct mq_options *options)
{
    /* Levels that a tensor cannot have throughout are shown, so that nothing falls back silently.
     */
    uint64_t tails = 0;
    bool quantized = false;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        quantized |= e->source->quantized;
        tails += e->level->quantized && e->tensor->cols % e->level->block_weights != 0;
    }
    if (tails)
        printf("  %" PRIu64 " tensors have rows that are no multiple of their level's block: the "
               "rows' ends\n  are q8_0 blocks of 32 weights and f16 (counted above)\n",
               tails);
    if (quantized)
        printf("  the source is quantized already: converting it again adds to its error\n");
    if (options->verbose)
        for (size_t i = 0; i < plan->view->tensors_count; i++) {
            const struct mq_plan_entry *e = &plan->entries[i];
            printf("  %-60s %5s -> %-5s %12" PRIu64 " B at %" PRIu64 "\n", e->tensor->name,
                   e->source->name, e->level->name, e->size_bytes, e->offset);
        }
}

static void print_plan(const struct mq_plan *plan, const struct mq_options *options)
{
    struct mq_breakdown b = {0};
    char source[32], output[32];
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        mq_breakdown_add(&b, plan->entries[i].tensor, plan->entries[i].level,
                         plan->entries[i].size_bytes);
    printf("plan: %s\n", plan->view->path);
    mq_breakdown_print(&b);
    print_overrides(plan, options);
    printf("  source %s, output file %s (%" PRIu64 " bytes)\n",
           mq_format_bytes(plan->total.source_bytes, source),
           mq_format_bytes(plan->layout.file_bytes, output), plan->layout.file_bytes);
}

static cJSON *plan_json(const struct mq_plan *plan, const struct mq_options *options)
{
    struct mq_breakdown b = {0};
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        mq_breakdown_add(&b, plan->entries[i].tensor, plan->entries[i].level,
                         plan->entries[i].size_bytes);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "model", mq_model_json(plan->view));
    cJSON_AddItemToObject(o, "plan", mq_breakdown_json(&b));
    cJSON_AddStringToObject(o, "effort", mq_effort_name(plan->effort));
    cJSON_AddNumberToObject(o, "file_bytes", (double)plan->layout.file_bytes);
    cJSON_AddBoolToObject(o, "dry_run", options->dry_run);
    if (options->dry_run || options->verbose) {
        cJSON *tensors = cJSON_AddArrayToObject(o, "tensors");
        for (size_t i = 0; i < plan->view->tensors_count; i++) {
            const struct mq_plan_entry *e = &plan->entries[i];
            cJSON *t = cJSON_CreateObject();
            cJSON_AddStringToObject(t, "name", e->tensor->name);
            cJSON_AddStringToObject(t, "source", e->source->name);
            cJSON_AddStringToObject(t, "level", e->level->name);
            cJSON_AddNumberToObject(t, "offset", (double)e->offset);
            cJSON_AddNumberToObject(t, "bytes", (double)e->size_bytes);
            cJSON_AddItemToArray(tensors, t);
        }
    }
    return o;
}

static enum mq_exit convert(const struct mq_options *options, const struct mq_plan *plan)
{
    struct mq_job_ui ui;
    struct mq_convert_result result = {0};
    moeq_error err = {0};
    const struct mq_convert_options how = {.output = options->output, .replace = options->force};
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    const double start = mq_now_seconds();
    const moeq_status status = mq_convert(&ui.context, plan, &how, &result, &err);
    mq_job_end(&ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    const double seconds = mq_now_seconds() - start;
    if (options->json) {
        cJSON *o = plan_json(plan, options);
        cJSON_AddStringToObject(o, "output", options->output);
        cJSON_AddNumberToObject(o, "tensors_resumed", (double)result.tensors_resumed);
        cJSON_AddNumberToObject(o, "seconds", seconds);
        return mq_print_json(o);
    }
    if (!options->quiet) {
        char size[32], time[32], rate[32];
        if (result.tensors_resumed)
            printf("resumed: %" PRIu64 " of %" PRIu64 " tensors were finished by an earlier run\n",
                   result.tensors_resumed, result.tensors);
        printf(
            "wrote %s: %s in %s (%s/s of source)\n", options->output,
            mq_format_bytes(result.bytes_written, size), mq_format_seconds(seconds, time),
            mq_format_bytes((uint64_t)((double)plan->total.source_bytes / (seconds + 1e-9)), rate));
    }
    return mq_finish_output();
}

enum mq_exit mq_cmd_convert(const struct mq_options *options)
{
    if (!options->level)
        return mq_usage("convert", "--level is missing, such as --level q4_k");
    if (!options->output && !options->dry_run)
        return mq_usage("convert", "-o FILE is missing (or --dry-run, to see the plan)");
    const struct mq_level *level = mq_option_level("convert", "--level", options->level);
    struct mq_policy policy;
    struct mq_policy_override *overrides = NULL;
    if (!level || !mq_option_policy("convert", options, level, &policy, &overrides)) {
        mq_option_policy_free(options, overrides);
        return MQ_EXIT_USAGE;
    }
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_plan *plan = NULL;
    enum mq_exit code;
    moeq_status status = mq_model_open(options->positional[0], &view, &err);
    if (status == MOEQ_OK)
        status = mq_plan_create(view, &policy, &plan, &err);
    if (status != MOEQ_OK) {
        code = mq_report(&err);
    } else if (options->dry_run) {
        if (!options->json)
            print_plan(plan, options);
        code = options->json ? mq_print_json(plan_json(plan, options)) : mq_finish_output();
    } else {
        if (!options->json && !options->quiet)
            print_plan(plan, options);
        fflush(stdout);
        code = convert(options, plan);
    }
    mq_plan_free(plan);
    mq_view_close(view);
    mq_option_policy_free(options, overrides);
    return code;
}
