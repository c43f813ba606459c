/* job_int.h: a conversion at work, what its threads do with rows (convert_rows.c), and what its ranks deal out and tell each
 * other (job_ranks.c); the loop over them: convert.c. */
#ifndef MQ_JOB_INT_H
#define MQ_JOB_INT_H

#include "chunks.h"
#include "convert_int.h"
#include "division.h"
#include "first_error.h"
#include "nonfinite.h"
#include "source_sums.h"

#include <omp.h>
#include <stdatomic.h>

struct mq_job {
    const struct mq_context *context;
    const struct mq_plan *plan;
    struct mq_output output;
    mq_place_fn *place; /* for what is encoded: mq_place_write, unless it is compared */
    struct mq_chunks table;
    struct mq_source_sums sums;
    struct mq_division division;
    /* Chunks, or tensors to be read again, that are to be done, each in its turn, where that is not the plan's order, or
     * not all of them; otherwise NULL. */
    uint32_t *list;
    size_t list_count;
    uint64_t *level_work; /* [mq_levels_count] with peers: of a weight (job_ranks.c) */
    atomic_size_t next; /* turn */
    struct mq_first_error failed;
    bool allow_loss;
    bool scan;            /* see mq_convert_plan: copies are looked at, nothing is written */
    atomic_bool counting; /* nothing is written (any more): only weights that are no numbers */
    uint64_t resumed;     /* tensors that an earlier run has finished, */
    uint64_t damaged;     /* and those that were damaged since */
    uint64_t raw_bytes, weights, turned, columns, decoded, encoded_bytes,
        room;        /* struct mq_scratch */
    omp_lock_t lock; /* of: */
    struct mq_losses losses;
    struct mq_nonfinite *found; /* [plan's entries]: what cannot stay; of a scan, what can */
    bool refused;
    const char *phase;
    uint64_t bytes_done, bytes_total; /* of source, for progress */
};

/* Of one thread. */
struct mq_scratch {
    uint8_t *raw, *encoded, *room;
    float *weights, *turned, *columns, *decoded;
};

/* Memory that the job needs, whatever is finished already: called before anything is written. Then the threads that it
 * allows, each with its own scratch. */
moeq_status mq_job_plan_memory(struct mq_job *job, moeq_error *err);
moeq_status mq_job_choose_threads(const struct mq_job *job, unsigned *threads, moeq_error *err);
bool mq_scratch_allocate(const struct mq_job *job, struct mq_scratch *s); /* free it in any case */
void mq_scratch_free(struct mq_scratch *s);

/* Reads the rows of a chunk into s->raw and decodes blocks, also those that are to be copied, into
 * s->weights; gives the weights that are NaN or infinite. */
moeq_status mq_job_read_rows(struct mq_job *job, size_t turn, const struct mq_chunk_place *p,
                             const struct mq_scratch *s, struct mq_nonfinite *bad, moeq_error *err);

/* What those became, through the scratch to the output; gives the CRC of what is written, in that order, and the loss.
 * `any`: some weights are NaN or infinite. */
moeq_status mq_job_convert_rows(const struct mq_job *job, const struct mq_plan_entry *e,
                                uint64_t row, uint64_t rows, bool any, const struct mq_scratch *s,
                                uint32_t *crc, struct mq_loss *loss, moeq_error *err);

/* What rows of s->weights lose by what they are encoded to. */
struct mq_loss mq_job_loss(const struct mq_job *job, const struct mq_plan_entry *e,
                           const uint8_t *encoded, uint64_t rows, const struct mq_scratch *s);

/* Makes job->list: of all chunks that are not finished, or tensors that an earlier run has written, this rank's. */
moeq_status mq_job_list_chunks(struct mq_job *job, moeq_error *err);
moeq_status mq_job_list_unseen(struct mq_job *job, moeq_error *err);

/* job->found and job->refused become those of all ranks. */
moeq_status mq_job_exchange_found(struct mq_job *job, moeq_error *err);

/* Encoded rows to the output, or what else `place` does. */
moeq_status mq_job_place_rows(const struct mq_job *job, const struct mq_plan_entry *e, uint64_t row,
                              uint64_t rows, uint8_t *bytes, const struct mq_scratch *s,
                              uint32_t *crc, moeq_error *err);

#endif
