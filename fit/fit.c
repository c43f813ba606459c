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

static bool add_cards(struct mq_fit_target *target, struct mq_fit_card card, uint32_t n)
{
    if (n > MQ_GPU_MAX_CARDS - target->cards)
        return false;
    while (n--)
        target->card[target->cards++] = card;
    return true;
}

bool mq_fit_target_add(struct mq_fit_target *target, const struct mq_gpu *gpu, uint64_t label_bytes,
                       uint32_t n)
{
    target->unified |= mq_gpu_is_unified(gpu->memory);
    return add_cards(target,
                     (struct mq_fit_card){gpu, label_bytes,
                                          mq_gpu_usable_bytes(gpu->memory, label_bytes),
                                          gpu->bandwidth_gbs},
                     n);
}

bool mq_fit_target_add_bytes(struct mq_fit_target *target, uint64_t usable_bytes, uint32_t n)
{
    return add_cards(target, (struct mq_fit_card){.usable_bytes = usable_bytes}, n);
}

bool mq_fit_target_is_even(const struct mq_fit_target *t)
{
    for (uint32_t i = 1; i < t->cards; i++)
        if (t->card[i].gpu != t->card[0].gpu || t->card[i].usable_bytes != t->card[0].usable_bytes)
            return false;
    return true;
}

uint64_t mq_fit_target_usable(const struct mq_fit_target *t)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < t->cards; i++)
        sum += t->card[i].usable_bytes;
    return sum;
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

/* The experts of a layer have equal shapes, so the share that a token uses is exact. */
static void count_parameters(struct mq_fit *fit)
{
    const struct mq_view *view = fit->view;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const uint64_t weights = t->rows * t->cols;
        fit->parameters += weights;
        fit->active_parameters += is_expert(t) ? 0 : weights;
    }
    for (uint32_t l = 0; l < view->hparams.layers; l++) {
        const struct mq_program *p = view->program->layers[l];
        struct mq_slot_at at = {0};
        const struct mq_slot *slot;
        while ((slot = mq_program_next(p, &at)))
            if (slot->per_expert)
                fit->active_parameters += slot->rows * slot->cols * p->layer.ffn.router.top_k;
    }
}

/*
 * What one card computes in: f32 activations of a micro-batch, as many as are alive at once. They
 * are most in one of three places:
 *
 *     attention  four hidden states (residual, normed, q, output), and without FlashAttention the
 *                scores: heads x context numbers a token
 *     MLP        two hidden states; of each expert that a token uses, and of each MLP beside
 *                them, gate, up and output
 *     head       a hidden state and the logits
 *
 * All layers share the mask of attention, context numbers a token: f16 with FlashAttention, f32
 * without. It is an input, of which a pipeline of several cards holds copies on each card.
 * (llama.cpp's logs of 2023 to 2025, without FlashAttention: 70.5 MiB for Llama 2 7B at 512 tokens,
 * 358 for 13B and 560 for 70B at 4096, 560 for Llama 3 8B and 1104 for 70B at 8192. This
 * gives 71.5, 368, 584, 560 and 1104.)
 */
static bool compute_bytes(const struct mq_view *view, const struct mq_fit_target *target,
                          uint64_t tokens, uint64_t *bytes)
{
    const bool scores = target->no_flash_attention;
    const uint64_t hidden = view->hparams.hidden;
    const uint64_t mask = (scores ? 4 : 2) * tokens * (target->cards > 1 ? MQ_FIT_MASK_COPIES : 1);
    uint64_t most = hidden + view->hparams.vocab;
    for (size_t i = 0; i < view->program->kinds_count; i++) {
        const struct mq_layer *l = &view->program->kinds[i].layer;
        const uint64_t experts = (uint64_t)l->ffn.router.top_k * l->ffn.rows;
        const uint64_t rows = (l->ffn.router.experts ? experts : l->ffn.rows) + l->ffn.shared_rows +
                              l->ffn.dense_rows;
        const uint64_t parts = (l->ffn.router.experts ? l->ffn.router.top_k : 1) +
                               (l->ffn.shared_rows > 0) + (l->ffn.dense_rows > 0);
        uint64_t attention, mlp;
        if (!mq_mul_u64(scores ? l->attention.heads : 0, tokens, &attention) ||
            !mq_mul_u64(hidden, parts, &mlp) || !mq_add_u64(mlp, 2 * rows, &mlp) ||
            !mq_add_u64(attention, 4 * hidden, &attention) || !mq_add_u64(mlp, 2 * hidden, &mlp))
            return false;
        most = mq_max_u64(most, mq_max_u64(attention, mlp));
    }
    return mq_mul_u64(most, sizeof(float), bytes) && mq_add_u64(*bytes, mask, bytes) &&
           mq_mul_u64(*bytes, MQ_FIT_MICRO_BATCH, bytes) && *bytes < max_bytes;
}

