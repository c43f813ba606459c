/* gpu_auto.h: the cards of the machine that this runs on. */
#ifndef MQ_GPU_AUTO_H
#define MQ_GPU_AUTO_H

#include "fit.h"

/* Adds them. dash: see mq_fit_request. */
moeq_status mq_gpu_auto(const char *dash, struct mq_fit_target *target, moeq_error *err);

#endif
