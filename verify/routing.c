/* routing.c: one token's choice of experts against another's. */
#include "routing.h"

#include "kld.h"

#include <math.h>

size_t mq_routing_scratch(uint32_t experts)
{
    return mq_softmax_room(experts);
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
                        size_t token, uint32_t experts, uint32_t top_k, double *scratch,
                        struct mq_routing_figures *figures)
{
    const int32_t *s = base->experts + token * top_k, *t = arm->experts + token * top_k;
    const float *w = base->weights + token * top_k, *v = arm->weights + token * top_k;
    const float *a = base->logits + token * experts, *b = arm->logits + token * experts;
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
    /* Routers that choose by something else than their logits may leave more in S' than in S. */
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

/* The number of common experts is hypergeometric: P(j) = C(k, j) C(n - k, k - j) / C(n, k). */
struct mq_routing_figures mq_routing_chance(uint32_t n, uint32_t k)
{
    struct mq_routing_figures chance;
    double *m = chance.metric;
    for (int i = 0; i < MQ_ROUTING_COUNT; i++)
        m[i] = NAN;
    m[MQ_ROUTING_CR3] = 0;
    m[MQ_ROUTING_OVERLAP] = (double)k / n;
    m[MQ_ROUTING_TOP1] = 1.0 / n;
    for (uint32_t common = 0; common <= k; common++) {
        const double p = choose(k, common) * choose(n - k, k - common) / choose(n, k);
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

const double mq_margin_edges[MQ_MARGIN_BINS] = {0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2};

double mq_routing_margin(const struct mq_routes *base, size_t token, uint32_t experts,
                         uint32_t top_k)
{
    const float *logits = base->logits + token * experts;
    const int32_t *chosen = base->experts + token * top_k;
    float least = INFINITY, most = -INFINITY;
    uint32_t next = 0; /* chosen ascends */
    for (uint32_t e = 0; e < experts; e++) {
        if (next < top_k && chosen[next] == (int32_t)e) {
            least = logits[e] < least ? logits[e] : least;
            next++;
        } else {
            most = logits[e] > most ? logits[e] : most;
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
