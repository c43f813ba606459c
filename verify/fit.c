/* fit.c: what a plan needs on a card, by arithmetic. */
#include "fit.h"

#include "checked.h"
#include "error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No total comes near it, so that sums of a few totals cannot overflow. */
static const uint64_t max_bytes = UINT64_C(1) << 60;

struct mq_fit_target mq_fit_target_of(const struct mq_gpu *gpu, uint32_t cards)
{
    return (struct mq_fit_target){.gpu = gpu,
                                  .cards = cards,
                                  .usable_bytes = mq_gpu_usable_bytes(gpu),
                                  .bandwidth_gbs = gpu->bandwidth_gbs,
                                  .unified = gpu->memory == MQ_GPU_UNIFIED};
}

const char *mq_fit_verdict_name(enum mq_fit_verdict verdict)
{
    static const char *const names[] = {
        [MQ_FIT_FITS] = "fits",
        [MQ_FIT_SHORTER] = "shorter_context",
        [MQ_FIT_OFFLOAD] = "offload",
        [MQ_FIT_NO] = "does_not_fit",
    };
    return names[verdict];
}

/* ---- facts of the model, the same for every level ---- */

static bool is_expert(const struct mq_tensor *t)
{
    return t->expert >= 0;
}

/* Of the experts' part, what one token reads: top_k experts of mean size. */
static uint64_t active_share(const struct mq_hparams *h, uint64_t bytes)
{
    return h->experts ? bytes / h->experts * h->top_k : 0;
}

static void count_parameters(struct mq_fit *fit)
{
    const struct mq_hparams *h = &fit->view->hparams;
    uint64_t experts = 0;
    for (size_t i = 0; i < fit->view->tensors_count; i++) {
        const struct mq_tensor *t = &fit->view->tensors[i];
        fit->parameters += t->rows * t->cols;
        experts += is_expert(t) ? t->rows * t->cols : 0;
    }
    /* Experts have equal shapes, so the division is exact. */
    fit->active_parameters = fit->parameters - experts + active_share(h, experts);
}

static uint64_t kv_tokens(const struct mq_fit *fit, uint64_t context)
{
    const uint32_t window = fit->view->hparams.sliding_window;
    return window ? mq_min_u64(window, context) : context;
}

/*
 * The activations of a micro-batch in f32, as if all were alive at once: four copies of the hidden
 * state (residual, normed, attention's and the MLP's output), q, k and v, gate and up of every
 * expert that a token uses, and the logits. Attention is taken not to store its scores
 * (FlashAttention), so the context does not enter.
 */
static bool compute_bytes(const struct mq_hparams *h, uint64_t *bytes)
{
    uint64_t mlp, floats;
    if (!mq_mul_u64(2 * (uint64_t)h->ffn, h->experts ? h->top_k : 1, &mlp))
        return false;
    floats =
        4 * (uint64_t)h->hidden + (h->heads + 2 * (uint64_t)h->kv_heads) * h->head_dim + h->vocab;
    return mq_add_u64(floats, mlp, &floats) &&
           mq_mul_u64(floats, sizeof(float) * MQ_FIT_MICRO_BATCH, bytes) && *bytes < max_bytes;
}

moeq_status mq_fit_begin(const struct mq_view *view, const struct mq_fit_target *target,
                         uint64_t context, const struct mq_level *kv, struct mq_fit *fit,
                         moeq_error *err)
{
    enum { DEFAULT_CONTEXT = 8192 };
    const struct mq_hparams *h = &view->hparams;
    if (!context)
        context = mq_min_u64(h->max_positions, DEFAULT_CONTEXT);
    if (context > MQ_FIT_MAX_CONTEXT)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a context of %" PRIu64 " tokens: at most %d",
                       context, MQ_FIT_MAX_CONTEXT);
    memset(fit, 0, sizeof *fit);
    fit->view = view;
    fit->target = *target;
    fit->context = context;
    fit->kv = kv;
    fit->kv_tokens = kv_tokens(fit, context);
    count_parameters(fit);
    uint64_t all;
    if (!mq_mul_u64(2 * mq_level_row_bytes(kv, (uint64_t)h->kv_heads * h->head_dim), h->layers,
                    &fit->kv_token_bytes) ||
        !mq_mul_u64(fit->kv_token_bytes, mq_max_u64(context, h->max_positions), &all) ||
        all > max_bytes || !compute_bytes(h, &fit->compute_bytes))
        return mq_fail_file(err, MOEQ_LIMIT, view->path,
                            "a KV cache or activations beyond 2^60 bytes: no model has such sizes");
    return MOEQ_OK;
}

