/* moeq_api.c: the installed C API over everything else. */
#include "moeq.h"

#include "calibrated.h"
#include "calibration_importance.h"
#include "token_profile.h"
#include "convert.h"
#include "error.h"
#include "evaluation_needs.h"
#include "fit_target.h"
#include "integrity.h"
#include "open_options.h"
#include "moeq_index.h"
#include "perplexity.h"
#include "record.h"
#include "report.h"
#include "check_json.h"
#include "comparison_json.h"
#include "result_json.h"
#include "spellings.h"
#include "stored.h"
#include "tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct moeq_model {
    struct mq_view *view;
    struct mq_tokenizer *tokenizer; /* NULL if the model has none */
};

const char *moeq_version(void)
{
    return MOEQ_VERSION_STRING;
}

void moeq_free(void *memory)
{
    free(memory);
}

/* Copies a caller's option struct of any version: what its struct_size does not cover is zero. */
static moeq_status read_options(void *options, size_t size, const void *caller, moeq_error *err)
{
    memset(options, 0, size);
    if (!caller)
        return MOEQ_OK;
    size_t given;
    memcpy(&given, caller, sizeof given);
    if (given < sizeof given)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "an option struct's struct_size is not set");
    memcpy(options, caller, given < size ? given : size);
    return MOEQ_OK;
}

/* ---- jobs ---- */

/* A context and what its progress callback needs. */
struct job {
    struct mq_context context;
    moeq_job options;
    atomic_bool cancel;
};

static void on_progress(void *user, const struct mq_progress *p)
{
    struct job *job = user;
    if (!job->options.progress(job->options.progress_user, p->phase, p->unit, p->done, p->total))
        atomic_store(&job->cancel, true);
}

static moeq_status job_begin(struct job *job, const moeq_job *options, moeq_error *err)
{
    memset(job, 0, sizeof *job);
    MQ_TRY(read_options(&job->options, sizeof job->options, options, err));
    atomic_init(&job->cancel, false);
    job->context.isa = mq_isa_detect();
    job->context.threads = job->options.threads ? job->options.threads : mq_cpu_count();
    job->context.memory_bytes = job->options.memory_bytes;
    job->context.cancel = &job->cancel;
    if (job->options.progress) {
        job->context.progress = on_progress;
        job->context.progress_user = job;
    }
    return MOEQ_OK;
}

/* Takes a JSON tree as text. */
static moeq_status take_json(cJSON *tree, char **text, moeq_error *err)
{
    char *printed = tree ? cJSON_Print(tree) : NULL;
    cJSON_Delete(tree);
    *text = printed ? strdup(printed) : NULL; /* cJSON's allocator need not be ours */
    cJSON_free(printed);
    return *text ? MOEQ_OK : mq_fail_memory(err, "printing a report");
}

/* ---- models ---- */

static moeq_status read_open_options(const moeq_open_options *given, struct mq_open_options *open,
                                     moeq_error *err)
{
    moeq_open_options o;
    MQ_TRY(read_options(&o, sizeof o, given, err));
    *open = (struct mq_open_options){.ignored_keys = o.ignore_config,
                                     .ignored_keys_count = o.ignore_config_count};
    if (o.sliding_window && !mq_window_choice_find(o.sliding_window, &open->sliding_window))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "sliding_window '%.40s': expected apply or ignore", o.sliding_window);
    if (o.lm_head && !mq_head_choice_find(o.lm_head, &open->lm_head))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "lm_head '%.40s': expected stored or tied",
                       o.lm_head);
    return MOEQ_OK;
}

moeq_status moeq_model_open(const char *path, moeq_model **model, moeq_error *err)
{
    return moeq_model_open_with(path, NULL, model, err);
}

const char *moeq_model_note(const moeq_model *model, size_t number)
{
    return number < model->view->notes_count ? model->view->notes[number] : NULL;
}

