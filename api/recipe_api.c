/* recipe_api.c: recipes and budgets, and what is written by them: moeq_plan_bytes, moeq_convert, moeq_export_gguf. */
#include "api_int.h"

#include "budget_plan.h"
#include "calibrated.h"
#include "calibration_importance.h"
#include "convert.h"
#include "spellings.h"
#include "text_input.h"
#include "token_profile.h"

#include <stdio.h>
#include <string.h>

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
    return *level ? MOEQ_OK : mq_fail(err, MOEQ_INVALID_ARGUMENT, "'%s' is a mix, no level", name);
}

static moeq_status find_effort(const char *name, enum mq_effort *effort, moeq_error *err)
{
    if (name && strcmp(name, MQ_EFFORT_CALIBRATED) == 0)
        name = NULL; /* of first scales, and of what is not calibrated */
    return !name || mq_effort_find(name, effort)
               ? MOEQ_OK
               : mq_fail(err, MOEQ_INVALID_ARGUMENT, "unknown effort '%s'", name);
}

const moeq_recipe *mq_api_recipe_at(const moeq_recipe *recipes, size_t i)
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

/* Of a recipe that is no budget, or, level not NULL, of a budget: what it is not about has this level's default. */
static moeq_status make_policy(const moeq_recipe *recipe, const char *level,
                               struct mq_policy *policy, moeq_error *err)
{
    struct mq_named named;
    const char *name = recipe->mix ? recipe->mix : recipe->level ? recipe->level : level;
    if (recipe->model)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a stored model in a recipe's place is for moeq_sweep alone");
    if (!name)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a recipe needs a level");
    MQ_TRY(find_name(recipe->mix ? "mix" : "level", name, &named, err));
    if ((recipe->mix && recipe->level) ||
        (named.recipe && (recipe->attention || recipe->embeddings || recipe->shared)))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a mix and levels exclude each other");
    *policy = named.recipe ? mq_policy_of_recipe(named.recipe) : mq_policy_default(named.level);
    policy->allow_nonfinite = recipe->allow_nonfinite;
    MQ_TRY(put_classes(recipe, policy, err));
    return find_effort(recipe->effort, &policy->effort, err);
}

/* ---- budgets ---- */

bool mq_api_is_budget(const moeq_recipe *recipe)
{
    return recipe->bpw != 0 || recipe->size_bytes || recipe->card;
}

moeq_status mq_api_make_policy(const moeq_recipe *caller, struct mq_policy *policy, moeq_error *err)
{
    moeq_recipe recipe;
    MQ_TRY(mq_api_read_options(&recipe, sizeof recipe, caller, err));
    if (mq_api_is_budget(&recipe))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a budget is for moeq_convert, moeq_export_gguf and moeq_plan_bytes");
    return make_policy(&recipe, NULL, policy, err);
}

static bool is_calibrated(const moeq_recipe *recipe)
{
    return recipe->effort && strcmp(recipe->effort, MQ_EFFORT_CALIBRATED) == 0;
}

/* What may be asked together. */
static moeq_status check_recipe(const moeq_recipe *r, moeq_error *err)
{
    const bool budget = mq_api_is_budget(r);
    if ((r->bpw != 0) + (r->size_bytes != 0) + (r->card != NULL) > 1)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "bpw, size_bytes and card exclude each other: one gives the budget");
    if (r->bpw != 0 && !(r->bpw >= MQ_BUDGET_MIN_BPW && r->bpw <= MQ_BUDGET_MAX_BPW))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "bpw %g: expected %g to %g bits per weight of experts", r->bpw,
                       MQ_BUDGET_MIN_BPW, MQ_BUDGET_MAX_BPW);
    if (budget && (r->level || r->mix))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a budget and a level or mix exclude each other: a budget chooses levels");
    if (budget && !r->text)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a budget needs a text");
    if (!budget && (r->levels_count || r->granularity))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "levels and granularity are of a budget");
    if (!budget && !is_calibrated(r) && r->text)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a recipe's text is for effort \"calibrated\" or a budget");
    if (is_calibrated(r) && !r->text)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "effort \"calibrated\" needs a text");
    if (r->granularity && strcmp(r->granularity, "expert") != 0 &&
        strcmp(r->granularity, "matrix") != 0)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "granularity '%.40s': expected expert or matrix",
                       r->granularity);
    return MOEQ_OK;
}