/* ---- placing layers on cards ---- */

/* What a plan puts where, in bytes. */
struct parts {
    const struct mq_fit *fit;
    uint32_t layers;
    uint64_t *layer, *experts; /* [layers]: all of a layer's weights; its experts among them */
    uint64_t output; /* head and last norm, and the embedding table where it is on a card */
    uint64_t kv_token_layer;
    uint64_t capacity; /* of one card, for weights and cache */
};

/*
 * True if everything but the first host_layers layers, and but the experts of the first
 * host_experts layers, fits with a cache of so many tokens. Filling card after card in order is
 * optimal, because each card must hold consecutive layers. More on the host, or fewer tokens, never
 * turns true into false: callers search by bisection.
 */
static bool fits(const struct parts *p, uint32_t host_layers, uint32_t host_experts,
                 uint64_t tokens)
{
    uint64_t left = p->capacity;
    uint32_t card = 0;
    for (uint32_t l = host_layers; l <= p->layers; l++) {
        const bool is_output = l == p->layers;
        uint64_t bytes =
            is_output ? p->output : p->layer[l] + p->kv_token_layer * kv_tokens(p->fit, tokens);
        if (!is_output && l < host_experts)
            bytes -= p->experts[l];
        if (bytes > left) {
            if (++card == p->fit->target.cards || bytes > p->capacity)
                return false;
            left = p->capacity;
        }
        left -= bytes;
    }
    return true;
}

