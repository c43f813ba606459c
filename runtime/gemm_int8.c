/*
 * gemm_int8.c: the products of int8.h, compiled once per instruction set.
 *
 * The outer product of gemm.c with four columns at a time: a tile of TILE_M tokens by a panel or
 * two is kept in registers, as integers for the columns of a group, then as floats. A vector of
 * weights holds four columns of each of its rows; a token's four codes are broadcast.
 *
 *   VNNI  vpdpbusd adds four products of an unsigned and a signed byte to 32 bits, without
 *         saturation; AVX-VNNI has the same for AVX2's registers.
 *   AMX   tdpbssd multiplies 16 tokens with 16 rows, all columns of a group at once.
 *   AVX2  vpmaddubsw adds two to 16 bits, with saturation; vpmaddwd by ones widens such sums. The
 *         smaller the codes are, the more rarely that is needed: see enum range. Codes of all 8
 *         bits stay signed: of these it gets |w| (at most 128) and a with w's sign.
 *
 * Weights' codes are made unsigned by adding an offset: see offset_bits.
 *
 * Weights with groups of 16 columns have a chain of their own: the same tiles, where the integers
 * become floats after each half of a block.
 */
#include "int8.h"
#include "kernels.h"
#include "vec16.h"

/* Blocks of columns per pass over the tile: the codes of 1024 columns of a panel (16 KiB) and of a
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
        int32_t sum[2];
        for (int h = 0; h < 2; h++) {
            const v16 scaled = v_mul(v_load(x + 16 * h), v_set1(inverse));
            const v16 rounded = v_add(scaled, v_set1(MQ_MAGIC)); /* the low bits are the code */
            v_store_low8((uint8_t *)codes + 16 * h, rounded);
            sum[h] = (int32_t)v_sum(v_sub(rounded, v_set1(MQ_MAGIC))); /* exact */
            halves->scaled_sum[h] = scale * (float)sum[h];
            halves->bias[h] = -128 * sum[h];
        }
        const int32_t all = sum[0] + sum[1];
        *blocks = (struct mq_int8_block){scale, scale * (float)all, -128 * all};
    }
}

/* ---- a tile ----
 *
 * Each instruction set defines a tile of TILE_M tokens by TILE_PANELS panels, and
 *     tile(m, ...): m tokens, m a constant where it is inlined */

