/* output_claims.h: what a command writes at its end is claimed at its beginning. */
#ifndef MQ_OUTPUT_CLAIMS_H
#define MQ_OUTPUT_CLAIMS_H

#include "command.h"

#include "claim.h"

/* Number i of the files that a command writes at its end: those of --report, --card, --write-gate and --junit; NULL: not
 * asked for. Of ranks, rank 0 writes them. */
const char *mq_output_path(const struct mq_options *options, size_t i);
size_t mq_outputs_count(const struct mq_options *options);

/* Claims them (claim.h): that another command is writing one, or that it cannot be written, must not be found out after
 * the work. To be released when they are written, and in any case. */
moeq_status mq_output_claims_take(const struct mq_options *options, struct mq_claims *claims,
                                  moeq_error *err);
void mq_output_claims_release(struct mq_claims *claims);

#endif
