/* losses_print.h: what levels lost of matrices, for people. */
#ifndef MQ_LOSSES_PRINT_H
#define MQ_LOSSES_PRINT_H

#include "command.h"
#include "losses.h"

/* Nothing where nothing lost more than usual. name: of what, or NULL where it is clear. */
void mq_print_losses(const struct mq_options *options, const char *name,
                     const struct mq_losses *losses);

#endif
