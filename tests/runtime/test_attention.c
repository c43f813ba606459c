/* Rotary tables against libm, attention against a plain evaluation in double, choices of experts.
 */
#include "test_support.h"
#include "attention.h"
#include "rope.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

START_TEST(rope_tables)
{
    enum { DIM = 64, POSITIONS = 300 };
    static float cosines[POSITIONS * DIM / 2], sines[POSITIONS * DIM / 2];
    const struct mq_rope ropes[] = {
        {.type = MQ_ROPE_DEFAULT, .theta = 1e6},
        {.type = MQ_ROPE_LINEAR, .theta = 1e4, .factor = 4},
        {.type = MQ_ROPE_LLAMA3,
         .theta = 5e5,
         .factor = 8,
         .low_freq_factor = 1,
         .high_freq_factor = 4,
         .original_max_positions = 64},
    };
    for (size_t r = 0; r < 3; r++) {
        const struct mq_rope *rope = &ropes[r];
        mq_rope_fill(rope, DIM, POSITIONS, cosines, sines);
        for (int i = 0; i < DIM / 2; i++) {
            double f = pow(rope->theta, -2.0 * i / DIM);
            if (rope->type == MQ_ROPE_LINEAR)
                f /= rope->factor;
            if (rope->type == MQ_ROPE_LLAMA3) {
                const double turns = rope->original_max_positions * f / 6.283185307179586;
                const double ramp = fmin(1, fmax(0, (turns - 1) / 3));
                f = f * ramp + f / rope->factor * (1 - ramp);
            }
            for (int p = 0; p < POSITIONS; p++) { /* frequency and angle are rounded to f32 */
                const double tolerance = 1e-7 + 4e-7 * p * f;
                ck_assert_double_le(fabs((double)cosines[p * DIM / 2 + i] - cos(p * f)), tolerance);
                ck_assert_double_le(fabs((double)sines[p * DIM / 2 + i] - sin(p * f)), tolerance);
            }
        }
    }
}
END_TEST

static void rotate_double(const struct mq_rope *rope, size_t dim, size_t position, const float *x,
                          double *out)
{
    for (size_t i = 0; i < dim / 2; i++) {
        const double angle = (double)position * pow(rope->theta, -2.0 * (double)i / (double)dim);
        const double a = (double)x[i], b = (double)x[i + dim / 2];
        out[i] = a * cos(angle) - b * sin(angle);
        out[i + dim / 2] = b * cos(angle) + a * sin(angle);
    }
}

/* One head of one window. */
static void attend_double(const struct mq_hparams *hp, size_t length, const float *q, size_t ldq,
                          const float *k, size_t ldk, const float *v, size_t ldv, double *out)
{
    const size_t dim = hp->head_dim;
    double *keys = malloc(length * dim * sizeof *keys), *query = malloc(dim * sizeof *query);
    double *p = malloc(length * sizeof *p);
    ck_assert(keys && query && p);
    for (size_t j = 0; j < length; j++)
        rotate_double(&hp->rope, dim, j, k + j * ldk, keys + j * dim);
    for (size_t i = 0; i < length; i++) {
        double sum = 0;
        const size_t window = hp->sliding_window;
        const size_t first = window && i + 1 > window ? i + 1 - window : 0;
        rotate_double(&hp->rope, dim, i, q + i * ldq, query);
        for (size_t j = first; j <= i; j++) {
            double score = 0;
            for (size_t d = 0; d < dim; d++)
                score += query[d] * keys[j * dim + d];
            sum += p[j] = exp(score / sqrt((double)dim));
        }
        for (size_t d = 0; d < dim; d++) {
            double value = 0;
            for (size_t j = first; j <= i; j++)
                value += p[j] * (double)v[j * ldv + d];
            out[i * dim + d] = value / sum;
        }
    }
    free(keys);
    free(query);
    free(p);
}

static float *random_floats(size_t n, uint64_t *seed)
{
    float *p = malloc(n * sizeof *p);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < n; i++)
        p[i] = mq_test_gauss(seed);
    return p;
}

