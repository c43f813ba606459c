/*
 * gemm.c: the matrix product Y = X W', compiled once per instruction set.
 *
 * An outer-product micro-kernel (as in Goto and van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication", 2008): a tile of TILE_M tokens by TILE_V vectors of weight rows is kept in
 * registers while k runs. So every output is one chain of fused multiply-adds over k from 0, and
 * its bits depend neither on the vector width nor on how tokens and rows are cut into tiles.
 * Cutting k does not break the chain either: the tile is stored and loaded again, exactly.
 */
#include "kernels.h"
#include "vec16.h"

/*
 * Registers: TILE_M * TILE_V accumulators, TILE_V vectors of weights and one of a token's
 * activation must fit: 14 * 2 + 2 + 1 of AVX-512's 32; 6 * 2 + 2 + 1 of AVX2's 16 (a v16 is two);
 * 6 * 4 + 4 + 1 of NEON's 32 (four).
 */
#if defined(MQ_USE_AVX512)
#define TILE_M 14
#define TILE_V 2
#elif defined(MQ_USE_AVX2) || defined(MQ_USE_NEON)
#define TILE_M 6
#define TILE_V 1
#else
#define TILE_M 4
#define TILE_V 1
#endif
#define TILE_N (TILE_V * MQ_PANEL)

/* Between tokens: GCC's scheduler for ARM loads the activations of all of them first, which takes
 * registers that are accumulators'. */
#if defined(MQ_USE_NEON)
#define LOAD_NO_EARLIER() __asm__("" ::: "memory")
#else
#define LOAD_NO_EARLIER() ((void)0)
#endif

/* k is cut so that a tile's activations (TILE_M * 4 * BLOCK_K = 14 KiB) stay in the first-level
 * cache while the panels (16 KiB each) stream past them from the second level. */
#define BLOCK_K 256

enum { LINE = 64 / sizeof(float) }; /* of the caches */

typedef float v8 __attribute__((vector_size(32)));

/* An 8 x 8 transposition: interleaves rows i and i + 4 three times. */
MQ_INLINE void transpose8(const float *in, size_t in_stride, float *out, size_t out_stride)
{
    v8 a[8], b[8];
    for (int i = 0; i < 8; i++)
        memcpy(&a[i], in + (size_t)i * in_stride, sizeof a[i]);
#pragma GCC unroll 3
    for (int step = 0; step < 3; step++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            b[2 * i] = __builtin_shufflevector(a[i], a[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < 8; i++)
        memcpy(out + (size_t)i * out_stride, &a[i], sizeof a[i]);
}

void MQ_ISA_NAME(mq_gemm_pack)(const float *rows, size_t stride, size_t count, size_t k,
                               float *panel)
{
    const size_t whole_rows = count / 8 * 8, whole_k = k / 8 * 8;
    /* Rows often lie a power of two apart, all in one set of the first-level cache: a line of each
     * of 8 rows, which is LINE of its floats, is used up before the next 8 take its place. */
    for (size_t line = 0; line < whole_k; line += LINE)
        for (size_t r = 0; r < whole_rows; r += 8)
            for (size_t kk = line; kk < whole_k && kk < line + LINE; kk += 8)
                transpose8(rows + r * stride + kk, stride, panel + kk * MQ_PANEL + r, MQ_PANEL);
    for (size_t kk = 0; kk < k; kk++) { /* what the 8 x 8 blocks left out */
        float *out = panel + kk * MQ_PANEL;
        for (size_t r = kk < whole_k ? whole_rows : 0; r < MQ_PANEL; r++)
            out[r] = r < count ? rows[r * stride + kk] : 0.0f;
    }
}

/* m (a constant where this is inlined) tokens by TILE_V vectors, continuing from y if `resume`. */
MQ_INLINE void tile(const int m, const float *x, size_t ldx, const float *panels,
                    size_t panel_stride, size_t k, float *y, size_t ldy, bool resume)
{
    v16 sum[TILE_M][TILE_V];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++)
            sum[i][j] = resume ? v_load(y + (size_t)i * ldy + 16 * j) : v_zero();
#pragma GCC unroll 4
    for (size_t kk = 0; kk < k; kk++) {
        v16 w[TILE_V];
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++)
            w[j] = v_load(panels + (size_t)j * panel_stride + kk * MQ_PANEL);
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            const v16 a = v_set1(x[(size_t)i * ldx + kk]);
#pragma GCC unroll 2
            for (int j = 0; j < TILE_V; j++)
                sum[i][j] = v_fma(a, w[j], sum[i][j]);
            LOAD_NO_EARLIER();
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++)
            v_store(y + (size_t)i * ldy + 16 * j, sum[i][j]);
}