/* The longest context that fits, 0 if not even one token. */
static uint64_t longest_context(const struct parts *p)
{
    uint64_t low = 0, high = mq_max_u64(p->fit->view->hparams.max_positions, p->fit->context);
    while (low < high) {
        const uint64_t middle = low + (high - low + 1) / 2;
        if (fits(p, 0, 0, middle))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The fewest layers on the host, of either kind. */
static struct mq_fit_offload fewest(const struct parts *p, bool only_experts)
{
    const struct mq_hparams *h = &p->fit->view->hparams;
    const uint64_t tokens = p->fit->context;
    struct mq_fit_offload o = {0};
    uint32_t low = 0, high = p->layers;
    if (only_experts ? !h->experts || !fits(p, 0, high, tokens) : !fits(p, high, 0, tokens))
        return o;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (only_experts ? fits(p, 0, middle, tokens) : fits(p, middle, 0, tokens))
            high = middle;
        else
            low = middle + 1;
    }
    o.possible = true;
    o.layers = low;
    const uint64_t kv = p->kv_token_layer * p->fit->kv_tokens;
    for (uint32_t l = 0; l < low; l++) {
        const uint64_t active = active_share(h, p->experts[l]);
        o.bytes += only_experts ? p->experts[l] : p->layer[l] + kv;
        o.active_bytes += only_experts ? active : p->layer[l] - p->experts[l] + active + kv;
    }
    return o;
}

static moeq_status collect_parts(const struct mq_fit *fit, const struct mq_plan *plan,
                                 struct parts *p, struct mq_fit_row *row, moeq_error *err)
{
    const struct mq_hparams *h = &fit->view->hparams;
    const uint64_t reserved = ((uint64_t)MQ_FIT_MARGIN_MIB << 20) + fit->compute_bytes;
    *p = (struct parts){.fit = fit, .layers = h->layers};
    p->layer = mq_arena_alloc(plan->arena, h->layers, sizeof *p->layer);
    p->experts = mq_arena_alloc(plan->arena, h->layers, sizeof *p->experts);
    if (!p->layer || !p->experts)
        return mq_fail_memory(err, "fitting a model");
    p->kv_token_layer = fit->kv_token_bytes / h->layers;
    p->capacity = fit->target.usable_bytes > reserved ? fit->target.usable_bytes - reserved : 0;
    for (size_t i = 0; i < fit->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const bool lookup = e->tensor->role == MQ_ROLE_EMBEDDING && !h->tied_head;
        if (e->tensor->layer >= 0) {
            p->layer[e->tensor->layer] += e->size_bytes;
            p->experts[e->tensor->layer] += is_expert(e->tensor) ? e->size_bytes : 0;
        } else if (lookup && !fit->target.unified) {
            row->host_embedding_bytes += e->size_bytes;
        } else {
            p->output += e->size_bytes;
        }
        /* A table that is only looked up in costs a token one row. */
        if (is_expert(e->tensor))
            continue;
        row->active_bytes += lookup ? e->row_bytes : e->size_bytes;
    }
    for (uint32_t l = 0; l < h->layers; l++)
        row->active_bytes += active_share(h, p->experts[l]);
    return MOEQ_OK;
}

/* ---- verdict ---- */

/*
 * One stream reads every active weight and the whole cache once for each token, so
 *     seconds a token >= bytes on the cards / their bandwidth + bytes on the host / its bandwidth.
 * Cards hold consecutive layers and work one after the other: n cards have the bandwidth of one.
 */
static double tokens_per_second(const struct mq_fit *fit, const struct mq_fit_row *row,
                                uint64_t tokens, const struct mq_fit_offload *o)
{
    const uint64_t read = row->active_bytes + fit->kv_token_bytes * kv_tokens(fit, tokens);
    const uint64_t host = o ? o->active_bytes : 0;
    if (!fit->target.bandwidth_gbs)
        return 0;
    return 1 / ((double)(read - host) / (1e9 * fit->target.bandwidth_gbs) +
                (double)host / (1e9 * MQ_FIT_HOST_GBS));
}

static void judge(const struct mq_fit *fit, const struct parts *p, struct mq_fit_row *row)
{
    const uint64_t cards = fit->target.cards;
    row->card_weight_bytes = row->weight_bytes - row->host_embedding_bytes;
    row->kv_bytes = fit->kv_token_bytes * fit->kv_tokens;
    row->compute_bytes = cards * fit->compute_bytes;
    row->margin_bytes = cards * MQ_FIT_MARGIN_MIB << 20;
    row->needed_bytes =
        row->card_weight_bytes + row->kv_bytes + row->compute_bytes + row->margin_bytes;
    row->spare_bytes = (int64_t)(cards * fit->target.usable_bytes) - (int64_t)row->needed_bytes;
    row->max_context = longest_context(p);
    const struct mq_fit_offload *offload = NULL;
    uint64_t tokens = fit->context;
    if (row->max_context >= fit->context) {
        row->verdict = MQ_FIT_FITS;
    } else if (row->max_context >= MQ_FIT_MIN_CONTEXT) {
        row->verdict = MQ_FIT_SHORTER;
        tokens = row->max_context;
    } else {
        row->verdict = MQ_FIT_NO;
    }
    if (row->verdict != MQ_FIT_FITS && !fit->target.unified) {
        row->layers = fewest(p, false);
        row->experts = fewest(p, true);
    }
    if (row->verdict == MQ_FIT_NO && (row->layers.possible || row->experts.possible)) {
        row->verdict = MQ_FIT_OFFLOAD;
        /* Experts first: attention and the cache, which every token reads whole, stay on the card.
         */
        offload = row->experts.possible ? &row->experts : &row->layers;
    }
    if (row->verdict != MQ_FIT_NO)
        row->tokens_per_second = tokens_per_second(fit, row, tokens, offload);
}

moeq_status mq_fit_add(struct mq_fit *fit, const char *name, const struct mq_policy *policy,
                       moeq_error *err)
{
    if (fit->rows_count == MQ_FIT_MAX_ROWS)
        return mq_fail(err, MOEQ_LIMIT, "at most %d levels at once", MQ_FIT_MAX_ROWS);
    struct mq_fit_row *row = &fit->rows[fit->rows_count];
    struct mq_plan *plan = NULL;
    struct parts parts;
    *row =
        (struct mq_fit_row){.name = name, .kld_mean = NAN, .ppl_ratio = NAN, .exact_set_rate = NAN};
    MQ_TRY(mq_plan_create(fit->view, policy, &plan, err));
    row->weights = plan->total.weights;
    row->weight_bytes = plan->total.bytes;
    row->bits_per_weight = mq_bits_per_weight(&plan->total);
    for (size_t i = 0; i < fit->view->tensors_count; i++)
        row->quantized |= plan->entries[i].level->quantized;
    const moeq_status status = collect_parts(fit, plan, &parts, row, err);
    if (status == MOEQ_OK) {
        judge(fit, &parts, row);
        fit->rows_count++;
    }
    mq_plan_free(plan);
    return status;
}

int mq_fit_best(const struct mq_fit *fit)
{
    int best = -1;
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *r = &fit->rows[i], *b = best < 0 ? NULL : &fit->rows[best];
        if (r->verdict != MQ_FIT_FITS)
            continue;
        bool better = !b;
        if (b && r->has_quality && b->has_quality)
            better = r->kld_mean < b->kld_mean ||
                     (r->kld_mean == b->kld_mean && r->weight_bytes < b->weight_bytes);
        else if (b && r->has_quality == b->has_quality)
            better = r->weight_bytes > b->weight_bytes;
        else if (b)
            better = r->has_quality;
        best = better ? (int)i : best;
    }
    return best;
}

