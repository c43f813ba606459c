/* gpu_list.h: fit --list-gpus. */
#ifndef MQ_GPU_LIST_H
#define MQ_GPU_LIST_H

#include "command.h"

enum mq_exit mq_list_gpus(const struct mq_options *options);

#endif
