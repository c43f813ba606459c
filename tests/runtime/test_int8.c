/* Products of integers: every variant against int8.h's definition, bit by bit; and how far an
 * evaluation with them is from one in floats. */
#include "f16.h"
#include "golden.h"
#include "int8.h"
#include "kernels.h"
#include "levels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAME(a, b) (memcmp(&(a), &(b), sizeof(float)) == 0)

/* ---- blocks to integers ---- */

/* Any bytes: then scales may be anything, and the last weights of a row f16 of any kind. */
static void fill_rows(const struct mq_level *level, bool any, size_t rows, size_t cols,
                      uint8_t *bytes, uint64_t *seed)
{
    const size_t n = rows * mq_level_row_bytes(level, cols);
    if (any) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)mq_test_random(seed);
        return;
    }
    float *weights = malloc(rows * cols * sizeof(float));
    ck_assert_ptr_nonnull(weights);
    for (size_t i = 0; i < rows * cols; i++)
        weights[i] = 0.02f * mq_test_gauss(seed);
    mq_level_encode_rows(level, mq_isa_detect(), MQ_EFFORT_DEFAULT, NULL, weights, rows, cols,
                         bytes);
    free(weights);
}

/* The minima of codes of 8 bits less 128 are rounded once more, relative to 255 scales; what is not finite then, is not
 * asked for. */
static bool is_about(const struct mq_level *level, float w, float expected, float scale)
{
    const float error = w - expected, size = 256 * fabsf(scale) + fabsf(expected);
    return strncmp(level->name, "mlx8", 4) == 0 && (!isfinite(error) || fabsf(error) <= 1e-6f * size);
}

/* scale * code - min is the decoder's weight, from every instruction set. */
static void check_unpack(const struct mq_level *level, bool any, size_t rows, size_t cols)
{
    uint64_t seed = cols + any;
    const size_t tail = cols % 32, k = cols - tail, groups = k / level->group;
    uint8_t *bytes = mq_test_guarded(rows * mq_level_row_bytes(level, cols));
    int8_t *codes = mq_test_guarded(rows * k + 1);
    float *scales = mq_test_guarded((rows * groups + 1) * sizeof(float));
    float *mins = mq_test_guarded((rows * groups + 1) * sizeof(float));
    float *tails = mq_test_guarded((rows * tail + 1) * sizeof(float));
    float *decoded = malloc(rows * cols * sizeof(float));
    ck_assert_ptr_nonnull(decoded);
    fill_rows(level, any, rows, cols, bytes, &seed);
    mq_level_decode_rows(level, MQ_ISA_GENERIC, bytes, rows, cols, decoded);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        mq_level_unpack_rows(level, (enum mq_isa)isa, bytes, rows, cols, codes + 1, scales + 1,
                             mins + 1, tails + 1);
        for (size_t r = 0; r < rows; r++) {
            for (size_t c = 0; c < k; c++) {
                const size_t b = 1 + r * groups + c / level->group;
                const int code = codes[1 + r * k + c];
                const float w = scales[b] * (float)codes[1 + r * k + c] - mins[b];
                const float expected = decoded[r * cols + c];
                ck_assert(w == expected || (isnan(w) && isnan(expected)) ||
                          is_about(level, w, expected, scales[b]));
                ck_assert(level->has_mins || mins[b] == 0.0f);
                ck_assert(c >= k - k % level->block_weights ||
                          (code >= level->code_min && code <= level->code_max));
            }
            for (size_t c = k; c < cols; c++) {
                const float w = tails[1 + r * tail + c - k], expected = decoded[r * cols + c];
                ck_assert(w == expected || (isnan(w) && isnan(expected)));
            }
        }
    }
    free(decoded);
}

START_TEST(unpack)
{
    static const size_t cols[] = {1, 31, 32, 33, 256, 288, 511, 512, 1024 + 64 + 7};
    for (size_t l = 0; l < mq_levels_count; l++) {
        /* codes that are floats are no integers; a bias is not rounded twice */
        const char *name = mq_levels[l].name;
        const bool has = mq_levels[l].quantized && strcmp(name, "f8_e4m3") != 0 &&
                         strcmp(name, "fp8b") != 0 && strcmp(name, "a8_32") != 0;
        ck_assert(has == (mq_levels[l].unpack[0] != NULL));
        if (mq_levels[l].family && !getenv("MOEQ_TEST_ALL") && l % 3)
            continue;
        for (size_t c = 0; mq_levels[l].unpack[0] && c < sizeof cols / sizeof *cols; c++)
            for (int any = 0; any < 2; any++)
                if (mq_level_can_encode(&mq_levels[l]) || (any && cols[c] % 32 == 0))
                    check_unpack(&mq_levels[l], any, 3, cols[c]);
    }
}
END_TEST

