/* convert_int.h: the mover, for those who do not write. */
#ifndef MQ_CONVERT_INT_H
#define MQ_CONVERT_INT_H

#include "convert.h"
#include "places.h"

/*
 * Executes a plan without writing: every byte of its tensors is handed to `place`. files: one for each of those that entries
 * name, kept open by the caller; skip: [entries] those that are left out. *losses: what levels lose of what was not.
 */
moeq_status mq_convert_compare(const struct mq_context *context, const struct mq_plan *plan,
                               const struct mq_convert_encoder *encoder,
                               struct mq_output_file *files, mq_place_fn *place, const bool *skip,
                               struct mq_losses *losses, moeq_error *err);

#endif
