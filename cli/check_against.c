/*
 * check_against.c: see the header.
 *
 * How OUT was made is read from OUT: its tensors' levels, how its source was read, effort, and what guided encoders. What is too
 * large to be recorded (a text, a calibration) must be given, and must be the one that is recorded.
 */
#include "check_against.h"

#include "against.h"
#include "calibrated_option.h"
#include "check_json.h"
#include "error.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "safetensors.h"
#include "sums_list.h"
#include "stored.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct mq_options options; /* with what the file says of its effort */
    struct mq_view *output, *source;
    bool gguf;
    char calibrated[MQ_CALIBRATED_SENTENCE], importance[NAME_MAX + 1]; /* as recorded; "" */
    char effort[32];
    const struct mq_level **levels;
    struct mq_source_list *sums;
    struct mq_policy policy;
    struct mq_calibrated_option option;
    struct mq_plan *plan;
    struct mq_against_result result;
    moeq_error err;
};

/* ---- how it was made ---- */

/* What stands behind "key=" in the text of a recipe, up to `end`. */
static void take(const char *recipe, const char *key, const char *end, char *value, size_t room)
{
    const char *at = recipe ? strstr(recipe, key) : NULL;
    value[0] = '\0';
    if (!at)
        return;
    at += strlen(key);
    const char *stop = strstr(at, end);
    snprintf(value, room, "%.*s", stop ? (int)(stop - at) : (int)strlen(at), at);
}

static void read_recipe(struct job *job)
{
    const char *const *m = job->output->metadata;
    const char *recipe = m ? mq_metadata_get(m, MQ_META_RECIPE) : NULL;
    take(recipe, "effort=", ";", job->effort, sizeof job->effort);
    take(recipe, "; calibrated=", "; importance=", job->calibrated, sizeof job->calibrated);
    take(recipe, "; importance=", "\n", job->importance, sizeof job->importance);
    job->policy.allow_nonfinite = job->gguf || (recipe && strstr(recipe, "; nonfinite=allowed"));
}

/* The source is read as the file says it was, unless the command line says otherwise. */
static moeq_status open_source(struct job *job)
{
    struct mq_open_options open = mq_option_open(&job->options);
    const struct mq_open_options *made = &job->output->options;
    if (!open.ignored_keys_count) {
        open.ignored_keys = made->ignored_keys;
        open.ignored_keys_count = made->ignored_keys_count;
    }
    if (open.sliding_window == MQ_WINDOW_DEFAULT)
        open.sliding_window = made->sliding_window;
    if (open.lm_head == MQ_HEAD_DEFAULT)
        open.lm_head = made->lm_head;
    return mq_model_open_with(job->options.against, &open, &job->source, &job->err);
}

/* Each tensor's level is what the output has; of routers and norms of GGUF files the format's own. */
static moeq_status read_levels(struct job *job)
{
    const struct mq_view *s = job->source;
    job->levels = calloc(s->tensors_count + 1, sizeof *job->levels);
    if (!job->levels)
        return mq_fail_memory(&job->err, "comparing files");
    for (size_t i = 0; i < s->tensors_count; i++) {
        const struct mq_tensor *t = &s->tensors[i];
        const struct mq_tensor *o = mq_view_find(job->output, t->role, t->layer, t->expert);
        if (o && (!job->gguf || mq_view_class(s, t->role) != MQ_CLASS_KEEP))
            job->levels[i] = mq_level_of_storage(o->storage);
    }
    job->policy.chosen = job->levels;
    job->policy.chosen_by = "as stored";
    return MOEQ_OK;
}

/* Recipes are for original models. */
static bool has_blocks(const struct mq_view *v)
{
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_level *level = mq_level_of_storage(v->tensors[i].storage);
        if (!level || level->quantized)
            return true;
    }
    return false;
}

/* A GGUF file says which mix it is by a number. */
static void read_file_type(struct job *job)
{
    const char *const *m = job->output->metadata;
    const char *type = job->gguf && m ? mq_metadata_get(m, "general.file_type") : NULL;
    const bool blocks = type && has_blocks(job->source);
    for (size_t i = 0; type && !blocks && i < mq_recipes_count; i++)
        if (mq_recipes[i].gguf_file_type && mq_recipes[i].gguf_file_type == strtoul(type, NULL, 10))
            job->policy.recipe = &mq_recipes[i];
    if (job->gguf && (!m || !mq_metadata_get(m, MQ_META_RECIPE)))
        job->policy.chosen_by = NULL;
}