/* ---- activations ---- */

/* int8.h's rule, with libm's rounding. */
static void quantize_block(const float *x, int8_t *codes, struct mq_int8_block *block,
                           struct mq_int8_halves *halves)
{
    float top = 0;
    bool finite = true;
    for (int i = 0; i < 32; i++) {
        finite &= isfinite(x[i]) != 0;
        top = fmaxf(top, fabsf(x[i]));
    }
    memset(codes, 0, 32);
    *block = finite ? (struct mq_int8_block){0} : (struct mq_int8_block){NAN, NAN, 0};
    *halves = (struct mq_int8_halves){{block->scale, block->scale}, {0, 0}};
    if (!finite || top <= 0x1p-100f)
        return;
    int sum[2] = {0, 0};
    for (int i = 0; i < 32; i++) {
        codes[i] = (int8_t)rintf(x[i] * (127.0f / top));
        sum[i / 16] += codes[i];
    }
    const int all = sum[0] + sum[1];
    const float scale = top / 127.0f;
    *block = (struct mq_int8_block){scale, scale * (float)all, -128 * all};
    *halves = (struct mq_int8_halves){{scale * (float)sum[0], scale * (float)sum[1]},
                                      {-128 * sum[0], -128 * sum[1]}};
}

START_TEST(activations)
{
    enum { BLOCKS = 40, K = 32 * BLOCKS };
    uint64_t seed = 5;
    float *x = mq_test_guarded(K * sizeof(float));
    for (int i = 0; i < K; i++)
        x[i] = mq_test_gauss(&seed) * (i % 91 ? 1.0f : 50.0f);
    for (int i = 0; i < 32; i++) { /* one kind a block */
        x[i] = 0.0f;
        x[32 + i] = -0.0f;
        x[64 + i] = (float)i * FLT_TRUE_MIN;
        x[96 + i] = i & 1 ? FLT_MAX : -FLT_MAX;
        x[128 + i] = (float)(i - 16) * 0.5f; /* ties, once divided by the largest */
        x[160 + i] = 0x1p-100f;
        x[192 + i] = 0x1.000002p-100f;
    }
    x[128] = 127.0f;
    x[230] = INFINITY;
    x[260] = -INFINITY;
    x[300] = NAN;
    x[340] = -mq_bits_float(0x7f800001);
    int8_t expected[K], *codes = mq_test_guarded(K);
    struct mq_int8_block blocks_expected[BLOCKS];
    struct mq_int8_block *blocks = mq_test_guarded(sizeof blocks_expected);
    struct mq_int8_halves halves_expected[BLOCKS];
    struct mq_int8_halves *halves = mq_test_guarded(sizeof halves_expected);
    for (int b = 0; b < BLOCKS; b++)
        quantize_block(x + 32 * b, expected + 32 * b, &blocks_expected[b], &halves_expected[b]);
    const struct mq_int8_kernels *kernels;
    bool available;
    for (size_t v = 0; (kernels = mq_int8_variant(v, &available)); v++) {
        if (!available)
            continue;
        memset(codes, 99, K);
        kernels->quantize(x, K, codes, blocks, halves);
        ck_assert_mem_eq(codes, expected, K);
        for (int b = 0; b < BLOCKS; b++) {
            ck_assert(SAME(blocks[b].scale, blocks_expected[b].scale));
            ck_assert(SAME(blocks[b].scaled_sum, blocks_expected[b].scaled_sum));
            ck_assert_int_eq(blocks[b].bias, blocks_expected[b].bias);
            for (int h = 0; h < 2; h++) {
                ck_assert(SAME(halves[b].scaled_sum[h], halves_expected[b].scaled_sum[h]));
                ck_assert_int_eq(halves[b].bias[h], halves_expected[b].bias[h]);
            }
        }
    }
}
END_TEST

/* ---- products ---- */

