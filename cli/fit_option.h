/* fit_option.h: --gpu, --vram, --bandwidth, --runtime and --kv, of fit, budgets and sweeps. */
#ifndef MQ_FIT_OPTION_H
#define MQ_FIT_OPTION_H

#include "command.h"
#include "fit_target.h"

struct mq_fit_request mq_option_fit_request(const struct mq_options *options);

/* The cards that the options name, and the kind of cache; false after a message. */
bool mq_option_fit_target(const char *command, const struct mq_options *options,
                          struct mq_fit_target *target, const struct mq_kv_kind **kv);

#endif
