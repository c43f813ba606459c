/* cmd_check.c: moeq check: is a moeq file as it was written? Of a GGUF file, which has no
 * checksums: is it whole, and every weight a number? */
#include "command.h"

#include "gguf.h"
#include "integrity.h"
#include "policy.h"
#include "report_json.h"
#include "weights_check.h"

#include <inttypes.h>
#include <stdio.h>

static void print_damage(const struct mq_integrity_result *r)
{
    for (size_t i = 0; i < r->listed_count; i++) {
        const struct mq_damage *d = &r->damaged[i];
        char where[128];
        mq_damage_describe(d, where, sizeof where);
        printf("damaged: %s%s%s%s, bytes %" PRIu64 " to %" PRIu64 "\n", d->name,
               where[0] ? " (" : "", where, where[0] ? ")" : "", d->offset,
               d->offset + d->size_bytes);
    }
    if (r->damaged_count > r->listed_count)
        printf("and %" PRIu64 " more\n", r->damaged_count - r->listed_count);
}

static cJSON *weights_json(const char *path, const struct mq_weights_result *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "file", path);
    cJSON_AddStringToObject(o, "format", "gguf");
    cJSON_AddBoolToObject(o, "ok", true);
    cJSON_AddBoolToObject(o, "has_checksums", false);
    cJSON_AddNumberToObject(o, "file_bytes", (double)r->file_bytes);
    cJSON_AddNumberToObject(o, "tensors", (double)r->tensors);
    cJSON_AddNumberToObject(o, "weights", (double)r->weights);
    return o;
}

static enum mq_exit check_gguf(const struct mq_options *options, struct mq_job_ui *ui)
{
    const char *path = options->positional[0];
    struct mq_view *view = NULL;
    struct mq_weights_result result;
    moeq_error err = {0};
    const double start = mq_now_seconds();
    moeq_status status = mq_model_open(path, &view, &err);
    if (status == MOEQ_OK)
        status = mq_weights_check(&ui->context, view, &result, &err);
    mq_job_end(ui);
    mq_view_close(view);
    if (status != MOEQ_OK)
        return mq_report(&err);
    if (options->json)
        return mq_print_json(weights_json(path, &result));
    if (!options->quiet) {
        char size[32], time[32];
        printf("%s: the header is valid, and all %" PRIu64 " weights are finite: %" PRIu64
               " tensors, %s (%s)\n"
               "GGUF files have no checksums: damage that leaves every weight finite cannot be "
               "seen\n",
               path, result.weights, result.tensors, mq_format_bytes(result.file_bytes, size),
               mq_format_seconds(mq_now_seconds() - start, time));
    }
    return mq_finish_output();
}

enum mq_exit mq_cmd_check(const struct mq_options *options)
{
    struct mq_job_ui ui;
    moeq_error err = {0};
    struct mq_integrity_result result = {0};
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    bool is_gguf;
    if (mq_gguf_is(options->positional[0], &is_gguf, NULL) == MOEQ_OK && is_gguf)
        return check_gguf(options, &ui);
    const double start = mq_now_seconds();
    moeq_status status = mq_integrity_check(&ui.context, options->positional[0], &result, &err);
    mq_job_end(&ui);
    const double seconds = mq_now_seconds() - start;
    enum mq_exit code = MQ_EXIT_FAILURE;
    if (status != MOEQ_OK) {
        code = mq_report(&err);
    } else {
        status = mq_integrity_status(&result, &err);
        if (options->json) {
            code = mq_print_json(mq_integrity_json(&result));
        } else {
            print_damage(&result);
            if (status == MOEQ_OK && !options->quiet) {
                char size[32], time[32];
                printf("%s: good: %" PRIu64 " tensors, %s, every checksum right (%s)\n",
                       options->positional[0], result.tensors_checked,
                       mq_format_bytes(result.file_bytes, size), mq_format_seconds(seconds, time));
            }
            code = mq_finish_output();
        }
        if (status != MOEQ_OK)
            code = mq_report(&err);
    }
    mq_integrity_free(&result);
    return code;
}