moeq_status moeq_model_open_with(const char *path, const moeq_open_options *options,
                                 moeq_model **out, moeq_error *err)
{
    struct mq_open_options open;
    *out = NULL;
    MQ_TRY(read_open_options(options, &open, err));
    moeq_model *model = calloc(1, sizeof *model);
    if (!model)
        return mq_fail_memory(err, "opening a model");
    moeq_status status = mq_model_open_with(path, &open, &model->view, err);
    if (status == MOEQ_OK && model->view->side[MQ_SIDE_TOKENIZER].size)
        status = mq_tokenizer_load(model->view->side[MQ_SIDE_TOKENIZER].data,
                                   model->view->side[MQ_SIDE_TOKENIZER].size, path,
                                   &model->tokenizer, err);
    if (status != MOEQ_OK) {
        moeq_model_close(model);
        return status;
    }
    *out = model;
    return MOEQ_OK;
}

void moeq_model_close(moeq_model *model)
{
    if (!model)
        return;
    mq_tokenizer_free(model->tokenizer);
    mq_view_close(model->view);
    free(model);
}

moeq_status moeq_tokenize(const moeq_model *model, const char *text, size_t n,
                          bool add_special_tokens, int32_t **ids, size_t *count, moeq_error *err)
{
    struct mq_ids found = {0};
    *ids = NULL;
    *count = 0;
    if (!model->tokenizer)
        return mq_fail_file(err, MOEQ_NOT_FOUND, model->view->path, "holds no tokenizer.json");
    const moeq_status status =
        mq_tokenizer_encode(model->tokenizer, text, n, add_special_tokens, &found, err);
    if (status != MOEQ_OK) {
        mq_ids_free(&found);
        return status;
    }
    *ids = found.data;
    *count = found.size;
    return MOEQ_OK;
}

/* ---- conversion ---- */

/* A level or a recipe, as people call them. */
static moeq_status find_name(const char *what, const char *name, struct mq_named *named,
                             moeq_error *err)
{
    if (!mq_name_find(name, named))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "unknown %s '%s'", what, name);
    if (!named->level && !named->recipe)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s '%s' %s", what, name, named->say);
    return MOEQ_OK;
}

static moeq_status find_level(const char *name, const struct mq_level **level, moeq_error *err)
{
    struct mq_named named;
    MQ_TRY(find_name("level", name, &named, err));
    *level = named.level;
    return *level ? MOEQ_OK
                  : mq_fail(err, MOEQ_INVALID_ARGUMENT, "'%s' is a mix, no level", name);
}

static moeq_status find_effort(const char *name, enum mq_effort *effort, moeq_error *err)
{
    if (name && strcmp(name, MQ_EFFORT_CALIBRATED) == 0)
        name = NULL; /* of first scales, and of what is not calibrated */
    return !name || mq_effort_find(name, effort)
               ? MOEQ_OK
               : mq_fail(err, MOEQ_INVALID_ARGUMENT, "unknown effort '%s'", name);
}

/* Of an array of structs: its stride is the caller's struct_size, not ours. */
static const moeq_recipe *recipe_at(const moeq_recipe *recipes, size_t i)
{
    return (const moeq_recipe *)((const char *)recipes + i * recipes->struct_size);
}

/* Levels of classes beside what a level's default has. */
static moeq_status put_classes(const moeq_recipe *recipe, struct mq_policy *policy, moeq_error *err)
{
    if (recipe->shared)
        MQ_TRY(find_level(recipe->shared, &policy->levels[MQ_CLASS_SHARED], err));
    if (recipe->attention)
        MQ_TRY(find_level(recipe->attention, &policy->levels[MQ_CLASS_ATTENTION], err));
    if (recipe->embeddings)
        MQ_TRY(find_level(recipe->embeddings, &policy->levels[MQ_CLASS_EMBEDDINGS], err));
    return MOEQ_OK;
}

static moeq_status make_policy(const moeq_recipe *caller, struct mq_policy *policy, moeq_error *err)
{
    moeq_recipe recipe;
    struct mq_named named;
    MQ_TRY(read_options(&recipe, sizeof recipe, caller, err));
    if (recipe.model)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a stored model in a recipe's place is for moeq_sweep alone");
    if (!recipe.mix && !recipe.level)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a recipe needs a level");
    MQ_TRY(find_name(recipe.mix ? "mix" : "level", recipe.mix ? recipe.mix : recipe.level, &named,
                     err));
    if ((recipe.mix && recipe.level) ||
        (named.recipe && (recipe.attention || recipe.embeddings || recipe.shared)))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a mix and levels exclude each other");
    *policy = named.recipe ? mq_policy_of_recipe(named.recipe) : mq_policy_default(named.level);
    policy->allow_nonfinite = recipe.allow_nonfinite;
    MQ_TRY(put_classes(&recipe, policy, err));
    return find_effort(recipe.effort, &policy->effort, err);
}

