/* The matrix product against double, and every instruction set against the generic one, bit by bit.
 */
#include "test_support.h"
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *random_guarded(size_t n, uint64_t *seed)
{
    float *p = mq_test_guarded(n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        p[i] = mq_test_gauss(seed);
    return p;
}

/* A chain that is cut in the middle ends in the same bits. */
static void check_accumulate(const struct mq_kernels *kernels, const float *x, size_t ldx, size_t m,
                             const float *packed, size_t stride, size_t k, size_t n, const float *y,
                             size_t ldy)
{
    const size_t y_floats = (m - 1) * ldy + n, half = k / 2;
    float *parts = mq_test_guarded(y_floats * sizeof(float));
    memcpy(parts, y, y_floats * sizeof(float));
    kernels->multiply(x, ldx, m, packed, stride, half, n, parts, ldy);
    if (half == 0)
        for (size_t i = 0; i < m; i++)
            memset(parts + i * ldy, 0, n * sizeof(float));
    kernels->accumulate(x + half, ldx, m, packed + half * MQ_PANEL, stride, k - half, n, parts,
                        ldy);
    ck_assert_mem_eq(y, parts, y_floats * sizeof(float));
}

/* Rows that are not packed give the same bits, whole and in parts, for few tokens. */
static void check_rows(const struct mq_kernels *kernels, const float *x, size_t ldx, size_t m,
                       const float *w, size_t k, size_t n, const float *y, size_t ldy)
{
    const size_t few = m < 4 ? m : 4, half = k / 2;
    for (size_t j = 0; j < n; j += MQ_PANEL) {
        const size_t count = n - j < MQ_PANEL ? n - j : MQ_PANEL;
        float *out = mq_test_guarded(((few - 1) * MQ_PANEL + count) * sizeof(float));
        for (size_t cut = half; cut <= k; cut += k - half) {
            kernels->multiply_rows(x, ldx, few, w + j * k, k, count, cut, out, MQ_PANEL, false);
            if (cut < k)
                kernels->multiply_rows(x + cut, ldx, few, w + j * k + cut, k, count, k - cut, out,
                                       MQ_PANEL, true);
            for (size_t i = 0; i < few; i++)
                ck_assert_mem_eq(out + i * MQ_PANEL, y + i * ldy + j, count * sizeof(float));
        }
    }
}

static void check_shape(size_t m, size_t n, size_t k, size_t pad)
{
    uint64_t seed = m * 1000003 + n * 1009 + k;
    const size_t ldx = k + pad, ldy = n + pad, panels = (n + MQ_PANEL - 1) / MQ_PANEL;
    const size_t stride = (k + 3) * MQ_PANEL; /* any stride will do, not only k * MQ_PANEL */
    float *x = random_guarded((m - 1) * ldx + k, &seed), *w = random_guarded(n * k, &seed);
    float *packed = aligned_alloc(64, panels * stride * sizeof(float));
    const size_t y_floats = (m - 1) * ldy + n;
    float *y = mq_test_guarded(y_floats * sizeof(float)), *first = malloc(y_floats * sizeof(float));
    ck_assert(packed && first);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        const struct mq_kernels *kernels = mq_kernels_get((enum mq_isa)isa);
        for (size_t i = 0; i < y_floats; i++)
            y[i] = 77.0f; /* what lies between rows must stay */
        for (size_t p = 0; p < panels; p++) {
            const size_t rows = n - p * MQ_PANEL < MQ_PANEL ? n - p * MQ_PANEL : MQ_PANEL;
            kernels->pack(w + p * MQ_PANEL * k, k, rows, k, packed + p * stride);
        }
        kernels->multiply(x, ldx, m, packed, stride, k, n, y, ldy);
        if (isa > 0)
            ck_assert_mem_eq(y, first, y_floats * sizeof(float));
        check_accumulate(kernels, x, ldx, m, packed, stride, k, n, y, ldy);
        check_rows(kernels, x, ldx, m, w, k, n, y, ldy);
        if (isa > 0)
            continue;
        memcpy(first, y, y_floats * sizeof(float));
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < n; j++) {
                double sum = 0, size = 0;
                float chain = 0;
                for (size_t kk = 0; kk < k; kk++) {
                    const double product = (double)x[i * ldx + kk] * (double)w[j * k + kk];
                    sum += product;
                    size += fabs(product);
                    chain = fmaf(x[i * ldx + kk], w[j * k + kk], chain);
                }
                ck_assert_double_le(fabs((double)y[i * ldy + j] - sum), 1e-6 * size);
                ck_assert(y[i * ldy + j] == chain);
            }
            for (size_t j = n; j < ldy && i + 1 < m; j++)
                ck_assert(y[i * ldy + j] == 77.0f);
        }
    }
    free(packed);
    free(first);
}

