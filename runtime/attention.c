/*
 * attention.c: causal attention with grouped queries and an optional sliding window.
 *
 * Scores and outputs are matrix products, Q K' and P V, so they use the same kernels as the
 * weights: a score is one chain over head_dim, an output one chain over the keys. A key that a
 * query does not see has the probability 0, which leaves a chain as it was: blocks of queries may
 * share one range of keys without a trace in the bits. So may tokens that come one after the other,
 * whose keys and values are kept as the products take them (cache.h).
 */
#include "attention.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"
#include "pages.h"
#include "portable_math.h"
#include "rope.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A multiple of the micro-kernels' 6 and 14 rows; its scores for 2,048 keys, 344 KiB, fit the
 * second-level cache. */
#define QUERY_BLOCK 42

/* Cosines and sines of one of the model's rotary embeddings, of heads of which so many numbers are
 * turned. */
struct rotary {
    enum mq_rope_of of;
    uint32_t dim;
    float *cosines, *sines; /* [length][dim / 2] */
};

struct mq_attention {
    const struct mq_context *context;
    const struct mq_kernels *kernels;
    size_t length, padded;                  /* padded: to whole panels of keys */
    struct rotary rotary[MQ_PROGRAM_KINDS]; /* one for each embedding and rotary_dim */
    size_t rotary_count;
    float ones[MQ_MAX_HEAD_DIM]; /* the weights of norms without */
    char *scratch; /* of all threads */
    size_t thread_bytes;
};

/* One layer's attention over the job at hand. */
struct work {
    const struct mq_attention *a;
    const struct mq_layer_attention *layer;
    const struct mq_attention_job *job;
    const struct rotary *rotary; /* NULL: positions are not said */
    size_t position, queries;    /* of each window: where its queries begin, and how many there are, */
    size_t keys;                 /* and keys in the job, the last of which is the last query's */
};

/* One head's keys and values, packed: keys[0] is that of position `base`, a multiple of MQ_PANEL. */
struct packed_head {
    float *keys;   /* panels of keys: [stride / MQ_PANEL][head_dim][MQ_PANEL] */
    float *values; /* panels of components: [ceil(value_dim / MQ_PANEL)][stride][MQ_PANEL] */
    size_t base, stride;
};

struct thread_scratch {
    struct packed_head head;
    float *scores; /* [QUERY_BLOCK][padded + MQ_ROW_PAD] */
};

static struct thread_scratch place(size_t padded, const struct mq_layer_attention *layer,
                                   char *base, uint64_t *bytes)
{
    const uint64_t panels = ((uint64_t)layer->value_dim + MQ_PANEL - 1) / MQ_PANEL;
    const uint64_t keys = padded * (uint64_t)layer->head_dim * sizeof(float);
    const uint64_t values = panels * padded * MQ_PANEL * sizeof(float);
    const uint64_t scores = QUERY_BLOCK * (padded + MQ_ROW_PAD) * sizeof(float);
    *bytes = mq_round_up(keys + values + scores, 4096);
    if (!base)
        return (struct thread_scratch){0};
    return (struct thread_scratch){.head = {.keys = (float *)(void *)base,
                                            .values = (float *)(void *)(base + keys),
                                            .stride = padded},
                                   .scores = (float *)(void *)(base + keys + values)};
}

static const struct rotary *rotary_of(const struct mq_attention *a,
                                      const struct mq_layer_attention *layer)
{
    for (size_t i = 0; i < a->rotary_count; i++)
        if (a->rotary[i].of == layer->rope && a->rotary[i].dim == layer->rotary_dim)
            return &a->rotary[i];
    return NULL;
}

static bool has_heads(const struct mq_layer_attention *layer)
{
    return layer->kind == MQ_MIXER_GROUPED || layer->kind == MQ_MIXER_LATENT;
}