/* A tile's part of the matrices. */
struct part {
    const int8_t *codes; /* of a token and the first column */
    const struct mq_int8_block *blocks;
    const struct mq_int8_halves *halves;
    size_t codes_stride, blocks_stride;
    const int8_t *w;              /* of the first panel's first column, */
    const float *scales, *mins;   /* and its first group */
    size_t w_panel, scales_panel; /* from one panel to the next */
    size_t blocks_count;
    int groups; /* in a block: 1 or 2 */
    int8_t code_min, code_max;
    int offset_bits;
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

/* What finish_pack adds to codes in code_min..code_max to make them unsigned for a product that
 * wants it, as a power of two: 1 << result, or nothing if the result is negative. Sums of products
 * then start from -(1 << result) times the sum of the token's codes. */
MQ_INLINE int offset_bits(int code_min, int code_max)
{
#if defined(MQ_USE_VNNI) || defined(MQ_USE_AVXVNNI)
    (void)code_min, (void)code_max;
    return 7;
#elif defined(MQ_USE_AVX2)
    for (int bits = 0; bits <= 6 && code_min < 0; bits++)
        if (code_min + (1 << bits) >= 0 && code_max + (1 << bits) <= 64)
            return bits;
#endif
    (void)code_min, (void)code_max;
    return -1;
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
enum { TILE_M = 6, TILE_PANELS = 2 };

/* dot = products of the codes of a group's columns. */
MQ_INLINE void multiply_codes(const int m, const int count, const struct part *p, const int8_t *w,
                              const int8_t *codes, __m512i dot[TILE_M][TILE_PANELS])
{
#pragma GCC unroll 8
    for (int k = 0; k < count; k += 4, w += 4 * MQ_PANEL) {
        const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + p->w_panel);
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
                         __m512i dot[TILE_M][TILE_PANELS], __m512 sum[TILE_M][TILE_PANELS])
{
    const size_t at = (b * (size_t)groups + (size_t)g) * MQ_PANEL;
#pragma GCC unroll 2
    for (int j = 0; j < TILE_PANELS; j++) {
        const __m512 scale = _mm512_loadu_ps(p->scales + at + (size_t)j * p->scales_panel);
#pragma GCC unroll 6
        for (int i = 0; i < m; i++) {
            const __m512 a = _mm512_set1_ps(token_scale(p, b, i));
            sum[i][j] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][j]), _mm512_mul_ps(scale, a), sum[i][j]);
        }
        if (!p->mins)
            continue;
        const __m512 min = _mm512_loadu_ps(p->mins + at + (size_t)j * p->scales_panel);
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
    __m512 sum[TILE_M][TILE_PANELS];
#pragma GCC unroll 6
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < TILE_PANELS; j++)
            sum[i][j] =
                resume ? _mm512_loadu_ps(y + (size_t)i * ldy + MQ_PANEL * j) : _mm512_setzero_ps();
    const int8_t *w = p->w;
    for (size_t b = 0; b < p->blocks_count; b++) {
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++, w += columns(groups) * MQ_PANEL) {
            __m512i dot[TILE_M][TILE_PANELS];
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
        for (int j = 0; j < TILE_PANELS; j++)
            _mm512_storeu_ps(y + (size_t)i * ldy + MQ_PANEL * j, sum[i][j]);
}

MQ_INLINE void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    if (p->groups == 1)
        tile_of(m, 1, p, y, ldy, resume);
    else
        tile_of(m, 2, p, y, ldy, resume);
}

#elif defined(MQ_USE_AMX)
enum { TILE_M = 16, TILE_PANELS = 1 };

/* Tiles of the matrix unit, by number: products[16 tokens][16 rows], and what is multiplied.
 * Macros, for the intrinsics paste them into names of registers. */
#define PRODUCTS 0
#define TOKENS 1
#define WEIGHTS 2

/* Sets the tiles' sizes, for m tokens and groups of `count` columns. */
static void configure(int m, int count)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1}; /* 8 tiles of at most 16 rows of 64 bytes */
    config.rows[PRODUCTS] = (uint8_t)m;
    config.row_bytes[PRODUCTS] = MQ_PANEL * sizeof(int32_t);
    config.rows[TOKENS] = (uint8_t)m;
    config.row_bytes[TOKENS] = (uint16_t)count;
    config.rows[WEIGHTS] = (uint8_t)(count / 4);
    config.row_bytes[WEIGHTS] = MQ_PANEL * 4;
    _Static_assert(sizeof config == 64, "as the processor reads it");
    __asm__ volatile("" ::"m"(config)); /* GCC's intrinsic does not say that it reads memory */
    _tile_loadconfig(&config);
}

/* dot = products of the codes of a group's columns. */
MQ_INLINE void multiply_codes(const struct part *p, const int8_t *w, const int8_t *codes,
                              int32_t dot[TILE_M][MQ_PANEL])
{
    _tile_zero(PRODUCTS);
    _tile_loadd(TOKENS, codes, p->codes_stride);
    _tile_loadd(WEIGHTS, w, MQ_PANEL * 4);
    _tile_dpbssd(PRODUCTS, TOKENS, WEIGHTS);
    _tile_stored(PRODUCTS, dot, MQ_PANEL * sizeof(int32_t));
}

