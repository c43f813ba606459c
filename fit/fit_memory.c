/* fit_memory.c: what a runtime holds beside the weights: caches, states and buffers. */
#include "fit_int.h"

#include "checked.h"
#include "error.h"

#include <inttypes.h>
#include <math.h>

static const struct mq_runtime *runtime_of(const struct mq_fit *fit)
{
    return mq_fit_target_runtime(&fit->target);
}

/* ---- parameters ---- */

/* The experts of a layer have equal shapes, so the share that a token uses is exact. */
static void count_parameters(struct mq_fit *fit)
{
    const struct mq_view *view = fit->view;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const uint64_t weights = t->rows * t->cols;
        fit->parameters += weights;
        fit->active_parameters += t->expert >= 0 ? 0 : weights;
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

/* ---- caches and states ---- */

static uint64_t kind_bytes(const struct mq_kv_kind *kind, uint64_t numbers)
{
    return (numbers + kind->block_numbers - 1) / kind->block_numbers * kind->block_bytes;
}

/* What a layer's cache holds of one token. */
static uint64_t kv_token_bytes(const struct mq_fit *fit, uint32_t layer)
{
    const struct mq_layer *l = &fit->view->program->layers[layer]->layer;
    return kind_bytes(fit->kv, mq_layer_key_numbers(l)) +
           kind_bytes(fit->kv, mq_layer_value_numbers(l));
}

/* Tokens that a layer sees at a time; 0: all before. */
static uint64_t reach_of(const struct mq_layer *layer)
{
    return layer->attention.window ? layer->attention.window : layer->attention.chunk;
}

/*
 * Whether the runtime keeps no more of a layer's cache than its window. llama.cpp, Ollama and LM Studio
 * do for the architectures whose layers differ in it, since those have it in their code
 * (llama-kv-cache-iswa.cpp); for one that is the same everywhere (Mistral's, in the architecture
 * llama) they keep all. vLLM does for every window.
 */
static bool keeps_window(const struct mq_fit *fit, uint32_t layer)
{
    const struct mq_layer *l = &fit->view->program->layers[layer]->layer;
    const struct mq_fit_buffers *b = &fit->buffers;
    return mq_layer_key_numbers(l) && reach_of(l) &&
           (runtime_of(fit)->all_windows || b->least_reach != b->most_reach);
}

/* The tokens that a cache has room for, in whole cells: of a window, it and a micro-batch. */
static uint64_t cells_of(const struct mq_fit *fit, uint64_t reach, uint64_t tokens)
{
    const struct mq_runtime *r = runtime_of(fit);
    const uint64_t kept = reach ? mq_min_u64(tokens, reach + r->micro_batch) : tokens;
    return mq_round_up(kept, r->cell_tokens);
}

uint64_t mq_fit_cache_bytes(const struct mq_fit *fit, uint32_t layer, uint64_t tokens)
{
    const struct mq_layer *l = &fit->view->program->layers[layer]->layer;
    const uint64_t reach = keeps_window(fit, layer) ? reach_of(l) : 0;
    /* A latent is not made of heads: every card of a split layer has all of it. */
    const bool copied = l->attention.kind == MQ_MIXER_LATENT && runtime_of(fit)->splits_layers;
    return kv_token_bytes(fit, layer) * cells_of(fit, reach, tokens) *
           (copied ? fit->target.cards : 1);
}

uint64_t mq_fit_state_bytes(const struct mq_fit *fit, uint32_t layer)
{
    return sizeof(float) * mq_layer_state_numbers(&fit->view->program->layers[layer]->layer,
                                                  fit->view->hparams.hidden);
}

uint64_t mq_fit_kv_bytes(const struct mq_fit *fit, uint64_t tokens)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < fit->view->hparams.layers; l++)
        sum += mq_fit_cache_bytes(fit, l, tokens);
    return sum;
}

