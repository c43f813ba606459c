/*
 * chunks.h: the plan's tensors in chunks of rows: which are finished, by this run or an earlier one.
 *
 * The journal advances with the work: each chunk has its line as soon as it is written, so that a run that is killed
 * loses what it had in hand and nothing more, however slow the machine and however soon the end. What a line says is
 * taken on trust by nobody: a run that goes on reads again what earlier ones have written, before it gives the output
 * its name. So lines need not wait for the disk; it is synced now and then, for what a power cut would cost.
 */
#ifndef MQ_CHUNKS_H
#define MQ_CHUNKS_H

#include "journal.h"
#include "losses.h"
#include "output_int.h"

#include <omp.h>
#include <stdatomic.h>

/* A tensor on its way. */
struct mq_chunked {
    const struct mq_plan_entry *entry;
    uint64_t chunk_rows;
    uint32_t first, chunks; /* its chunks' numbers */
    atomic_uint left;
    uint32_t
        crc; /* of the whole, where `whole`: finished by an earlier run, and chunks' own are not known */
    struct mq_loss loss; /* likewise of the whole, of one that is finished */
    bool whole;
    bool earlier;       /* some of it was written by an earlier run, */
    bool seen, damaged; /* and was read again, and is what was written, or is not */
};

struct mq_chunks {
    const struct mq_plan *plan;
    struct mq_output *output;
    struct mq_chunked *tensors; /* [plan's entries] */
    size_t tensors_count;
    uint32_t *crcs, *tensor; /* [count] of a chunk; the number of its tensor */
    struct mq_loss *losses;  /* [count] */
    bool *skip;              /* [count] there is nothing to do: constant while threads work */
    bool *own;               /* [count] finished by this process, which the others do not know yet */
    size_t count;
    bool settled; /* earlier runs have written all, headers and all, and read some of it again */
    bool *done;   /* [plan's items] */
    uint32_t *item_crcs;        /* [plan's items] */
    omp_lock_t lock;            /* of the journal, and of: */
    uint64_t bytes;             /* since the last sync */
    uint64_t sync_upto;         /* of the journal, by the one that is under way */
    double synced_at;           /* seconds */
    bool sync_busy, sync_failed, has_lock;
};

/* Rows of a chunk. */
uint64_t mq_chunk_rows(const struct mq_plan_entry *entry);

/* The table, with nothing finished. Free it in any case. */
moeq_status mq_chunks_create(struct mq_chunks *c, const struct mq_plan *plan,
                             struct mq_output *output, moeq_error *err);
void mq_chunks_free(struct mq_chunks *c);

/* Where a chunk is: its tensor and rows. */
struct mq_chunk_place {
    struct mq_chunked *tensor;
    uint64_t row, rows;
};
struct mq_chunk_place mq_chunk_place(const struct mq_chunks *c, size_t chunk);

/* What earlier runs have written. `stamp`: the parts' now (output_int.h). */
moeq_status mq_chunks_resume(struct mq_chunks *c, const struct mq_journal_line *lines, size_t count,
                             uint32_t stamp, moeq_error *err);
uint64_t mq_chunks_done_bytes(const struct mq_chunks *c); /* of source, of what is finished */
uint64_t mq_chunks_done_tensors(const struct mq_chunks *c);
uint64_t mq_chunks_unseen_bytes(const struct mq_chunks *c); /* of what earlier runs have written */

/* A chunk is written, with this CRC-32 and this loss. *complete: it was the last of its tensor, whose loss stands. */
moeq_status mq_chunks_finish(struct mq_chunks *c, size_t chunk, uint32_t crc,
                             const struct mq_loss *loss, bool *complete, moeq_error *err);
/* What every rank has finished since the last time, all know: there is nothing to do any more (mq_peers_agree's rules). */
moeq_status mq_chunks_exchange(struct mq_chunks *c, moeq_error *err);
/* Makes all of them durable. */
moeq_status mq_chunks_sync(struct mq_chunks *c, moeq_error *err);

/* The CRC-32 of a finished tensor: of the chunks' bytes in the order in which they were written. */
uint32_t mq_chunks_crc(const struct mq_chunks *c, const struct mq_chunked *tensor);

/* The same of the first chunks, from that of those before (of chunk 0: nothing) and of the last of them. */
uint32_t mq_chunk_join(const struct mq_chunked *tensor, uint32_t chunk, uint32_t before,
                       uint32_t crc);

static inline bool mq_chunk_unseen(const struct mq_chunked *tensor)
{
    return tensor->earlier && !tensor->seen;
}

/* What earlier runs have written is read again. `complete`: the parts are, headers and all, and nothing is written from
 * now on, so that a run that is killed while it reads has done a part of that. */
moeq_status mq_chunks_begin_seeing(struct mq_chunks *c, bool complete, moeq_error *err);
/* A tensor was: `good` if it is what was written. */
moeq_status mq_chunks_saw(struct mq_chunks *c, struct mq_chunked *tensor, bool good,
                          moeq_error *err);
/* What every rank has seen, all know; tensors[count]: the numbers of those that this one was to see. */
moeq_status mq_chunks_exchange_seen(struct mq_chunks *c, const uint32_t *tensors, size_t count,
                                    moeq_error *err);
/* Those that were not are to be done again, which the journal says first; their number. */
moeq_status mq_chunks_forget_damaged(struct mq_chunks *c, size_t *count, moeq_error *err);

#endif
