/*
 * gemm_int8.c: the products of int8.h, compiled once per instruction set.
 *
 * The outer product of gemm.c with four columns at a time: a tile of TILE_M tokens by TILE_V
 * vectors of rows is kept in registers, as integers for the 32 columns of a block, then as floats.
 * A vector of weights holds four columns of each of its rows; a token's four codes are broadcast.
 *
 *   VNNI  vpdpbusd adds four products of an unsigned and a signed byte to 32 bits, without
 *         saturation. The weights' codes are made unsigned by adding 128 (finish_pack flips the
 *         sign bit); the sum starts from -128 times the sum of the token's codes instead of 0.
 *   AVX2  vpmaddubsw saturates at 16 bits, so it gets |w| (at most 128) and a with w's sign (at
 *         most 127): two such products are at most 32512. vpmaddwd by ones widens the sums. Codes
 *         of 4 bits need neither signs nor, within a block, wider sums.
 */
#include "int8.h"
#include "kernels.h"
#include "vec16.h"

/* Blocks of columns per pass over the tile: the codes of 1024 columns of a panel (32 KiB) and of a
 * tile of tokens (6 KiB) stream from the second-level cache once per tile. */
#define PASS_BLOCKS 32

/* ---- activations ---- */

void MQ_ISA_NAME(mq_int8_quantize)(const float *x, size_t k, int8_t *codes,
                                   struct mq_int8_block *blocks)
{
    for (; k; k -= MQ_INT8_BLOCK, x += MQ_INT8_BLOCK, codes += MQ_INT8_BLOCK, blocks++) {
        uint32_t bits[MQ_INT8_BLOCK], top = 0;
        memcpy(bits, x, sizeof bits);
        for (int i = 0; i < MQ_INT8_BLOCK; i++) { /* bits order magnitudes, and NaN above all */
            const uint32_t magnitude = bits[i] & 0x7fffffffu;
            top = magnitude > top ? magnitude : top;
        }
        if (top >= 0x7f800000u) {
            memset(codes, 0, MQ_INT8_BLOCK);
            *blocks = (struct mq_int8_block){NAN, NAN, 0};
            continue;
        }
        const float most = mq_bits_float(top);
        const bool zero = most <= 0x1p-100f; /* keeps 127 / most finite */
        const float scale = zero ? 0.0f : most / 127.0f, inverse = zero ? 0.0f : 127.0f / most;
        int32_t sum = 0;
        for (int i = 0; i < MQ_INT8_BLOCK; i++) {
            const float rounded = x[i] * inverse + MQ_MAGIC;
            memcpy(&bits[i], &rounded, sizeof rounded);
        }
        for (int i = 0; i < MQ_INT8_BLOCK; i++) { /* the low bits are the code */
            codes[i] = (int8_t)bits[i];
            sum += (int8_t)bits[i];
        }
        *blocks = (struct mq_int8_block){scale, scale * (float)sum, -128 * sum};
    }
}

/* ---- a tile ----
 *
 * Each instruction set defines ROWS_V rows a vector, TILE_M tokens by TILE_V vectors a tile, and
 *     struct part: the tile's part of one panel, from its first row on: see panel_tile
 *     tile(m, ...): m tokens, m a constant where it is inlined */

struct part {
    const int8_t *codes; /* of a token and the first column */
    const struct mq_int8_block *blocks;
    size_t codes_stride, blocks_stride;
    const int8_t *w;            /* of the first row and column, */
    const float *scales, *mins; /* and the first block */
    size_t blocks_count;
    bool nibbles;
};

/* Four codes of a token. */
MQ_INLINE int32_t load_codes(const int8_t *codes)
{
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return four;
}

#if defined(MQ_USE_VNNI)
/* 12 integer and 12 float accumulators, 2 vectors of weights: 26 of 32 registers */
enum { ROWS_V = 16, TILE_M = 6, TILE_V = 2 };

