/* sampler.c: greedy, or candidates in order of their logits and one draw. */
#include "sampler.h"

#include "error.h"
#include "kld.h"
#include "portable_math.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
    float logit;
    int32_t id;
};

struct mq_sampler {
    struct mq_sampling how;
    uint64_t state;
    size_t vocab;
    struct candidate *candidates; /* [vocab] */
    double *weights;              /* [vocab] */
};

moeq_status mq_sampler_create(const struct mq_sampling *sampling, size_t vocab,
                              struct mq_sampler **sampler, moeq_error *err)
{
    struct mq_sampler *s = calloc(1, sizeof *s);
    *sampler = s;
    if (s) {
        s->how = *sampling;
        s->state = sampling->seed;
        s->vocab = vocab;
        s->candidates = calloc(vocab, sizeof *s->candidates);
        s->weights = calloc(vocab, sizeof *s->weights);
    }
    if (s && s->candidates && s->weights)
        return MOEQ_OK;
    mq_sampler_free(s);
    *sampler = NULL;
    return mq_fail_memory(err, "preparing to sample");
}

void mq_sampler_free(struct mq_sampler *s)
{
    if (!s)
        return;
    free(s->candidates);
    free(s->weights);
    free(s);
}

/* Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014): 53 bits in [0, 1). */
static double draw(struct mq_sampler *s)
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* The largest logit first, of equals the lowest id: an order of all candidates. */
static int in_order(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* How many of the ordered candidates reach so much of the sum of all. */
static size_t reaching(const struct mq_sampler *s, size_t n, double share)
{
    double all = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        all += s->weights[i];
    for (size_t i = 0; i < n; i++) {
        sum += s->weights[i];
        if (sum >= share * all)
            return i + 1;
    }
    return n;
}

int32_t mq_sampler_next(struct mq_sampler *s, enum mq_isa isa, const float *logits)
{
    size_t n = s->vocab;
    if (!(s->how.temperature > 0)) {
        struct mq_softmax softmax;
        mq_softmax_of(isa, logits, n, NULL, &softmax);
        return softmax.top;
    }
    const bool some = s->how.top_p > 0 && s->how.top_p < 1;
    for (size_t i = 0; i < n; i++)
        s->candidates[i] = (struct candidate){logits[i], (int32_t)i};
    if (s->how.top_k || some)
        qsort(s->candidates, n, sizeof *s->candidates, in_order);
    n = s->how.top_k && s->how.top_k < n ? s->how.top_k : n;
    float most = s->candidates[0].logit;
    for (size_t i = 1; i < n; i++)
        most = s->candidates[i].logit > most ? s->candidates[i].logit : most;
    for (size_t i = 0; i < n; i++) {
        const double x = ((double)s->candidates[i].logit - (double)most) / s->how.temperature;
        s->weights[i] = x > -700 ? mq_exp(x) : 0;
    }
    n = some ? reaching(s, n, s->how.top_p) : n;
    double sum = 0, before = 0;
    for (size_t i = 0; i < n; i++)
        sum += s->weights[i];
    const double at = draw(s) * sum;
    size_t last = 0; /* that has any weight: where rounding leaves `at` at the very end */
    for (size_t i = 0; i < n; i++) {
        before += s->weights[i];
        if (s->weights[i] > 0)
            last = i;
        if (at < before)
            return s->candidates[i].id;
    }
    return s->candidates[last].id;
}
