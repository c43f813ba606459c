/* cmd_record.c: moeq record: what verify needs of the original, without its weights. */
#include "eval_options.h"
#include "model_options.h"
#include "text_option.h"

#include "error.h"
#include "policy.h"
#include "record.h"
#include "view_json.h"

#include <stdio.h>

static enum mq_exit print_result(const struct mq_options *options, const struct mq_view *view,
                                 enum mq_compute compute, const struct mq_record_result *r)
{
    const double tokens = (double)r->windows * (double)r->window_tokens;
    if (options->json) {
        struct mq_json_tree b = {0};
        cJSON *o = mq_json_document(&b, "record");
        mq_json_put_text(&b, o, "model", view->path);
        mq_json_put_text(&b, o, "output", options->output);
        mq_json_put_text(&b, o, "compute", mq_compute_name(compute));
        mq_json_put(&b, o, "notes", mq_view_notes_json(view));
        mq_json_put_count(&b, o, "windows", r->windows);
        mq_json_put_count(&b, o, "context_tokens", r->window_tokens);
        mq_json_put_number(&b, o, "tokens", tokens);
        mq_json_put_count(&b, o, "bytes", r->file_bytes);
        mq_json_put_count(&b, o, "bytes_per_token", r->token_bytes);
        return mq_print_json(mq_json_finish(&b, o));
    }
    if (!options->quiet) {
        char size[32], fixed[32], windows[64];
        printf("wrote %s: %s\n", options->output, mq_format_bytes(r->file_bytes, size));
        mq_print_line(4, "  %s of %zu tokens; %.2f KiB a token, and %s for head and tables",
                      mq_counted(r->windows, "window", windows), r->window_tokens,
                      (double)r->token_bytes / 1024,
                      mq_format_bytes(r->file_bytes - (uint64_t)tokens * r->token_bytes, fixed));
        printf("  arithmetic: %s\n", mq_compute_name(compute));
    }
    mq_print_notes(options, view);
    return mq_finish_output();
}

enum mq_exit mq_cmd_record(const struct mq_options *options)
{
    if (!options->text.count)
        return mq_usage("record", "--text FILE is missing");
    if (!options->output)
        return mq_usage("record", "-o REF is missing: the file to write");
    struct mq_text text = {0};
    struct mq_task_files tasks = {0};
    struct mq_record_options how = {
        .text = &text, .output_path = options->output, .replace = options->force};
    struct mq_record_result result;
    struct mq_view *view = NULL;
    struct mq_job_ui ui;
    moeq_error err = {0};
    if (!mq_option_protocol("record", options, &how.protocol) ||
        !mq_option_compute("record", options, &how.compute) || !mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    moeq_status status = mq_open_model(options, options->positional[0], &view, &err);
    if (status == MOEQ_OK)
        status = mq_read_text(options, view, &text, &err);
    if (status == MOEQ_OK)
        status = mq_option_tasks(options, &tasks, &how.protocol, &err);
    if (status == MOEQ_OK && mq_text_option_names(options, options->output))
        status = mq_fail_file(&err, MOEQ_INVALID_ARGUMENT, options->output,
                              "the output would replace an input; choose another name");
    if (status == MOEQ_OK)
        status = mq_record(&ui.context, view, &how, &result, &err);
    mq_job_end(&ui);
    const enum mq_exit code =
        status == MOEQ_OK ? print_result(options, view, how.compute, &result) : mq_report(&err);
    mq_text_free(&text);
    mq_task_files_free(&tasks);
    mq_view_close(view);
    return code;
}
