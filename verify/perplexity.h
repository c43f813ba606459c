/* perplexity.h: `eval MODEL --text FILE`: one model, no baseline. */
#ifndef MQ_PERPLEXITY_H
#define MQ_PERPLEXITY_H

#include "referee.h"

struct mq_eval_result {
    const struct mq_view *view;
    const char *text_path;        /* its name */
    const struct mq_text *source; /* NULL: a recording's */
    struct mq_text_windows text;
    enum mq_compute compute;
    struct mq_perplexity perplexity;
    struct mq_arm_result figures; /* of its domains and tasks */
};

/* Evaluates the model as it is stored. view and source must outlive the result. */
moeq_status mq_eval_text(const struct mq_context *context, const struct mq_view *view,
                         const struct mq_text *source, const struct mq_protocol_options *options,
                         enum mq_compute compute, struct mq_eval_result *result, moeq_error *err);
void mq_eval_result_free(struct mq_eval_result *result);

#endif