START_TEST(shapes)
{
    static const size_t m[] = {1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 29, 45};
    static const size_t n[] = {1, 8, 16, 31, 32, 33, 47, 64, 100};
    static const size_t k[] = {1, 7, 8, 64, 255, 256, 257, 600};
    for (size_t a = 0; a < sizeof m / sizeof *m; a++)
        for (size_t b = 0; b < sizeof n / sizeof *n; b++)
            check_shape(m[a], n[b], k[(a + b) % 8], (a + b) % 3 * 8);
    for (size_t c = 0; c < sizeof k / sizeof *k; c++)
        check_shape(17, 40, k[c], MQ_ROW_PAD);
}
END_TEST

/* rms_norm, softmax, rotate, silu and add_scaled of one length: results against double for
 * the generic kernels, the same bits from the others. */
static void check_activations(size_t n)
{
    uint64_t seed = n;
    const size_t padded = (n + 15) / 16 * 16;
    float *x = random_guarded(n, &seed), *u = random_guarded(n, &seed);
    float *y = mq_test_guarded(n * sizeof(float));
    float *scores = mq_test_guarded(padded * sizeof(float)), *pair = malloc(2 * n * sizeof(float));
    float *first = malloc((5 * n + padded) * sizeof(float));
    ck_assert(pair && first);
    double squares = 0, top = -INFINITY, exponentials = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        top = fmax(top, 3.0 * (double)x[i]);
    }
    for (size_t i = 0; i < n; i++)
        exponentials += exp(3.0 * (double)x[i] - top);
    float first_sum = 0;
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        const struct mq_kernels *kernels = mq_kernels_get((enum mq_isa)isa);
        float *out = isa ? malloc((5 * n + padded) * sizeof(float)) : first;
        ck_assert_ptr_nonnull(out);

        kernels->rms_norm(x, u, n, 1e-5f, y);
        memcpy(out, y, n * sizeof(float));
        memcpy(y, x, n * sizeof(float));
        kernels->activate_times[MQ_ACTIVATION_SILU](y, u, n, 0);
        memcpy(out + n, y, n * sizeof(float));
        memcpy(y, x, n * sizeof(float));
        kernels->add_scaled(y, u, 0.3f, n);
        memcpy(out + 2 * n, y, n * sizeof(float));
        memcpy(pair, x, n * sizeof(float));
        memcpy(pair + n, u, n * sizeof(float));
        kernels->rotate(pair, u, x, n);
        memcpy(out + 3 * n, pair, 2 * n * sizeof(float));
        for (size_t i = 0; i < padded; i++)
            scores[i] = i < n ? x[i] : -INFINITY;
        const float sum = kernels->softmax(scores, padded, 3.0f);
        memcpy(out + 5 * n, scores, padded * sizeof(float));

        if (isa) {
            ck_assert_mem_eq(out, first, (5 * n + padded) * sizeof(float));
            ck_assert(sum == first_sum);
            free(out);
            continue;
        }
        first_sum = sum;
        const double scale = 1 / sqrt(squares / (double)n + (double)1e-5f);
        ck_assert_double_eq_tol((double)sum, exponentials, 1e-5 * exponentials);
        for (size_t i = 0; i < n; i++) {
            const double a = (double)x[i], b = (double)u[i];
            ck_assert_double_eq_tol((double)out[i], a * scale * b, 1e-5);
            ck_assert_double_eq_tol((double)out[n + i], a / (1 + exp(-a)) * b, 1e-5);
            ck_assert_double_eq_tol((double)out[2 * n + i], a + 0.3 * b, 1e-6);
            ck_assert_double_eq_tol((double)out[3 * n + i], a * b - b * a, 1e-5);
            ck_assert_double_eq_tol((double)out[4 * n + i], b * b + a * a, 1e-5);
            ck_assert_double_eq_tol((double)out[5 * n + i], exp(3 * a - top), 1e-6);
        }
        for (size_t i = n; i < padded; i++)
            ck_assert(out[5 * n + i] == 0.0f);
    }
    free(first);
    free(pair);
}

