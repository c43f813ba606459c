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
 *         that are small need that more rarely, unsigned ones no signs: see enum range.
 *
 * Weights with groups of 16 columns have a chain of their own: the same tiles, where the integers
 * become floats after each half of a block.
 */
#include "int8.h"
#include "kernels.h"
#include "vec16.h"

/* Blocks of columns per pass over the tile: the codes of 1024 columns of a panel (32 KiB) and of a
 * tile of tokens (6 KiB) stream from the second-level cache once per tile. */
#define PASS_BLOCKS 32

/* ---- activations ---- */

void MQ_ISA_NAME(mq_int8_quantize)(const float *x, size_t k, int8_t *codes,
                                   struct mq_int8_block *blocks, struct mq_int8_halves *halves)
{
    for (; k; k -= MQ_INT8_BLOCK, x += MQ_INT8_BLOCK, codes += MQ_INT8_BLOCK, blocks++, halves++) {
        uint32_t bits[MQ_INT8_BLOCK], top = 0;
        memcpy(bits, x, sizeof bits);
        for (int i = 0; i < MQ_INT8_BLOCK; i++) { /* bits order magnitudes, and NaN above all */
            const uint32_t magnitude = bits[i] & 0x7fffffffu;
            top = magnitude > top ? magnitude : top;
        }
        if (top >= 0x7f800000u) {
            memset(codes, 0, MQ_INT8_BLOCK);
            *blocks = (struct mq_int8_block){NAN, NAN, 0};
            *halves = (struct mq_int8_halves){{NAN, NAN}, {0, 0}};
            continue;
        }
        const float most = mq_bits_float(top);
        const bool zero = most <= 0x1p-100f; /* keeps 127 / most finite */
        const float scale = zero ? 0.0f : most / 127.0f, inverse = zero ? 0.0f : 127.0f / most;
        int32_t sum[2] = {0, 0};
        for (int i = 0; i < MQ_INT8_BLOCK; i++) {
            const float rounded = x[i] * inverse + MQ_MAGIC;
            memcpy(&bits[i], &rounded, sizeof rounded);
        }
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < MQ_INT8_BLOCK / 2; i++) { /* the low bits are the code */
                const int8_t code = (int8_t)bits[MQ_INT8_BLOCK / 2 * h + i];
                codes[MQ_INT8_BLOCK / 2 * h + i] = code;
                sum[h] += code;
            }
            halves->scaled_sum[h] = scale * (float)sum[h];
            halves->bias[h] = -128 * sum[h];
        }
        const int32_t all = sum[0] + sum[1];
        *blocks = (struct mq_int8_block){scale, scale * (float)all, -128 * all};
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
    const struct mq_int8_halves *halves;
    size_t codes_stride, blocks_stride;
    const int8_t *w;            /* of the first row and column, */
    const float *scales, *mins; /* and the first group */
    size_t blocks_count;
    int groups; /* in a block: 1 or 2 */
    int8_t code_min, code_max;
};

/* Columns of a group, and what belongs to the codes of token i in group g of block b. */
MQ_INLINE int columns(int groups)
{
    return groups == 1 ? MQ_INT8_BLOCK : MQ_INT8_BLOCK / 2;
}
MQ_INLINE float token_scale(const struct part *p, size_t b, int i)
{
    return p->blocks[b + (size_t)i * p->blocks_stride].scale;
}
MQ_INLINE float token_scaled_sum(const struct part *p, size_t b, int i, int groups, int g)
{
    const size_t at = b + (size_t)i * p->blocks_stride;
    return groups == 1 ? p->blocks[at].scaled_sum : p->halves[at].scaled_sum[g];
}
MQ_INLINE int32_t token_bias(const struct part *p, size_t b, int i, int groups, int g)
{
    const size_t at = b + (size_t)i * p->blocks_stride;
    return groups == 1 ? p->blocks[at].bias : p->halves[at].bias[g];
}

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

/* dot = products of the codes of a group's columns. */
MQ_INLINE void multiply_codes(const int m, const int count, const struct part *p, const int8_t *w,
                              const int8_t *codes, __m512i dot[TILE_M][TILE_V])
{
#pragma GCC unroll 8
    for (int k = 0; k < count; k += 4, w += 4 * MQ_PANEL) {
        const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 6
        for (int i = 0; i < m; i++) {
            const __m512i a =
                _mm512_set1_epi32(load_codes(codes + (size_t)i * p->codes_stride + k));
            dot[i][0] = _mm512_dpbusd_epi32(dot[i][0], w0, a);
            dot[i][1] = _mm512_dpbusd_epi32(dot[i][1], w1, a);
        }
    }
}

