/* perplexity.c: one arm through the referee. */
#include "perplexity.h"

#include "domains.h"
#include "error.h"

#include <string.h>

moeq_status mq_eval_text(const struct mq_context *context, const struct mq_view *view,
                         const struct mq_text *source, const struct mq_protocol_options *options,
                         enum mq_compute compute, struct mq_eval_result *result, moeq_error *err)
{
    struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1, .compute = compute};
    struct mq_referee *referee = NULL;
    struct mq_observer observer;
    moeq_status status;
    memset(result, 0, sizeof *result);
    result->view = view;
    result->text_path = source->name;
    result->source = source;
    result->compute = compute;
    MQ_TRY_OUT(mq_protocol_text(options, view, source, &result->text, err));
    MQ_TRY_OUT(mq_referee_create(context, &arm, 1, &result->text, &referee, err));
    observer = mq_referee_observer(referee);
    MQ_TRY_OUT(mq_evaluate(context, &arm, 1, &result->text.windows, &observer, err));
    MQ_TRY_OUT(mq_referee_merge(referee, &observer, err));
    MQ_TRY_OUT(mq_referee_tasks(referee, &arm, NULL, err));
    MQ_TRY_OUT(mq_referee_finish(referee, &result->figures, err));
    MQ_TRY_OUT(mq_domains_finish(referee, &result->figures, 1, err));
    result->perplexity = result->figures.perplexity;
out:
    mq_referee_free(referee);
    if (status != MOEQ_OK)
        mq_eval_result_free(result);
    return status;
}

void mq_eval_result_free(struct mq_eval_result *result)
{
    mq_text_windows_free(&result->text);
    mq_arm_result_free(&result->figures);
    memset(result, 0, sizeof *result);
}