static void set_sizes(struct mq_attention *a, const struct mq_context *context,
                      const struct mq_model_program *program, size_t length)
{
    memset(a, 0, sizeof *a);
    a->context = context;
    a->kernels = mq_kernels_get(context->isa);
    a->length = length;
    a->padded = mq_round_up(length, MQ_PANEL);
    for (size_t i = 0; i < MQ_MAX_HEAD_DIM; i++)
        a->ones[i] = 1.0f;
    for (size_t i = 0; i < program->kinds_count; i++) {
        const struct mq_layer_attention *l = &program->kinds[i].layer.attention;
        uint64_t bytes;
        if (!has_heads(l))
            continue;
        place(a->padded, l, NULL, &bytes);
        a->thread_bytes = mq_max_u64(a->thread_bytes, bytes);
        if (l->rope != MQ_ROPE_OF_NONE && !rotary_of(a, l))
            a->rotary[a->rotary_count++] = (struct rotary){.of = l->rope, .dim = l->rotary_dim};
    }
}

uint64_t mq_attention_bytes(const struct mq_context *context,
                            const struct mq_model_program *program, size_t length)
{
    struct mq_attention a;
    set_sizes(&a, context, program, length);
    uint64_t bytes = a.thread_bytes * context->threads;
    for (size_t i = 0; i < a.rotary_count; i++)
        bytes += (uint64_t)length * a.rotary[i].dim * sizeof(float);
    return bytes;
}

static const struct mq_rope *rope_of(const struct mq_hparams *hparams, const struct rotary *r)
{
    return r->of == MQ_ROPE_OF_LOCAL ? &hparams->rope_local : &hparams->rope;
}

static bool fill_rotary(struct rotary *r, const struct mq_rope *rope, size_t length)
{
    const size_t table = length * (r->dim / 2);
    r->cosines = calloc(table, 2 * sizeof(float));
    if (!r->cosines)
        return false;
    r->sines = r->cosines + table;
    mq_rope_fill(rope, r->dim, length, r->cosines, r->sines);
    return true;
}

void mq_attention_turn_for(struct mq_attention *a, const struct mq_hparams *hparams, size_t length)
{
    for (size_t i = 0; i < a->rotary_count; i++)
        mq_rope_fill(rope_of(hparams, &a->rotary[i]), a->rotary[i].dim,
                     mq_min_u64(length, a->length), a->rotary[i].cosines, a->rotary[i].sines);
}

moeq_status mq_attention_create(const struct mq_context *context,
                                const struct mq_model_program *program,
                                const struct mq_hparams *hparams, size_t length,
                                struct mq_attention **attention, moeq_error *err)
{
    struct mq_attention *a = malloc(sizeof *a);
    if (!a)
        return mq_fail_memory(err, "preparing attention");
    set_sizes(a, context, program, length);
    a->scratch = mq_pages_alloc(a->thread_bytes * context->threads + 1);
    bool ok = a->scratch != NULL;
    for (size_t i = 0; ok && i < a->rotary_count; i++)
        ok = fill_rotary(&a->rotary[i], rope_of(hparams, &a->rotary[i]), length);
    if (!ok) {
        mq_attention_destroy(a);
        return mq_fail_memory(err, "preparing attention");
    }
    *attention = a;
    return MOEQ_OK;
}

void mq_attention_destroy(struct mq_attention *attention)
{
    if (!attention)
        return;
    for (size_t i = 0; i < attention->rotary_count; i++)
        free(attention->rotary[i].cosines);
    free(attention->scratch);
    free(attention);
}

/* Neighbours become halves: q and k may stand in any order that is the same for both. */
static void part_neighbours(float *x, size_t half)
{
    float parted[MQ_MAX_HEAD_DIM];
    for (size_t i = 0; i < half; i++) {
        parted[i] = x[2 * i];
        parted[half + i] = x[2 * i + 1];
    }
    memcpy(x, parted, 2 * half * sizeof(float));
}

/* Turns a head by the position of its token. */
static void rotate(const struct work *w, float *x, size_t position)
{
    const size_t half = w->rotary->dim / 2;
    if (w->layer->kind == MQ_MIXER_LATENT) /* the last numbers, else the first */
        x += w->layer->head_dim - w->rotary->dim;
    if (w->layer->pairs == MQ_ROTARY_NEIGHBOURS)
        part_neighbours(x, half);
    w->a->kernels->rotate(x, w->rotary->cosines + position * half,
                          w->rotary->sines + position * half, half);
}

