/* cmd_check.c: moeq check: is a moeq file (or all of a model's) as it was written? Of a GGUF file
 * or a Hugging Face folder, which have no checksums: is it whole, and every weight a number? Of
 * all: are there weights where weights should be? */
#include "check_against.h"
#include "check_manifest.h"
#include "model_options.h"

#include "integrity.h"
#include "moeq_index.h"
#include "policy.h"
#include "check_json.h"
#include "weights_check.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Which matrices have zeros for weights. */
static void print_zeros(const struct mq_zeros *zeros)
{
    char what[256], where[96];
    for (size_t i = 0; i < zeros->count && i < MQ_ZEROS_LISTED; i++) {
        const struct mq_zero_place *z = &zeros->listed[i];
        mq_zeros_describe(z, what, sizeof what);
        mq_zeros_where(z, where, sizeof where);
        mq_print_line(2, "zeros: %s (%s): %s, from byte %" PRIu64 " of %s", z->name, where, what,
                      z->offset, z->path);
    }
    if (zeros->count > MQ_ZEROS_LISTED)
        printf("and %" PRIu64 " more\n", zeros->count - MQ_ZEROS_LISTED);
}

static const char *rows_are(uint64_t n, char text[64])
{
    snprintf(text, 64, n == 1 ? "row is" : "%" PRIu64 " rows are", n);
    return text;
}

/* How a vocabulary is padded: worth a word, no problem. */
static void print_padding(const struct mq_options *options, const struct mq_zeros *zeros)
{
    char rows[64];
    for (int i = 0; i < 2 && !options->quiet; i++)
        if (zeros->padding[i].bytes)
            mq_print_line(2, "note: %s: its last %s zero, as of a padded vocabulary",
                          zeros->padding[i].name, rows_are(zeros->padding[i].rows, rows));
}

/* `file` says which of several; "" for the only one. */
static void print_damage(const struct mq_integrity_result *r, const char *file)
{
    for (size_t i = 0; i < r->listed_count; i++) {
        const struct mq_damage *d = &r->damaged[i];
        char where[128];
        mq_damage_describe(d, where, sizeof where);
        mq_print_line(2, "damaged: %s%s%s%s%s%s, bytes %" PRIu64 " to %" PRIu64, file,
                      file[0] ? ": " : "", d->name, where[0] ? " (" : "", where,
                      where[0] ? ")" : "", d->offset, d->offset + d->size_bytes);
    }
    if (r->damaged_count > r->listed_count)
        printf("and %" PRIu64 " more\n", r->damaged_count - r->listed_count);
    print_zeros(&r->zeros);
}

static void print_good(const char *path, size_t files, uint64_t tensors, uint64_t bytes,
                       double seconds)
{
    char in_files[40] = "", size[32], time[32], count[64];
    if (files > 1)
        snprintf(in_files, sizeof in_files, " in %zu files", files);
    mq_print_line(2, "%s: good: %s%s, %s, every checksum right (%s)", path,
                  mq_counted(tensors, "tensor", count), in_files, mq_format_bytes(bytes, size),
                  mq_format_seconds(seconds, time));
}

/* Each file that is not sound is named on stderr. */
static enum mq_exit report_shards(const struct mq_shards_result *r)
{
    enum mq_exit code = MQ_EXIT_GOOD;
    for (size_t i = 0; i < r->count; i++)
        if (r->shards[i].problem.status != MOEQ_OK)
            code = mq_report(&r->shards[i].problem);
    return r->problem.status != MOEQ_OK ? mq_report(&r->problem) : code;
}