/* One step of the chains: group g of block b. */
MQ_INLINE void add_group(const int m, const int groups, const struct part *p, size_t b, int g,
                         __m512i dot[TILE_M][TILE_V], __m512 sum[TILE_M][TILE_V])
{
    const size_t at = (b * (size_t)groups + (size_t)g) * MQ_PANEL;
#pragma GCC unroll 2
    for (int j = 0; j < TILE_V; j++) {
        const __m512 scale = _mm512_loadu_ps(p->scales + at + ROWS_V * j);
#pragma GCC unroll 6
        for (int i = 0; i < m; i++) {
            const __m512 a = _mm512_set1_ps(token_scale(p, b, i));
            sum[i][j] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][j]), _mm512_mul_ps(scale, a), sum[i][j]);
        }
        if (!p->mins)
            continue;
        const __m512 min = _mm512_loadu_ps(p->mins + at + ROWS_V * j);
#pragma GCC unroll 6
        for (int i = 0; i < m; i++) {
            const __m512 a = _mm512_set1_ps(token_scaled_sum(p, b, i, groups, g));
            sum[i][j] = _mm512_fnmadd_ps(min, a, sum[i][j]);
        }
    }
}

MQ_INLINE void tile_of(const int m, const int groups, const struct part *p, float *y, size_t ldy,
                       bool resume)
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
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++, w += columns(groups) * MQ_PANEL) {
            __m512i dot[TILE_M][TILE_V];
#pragma GCC unroll 6
            for (int i = 0; i < m; i++)
                dot[i][0] = dot[i][1] = _mm512_set1_epi32(token_bias(p, b, i, groups, g));
            multiply_codes(m, columns(groups), p, w,
                           p->codes + b * MQ_INT8_BLOCK + g * columns(groups), dot);
            add_group(m, groups, p, b, g, dot, sum);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++)
            _mm512_storeu_ps(y + (size_t)i * ldy + ROWS_V * j, sum[i][j]);
}

MQ_INLINE void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    if (p->groups == 1)
        tile_of(m, 1, p, y, ldy, resume);
    else
        tile_of(m, 2, p, y, ldy, resume);
}

#elif defined(MQ_USE_AVX2)
/* 4 integer and 4 float accumulators, a vector of weights, its magnitudes, ones, 2 temporaries */
enum { ROWS_V = 8, TILE_M = 4, TILE_V = 1 };

/*
 * What codes are there decides how often sums of 16 bits are widened: two products at a time, each
 * with a code of a token (at most 127), after 1, 4 or 8 steps of 4 columns.
 */
enum range {
    ANY,      /* -128..127: 1 * 2 * 128 * 127 = 32512 */
    SMALL,    /* -32..32:   4 * 2 *  32 * 127 = 32512 */
    UNSIGNED, /* 0..32:     the same */
    NIBBLES,  /* 0..15:     8 * 2 *  15 * 127 = 30480 */
};

MQ_INLINE enum range range_of(const struct part *p)
{
    if (p->code_min >= 0)
        return p->code_max <= 15 ? NIBBLES : p->code_max <= 32 ? UNSIGNED : ANY;
    return p->code_min >= -32 && p->code_max <= 32 ? SMALL : ANY;
}

/* Adds the products of 4 columns of 8 rows with those of m tokens: ANY at 32 bits, others at 16. */
MQ_INLINE void step(const int m, const enum range range, const struct part *p, const int8_t *w,
                    const int8_t *codes, __m256i dot[TILE_M])
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i w8 = _mm256_loadu_si256((const __m256i *)(const void *)w);
    const bool has_signs = range < UNSIGNED;
    const __m256i magnitude = has_signs ? _mm256_abs_epi8(w8) : w8;
#pragma GCC unroll 4
    for (int i = 0; i < m; i++) {
        const __m256i a = _mm256_set1_epi32(load_codes(codes + (size_t)i * p->codes_stride));
        const __m256i pairs =
            _mm256_maddubs_epi16(magnitude, has_signs ? _mm256_sign_epi8(a, w8) : a);
        dot[i] = range == ANY ? _mm256_add_epi32(dot[i], _mm256_madd_epi16(pairs, ones))
                              : _mm256_add_epi16(dot[i], pairs);
        /* Integer sums may be reordered, and GCC does, into trees that do not fit the registers. */
        __asm__("" : "+x"(dot[i]));
    }
}

/* dot = products of the codes of `count` (16 or 32) columns, by way of sums that need not be
 * widened before 16 or all of them are added. */
MQ_INLINE void multiply_codes(const int m, const enum range range, const int count,
                              const struct part *p, const int8_t *w, const int8_t *codes,
                              __m256i dot[TILE_M])
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int run = range == SMALL || range == UNSIGNED ? MQ_INT8_BLOCK / 2 : count;
#pragma GCC unroll 2
    for (int first = 0; first < count; first += run) {
        __m256i sum[TILE_M];
#pragma GCC unroll 4
        for (int i = 0; i < m; i++)
            sum[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int k = first; k < first + run; k += 4)
            step(m, range, p, w + k * MQ_PANEL, codes + k, sum);
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) {
            const __m256i wide = range == ANY ? sum[i] : _mm256_madd_epi16(sum[i], ones);
            dot[i] = first == 0 ? wide : _mm256_add_epi32(dot[i], wide);
        }
    }
}

