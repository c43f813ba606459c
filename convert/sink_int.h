/* sink_int.h: a conversion as an encoder meets it. */
#ifndef MQ_SINK_INT_H
#define MQ_SINK_INT_H

#include "chunks.h"
#include "convert.h"

struct mq_convert_sink {
    struct mq_job *job; /* (job_int.h) */
    const struct mq_plan *plan;
    struct mq_chunks *table;
    const char *states; /* path: where an encoder has got to; NULL: nothing is kept, as every rank has only a part of it */
};

#endif