MQ_INLINE void tile_of(const int groups, int m, const struct part *p, float *y, size_t ldy,
                       bool resume)
{
    _Alignas(64) float sum[TILE_M][MQ_PANEL];
    _Alignas(64) int32_t dot[TILE_M][MQ_PANEL];
    for (int i = 0; i < m; i++)
        _mm512_store_ps(sum[i],
                        resume ? _mm512_loadu_ps(y + (size_t)i * ldy) : _mm512_setzero_ps());
    for (size_t n = 0; n < p->blocks_count * (size_t)groups; n++) { /* groups */
        const size_t b = n / (size_t)groups;
        const int g = (int)(n % (size_t)groups);
        multiply_codes(p, p->w + n * (size_t)columns(groups) * MQ_PANEL,
                       p->codes + n * (size_t)columns(groups), dot);
        const __m512 scale = _mm512_loadu_ps(p->scales + n * MQ_PANEL);
        const __m512 min = p->mins ? _mm512_loadu_ps(p->mins + n * MQ_PANEL) : scale;
        for (int i = 0; i < m; i++) {
            const __m512 a = _mm512_set1_ps(token_scale(p, b, i));
            __m512 s = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(dot[i])),
                                       _mm512_mul_ps(scale, a), _mm512_load_ps(sum[i]));
            if (p->mins)
                s = _mm512_fnmadd_ps(min, _mm512_set1_ps(token_scaled_sum(p, b, i, groups, g)), s);
            _mm512_store_ps(sum[i], s);
        }
    }
    for (int i = 0; i < m; i++)
        _mm512_storeu_ps(y + (size_t)i * ldy, _mm512_load_ps(sum[i]));
}

MQ_INLINE void tile(int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    if (p->groups == 1)
        tile_of(1, m, p, y, ldy, resume);
    else
        tile_of(2, m, p, y, ldy, resume);
}

#elif defined(MQ_USE_AVX2)
/* 12 integer accumulators, 2 vectors of weights, a token's codes and products: all 16 registers.
 * The floats of the chains are needed once a group only, and stay in the first-level cache. */
enum { ROWS_V = 8, TILE_V = MQ_PANEL / ROWS_V, TILE_M = 6, TILE_PANELS = 1 };

/*
 * What codes there are decides how often sums of 16 bits are widened: two products at a time, each
 * with a code of a token (at most 127), after 1, 2, 4 or 8 steps of 4 columns. All but ANY are made
 * unsigned by finish_pack.
 */
enum range {
    ANY,     /* -128..127: 1 * 2 * 128 * 127 = 32512 */
    WIDE,    /* 0..64:     2 * 2 *  64 * 127 = 32512 */
    NARROW,  /* 0..32:     4 * 2 *  32 * 127 = 32512 */
    NIBBLES, /* 0..15:     8 * 2 *  15 * 127 = 30480 */
    WHOLE,   /* AVX-VNNI: -128..127, four products at a time and at 32 bits */
};

MQ_INLINE enum range range_of(int code_min, int code_max)
{
#if defined(MQ_USE_AVXVNNI)
    (void)code_min, (void)code_max;
    return WHOLE;
#else
    const int bits = offset_bits(code_min, code_max), offset = bits < 0 ? 0 : 1 << bits;
    if (code_min + offset < 0 || code_max + offset > 64)
        return ANY;
    return code_max + offset <= 15 ? NIBBLES : code_max + offset <= 32 ? NARROW : WIDE;
#endif
}

MQ_INLINE bool sums_are_wide(enum range range)
{
    return range == ANY || range == WHOLE;
}

/* Columns after which narrow sums are widened, at most those of a group. */
MQ_INLINE int run_of(enum range range, int groups)
{
    const int run = range == NARROW ? 16 : range == WIDE ? 8 : 32;
    return run < columns(groups) ? run : columns(groups);
}

/* Where sums must be widened within a group, or often, a lower tile has registers for that. */
MQ_INLINE int tile_height(enum range range, int groups)
{
    return range == WHOLE || (range == NIBBLES && groups == 1) ? TILE_M : 4;
}

