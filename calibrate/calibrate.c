/* calibrate.c: see calibrate.h. */
#include "calibrate.h"

#include "claim.h"
#include "collect.h"
#include "error.h"
#include "gguf_imatrix.h"
#include "imatrix.h"
#include "json.h"
#include "model_fingerprint.h"
#include "output_path.h"
#include "text_match.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

moeq_status mq_calibrate_check_output(const struct mq_calibrate_output *output, moeq_error *err)
{
    MQ_TRY(mq_refuse_existing(output->path, output->replace, err));
    return mq_check_output_place(output->path, err);
}

static moeq_status describe(const struct mq_calibration *c, struct mq_calibrate_result *r,
                            moeq_error *err)
{
    struct mq_arena *arena = r->coverage.arena;
    r->texts = mq_arena_alloc(arena, c->texts_count + 1, sizeof *r->texts);
    r->model_name = mq_arena_strdup(arena, c->model_name);
    if (!r->texts || !r->model_name)
        return mq_fail_memory(err, "looking at a calibration");
    for (size_t i = 0; i < c->texts_count; i++) {
        r->texts[i] = c->texts[i];
        r->texts[i].name = mq_arena_strdup(arena, c->texts[i].name);
        r->tokens += c->texts[i].tokens;
        if (!r->texts[i].name)
            return mq_fail_memory(err, "looking at a calibration");
    }
    r->texts_count = c->texts_count;
    return MOEQ_OK;
}

/* Where the sums are gathered: a calibration where it is to be, of which an imatrix is made beside it. Claims the
 * output for as long (the first process does). */
static moeq_status place(const struct mq_context *context, const struct mq_calibrate_output *output,
                         char path[PATH_MAX], struct mq_claim *claim, moeq_error *err)
{
    const bool imatrix = mq_ends_with(output->path, ".gguf");
    if (!mq_name_beside(output->path, imatrix ? ".sums" : "", path))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output->path, "path is too long");
    if (!imatrix)
        snprintf(path, PATH_MAX, "%s", output->path);
    return imatrix && mq_peers_first(context->peers) ? mq_claim_take(claim, output->path, err)
                                                     : MOEQ_OK;
}

/* Puts what was made under its name. */
static moeq_status put_out(struct mq_calibration_writer *whole,
                           const struct mq_calibrate_output *output, struct mq_claim *claim,
                           uint64_t *bytes, moeq_error *err)
{
    struct stat st;
    mq_claim_release(claim);
    if (mq_ends_with(output->path, ".gguf"))
        MQ_TRY(mq_calibration_to_imatrix(&whole->calibration, output->path, err));
    else
        MQ_TRY(mq_calibration_finish(whole, err));
    if (stat(output->path, &st) != 0)
        return mq_fail_errno(err, output->path, "cannot stat");
    *bytes = (uint64_t)st.st_size;
    return MOEQ_OK;
}

/* Looks at what was made, which all processes have, and puts it under its name, which the first one does. */
static moeq_status finish(const struct mq_context *context, struct mq_calibration_writer *whole,
                          const struct mq_calibration *apart,
                          const struct mq_calibrate_output *output, struct mq_claim *claim,
                          struct mq_calibrate_result *r, moeq_error *err)
{
    const struct mq_peers *peers = context->peers;
    MQ_TRY(mq_coverage_measure(&whole->calibration, apart, &r->coverage, err));
    MQ_TRY(describe(&whole->calibration, r, err));
    MQ_TRY(mq_peers_agree(peers, MOEQ_OK, err)); /* before there is a file */
    if (mq_peers_first(peers))
        MQ_TRY(put_out(whole, output, claim, &r->file_bytes, err));
    return mq_peers_broadcast(peers, &r->file_bytes, sizeof r->file_bytes, err);
}

/* The model's folder or file, for people. */
static const char *name_of(const struct mq_view *view, struct mq_arena *arena)
{
    size_t n = strlen(view->path), bad;
    while (n > 1 && view->path[n - 1] == '/')
        n--;
    const char *path = mq_arena_strndup(arena, view->path, n);
    const char *name = path ? mq_base_name(path) : NULL;
    return name && !mq_utf8_valid(name, strlen(name), &bad) ? "?" : name;
}