static moeq_status read_budget(const moeq_recipe *r, bool gguf, struct mq_budget *budget,
                               char bpw_text[32], moeq_error *err)
{
    *budget = (struct mq_budget){.bpw = r->bpw, .size = r->size_bytes, .bpw_text = bpw_text};
    budget->option = r->bpw != 0 ? "bpw" : r->card ? "card" : "size_bytes";
    snprintf(bpw_text, 32, "%g", r->bpw);
    budget->how.per_matrix = r->granularity ? strcmp(r->granularity, "matrix") == 0 : gguf;
    budget->how.pinned[MQ_CLASS_SHARED] = r->shared != NULL;
    budget->how.pinned[MQ_CLASS_ATTENTION] = r->attention != NULL;
    budget->how.pinned[MQ_CLASS_EMBEDDINGS] = r->embeddings != NULL;
    if (r->card) {
        moeq_card card;
        struct mq_fit_request request;
        MQ_TRY(mq_api_read_card(r->card, &card, &request, err));
        MQ_TRY(mq_fit_request_read(&request, &budget->target, &budget->kv, err));
        budget->context = card.context;
    }
    for (size_t i = 0; i < r->levels_count; i++) {
        const struct mq_level *level;
        MQ_TRY(find_level(r->levels[i], &level, err));
        if (!mq_budget_add_level(budget, level))
            return mq_fail(err, MOEQ_INVALID_ARGUMENT, "levels: at most %d",
                           MQ_BUDGET_NAMED_LEVELS);
    }
    if (!r->levels_count)
        mq_budget_all_levels(budget);
    mq_budget_end_levels(budget);
    return MOEQ_OK;
}

/* ---- what is written ---- */

/* A recipe's policy, and what it stands on. */
struct quantizing {
    struct mq_policy policy;
    uint64_t shard_bytes;
    bool allow_loss;
    struct mq_importance *importance;
    struct mq_text text;
    struct mq_text_windows windows;
    struct mq_buffer profiles; /* its tokens, a list as of token_profile.h */
    char sentence[MQ_CALIBRATED_SENTENCE];
    struct mq_calibrated run;
    struct mq_convert_encoder encoder; /* run NULL: the usual one */
    bool has_budget;
    struct mq_budget budget;
    char bpw_text[32];
};

static void quantizing_free(struct quantizing *q)
{
    mq_text_free(&q->text);
    mq_text_windows_free(&q->windows);
    mq_buffer_free(&q->profiles);
    mq_importance_destroy(q->importance);
    mq_budget_free(&q->budget);
}

/* What guides a budget, an encoder or both. */
static moeq_status read_recipe_text(const struct mq_context *context, const struct mq_view *view,
                                    const moeq_recipe *recipe, struct quantizing *q,
                                    moeq_error *err)
{
    moeq_text text;
    struct mq_protocol_options protocol;
    enum mq_compute compute;
    if (!recipe->text)
        return MOEQ_OK;
    MQ_TRY(mq_api_read_text(recipe->text, &text, &protocol, &compute, err));
    MQ_TRY(mq_text_read(&text.path, 1, &q->text, err));
    MQ_TRY(mq_protocol_text(&protocol, view, &q->text, &q->windows, err));
    if (!is_calibrated(recipe))
        return MOEQ_OK;
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
                                    const moeq_recipe *caller, bool gguf, struct quantizing *q,
                                    moeq_error *err)
{
    moeq_recipe recipe; /* of whatever version the caller's is */
    *q = (struct quantizing){0};
    if (!caller)
        return MOEQ_OK;
    MQ_TRY(mq_api_read_options(&recipe, sizeof recipe, caller, err));
    MQ_TRY(check_recipe(&recipe, err));
    q->has_budget = mq_api_is_budget(&recipe);
    MQ_TRY(make_policy(&recipe, q->has_budget ? "q4_k" : NULL, &q->policy, err));
    if (q->has_budget)
        MQ_TRY(read_budget(&recipe, gguf, &q->budget, q->bpw_text, err));
    q->allow_loss = recipe.allow_loss;
    q->shard_bytes = gguf ? 0 : recipe.shard_bytes;
    if (recipe.calibration)
        MQ_TRY(mq_calibration_importance(context, recipe.calibration, model->view, &q->importance,
                                         err));
    q->policy.importance = q->importance;
    return read_recipe_text(context, model->view, &recipe, q, err);
}