/* Adds the products of 4 columns of 16 rows with those of m tokens. */
MQ_INLINE void step(const int m, const enum range range, const struct part *p, const int8_t *w,
                    const int8_t *codes, __m256i dot[TILE_M][TILE_V])
{
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 6
    for (int i = 0; i < m; i++) {
        const __m256i a = _mm256_set1_epi32(load_codes(codes + (size_t)i * p->codes_stride));
#pragma GCC unroll 2
        for (int j = 0; j < TILE_V; j++) {
            const __m256i w8 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32 * j));
            if (range == WHOLE) {
#if defined(MQ_USE_AVXVNNI)
                dot[i][j] = _mm256_dpbusd_avx_epi32(dot[i][j], w8, a);
#endif
            } else if (range == ANY) {
                const __m256i pairs =
                    _mm256_maddubs_epi16(_mm256_abs_epi8(w8), _mm256_sign_epi8(a, w8));
                dot[i][j] = _mm256_add_epi32(dot[i][j], _mm256_madd_epi16(pairs, ones));
            } else {
                dot[i][j] = _mm256_add_epi16(dot[i][j], _mm256_maddubs_epi16(w8, a));
            }
            /* Integer sums may be reordered, and GCC does, into trees that do not fit the
             * registers. */
            __asm__("" : "+x"(dot[i][j]));
        }
    }
}

/* dot = products of the codes of group g of block b. */
MQ_INLINE void multiply_codes(const int m, const enum range range, const int groups,
                              const struct part *p, const int8_t *w, size_t b, int g,
                              __m256i dot[TILE_M][TILE_V])
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int run = run_of(range, groups);
    const int8_t *codes = p->codes + b * MQ_INT8_BLOCK + g * columns(groups);
#pragma GCC unroll 4
    for (int first = 0; first < columns(groups); first += run) {
        __m256i sum[TILE_M][TILE_V];
#pragma GCC unroll 6
        for (int i = 0; i < m; i++)
            sum[i][0] = sum[i][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int k = first; k < first + run; k += 4)
            step(m, range, p, w + k * MQ_PANEL, codes + k, sum);
#pragma GCC unroll 6
        for (int i = 0; i < m; i++)
#pragma GCC unroll 2
            for (int j = 0; j < TILE_V; j++) {
                const __m256i wide =
                    sums_are_wide(range) ? sum[i][j] : _mm256_madd_epi16(sum[i][j], ones);
                dot[i][j] = first ? _mm256_add_epi32(dot[i][j], wide) : wide;
            }
    }
    if (p->offset_bits < 0)
        return;
    const __m128i shift = _mm_cvtsi32_si128(7 - p->offset_bits); /* of a bias, -128 * sum: exact */
#pragma GCC unroll 6
    for (int i = 0; i < m; i++) {
        const __m256i start =
            _mm256_sra_epi32(_mm256_set1_epi32(token_bias(p, b, i, groups, g)), shift);
        dot[i][0] = _mm256_add_epi32(dot[i][0], start);
        dot[i][1] = _mm256_add_epi32(dot[i][1], start);
    }
}

/* One step of the chains: group g of block b. */
MQ_INLINE void add_group(const int m, const int groups, const struct part *p, size_t b, int g,
                         __m256i dot[TILE_M][TILE_V], float sum[TILE_M][MQ_PANEL])
{
    const size_t at = (b * (size_t)groups + (size_t)g) * MQ_PANEL;
#pragma GCC unroll 2
    for (int j = 0; j < TILE_V; j++) {
        const __m256 scale = _mm256_loadu_ps(p->scales + at + ROWS_V * j);
        const __m256 min = p->mins ? _mm256_loadu_ps(p->mins + at + ROWS_V * j) : scale;
#pragma GCC unroll 6
        for (int i = 0; i < m; i++) {
            const __m256 a = _mm256_set1_ps(token_scale(p, b, i));
            float *out = sum[i] + ROWS_V * j;
            __m256 s = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[i][j]), _mm256_mul_ps(scale, a),
                                       _mm256_load_ps(out));
            if (p->mins)
                s = _mm256_fnmadd_ps(min, _mm256_set1_ps(token_scaled_sum(p, b, i, groups, g)), s);
            _mm256_store_ps(out, s);
        }
    }
}

