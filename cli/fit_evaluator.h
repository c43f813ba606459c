/* fit_evaluator.h: fit --runtime moeq: what moeq's own evaluator holds. */
#ifndef MQ_FIT_EVALUATOR_H
#define MQ_FIT_EVALUATOR_H

#include "command.h"
#include "model_view.h"

/* Prints the memory of an evaluation of windows of so many tokens (0: 512), against that of --vram or, where it is
 * not given, of this machine. */
enum mq_exit mq_fit_evaluator(const struct mq_options *options, const struct mq_view *view);

#endif