/* ---- buffers ----
 *
 * What one card computes in: the activations of a micro-batch, as many as are alive at once. They are
 * most in one of three places; numbers a token:
 *
 *     attention  four states as wide as hidden or as all heads (residual, normed, q, output), two more of
 *                a gate that is part of q; of latent attention q and the output twice, each head as
 *                wide as the latents. Without FlashAttention the scores: heads x context; of a quantized
 *                cache with it, a copy in f16 of a layer's keys and values, whatever the micro-batch
 *     MLP        three hidden states, and gate, up and their product; of experts these for each that a
 *                token uses, with its input and output
 *     recurrent  four times the channels of the convolution
 *     head       a hidden state and the logits
 *
 * Through all layers goes the mask of attention, a number for each token of a cache, f16 with
 * FlashAttention, f32 without; a second one of the layers with a window. The head finds its room free
 * again, but in a pipeline of several cards, which keeps copies of the mask, and of the hidden states
 * that cross from card to card.
 *
 * docs/fit.md has the logs of llama.cpp that this was compared with.
 */

/* No field of a layer is above 2^32, so that sums of a few products of two do not overflow. */
static uint64_t attention_numbers(const struct mq_layer *l, uint64_t hidden)
{
    const struct mq_layer_attention *a = &l->attention;
    const uint64_t q = (uint64_t)a->heads * a->head_dim;
    const uint64_t gate = a->gate == MQ_GATE_IN_Q ? 2 * q : 0;
    switch (a->kind) {
    case MQ_MIXER_GROUPED:
        return 4 * mq_max_u64(hidden, q) + gate;
    case MQ_MIXER_LATENT:
        return mq_max_u64(4 * hidden,
                          2 * (uint64_t)a->heads * (2 * (uint64_t)a->kv_rank + a->rotary_dim));
    case MQ_MIXER_DELTA:
    case MQ_MIXER_MAMBA:
        return 4 * ((uint64_t)a->heads * a->value_dim + 2 * (uint64_t)a->kv_heads * a->head_dim);
    default:
        return 4 * hidden;
    }
}

static uint64_t mlp_numbers(const struct mq_layer *l, uint64_t hidden)
{
    const struct mq_layer_ffn *f = &l->ffn;
    const uint64_t beside = mq_max_u64(f->shared_rows, f->dense_rows);
    if (!f->router.experts)
        return 3 * ((uint64_t)f->rows + hidden);
    return 3 * hidden +
           mq_max_u64(f->router.top_k * (2 * hidden + 3 * (uint64_t)f->rows), 3 * beside);
}

static void count_kinds(struct mq_fit *fit)
{
    const struct mq_view *view = fit->view;
    struct mq_fit_buffers *b = &fit->buffers;
    const uint64_t hidden = view->hparams.hidden;
    b->least_reach = UINT64_MAX;
    for (size_t i = 0; i < view->program->kinds_count; i++) {
        const struct mq_layer *l = &view->program->kinds[i].layer;
        const uint64_t attention = attention_numbers(l, hidden);
        b->numbers = mq_max_u64(b->numbers, mq_max_u64(attention, mlp_numbers(l, hidden)));
        if (!mq_layer_key_numbers(l))
            continue;
        b->attention = mq_max_u64(b->attention, attention);
        b->scores = mq_max_u64(b->scores, l->attention.heads);
        b->least_reach = mq_min_u64(b->least_reach, reach_of(l));
        b->most_reach = mq_max_u64(b->most_reach, reach_of(l));
    }
}

static void count_buffers(struct mq_fit *fit)
{
    struct mq_fit_buffers *b = &fit->buffers;
    count_kinds(fit);
    for (uint32_t i = 0; i < fit->view->hparams.layers; i++) {
        const struct mq_layer *l = &fit->view->program->layers[i]->layer;
        const uint64_t numbers = mq_layer_key_numbers(l) + mq_layer_value_numbers(l);
        if (keeps_window(fit, i))
            b->window = mq_max_u64(b->window, reach_of(l));
        else
            b->copied = mq_max_u64(b->copied, numbers);
    }
}

uint32_t mq_fit_copies(const struct mq_fit_target *target)
{
    return target->cards > 1 && !mq_fit_target_runtime(target)->splits_layers ? MQ_FIT_COPIES : 1;
}

