/*
 * attention.c: causal attention with grouped queries and an optional sliding window.
 *
 * Scores and outputs are matrix products, Q K' and P V, so they use the same kernels as the
 * weights: a score is one chain over head_dim, an output one chain over the keys. A key that a
 * query does not see has the probability 0, which leaves a chain as it was: blocks of queries may
 * share one range of keys without a trace in the bits.
 */
#include "attention.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"
#include "pages.h"
#include "rope.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A multiple of the micro-kernels' 6 and 14 rows; its scores for 2,048 keys, 344 KiB, fit the
 * second-level cache. */
#define QUERY_BLOCK 42

struct mq_attention {
    const struct mq_context *context;
    const struct mq_kernels *kernels;
    struct mq_hparams hparams;
    size_t length, padded;  /* padded: to whole panels of keys */
    float *cosines, *sines; /* [length][head_dim / 2] */
    char *scratch;          /* of all threads */
    size_t thread_bytes;
};

struct thread_scratch {
    float *keys;   /* panels of keys: [padded / MQ_PANEL][head_dim][MQ_PANEL] */
    float *values; /* panels of components: [ceil(head_dim / MQ_PANEL)][padded][MQ_PANEL] */
    float *scores; /* [QUERY_BLOCK][padded + MQ_ROW_PAD] */
};

static struct thread_scratch place(const struct mq_attention *a, char *base, uint64_t *bytes)
{
    const uint64_t dim = a->hparams.head_dim, panels = (dim + MQ_PANEL - 1) / MQ_PANEL;
    const uint64_t keys = a->padded * dim * sizeof(float);
    const uint64_t values = panels * a->padded * MQ_PANEL * sizeof(float);
    const uint64_t scores = QUERY_BLOCK * (a->padded + MQ_ROW_PAD) * sizeof(float);
    *bytes = mq_round_up(keys + values + scores, 4096);
    if (!base)
        return (struct thread_scratch){0};
    return (struct thread_scratch){.keys = (float *)(void *)base,
                                   .values = (float *)(void *)(base + keys),
                                   .scores = (float *)(void *)(base + keys + values)};
}

static void set_sizes(struct mq_attention *a, const struct mq_context *context,
                      const struct mq_hparams *hparams, size_t length)
{
    a->context = context;
    a->kernels = mq_kernels_get(context->isa);
    a->hparams = *hparams;
    a->length = length;
    a->padded = mq_round_up(length, MQ_PANEL);
    uint64_t bytes;
    place(a, NULL, &bytes);
    a->thread_bytes = bytes;
}

uint64_t mq_attention_bytes(const struct mq_context *context, const struct mq_hparams *hparams,
                            size_t length)
{
    struct mq_attention a;
    set_sizes(&a, context, hparams, length);
    return a.thread_bytes * context->threads + (uint64_t)length * hparams->head_dim * sizeof(float);
}

moeq_status mq_attention_create(const struct mq_context *context, const struct mq_hparams *hparams,
                                size_t length, struct mq_attention **attention, moeq_error *err)
{
    struct mq_attention *a = calloc(1, sizeof *a);
    if (!a)
        return mq_fail_memory(err, "preparing attention");
    set_sizes(a, context, hparams, length);
    const size_t table = length * (hparams->head_dim / 2);
    a->cosines = calloc(table, 2 * sizeof(float));
    a->scratch = mq_pages_alloc(a->thread_bytes * context->threads);
    if (!a->cosines || !a->scratch) {
        mq_attention_destroy(a);
        return mq_fail_memory(err, "preparing attention");
    }
    a->sines = a->cosines + table;
    mq_rope_fill(&hparams->rope, hparams->head_dim, length, a->cosines, a->sines);
    *attention = a;
    return MOEQ_OK;
}

void mq_attention_destroy(struct mq_attention *attention)
{
    if (!attention)
        return;
    free(attention->cosines);
    free(attention->scratch);
    free(attention);
}

/* Rotates `heads` heads of every token. */
static void rotate(const struct mq_attention *a, float *x, size_t ld, uint32_t heads,
                   size_t windows)
{
    const size_t dim = a->hparams.head_dim, half = dim / 2;
    const int64_t tokens = (int64_t)(windows * a->length);
#pragma omp parallel for num_threads((int)a->context->threads) schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const size_t position = (size_t)t % a->length;
        for (uint32_t h = 0; h < heads; h++)
            a->kernels->rotate(x + (size_t)t * ld + h * dim, a->cosines + position * half,
                               a->sines + position * half, half);
    }
}