static moeq_status read_text(const moeq_text *caller, moeq_text *text,
                             struct mq_protocol_options *protocol, enum mq_compute *compute,
                             moeq_error *err)
{
    *compute = MQ_COMPUTE_F32;
    MQ_TRY(read_options(text, sizeof *text, caller, err));
    if (!text->path)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a text needs a path");
    *protocol = (struct mq_protocol_options){.context = text->context, .max_tokens = text->tokens};
    if (text->protocol && !mq_protocol_find(text->protocol, &protocol->protocol))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "unknown protocol '%s'", text->protocol);
    if (text->compute && !mq_compute_find(text->compute, compute))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "compute '%s': expected f32 or int8",
                       text->compute);
    return MOEQ_OK;
}

/* A recipe's policy, and what it stands on. */
struct quantizing {
    struct mq_policy policy;
    uint64_t shard_bytes;
    struct mq_importance *importance;
    struct mq_text text;
    struct mq_text_windows windows;
    struct mq_buffer profiles; /* its tokens, a list as of token_profile.h */
    char sentence[MQ_CALIBRATED_SENTENCE];
    struct mq_calibrated run;
    struct mq_convert_encoder encoder; /* run NULL: the usual one */
};

static void quantizing_free(struct quantizing *q)
{
    mq_text_free(&q->text);
    mq_text_windows_free(&q->windows);
    mq_buffer_free(&q->profiles);
    mq_importance_destroy(q->importance);
}

static moeq_status read_calibrated(const struct mq_context *context, const struct mq_view *view,
                                   const moeq_recipe *recipe, struct quantizing *q, moeq_error *err)
{
    moeq_text text;
    struct mq_protocol_options protocol;
    enum mq_compute compute;
    if (!recipe->effort || strcmp(recipe->effort, MQ_EFFORT_CALIBRATED) != 0)
        return recipe->text ? mq_fail(err, MOEQ_INVALID_ARGUMENT,
                                      "a recipe's text is for effort \"calibrated\"")
                            : MOEQ_OK;
    if (!recipe->text)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "effort \"calibrated\" needs a text");
    MQ_TRY(read_text(recipe->text, &text, &protocol, &compute, err));
    MQ_TRY(mq_text_read(&text.path, 1, &q->text, err));
    MQ_TRY(mq_protocol_text(&protocol, view, &q->text, &q->windows, err));
    q->run =
        (struct mq_calibrated){.context = context,
                               .view = view,
                               .windows = &q->windows.windows,
                               .options = {.feedback = {.effort = q->policy.effort, .passes = -1}}};
    q->run.options.columns = mq_calibrated_columns(&q->run);
    mq_calibrated_sentence(&q->run, q->windows.ids_crc32, q->sentence);
    q->policy.calibration = q->sentence;
    MQ_TRY(mq_profile_add(&q->profiles, text.path, q->windows.ids,
                          q->windows.windows.count * q->windows.windows.length, view->hparams.vocab,
                          err));
    mq_profile_end(&q->profiles);
    if (!mq_buffer_ok(&q->profiles))
        return mq_fail_memory(err, "reading a text");
    q->policy.calibrated_on = q->profiles.data;
    q->encoder = (struct mq_convert_encoder){.user = &q->run, .run = mq_calibrated_run};
    return MOEQ_OK;
}

/* To be freed even if it fails. */
static moeq_status quantizing_begin(const struct mq_context *context, const moeq_model *model,
                                    const moeq_recipe *caller, struct quantizing *q,
                                    moeq_error *err)
{
    moeq_recipe recipe; /* of whatever version the caller's is */
    *q = (struct quantizing){0};
    if (!caller)
        return MOEQ_OK;
    MQ_TRY(make_policy(caller, &q->policy, err));
    MQ_TRY(read_options(&recipe, sizeof recipe, caller, err));
    q->shard_bytes = recipe.shard_bytes;
    if (recipe.calibration)
        MQ_TRY(mq_calibration_importance(context, recipe.calibration, model->view, &q->importance,
                                         err));
    q->policy.importance = q->importance;
    return read_calibrated(context, model->view, &recipe, q, err);
}