/* output NULL: nothing will be written. */
static moeq_status make_plan(const struct mq_context *context, const struct mq_view *view,
                             struct quantizing *q, const struct mq_gguf_options *format,
                             const char *output, bool replace, struct mq_plan **plan,
                             moeq_error *err)
{
    if (!q->has_budget)
        return mq_convert_plan(context, view, &q->policy, format, q->shard_bytes, plan, err);
    const struct mq_budget_job job = {.context = context,
                                      .view = view,
                                      .gguf = format,
                                      .shard_bytes = q->shard_bytes,
                                      .output = output,
                                      .replace = replace,
                                      .windows = &q->windows.windows,
                                      .ids_crc32 = q->windows.ids_crc32,
                                      .feedback = q->encoder.run != NULL};
    return mq_budget_plan(&job, &q->policy, &q->budget, plan, err);
}

moeq_status moeq_plan_bytes(const moeq_model *model, const moeq_recipe *recipe, uint64_t *bytes,
                            moeq_error *err)
{
    struct mq_api_job job;
    struct quantizing q;
    struct mq_plan *plan = NULL;
    MQ_TRY(mq_api_job_begin(&job, NULL, err));
    if (!recipe)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a recipe needs a level");
    moeq_status status = quantizing_begin(&job.context, model, recipe, false, &q, err);
    if (status == MOEQ_OK)
        status = make_plan(&job.context, model->view, &q, NULL, NULL, false, &plan, err);
    if (status == MOEQ_OK)
        *bytes = plan->output_bytes;
    mq_plan_free(plan);
    quantizing_free(&q);
    return status;
}

/* A moeq file, or a GGUF file if there is a format. */
static moeq_status write_quantized(struct mq_api_job *job, const moeq_model *model,
                                   const moeq_recipe *recipe, const struct mq_gguf_options *format,
                                   bool allow_nonfinite, bool allow_loss, const char *output,
                                   bool replace, moeq_error *err)
{
    struct quantizing q;
    struct mq_plan *plan = NULL;
    struct mq_convert_result result;
    moeq_status status = quantizing_begin(&job->context, model, recipe, format != NULL, &q, err);
    q.policy.allow_nonfinite |= allow_nonfinite;
    if (status == MOEQ_OK)
        status = make_plan(&job->context, model->view, &q, format, output, replace, &plan, err);
    const struct mq_convert_options how = {.output = output,
                                           .replace = replace,
                                           .allow_loss = allow_loss || q.allow_loss,
                                           .encoder = q.encoder.run ? &q.encoder : NULL};
    if (status == MOEQ_OK)
        status = mq_convert(&job->context, plan, &how, &result, err);
    mq_plan_free(plan);
    quantizing_free(&q);
    return status;
}

moeq_status moeq_convert(const moeq_model *model, const moeq_recipe *recipe, const char *output,
                         bool replace, const moeq_job *options, moeq_error *err)
{
    struct mq_api_job job;
    MQ_TRY(mq_api_job_begin(&job, options, err));
    if (!recipe)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a recipe needs a level");
    return write_quantized(&job, model, recipe, NULL, false, false, output, replace, err);
}

moeq_status moeq_export_gguf(const moeq_model *model, const moeq_recipe *recipe,
                             const moeq_gguf *caller, const char *output, bool replace,
                             const moeq_job *options, moeq_error *err)
{
    struct mq_api_job job;
    moeq_gguf gguf;
    MQ_TRY(mq_api_job_begin(&job, options, err));
    MQ_TRY(mq_api_read_options(&gguf, sizeof gguf, caller, err));
    const struct mq_gguf_options format = {gguf.unify_up, gguf.split_bytes};
    return write_quantized(&job, model, recipe, &format, gguf.allow_nonfinite, gguf.allow_loss,
                           output, replace, err);
}