/* What only some families have: each against its formula in double. */
enum { SPECIAL = 6 };
static void run_special(const struct mq_kernels *k, const float *x, const float *u, size_t n,
                        float *const y[SPECIAL])
{
    for (int i = 0; i < SPECIAL; i++)
        memcpy(y[i], x, n * sizeof(float));
    k->activate_times[MQ_ACTIVATION_GELU_TANH](y[0], u, n, 0);
    k->activate_times[MQ_ACTIVATION_SWIGLU_OAI](y[1], u, n, 0.7f);
    k->activate_times[MQ_ACTIVATION_RELU2](y[2], u, n, 0);
    k->sigmoid_times(y[3], u, n);
    k->softcap(y[4], n, 2.0f, 3.0f);
    k->layer_norm(x, u, x, n, 1e-5f, y[5]);
}

static void check_special(const float *x, const float *u, size_t n, float *const y[SPECIAL])
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double a = (double)x[i], b = (double)u[i], limit = (double)0.7f;
        const double g = fmin(a, limit), up = fmax(fmin(b, limit), -limit);
        const double expected[SPECIAL] = {
            0.5 * a * (1 + tanh(sqrt(2 / M_PI) * (a + 0.044715 * a * a * a))) * b,
            (up + 1) * g / (1 + exp(-1.702 * g)),
            b > 0 ? b * b : 0,
            a / (1 + exp(-b)),
            3 * tanh(2 * a / 3),
            (a - mean) / sqrt(variance + 1e-5) * b + a,
        };
        for (int f = 0; f < SPECIAL; f++)
            ck_assert_double_eq_tol((double)y[f][i], expected[f], 2e-5);
    }
}

START_TEST(special_activations)
{
    static const size_t sizes[] = {1, 15, 16, 17, 70, 4096};
    uint64_t seed = 5;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s];
        const float *x = random_guarded(n, &seed), *u = random_guarded(n, &seed);
        float *first[SPECIAL], *y[SPECIAL];
        for (int i = 0; i < SPECIAL; i++) {
            first[i] = mq_test_guarded(n * sizeof(float));
            y[i] = mq_test_guarded(n * sizeof(float));
        }
        run_special(mq_kernels_get(MQ_ISA_GENERIC), x, u, n, first);
        check_special(x, u, n, first);
        for (int isa = 1; isa < MQ_ISA_COUNT; isa++) {
            if (!mq_isa_available((enum mq_isa)isa))
                continue;
            run_special(mq_kernels_get((enum mq_isa)isa), x, u, n, y);
            for (int i = 0; i < SPECIAL; i++)
                ck_assert_mem_eq(y[i], first[i], n * sizeof(float));
        }
    }
}
END_TEST

START_TEST(activations)
{
    for (size_t n = 1; n <= 70; n++)
        check_activations(n);
    check_activations(4096);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, shapes);
    tcase_add_test(tests, activations);
    tcase_add_test(tests, special_activations);
}

int main(void)
{
    return mq_test_main("test_gemm", add_tests);
}