moeq_status moeq_plan_bytes(const moeq_model *model, const moeq_recipe *recipe, uint64_t *bytes,
                            moeq_error *err)
{
    struct job job;
    struct quantizing q;
    struct mq_plan *plan = NULL;
    MQ_TRY(job_begin(&job, NULL, err));
    if (!recipe)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a recipe needs a level");
    moeq_status status = quantizing_begin(&job.context, model, recipe, &q, err);
    if (status == MOEQ_OK)
        status =
            mq_convert_plan(&job.context, model->view, &q.policy, NULL, q.shard_bytes, &plan, err);
    if (status == MOEQ_OK)
        *bytes = plan->output_bytes;
    mq_plan_free(plan);
    quantizing_free(&q);
    return status;
}

/* A moeq file, or a GGUF file if there is a format. */
static moeq_status write_quantized(struct job *job, const moeq_model *model,
                                   const moeq_recipe *recipe, const struct mq_gguf_options *format,
                                   bool allow_nonfinite, const char *output, bool replace,
                                   moeq_error *err)
{
    struct quantizing q;
    struct mq_plan *plan = NULL;
    struct mq_convert_result result;
    moeq_status status = quantizing_begin(&job->context, model, recipe, &q, err);
    q.policy.allow_nonfinite |= allow_nonfinite;
    if (status == MOEQ_OK)
        status = mq_convert_plan(&job->context, model->view, &q.policy, format,
                                 format ? 0 : q.shard_bytes, &plan, err);
    const struct mq_convert_options how = {
        .output = output, .replace = replace, .encoder = q.encoder.run ? &q.encoder : NULL};
    if (status == MOEQ_OK)
        status = mq_convert(&job->context, plan, &how, &result, err);
    mq_plan_free(plan);
    quantizing_free(&q);
    return status;
}

moeq_status moeq_convert(const moeq_model *model, const moeq_recipe *recipe, const char *output,
                         bool replace, const moeq_job *options, moeq_error *err)
{
    struct job job;
    MQ_TRY(job_begin(&job, options, err));
    if (!recipe)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a recipe needs a level");
    return write_quantized(&job, model, recipe, NULL, false, output, replace, err);
}

moeq_status moeq_export_gguf(const moeq_model *model, const moeq_recipe *recipe,
                             const moeq_gguf *caller, const char *output, bool replace,
                             const moeq_job *options, moeq_error *err)
{
    struct job job;
    moeq_gguf gguf;
    MQ_TRY(job_begin(&job, options, err));
    MQ_TRY(read_options(&gguf, sizeof gguf, caller, err));
    const struct mq_gguf_options format = {gguf.unify_up, gguf.split_bytes};
    return write_quantized(&job, model, recipe, &format, gguf.allow_nonfinite, output, replace,
                           err);
}

static moeq_status check_shards(const struct mq_context *context, const char *index, char **report,
                                moeq_error *err)
{
    struct mq_shards_result result;
    MQ_TRY(mq_shards_check(context, index, &result, err));
    moeq_status status = take_json(mq_shards_json(&result), report, err);
    if (status == MOEQ_OK)
        status = mq_shards_status(&result, err);
    mq_shards_free(&result);
    return status;
}

moeq_status moeq_check(const char *path, const moeq_job *options, char **report, moeq_error *err)
{
    struct job job;
    char index[PATH_MAX];
    struct mq_integrity_result result = {0};
    *report = NULL;
    MQ_TRY(job_begin(&job, options, err));
    MQ_TRY(mq_moeq_index_find(path, index, sizeof index, err));
    if (index[0])
        return check_shards(&job.context, index, report, err);
    moeq_status status = mq_integrity_check(&job.context, path, &result, err);
    if (status == MOEQ_OK)
        status = take_json(mq_integrity_json(&result), report, err);
    if (status == MOEQ_OK)
        status = mq_integrity_status(&result, err);
    mq_integrity_free(&result);
    return status;
}

/* ---- evaluation ---- */

