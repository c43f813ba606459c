/* fit_api.c: moeq_fit. */
#include "api_int.h"

#include "evaluation_needs.h"
#include "stored.h"

#include <stdlib.h>
#include <strings.h>

static moeq_status fit_rows(struct mq_fit *fit, const moeq_recipe *recipes, size_t count,
                            moeq_error *err)
{
    const struct mq_policy usual = {0};
    if (!count)
        return mq_fit_add_usual(fit, &usual, err);
    for (size_t i = 0; i < count; i++) {
        struct mq_policy policy;
        MQ_TRY(mq_api_make_policy(mq_api_recipe_at(recipes, i), &policy, err));
        MQ_TRY(mq_fit_add(
            fit, policy.recipe ? policy.recipe->name : policy.levels[MQ_CLASS_EXPERTS]->name,
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
        status = mq_api_take_json(mq_fit_json(fit), report, err);
    free(fit);
    return status;
}

/* moeq's own evaluator: no card, and no matter which levels. */
static moeq_status fit_evaluator(const struct mq_view *view, const moeq_card *card, char **report,
                                 moeq_error *err)
{
    struct mq_api_job job;
    struct mq_evaluation_needs needs;
    MQ_TRY(mq_api_job_begin(&job, NULL, err));
    MQ_TRY(mq_evaluation_needs(&job.context, view, card->gpu, card->vram, card->context, "", &needs,
                               err));
    return mq_api_take_json(mq_evaluation_needs_json(&needs), report, err);
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
    MQ_TRY(mq_api_read_card(caller, &card, &request, err));
    MQ_TRY(mq_api_read_open_options(given, &open, err));
    MQ_TRY(mq_model_open_or_config(model, &open, &view, err));
    const moeq_status status =
        card.runtime && strcasecmp(card.runtime, "moeq") == 0
            ? fit_evaluator(view, &card, report, err)
            : fit_cards(view, &request, card.context, recipes, count, quality, report, err);
    mq_view_close(view);
    return status;
}
