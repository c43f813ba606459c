/* fit_print.h: the result of fit on a terminal. */
#ifndef MQ_FIT_PRINT_H
#define MQ_FIT_PRINT_H

#include "command.h"
#include "fit.h"

enum { MQ_FIT_TARGET_NAME = 256 };

/* "2 x GeForce RTX 3090", "GeForce RTX 3090 and GeForce RTX 3060", "2 cards with 24.00 GiB" */
void mq_fit_target_name(const struct mq_fit_target *target, char text[MQ_FIT_TARGET_NAME]);

void mq_print_fit(const struct mq_options *options, const struct mq_fit *fit);

#endif
