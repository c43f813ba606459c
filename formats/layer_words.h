/* layer_words.h: what a model's layers are made of, in words, for people and documentation. */
#ifndef MQ_LAYER_WORDS_H
#define MQ_LAYER_WORDS_H

#include "json_tree.h"
#include "model_view.h"

/* A list of words: what some layer of the model has. */
cJSON *mq_layer_words_json(const struct mq_view *view);

#endif
