/*
 * cache.h: what the layers of one sequence keep of its tokens, so that each new token goes through
 * the layers alone.
 *
 *     grouped      keys and values of every head, turned and packed (attention.h); with a sliding
 *                  window or chunks those alone that a query may see
 *     latent       what k and v of all heads are made of, one short row a token; and they themselves where
 *                  there is memory for them, else they are made again for each step: of DeepSeek-V3
 *                  8 MB a token, or a billion multiply-adds for each token at each step
 *     delta, mamba the state of every head, and the last tokens' inputs of the convolution
 *     convolution  the latter
 *
 * Sums have the order that they have in a window (attention.c, recurrent.c), so that a token's
 * results are those of the whole sequence evaluated at once, to the last bit.
 */
#ifndef MQ_CACHE_H
#define MQ_CACHE_H

#include "attention.h"
#include "model_view.h"

struct mq_cache_layer {
    struct mq_key_cache keys;
    float *latents; /* [tokens][latents_ld] */
    size_t latents_ld;
    float
        *formed; /* k without positions and v of every head: [tokens][formed_ld]; NULL: not kept */
    size_t formed_ld;
    float *states; /* as mq_recurrence_job has them */
    float *before; /* as mq_convolution_job has them */
};

struct mq_cache {
    size_t tokens;   /* kept so far: the position of the next one */
    size_t capacity; /* of all */
    uint64_t bytes;
    struct mq_cache_layer *layers;
    size_t layers_count;
    char *memory;
    size_t cleared_bytes; /* of memory, which a new sequence begins with as zeros */
};

/* For sequences of up to `tokens` tokens, of which `at_once` come at a time at most. UINT64_MAX
 * where it is more than can be said. */
uint64_t mq_cache_bytes(const struct mq_view *view, size_t tokens, size_t at_once);
/* What keys and values formed of latents take beside that; 0: there are none. */
uint64_t mq_cache_formed_bytes(const struct mq_view *view, size_t tokens);
moeq_status mq_cache_create(const struct mq_view *view, size_t tokens, size_t at_once,
                            bool keeps_formed, struct mq_cache **cache, moeq_error *err);
void mq_cache_destroy(struct mq_cache *cache); /* NULL is fine */

/* Forgets all tokens. */
void mq_cache_clear(struct mq_cache *cache);

#endif