/* What queries are multiplied by at a position (Llama 4, Mistral). */
static float query_scale(const struct mq_layer_attention *l, size_t position)
{
    const double steps =
        floor(((double)position + (double)l->query_shift) / (double)l->query_positions);
    return (float)(1 + (double)l->query_beta * mq_log(1 + steps));
}

/* Positions, the norms after them, and what is done to queries alone, of `count` heads of every
 * token; `each`: tokens of a window. */
static void turn(const struct work *w, const struct mq_heads *heads, size_t each, uint32_t count,
                 const float *norm, bool queries)
{
    const struct mq_attention *a = w->a;
    const struct mq_layer_attention *l = w->layer;
    const int64_t tokens = (int64_t)(w->job->windows * each);
    const size_t first = w->position + w->queries - each;
    const int team = mq_team(a->context, (uint64_t)tokens * count * l->head_dim);
    const bool scaled = queries && l->query_beta != 0;
    const bool normed = l->qk_norm == MQ_QK_NORM_HEAD_AFTER || l->qk_norm == MQ_QK_NORM_PLAIN_AFTER;
    if (!w->rotary && !scaled && !normed)
        return;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const size_t position = first + (size_t)t % each;
        const float scale = scaled ? query_scale(l, position) : 1.0f;
        for (uint32_t h = 0; h < count; h++) {
            float *x = heads->at + (size_t)t * heads->ld + h * heads->head;
            if (w->rotary)
                rotate(w, x, position);
            if (normed)
                a->kernels->rms_norm(x, norm ? norm : a->ones, l->head_dim, w->job->norm_eps, x);
            for (size_t i = 0; scaled && i < l->head_dim; i++)
                x[i] *= scale;
        }
    }
}

/* Packs one head's keys of the tokens [from, from + count). */
static void pack_keys(const struct work *w, const struct packed_head *head, const float *k,
                      size_t ld, size_t from, size_t count)
{
    const size_t dim = w->layer->head_dim;
    size_t j = 0;
    for (; (from + j) % MQ_PANEL && j < count; j++) /* a panel that has some already */
        for (size_t d = 0; d < dim; d++)
            head->keys[(from + j) / MQ_PANEL * dim * MQ_PANEL + d * MQ_PANEL +
                       (from + j) % MQ_PANEL] = k[j * ld + d];
    for (; j < count; j += MQ_PANEL)
        w->a->kernels->pack(k + j * ld, ld, mq_min_u64(MQ_PANEL, count - j), dim,
                            head->keys + (from + j) * dim);
}

static void pack_values(const struct work *w, const struct packed_head *head, const float *v,
                        size_t ld, size_t from, size_t count)
{
    const size_t dim = w->layer->value_dim;
    for (size_t first = 0; first < dim; first += MQ_PANEL) {
        const size_t n = mq_min_u64(MQ_PANEL, dim - first);
        float *panel = head->values + first * head->stride + from * MQ_PANEL;
        for (size_t j = 0; j < count; j++) {
            memcpy(panel + j * MQ_PANEL, v + j * ld + first, n * sizeof(float));
            memset(panel + j * MQ_PANEL + n, 0, (MQ_PANEL - n) * sizeof(float));
        }
    }
}

static float *head_at(const struct mq_heads *heads, size_t token, size_t head)
{
    return heads->at + token * heads->ld + head * heads->head;
}

/* One head's keys and values of the tokens from `token` of the job on, as tokens [from, from + keys). */
static void pack_head(const struct work *w, const struct packed_head *head, size_t token,
                      size_t kv_head, size_t from)
{
    const struct mq_attention_job *job = w->job;
    pack_keys(w, head, head_at(&job->k, token, kv_head), job->k.ld, from, w->keys);
    pack_values(w, head, head_at(&job->v, token, kv_head), job->v.ld, from, w->keys);
}

/* The first key that query i sees. */
static size_t first_key(const struct mq_layer_attention *l, size_t i)
{
    const size_t window = l->window && i + 1 > l->window ? i + 1 - l->window : 0;
    const size_t chunk = l->chunk ? i / l->chunk * l->chunk : 0;
    return window > chunk ? window : chunk;
}

