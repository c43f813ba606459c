/*
 * router.c: from router logits to chosen experts, and from tokens to experts' lists of tokens.
 *
 * The pieces are those of struct mq_layer_router (layer.h). Which families have which, with sources in
 * Transformers:
 *
 *     softmax, weights of the scores           modeling_olmoe.py, modeling_mixtral.py (normalized)
 *     logits, weights of softmax over the chosen  modeling_gpt_oss.py, modeling_granitemoe.py
 *     sigmoid + bias, groups by their two best modeling_deepseek_v3.py; one group: modeling_glm4_moe.py
 *     softmax, groups by their best            modeling_deepseek_v2.py, group_limited_greedy
 *     logits, weights of the sigmoid           modeling_llama4.py
 *     sparsemixer                              modeling_phimoe.py
 */
#include "router.h"

#include "kernels.h"
#include "portable_math.h"

#include <math.h>
#include <string.h>

/* One token's way through a router. */
struct token {
    const struct mq_kernels *kernels;
    const struct mq_layer_router *router;
    const struct mq_router_vectors *vectors;
    const float *logits; /* [experts] */
    float *score;        /* [experts rounded up to 16] */
    float *compared;     /* the same: scores with biases, and -INFINITY where out of question */
    float *score_of_group; /* [groups] */
    int32_t *chosen;     /* [top_k]: ascending */
    float *weights;      /* [top_k] */
};

