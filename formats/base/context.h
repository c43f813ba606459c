/* context.h: what every long job is given: threads, memory, kernels, progress, cancellation. */
#ifndef MQ_CONTEXT_H
#define MQ_CONTEXT_H

#include "cpu.h"
#include "peers.h"

#include <stdatomic.h>
#include <stdio.h>

struct mq_progress {
    const char *phase;    /* what is going on: "convert", "pass 1/2 layer 3/32" */
    uint64_t done, total; /* of `unit` */
    const char *unit;     /* "bytes", "weights", "tokens" */
};

struct mq_context {
    enum mq_isa isa;
    unsigned threads;      /* at least 1 */
    uint64_t memory_bytes; /* the job's budget for its buffers; 0: the job's default */
    unsigned sharing;      /* processes of the job that share the machine's memory, with this one; 0: as 1 */
    /* Called from any one thread at a time, many times a second; NULL is fine. */
    void (*progress)(void *user, const struct mq_progress *progress);
    void *progress_user;
    /* Set from a signal handler to stop at the next safe point with MOEQ_CANCELLED. */
    atomic_bool *cancel;
    /* Who does the job with this process; NULL: nobody. What does not know of them does all of it in every one. */
    const struct mq_peers *peers;
    uint64_t batch_tokens; /* with peers, tokens that go together from layer to layer; 0: as many as are good */
    unsigned pipelines;    /* with peers, how many groups of ranks share the windows, the layers within each; 0: likewise */
    const char *scratch;   /* the folder for what memory has no room for; NULL: TMPDIR, or /tmp */
};

/* How many threads a parallel loop is worth that has so many operations (multiply-adds, or floats
 * to move): one where starting the others would take longer, which waits for them on a busy machine
 * besides. */
enum { MQ_TEAM_OPERATIONS = 1 << 17 };
static inline int mq_team(const struct mq_context *context, uint64_t operations)
{
    return operations < MQ_TEAM_OPERATIONS ? 1 : (int)context->threads;
}

/* "512 MiB", "0.10 MiB": for messages on memory. */
static inline const char *mq_mib(uint64_t bytes, char text[32])
{
    const double mib = (double)bytes / 0x1p20;
    snprintf(text, 32, "%.*f MiB", mib < 10 ? 2 : 0, mib);
    return text;
}

/* The budget of jobs whose default is half of the machine. */
static inline uint64_t mq_memory_or_half(const struct mq_context *context)
{
    const unsigned sharing = context->sharing ? context->sharing : 1;
    return context->memory_bytes ? context->memory_bytes : mq_physical_memory_bytes() / 2 / sharing;
}

static inline bool mq_cancelled(const struct mq_context *context)
{
    return context->cancel && atomic_load_explicit(context->cancel, memory_order_relaxed);
}

#endif
