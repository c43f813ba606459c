/* place_tensor.h: where in a folder's tensors one of the model's stands, whatever way it is stored. */
#ifndef MQ_PLACE_TENSOR_H
#define MQ_PLACE_TENSOR_H

#include "family.h"
#include "tensor_set.h"

/* Looks for *tensor under a name, with what the ways of storing add to it ("_blocks"), and fills in
 * storage, row_bytes, file, offset and assembly. alias: the row that the name is of, the first of those
 * with this role and name; NULL for the official one. *found: whether there is anything. */
moeq_status mq_place_tensor(struct mq_view *view, const struct mq_tensor_set *set, const char *name,
                            const struct mq_tensor_alias *alias, struct mq_tensor *tensor,
                            bool *found, moeq_error *err);

#endif
