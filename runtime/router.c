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

/* What a rule is given: one token's logits, and room. */
struct token {
    const struct mq_kernels *kernels;
    const float *logits; /* [experts] */
    uint32_t experts, top_k;
    float *p;        /* [experts rounded up to 16] */
    int32_t *chosen; /* [top_k]: ascending */
    float *weights;  /* [top_k] */
};

/* p = softmax of the logits over all experts. */
static void softmax_all(const struct token *t)
{
    const size_t padded = (t->experts + 15u) / 16 * 16;
    memcpy(t->p, t->logits, t->experts * sizeof(float));
    for (size_t e = t->experts; e < padded; e++)
        t->p[e] = -INFINITY;
    const float total = t->kernels->softmax(t->p, padded, 1.0f);
    for (uint32_t e = 0; e < t->experts; e++) {
        t->p[e] /= total;
        if (!(t->p[e] >= 0)) /* NaN, where activations overflowed: still distinct experts below */
            t->p[e] = 0;
    }
}

/* The top_k largest of p (of equals the lower expert), p being their weights. */
static void choose_largest(const struct token *t)
{
    for (uint32_t i = 0; i < t->top_k; i++) {
        const uint32_t best = most_probable(t->p, t->experts);
        uint32_t at = i; /* keep them ascending by expert */
        for (; at > 0 && t->chosen[at - 1] > (int32_t)best; at--) {
            t->chosen[at] = t->chosen[at - 1];
            t->weights[at] = t->weights[at - 1];
        }
        t->chosen[at] = (int32_t)best;
        t->weights[at] = t->p[best];
        t->p[best] = -1.0f; /* below every probability: not again */
    }
}

static void divide_by_sum(const struct token *t)
{
    float sum = 0;
    for (uint32_t i = 0; i < t->top_k; i++)
        sum += t->weights[i];
    for (uint32_t i = 0; i < t->top_k; i++)
        t->weights[i] /= sum;
}

/*
 * The rules: MQ_ROUTER_RULE_LIST of layer.h.
 *
 *     softmax             p = softmax(logits) over all experts, the top_k largest, weights p
 *                         (Transformers' modeling_olmoe.py, norm_topk_prob false)
 *     softmax_normalized  the same, weights p / sum of the chosen p (modeling_mixtral.py)
 */
static void softmax(const struct token *t)
{
    softmax_all(t);
    choose_largest(t);
}

static void softmax_normalized(const struct token *t)
{
    softmax(t);
    divide_by_sum(t);
}

static void (*const rules[MQ_ROUTER_RULES])(const struct token *t) = {
#define ROW(id, function) [MQ_ROUTER_##id] = function,
    MQ_ROUTER_RULE_LIST(ROW)
#undef ROW
};

void mq_router_choose(enum mq_isa isa, const struct mq_layer_ffn *layer, const float *logits,
                      size_t tokens, float *scratch, int32_t *chosen, float *weights)
{
    struct token token = {.kernels = mq_kernels_get(isa),
                          .experts = layer->experts,
                          .top_k = layer->top_k,
                          .p = scratch};
    for (size_t t = 0; t < tokens; t++) {
        token.logits = logits + t * layer->experts;
        token.chosen = chosen + t * layer->top_k;
        token.weights = weights + t * layer->top_k;
        rules[layer->rule](&token);
    }
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
