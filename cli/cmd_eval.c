/* cmd_eval.c: moeq eval: perplexity of one model, or its logits and routes for given ids. */
#include "eval_options.h"
#include "model_options.h"
#include "quality_tables.h"
#include "text_option.h"

#include "eval_dump.h"
#include "perplexity.h"
#include "policy.h"
#include "result_json.h"
#include "view_json.h"

#include <stdio.h>

static enum mq_exit eval_text(const struct mq_options *options, struct mq_job_ui *ui,
                              struct mq_view *view)
{
    struct mq_protocol_options protocol;
    struct mq_eval_result result = {0};
    enum mq_compute compute;
    moeq_error err = {0};
    if (!mq_option_protocol("eval", options, &protocol) ||
        !mq_option_compute("eval", options, &compute))
        return MQ_EXIT_USAGE;
    const double start = mq_now_seconds();
    struct mq_text text = {0};
    struct mq_task_files tasks = {0};
    moeq_status status = mq_read_text(options, view, &text, &err);
    if (status == MOEQ_OK)
        status = mq_option_tasks(options, &tasks, &protocol, &err);
    if (status == MOEQ_OK)
        status = mq_eval_text(&ui->context, view, &text, &protocol, compute, &result, &err);
    mq_job_end(ui);
    mq_task_files_free(&tasks);
    if (status != MOEQ_OK) {
        mq_text_free(&text);
        return mq_report(&err);
    }
    enum mq_exit code;
    if (options->json) {
        code = mq_print_json(mq_eval_json(&result));
    } else {
        const struct mq_perplexity *p = &result.perplexity;
        const double seconds = mq_now_seconds() - start;
        const struct mq_windows *w = &result.text.windows;
        const struct mq_task_set *set = result.text.tasks;
        const size_t tokens = w->count * w->length + (set ? set->windows * set->length : 0);
        char time[32];
        mq_print_line(2, "%s on %s", view->path, text.name);
        mq_print_protocol(&result.text, compute, NULL);
        mq_print_notes(options, view);
        mq_print_line(4, "  perplexity %.5f ± %.5f (NLL %.6f ± %.6f nats a token)", p->ppl.value,
                      p->ppl.se, p->nll.value, p->nll.se);
        mq_print_eval_tables(&result);
        if (!options->quiet)
            printf("  %s, %.0f tokens/s\n", mq_format_seconds(seconds, time),
                   (double)tokens / seconds);
        code = mq_finish_output();
    }
    mq_eval_result_free(&result);
    mq_text_free(&text);
    return code;
}

static enum mq_exit eval_dump(const struct mq_options *options, struct mq_job_ui *ui,
                              const struct mq_view *view)
{
    moeq_error err = {0};
    struct mq_dump_result result = {0};
    enum mq_compute compute;
    if (!mq_option_compute("eval", options, &compute))
        return MQ_EXIT_USAGE;
    const struct mq_dump_options how = {.ids_path = options->ids,
                                        .output_path = options->dump,
                                        .hidden = options->dump_hidden,
                                        .compute = compute};
    const moeq_status status = mq_eval_dump(&ui->context, view, &how, &result, &err);
    mq_job_end(ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    if (options->json) {
        struct mq_json_tree b = {0};
        cJSON *o = mq_json_document(&b, "dump");
        mq_json_put_text(&b, o, "output", options->dump);
        mq_json_put_count(&b, o, "sequences", result.windows);
        mq_json_put_count(&b, o, "tokens_per_sequence", result.window_tokens);
        mq_json_put_count(&b, o, "bytes", result.file_bytes);
        mq_json_put_text(&b, o, "compute", mq_compute_name(compute));
        mq_json_put(&b, o, "notes", mq_view_notes_json(view));
        return mq_print_json(mq_json_finish(&b, o));
    }
    mq_print_notes(options, view);
    if (!options->quiet) {
        char size[32];
        char sequences[64];
        mq_print_line(2, "wrote %s: %s of %zu tokens, %s, arithmetic %s", options->dump,
                      mq_counted(result.windows, "sequence", sequences), result.window_tokens,
                      mq_format_bytes(result.file_bytes, size), mq_compute_name(compute));
    }
    return mq_finish_output();
}

enum mq_exit mq_cmd_eval(const struct mq_options *options)
{
    if (!options->text.count == !options->ids)
        return mq_usage("eval", "expected either --text FILE, or --ids FILE with --dump FILE");
    if (options->ids && !options->dump)
        return mq_usage("eval", "--ids needs --dump FILE, where the logits go");
    if (options->tasks.count && !options->text.count)
        return mq_usage("eval", "--tasks needs --text FILE, beside which they are evaluated");
    if (options->text.count && (options->dump || options->dump_hidden))
        return mq_usage("eval", "--dump needs --ids FILE, not --text");
    struct mq_job_ui ui;
    moeq_error err = {0};
    struct mq_view *view = NULL;
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    enum mq_exit code;
    if (mq_open_model(options, options->positional[0], &view, &err) != MOEQ_OK)
        code = mq_report(&err);
    else
        code = options->text.count ? eval_text(options, &ui, view) : eval_dump(options, &ui, view);
    mq_job_end(&ui);
    mq_view_close(view);
    return code;
}
