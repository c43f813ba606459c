/* check_manifest.c: see the header. */
#include "check_manifest.h"

#include "check_json.h"
#include "manifest.h"
#include "model_options.h"

#include <inttypes.h>
#include <stdio.h>

static void print_notes(const struct mq_options *options, const struct mq_manifest *m)
{
    char sentence[PATH_MAX + 128], count[64];
    for (size_t i = 0; i < m->count; i++)
        if (!m->files[i].expected) {
            snprintf(sentence, sizeof sentence, "%s: not in the list, and not verified",
                     m->files[i].path);
            mq_print_note(options, sentence);
        }
    if (m->others && !options->quiet) {
        snprintf(sentence, sizeof sentence,
                 "%s of the list: of files that are no part of this model",
                 mq_counted(m->others, "line", count));
        mq_print_note(options, sentence);
    }
}

static enum mq_exit print_verified(const struct mq_options *options, const struct mq_manifest *m,
                                   double seconds)
{
    char size[32], time[32], files[64];
    uint64_t listed = 0, bytes = 0, bad = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct mq_manifest_file *f = &m->files[i];
        listed += f->expected != NULL;
        bytes += f->expected ? f->size_bytes : 0;
        bad += !mq_manifest_good(f);
        if (!mq_manifest_good(f))
            mq_print_line(2, "damaged: %s: SHA-256 expected %s, found %s", f->path, f->expected,
                          f->found);
    }
    print_notes(options, m);
    if (!bad && !options->quiet)
        mq_print_line(2, "%s: good: %s, %s, every SHA-256 as in %s (%s)", options->positional[0],
                      mq_counted(listed, "file", files), mq_format_bytes(bytes, size),
                      options->manifest, mq_format_seconds(seconds, time));
    return mq_finish_output();
}

static enum mq_exit verify(const struct mq_options *options, struct mq_manifest *m,
                           struct mq_job_ui *ui)
{
    moeq_error err = {0};
    const double start = mq_now_seconds();
    moeq_status status = mq_manifest_list(options->positional[0], options->manifest, m, &err);
    if (status == MOEQ_OK)
        status = mq_manifest_expect(m, options->manifest, &err);
    if (status == MOEQ_OK)
        status = mq_manifest_hash(&ui->context, m, &err);
    mq_job_end(ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    const enum mq_exit code =
        options->json
            ? mq_print_json(mq_manifest_json(options->positional[0], options->manifest, m))
            : print_verified(options, m, mq_now_seconds() - start);
    return mq_manifest_status(m, &err) == MOEQ_OK ? code : mq_report(&err);
}

static enum mq_exit write_list(const struct mq_options *options, struct mq_manifest *m,
                               struct mq_job_ui *ui)
{
    const char *list = options->write_manifest;
    moeq_error err = {0};
    char files[64], size[32];
    moeq_status status = mq_manifest_check_place(list, &err);
    if (status == MOEQ_OK)
        status = mq_manifest_list(options->positional[0], list, m, &err);
    if (status == MOEQ_OK)
        status = mq_manifest_hash(&ui->context, m, &err);
    if (status == MOEQ_OK)
        status = mq_manifest_write(m, list, &err);
    mq_job_end(ui);
    if (status != MOEQ_OK)
        return mq_report(&err);
    if (options->json)
        return mq_print_json(mq_manifest_json(options->positional[0], list, m));
    if (!options->quiet)
        mq_print_line(2, "wrote %s: SHA-256 of %s, %s; sha256sum -c checks it in %s", list,
                      mq_counted(m->count, "file", files), mq_format_bytes(m->bytes, size),
                      m->folder[0] ? m->folder : "this folder");
    return mq_finish_output();
}

typedef enum mq_exit work_fn(const struct mq_options *options, struct mq_manifest *manifest,
                             struct mq_job_ui *ui);

static enum mq_exit with_job(const struct mq_options *options, work_fn *work)
{
    struct mq_job_ui ui;
    struct mq_manifest manifest = {0};
    if (!mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    const enum mq_exit code = work(options, &manifest, &ui);
    mq_manifest_free(&manifest);
    return code;
}

enum mq_exit mq_check_manifest(const struct mq_options *options)
{
    return with_job(options, verify);
}

enum mq_exit mq_check_write_manifest(const struct mq_options *options)
{
    return with_job(options, write_list);
}