/* In floating point where products are large: 2^60 is refused. */
static double buffer_bytes(const struct mq_fit *fit, uint64_t tokens, uint32_t copies,
                           uint32_t logit_rows)
{
    const struct mq_fit_buffers *b = &fit->buffers;
    const struct mq_runtime *r = runtime_of(fit);
    const struct mq_hparams *h = &fit->view->hparams;
    const bool is_llama = r->bit == MQ_RUNS_LLAMA_CPP, scores = fit->target.no_flash_attention;
    const double batch = r->micro_batch, width = is_llama ? 4 : 2; /* f32, or the model's own */
    const double cells = (double)cells_of(fit, 0, tokens);
    double attention = width * batch * (double)b->attention;
    if (scores)
        attention += width * batch * (double)b->scores * cells;
    else if (is_llama && mq_kv_kind_is_quantized(fit->kv))
        attention += 2 * (double)b->copied * cells;
    const double layers = fmax(attention, width * batch * (double)b->numbers);
    const double head = 4.0 * (logit_rows * (double)h->vocab + batch * (double)h->hidden);
    if (!is_llama)
        return fmax(layers, head);
    const double mask = (scores ? 4 : 2) * batch *
                        (cells + (b->window ? (double)cells_of(fit, b->window, tokens) : 0));
    if (copies == 1)
        return fmax(layers + mask, head);
    return fmax(layers, head) + copies * (mask + 4 * batch * (double)h->hidden);
}

uint64_t mq_fit_buffer_bytes(const struct mq_fit *fit, uint64_t tokens, uint32_t copies,
                             uint32_t logit_rows)
{
    return (uint64_t)buffer_bytes(fit, tokens, copies, logit_rows);
}

/* ---- all of it ---- */

/* llama-context.cpp refuses a kind whose blocks do not divide a head. */
static moeq_status check_kind(const struct mq_fit *fit, moeq_error *err)
{
    const struct mq_runtime *r = runtime_of(fit);
    char names[128];
    mq_kv_kind_names(r, names, sizeof names);
    if (!(fit->kv->runtimes & r->bit))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s has no KV cache in %s: expected %s", r->name,
                       fit->kv->name, names);
    if (mq_kv_kind_is_quantized(fit->kv) && fit->target.no_flash_attention)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a KV cache in %s needs FlashAttention: leave out --no-flash-attention",
                       fit->kv->name);
    for (size_t i = 0; i < fit->view->program->kinds_count; i++) {
        const struct mq_layer_attention *a = &fit->view->program->kinds[i].layer.attention;
        const uint32_t keys = a->kind == MQ_MIXER_LATENT ? a->kv_rank + a->rotary_dim : a->head_dim;
        if ((a->kind == MQ_MIXER_GROUPED || a->kind == MQ_MIXER_LATENT) &&
            keys % fit->kv->block_numbers)
            return mq_fail_file(
                err, MOEQ_INVALID_ARGUMENT, fit->view->path,
                "heads of %u numbers are no whole blocks of %u, as a KV cache in %s "
                "needs: take f16",
                keys, fit->kv->block_numbers, fit->kv->name);
    }
    return MOEQ_OK;
}

moeq_status mq_fit_measure(struct mq_fit *fit, moeq_error *err)
{
    const struct mq_hparams *h = &fit->view->hparams;
    const struct mq_runtime *r = runtime_of(fit);
    MQ_TRY(check_kind(fit, err));
    count_parameters(fit);
    count_buffers(fit);
    const uint64_t most = mq_round_up(mq_max_u64(fit->context, h->max_positions), r->cell_tokens);
    uint64_t all;
    bool ok = true;
    for (uint32_t l = 0; l < h->layers; l++) {
        const uint64_t bytes = kv_token_bytes(fit, l);
        ok = ok && mq_add_u64(fit->kv_token_bytes, bytes, &fit->kv_token_bytes) &&
             mq_add_u64(fit->state_bytes, mq_fit_state_bytes(fit, l), &fit->state_bytes);
        fit->window_token_bytes += keeps_window(fit, l) ? bytes : 0;
    }
    const uint32_t copies = mq_fit_copies(&fit->target);
    if (!ok || !mq_mul_u64(fit->kv_token_bytes, most * fit->target.cards, &all) ||
        all > MQ_FIT_MAX_BYTES || fit->state_bytes > MQ_FIT_MAX_BYTES ||
        buffer_bytes(fit, most, copies, r->logit_rows) > (double)MQ_FIT_MAX_BYTES)
        return mq_fail_file(err, MOEQ_LIMIT, fit->view->path,
                            "a KV cache or activations beyond 2^60 bytes: no model has such sizes");
    fit->compute_bytes = mq_fit_buffer_bytes(fit, fit->context, copies, r->logit_rows);
    fit->compute_few_logits_bytes = mq_fit_buffer_bytes(fit, fit->context, copies, 1);
    return MOEQ_OK;
}
