/* level_candidates.h: --levels of sweep and verify: what is compared with the original beside files. */
#ifndef MQ_LEVEL_CANDIDATES_H
#define MQ_LEVEL_CANDIDATES_H

#include "command.h"
#include "comparison.h"

/* What the candidates borrow. */
struct mq_option_levels {
    size_t count;
    struct mq_policy_override *overrides[MQ_CANDIDATES_MAX]; /* [count] */
    char *names;
};

/* The first of the candidates. False after a message; either way free them afterwards. */
bool mq_option_levels(const char *command, const struct mq_options *options,
                      struct mq_candidate candidates[MQ_CANDIDATES_MAX],
                      struct mq_option_levels *levels);
void mq_option_levels_free(const struct mq_options *options, struct mq_option_levels *levels);

#endif