/* The same for a context that is known to be small enough. */
static uint64_t compute_of(const struct mq_fit *fit, uint64_t tokens)
{
    uint64_t bytes = 0;
    compute_bytes(fit->view, &fit->target, tokens, &bytes);
    return bytes;
}

/* What a layer's cache holds of one token. */
static uint64_t kv_token_bytes(const struct mq_fit *fit, uint32_t layer)
{
    const struct mq_layer *l = &fit->view->program->layers[layer]->layer;
    return mq_level_row_bytes(fit->kv, mq_layer_key_numbers(l)) +
           mq_level_row_bytes(fit->kv, mq_layer_value_numbers(l));
}

/* Tokens that a layer sees at a time; 0: all before. */
static uint64_t reach_of(const struct mq_layer *layer)
{
    return layer->attention.window ? layer->attention.window : layer->attention.chunk;
}

/*
 * Whether runtimes keep no more of a layer's cache than its window. llama.cpp, Ollama and LM Studio
 * do for the architectures whose layers differ in it, since those have it in their code
 * (llama-kv-cache-iswa.cpp); for one that is the same everywhere (Mistral's, in the architecture
 * llama) they keep all.
 */
static bool keeps_window(const struct mq_fit *fit, uint32_t layer)
{
    const struct mq_view *view = fit->view;
    const struct mq_layer *l = &view->program->layers[layer]->layer;
    for (size_t i = 0; reach_of(l) && i < view->program->kinds_count; i++)
        if (mq_layer_key_numbers(&view->program->kinds[i].layer) &&
            reach_of(&view->program->kinds[i].layer) != reach_of(l))
            return true;
    return false;
}

/* The tokens of which a layer keeps something: window and micro-batch, in cells of 256. */
static uint64_t kept_tokens(const struct mq_fit *fit, uint32_t layer, uint64_t tokens)
{
    enum { CELLS = 256 };
    const uint64_t reach = reach_of(&fit->view->program->layers[layer]->layer);
    return keeps_window(fit, layer)
               ? mq_min_u64(tokens, mq_round_up(reach + MQ_FIT_MICRO_BATCH, CELLS))
               : tokens;
}

/* What a layer holds of a sequence of so many tokens. */
static uint64_t cache_bytes(const struct mq_fit *fit, uint32_t layer, uint64_t tokens)
{
    return kv_token_bytes(fit, layer) * kept_tokens(fit, layer, tokens);
}

static uint64_t state_bytes(const struct mq_fit *fit, uint32_t layer)
{
    return sizeof(float) * mq_layer_state_numbers(&fit->view->program->layers[layer]->layer,
                                                  fit->view->hparams.hidden);
}

uint64_t mq_fit_kv_bytes(const struct mq_fit *fit, uint64_t tokens)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < fit->view->hparams.layers; l++)
        sum += cache_bytes(fit, l, tokens);
    return sum;
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
    count_parameters(fit);
    const uint64_t most = mq_max_u64(context, h->max_positions);
    uint64_t all, most_compute;
    bool ok = true;
    for (uint32_t l = 0; l < h->layers; l++) {
        ok = ok && mq_add_u64(fit->kv_token_bytes, kv_token_bytes(fit, l), &fit->kv_token_bytes) &&
             mq_add_u64(fit->state_bytes, state_bytes(fit, l), &fit->state_bytes);
        fit->window_token_bytes += keeps_window(fit, l) ? kv_token_bytes(fit, l) : 0;
    }
    if (!ok || !mq_mul_u64(fit->kv_token_bytes, most, &all) || all > max_bytes ||
        fit->state_bytes > max_bytes ||
        !compute_bytes(view, target, most, &most_compute))
        return mq_fail_file(err, MOEQ_LIMIT, view->path,
                            "a KV cache or activations beyond 2^60 bytes: no model has such sizes");
    fit->compute_bytes = compute_of(fit, context);
    return MOEQ_OK;
}

