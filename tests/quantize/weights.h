/* weights.h: test weights of many shapes for the codecs' tests. */
#ifndef MQ_TEST_WEIGHTS_H
#define MQ_TEST_WEIGHTS_H

#include "test_support.h"

#include <float.h>
#include <math.h>

static inline float mq_test_laplace(uint64_t *seed)
{
    const float u = mq_test_uniform(seed) - 0.5f;
    return copysignf(logf(1.0f - 2.0f * fabsf(u) + 0x1p-25f), u);
}

/* Student-t with 5 degrees of freedom: a normal over the root of a chi-square / 5. */
static inline float mq_test_student5(uint64_t *seed)
{
    float chi2 = 0;
    for (int i = 0; i < 5; i++) {
        const float g = mq_test_gauss(seed);
        chi2 += g * g;
    }
    return mq_test_gauss(seed) / sqrtf(chi2 / 5.0f);
}

static inline float mq_test_bits(uint64_t *seed, uint32_t exponent_mask)
{
    const uint32_t u = (uint32_t)mq_test_random(seed) & (0x807fffffu | exponent_mask << 23);
    float x;
    memcpy(&x, &u, sizeof x);
    return isfinite(x) ? x : 1.0f;
}

/* Weight i of a tensor of the kind; every value is finite. */
#define MQ_TEST_KINDS(X)                                                  \
    X(gauss, 0.02f * mq_test_gauss(seed))                                 \
    X(laplace, 0.02f * mq_test_laplace(seed))                             \
    X(student_t5, 0.02f * mq_test_student5(seed))                         \
    X(zeros, 0.0f * (float)i)                                             \
    X(negative_zeros, -0.0f * (float)(i + 1))                             \
    X(constant, 0.37f)                                                    \
    X(negative_constant, -0.37f)                                          \
    X(nearly_constant, 1.0f + 1e-6f * mq_test_gauss(seed))                \
    X(positive, 0.1f + mq_test_uniform(seed))                             \
    X(negative, -0.1f - mq_test_uniform(seed))                            \
    X(alternating, i & 1 ? 0.5f : -0.5f)                                  \
    X(sparse, mq_test_uniform(seed) < 0.03f ? mq_test_gauss(seed) : 0.0f) \
    X(one_outlier, i % 256 == 77 ? 1e4f : 0.01f * mq_test_gauss(seed))    \
    X(huge_outlier, i % 256 == 77 ? -FLT_MAX : mq_test_gauss(seed))       \
    X(zero_sub_blocks, i / 16 % 3 ? 0.0f : mq_test_gauss(seed))           \
    X(huge, FLT_MAX *(2.0f * mq_test_uniform(seed) - 1.0f))               \
    X(all_max, i % 5 ? FLT_MAX : -FLT_MAX)                                \
    X(beyond_half, 1e7f * mq_test_gauss(seed))                            \
    X(small, 1e-5f * mq_test_gauss(seed))                                 \
    X(tiny, 3e-7f * mq_test_gauss(seed))                                  \
    X(vanishing, 1e-20f * mq_test_gauss(seed))                            \
    X(denormal, mq_test_bits(seed, 0))                                    \
    X(any_bits, mq_test_bits(seed, 255))

#define X(name, value) MQ_TEST_##name,
enum mq_test_kind { MQ_TEST_KINDS(X) MQ_TEST_KIND_COUNT };
#undef X

#define X(name, value) #name,
static const char *const mq_test_kind_names[] = {MQ_TEST_KINDS(X)};
#undef X

static inline float mq_test_weight(enum mq_test_kind kind, size_t i, uint64_t *seed)
{
#define X(name, value)   \
    case MQ_TEST_##name: \
        return value;
    switch (kind) {
        MQ_TEST_KINDS(X)
    default:
        return 0.0f;
    }
#undef X
}

/* What may be known of columns: the mean squares of a few Gaussian inputs, of inputs some of which
 * are never seen, or are a thousand times as large, and what no model has. */
#define MQ_TEST_IMPORTANCES(X)                                            \
    X(usual, 0.1f + mq_test_gauss(seed) * mq_test_gauss(seed))            \
    X(nothing, 0.0f)                                                      \
    X(zeros, mq_test_uniform(seed) < 0.5f ? 0.0f : mq_test_uniform(seed)) \
    X(zero_sub_blocks, i / 32 % 2 ? 0.0f : mq_test_uniform(seed))         \
    X(one_outlier, i % 256 == 77 ? 1e6f : mq_test_uniform(seed))          \
    X(any_bits, mq_test_bits(seed, 255))

#define X(name, value) MQ_TEST_IMPORTANCE_##name,
enum mq_test_importance { MQ_TEST_IMPORTANCES(X) MQ_TEST_IMPORTANCE_COUNT };
#undef X

static inline void mq_test_fill_importance(enum mq_test_importance kind, uint64_t random,
                                           float *importance, size_t n)
{
    uint64_t state = random, *const seed = &state;
    for (size_t i = 0; i < n; i++) {
#define X(name, value)                     \
    if (kind == MQ_TEST_IMPORTANCE_##name) \
        importance[i] = fabsf(value);
        MQ_TEST_IMPORTANCES(X)
#undef X
    }
}

static inline void mq_test_fill(enum mq_test_kind kind, uint64_t random, float *weights, size_t n)
{
    uint64_t seed = random;
    for (size_t i = 0; i < n; i++)
        weights[i] = mq_test_weight(kind, i, &seed);
}

#endif