static void check_attention(uint32_t dim, size_t length, uint32_t window)
{
    enum { WINDOWS = 2 };
    const struct mq_hparams hp = {.heads = 4,
                                  .kv_heads = 2,
                                  .head_dim = dim,
                                  .sliding_window = window,
                                  .rope = {.type = MQ_ROPE_DEFAULT, .theta = 1e4}};
    const struct mq_program kind = {.layer.attention = {.kind = MQ_MIXER_GROUPED,
                                                        .rope = MQ_ROPE_OF_MAIN,
                                                        .heads = 4,
                                                        .kv_heads = 2,
                                                        .head_dim = dim,
                                                        .rotary_dim = dim,
                                                        .value_dim = dim,
                                                        .window = window,
                                                        .scale = (float)(1 / sqrt((double)dim))}};
    const struct mq_model_program program = {.kinds = &kind, .kinds_count = 1};
    const size_t ldq = 4 * dim + 16, ldk = 2 * dim + 16, tokens = WINDOWS * length;
    uint64_t seed = dim * 1000003u + length * 101 + window;
    float *q = random_floats(tokens * ldq, &seed), *k = random_floats(tokens * ldk, &seed);
    float *v = random_floats(tokens * ldk, &seed);
    float *first = NULL;
    double *expected = malloc(length * dim * sizeof *expected);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        for (unsigned threads = 1; threads <= 9 && mq_isa_available((enum mq_isa)isa);
             threads += 4) {
            if (mq_test_sampled() && threads != 1 + 4 * (((unsigned)isa + window) % 3))
                continue;
            const struct mq_context context = {.isa = (enum mq_isa)isa, .threads = threads};
            struct mq_attention *attention;
            moeq_error err = {0};
            ck_assert_ok(mq_attention_create(&context, &program, &hp, length, &attention, &err));
            float *out = malloc(tokens * ldq * sizeof *out);
            float *keys = malloc(tokens * ldk * sizeof *keys);
            ck_assert(out && keys && expected);
            memcpy(out, q, tokens * ldq * sizeof *out);
            memcpy(keys, k, tokens * ldk * sizeof *keys);
            const struct mq_attention_job job = {.layer = &kind.layer.attention,
                                                 .q = {out, ldq, dim},
                                                 .k = {keys, ldk, dim},
                                                 .v = {v, ldk, dim},
                                                 .out = {out, ldq, dim},
                                                 .windows = WINDOWS};
            mq_attention_apply(attention, &job);
            mq_attention_destroy(attention);
            free(keys);
            if (first) {
                ck_assert_mem_eq(out, first, tokens * ldq * sizeof *out);
                free(out);
            } else {
                first = out;
            }
        }
    }
    for (size_t w = 0; w < WINDOWS; w++) {
        for (size_t h = 0; h < hp.heads; h++) {
            const size_t at = w * length * ldq + h * dim, kv = w * length * ldk + h / 2 * dim;
            attend_double(&hp, length, q + at, ldq, k + kv, ldk, v + kv, ldk, expected);
            for (size_t i = 0; i < length * dim; i++)
                ck_assert_double_le(fabs((double)first[at + i / dim * ldq + i % dim] - expected[i]),
                                    2e-5);
        }
    }
    free(first);
    free(q);
    free(k);
    free(v);
    free(expected);
}

START_TEST(attention)
{
    static const size_t lengths[] = {1, 2, 31, 32, 33, 42, 43, 100, 131};
    static const uint32_t windows[] = {0, 1, 7, 32, 40, 200};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++)
            check_attention(16 + 16 * (uint32_t)((l + w) % 4), lengths[l], windows[w]);
    check_attention(2, 50, 0);
    check_attention(128, 90, 0);
}
END_TEST

/* Softmax over all is the default; what differs is said. */
static void choose(enum mq_isa isa, const struct mq_layer_router *router, const float *choice_bias,
                   const float *logits, int32_t *chosen, float *weights)
{
    float scratch[48];
    const struct mq_router_vectors vectors = {.choice_bias = choice_bias};
    mq_router_choose(isa, router, &vectors, logits, 1, scratch, chosen, weights);
}