/* ---- placing layers on cards ---- */

/* What a plan puts where, in bytes. */
struct parts {
    const struct mq_fit *fit;
    uint32_t layers;
    uint64_t *layer, *experts; /* [layers]: all of a layer's weights; its experts among them */
    uint64_t output; /* head and last norm, and the embedding table where it is on a card */
};

/* What a card has for weights and cache. */
static uint64_t capacity(const struct mq_fit *fit, uint32_t card, uint64_t tokens)
{
    const uint64_t reserved = ((uint64_t)MQ_FIT_MARGIN_MIB << 20) + compute_of(fit, tokens);
    const uint64_t usable = fit->target.card[card].usable_bytes;
    return usable > reserved ? usable - reserved : 0;
}

/*
 * True if everything but the first host_layers layers, and but the experts of the first
 * host_experts layers, fits with a cache of so many tokens. Filling card after card in order is
 * optimal, because each card must hold consecutive layers. More on the host, or fewer tokens, never
 * turns true into false: callers search by bisection.
 */
static bool fits(const struct parts *p, uint32_t host_layers, uint32_t host_experts,
                 uint64_t tokens)
{
    uint64_t left = capacity(p->fit, 0, tokens);
    uint32_t card = 0;
    for (uint32_t l = host_layers; l <= p->layers; l++) {
        const bool is_output = l == p->layers;
        uint64_t bytes = is_output ? p->output
                                         : p->layer[l] + cache_bytes(p->fit, l, tokens) +
                                               state_bytes(p->fit, l);
        if (!is_output && l < host_experts)
            bytes -= p->experts[l];
        while (bytes > left) {
            if (++card == p->fit->target.cards)
                return false;
            left = capacity(p->fit, card, tokens);
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

/* Of a layer's experts, the bytes that one token reads: those of top_k of mean size. */
static uint64_t used_share(const struct parts *p, uint32_t layer)
{
    return mq_layer_used_share(&p->fit->view->program->layers[layer]->layer, p->experts[layer]);
}

/* The fewest layers on the host, of either kind. */
static struct mq_fit_offload fewest(const struct parts *p, bool only_experts)
{
    const uint64_t tokens = p->fit->context;
    struct mq_fit_offload o = {0};
    uint32_t low = 0, high = p->layers;
    if (only_experts ? !mq_view_has_experts(p->fit->view) || !fits(p, 0, high, tokens) : !fits(p, high, 0, tokens))
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
    for (uint32_t l = 0; l < low; l++) {
        const uint64_t kv = cache_bytes(p->fit, l, tokens) + state_bytes(p->fit, l);
        const uint64_t active = used_share(p, l);
        o.bytes += only_experts ? p->experts[l] : p->layer[l] + kv;
        o.active_bytes += only_experts ? active : p->layer[l] - p->experts[l] + active + kv;
    }
    return o;
}

static moeq_status collect_parts(const struct mq_fit *fit, const struct mq_plan *plan,
                                 struct parts *p, struct mq_fit_row *row, moeq_error *err)
{
    const struct mq_hparams *h = &fit->view->hparams;
    *p = (struct parts){.fit = fit, .layers = h->layers};
    p->layer = mq_arena_alloc(plan->arena, h->layers, sizeof *p->layer);
    p->experts = mq_arena_alloc(plan->arena, h->layers, sizeof *p->experts);
    if (!p->layer || !p->experts)
        return mq_fail_memory(err, "fitting a model");
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
        row->active_bytes += used_share(p, l);
    return MOEQ_OK;
}

/* ---- verdict ---- */

/* Seconds that the cards need to read `bytes`, of `all` that lie on them: they work one after the
 * other, and the fastest are taken to hold as much as they can. 0: a bandwidth is unknown. */
static double card_seconds(const struct mq_fit_target *t, uint64_t bytes, uint64_t all)
{
    bool taken[MQ_GPU_MAX_CARDS] = {false};
    double seconds = 0, left = (double)all;
    for (uint32_t n = 0; n < t->cards && left > 0; n++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < t->cards; i++)
            if (!taken[i] &&
                (best == UINT32_MAX || t->card[i].bandwidth_gbs > t->card[best].bandwidth_gbs))
                best = i;
        const struct mq_fit_card *card = &t->card[best];
        /* What does not fit is on the last card. */
        const double here = n + 1 < t->cards ? fmin(left, (double)card->usable_bytes) : left;
        taken[best] = true;
        left -= here;
        if (!card->bandwidth_gbs)
            return 0;
        seconds += here / (1e9 * card->bandwidth_gbs);
    }
    return all ? seconds * (double)bytes / (double)all : 0;
}

/*
 * One stream reads every active weight, the whole cache and the states once for each token, so
 *     seconds a token >= bytes on the cards / their bandwidth + bytes on the host / its bandwidth.
 */
static double tokens_per_second(const struct mq_fit *fit, const struct mq_fit_row *row,
                                uint64_t tokens, const struct mq_fit_offload *o)
{
    const uint64_t kv = mq_fit_kv_bytes(fit, tokens) + fit->state_bytes, host = o ? o->active_bytes : 0;
    const uint64_t all = row->card_weight_bytes + kv - (o ? o->bytes : 0);
    const double seconds = card_seconds(&fit->target, row->active_bytes + kv - host, all);
    return seconds > 0 ? 1 / (seconds + (double)host / (1e9 * MQ_FIT_HOST_GBS)) : 0;
}

static void judge(const struct mq_fit *fit, const struct parts *p, struct mq_fit_row *row)
{
    const uint64_t cards = fit->target.cards;
    row->card_weight_bytes = row->weight_bytes - row->host_embedding_bytes;
    row->kv_bytes = mq_fit_kv_bytes(fit, fit->context);
    row->state_bytes = fit->state_bytes;
    row->compute_bytes = cards * fit->compute_bytes;
    row->margin_bytes = cards * MQ_FIT_MARGIN_MIB << 20;
    row->needed_bytes = row->card_weight_bytes + row->kv_bytes + row->state_bytes +
                        row->compute_bytes + row->margin_bytes;
    row->spare_bytes = (int64_t)mq_fit_target_usable(&fit->target) - (int64_t)row->needed_bytes;
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
    MQ_TRY(mq_plan_create_sizes(fit->view, policy, &plan, err));
    row->weights = plan->total.weights;
    row->weight_bytes = plan->total.bytes;
    row->bits_per_weight = mq_bits_per_weight(plan->total.bytes, plan->total.weights);
    for (size_t i = 0; i < fit->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        row->quantized |= e->level->quantized;
        row->requantized |= e->source->quantized && e->level != e->source;
    }
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

/* ---- what was assumed ---- */

/* One sentence for each kind of memory, and one if a size was given. */
static size_t memory_sentences(const struct mq_fit_target *t, char (*text)[MQ_FIT_SENTENCE])
{
    size_t n = 0;
    bool given = false;
    for (int m = 0; m < MQ_GPU_MEMORY_COUNT; m++) {
        const struct mq_gpu *gpu = NULL;
        for (uint32_t i = 0; i < t->cards && !gpu; i++)
            if (t->card[i].label_bytes && t->card[i].gpu->memory == (enum mq_gpu_memory)m)
                gpu = t->card[i].gpu;
        if (gpu)
            snprintf(text[n++], MQ_FIT_SENTENCE, "%s (%s)%s", mq_gpu_memory_rule(gpu->memory),
                     gpu->source,
                     gpu->memory == MQ_GPU_APPLE ? "; where that limit was raised, --vram SIZE"
                                                 : "");
    }
    for (uint32_t i = 0; i < t->cards; i++)
        given |= !t->card[i].label_bytes;
    if (given)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "all of the memory given with --vram is usable (of a Mac's memory it is not: "
                 "--gpu \"M2 Max 32GB\" knows how much is)");
    return n;
}

static size_t buffer_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    struct mq_fit other = *fit;
    const bool flash = !fit->target.no_flash_attention;
    other.target.no_flash_attention = flash;
    char copies[64] = "";
    if (fit->target.cards > 1)
        snprintf(copies, sizeof copies, ", %d copies of it since several cards are a pipeline",
                 MQ_FIT_MASK_COPIES);
    snprintf(
        text[0], MQ_FIT_SENTENCE,
        "buffers: on each card %d MiB stay free for the driver and fragmentation, and %.0f MiB "
        "hold the f32 activations of %d tokens and their attention mask over the context%s",
        MQ_FIT_MARGIN_MIB, (double)fit->compute_bytes / 0x1p20, MQ_FIT_MICRO_BATCH, copies);
    if (flash)
        snprintf(text[1], MQ_FIT_SENTENCE,
                 "attention does not store its scores (FlashAttention); where a runtime does "
                 "(--no-flash-attention), those %.0f MiB are %.0f",
                 (double)fit->compute_bytes / 0x1p20,
                 (double)compute_of(&other, fit->context) / 0x1p20);
    else
        snprintf(
            text[1], MQ_FIT_SENTENCE,
            "attention stores its scores (no FlashAttention); with it, those %.0f MiB are %.0f",
            (double)fit->compute_bytes / 0x1p20, (double)compute_of(&other, fit->context) / 0x1p20);
    return 2;
}

/* What is kept of the context, where that is not simply all of it. */
static size_t cache_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const uint32_t window = fit->view->hparams.sliding_window;
    size_t n = 0;
    if (fit->window_token_bytes)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "layers with a window keep its tokens and %d more of the KV cache, as llama.cpp, "
                 "Ollama and LM Studio do for this architecture: %.2f GiB; all of it (--swa-full) "
                 "would be %.2f",
                 MQ_FIT_MICRO_BATCH, (double)mq_fit_kv_bytes(fit, fit->context) / 0x1p30,
                 (double)(fit->kv_token_bytes * fit->context) / 0x1p30);
    else if (window && window < fit->context)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "the KV cache holds the whole context, as llama.cpp, Ollama and LM Studio keep it "
                 "for this architecture; a runtime that keeps only the sliding window of %u tokens "
                 "would need %.2f GiB instead of %.2f",
                 window, (double)(fit->kv_token_bytes * window) / 0x1p30,
                 (double)(fit->kv_token_bytes * fit->context) / 0x1p30);
    if (fit->state_bytes)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "recurrent layers keep a state instead of a cache: %.1f MiB in f32 for a sequence, "
                 "whatever its length",
                 (double)fit->state_bytes / 0x1p20);
    return n;
}