MQ_INLINE void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    __m512 sum[TILE_M][TILE_V];
#pragma GCC unroll 6
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++)
            sum[i][j] =
                resume ? _mm512_loadu_ps(y + (size_t)i * ldy + ROWS_V * j) : _mm512_setzero_ps();
    const int8_t *w = p->w;
    for (size_t b = 0; b < p->blocks_count; b++) {
        const struct mq_int8_block *block = p->blocks + b;
        const int8_t *codes = p->codes + b * MQ_INT8_BLOCK;
        __m512i dot[TILE_M][TILE_V];
#pragma GCC unroll 6
        for (int i = 0; i < m; i++)
            dot[i][0] = dot[i][1] = _mm512_set1_epi32(block[(size_t)i * p->blocks_stride].bias);
#pragma GCC unroll 8
        for (int k = 0; k < MQ_INT8_BLOCK; k += 4, w += 4 * MQ_PANEL) {
            const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 6
            for (int i = 0; i < m; i++) {
                const __m512i a =
                    _mm512_set1_epi32(load_codes(codes + (size_t)i * p->codes_stride + k));
                dot[i][0] = _mm512_dpbusd_epi32(dot[i][0], w0, a);
                dot[i][1] = _mm512_dpbusd_epi32(dot[i][1], w1, a);
            }
        }
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++) {
            const __m512 scale = _mm512_loadu_ps(p->scales + b * MQ_PANEL + ROWS_V * j);
#pragma GCC unroll 6
            for (int i = 0; i < m; i++) {
                const __m512 a = _mm512_set1_ps(block[(size_t)i * p->blocks_stride].scale);
                sum[i][j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][j]), _mm512_mul_ps(scale, a),
                                            sum[i][j]);
            }
            if (!p->mins)
                continue;
            const __m512 min = _mm512_loadu_ps(p->mins + b * MQ_PANEL + ROWS_V * j);
#pragma GCC unroll 6
            for (int i = 0; i < m; i++) {
                const __m512 a = _mm512_set1_ps(block[(size_t)i * p->blocks_stride].scaled_sum);
                sum[i][j] = _mm512_fnmadd_ps(min, a, sum[i][j]);
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++)
            _mm512_storeu_ps(y + (size_t)i * ldy + ROWS_V * j, sum[i][j]);
}

#elif defined(MQ_USE_AVX2)
/* 4 integer and 4 float accumulators, a vector of weights, its magnitudes, ones, 2 temporaries */
enum { ROWS_V = 8, TILE_M = 4, TILE_V = 1 };

/* Four columns of 8 rows by those of m tokens. Nibbles are added up in pairs at 16 bits: after the
 * 8 steps of a block they are at most 8 * 2 * 15 * 127 = 30480. */
MQ_INLINE void step(const int m, const bool nibbles, const struct part *p, const int8_t *w,
                    const int8_t *codes, __m256i dot[TILE_M])
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i w8 = _mm256_loadu_si256((const __m256i *)(const void *)w);
    const __m256i magnitude = nibbles ? w8 : _mm256_abs_epi8(w8);
#pragma GCC unroll 4
    for (int i = 0; i < m; i++) {
        const __m256i a = _mm256_set1_epi32(load_codes(codes + (size_t)i * p->codes_stride));
        if (nibbles) {
            dot[i] = _mm256_add_epi16(dot[i], _mm256_maddubs_epi16(w8, a));
        } else {
            const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, w8));
            dot[i] = _mm256_add_epi32(dot[i], _mm256_madd_epi16(pairs, ones));
        }
    }
}

MQ_INLINE void tile_of(const int m, const bool nibbles, const struct part *p, float *y, size_t ldy,
                       bool resume)
{
    __m256 sum[TILE_M];
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
        sum[i] = resume ? _mm256_loadu_ps(y + (size_t)i * ldy) : _mm256_setzero_ps();
    const int8_t *w = p->w;
    for (size_t b = 0; b < p->blocks_count; b++) {
        const struct mq_int8_block *block = p->blocks + b;
        const int8_t *codes = p->codes + b * MQ_INT8_BLOCK;
        __m256i dot[TILE_M];
#pragma GCC unroll 4
        for (int i = 0; i < m; i++)
            dot[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int k = 0; k < MQ_INT8_BLOCK; k += 4, w += 4 * MQ_PANEL)
            step(m, nibbles, p, w, codes + k, dot);
#pragma GCC unroll 4
        for (int i = 0; nibbles && i < m; i++)
            dot[i] = _mm256_madd_epi16(dot[i], _mm256_set1_epi16(1));
        const __m256 scale = _mm256_loadu_ps(p->scales + b * MQ_PANEL);
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) {
            const __m256 a = _mm256_set1_ps(block[(size_t)i * p->blocks_stride].scale);
            sum[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[i]), _mm256_mul_ps(scale, a), sum[i]);
        }
        if (!p->mins)
            continue;
        const __m256 min = _mm256_loadu_ps(p->mins + b * MQ_PANEL);
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) {
            const __m256 a = _mm256_set1_ps(block[(size_t)i * p->blocks_stride].scaled_sum);
            sum[i] = _mm256_fnmadd_ps(min, a, sum[i]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
        _mm256_storeu_ps(y + (size_t)i * ldy, sum[i]);
}

MQ_INLINE void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    if (p->nibbles)
        tile_of(m, true, p, y, ldy, resume);
    else
        tile_of(m, false, p, y, ldy, resume);
}

#else
enum { ROWS_V = 8, TILE_M = 1, TILE_V = 1 };