/* One step of the chains: group g of block b. */
MQ_INLINE void add_group(const int m, const int groups, const struct part *p, size_t b, int g,
                         const __m256i dot[TILE_M], __m256 sum[TILE_M])
{
    const size_t at = (b * (size_t)groups + (size_t)g) * MQ_PANEL;
    const __m256 scale = _mm256_loadu_ps(p->scales + at);
#pragma GCC unroll 4
    for (int i = 0; i < m; i++) {
        const __m256 a = _mm256_set1_ps(token_scale(p, b, i));
        sum[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[i]), _mm256_mul_ps(scale, a), sum[i]);
    }
    if (!p->mins)
        return;
    const __m256 min = _mm256_loadu_ps(p->mins + at);
#pragma GCC unroll 4
    for (int i = 0; i < m; i++) {
        const __m256 a = _mm256_set1_ps(token_scaled_sum(p, b, i, groups, g));
        sum[i] = _mm256_fnmadd_ps(min, a, sum[i]);
    }
}

MQ_INLINE void tile_of(const int m, const enum range range, const int groups, const struct part *p,
                       float *y, size_t ldy, bool resume)
{
    __m256 sum[TILE_M];
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
        sum[i] = resume ? _mm256_loadu_ps(y + (size_t)i * ldy) : _mm256_setzero_ps();
    const int8_t *w = p->w;
    for (size_t b = 0; b < p->blocks_count; b++) {
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++, w += columns(groups) * MQ_PANEL) {
            __m256i dot[TILE_M];
            multiply_codes(m, range, columns(groups), p, w,
                           p->codes + b * MQ_INT8_BLOCK + g * columns(groups), dot);
            add_group(m, groups, p, b, g, dot, sum);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
        _mm256_storeu_ps(y + (size_t)i * ldy, sum[i]);
}

MQ_INLINE void tile_in(const int m, const enum range range, const struct part *p, float *y,
                       size_t ldy, bool resume)
{
    if (p->groups == 1)
        tile_of(m, range, 1, p, y, ldy, resume);
    else
        tile_of(m, range, 2, p, y, ldy, resume);
}

MQ_INLINE void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    switch (range_of(p)) {
    case ANY:
        tile_in(m, ANY, p, y, ldy, resume);
        break;
    case SMALL:
        tile_in(m, SMALL, p, y, ldy, resume);
        break;
    case UNSIGNED:
        tile_in(m, UNSIGNED, p, y, ldy, resume);
        break;
    case NIBBLES:
        tile_in(m, NIBBLES, p, y, ldy, resume);
        break;
    }
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
    const int columns_of = columns(p->groups);
    for (size_t n = 0; n < p->blocks_count * (size_t)p->groups; n++) { /* groups */
        const size_t b = n / (size_t)p->groups;
        const int g = (int)(n % (size_t)p->groups);
        const int8_t *w = p->w + n * (size_t)columns_of * MQ_PANEL;
        const int8_t *codes = p->codes + n * (size_t)columns_of;
        int32_t dot[ROWS_V] = {0};
        for (int k = 0; k < columns_of; k += 4)
            for (int r = 0; r < ROWS_V; r++)
                for (int i = 0; i < 4; i++)
                    dot[r] += codes[k + i] * w[k * MQ_PANEL + 4 * r + i];
        for (int r = 0; r < ROWS_V; r++) {
            const size_t at = n * MQ_PANEL + (size_t)r;
            sum[r] = fmaf((float)dot[r], p->scales[at] * token_scale(p, b, 0), sum[r]);
            if (p->mins)
                sum[r] = fmaf(-p->mins[at], token_scaled_sum(p, b, 0, p->groups, g), sum[r]);
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
    const size_t blocks = k / MQ_INT8_BLOCK, groups = MQ_INT8_BLOCK / (size_t)w->group;
    for (size_t b = 0; b < blocks; b += PASS_BLOCKS) {
        const size_t count = blocks - b < PASS_BLOCKS ? blocks - b : PASS_BLOCKS;
        for (size_t i = 0; i < m; i += TILE_M) {
            const int height = m - i < TILE_M ? (int)(m - i) : TILE_M;
            for (size_t j = 0; j < n; j += MQ_PANEL) {
                const size_t at = j / MQ_PANEL * blocks + b; /* block of 32 columns by 32 rows */
                const size_t scales_at = at * groups * MQ_PANEL;
                const struct part panel = {
                    .codes = x->codes + i * x->codes_stride + b * MQ_INT8_BLOCK,
                    .blocks = x->blocks + i * x->blocks_stride + b,
                    .halves = x->halves + i * x->blocks_stride + b,
                    .codes_stride = x->codes_stride,
                    .blocks_stride = x->blocks_stride,
                    .w = w->codes + at * MQ_INT8_BLOCK * MQ_PANEL,
                    .scales = w->scales + scales_at,
                    .mins = w->mins ? w->mins + scales_at : NULL,
                    .blocks_count = count,
                    .groups = (int)groups,
                    .code_min = w->code_min,
                    .code_max = w->code_max,
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
