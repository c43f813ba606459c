/* importance_option.h: --calibration FILE, of convert, export and sweep. */
#ifndef MQ_IMPORTANCE_OPTION_H
#define MQ_IMPORTANCE_OPTION_H

#include "command.h"
#include "importance.h"

/* False after a message: --calibration where nothing is quantized. */
bool mq_importance_option_check(const char *command, const struct mq_options *options);

/* The importance of columns in FILE, for policies about the view; NULL where the option is not given. */
moeq_status mq_importance_option_read(const struct mq_options *options, struct mq_view *view,
                                      struct mq_importance **importance, moeq_error *err);

#endif