moeq_status moeq_eval(const moeq_model *model, const moeq_text *caller, const moeq_job *options,
                      char **report, moeq_error *err)
{
    struct job job;
    moeq_text text;
    struct mq_protocol_options protocol;
    enum mq_compute compute;
    struct mq_eval_result result = {0};
    struct mq_text source = {0};
    *report = NULL;
    MQ_TRY(job_begin(&job, options, err));
    MQ_TRY(read_text(caller, &text, &protocol, &compute, err));
    moeq_status status = mq_text_read(&text.path, 1, &source, err);
    if (status == MOEQ_OK)
        status = mq_eval_text(&job.context, model->view, &source, &protocol, compute, &result, err);
    if (status == MOEQ_OK)
        status = take_json(mq_eval_json(&result), report, err);
    mq_eval_result_free(&result);
    mq_text_free(&source);
    return status;
}

/* What a recipe of moeq_sweep stands for: a way to quantize, or a stored model. */
static moeq_status make_candidate(const moeq_model *source, const moeq_recipe *caller, size_t files,
                                  struct mq_candidate *candidate, moeq_error *err)
{
    moeq_recipe recipe;
    MQ_TRY(read_options(&recipe, sizeof recipe, caller, err));
    if (recipe.calibration || recipe.text)
        return mq_fail(
            err, MOEQ_INVALID_ARGUMENT,
            "moeq_sweep does not calibrate: it judges the file that moeq_convert makes so");
    if (!recipe.model) {
        candidate->name = recipe.level ? recipe.level : recipe.mix;
        return make_policy(caller, &candidate->policy, err);
    }
    *candidate = (struct mq_candidate){.name = mq_file_letter(files), .file = recipe.model->view};
    if (recipe.level || recipe.mix)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a stored model and a level exclude each other");
    return mq_same_model(candidate->file, source->view)
               ? mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s is the original itself",
                         candidate->file->path)
               : MOEQ_OK;
}

static moeq_status make_candidates(const moeq_model *source, const moeq_recipe *recipes,
                                   size_t count, struct mq_candidate *candidates, moeq_error *err)
{
    size_t files = 0;
    for (size_t i = 0; i < count; i++) {
        MQ_TRY(make_candidate(source, recipe_at(recipes, i), files, &candidates[i], err));
        files += candidates[i].file != NULL;
    }
    return MOEQ_OK;
}

moeq_status moeq_sweep(const moeq_model *model, const moeq_text *caller, const moeq_recipe *recipes,
                       size_t count, const moeq_job *options, char **report, moeq_error *err)
{
    struct job job;
    moeq_text text;
    struct mq_comparison_options how = {0};
    enum mq_compute compute;
    struct mq_comparison result = {0};
    struct mq_text source = {0};
    const struct mq_baseline baseline = mq_baseline_of(model->view);
    *report = NULL;
    MQ_TRY(job_begin(&job, options, err));
    MQ_TRY(read_text(caller, &text, &how.protocol, &compute, err));
    how.int8 = compute == MQ_COMPUTE_INT8;
    how.text = &source;
    struct mq_candidate *candidates = calloc(count + 1, sizeof *candidates);
    if (!candidates)
        return mq_fail_memory(err, "preparing a sweep");
    moeq_status status = make_candidates(model, recipes, count, candidates, err);
    if (status == MOEQ_OK)
        status = mq_text_read(&text.path, 1, &source, err);
    if (status == MOEQ_OK)
        status = mq_compare(&job.context, &baseline, candidates, count, &how, &result, err);
    if (status == MOEQ_OK)
        status = take_json(mq_sweep_json(&result, NULL), report, err);
    mq_comparison_free(&result);
    mq_text_free(&source);
    free(candidates);
    return status;
}

/* A text that may be missing: a recording has its own. */
static moeq_status read_verify_text(const moeq_text *caller, moeq_text *text,
                                    struct mq_comparison_options *how, struct mq_text *source,
                                    moeq_error *err)
{
    if (!caller)
        return MOEQ_OK;
    MQ_TRY(read_text(caller, text, &how->protocol, &how->compute, err));
    how->has_compute = text->compute != NULL;
    how->text = source;
    return mq_text_read(&text->path, 1, source, err);
}

