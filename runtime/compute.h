/* compute.h: the arithmetic of an arm's matrix products. */
#ifndef MQ_COMPUTE_H
#define MQ_COMPUTE_H

#include <stdbool.h>

enum mq_compute {
    MQ_COMPUTE_F32,  /* the reference */
    MQ_COMPUTE_INT8, /* int8.h, where the weights are quantized; f32 elsewhere */
    MQ_COMPUTE_COUNT
};

const char *mq_compute_name(enum mq_compute compute); /* "f32", "int8" */
bool mq_compute_find(const char *name, enum mq_compute *compute);

#endif