void mq_fit_assumptions(const struct mq_fit *fit, char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE])
{
    const struct mq_fit_target *t = &fit->target;
    const struct mq_hparams *h = &fit->view->hparams;
    memset(text, 0, MQ_FIT_ASSUMPTIONS * sizeof *text);
    size_t n = memory_sentences(t, text);
    n += buffer_sentences(fit, text + n);
    snprintf(text[n++], MQ_FIT_SENTENCE, "%s",
             t->unified     ? "the embedding table counts too: memory is unified"
             : h->tied_head ? "the embedding table is on the card: it is the head too"
                            : "the embedding table stays on the host: a token reads one row of it");
    n += cache_sentences(fit, text + n);
    if (t->cards > 1)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "whole layers, card after card; buffers and margin count on each of the %u cards; "
                 "one stream passes them in turn, at the bandwidth of one card",
                 t->cards);
    bool offloads = false, rates = false, again = false;
    for (size_t i = 0; i < fit->rows_count; i++) {
        again |= fit->rows[i].requantized;
        offloads |= fit->rows[i].verdict == MQ_FIT_OFFLOAD;
        rates |= fit->rows[i].tokens_per_second > 0;
    }
    if (again)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "levels are made from the original model: this one is quantized already, so moeq "
                 "export refuses to change them, and moeq convert adds to the error");
    if (rates)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "tokens/s: an upper bound for one stream with a full context, bandwidth / (active "
                 "weights + KV cache)");
    if (rates && offloads)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "what is on the host is read at %d GB/s (two channels of DDR5-5600)",
                 MQ_FIT_HOST_GBS);
}
