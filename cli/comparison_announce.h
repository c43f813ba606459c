/* comparison_announce.h: what sweep and verify are about to do, before the first layer is read. */
#ifndef MQ_COMPARISON_ANNOUNCE_H
#define MQ_COMPARISON_ANNOUNCE_H

#include "command.h"

#include "comparison.h"

/* For mq_comparison_options.before: user is the struct mq_job_ui. */
moeq_status mq_announce_comparison(void *ui, const struct mq_comparison *comparison,
                                   moeq_error *err);

#endif
