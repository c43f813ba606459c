/* output_claims.h: what a command writes at its end is claimed at its beginning. */
#ifndef MQ_OUTPUT_CLAIMS_H
#define MQ_OUTPUT_CLAIMS_H

#include "command.h"

struct mq_claim;
struct mq_output_claims {
    struct mq_claim *claims;
    size_t count;
};

/* Claims the files of --report, --card, --write-gate and --junit (claim.h): that another command is writing one, or that
 * it cannot be written, must not be found out after the work. To be released before they are written, and in any case. */
moeq_status mq_output_claims_take(const struct mq_options *options, struct mq_output_claims *claims,
                                  moeq_error *err);
void mq_output_claims_release(struct mq_output_claims *claims);

#endif
