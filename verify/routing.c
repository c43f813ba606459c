/* routing.c: one token's choice of experts against another's. */
#include "routing.h"

#include "kld.h"

#include <math.h>
#include <string.h>

/* Room for floats behind that of the softmax: four times the experts, rounded up. */
static size_t padded(uint32_t experts)
{
    return ((size_t)experts + 15) / 16 * 16;
}

size_t mq_routing_scratch(uint32_t experts)
{
    return mq_softmax_room(experts) + 4 * padded(experts) * sizeof(float) / sizeof(double);
}

/* Experts ascend, so the first of equal weights is the lowest expert. */
static int32_t heaviest(const int32_t *experts, const float *weights, uint32_t k)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < k; i++)
        if (weights[i] > weights[best])
            best = i;
    return experts[best];
}

static double sum_of(const float *weights, uint32_t k)
{
    double sum = 0;
    for (uint32_t i = 0; i < k; i++)
        sum += (double)weights[i];
    return sum;
}

/* Walks two ascending lists: the number of common experts, and half the summed difference of the
 * normalised weights. */
static uint32_t merge(const int32_t *s, const float *w, const int32_t *t, const float *v,
                      uint32_t k, double *half_difference)
{
    const double w_sum = sum_of(w, k), v_sum = sum_of(v, k);
    const double w_scale = w_sum > 0 ? w_sum : 1, v_scale = v_sum > 0 ? v_sum : 1;
    uint32_t i = 0, j = 0, common = 0;
    double difference = 0;
    while (i < k || j < k) {
        if (j == k || (i < k && s[i] < t[j])) {
            difference += (double)w[i++] / w_scale;
        } else if (i == k || t[j] < s[i]) {
            difference += (double)v[j++] / v_scale;
        } else {
            difference += fabs((double)w[i++] / w_scale - (double)v[j++] / v_scale);
            common++;
        }
    }
    *half_difference = difference / 2;
    return common;
}

/* What experts have of a softmax, before it is divided by its sum. */
static double mass(const double *exps, const int32_t *experts, uint32_t k)
{
    double sum = 0;
    for (uint32_t i = 0; i < k; i++)
        sum += exps[experts[i]];
    return sum;
}

void mq_routing_compare(enum mq_isa isa, const struct mq_routes *base, const struct mq_routes *arm,
                        size_t token, double *scratch, struct mq_routing_figures *figures)
{
    const struct mq_layer_router *router = base->router;
    const uint32_t experts = router->experts, top_k = router->top_k;
    float *room = (float *)(scratch + mq_softmax_room(experts));
    const int32_t *s = base->experts + token * top_k, *t = arm->experts + token * top_k;
    const float *w = base->weights + token * top_k, *v = arm->weights + token * top_k;
    const float *a = mq_router_log_scores(isa, router, base->logits + token * experts, room);
    const float *b =
        mq_router_log_scores(isa, router, arm->logits + token * experts, room + padded(experts));
    double half_difference;
    const uint32_t common = merge(s, w, t, v, top_k, &half_difference), changed = top_k - common;
    double *m = figures->metric;
    m[MQ_ROUTING_EXACT_SET] = changed == 0;
    m[MQ_ROUTING_OVERLAP] = (double)common / top_k;
    m[MQ_ROUTING_TOP1] = heaviest(s, w, top_k) == heaviest(t, v, top_k);
    /* Weights of disjoint sets differ by 2 up to rounding; agreement is never below 0. */
    m[MQ_ROUTING_WEIGHTED] = common ? 1 - half_difference : 0;
    m[MQ_ROUTING_CR1] = common == 0;
    m[MQ_ROUTING_CR2] = changed > 0;
    m[MQ_ROUTING_CR3] = 2 * changed >= top_k;
    struct mq_softmax p, q;
    mq_softmax_of(isa, a, experts, scratch, &p);
    mq_softmax_of(isa, b, experts, NULL, &q);
    /* Routers that choose with a bias or by groups may leave more in S' than in S. */
    m[MQ_ROUTING_MASS_KEPT] =
        changed ? fmin(1, mass(scratch, t, top_k) / mass(scratch, s, top_k)) : 1;
    m[MQ_ROUTING_ROUTER_KL] = mq_softmax_kl(isa, a, &p, scratch, b, &q, experts);
}

/* "n over k". Exact as long as it stays below 2^53. */
static double choose(uint32_t n, uint32_t k)
{
    double c = 1;
    if (k > n)
        return 0;
    for (uint32_t i = 1; i <= k; i++)
        c = c * (n - k + i) / i;
    return c;
}

/* P(j common) of drawing k and l of n: hypergeometric, C(k, j) C(n - k, l - j) / C(n, l). */
static double common_of(uint32_t n, uint32_t k, uint32_t l, uint32_t j)
{
    return l > n || j > k || j > l || l - j > n - k ? 0 : choose(k, j) * choose(n - k, l - j) / choose(n, l);
}