/* Packs one head's keys and values of one window. */
static void pack_head(const struct mq_attention *a, const struct thread_scratch *scratch,
                      const float *k, size_t ldk, const float *v, size_t ldv)
{
    const size_t dim = a->hparams.head_dim;
    for (size_t j = 0; j < a->length; j += MQ_PANEL)
        a->kernels->pack(k + j * ldk, ldk, mq_min_u64(MQ_PANEL, a->length - j), dim,
                         scratch->keys + j * dim);
    for (size_t first = 0; first < dim; first += MQ_PANEL) {
        const size_t n = mq_min_u64(MQ_PANEL, dim - first);
        float *panel = scratch->values + first * a->padded;
        for (size_t j = 0; j < a->length; j++) {
            memcpy(panel + j * MQ_PANEL, v + j * ldv + first, n * sizeof(float));
            memset(panel + j * MQ_PANEL + n, 0, (MQ_PANEL - n) * sizeof(float));
        }
    }
}

/* One head's queries [q0, q1): q points at its first component of the window's first token. */
static void attend_block(const struct mq_attention *a, const struct thread_scratch *scratch,
                         float *q, size_t ldq, size_t q0, size_t q1)
{
    const size_t dim = a->hparams.head_dim, window = a->hparams.sliding_window;
    const size_t ld = a->padded + MQ_ROW_PAD;
    /* the keys that any of these queries sees, from a whole panel on */
    const size_t lo = window && q0 + 1 > window ? (q0 + 1 - window) / MQ_PANEL * MQ_PANEL : 0;
    const size_t keys = q1 - lo, padded = mq_round_up(keys, 16);
    const float scale = (float)(1.0 / sqrt((double)dim));
    float sums[QUERY_BLOCK];

    a->kernels->multiply(q + q0 * ldq, ldq, q1 - q0, scratch->keys + lo * dim, dim * MQ_PANEL, dim,
                         keys, scratch->scores, ld);
    for (size_t i = q0; i < q1; i++) {
        float *row = scratch->scores + (i - q0) * ld;
        const size_t first = window && i + 1 > window ? i + 1 - window : 0;
        for (size_t j = lo; j < first; j++)
            row[j - lo] = -INFINITY;
        for (size_t j = i + 1; j < lo + padded; j++)
            row[j - lo] = -INFINITY;
        sums[i - q0] = a->kernels->softmax(row, padded, scale);
    }
    a->kernels->multiply(scratch->scores, ld, q1 - q0, scratch->values + lo * MQ_PANEL,
                         a->padded * MQ_PANEL, keys, dim, q + q0 * ldq, ldq);
    for (size_t i = q0; i < q1; i++) {
        const float inverse = 1.0f / sums[i - q0];
        for (size_t d = 0; d < dim; d++)
            q[i * ldq + d] *= inverse;
    }
}

void mq_attention_apply(const struct mq_attention *attention, const struct mq_attention_job *job)
{
    const struct mq_attention *a = attention;
    const struct mq_hparams *hp = &a->hparams;
    const size_t dim = hp->head_dim, group = hp->heads / hp->kv_heads;
    rotate(a, job->q, job->ldq, hp->heads, job->windows);
    rotate(a, job->k, job->ldk, hp->kv_heads, job->windows);

    /* A task is a window and a kv head, or, where that gives too few, a head. */
    const size_t parts = job->windows * hp->kv_heads < 4u * a->context->threads ? group : 1;
    const int64_t tasks = (int64_t)(job->windows * hp->kv_heads * parts);
#pragma omp parallel for num_threads((int)a->context->threads) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        if (mq_cancelled(a->context))
            continue;
        uint64_t ignored;
        const struct thread_scratch scratch =
            place(a, a->scratch + (size_t)omp_get_thread_num() * a->thread_bytes, &ignored);
        const size_t part = (size_t)task % parts, kv_head = (size_t)task / parts % hp->kv_heads;
        const size_t first = (size_t)task / parts / hp->kv_heads * a->length;
        pack_head(a, &scratch, job->k + first * job->ldk + kv_head * dim, job->ldk,
                  job->v + first * job->ldv + kv_head * dim, job->ldv);
        for (size_t h = part * group / parts; h < (part + 1) * group / parts; h++) {
            float *q = job->q + first * job->ldq + (kv_head * group + h) * dim;
            for (size_t q0 = 0; q0 < a->length; q0 += QUERY_BLOCK)
                attend_block(a, &scratch, q, job->ldq, q0, mq_min_u64(q0 + QUERY_BLOCK, a->length));
        }
    }
}