MQ_INLINE void tile_of(const int m, const enum range range, const int groups, const struct part *p,
                       float *y, size_t ldy, bool resume)
{
    _Alignas(32) float sum[TILE_M][MQ_PANEL];
    for (int i = 0; i < m; i++) {
        if (resume)
            memcpy(sum[i], y + (size_t)i * ldy, sizeof sum[i]);
        else
            memset(sum[i], 0, sizeof sum[i]);
    }
    const int8_t *w = p->w;
    for (size_t b = 0; b < p->blocks_count; b++) {
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++, w += columns(groups) * MQ_PANEL) {
            __m256i dot[TILE_M][TILE_V];
            multiply_codes(m, range, groups, p, w, b, g, dot);
            add_group(m, groups, p, b, g, dot, sum);
        }
    }
    for (int i = 0; i < m; i++)
        memcpy(y + (size_t)i * ldy, sum[i], sizeof sum[i]);
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
#if defined(MQ_USE_AVXVNNI)
    tile_in(m, WHOLE, p, y, ldy, resume);
#else
    const enum range range = range_of(p->code_min, p->code_max);
    if (range == NIBBLES)
        tile_in(m, NIBBLES, p, y, ldy, resume);
    else if (m > 4)
        __builtin_unreachable(); /* see tile_height */
    else if (range == NARROW)
        tile_in(m, NARROW, p, y, ldy, resume);
    else if (range == WIDE)
        tile_in(m, WIDE, p, y, ldy, resume);
    else
        tile_in(m, ANY, p, y, ldy, resume);
#endif
}

#else
enum { TILE_M = 1, TILE_PANELS = 1 };

/* The reference: one token by a panel, as int8.h says it. */
static void tile(const int m, const struct part *p, float *y, size_t ldy, bool resume)
{
    (void)m, (void)ldy;
    float sum[MQ_PANEL] = {0};
    if (resume)
        memcpy(sum, y, sizeof sum);
    const int columns_of = columns(p->groups);
    for (size_t n = 0; n < p->blocks_count * (size_t)p->groups; n++) { /* groups */
        const size_t b = n / (size_t)p->groups;
        const int g = (int)(n % (size_t)p->groups);
        const int8_t *w = p->w + n * (size_t)columns_of * MQ_PANEL;
        const int8_t *codes = p->codes + n * (size_t)columns_of;
        int32_t dot[MQ_PANEL] = {0};
        for (int k = 0; k < columns_of; k += 4)
            for (int r = 0; r < MQ_PANEL; r++)
                for (int i = 0; i < 4; i++)
                    dot[r] += codes[k + i] * w[k * MQ_PANEL + 4 * r + i];
        for (int r = 0; r < MQ_PANEL; r++) {
            const size_t at = n * MQ_PANEL + (size_t)r;
            sum[r] = fmaf((float)dot[r], p->scales[at] * token_scale(p, b, 0), sum[r]);
            if (p->mins)
                sum[r] = fmaf(-p->mins[at], token_scaled_sum(p, b, 0, p->groups, g), sum[r]);
        }
    }
    memcpy(y, sum, sizeof sum);
}
#endif

/* ---- tiles of a product ---- */

enum { TILE_N = TILE_PANELS * MQ_PANEL };

void MQ_ISA_NAME(mq_int8_finish_pack)(int8_t *codes, size_t n, int8_t code_min, int8_t code_max)
{
    const int bits = offset_bits(code_min, code_max);
    for (size_t i = 0; bits >= 0 && i < n; i++)
        codes[i] = (int8_t)(codes[i] + (1 << bits));
}