moeq_status mq_calibrate(const struct mq_context *context, const struct mq_calibrate_job *job,
                         struct mq_calibrate_result *result, moeq_error *err)
{
    struct mq_calibration_writer whole = MQ_CALIBRATION_WRITER_NONE,
                                 apart = MQ_CALIBRATION_WRITER_NONE;
    const struct mq_collect_options options = {.view = job->view,
                                               .windows = &job->windows,
                                               .held_out = job->held_out,
                                               .whole = &whole,
                                               .apart = job->held_out ? &apart : NULL};
    struct mq_arena *arena = mq_arena_create();
    struct mq_calibration_origin origin = {.view = job->view,
                                           .model_name = arena ? name_of(job->view, arena) : NULL,
                                           .texts = job->texts,
                                           .texts_count = job->texts_count};
    struct mq_claim claim = {0};
    char path[PATH_MAX], beside[PATH_MAX];
    moeq_status status;
    *result = (struct mq_calibrate_result){0};
    if (!origin.model_name) {
        status = mq_fail_memory(err, "preparing a calibration");
        goto out;
    }
    MQ_TRY_OUT(mq_refuse_output(job->view, NULL, job->output.path, err));
    MQ_TRY_OUT(mq_calibrate_check_output(&job->output, err));
    MQ_TRY_OUT(mq_model_fingerprint(context, job->view, &origin.fingerprint, err));
    MQ_TRY_OUT(place(context, &job->output, path, &claim, err));
    MQ_TRY_OUT(mq_calibration_create(context, &origin, path, &whole, err));
    if (job->held_out && mq_name_beside(path, ".apart", beside))
        MQ_TRY_OUT(mq_calibration_create(context, &origin, beside, &apart, err));
    MQ_TRY_OUT(mq_collect(context, &options, err));
    MQ_TRY_OUT(mq_calibration_share(&whole, context->peers, err));
    if (job->held_out)
        MQ_TRY_OUT(mq_calibration_share(&apart, context->peers, err));
    MQ_TRY_OUT(finish(context, &whole, job->held_out ? &apart.calibration : NULL, &job->output,
                      &claim, result, err));
out:
    mq_claim_release(&claim);
    mq_calibration_writer_free(&whole);
    mq_calibration_writer_free(&apart);
    mq_arena_destroy(arena);
    if (status != MOEQ_OK)
        mq_calibrate_result_free(result);
    return status;
}

/* Twice the same text counts twice, which is not what anyone wants. */
static moeq_status refuse_twice(struct mq_calibration *const *parts, size_t count, moeq_error *err)
{
    for (size_t b = 1; b < count; b++)
        for (size_t a = 0; a < b; a++)
            for (size_t i = 0; i < parts[a]->texts_count; i++)
                for (size_t j = 0; j < parts[b]->texts_count; j++) {
                    const struct mq_calibration_text *x = &parts[a]->texts[i],
                                                     *y = &parts[b]->texts[j];
                    if (x->ids_crc32 == y->ids_crc32 && x->tokens == y->tokens)
                        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, parts[b]->path,
                                            "has the same %" PRIu64 " tokens of '%s' as %s: they "
                                            "would count twice",
                                            y->tokens, y->name, parts[a]->path);
                }
    return MOEQ_OK;
}

moeq_status mq_calibrate_merge(const struct mq_context *context, const char *const *paths,
                               size_t count, const struct mq_calibrate_output *output,
                               struct mq_calibrate_result *result, moeq_error *err)
{
    struct mq_calibration_writer whole = MQ_CALIBRATION_WRITER_NONE;
    struct mq_calibration **parts = calloc(count + 1, sizeof *parts);
    struct mq_claim claim = {0};
    char path[PATH_MAX];
    bool is_imatrix;
    moeq_status status = MOEQ_OK;
    *result = (struct mq_calibrate_result){0};
    if (!parts)
        return mq_fail_memory(err, "merging calibrations");
    for (size_t i = 0; i < count; i++) {
        if (mq_same_file(paths[i], output->path)) {
            status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output->path,
                                  "the output would replace an input; choose another name");
            goto out;
        }
        MQ_TRY_OUT(mq_is_imatrix(paths[i], &is_imatrix, err));
        if (is_imatrix) {
            status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, paths[i],
                                  "is an importance matrix, whose rounded means are not added up: "
                                  "--merge takes files of moeq calibrate");
            goto out;
        }
        MQ_TRY_OUT(mq_calibration_open(context, paths[i], &parts[i], err));
    }
    MQ_TRY_OUT(mq_calibrate_check_output(output, err));
    MQ_TRY_OUT(refuse_twice(parts, count, err));
    MQ_TRY_OUT(place(context, output, path, &claim, err));
    MQ_TRY_OUT(mq_calibration_merge(context, parts, count, &whole, path, err));
    for (size_t i = 0; i < count; i++)
        MQ_TRY_OUT(mq_calibration_check_unchanged(parts[i], err));
    MQ_TRY_OUT(finish(context, &whole, NULL, output, &claim, result, err));
out:
    mq_claim_release(&claim);
    mq_calibration_writer_free(&whole);
    for (size_t i = 0; i < count; i++)
        mq_calibration_close(parts[i]);
    free(parts);
    if (status != MOEQ_OK)
        mq_calibrate_result_free(result);
    return status;
}

void mq_calibrate_result_free(struct mq_calibrate_result *result)
{
    mq_coverage_free(&result->coverage);
    *result = (struct mq_calibrate_result){0};
}