static moeq_status find_effort(struct job *job)
{
    const char *name = job->options.effort && strcmp(job->options.effort, MQ_EFFORT_CALIBRATED) != 0
                           ? job->options.effort
                       : job->effort[0] ? job->effort
                                        : "default";
    if (mq_effort_find(name, &job->policy.effort))
        return MOEQ_OK;
    return mq_fail_file(&job->err, MOEQ_INVALID_ARGUMENT, job->output->path,
                        "effort '%s': expected default or best", name);
}

/* What it needs beside the source, and whether that is what is given. */
static moeq_status read_guides(struct job *job)
{
    const struct mq_options *o = &job->options;
    const char *path = job->output->path;
    if (job->calibrated[0] && !mq_calibrated_option_text(o))
        return mq_fail_file(&job->err, MOEQ_INVALID_ARGUMENT, path,
                            "was calibrated by %s: give that text (--text, --ids, --tokens, "
                            "--context, as to the command that made it)",
                            job->calibrated);
    if (job->importance[0] && !o->calibration)
        return mq_fail_file(&job->err, MOEQ_INVALID_ARGUMENT, path,
                            "was made with the calibration %s: give it (--calibration FILE)",
                            job->importance);
    job->options.effort = job->calibrated[0] ? MQ_EFFORT_CALIBRATED : NULL;
    MQ_TRY(mq_calibrated_option_read(o, job->source, NULL, &job->option, &job->policy, &job->err));
    if (job->calibrated[0] && strcmp(job->calibrated, job->option.sentence) != 0)
        return mq_fail_file(&job->err, MOEQ_INVALID_ARGUMENT, path,
                            "was calibrated by %s; what is given is %s", job->calibrated,
                            job->option.sentence);
    char found[NAME_MAX + 1] = "";
    if (job->option.importance)
        snprintf(found, sizeof found, "%s %08" PRIx32, mq_importance_name(job->option.importance),
                 mq_importance_fingerprint(job->option.importance));
    if (job->importance[0] && !mq_ends_with(job->importance, found + (strlen(found) - 8)))
        return mq_fail_file(&job->err, MOEQ_INVALID_ARGUMENT, path,
                            "was made with the calibration %s; what is given is %s",
                            job->importance, found);
    job->option.run.options.keep_seconds = -1; /* nothing is written */
    return MOEQ_OK;
}

/* Sums that the file has of its source, where they are of these files. */
static moeq_status read_sums(struct job *job)
{
    const char *const *m = job->output->metadata;
    const char *text = m ? mq_metadata_get(m, MQ_META_SOURCE_SUMS) : NULL;
    struct mq_view *s = job->source;
    struct mq_sums sums;
    if (!text)
        return MOEQ_OK;
    MQ_TRY(mq_sums_parse(job->output->path, text, strlen(text), s->arena, &sums, &job->err));
    const char **files = mq_arena_alloc(s->arena, s->files_count, sizeof *files);
    struct mq_source_list *list = mq_arena_alloc(s->arena, 1, sizeof *list);
    if (!files || !list)
        return mq_fail_memory(&job->err, "comparing files");
    for (size_t i = 0; i < s->files_count; i++) {
        for (size_t k = 0; k < sums.count && !files[i]; k++)
            if (strcmp(sums.rows[k].name, s->files[i].name) == 0)
                files[i] = sums.rows[k].sha256;
        if (!files[i])
            return MOEQ_OK; /* of others, which mq_against says */
    }
    *list = (struct mq_source_list){job->output->path, files, text, s->files_count};
    job->policy.source_sums = list;
    return MOEQ_OK;
}