/* All that a product needs, in random numbers and at the codes' extremes. */
struct problem {
    size_t m, n, k, blocks, group, groups, panels, codes_stride, ldy;
    bool mins;
    int8_t *w;           /* [n][k] */
    float *scales, *min; /* [n][groups] */
    int8_t *x;
    struct mq_int8_block *x_blocks;
    struct mq_int8_halves *x_halves;
    float *start; /* [m][ldy] */
};

/* Element (i, j) as int8.h defines it. */
static float element(const struct problem *p, size_t i, size_t j, bool resume)
{
    float sum = resume ? p->start[i * p->ldy + j] : 0.0f;
    for (size_t g = 0; g < p->groups; g++) {
        const size_t b = i * p->blocks + g * p->group / 32;
        const float scaled_sum =
            p->group == 32 ? p->x_blocks[b].scaled_sum : p->x_halves[b].scaled_sum[g % 2];
        int dot = 0;
        for (size_t c = p->group * g; c < p->group * (g + 1); c++)
            dot += p->w[j * p->k + c] * p->x[i * p->codes_stride + c];
        sum = fmaf((float)dot, p->scales[j * p->groups + g] * p->x_blocks[b].scale, sum);
        if (p->mins)
            sum = fmaf(-p->min[j * p->groups + g], scaled_sum, sum);
    }
    return sum;
}

/* What codes there may be. */
static const struct range {
    int min, max;
} ranges[] = {{-128, 127}, {-128, 124}, {-64, 0},  {-64, 1}, {-32, 31},
              {-32, 100},  {-16, 15},   {-20, 44}, {-8, 7},  {-3, 12},
              {0, 127},    {0, 31},     {0, 32},   {0, 15},  {0, 3}};
enum { RANGES = sizeof ranges / sizeof *ranges };

/* Packs as linear.c does. Memory to be freed: codes, scales, mins. */
static struct mq_int8_panels pack(const struct problem *p, const struct mq_int8_kernels *int8,
                                  struct range range)
{
    const struct mq_kernels *kernels = mq_kernels_get(MQ_ISA_GENERIC);
    const size_t rows = p->panels * MQ_PANEL;
    int8_t *codes = aligned_alloc(64, rows * p->k);
    float *scales = aligned_alloc(64, rows * p->groups * sizeof(float));
    float *mins = aligned_alloc(64, rows * p->groups * sizeof(float));
    ck_assert(codes && scales && mins);
    for (size_t j = 0; j < p->n; j += MQ_PANEL) {
        const size_t count = p->n - j < MQ_PANEL ? p->n - j : MQ_PANEL;
        kernels->pack((const float *)(const void *)(p->w + j * p->k), p->k / 4, count, p->k / 4,
                      (float *)(void *)(codes + j * p->k));
        kernels->pack(p->scales + j * p->groups, p->groups, count, p->groups,
                      scales + j * p->groups);
        kernels->pack(p->min + j * p->groups, p->groups, count, p->groups, mins + j * p->groups);
    }
    int8->finish_pack(codes, rows * p->k, (int8_t)range.min, (int8_t)range.max);
    return (struct mq_int8_panels){.codes = codes, .scales = scales, .mins = mins};
}

