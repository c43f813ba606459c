/* fit_target.h: --gpu and --vram, of fit and of budgets. */
#ifndef MQ_FIT_TARGET_H
#define MQ_FIT_TARGET_H

#include "command.h"
#include "fit.h"

/* The cards that the options name; false after a message. */
bool mq_option_fit_target(const char *command, const struct mq_options *options,
                          struct mq_fit_target *target);

/* --runtime: llama.cpp unless it is given; false after a message. */
bool mq_option_runtime(const char *command, const struct mq_options *options,
                       const struct mq_runtime **runtime);

/* --kv: the kind of the runtime's cache, f16 unless it is given; NULL after a message. */
const struct mq_kv_kind *mq_option_kv(const char *command, const struct mq_options *options);

#endif