/* What a gate's limits and files are, from a caller's struct; nothing if there is none. */
static moeq_status read_gate(const moeq_gate *caller, moeq_gate *options, struct mq_gate **gate,
                             moeq_error *err)
{
    MQ_TRY(read_options(options, sizeof *options, caller, err));
    if (options->margin == 0)
        options->margin = 0.1;
    if (!(options->margin > 0 && options->margin <= 10))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "margin %g: expected above 0, at most 10",
                       options->margin);
    if ((options->junit || options->all) && !options->limits)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a judgement needs a gate's limits");
    return options->limits ? mq_gate_read(options->limits, gate, err) : MOEQ_OK;
}

static moeq_status resolve_gate(struct mq_gate *gate, bool all, const struct mq_view *view,
                                size_t models, moeq_error *err)
{
    MQ_TRY(mq_gate_resolve(gate, view, models > 1, err));
    return all ? mq_gate_for_all(gate, models, err) : MOEQ_OK;
}

static moeq_status check_gate(void *gate, const struct mq_comparison *result, moeq_error *err)
{
    return mq_gate_check(gate, result, err);
}

/* What is made of a comparison: a judgement and files. */
static moeq_status conclude_gate(struct mq_gate *gate, const moeq_gate *options,
                                 const struct mq_comparison *result, moeq_error *err)
{
    if (gate)
        MQ_TRY(mq_gate_judge(gate, result, err));
    if (options->junit)
        MQ_TRY(mq_gate_write_junit(options->junit, gate, result, err));
    return options->write ? mq_gate_write(options->write, result, options->margin, err) : MOEQ_OK;
}

moeq_status moeq_verify_gate(const moeq_model *const *models, size_t count, const char *against,
                             const moeq_text *caller, const moeq_gate *limits,
                             const moeq_job *options, size_t *broken, char **report,
                             moeq_error *err)
{
    struct job job;
    moeq_text text;
    moeq_gate wanted;
    struct mq_gate *gate = NULL;
    struct mq_comparison_options how = {0};
    struct mq_comparison result = {0};
    struct mq_text source = {0};
    struct mq_baseline baseline = {0};
    struct mq_candidate candidates[MQ_CANDIDATES_MAX] = {{0}};
    *report = NULL;
    *broken = 0;
    if (count < 1 || count > MQ_CANDIDATES_MAX)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%zu models: expected 1 to %d", count,
                       MQ_CANDIDATES_MAX);
    for (size_t i = 0; i < count; i++)
        candidates[i] = (struct mq_candidate){.name = count == 1 ? "model" : mq_file_letter(i),
                                              .file = models[i]->view};
    MQ_TRY(job_begin(&job, options, err));
    MQ_TRY(read_gate(limits, &wanted, &gate, err));
    how.before = gate ? check_gate : NULL;
    how.before_user = gate;
    moeq_status status =
        gate ? resolve_gate(gate, wanted.all, models[0]->view, count, err) : MOEQ_OK;
    if (status == MOEQ_OK)
        status = read_verify_text(caller, &text, &how, &source, err);
    if (status == MOEQ_OK)
        status = mq_baseline_open(&job.context, against, NULL, &baseline, err);
    if (status == MOEQ_OK && !caller && !baseline.recording)
        status =
            mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s is no recording: a text is needed", against);
    if (status == MOEQ_OK)
        status = mq_compare(&job.context, &baseline, candidates, count, &how, &result, err);
    if (status == MOEQ_OK)
        status = conclude_gate(gate, &wanted, &result, err);
    if (status == MOEQ_OK)
        status = take_json(mq_verify_json(&result, gate), report, err);
    *broken = status == MOEQ_OK && gate ? gate->broken : 0;
    mq_comparison_free(&result);
    mq_baseline_close(&baseline);
    mq_text_free(&source);
    mq_gate_free(gate);
    return status;
}

moeq_status moeq_verify(const moeq_model *const *models, size_t count, const char *against,
                        const moeq_text *text, const moeq_job *job, char **report, moeq_error *err)
{
    size_t broken;
    return moeq_verify_gate(models, count, against, text, NULL, job, &broken, report, err);
}

