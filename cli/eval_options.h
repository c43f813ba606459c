/* eval_options.h: the options of commands that score a text. */
#ifndef MQ_EVAL_OPTIONS_H
#define MQ_EVAL_OPTIONS_H

#include "command.h"
#include "compute.h"
#include "protocol.h"

/* --protocol, --context and --tokens. False after a message. */
bool mq_option_protocol(const char *command, const struct mq_options *options,
                        struct mq_protocol_options *protocol);

/* --compute; f32 unless given. False after a message. */
bool mq_option_compute(const char *command, const struct mq_options *options,
                       enum mq_compute *compute);

/* "half protocol: 37 windows of 512 tokens, 9435 scored predictions", and which arithmetic it was:
 * "arithmetic: f32"; `more`, unless NULL, says the rest of that line. */
void mq_print_protocol(const struct mq_text_windows *text, enum mq_compute compute,
                       const char *more);

#endif