/* The softmax of one query's scores, [padded] from key lo on, of which it sees [first, last]; returns
 * the sum by which it is yet to be divided. A sink is a score more. */
static float probabilities(const struct work *w, float *row, size_t padded, size_t lo, size_t first,
                           size_t last, const float *sink)
{
    const struct mq_kernels *kernels = w->a->kernels;
    float scale = w->layer->scale;
    if (w->layer->softcap != 0) {
        kernels->softcap(row, padded, scale, w->layer->softcap);
        scale = 1.0f;
    }
    for (size_t j = lo; j < first; j++)
        row[j - lo] = -INFINITY;
    for (size_t j = last + 1; j < lo + padded; j++)
        row[j - lo] = -INFINITY;
    if (!sink)
        return kernels->softmax(row, padded, scale);
    float top = -INFINITY;
    for (size_t j = 0; j < padded; j++)
        top = row[j] > top ? row[j] : top;
    const double rest = mq_exp((double)*sink - (double)(top * scale));
    return (float)((double)kernels->softmax(row, padded, scale) + rest);
}

/* One head's queries [q0, q1), numbered by their positions: q and out point at the first component
 * of the first query that the job has. */
static void attend_block(const struct work *w, const struct packed_head *head, float *scores,
                         const float *q, float *out, const float *sink, size_t q0, size_t q1)
{
    const struct mq_attention *a = w->a;
    const size_t dim = w->layer->head_dim, value_dim = w->layer->value_dim;
    const size_t ldq = w->job->q.ld, ldo = w->job->out.ld, ld = a->padded + MQ_ROW_PAD;
    /* the keys that any of these queries sees, from a whole panel on */
    const size_t lo = first_key(w->layer, q0) / MQ_PANEL * MQ_PANEL;
    const size_t keys = q1 - lo, padded = mq_round_up(keys, 16);
    float sums[QUERY_BLOCK];

    q += (q0 - w->position) * ldq;
    out += (q0 - w->position) * ldo;
    a->kernels->multiply(q, ldq, q1 - q0, head->keys + (lo - head->base) * dim, dim * MQ_PANEL, dim,
                         keys, scores, ld);
    for (size_t i = q0; i < q1; i++)
        sums[i - q0] = probabilities(w, scores + (i - q0) * ld, padded, lo, first_key(w->layer, i),
                                     i, sink);
    a->kernels->multiply(scores, ld, q1 - q0, head->values + (lo - head->base) * MQ_PANEL,
                         head->stride * MQ_PANEL, keys, value_dim, out, ldo);
    for (size_t i = 0; i < q1 - q0; i++) {
        const float inverse = 1.0f / sums[i];
        for (size_t d = 0; d < value_dim; d++)
            out[i * ldo + d] *= inverse;
    }
}

/* The place of a head in a cache. */
static struct packed_head cached_head(const struct mq_layer_attention *l,
                                      const struct mq_key_cache *cache, size_t kv_head)
{
    return (struct packed_head){
        .keys = cache->keys + kv_head * cache->stride * l->head_dim,
        .values = cache->values + kv_head * cache->stride * mq_round_up(l->value_dim, MQ_PANEL),
        .base = cache->base,
        .stride = cache->stride,
    };
}

/* A window's head of k and v, and of the heads of q that share it, part number `part` of `parts`. */
static void attend(const struct work *w, size_t window, size_t kv_head, size_t part, size_t parts)
{
    const struct mq_attention *a = w->a;
    const struct mq_attention_job *job = w->job;
    const size_t group = w->layer->heads / w->layer->kv_heads, first = window * w->queries;
    const size_t end = w->position + w->queries;
    uint64_t ignored;
    const struct thread_scratch scratch = place(
        a->padded, w->layer, a->scratch + (size_t)omp_get_thread_num() * a->thread_bytes, &ignored);
    struct packed_head packed = scratch.head;
    if (job->past && job->past->cache)
        packed = cached_head(w->layer, job->past->cache, kv_head);
    else
        pack_head(w, &packed, window * w->keys, kv_head, 0);
    for (size_t g = part * group / parts; g < (part + 1) * group / parts; g++) {
        const size_t head = kv_head * group + g;
        for (size_t q0 = w->position; q0 < end; q0 += QUERY_BLOCK)
            attend_block(w, &packed, scratch.scores, head_at(&job->q, first, head),
                         head_at(&job->out, first, head), job->sinks ? job->sinks + head : NULL, q0,
                         mq_min_u64(q0 + QUERY_BLOCK, end));
    }
}