/* A moeq model in several files. */
static enum mq_exit check_shards(const struct mq_options *options, const char *index,
                                 struct mq_job_ui *ui)
{
    struct mq_shards_result result;
    moeq_error err = {0};
    const double start = mq_now_seconds();
    const moeq_status status = mq_shards_check(&ui->context, index, &result, &err);
    mq_job_end(ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    enum mq_exit code;
    if (options->json) {
        code = mq_print_json(mq_shards_json(&result));
    } else {
        for (size_t i = 0; i < result.count; i++) {
            print_damage(&result.shards[i].integrity, result.shards[i].path);
            print_padding(options, &result.shards[i].integrity.zeros);
        }
        print_zeros(&result.zeros);
        if (mq_shards_status(&result, NULL) == MOEQ_OK && !options->quiet)
            print_good(options->positional[0], result.count, result.tensors_checked,
                       result.file_bytes, mq_now_seconds() - start);
        code = mq_finish_output();
    }
    const enum mq_exit found = report_shards(&result);
    mq_shards_free(&result);
    return found == MQ_EXIT_GOOD ? code : found;
}

static void print_weights(const char *path, bool is_gguf, const struct mq_weights_result *r,
                          double seconds)
{
    char size[32], time[32], tensors[64];
    mq_print_line(
        2, "%s: the header is valid, and all %" PRIu64 " weights%s are finite: %s, %s (%s)", path,
        r->weights - r->unread_weights, r->unread_tensors ? " that moeq can decode" : "",
        mq_counted(r->tensors, "tensor", tensors), mq_format_bytes(r->file_bytes, size),
        mq_format_seconds(seconds, time));
    if (r->unread_tensors)
        mq_print_line(2, "%s (%" PRIu64 " weights) not looked into: moeq cannot decode %s",
                      mq_counted(r->unread_tensors, "tensor", tensors), r->unread_weights,
                      r->unread_levels);
    mq_print_line(2, "%s have no checksums: damage that leaves every weight finite cannot be seen",
                  is_gguf ? "GGUF files" : "Hugging Face folders");
}

/* A GGUF file or a Hugging Face folder. */
static enum mq_exit check_weights(const struct mq_options *options, bool is_gguf,
                                  struct mq_job_ui *ui)
{
    const char *path = options->positional[0];
    struct mq_view *view = NULL;
    struct mq_weights_result result;
    moeq_error err = {0};
    const double start = mq_now_seconds();
    enum mq_exit code = MQ_EXIT_FAILURE;
    moeq_status status = mq_open_model(options, path, &view, &err);
    if (status == MOEQ_OK)
        status = mq_weights_check(&ui->context, view, &result, &err);
    mq_job_end(ui);
    if (status == MOEQ_OK) {
        if (options->json) {
            code = mq_print_json(mq_weights_json(view, &result));
        } else {
            mq_print_notes(options, view);
            print_zeros(&result.zeros);
            print_padding(options, &result.zeros);
            if (!options->quiet && !result.zeros.count)
                print_weights(path, is_gguf, &result, mq_now_seconds() - start);
            code = mq_finish_output();
        }
        status = mq_zeros_status(&result.zeros, &err);
    }
    if (status != MOEQ_OK)
        code = mq_report(&err);
    mq_view_close(view);
    return code;
}

static bool check_options(const struct mq_options *options)
{
    const char *const lists[] = {options->manifest, options->write_manifest};
    for (int i = 0; i < 2; i++)
        if (lists[i] && (!lists[i][0] || strcmp(lists[i], "-") == 0))
            return mq_usage("check", "--%s '%s': name a file", i ? "write-manifest" : "manifest",
                            lists[i]),
                   false;
    if (options->manifest && options->write_manifest)
        mq_usage("check",
                 "--manifest compares with a list, --write-manifest writes one: give one of them");
    else if (options->against && (options->manifest || options->write_manifest))
        mq_usage("check", "--against compares with a source, and goes without lists");
    else if (!options->against && (options->text.count || options->ids || options->tokens ||
                                   options->context || options->calibration || options->effort))
        mq_usage("check", "--text, --ids, --tokens, --context, --calibration and --effort go "
                          "with --against");
    else
        return true;
    return false;
}

static enum mq_exit check(const struct mq_options *options)
{
    struct mq_job_ui ui;
    moeq_error err = {0};
    struct mq_integrity_result result = {0};
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    char index[PATH_MAX];
    struct mq_what what;
    if (mq_path_exists(options->positional[0]) &&
        mq_moeq_index_find(options->positional[0], index, sizeof index, &err) != MOEQ_OK)
        return mq_job_end(&ui), mq_report(&err);
    if (mq_path_exists(options->positional[0]) && index[0])
        return check_shards(options, index, &ui);
    if (mq_path_is_folder(options->positional[0]))
        return check_weights(options, false, &ui);
    /* a file that begins with zeros may be a damaged moeq file, of which checksums can tell more */
    if (mq_what_is_file(options->positional[0], &what, &err) != MOEQ_OK ||
        mq_refuse_what(options->positional[0], &what,
                       MQ_FILE_SAFETENSORS | MQ_FILE_GGUF | MQ_FILE_BLANK, &err) != MOEQ_OK)
        return mq_job_end(&ui), mq_report(&err);
    if (what.kind == MQ_FILE_GGUF)
        return check_weights(options, true, &ui);
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
            print_damage(&result, "");
            print_padding(options, &result.zeros);
            if (status == MOEQ_OK && !options->quiet)
                print_good(options->positional[0], 1, result.tensors_checked, result.file_bytes,
                           seconds);
            code = mq_finish_output();
        }
        if (status != MOEQ_OK)
            code = mq_report(&err);
    }
    mq_integrity_free(&result);
    return code;
}

enum mq_exit mq_cmd_check(const struct mq_options *options)
{
    char found[MQ_FOUND_PATH];
    moeq_error err = {0};
    struct mq_options of_files = *options;
    if (!check_options(options))
        return MQ_EXIT_USAGE;
    if (options->against)
        return mq_check_against(options);
    if (mq_model_find(options->positional[0], found, &err) != MOEQ_OK)
        return mq_report(&err);
    of_files.positional = (const char *[]){found};
    return options->manifest         ? mq_check_manifest(&of_files)
           : options->write_manifest ? mq_check_write_manifest(&of_files)
                                     : check(&of_files);
}
