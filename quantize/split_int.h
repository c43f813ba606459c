/* split_int.h: the rows of split.c's table that are of GGML's blocks: split_repack.c. */
#ifndef MQ_SPLIT_INT_H
#define MQ_SPLIT_INT_H

#include "split.h"

extern const struct mq_split mq_split_repacks[];
extern const size_t mq_split_repacks_count;

#endif
