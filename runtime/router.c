/* router.c: from router logits to chosen experts, and from tokens to experts' lists of tokens. */
#include "router.h"

#include "kernels.h"

#include <math.h>
#include <string.h>

/* The most probable expert, the first of equals. */
static uint32_t most_probable(const float *p, uint32_t experts)
{
    uint32_t best = 0;
    for (uint32_t e = 1; e < experts; e++)
        if (p[e] > p[best])
            best = e;
    return best;
}

static void choose(const struct mq_kernels *kernels, const float *logits, uint32_t experts,
                   uint32_t top_k, float *p, int32_t *chosen, float *weights)
{
    const size_t padded = (experts + 15u) / 16 * 16;
    memcpy(p, logits, experts * sizeof(float));
    for (size_t e = experts; e < padded; e++)
        p[e] = -INFINITY;
    const float total = kernels->softmax(p, padded, 1.0f);
    for (uint32_t e = 0; e < experts; e++) {
        p[e] /= total;
        if (!(p[e] >= 0)) /* NaN, where activations overflowed: still distinct experts below */
            p[e] = 0;
    }
    for (uint32_t i = 0; i < top_k; i++) {
        const uint32_t best = most_probable(p, experts);
        uint32_t at = i; /* keep them ascending by expert */
        for (; at > 0 && chosen[at - 1] > (int32_t)best; at--) {
            chosen[at] = chosen[at - 1];
            weights[at] = weights[at - 1];
        }
        chosen[at] = (int32_t)best;
        weights[at] = p[best];
        p[best] = -1.0f; /* below every probability: not again */
    }
    float sum = 0;
    for (uint32_t i = 0; i < top_k; i++)
        sum += weights[i];
    for (uint32_t i = 0; i < top_k; i++)
        weights[i] /= sum;
}

void mq_router_choose(enum mq_isa isa, const float *logits, size_t tokens, uint32_t experts,
                      uint32_t top_k, float *scratch, int32_t *chosen, float *weights)
{
    const struct mq_kernels *kernels = mq_kernels_get(isa);
    for (size_t t = 0; t < tokens; t++)
        choose(kernels, logits + t * experts, experts, top_k, scratch, chosen + t * top_k,
               weights + t * top_k);
}

size_t mq_router_tokens_of(int32_t expert, const int32_t *chosen, const float *weights,
                           size_t tokens, uint32_t top_k, uint32_t *token, float *weight)
{
    size_t n = 0;
    for (size_t i = 0; i < tokens * top_k; i++) {
        if (chosen[i] == expert) {
            token[n] = (uint32_t)(i / top_k);
            weight[n++] = weights[i];
        }
    }
    return n;
}
