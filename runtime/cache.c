/*
 * cache.c: sizes and memory of what a sequence keeps. One block: first what must be zero when a
 * sequence begins, layer by layer, then what is written before it is read.
 */
#include "cache.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"
#include "pages.h"
#include "recurrent.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Floats of one layer's parts; alignment is that of keys and values. */
struct parts {
    uint64_t states, before; /* zero at first */
    uint64_t keys, values, latents, formed;
    size_t stride, latents_ld, formed_ld;
};

static const struct mq_slot *convolution_of(const struct mq_program *program)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at)) && slot->role != MQ_ROLE_MIX_CONV)
        ;
    return slot;
}

static struct parts parts_of(const struct mq_program *program, size_t tokens, size_t at_once)
{
    const struct mq_layer_attention *l = &program->layer.attention;
    const struct mq_slot *convolution = convolution_of(program);
    struct parts p = {0};
    if (convolution)
        p.before = mq_convolution_past(convolution->rows, convolution->cols);
    switch (l->kind) {
    case MQ_MIXER_GROUPED:
        p.stride = mq_key_cache_stride(l, tokens, at_once);
        p.keys = (uint64_t)l->kv_heads * p.stride * l->head_dim;
        p.values = (uint64_t)l->kv_heads * p.stride * mq_round_up(l->value_dim, MQ_PANEL);
        break;
    case MQ_MIXER_LATENT:
        p.latents_ld = (size_t)l->kv_rank + l->rotary_dim + MQ_ROW_PAD;
        p.latents = tokens * (uint64_t)p.latents_ld;
        p.formed_ld = l->heads * ((size_t)l->head_dim - l->rotary_dim + l->value_dim) + MQ_ROW_PAD;
        p.formed = tokens * (uint64_t)p.formed_ld;
        break;
    case MQ_MIXER_DELTA:
    case MQ_MIXER_MAMBA:
        p.states = l->heads * (uint64_t)mq_recurrence_state(l->head_dim, l->value_dim);
        break;
    case MQ_MIXER_CONVOLUTION:
    case MQ_MIXER_NONE:
        break;
    }
    return p;
}

/* Gives out room in order; with a base of NULL it only counts. */
static float *take(char *base, uint64_t *at, uint64_t floats)
{
    float *here = base && floats ? (float *)(void *)(base + *at) : NULL;
    *at += mq_round_up(floats * sizeof(float), 64);
    return here;
}

/* Sets the layers' places where there is a cache; returns the bytes. */
static uint64_t lay_out(const struct mq_view *view, size_t tokens, size_t at_once,
                        bool keeps_formed, struct mq_cache *cache)
{
    char *base = cache ? cache->memory : NULL;
    uint64_t at = 0, cleared = 0;
    for (int zeros = 1; zeros >= 0; zeros--) {
        for (uint32_t i = 0; i < view->hparams.layers; i++) {
            const struct parts p = parts_of(view->program->layers[i], tokens, at_once);
            struct mq_cache_layer unused, *layer = cache ? &cache->layers[i] : &unused;
            if (zeros) {
                layer->states = take(base, &at, p.states);
                layer->before = take(base, &at, p.before);
                continue;
            }
            layer->keys = (struct mq_key_cache){.stride = p.stride};
            layer->keys.keys = take(base, &at, p.keys);
            layer->keys.values = take(base, &at, p.values);
            layer->latents = take(base, &at, p.latents);
            layer->latents_ld = p.latents_ld;
            layer->formed = take(base, &at, keeps_formed ? p.formed : 0);
            layer->formed_ld = p.formed_ld;
        }
        if (zeros)
            cleared = at;
    }
    if (cache)
        cache->cleared_bytes = cleared;
    return at;
}

uint64_t mq_cache_bytes(const struct mq_view *view, size_t tokens, size_t at_once)
{
    return tokens > INT32_MAX ? UINT64_MAX : lay_out(view, tokens, at_once, false, NULL);
}

uint64_t mq_cache_formed_bytes(const struct mq_view *view, size_t tokens)
{
    return tokens > INT32_MAX
               ? UINT64_MAX
               : lay_out(view, tokens, 1, true, NULL) - lay_out(view, tokens, 1, false, NULL);
}

moeq_status mq_cache_create(const struct mq_view *view, size_t tokens, size_t at_once,
                            bool keeps_formed, struct mq_cache **cache, moeq_error *err)
{
    const uint64_t bytes = mq_cache_bytes(view, tokens, at_once) +
                           (keeps_formed ? mq_cache_formed_bytes(view, tokens) : 0);
    struct mq_cache *c = calloc(1, sizeof *c);
    *cache = NULL;
    if (c) {
        c->layers = calloc(view->hparams.layers, sizeof *c->layers);
        c->memory = bytes <= SIZE_MAX / 2 ? mq_pages_alloc(bytes) : NULL;
    }
    if (!c || !c->layers || !c->memory) {
        mq_cache_destroy(c);
        return mq_fail(err, MOEQ_NO_MEMORY,
                       "%s: what is kept of %zu tokens takes %" PRIu64 " bytes, which the machine "
                       "does not give: ask for fewer tokens",
                       view->path, tokens, bytes);
    }
    c->capacity = tokens;
    c->layers_count = view->hparams.layers;
    c->bytes = lay_out(view, tokens, at_once, keeps_formed, c);
    mq_cache_clear(c);
    *cache = c;
    return MOEQ_OK;
}

void mq_cache_destroy(struct mq_cache *cache)
{
    if (!cache)
        return;
    free(cache->layers);
    free(cache->memory);
    free(cache);
}

void mq_cache_clear(struct mq_cache *cache)
{
    cache->tokens = 0;
    for (size_t i = 0; i < cache->layers_count; i++)
        cache->layers[i].keys.base = 0;
    memset(cache->memory, 0, cache->cleared_bytes);
}
