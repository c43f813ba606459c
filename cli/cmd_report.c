/* cmd_report.c: moeq report: results that were saved with --json, as a page for people. */
#include "report_files.h"
#include "source_card.h"

#include "error.h"
#include "file.h"
#include "json.h"
#include "json_tree.h"
#include "output_path.h"
#include "report.h"
#include "report_join.h"

#include <stdio.h>
#include <stdlib.h>

static moeq_status read_document(const char *path, cJSON **document, moeq_error *err)
{
    struct mq_buffer text;
    MQ_TRY(mq_file_read_all(path, MQ_REPORT_MOST_BYTES, &text, err));
    const moeq_status status = mq_report_parse(text.data, text.size, path, document, err);
    mq_buffer_free(&text);
    return status;
}

/* One document as it is, several joined. */
static moeq_status read_documents(const struct mq_options *options, cJSON **document,
                                  moeq_error *err)
{
    const size_t n = (size_t)options->positional_count;
    cJSON **all = calloc(n, sizeof *all);
    moeq_status status = all ? MOEQ_OK : mq_fail_memory(err, "reading results");
    for (size_t i = 0; i < n && status == MOEQ_OK; i++)
        status = read_document(options->positional[i], &all[i], err);
    if (status == MOEQ_OK && n > 1) {
        status = mq_report_join((const cJSON *const *)all, options->positional, n, document, err);
    } else if (status == MOEQ_OK) {
        *document = all[0];
        all[0] = NULL;
    }
    for (size_t i = 0; all && i < n; i++)
        cJSON_Delete(all[i]);
    free(all);
    return status;
}

/* The file of -o, and those of --card and --charts. */
static bool check(const struct mq_options *options)
{
    enum mq_report_format format;
    const struct mq_options others = {.output = options->output,
                                      .card = options->card,
                                      .charts = options->charts,
                                      .base_model = options->base_model};
    if (!options->output && !options->card && !options->charts) {
        mq_usage("report", "-o FILE is missing, such as -o report.html");
        return false;
    }
    if (options->output && !mq_report_format_of(options->output, &format)) {
        mq_usage("report", "-o '%s': expected a name that ends in " MQ_REPORT_ENDINGS,
                 options->output);
        return false;
    }
    return mq_report_files_ok("report", &others, options->positional);
}

static moeq_status check_output(const struct mq_options *options, moeq_error *err)
{
    for (int i = 0; options->output && i < options->positional_count; i++)
        if (mq_same_file(options->positional[i], options->output))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, options->output,
                                "the output would replace an input; choose another name");
    return options->output ? mq_refuse_foreign_page(options->output, err) : MOEQ_OK;
}

static enum mq_exit print_written(const struct mq_options *options)
{
    struct mq_json_tree b = {0};
    cJSON *done = mq_json_document(&b, "report");
    mq_json_put_text(&b, done, "report", options->output);
    mq_json_put_text(&b, done, "card", options->card);
    mq_json_put_text(&b, done, "charts", options->charts);
    return mq_print_json(mq_json_finish(&b, done));
}

enum mq_exit mq_cmd_report(const struct mq_options *options)
{
    moeq_error err = {0};
    cJSON *document = NULL;
    struct mq_options outputs = *options;
    if (!check(options))
        return MQ_EXIT_USAGE;
    if (check_output(options, &err) != MOEQ_OK ||
        read_documents(options, &document, &err) != MOEQ_OK)
        return mq_report(&err);
    if (options->card) {
        const cJSON *path = mq_json_get(mq_json_get(document, "model"), "path");
        mq_put_source_card(document, options, cJSON_IsString(path) ? path->valuestring : "");
    }
    outputs.report =
        (struct mq_option_list){(const char **)&options->output, options->output != NULL};
    const enum mq_exit code =
        mq_report_outputs(&outputs, document, options->positional[0], "", NULL);
    cJSON_Delete(document);
    if (code != MQ_EXIT_GOOD)
        return code;
    return options->json ? print_written(options) : mq_finish_output();
}
