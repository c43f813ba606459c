/* api_int.h: what the parts of libmoeq share. */
#ifndef MQ_API_INT_H
#define MQ_API_INT_H

#include "moeq.h"

#include "context.h"
#include "error.h"
#include "fit_target.h"
#include "open_options.h"
#include "policy.h"
#include "protocol.h"

#include <cjson/cJSON.h>
#include <stdatomic.h>

struct moeq_model {
    struct mq_view *view;
    struct mq_tokenizer *tokenizer; /* NULL if the model has none */
};

/* A context and what its progress callback needs. */
struct mq_api_job {
    struct mq_context context;
    moeq_job options;
    atomic_bool cancel;
};

/* Copies a caller's option struct of any version: what its struct_size does not cover is zero. */
moeq_status mq_api_read_options(void *options, size_t size, const void *caller, moeq_error *err);

moeq_status mq_api_job_begin(struct mq_api_job *job, const moeq_job *options, moeq_error *err);

/* Takes a JSON tree as text. */
moeq_status mq_api_take_json(cJSON *tree, char **text, moeq_error *err);

moeq_status mq_api_read_open_options(const moeq_open_options *given, struct mq_open_options *open,
                                     moeq_error *err);

moeq_status mq_api_read_text(const moeq_text *caller, moeq_text *text,
                             struct mq_protocol_options *protocol, enum mq_compute *compute,
                             moeq_error *err);

/* The request borrows from the card. */
moeq_status mq_api_read_card(const moeq_card *caller, moeq_card *card,
                             struct mq_fit_request *request, moeq_error *err);

bool mq_api_is_budget(const moeq_recipe *recipe);
/* Levels by class; what a calibration adds is not in it. A budget is refused. */
moeq_status mq_api_make_policy(const moeq_recipe *recipe, struct mq_policy *policy,
                               moeq_error *err);

/* Of an array of structs: its stride is the caller's struct_size, not ours. */
const moeq_recipe *mq_api_recipe_at(const moeq_recipe *recipes, size_t i);

#endif