static moeq_status prepare(struct job *job)
{
    MQ_TRY(mq_open_model(&job->options, job->options.positional[0], &job->output, &job->err));
    job->gguf = job->output->kind == MQ_VIEW_GGUF;
    if (!job->gguf && job->output->kind != MQ_VIEW_MOEQ)
        return mq_fail_file(&job->err, MOEQ_INVALID_ARGUMENT, job->output->path,
                            "is a %s: expected what moeq has made of %s, a moeq or GGUF file",
                            mq_view_kind_title(job->output->kind), job->options.against);
    read_recipe(job);
    MQ_TRY(open_source(job));
    MQ_TRY(find_effort(job));
    MQ_TRY(read_levels(job));
    read_file_type(job);
    MQ_TRY(read_guides(job));
    return read_sums(job);
}

/* ---- the comparison ---- */

static moeq_status compare(struct job *job, const struct mq_context *context)
{
    const struct mq_gguf_options how = {.unify_up = true};
    const struct mq_convert_encoder encoder = {.user = &job->option.run, .run = mq_calibrated_run};
    job->option.run.context = context;
    if (job->gguf)
        MQ_TRY(mq_plan_create_gguf(job->source, &job->policy, &how, &job->plan, &job->err));
    else
        MQ_TRY(mq_convert_plan(context, job->source, &job->policy, NULL, 0, &job->plan, &job->err));
    return mq_against(context, job->output, job->plan, job->gguf,
                      job->option.given ? &encoder : NULL, &job->result, &job->err);
}

static void print_difference(const struct mq_against_difference *d)
{
    char expert[32] = "";
    if (d->expert >= 0)
        snprintf(expert, sizeof expert, "expert %" PRId64 ", ", d->expert);
    if (d->why)
        mq_print_line(2, "different: %s: %s", d->tensor, d->why);
    else
        mq_print_line(2,
                      "different: %s (%srow %" PRIu64 "): %" PRIu64 " of %" PRIu64
                      " bytes, the first at byte %" PRIu64 " of %s",
                      d->tensor, expert, d->row, d->bytes, d->size_bytes, d->offset, d->file);
}

static enum mq_exit print(const struct job *job, double seconds)
{
    const struct mq_against_result *r = &job->result;
    char tensors[64], size[32], time[32];
    for (size_t i = 0; i < r->notes_count; i++)
        mq_print_note(&job->options, r->notes[i]);
    for (size_t i = 0; i < r->listed_count; i++)
        print_difference(&r->differences[i]);
    if (r->different > r->listed_count)
        printf("and %" PRIu64 " more\n", r->different - r->listed_count);
    for (size_t i = 0; i < r->keys_count; i++)
        mq_print_line(2, "different: key %s: expected %s, found %s", r->keys[i].key,
                      r->keys[i].expected ? r->keys[i].expected : "none",
                      r->keys[i].found ? r->keys[i].found : "none");
    if (mq_against_equal(r) && !job->options.quiet)
        mq_print_line(2, "%s: is what %s gives: %s, %s, every byte the same (%s)",
                      job->output->path, job->source->path,
                      mq_counted(r->tensors, "tensor", tensors), mq_format_bytes(r->bytes, size),
                      mq_format_seconds(seconds, time));
    return mq_finish_output();
}

static enum mq_exit run(struct job *job)
{
    struct mq_job_ui ui;
    const double start = mq_now_seconds();
    moeq_status status = prepare(job);
    if (status == MOEQ_OK && !mq_job_begin(&job->options, &ui))
        return MQ_EXIT_USAGE;
    if (status == MOEQ_OK) {
        status = compare(job, &ui.context);
        mq_job_end(&ui);
    }
    if (status != MOEQ_OK) {
        const enum mq_exit code = mq_report(&job->err);
        return code == MQ_EXIT_INTERRUPTED ? code : MQ_EXIT_USAGE;
    }
    if (!job->options.json)
        mq_print_notes(&job->options, job->source);
    const enum mq_exit code =
        job->options.json ? mq_print_json(mq_against_json(job->output, job->source, &job->result))
                          : print(job, mq_now_seconds() - start);
    return mq_against_status(job->output, &job->result, &job->err) == MOEQ_OK
               ? code
               : mq_report(&job->err);
}

enum mq_exit mq_check_against(const struct mq_options *options)
{
    struct job job = {.options = *options};
    const enum mq_exit code = run(&job);
    mq_against_free(&job.result);
    mq_plan_free(job.plan);
    mq_calibrated_option_free(&job.option);
    free(job.levels);
    mq_view_close(job.source);
    mq_view_close(job.output);
    return code;
}