/* A tile of any height. */
static void whole_tile(int m, const struct part *p, float *y, size_t ldy, bool resume)
{
#if defined(MQ_USE_AMX)
    tile(m, p, y, ldy, resume);
#else
#define CASE(height)                     \
    case height:                         \
        tile(height, p, y, ldy, resume); \
        break;
    switch (m) {
        CASE(1)
#if defined(MQ_USE_AVX2) || defined(MQ_USE_VNNI)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
#endif
    }
#undef CASE
#endif
}

/* A tile of which only n rows of weights exist: by way of a whole one beside y. In place of panels
 * that do not exist the first is multiplied again. */
static void partial_tile(int m, size_t n, const struct part *part, float *y, size_t ldy,
                         bool resume)
{
    float whole[TILE_M][TILE_N] = {{0}};
    struct part p = *part;
    if (n <= MQ_PANEL)
        p.w_panel = p.scales_panel = 0;
    for (int i = 0; resume && i < m; i++)
        memcpy(whole[i], y + (size_t)i * ldy, n * sizeof(float));
    whole_tile(m, &p, whole[0], TILE_N, resume);
    for (int i = 0; i < m; i++)
        memcpy(y + (size_t)i * ldy, whole[i], n * sizeof(float));
}

void MQ_ISA_NAME(mq_int8_multiply)(const struct mq_int8_tokens *x, size_t m,
                                   const struct mq_int8_panels *w, size_t k, size_t n, float *y,
                                   size_t ldy, bool resume)
{
    const size_t blocks = k / MQ_INT8_BLOCK, groups = MQ_INT8_BLOCK / (size_t)w->group;
#if defined(MQ_USE_AVX2)
    const size_t most = (size_t)tile_height(range_of(w->code_min, w->code_max), (int)groups);
#else
    const size_t most = TILE_M;
#endif
    for (size_t b = 0; b < blocks; b += PASS_BLOCKS) {
        const size_t count = blocks - b < PASS_BLOCKS ? blocks - b : PASS_BLOCKS;
        for (size_t i = 0; i < m; i += most) {
            const int height = (int)(m - i < most ? m - i : most);
#if defined(MQ_USE_AMX)
            if (i == 0 || height < TILE_M)
                configure(height, w->group);
#endif
            for (size_t j = 0; j < n; j += TILE_N) {
                const size_t at = j / MQ_PANEL * blocks + b; /* block of 32 columns by a panel */
                const size_t scales_at = at * groups * MQ_PANEL;
                const struct part part = {
                    .codes = x->codes + i * x->codes_stride + b * MQ_INT8_BLOCK,
                    .blocks = x->blocks + i * x->blocks_stride + b,
                    .halves = x->halves + i * x->blocks_stride + b,
                    .codes_stride = x->codes_stride,
                    .blocks_stride = x->blocks_stride,
                    .w = w->codes + at * MQ_INT8_BLOCK * MQ_PANEL,
                    .scales = w->scales + scales_at,
                    .mins = w->mins ? w->mins + scales_at : NULL,
                    .w_panel = k * MQ_PANEL,
                    .scales_panel = blocks * groups * MQ_PANEL,
                    .blocks_count = count,
                    .groups = (int)groups,
                    .code_min = w->code_min,
                    .code_max = w->code_max,
                    .offset_bits = offset_bits(w->code_min, w->code_max),
                };
                float *out = y + i * ldy + j;
                if (n - j >= TILE_N)
                    whole_tile(height, &part, out, ldy, resume || b > 0);
                else
                    partial_tile(height, n - j, &part, out, ldy, resume || b > 0);
            }
        }
    }
#if defined(MQ_USE_AMX)
    _tile_release(); /* or every switch to another thread would save the tiles */
#endif
}