/* The largest of n values, the first of equals. */
static uint32_t largest(const float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static float sigmoid(float x)
{
    return (float)(1.0 / (1.0 + mq_exp(-(double)x)));
}

/* ---- scores ---- */

/* exp(x - max) / sum over n values, in x (room for n rounded up to 16). */
static void softmax(const struct token *t, float *x, uint32_t n)
{
    const size_t padded = (n + 15u) / 16 * 16;
    for (size_t i = n; i < padded; i++)
        x[i] = -INFINITY;
    const float total = t->kernels->softmax(x, padded, 1.0f);
    for (uint32_t i = 0; i < n; i++) {
        x[i] /= total;
        if (!(x[i] >= 0)) /* NaN, where activations overflowed: still distinct experts */
            x[i] = 0;
    }
}

static void score(const struct token *t)
{
    const struct mq_layer_router *r = t->router;
    memcpy(t->score, t->logits, r->experts * sizeof(float));
    if (r->softcap != 0)
        t->kernels->softcap(t->score, r->experts, 1.0f, r->softcap);
    if (r->score == MQ_SCORE_SOFTMAX)
        softmax(t, t->score, r->experts);
    for (uint32_t e = 0; r->score == MQ_SCORE_SIGMOID && e < r->experts; e++)
        t->score[e] = sigmoid(t->score[e]);
    for (uint32_t e = 0; e < r->experts; e++) {
        t->compared[e] = t->score[e] + (t->vectors->choice_bias ? t->vectors->choice_bias[e] : 0.0f);
        if (!(t->compared[e] > -INFINITY)) /* NaN too: see above */
            t->compared[e] = -3e38f;
    }
}

/* ---- groups ---- */

static float group_score(const struct token *t, uint32_t group)
{
    const uint32_t size = t->router->experts / t->router->groups;
    float *c = t->compared + (size_t)group * size;
    const uint32_t best = largest(c, size);
    const float first = c[best];
    if (t->router->groups_by == MQ_GROUPS_BY_BEST || size < 2)
        return first;
    c[best] = -INFINITY;
    const float second = c[largest(c, size)];
    c[best] = first;
    return first + second;
}

/* A group is in if fewer than top_groups have a larger score (of equals the lower one). */
static void leave_out_groups(const struct token *t)
{
    const struct mq_layer_router *r = t->router;
    const uint32_t size = r->groups ? r->experts / r->groups : 0;
    for (uint32_t g = 0; g < r->groups; g++)
        t->score_of_group[g] = group_score(t, g);
    for (uint32_t g = 0; g < r->groups; g++) {
        uint32_t better = 0;
        for (uint32_t o = 0; o < r->groups; o++)
            better += t->score_of_group[o] > t->score_of_group[g] ||
                      (t->score_of_group[o] == t->score_of_group[g] && o < g);
        for (uint32_t e = g * size; better >= r->top_groups && e < (g + 1) * size; e++)
            t->compared[e] = -INFINITY;
    }
}

/* ---- choice ---- */

/* An expert that is taken: experts stay ascending, each with its weight. */
static void take(const struct token *t, uint32_t already, uint32_t expert, float weight)
{
    uint32_t at = already;
    for (; at > 0 && t->chosen[at - 1] > (int32_t)expert; at--) {
        t->chosen[at] = t->chosen[at - 1];
        t->weights[at] = t->weights[at - 1];
    }
    t->chosen[at] = (int32_t)expert;
    t->weights[at] = weight;
    t->compared[expert] = -INFINITY;
}

static void choose_largest(const struct token *t)
{
    for (uint32_t i = 0; i < t->router->top_k; i++) {
        const uint32_t best = largest(t->compared, t->router->experts);
        take(t, i, best, t->score[best]);
    }
}

/*
 * Phi-3.5-MoE: of the logits z that are left (compared), the largest, m; its weight is its softmax
 * over those of them that are near: (m - z) / max(|z|, m) <= 2 jitter.
 */
static void choose_sparsemixer(const struct token *t)
{
    const struct mq_layer_router *r = t->router;
    for (uint32_t i = 0; i < r->top_k; i++) {
        const uint32_t best = largest(t->compared, r->experts);
        const float top = t->compared[best];
        double sum = 0;
        for (uint32_t e = 0; e < r->experts; e++) {
            const float z = t->logits[e], size = fmaxf(fabsf(z), top);
            if (t->compared[e] > -INFINITY && !((top - z) / size > 2 * r->jitter))
                sum += mq_exp((double)z - (double)top);
        }
        take(t, i, best, (float)(1.0 / sum));
    }
}

/* ---- weights ---- */

static void weigh(const struct token *t)
{
    const struct mq_layer_router *r = t->router;
    float sum = 0;
    if (r->weights == MQ_WEIGHTS_SOFTMAX_CHOSEN) {
        memcpy(t->score, t->weights, r->top_k * sizeof(float)); /* of the scores none is needed */
        softmax(t, t->score, r->top_k);
        memcpy(t->weights, t->score, r->top_k * sizeof(float));
    }
    for (uint32_t i = 0; i < r->top_k; i++) {
        if (r->weights == MQ_WEIGHTS_SIGMOID)
            t->weights[i] = sigmoid(t->weights[i]);
        sum += t->weights[i];
    }
    const float divisor = r->normalize == MQ_NORMALIZE_SUM            ? sum + r->normalize_eps
                          : r->normalize == MQ_NORMALIZE_SUM_AT_LEAST ? fmaxf(sum, r->normalize_eps)
                                                                      : 1.0f;
    for (uint32_t i = 0; i < r->top_k; i++) {
        t->weights[i] = t->weights[i] / divisor * r->scale;
        if (t->vectors->expert_scale)
            t->weights[i] *= t->vectors->expert_scale[t->chosen[i]];
    }
}

void mq_router_choose(enum mq_isa isa, const struct mq_layer_router *router,
                      const struct mq_router_vectors *vectors, const float *logits, size_t tokens,
                      float *scratch, int32_t *chosen, float *weights)
{
    const size_t padded = (router->experts + 15u) / 16 * 16;
    struct token token = {.kernels = mq_kernels_get(isa),
                          .router = router,
                          .vectors = vectors,
                          .score = scratch,
                          .compared = scratch + padded,
                          .score_of_group = scratch + 2 * padded};
    for (size_t t = 0; t < tokens; t++) {
        token.logits = logits + t * router->experts;
        token.chosen = chosen + t * router->top_k;
        token.weights = weights + t * router->top_k;
        score(&token);
        if (router->groups > 1)
            leave_out_groups(&token);
        if (router->weights == MQ_WEIGHTS_SPARSEMIXER)
            choose_sparsemixer(&token);
        else
            choose_largest(&token);
        weigh(&token);
    }
}

/* ---- for observers ---- */

void mq_router_compare(enum mq_isa isa, const struct mq_layer_router *router,
                       const struct mq_router_vectors *vectors, const float *logits, float *scratch,
                       float *compared)
{
    const size_t padded = (router->experts + 15u) / 16 * 16;
    const struct token token = {.kernels = mq_kernels_get(isa),
                                .router = router,
                                .vectors = vectors,
                                .logits = logits,
                                .score = scratch,
                                .compared = scratch + padded,
                                .score_of_group = scratch + 2 * padded};
    const bool scores = mq_router_compares_scores(router);
    memcpy(compared, logits, router->experts * sizeof(float));
    if (!scores && router->softcap != 0)
        token.kernels->softcap(compared, router->experts, 1.0f, router->softcap);
    if (!scores && router->groups <= 1)
        return;
    score(&token);
    if (router->groups > 1)
        leave_out_groups(&token);
    for (uint32_t e = 0; e < router->experts; e++)
        if (scores || token.compared[e] == -INFINITY)
            compared[e] = token.compared[e];
}

/* ln sigmoid(x) = -ln(1 + e^-x), without overflow. */
static float log_sigmoid(float x)
{
    const double z = (double)x, tail = mq_log(1.0 + mq_exp(-fabs(z)));
    return (float)((z < 0 ? z : 0.0) - tail);
}

const float *mq_router_log_scores(enum mq_isa isa, const struct mq_layer_router *router,
                                  const float *logits, float *room)
{
    if (router->softcap == 0 && router->score != MQ_SCORE_SIGMOID)
        return logits;
    memcpy(room, logits, router->experts * sizeof(float));
    if (router->softcap != 0)
        mq_kernels_get(isa)->softcap(room, router->experts, 1.0f, router->softcap);
    for (uint32_t e = 0; router->score == MQ_SCORE_SIGMOID && e < router->experts; e++)
        room[e] = log_sigmoid(room[e]);
    return room;
}

void mq_router_sort(const int32_t *chosen, const float *weights, size_t tokens,
                    const struct mq_layer_router *router, size_t *begin, uint32_t *token,
                    float *weight)
{
    const size_t routes = tokens * router->top_k;
    memset(begin, 0, (router->experts + 1) * sizeof *begin);
    for (size_t i = 0; i < routes; i++)
        begin[chosen[i] + 1]++;
    for (uint32_t e = 0; e < router->experts; e++)
        begin[e + 1] += begin[e];
    for (size_t i = 0; i < routes; i++) { /* begin[e] counts up to where e + 1 begins, */
        const size_t at = begin[chosen[i]]++;
        token[at] = (uint32_t)(i / router->top_k);
        weight[at] = weights[i];
    }
    for (uint32_t e = router->experts; e > 0; e--) /* and is put back */
        begin[e] = begin[e - 1];
    begin[0] = 0;
}
