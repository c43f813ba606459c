/* cmd_calibrate.c: moeq calibrate: what a model's matrices meet of some texts. */
#include "calibrate.h"
#include "calibrate_texts.h"
#include "coverage_print.h"

#include "view_json.h"

#include <inttypes.h>
#include <stdio.h>

/* What was held out: the last domain. NULL: nothing. */
static const struct mq_domain *held_out(const struct mq_domains *domains)
{
    return domains->holds_out ? &domains->all[domains->count - 1] : NULL;
}

static cJSON *texts_json(struct mq_json_tree *b, const struct mq_calibrate_result *r)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < r->texts_count; i++) {
        const struct mq_calibration_text *t = &r->texts[i];
        cJSON *o = mq_json_object(b);
        mq_json_put_text(b, o, "name", t->name);
        mq_json_put_count(b, o, "tokens", t->tokens);
        mq_json_put_count(b, o, "context_tokens", t->context);
        mq_json_put_count(b, o, "text_bytes", t->bytes);
        mq_json_put_hex(b, o, "text_crc32", t->crc32);
        mq_json_put_hex(b, o, "token_ids_crc32", t->ids_crc32);
        mq_json_append(b, list, o);
    }
    return list;
}

/* `view` NULL: calibrations were merged. */
static enum mq_exit print_json(const struct mq_options *options, const struct mq_view *view,
                               const struct mq_calibrate_result *r, const struct mq_domain *held)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "calibrate");
    if (view) {
        cJSON *model = mq_json_object(&b);
        mq_view_put_json(&b, model, view);
        mq_json_put(&b, o, "model", model);
    } else {
        cJSON *merged = mq_json_array(&b);
        for (int i = 0; i < options->positional_count; i++)
            mq_json_append(&b, merged, cJSON_CreateString(options->positional[i]));
        mq_json_put(&b, o, "merged", merged);
    }
    mq_json_put_text(&b, o, "model_name", r->model_name);
    mq_json_put_text(&b, o, "output", options->output);
    mq_json_put_count(&b, o, "bytes", r->file_bytes);
    mq_json_put_count(&b, o, "tokens", r->tokens);
    mq_json_put(&b, o, "texts", texts_json(&b, r));
    mq_coverage_put_json(&b, o, &r->coverage, held ? held->name : NULL,
                         held ? held->windows.windows.count * held->windows.windows.length : 0);
    return mq_print_json(mq_json_finish(&b, o));
}

static enum mq_exit print_result(const struct mq_options *options, const struct mq_view *view,
                                 const struct mq_calibrate_result *r, const struct mq_domain *held)
{
    if (options->json)
        return print_json(options, view, r, held);
    if (!options->quiet) {
        char size[32];
        mq_print_line(2, "wrote %s: %s, of %s", options->output,
                      mq_format_bytes(r->file_bytes, size), r->model_name);
        for (size_t i = 0; i < r->texts_count; i++)
            mq_print_line(4, "  %s: %" PRIu64 " tokens in windows of %" PRIu64, r->texts[i].name,
                          r->texts[i].tokens, r->texts[i].context);
        mq_coverage_print(options, &r->coverage, held ? held->name : NULL,
                          held ? held->windows.windows.count * held->windows.windows.length : 0);
    }
    mq_coverage_note(options, &r->coverage);
    if (view)
        mq_print_notes(options, view);
    return mq_finish_output();
}

static enum mq_exit merge(const struct mq_options *options)
{
    const struct mq_calibrate_output output = {options->output, options->force};
    struct mq_calibrate_result result;
    struct mq_job_ui ui;
    moeq_error err = {0};
    if (options->text.count || options->ids || options->holdout || options->tokens || options->context)
        return mq_usage("calibrate", "--merge takes calibrations, and no text");
    if (options->ignore_config.count || options->sliding_window || options->lm_head)
        return mq_usage("calibrate", "--merge reads no model: leave --%s out",
                        options->ignore_config.count ? "ignore-config"
                        : options->sliding_window    ? "sliding-window"
                                                     : "lm-head");
    if (!mq_is_speaker()) /* there is nothing to divide */
        return MQ_EXIT_GOOD;
    mq_jobs_peers(NULL);
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    const moeq_status status =
        mq_calibrate_merge(&ui.context, options->positional, (size_t)options->positional_count,
                           &output, &result, &err);
    mq_job_end(&ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    const enum mq_exit code = print_result(options, NULL, &result, NULL);
    mq_calibrate_result_free(&result);
    return code;
}

static enum mq_exit measure(const struct mq_options *options, struct mq_domains *domains)
{
    struct mq_calibrate_job job = {.output = {options->output, options->force}};
    struct mq_calibrate_result result = {0};
    struct mq_view *view = NULL;
    struct mq_job_ui ui;
    moeq_error err = {0};
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    moeq_status status = mq_calibrate_check_output(&job.output, &err);
    if (status == MOEQ_OK)
        status = mq_open_model(options, options->positional[0], &view, &err);
    if (status == MOEQ_OK)
        status = mq_domains_read(options, view, domains, &err);
    job.view = view;
    job.windows = domains->windows.windows;
    job.held_out = mq_domains_held_out(domains);
    job.texts = domains->texts;
    job.texts_count = domains->texts_count;
    if (status == MOEQ_OK)
        status = mq_calibrate(&ui.context, &job, &result, &err);
    mq_job_end(&ui);
    const enum mq_exit code = status == MOEQ_OK
                                  ? print_result(options, view, &result, held_out(domains))
                                  : mq_report(&err);
    mq_calibrate_result_free(&result);
    mq_view_close(view);
    return code;
}

enum mq_exit mq_cmd_calibrate(const struct mq_options *options)
{
    struct mq_domains domains;
    if (!options->output)
        return mq_usage("calibrate", "-o FILE is missing: the file to write");
    if (options->merge)
        return merge(options);
    if (!options->text.count && !options->ids)
        return mq_usage("calibrate",
                        "--text FILE is missing: text like that which the model is for");
    if (options->positional_count > 1)
        return mq_usage("calibrate", "unexpected argument '%s' (--merge adds calibrations up)",
                        options->positional[1]);
    enum mq_exit code = mq_domains_parse(options, &domains);
    if (code == MQ_EXIT_GOOD)
        code = measure(options, &domains);
    mq_domains_free(&domains);
    return code;
}
