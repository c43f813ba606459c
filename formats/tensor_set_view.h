/* tensor_set_view.h: the view of a tensor set, and the steps of making it. */
#ifndef MQ_TENSOR_SET_VIEW_H
#define MQ_TENSOR_SET_VIEW_H

#include "tensor_set.h"

/* tensor_names.c: brings names that differ in what comes before them into the official form; the
 * view's family must be known. */
moeq_status mq_tensor_set_map_names(struct mq_view *view, struct mq_tensor_set *set,
                                    moeq_error *err);
/* What the names say that the model is, if it is none of the family; NULL. */
const char *mq_tensor_set_guess(const struct mq_tensor_set *set, const struct mq_family *family);

/* tied_head.c: decides by what is stored, config.json and the user's choice whether the head is the
 * embedding matrix, in view->hparams, and puts a decision that config.json alone would not give
 * into view->options, so that what is made of the view is read in the same way. */
moeq_status mq_choose_head(struct mq_view *view, struct mq_tensor_set *set, moeq_error *err);

/* extra_tensors.c: of the tensors that nothing has asked for, notes on those that are known to
 * carry no weights of the model, and an error for any other. */
moeq_status mq_judge_extra_tensors(struct mq_view *view, const struct mq_tensor_set *set,
                                   moeq_error *err);

/* The same unit: the rest of a sentence on a tensor that an adapter added or moved, by its name;
 * NULL for any other. */
const char *mq_adapter_says(const char *name);

/* Builds the view from the set and moves the set's open files into it. view->kind and metadata
 * must be set too. */
moeq_status mq_view_build_from_set(struct mq_view *view, struct mq_tensor_set *set,
                                   moeq_error *err);

#endif
