/* cmd_report.c: moeq report: a result that was saved with --json, as a page for people. */
#include "command.h"

#include "error.h"
#include "file.h"
#include "json_tree.h"
#include "output_path.h"
#include "report.h"

#include <stdio.h>

static moeq_status write_report(const char *input, const char *output, moeq_error *err)
{
    struct mq_buffer text;
    cJSON *document = NULL;
    if (mq_same_file(input, output))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output,
                            "the output would replace an input; choose another name");
    MQ_TRY(mq_file_read_all(input, MQ_REPORT_MOST_BYTES, &text, err));
    moeq_status status = mq_report_parse(text.data, text.size, input, &document, err);
    mq_buffer_free(&text);
    if (status == MOEQ_OK) {
        moeq_error about = {0};
        status = mq_report_write(document, output, &about);
        if (status == MOEQ_MALFORMED) /* of the document, which has no name there */
            mq_fail_file(err, status, input, "%s", about.message);
        else
            *err = about;
    }
    cJSON_Delete(document);
    return status;
}

enum mq_exit mq_cmd_report(const struct mq_options *options)
{
    enum mq_report_format format;
    moeq_error err = {0};
    if (!options->output)
        return mq_usage("report", "-o FILE is missing, such as -o report.html");
    if (!mq_report_format_of(options->output, &format))
        return mq_usage("report", "-o '%s': expected a name that ends in .html or .md",
                        options->output);
    if (write_report(options->positional[0], options->output, &err) != MOEQ_OK)
        return mq_report(&err);
    if (options->json) {
        struct mq_json_tree b = {0};
        cJSON *done = mq_json_document(&b, "report");
        mq_json_put_text(&b, done, "report", options->output);
        return mq_print_json(mq_json_finish(&b, done));
    }
    if (!options->quiet)
        printf("report: %s\n", options->output);
    return mq_finish_output();
}
