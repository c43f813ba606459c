/* gpu_auto.h: --gpu auto. */
#ifndef MQ_GPU_AUTO_H
#define MQ_GPU_AUTO_H

#include "command.h"
#include "fit.h"

/* This machine's cards; false after a message. */
bool mq_gpu_auto(const char *command, struct mq_fit_target *target);

#endif