static void check_product(size_t m, size_t n, size_t k, size_t group, bool mins, bool extreme,
                          struct range range)
{
    uint64_t seed = m * 1000003 + n * 1009 + k;
    struct problem p = {.m = m, .n = n, .k = k, .blocks = k / 32, .mins = mins};
    p.group = group;
    p.groups = k / group;
    p.panels = (n + MQ_PANEL - 1) / MQ_PANEL;
    p.codes_stride = k + (m % 3) * 32;
    p.ldy = n + m % 5;
    p.w = malloc(n * k);
    p.scales = malloc(n * p.groups * sizeof(float));
    p.min = malloc(n * p.groups * sizeof(float));
    p.x = mq_test_guarded((m - 1) * p.codes_stride + k);
    p.x_blocks = mq_test_guarded(m * p.blocks * sizeof *p.x_blocks);
    p.x_halves = mq_test_guarded(m * p.blocks * sizeof *p.x_halves);
    const size_t floats = (m - 1) * p.ldy + n;
    p.start = malloc(m * p.ldy * sizeof(float));
    float *y = mq_test_guarded(floats * sizeof(float));
    ck_assert(p.w && p.scales && p.min && p.start);
    for (size_t i = 0; i < n * k; i++)
        p.w[i] = (int8_t)(extreme ? (i % 7 && range.min < 0 ? range.min : range.max)
                                  : range.min + (int)(mq_test_random(&seed) %
                                                      (unsigned)(range.max - range.min + 1)));
    for (size_t i = 0; i < n * p.groups; i++) {
        p.scales[i] = mq_test_gauss(&seed);
        p.min[i] = mq_test_gauss(&seed);
    }
    for (size_t i = 0; i < m; i++) {
        float block[32];
        for (size_t b = 0; b < p.blocks; b++) {
            for (size_t c = 0; c < 32; c++)
                block[c] = extreme ? (i % 2 ? -3.0f : 3.0f) : mq_test_gauss(&seed);
            quantize_block(block, p.x + i * p.codes_stride + 32 * b, &p.x_blocks[i * p.blocks + b],
                           &p.x_halves[i * p.blocks + b]);
        }
    }
    for (size_t i = 0; i < m * p.ldy; i++)
        p.start[i] = mq_test_gauss(&seed);
    const struct mq_int8_tokens tokens = {p.x, p.x_blocks, p.x_halves, p.codes_stride, p.blocks};
    const struct mq_int8_kernels *kernels;
    bool available;
    for (size_t v = 0; (kernels = mq_int8_variant(v, &available)); v++) {
        if (!available)
            continue;
        struct mq_int8_panels panels = pack(&p, kernels, range);
        const struct mq_int8_panels used = {
            panels.codes, panels.scales,     mins ? panels.mins : NULL,
            (int)group,   (int8_t)range.min, (int8_t)range.max};
        for (int resume = 0; resume < 2; resume++) {
            memcpy(y, p.start, floats * sizeof(float));
            kernels->multiply(&tokens, m, &used, k, n, y, p.ldy, resume);
            for (size_t i = 0; i < m; i++) {
                for (size_t j = 0; j < n; j++) {
                    const float expected = element(&p, i, j, resume);
                    ck_assert_msg(SAME(y[i * p.ldy + j], expected),
                                  "%s: %zu x %zu x %zu at %zu %zu", kernels->name, m, n, k, i, j);
                }
                for (size_t j = n; j < p.ldy && i + 1 < m; j++)
                    ck_assert(SAME(y[i * p.ldy + j], p.start[i * p.ldy + j]));
            }
        }
        free((void *)panels.codes);
        free((void *)panels.scales);
        free((void *)panels.mins);
    }
    free(p.w);
    free(p.scales);
    free(p.min);
    free(p.start);
}

START_TEST(products)
{
    static const size_t m[] = {1, 2, 3, 4, 5, 6, 7, 9, 12, 17};
    static const size_t n[] = {1, 8, 16, 31, 32, 33, 65, 100};
    static const size_t k[] = {32, 64, 96, 1024, 1056};
    for (size_t a = 0; a < sizeof m / sizeof *m; a++)
        for (size_t b = 0; b < sizeof n / sizeof *n; b++)
            if (!mq_test_sampled() || (2 * a + b) % 3 == 0)
                check_product(m[a], n[b], k[(a + b) % 3], b % 2 ? 16 : 32, (a + b) % 2, b % 3 == 0,
                              ranges[(3 * a + b) % RANGES]);
    for (size_t c = 0; c < sizeof k / sizeof *k; c++)
        for (int extreme = 0; extreme < 2; extreme++)
            for (size_t r = 0; r < RANGES; r++)
                if (!mq_test_sampled() || (c + r) % 4 == 2 * (size_t)extreme)
                    check_product(7, 40, k[c], (c + r) % 2 ? 16 : 32, r % 2, extreme, ranges[r]);
}
END_TEST

/* ---- evaluations ---- */

enum { ARMS = 6, LENGTH = 32 };

/* Levels with groups of 32 and of 16, without and with minima, in integers; the first of them in
 * floats beside it, and weights that have no codes. */
struct fixture {
    struct mq_view *view;
    struct golden golden;
    struct mq_windows windows;
    const struct mq_level **levels[ARMS];
    struct mq_arm arms[ARMS];
};