/* ---- keys and values that are kept ---- */

/* As many keys as any query sees, and those that share their first one's panel; 0: all. */
static size_t keys_seen(const struct mq_layer_attention *l)
{
    const uint32_t a = l->window, b = l->chunk;
    const uint32_t least = a && b ? (a < b ? a : b) : a + b;
    return least ? least + MQ_PANEL : 0;
}

size_t mq_key_cache_stride(const struct mq_layer_attention *layer, size_t tokens, size_t at_once)
{
    const size_t seen = keys_seen(layer);
    return mq_round_up(seen ? mq_min_u64(2 * seen + at_once, tokens) : tokens, MQ_PANEL);
}

/* Makes room for more tokens, where no query sees the first ones any more. */
static void drop_unseen(const struct work *w, struct mq_key_cache *cache)
{
    const struct mq_layer_attention *l = w->layer;
    const size_t base = first_key(l, w->position) / MQ_PANEL * MQ_PANEL, gone = base - cache->base;
    const size_t kept = mq_round_up(w->position - base, MQ_PANEL);
    for (size_t h = 0; h < l->kv_heads; h++) {
        const struct packed_head head = cached_head(l, cache, h);
        memmove(head.keys, head.keys + gone * l->head_dim, kept * l->head_dim * sizeof(float));
        for (size_t first = 0; first < l->value_dim; first += MQ_PANEL) {
            float *panel = head.values + first * head.stride;
            memmove(panel, panel + gone * MQ_PANEL, kept * MQ_PANEL * sizeof(float));
        }
    }
    cache->base = base;
}

static void keep(const struct work *w, struct mq_key_cache *cache)
{
    const struct mq_layer_attention *l = w->layer;
    if (w->position + w->keys - cache->base > cache->stride)
        drop_unseen(w, cache);
    const uint64_t numbers = w->keys * (uint64_t)l->kv_heads * (l->head_dim + l->value_dim);
#pragma omp parallel for num_threads(mq_team(w->a->context, 4 * numbers)) schedule(static)
    for (int64_t h = 0; h < (int64_t)l->kv_heads; h++) {
        const struct packed_head head = cached_head(l, cache, (size_t)h);
        pack_head(w, &head, 0, (size_t)h, w->position - cache->base);
    }
}

void mq_attention_apply(const struct mq_attention *attention, const struct mq_attention_job *job)
{
    const struct mq_attention *a = attention;
    const struct mq_layer_attention *l = job->layer;
    const struct mq_attention_past *past = job->past;
    struct work w = {.a = a,
                     .layer = l,
                     .job = job,
                     .rotary = l->rope == MQ_ROPE_OF_NONE ? NULL : rotary_of(a, l),
                     .queries = past ? past->tokens : a->length};
    w.position = past ? past->position : 0;
    w.keys = past && past->cache ? w.queries : w.position + w.queries;
    turn(&w, &job->q, w.queries, l->heads, job->q_norm, true);
    turn(&w, &job->k, w.keys, l->kv_heads, job->k_norm, false);
    if (past && past->cache)
        keep(&w, past->cache);

    /* A task is a window and a kv head, or, where that gives too few, a head. */
    const size_t few = job->windows * l->kv_heads < 4u * a->context->threads;
    const size_t parts = few ? l->heads / l->kv_heads : 1;
    const int64_t tasks = (int64_t)(job->windows * l->kv_heads * parts);
    const uint64_t keys = past ? w.position + w.queries : w.queries;
    const int team = mq_team(a->context, job->windows * w.queries * keys * l->heads *
                                             (l->head_dim + l->value_dim));
#pragma omp parallel for num_threads(team) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        const size_t head = (size_t)task / parts;
        if (!mq_cancelled(a->context))
            attend(&w, head / l->kv_heads, head % l->kv_heads, (size_t)task % parts, parts);
    }
}