void mq_fit_assumptions(const struct mq_fit *fit, char text[MQ_FIT_ASSUMPTIONS][240])
{
    const struct mq_fit_target *t = &fit->target;
    const struct mq_hparams *h = &fit->view->hparams;
    size_t n = 0;
    memset(text, 0, MQ_FIT_ASSUMPTIONS * sizeof *text);
    if (t->gpu && t->usable_bytes == mq_gpu_usable_bytes(t->gpu))
        snprintf(text[n++], 240, "%s (%s)%s", mq_gpu_memory_rule(t->gpu->memory), t->gpu->source,
                 t->unified ? "; --vram for a machine with less" : "");
    else
        snprintf(text[n++], 240, "all of the memory given with --vram is usable");
    snprintf(
        text[n++], 240,
        "buffers: on each card %d MiB stay free for the driver and fragmentation, and %.0f MiB "
        "hold the f32 activations of %d tokens; attention does not store its scores "
        "(FlashAttention)",
        MQ_FIT_MARGIN_MIB, (double)fit->compute_bytes / 0x1p20, MQ_FIT_MICRO_BATCH);
    if (t->unified)
        snprintf(text[n++], 240, "the embedding table counts too: memory is unified");
    else if (h->tied_head)
        snprintf(text[n++], 240, "the embedding table is on the card: it is the head too");
    else
        snprintf(text[n++], 240,
                 "the embedding table stays on the host: a token reads one row of it");
    if (h->sliding_window && fit->kv_tokens < fit->context)
        snprintf(text[n++], 240, "the KV cache holds the sliding window of %u tokens only",
                 h->sliding_window);
    if (t->cards > 1)
        snprintf(text[n++], 240,
                 "whole layers, card after card; buffers and margin count on each of the %u cards; "
                 "one stream has the bandwidth of one card",
                 t->cards);
    if (t->bandwidth_gbs)
        snprintf(text[n++], 240,
                 "tokens/s: an upper bound for one stream with a full context, bandwidth / (active "
                 "weights + KV cache)");
    bool offloads = false;
    for (size_t i = 0; i < fit->rows_count; i++)
        offloads |= fit->rows[i].verdict == MQ_FIT_OFFLOAD;
    if (t->bandwidth_gbs && offloads)
        snprintf(text[n++], 240,
                 "what is on the host is read at %d GB/s (two channels of DDR5-5600)",
                 MQ_FIT_HOST_GBS);
}