static void set_up(struct fixture *f)
{
    static const char *const names[ARMS] = {NULL, "q8_0", "q8_0", "q4_k", "q6_k", "q2_k"};
    moeq_error err = {0};
    memset(f, 0, sizeof *f);
    ck_assert_msg(mq_view_open(mq_test_source("tests/fixtures/oracles/mixtral"), &f->view, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    golden_open(mq_test_source("tests/fixtures/oracles/mixtral/golden.safetensors"), &f->golden);
    f->windows = f->golden.windows;
    f->windows.count *= f->windows.length / LENGTH;
    f->windows.length = LENGTH;
    for (int a = 0; a < ARMS; a++) {
        f->levels[a] = calloc(f->view->tensors_count, sizeof *f->levels[a]);
        ck_assert_ptr_nonnull(f->levels[a]);
        for (size_t i = 0; names[a] && i < f->view->tensors_count; i++)
            if (mq_role_class(f->view->tensors[i].role) != MQ_CLASS_KEEP)
                f->levels[a][i] = mq_level_find(names[a]);
        f->arms[a] = (struct mq_arm){.name = names[a] ? names[a] : "stored",
                                     .view = f->view,
                                     .levels = f->levels[a],
                                     .routes_from = -1,
                                     .compute = a == 1 ? MQ_COMPUTE_F32 : MQ_COMPUTE_INT8};
    }
}

static void tear_down(struct fixture *f)
{
    mq_view_close(f->view);
    golden_close(&f->golden);
    for (int a = 0; a < ARMS; a++)
        free(f->levels[a]);
}

static void run(const struct mq_context *context, const struct fixture *f,
                const struct mq_arm *arms, size_t count, struct collected *results)
{
    moeq_error err = {0};
    ck_assert_msg(collect(context, arms, count, &f->windows, results, &err) == MOEQ_OK, "%s",
                  err.message);
}

START_TEST(same_bits)
{
    struct fixture f;
    struct collected first[ARMS], other[ARMS];
    set_up(&f);
    const struct mq_context plain = {.isa = MQ_ISA_GENERIC, .threads = 1};
    run(&plain, &f, f.arms, ARMS, first);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        /* the slow reference only once more */
        for (unsigned threads = isa == MQ_ISA_GENERIC ? 3 : 1;
             threads <= 3 && mq_isa_available((enum mq_isa)isa); threads++) {
            if (mq_test_sampled() && threads != 3 - (unsigned)isa % 3)
                continue;
            struct mq_context context = {.isa = (enum mq_isa)isa, .threads = threads};
            context.memory_bytes =
                mq_evaluation_bytes(&context, f.arms, ARMS, f.windows.length, 2 * threads - 1);
            run(&context, &f, f.arms, ARMS, other);
            for (int a = 0; a < ARMS; a++) {
                ck_assert_msg(collected_equal(&first[a], &other[a]), "%s, %u threads: arm %d",
                              mq_isa_name((enum mq_isa)isa), threads, a);
                collected_free(&other[a]);
            }
        }
    }
    /* alone, that is without an arm in floats that shares its weights */
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    for (int a = 0; a < ARMS; a++) {
        run(&context, &f, &f.arms[a], 1, other);
        ck_assert_msg(collected_equal(&first[a], &other[0]), "arm %d alone", a);
        collected_free(&other[0]);
    }
    for (int a = 0; a < ARMS; a++)
        collected_free(&first[a]);
    tear_down(&f);
}
END_TEST

/* With the same routes, so that no near-tie of a router amplifies it: the activations' 8 bits cost
 * somewhat below 1 % of each product, as the weights' 8 bits do. */
START_TEST(deviation)
{
    struct fixture f;
    struct collected c[3];
    set_up(&f);
    f.arms[2].routes_from = 1;
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    run(&context, &f, f.arms, 3, c);
    struct mq_arm stored_f32 = f.arms[0];
    struct collected reference;
    stored_f32.compute = MQ_COMPUTE_F32;
    run(&context, &f, &stored_f32, 1, &reference);
    ck_assert(collected_equal(&reference, &c[0])); /* weights without codes: the same as f32 */
    double error = 0, size = 0;
    const size_t n = c[1].tokens * c[1].hidden_size;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)c[2].hidden[n + i] - (double)c[1].hidden[n + i];
        error += d * d;
        size += (double)c[1].hidden[n + i] * (double)c[1].hidden[n + i];
    }
    ck_assert_double_gt(error, 0);
    ck_assert_double_lt(sqrt(error / size), 0.02);
    collected_free(&reference);
    for (int a = 0; a < 3; a++)
        collected_free(&c[a]);
    tear_down(&f);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, unpack);
    tcase_add_test(tests, activations);
    tcase_add_test(tests, products);
    tcase_add_test(tests, same_bits);
    tcase_add_test(tests, deviation);
}

int main(void)
{
    return mq_test_main("test_int8", add_tests);
}