/*
 * P(j common) by a rule: c of the groups are common to both draws, a of S and b of S' are in those,
 * and among them j are the same; each is hypergeometric. Without groups all is in one.
 */
static double chance_of_common(const struct mq_layer_router *r, uint32_t j)
{
    const bool grouped = r->groups > 1;
    const uint32_t groups = grouped ? r->groups : 1, top = grouped ? r->top_groups : 1;
    const uint32_t size = r->experts / groups, pool = top * size;
    double sum = 0;
    if (!grouped)
        return common_of(r->experts, r->top_k, r->top_k, j);
    for (uint32_t c = 0; c <= top; c++)
        for (uint32_t a = j; a <= r->top_k; a++)
            for (uint32_t b = j; b <= r->top_k; b++)
                sum += common_of(groups, top, top, c) * common_of(pool, c * size, r->top_k, a) *
                       common_of(pool, c * size, r->top_k, b) * common_of(c * size, a, b, j);
    return sum;
}

struct mq_routing_figures mq_routing_chance(const struct mq_layer_router *router)
{
    const uint32_t n = router->experts, k = router->top_k;
    struct mq_routing_figures chance;
    double *m = chance.metric;
    for (int i = 0; i < MQ_ROUTING_COUNT; i++)
        m[i] = NAN;
    m[MQ_ROUTING_CR3] = 0;
    m[MQ_ROUTING_OVERLAP] = (double)k / n; /* no expert is likelier than another */
    m[MQ_ROUTING_TOP1] = 1.0 / n;
    for (uint32_t common = 0; common <= k; common++) {
        const double p = chance_of_common(router, common);
        if (common == k)
            m[MQ_ROUTING_EXACT_SET] = p;
        if (common == 0)
            m[MQ_ROUTING_CR1] = p;
        if (2 * (k - common) >= k)
            m[MQ_ROUTING_CR3] += p;
    }
    m[MQ_ROUTING_CR2] = 1 - m[MQ_ROUTING_EXACT_SET];
    return chance;
}

static const struct mq_layer_router *router_of(const struct mq_view *view, uint32_t layer)
{
    const struct mq_layer_router *router = &view->program->layers[layer]->layer.ffn.router;
    return router->experts ? router : NULL;
}

const struct mq_layer_router *mq_routing_first(const struct mq_view *view)
{
    const struct mq_layer_router *router = NULL;
    for (uint32_t layer = 0; layer < view->hparams.layers && !router; layer++)
        router = router_of(view, layer);
    return router;
}

static bool same_chance(const struct mq_layer_router *a, const struct mq_layer_router *b)
{
    return a->experts == b->experts && a->top_k == b->top_k && a->groups == b->groups &&
           a->top_groups == b->top_groups;
}

bool mq_routing_uniform(const struct mq_view *view)
{
    const struct mq_layer_router *first = mq_routing_first(view);
    for (uint32_t layer = 0; first && layer < view->hparams.layers; layer++)
        if (router_of(view, layer) && !same_chance(first, router_of(view, layer)))
            return false;
    return true;
}

bool mq_routing_chance_of(const struct mq_view *view, struct mq_routing_figures *chance)
{
    const struct mq_layer_router *first = mq_routing_first(view);
    double layers = 0;
    if (!first)
        return false;
    *chance = mq_routing_chance(first);
    if (mq_routing_uniform(view))
        return true;
    memset(chance, 0, sizeof *chance);
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++) {
        if (!router_of(view, layer))
            continue;
        const struct mq_routing_figures one = mq_routing_chance(router_of(view, layer));
        for (int i = 0; i < MQ_ROUTING_COUNT; i++)
            chance->metric[i] += one.metric[i];
        layers++;
    }
    for (int i = 0; i < MQ_ROUTING_COUNT; i++)
        chance->metric[i] /= layers;
    return true;
}

const double mq_margin_edges[MQ_MARGIN_BINS] = {0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2};

double mq_routing_margin(enum mq_isa isa, const struct mq_routes *base, size_t token,
                         double *scratch)
{
    const uint32_t experts = base->router->experts, top_k = base->router->top_k;
    float *room = (float *)scratch, *compared = room + 3 * padded(experts);
    const int32_t *chosen = base->experts + token * top_k;
    float least = INFINITY, most = -INFINITY;
    uint32_t next = 0; /* chosen ascends */
    mq_router_compare(isa, base->router, &base->vectors, base->logits + token * experts, room,
                      compared);
    for (uint32_t e = 0; e < experts; e++) {
        if (next < top_k && chosen[next] == (int32_t)e) {
            least = compared[e] < least ? compared[e] : least;
            next++;
        } else {
            most = compared[e] > most ? compared[e] : most;
        }
    }
    return (double)least - (double)most;
}

size_t mq_margin_bin(double margin)
{
    size_t bin = 0;
    while (bin + 1 < MQ_MARGIN_BINS && margin >= mq_margin_edges[bin + 1])
        bin++;
    return bin;
}