/* A tile of any height; its panels of weights lie panel_stride floats apart. */
static void whole_tile(int m, const float *x, size_t ldx, const float *panels, size_t panel_stride,
                       size_t k, float *y, size_t ldy, bool resume)
{
#define CASE(height)                                                   \
    case height:                                                       \
        tile(height, x, ldx, panels, panel_stride, k, y, ldy, resume); \
        break;
    switch (m) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
#if TILE_M > 4
        CASE(5)
        CASE(6)
#endif
#if TILE_M > 6
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
        CASE(13)
        CASE(14)
#endif
    }
#undef CASE
}

/* A tile of which only n < TILE_N rows of weights exist: by way of a whole one beside y. In place
 * of panels that do not exist the first is multiplied again. */
static void partial_tile(int m, size_t n, const float *x, size_t ldx, const float *panels,
                         size_t panel_stride, size_t k, float *y, size_t ldy, bool resume)
{
    float whole[TILE_M][TILE_N];
    if (resume) {
        memset(whole, 0, sizeof whole);
        for (int i = 0; i < m; i++)
            memcpy(whole[i], y + (size_t)i * ldy, n * sizeof(float));
    }
    whole_tile(m, x, ldx, panels, n > MQ_PANEL ? panel_stride : 0, k, whole[0], TILE_N, resume);
    for (int i = 0; i < m; i++)
        memcpy(y + (size_t)i * ldy, whole[i], n * sizeof(float));
}

/* Asks for k activations of each of m tokens: they come from the third level or from memory, and by
 * rows of a few lines each, which the processor's own prefetchers follow too late. */
MQ_INLINE void prefetch(const float *x, size_t ldx, size_t m, size_t k)
{
    for (size_t i = 0; i < m; i++)
        for (size_t kk = 0; kk < k; kk += LINE)
            __builtin_prefetch(x + i * ldx + kk, 0, 2);
}

/* Continuing from y if `resume`. */
MQ_INLINE void multiply(const float *x, size_t ldx, size_t m, const float *panels,
                        size_t panel_stride, size_t k, size_t n, float *y, size_t ldy, bool resume)
{
    for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
        const size_t kn = k - k0 < BLOCK_K ? k - k0 : BLOCK_K;
        for (size_t i = 0; i < m; i += TILE_M) {
            const int height = m - i < TILE_M ? (int)(m - i) : TILE_M;
            const float *tokens = x + i * ldx + k0;
            if (i + TILE_M < m)
                prefetch(tokens + TILE_M * ldx, ldx,
                         m - i - TILE_M < TILE_M ? m - i - TILE_M : TILE_M, kn);
            for (size_t j = 0; j < n; j += TILE_N) {
                const float *first = panels + j / MQ_PANEL * panel_stride + k0 * MQ_PANEL;
                float *out = y + i * ldy + j;
                if (n - j >= TILE_N)
                    whole_tile(height, tokens, ldx, first, panel_stride, kn, out, ldy,
                               resume || k0 > 0);
                else
                    partial_tile(height, n - j, tokens, ldx, first, panel_stride, kn, out, ldy,
                                 resume || k0 > 0);
            }
        }
    }
}

void MQ_ISA_NAME(mq_gemm_multiply)(const float *x, size_t ldx, size_t m, const float *panels,
                                   size_t panel_stride, size_t k, size_t n, float *y, size_t ldy)
{
    multiply(x, ldx, m, panels, panel_stride, k, n, y, ldy, false);
}

void MQ_ISA_NAME(mq_gemm_accumulate)(const float *x, size_t ldx, size_t m, const float *panels,
                                     size_t panel_stride, size_t k, size_t n, float *y, size_t ldy)
{
    multiply(x, ldx, m, panels, panel_stride, k, n, y, ldy, true);
}