static void check_choices(enum mq_isa isa)
{
    float w[3];
    int32_t chosen[3];
    const float ties[] = {1, 5, 2, 5, 5}; /* of equals the lower expert */
    const float three[] = {0, 3, 1, 2}, sum = expf(3) + expf(1) + expf(2);
    struct mq_layer_router r = {
        .experts = 5, .top_k = 2, .normalize = MQ_NORMALIZE_SUM, .scale = 1};
    choose(isa, &r, NULL, ties, chosen, w);
    ck_assert(chosen[0] == 1 && chosen[1] == 3 && w[0] == 0.5f && w[1] == 0.5f);
    r.experts = 4, r.top_k = 3;
    choose(isa, &r, NULL, three, chosen, w);
    ck_assert(chosen[0] == 1 && chosen[1] == 2 && chosen[2] == 3);
    ck_assert_float_eq_tol(w[0], expf(3) / sum, 1e-6f);
    ck_assert_float_eq_tol(w[1], expf(1) / sum, 1e-6f);
    const float bad[] = {NAN, NAN, 1, NAN}; /* still distinct, so lists stay within bounds */
    choose(isa, &r, NULL, bad, chosen, w);
    ck_assert(chosen[0] < chosen[1] && chosen[1] < chosen[2] && chosen[2] < 4);
    r.normalize = MQ_NORMALIZE_NONE;
    choose(isa, &r, NULL, three, chosen, w);
    ck_assert_float_eq_tol(w[0], expf(3) / (sum + 1), 1e-6f);
    ck_assert_float_eq_tol(w[2], expf(2) / (sum + 1), 1e-6f);
    r.weights = MQ_WEIGHTS_SOFTMAX_CHOSEN, r.score = MQ_SCORE_LOGIT;
    choose(isa, &r, NULL, three, chosen, w);
    ck_assert_float_eq_tol(w[0], expf(3) / sum, 1e-6f);
    r.weights = MQ_WEIGHTS_SIGMOID, r.top_k = 1;
    choose(isa, &r, NULL, three, chosen, w);
    ck_assert_int_eq(chosen[0], 1);
    ck_assert_float_eq_tol(w[0], 1 / (1 + expf(-3)), 1e-6f);
}

static void check_groups_and_bias(enum mq_isa isa)
{
    float w[3];
    int32_t chosen[3];
    const float three[] = {0, 3, 1, 2}, sum = 1 + expf(3) + expf(1) + expf(2);
    const float s3 = 1 / (1 + expf(-3)), s0 = 0.5f, bias[] = {9, 0, 0, 0};
    struct mq_layer_router r = {.experts = 4, .top_k = 2, .groups = 2, .top_groups = 1, .scale = 3};
    choose(isa, &r, NULL, three, chosen, w);
    ck_assert(chosen[0] == 0 && chosen[1] == 1); /* not 3, whose group is the second best */
    ck_assert_float_eq_tol(w[1], 3 * expf(3) / sum, 1e-6f);
    r.score = MQ_SCORE_SIGMOID, r.groups_by = MQ_GROUPS_BY_TWO_BEST;
    choose(isa, &r, NULL, three, chosen, w); /* 0.73 + 0.88 are more than 0.5 + 0.95 */
    ck_assert(chosen[0] == 2 && chosen[1] == 3);
    r.groups = r.top_groups = 1, r.normalize = MQ_NORMALIZE_SUM;
    choose(isa, &r, bias, three, chosen, w); /* the bias chooses, and does not weigh */
    ck_assert(chosen[0] == 0 && chosen[1] == 1);
    ck_assert_float_eq_tol(w[0], 3 * s0 / (s0 + s3), 1e-6f);
}

START_TEST(choices)
{
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        check_choices((enum mq_isa)isa);
        check_groups_and_bias((enum mq_isa)isa);
    }
    const int32_t of_tokens[] = {0, 2, 1, 2, 0, 1};
    const float their_weights[] = {.1f, .9f, .2f, .8f, .3f, .7f};
    const struct mq_layer_router four = {.experts = 4, .top_k = 2};
    uint32_t token[6];
    size_t begin[5];
    float weights[6];
    mq_router_sort(of_tokens, their_weights, 3, &four, begin, token, weights);
    ck_assert(begin[0] == 0 && begin[1] == 2 && begin[2] == 4 && begin[3] == 6 && begin[4] == 6);
    ck_assert(token[4] == 0 && token[5] == 1 && weights[4] == .9f && weights[5] == .8f);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, rope_tables);
    tcase_add_test(tests, attention);
    tcase_add_test(tests, choices);
}

int main(void)
{
    return mq_test_main("test_attention", add_tests);
}
