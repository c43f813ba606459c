/* moeq_api.c: the installed C API over everything else. */
#include "api_int.h"

#include "integrity.h"
#include "moeq_index.h"
#include "perplexity.h"
#include "record.h"
#include "report.h"
#include "check_json.h"
#include "comparison_json.h"
#include "result_json.h"
#include "stored.h"
#include "tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char *moeq_version(void)
{
    return MOEQ_VERSION_STRING;
}

void moeq_free(void *memory)
{
    free(memory);
}

/* The same of a sweep or a verification, with its verdict in words. */
static moeq_status take_judged(cJSON *tree, char **text, moeq_error *err)
{
    const moeq_status status = tree ? mq_report_put_verdict(tree, err) : MOEQ_OK;
    if (status == MOEQ_OK)
        return mq_api_take_json(tree, text, err);
    cJSON_Delete(tree);
    return status;
}

/* ---- models ---- */

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
    MQ_TRY(mq_api_read_open_options(options, &open, err));
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

/* ---- files ---- */

static moeq_status check_shards(const struct mq_context *context, const char *index, char **report,
                                moeq_error *err)
{
    struct mq_shards_result result;
    MQ_TRY(mq_shards_check(context, index, &result, err));
    moeq_status status = mq_api_take_json(mq_shards_json(&result), report, err);
    if (status == MOEQ_OK)
        status = mq_shards_status(&result, err);
    mq_shards_free(&result);
    return status;
}

moeq_status moeq_check(const char *path, const moeq_job *options, char **report, moeq_error *err)
{
    struct mq_api_job job;
    char index[PATH_MAX];
    struct mq_integrity_result result = {0};
    *report = NULL;
    MQ_TRY(mq_api_job_begin(&job, options, err));
    MQ_TRY(mq_moeq_index_find(path, index, sizeof index, err));
    if (index[0])
        return check_shards(&job.context, index, report, err);
    moeq_status status = mq_integrity_check(&job.context, path, &result, err);
    if (status == MOEQ_OK)
        status = mq_api_take_json(mq_integrity_json(&result), report, err);
    if (status == MOEQ_OK)
        status = mq_integrity_status(&result, err);
    mq_integrity_free(&result);
    return status;
}

/* ---- evaluation ---- */

moeq_status moeq_eval(const moeq_model *model, const moeq_text *caller, const moeq_job *options,
                      char **report, moeq_error *err)
{
    struct mq_api_job job;
    moeq_text text;
    struct mq_protocol_options protocol;
    enum mq_compute compute;
    struct mq_eval_result result = {0};
    struct mq_text source = {0};
    *report = NULL;
    MQ_TRY(mq_api_job_begin(&job, options, err));
    MQ_TRY(mq_api_read_text(caller, &text, &protocol, &compute, err));
    moeq_status status = mq_text_read(&text.path, 1, &source, err);
    if (status == MOEQ_OK)
        status = mq_eval_text(&job.context, model->view, &source, &protocol, compute, &result, err);
    if (status == MOEQ_OK)
        status = mq_api_take_json(mq_eval_json(&result), report, err);
    mq_eval_result_free(&result);
    mq_text_free(&source);
    return status;
}

