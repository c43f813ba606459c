/*
 * pipeline.h: who evaluates what, where several processes share a job (peers.h).
 *
 * The layers are dealt to the stages of a pipeline, in contiguous runs of about equal work; batches of windows flow
 * through it, so that every process reads its own layers alone. Where there are more processes than layers can use,
 * there are several pipelines, each of which has its own run of windows.
 *
 *     rank     pipeline 0: | stage 0 | stage 1 | ... |   pipeline 1: | stage 0 | ...    idle: the rest
 *
 * All ranks divide alike: what depends on a machine they agree upon before. (Batches that are smaller, where memory wants it, change
 * nothing of who does what.)
 */
#ifndef MQ_PIPELINE_H
#define MQ_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a layer, or the head behind the last one, costs, in multiply-adds. */
struct mq_layer_cost {
    double once;  /* by each process that runs it */
    double batch; /* for every batch: its weights are read, decoded and packed */
    double token; /* for every token */
    double read;  /* where its weights stand all processes share: by each of them in turn */
};

struct mq_pipeline_work {
    const struct mq_layer_cost *costs; /* [layers + 1]: of the layers, then of the head */
    uint32_t layers;
    size_t windows, length;    /* tokens of a window */
    uint64_t batch_tokens;     /* 0: as many as are good */
    unsigned pipelines;        /* 0: likewise */
    bool again; /* every batch reads its weights from the disk again: no memory holds them */
    bool apart; /* stages do not wait for each other: all work on all windows at the same time */
};

struct mq_pipelines {
    unsigned pipelines, stages; /* of each; stages * pipelines ranks at most: the rest is idle */
    size_t batch;               /* windows */
    double greatest;            /* what a stage takes for a batch, at most */
    double time;                /* what all takes, in multiply-adds */
    double read;                /* what a rank reads, of all weights */
};

/* Of at least one window, among at least one rank. */
struct mq_pipelines mq_pipeline_divide(const struct mq_pipeline_work *work, unsigned ranks);

/* What one rank does. */
struct mq_part {
    bool idle;
    unsigned pipeline, stage;
    uint32_t layer_begin, layer_end;
    bool head; /* the last stage: the final norm and the head besides */
    size_t window_begin, window_end;
};
/* The stages of a pipeline are ranks in order, so the neighbours of one are those before and after it. */
struct mq_part mq_pipeline_part(const struct mq_pipeline_work *work,
                                const struct mq_pipelines *division, unsigned rank);

#endif