/* The reference: one token by 8 rows, as int8.h says it. */
static void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    (void)m, (void)ldy;
    float sum[ROWS_V] = {0};
    if (resume)
        memcpy(sum, y, sizeof sum);
    for (size_t b = 0; b < p->blocks_count; b++) {
        const int8_t *w = p->w + b * MQ_INT8_BLOCK * MQ_PANEL;
        const int8_t *codes = p->codes + b * MQ_INT8_BLOCK;
        int32_t dot[ROWS_V] = {0};
        for (int k = 0; k < MQ_INT8_BLOCK; k += 4)
            for (int r = 0; r < ROWS_V; r++)
                for (int i = 0; i < 4; i++)
                    dot[r] += codes[k + i] * w[k * MQ_PANEL + 4 * r + i];
        for (int r = 0; r < ROWS_V; r++) {
            const size_t at = b * MQ_PANEL + (size_t)r;
            sum[r] = fmaf((float)dot[r], p->scales[at] * p->blocks[b].scale, sum[r]);
            if (p->mins)
                sum[r] = fmaf(-p->mins[at], p->blocks[b].scaled_sum, sum[r]);
        }
    }
    memcpy(y, sum, sizeof sum);
}
#endif

/* ---- panels of tiles ---- */

void MQ_ISA_NAME(mq_int8_finish_pack)(int8_t *codes, size_t n)
{
#if defined(MQ_USE_VNNI)
    for (size_t i = 0; i < n; i++)
        codes[i] = (int8_t)(codes[i] ^ -128);
#else
    (void)codes, (void)n;
#endif
}

/* A tile of any height, over all rows of a panel. */
static void panel_tile(int m, const struct part *panel, float *y, size_t ldy, bool resume)
{
    for (int j = 0; j < MQ_PANEL; j += ROWS_V * TILE_V) {
        struct part p = *panel;
        p.w += 4 * j;
        p.scales += j;
        p.mins = p.mins ? p.mins + j : NULL;
        switch (m) {
        case 1:
            tile(1, &p, y + j, ldy, resume);
            break;
#if defined(MQ_USE_AVX2) || defined(MQ_USE_VNNI)
        case 2:
            tile(2, &p, y + j, ldy, resume);
            break;
        case 3:
            tile(3, &p, y + j, ldy, resume);
            break;
        case 4:
            tile(4, &p, y + j, ldy, resume);
            break;
#endif
#if defined(MQ_USE_VNNI)
        case 5:
            tile(5, &p, y + j, ldy, resume);
            break;
        case 6:
            tile(6, &p, y + j, ldy, resume);
            break;
#endif
        }
    }
}

/* A tile whose panel holds only n < MQ_PANEL rows that exist: by way of a full one beside y. */
static void partial_tile(int m, size_t n, const struct part *panel, float *y, size_t ldy,
                         bool resume)
{
    float full[TILE_M][MQ_PANEL] = {{0}};
    for (int i = 0; resume && i < m; i++)
        memcpy(full[i], y + (size_t)i * ldy, n * sizeof(float));
    panel_tile(m, panel, full[0], MQ_PANEL, resume);
    for (int i = 0; i < m; i++)
        memcpy(y + (size_t)i * ldy, full[i], n * sizeof(float));
}

void MQ_ISA_NAME(mq_int8_multiply)(const struct mq_int8_tokens *x, size_t m,
                                   const struct mq_int8_panels *w, size_t k, size_t n, float *y,
                                   size_t ldy, bool resume)
{
    const size_t blocks = k / MQ_INT8_BLOCK;
    for (size_t b = 0; b < blocks; b += PASS_BLOCKS) {
        const size_t count = blocks - b < PASS_BLOCKS ? blocks - b : PASS_BLOCKS;
        for (size_t i = 0; i < m; i += TILE_M) {
            const int height = m - i < TILE_M ? (int)(m - i) : TILE_M;
            for (size_t j = 0; j < n; j += MQ_PANEL) {
                const size_t at = j / MQ_PANEL * blocks + b; /* block of 32 columns by 32 rows */
                const struct part panel = {
                    .codes = x->codes + i * x->codes_stride + b * MQ_INT8_BLOCK,
                    .blocks = x->blocks + i * x->blocks_stride + b,
                    .codes_stride = x->codes_stride,
                    .blocks_stride = x->blocks_stride,
                    .w = w->codes + at * MQ_INT8_BLOCK * MQ_PANEL,
                    .scales = w->scales + at * MQ_PANEL,
                    .mins = w->mins ? w->mins + at * MQ_PANEL : NULL,
                    .blocks_count = count,
                    .nibbles = w->nibbles,
                };
                float *out = y + i * ldy + j;
                if (n - j >= MQ_PANEL)
                    panel_tile(height, &panel, out, ldy, resume || b > 0);
                else
                    partial_tile(height, n - j, &panel, out, ldy, resume || b > 0);
            }
        }
    }
}