/* What a recipe of moeq_sweep stands for: a way to quantize, or a stored model. */
static moeq_status make_candidate(const moeq_model *source, const moeq_recipe *caller, size_t files,
                                  struct mq_candidate *candidate, bool *allow_loss, moeq_error *err)
{
    moeq_recipe recipe;
    MQ_TRY(mq_api_read_options(&recipe, sizeof recipe, caller, err));
    *allow_loss |= recipe.allow_loss;
    if (recipe.calibration || recipe.text)
        return mq_fail(
            err, MOEQ_INVALID_ARGUMENT,
            "moeq_sweep does not calibrate: it judges the file that moeq_convert makes so");
    if (!recipe.model) {
        candidate->name = recipe.level ? recipe.level : recipe.mix;
        return mq_api_make_policy(caller, &candidate->policy, err);
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
                                   size_t count, struct mq_candidate *candidates,
                                   bool *allow_loss, moeq_error *err)
{
    size_t files = 0;
    for (size_t i = 0; i < count; i++) {
        MQ_TRY(make_candidate(source, mq_api_recipe_at(recipes, i), files, &candidates[i],
                              allow_loss, err));
        files += candidates[i].file != NULL;
    }
    return MOEQ_OK;
}

moeq_status moeq_sweep(const moeq_model *model, const moeq_text *caller, const moeq_recipe *recipes,
                       size_t count, const moeq_job *options, char **report, moeq_error *err)
{
    struct mq_api_job job;
    moeq_text text;
    struct mq_comparison_options how = {0};
    enum mq_compute compute;
    struct mq_comparison result = {0};
    struct mq_text source = {0};
    const struct mq_baseline baseline = mq_baseline_of(model->view);
    *report = NULL;
    MQ_TRY(mq_api_job_begin(&job, options, err));
    MQ_TRY(mq_api_read_text(caller, &text, &how.protocol, &compute, err));
    how.int8 = compute == MQ_COMPUTE_INT8;
    how.text = &source;
    struct mq_candidate *candidates = calloc(count + 1, sizeof *candidates);
    if (!candidates)
        return mq_fail_memory(err, "preparing a sweep");
    moeq_status status = make_candidates(model, recipes, count, candidates, &how.allow_loss, err);
    if (status == MOEQ_OK)
        status = mq_text_read(&text.path, 1, &source, err);
    if (status == MOEQ_OK)
        status = mq_compare(&job.context, &baseline, candidates, count, &how, &result, err);
    if (status == MOEQ_OK)
        status = take_judged(mq_sweep_json(&result, NULL), report, err);
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
    MQ_TRY(mq_api_read_text(caller, text, &how->protocol, &how->compute, err));
    how->has_compute = text->compute != NULL;
    how->text = source;
    return mq_text_read(&text->path, 1, source, err);
}

/* What a caller's struct asks for; nothing if there is none. */
static moeq_status read_gate(const moeq_gate *caller, struct mq_gate_request *request,
                             moeq_error *err)
{
    moeq_gate g;
    MQ_TRY(mq_api_read_options(&g, sizeof g, caller, err));
    if (g.margin == 0)
        g.margin = 0.1;
    if (!(g.margin > 0 && g.margin <= 10))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "margin %g: expected above 0, at most 10",
                       g.margin);
    if ((g.junit || g.all) && !g.limits)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a judgement needs a gate's limits");
    *request = (struct mq_gate_request){
        .limits = g.limits, .all = g.all, .junit = g.junit, .write = g.write, .margin = g.margin};
    return MOEQ_OK;
}

static moeq_status check_gate(void *gate, const struct mq_comparison *result, moeq_error *err)
{
    return mq_gate_check(gate, result, err);
}

moeq_status moeq_verify_gate(const moeq_model *const *models, size_t count, const char *against,
                             const moeq_text *caller, const moeq_gate *limits,
                             const moeq_job *options, size_t *broken, char **report,
                             moeq_error *err)
{
    struct mq_api_job job;
    moeq_text text;
    struct mq_gate_request wanted;
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
    MQ_TRY(mq_api_job_begin(&job, options, err));
    MQ_TRY(read_gate(limits, &wanted, err));
    moeq_status status = mq_gate_prepare(&wanted, models[0]->view, count, &gate, err);
    how.before = gate ? check_gate : NULL;
    how.before_user = gate;
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
        status = mq_gate_conclude(&wanted, gate, &result, err);
    if (status == MOEQ_OK)
        status = take_judged(mq_verify_json(&result, gate), report, err);
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
    struct mq_api_job job;
    moeq_text text;
    struct mq_text source = {0};
    struct mq_record_options how = {.text = &source, .output_path = output, .replace = replace};
    struct mq_record_result result;
    MQ_TRY(mq_api_job_begin(&job, options, err));
    MQ_TRY(mq_api_read_text(caller, &text, &how.protocol, &how.compute, err));
    moeq_status status = mq_text_read(&text.path, 1, &source, err);
    if (status == MOEQ_OK)
        status = mq_record(&job.context, model->view, &how, &result, err);
    mq_text_free(&source);
    return status;
}

/* ---- reports ---- */

moeq_status moeq_report(const char *document, const char *output, moeq_error *err)
{
    cJSON *tree = NULL;
    MQ_TRY(mq_report_parse(document, strlen(document), "the document", &tree, err));
    const moeq_status status = mq_report_write(tree, output, NULL, err);
    cJSON_Delete(tree);
    return status;
}