moeq_status moeq_record(const moeq_model *model, const moeq_text *caller, const char *output,
                        bool replace, const moeq_job *options, moeq_error *err)
{
    struct job job;
    moeq_text text;
    struct mq_text source = {0};
    struct mq_record_options how = {.text = &source, .output_path = output, .replace = replace};
    struct mq_record_result result;
    MQ_TRY(job_begin(&job, options, err));
    MQ_TRY(read_text(caller, &text, &how.protocol, &how.compute, err));
    moeq_status status = mq_text_read(&text.path, 1, &source, err);
    if (status == MOEQ_OK)
        status = mq_record(&job.context, model->view, &how, &result, err);
    mq_text_free(&source);
    return status;
}

/* ---- cards ---- */

static moeq_status read_card(const moeq_card *caller, moeq_card *card,
                             struct mq_fit_request *request, moeq_error *err)
{
    MQ_TRY(read_options(card, sizeof *card, caller, err));
    *request = (struct mq_fit_request){.gpu = card->gpu,
                                       .vram = card->vram,
                                       .ram = card->ram,
                                       .bandwidth = card->bandwidth,
                                       .runtime = card->runtime,
                                       .kv = card->kv,
                                       .no_flash_attention = card->no_flash_attention,
                                       .dash = ""};
    return MOEQ_OK;
}

static moeq_status fit_rows(struct mq_fit *fit, const moeq_recipe *recipes, size_t count,
                            moeq_error *err)
{
    const struct mq_policy usual = {0};
    if (!count)
        return mq_fit_add_usual(fit, &usual, err);
    for (size_t i = 0; i < count; i++) {
        struct mq_policy policy;
        MQ_TRY(make_policy(recipe_at(recipes, i), &policy, err));
        MQ_TRY(mq_fit_add(fit,
                          policy.recipe ? policy.recipe->name
                                        : policy.levels[MQ_CLASS_EXPERTS]->name,
                          &policy, err));
    }
    return MOEQ_OK;
}

static moeq_status fit_cards(const struct mq_view *view, const struct mq_fit_request *request,
                             uint64_t context, const moeq_recipe *recipes, size_t count,
                             const char *quality, char **report, moeq_error *err)
{
    struct mq_fit_target target;
    const struct mq_kv_kind *kv;
    MQ_TRY(mq_fit_request_read(request, &target, &kv, err));
    struct mq_fit *fit = calloc(1, sizeof *fit);
    if (!fit)
        return mq_fail_memory(err, "fitting a model");
    moeq_status status = mq_fit_begin(view, &target, context, kv, fit, err);
    if (status == MOEQ_OK)
        status = fit_rows(fit, recipes, count, err);
    if (status == MOEQ_OK && quality)
        status = mq_fit_join_quality(fit, quality, err);
    if (status == MOEQ_OK)
        status = take_json(mq_fit_json(fit), report, err);
    free(fit);
    return status;
}

/* moeq's own evaluator: no card, and no matter which levels. */
static moeq_status fit_evaluator(const struct mq_view *view, const moeq_card *card, char **report,
                                 moeq_error *err)
{
    struct job job;
    struct mq_evaluation_needs needs;
    MQ_TRY(job_begin(&job, NULL, err));
    MQ_TRY(mq_evaluation_needs(&job.context, view, card->gpu, card->vram, card->context, "", &needs,
                               err));
    return take_json(mq_evaluation_needs_json(&needs), report, err);
}

moeq_status moeq_fit(const char *model, const moeq_open_options *given, const moeq_card *caller,
                     const moeq_recipe *recipes, size_t count, const char *quality, char **report,
                     moeq_error *err)
{
    struct mq_open_options open;
    moeq_card card;
    struct mq_fit_request request;
    struct mq_view *view = NULL;
    *report = NULL;
    MQ_TRY(read_card(caller, &card, &request, err));
    MQ_TRY(read_open_options(given, &open, err));
    MQ_TRY(mq_model_open_or_config(model, &open, &view, err));
    const moeq_status status =
        card.runtime && strcasecmp(card.runtime, "moeq") == 0
            ? fit_evaluator(view, &card, report, err)
            : fit_cards(view, &request, card.context, recipes, count, quality, report, err);
    mq_view_close(view);
    return status;
}

/* ---- reports ---- */

moeq_status moeq_report(const char *document, const char *output, moeq_error *err)
{
    cJSON *tree = NULL;
    MQ_TRY(mq_report_parse(document, strlen(document), "the document", &tree, err));
    const moeq_status status = mq_report_write(tree, output, err);
    cJSON_Delete(tree);
    return status;
}
