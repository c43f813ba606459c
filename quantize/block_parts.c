/* block_parts.c: blocks taken apart and put together, a number at a time. */
#include "block_parts.h"

#include "bit_codes_int.h"
#include "f16.h"
#include "iq_grids.h"
#include "iq_parts_int.h"
#include "six_bit_int.h"

#include <string.h>

static float read_half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return mq_f16_to_f32(h);
}

static void write_half(float value, uint8_t *p)
{
    const uint16_t h = mq_f32_to_f16(value);
    memcpy(p, &h, sizeof h);
}

/* ---- q2_k ---- */

static void read_q2_k(const uint8_t *block, struct mq_block_parts *parts)
{
    for (int j = 0; j < 16; j++) {
        parts->s[j] = block[j] & 15;
        parts->m[j] = block[j] >> 4;
    }
    for (int i = 0; i < 256; i++)
        parts->codes[i] = block[16 + 32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
    parts->d = read_half(block + 80);
    parts->dmin = read_half(block + 82);
}

static void write_q2_k(const struct mq_block_parts *parts, uint8_t *block)
{
    memset(block, 0, 84);
    for (int j = 0; j < 16; j++)
        block[j] = (uint8_t)(parts->s[j] | parts->m[j] << 4);
    for (int i = 0; i < 256; i++)
        block[16 + 32 * (i / 128) + i % 32] |= (uint8_t)(parts->codes[i] << 2 * (i % 128 / 32));
    write_half(parts->d, block + 80);
    write_half(parts->dmin, block + 82);
}

/* ---- q3_k ---- */

static void read_q3_k(const uint8_t *block, struct mq_block_parts *parts)
{
    for (int j = 0; j < 16; j++) {
        const int low = block[96 + j % 8] >> 4 * (j / 8) & 15;
        const int high = block[104 + j % 4] >> 2 * (j / 4) & 3;
        parts->s[j] = (int16_t)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++) {
        const int low = block[32 + 32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
        const int high = block[i % 32] >> i / 32 & 1;
        parts->codes[i] = (int8_t)((low | high << 2) - 4);
    }
    parts->d = read_half(block + 108);
    memset(parts->m, 0, sizeof parts->m);
    parts->dmin = 0.0f;
}

static void write_q3_k(const struct mq_block_parts *parts, uint8_t *block)
{
    memset(block, 0, 110);
    for (int j = 0; j < 16; j++) {
        const int s = parts->s[j] + 32;
        block[96 + j % 8] |= (uint8_t)((s & 15) << 4 * (j / 8));
        block[104 + j % 4] |= (uint8_t)(s >> 4 << 2 * (j / 4));
    }
    for (int i = 0; i < 256; i++) {
        const int code = parts->codes[i] + 4;
        block[32 + 32 * (i / 128) + i % 32] |= (uint8_t)((code & 3) << 2 * (i % 128 / 32));
        block[i % 32] |= (uint8_t)(code >> 2 << i / 32);
    }
    write_half(parts->d, block + 108);
}

/* ---- q4_k, q5_k ---- */

static void read_six_bit(const uint8_t *block, struct mq_block_parts *parts)
{
    uint8_t s[8], m[8];
    mq_six_bit_unpack(block + MQ_SIX_BIT_AT, s, m);
    for (int j = 0; j < 8; j++) {
        parts->s[j] = s[j];
        parts->m[j] = m[j];
    }
    parts->d = read_half(block);
    parts->dmin = read_half(block + MQ_SIX_BIT_DMIN_AT);
}

static void write_six_bit(const struct mq_block_parts *parts, uint8_t *block)
{
    uint8_t s[8], m[8];
    for (int j = 0; j < 8; j++) {
        s[j] = (uint8_t)parts->s[j];
        m[j] = (uint8_t)parts->m[j];
    }
    mq_six_bit_pack(s, m, block + MQ_SIX_BIT_AT);
    write_half(parts->d, block);
    write_half(parts->dmin, block + MQ_SIX_BIT_DMIN_AT);
}

static int low_nibble(const uint8_t *low, int i)
{
    return low[32 * (i / 64) + i % 32] >> 4 * (i % 64 / 32) & 15;
}

static void write_low_nibbles(const struct mq_block_parts *parts, uint8_t *low)
{
    memset(low, 0, 128);
    for (int i = 0; i < 256; i++)
        low[32 * (i / 64) + i % 32] |= (uint8_t)((parts->codes[i] & 15) << 4 * (i % 64 / 32));
}

static void read_q4_k(const uint8_t *block, struct mq_block_parts *parts)
{
    read_six_bit(block, parts);
    for (int i = 0; i < 256; i++)
        parts->codes[i] = (int8_t)low_nibble(block + MQ_SIX_BIT_END, i);
}

static void write_q4_k(const struct mq_block_parts *parts, uint8_t *block)
{
    write_six_bit(parts, block);
    write_low_nibbles(parts, block + MQ_SIX_BIT_END);
}

static void read_q5_k(const uint8_t *block, struct mq_block_parts *parts)
{
    const uint8_t *high = block + MQ_SIX_BIT_END;
    read_six_bit(block, parts);
    for (int i = 0; i < 256; i++)
        parts->codes[i] = (int8_t)(low_nibble(high + 32, i) | (high[i % 32] >> i / 32 & 1) << 4);
}

static void write_q5_k(const struct mq_block_parts *parts, uint8_t *block)
{
    uint8_t *high = block + MQ_SIX_BIT_END;
    write_six_bit(parts, block);
    memset(high, 0, 32);
    for (int i = 0; i < 256; i++)
        high[i % 32] |= (uint8_t)(parts->codes[i] >> 4 << i / 32);
    write_low_nibbles(parts, high + 32);
}

/* ---- q6_k ---- */

static void read_q6_k(const uint8_t *block, struct mq_block_parts *parts)
{
    for (int j = 0; j < 16; j++)
        parts->s[j] = (int8_t)block[192 + j];
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, j = i % 128 / 32, l = i % 32;
        const int low = block[64 * half + 32 * (j % 2) + l] >> 4 * (j / 2) & 15;
        const int high = block[128 + 32 * half + l] >> 2 * j & 3;
        parts->codes[i] = (int8_t)((low | high << 4) - 32);
    }
    parts->d = read_half(block + 208);
    memset(parts->m, 0, sizeof parts->m);
    parts->dmin = 0.0f;
}

static void write_q6_k(const struct mq_block_parts *parts, uint8_t *block)
{
    memset(block, 0, 210);
    for (int j = 0; j < 16; j++)
        block[192 + j] = (uint8_t)(int8_t)parts->s[j];
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, j = i % 128 / 32, l = i % 32, code = parts->codes[i] + 32;
        block[64 * half + 32 * (j % 2) + l] |= (uint8_t)((code & 15) << 4 * (j / 2));
        block[128 + 32 * half + l] |= (uint8_t)(code >> 4 << 2 * j);
    }
    write_half(parts->d, block + 208);
}

/* ---- q8_0 ---- */

static void read_q8_0(const uint8_t *block, struct mq_block_parts *parts)
{
    parts->d = read_half(block);
    memcpy(parts->codes, block + 2, 32);
    parts->s[0] = 1;
    parts->m[0] = 0;
    parts->dmin = 0.0f;
}

static void write_q8_0(const struct mq_block_parts *parts, uint8_t *block)
{
    write_half(parts->d, block);
    memcpy(block + 2, parts->codes, 32);
}

/* ---- iq4_nl, iq4_xs ---- */

static const int8_t iq4_values[16] = {MQ_IQ4_VALUES};

/* Of 32 weights. */
static void read_iq4(const uint8_t *q, int8_t *codes)
{
    for (int i = 0; i < 32; i++)
        codes[i] = iq4_values[q[i % 16] >> 4 * (i / 16) & 15];
}

static void write_iq4(const int8_t *codes, uint8_t *q)
{
    memset(q, 0, 16);
    for (int i = 0; i < 32; i++) {
        int k = 0;
        while (k < 15 && iq4_values[k] < codes[i])
            k++;
        q[i % 16] |= (uint8_t)(k << 4 * (i / 16));
    }
}

static void read_iq4_nl(const uint8_t *block, struct mq_block_parts *parts)
{
    *parts = (struct mq_block_parts){.d = read_half(block), .s = {1}};
    read_iq4(block + 2, parts->codes);
}

static void write_iq4_nl(const struct mq_block_parts *parts, uint8_t *block)
{
    write_half(parts->d, block);
    write_iq4(parts->codes, block + 2);
}

static void read_iq4_xs(const uint8_t *block, struct mq_block_parts *parts)
{
    *parts = (struct mq_block_parts){.d = read_half(block)};
    for (int j = 0; j < 8; j++) {
        const int low = block[4 + j / 2] >> 4 * (j % 2) & 15,
                  high = block[2 + j / 4] >> 2 * (j % 4) & 3;
        parts->s[j] = (int16_t)((low | high << 4) - 32);
        read_iq4(block + 8 + 16 * j, parts->codes + 32 * j);
    }
}

static void write_iq4_xs(const struct mq_block_parts *parts, uint8_t *block)
{
    memset(block, 0, 8);
    write_half(parts->d, block);
    for (int j = 0; j < 8; j++) {
        const int s = parts->s[j] + 32;
        block[4 + j / 2] |= (uint8_t)((s & 15) << 4 * (j % 2));
        block[2 + j / 4] |= (uint8_t)(s >> 4 << 2 * (j % 4));
        write_iq4(parts->codes + 32 * j, block + 8 + 16 * j);
    }
}

/* ---- levels of other runtimes ---- */

static float read_bf16(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return mq_bf16_to_f32(h);
}

static void write_bf16(float value, uint8_t *p)
{
    const uint16_t h = mq_f32_to_bf16(value);
    memcpy(p, &h, sizeof h);
}

/* All their sub-blocks, of 32 weights, have the scale of the block. */
static void read_w(int bits, size_t group, const uint8_t *block, struct mq_block_parts *parts)
{
    *parts = (struct mq_block_parts){.d = read_bf16(block), .s = {1, 1, 1, 1}};
    uint8_t codes[128];
    mq_unpack_codes(block + 2, group, bits, codes);
    for (size_t i = 0; i < group; i++)
        parts->codes[i] = (int8_t)(codes[i] - (1 << (bits - 1)));
}

static void write_w(int bits, size_t group, const struct mq_block_parts *parts, uint8_t *block)
{
    uint8_t codes[128];
    for (size_t i = 0; i < group; i++)
        codes[i] = (uint8_t)(parts->codes[i] + (1 << (bits - 1)));
    write_bf16(parts->d, block);
    mq_pack_codes(codes, group, bits, block + 2);
}

static void read_mlx(int bits, size_t group, const uint8_t *block, struct mq_block_parts *parts)
{
    *parts = (struct mq_block_parts){
        .d = read_bf16(block), .dmin = -read_bf16(block + 2), .s = {1, 1, 1, 1}, .m = {1, 1, 1, 1}};
    mq_unpack_codes(block + 4, group, bits, (uint8_t *)parts->codes);
}

static void write_mlx(int bits, size_t group, const struct mq_block_parts *parts, uint8_t *block)
{
    write_bf16(parts->d, block);
    write_bf16(-parts->dmin, block + 2);
    mq_pack_codes((const uint8_t *)parts->codes, group, bits, block + 4);
}

#define RUNTIME(kind, name, bits, group)                                            \
    static void read_##name(const uint8_t *block, struct mq_block_parts *parts)     \
    {                                                                               \
        read_##kind(bits, group, block, parts);                                     \
    }                                                                               \
    static void write_##name(const struct mq_block_parts *parts, uint8_t *block)    \
    {                                                                               \
        write_##kind(bits, group, parts, block);                                    \
    }
#define EVERY_RUNTIME(X)                                                          \
    X(w, w4g32, 4, 32) X(w, w4g64, 4, 64) X(w, w4g128, 4, 128)                    \
    X(w, w8g32, 8, 32) X(w, w8g64, 8, 64) X(w, w8g128, 8, 128)                    \
    X(mlx, mlx2g32, 2, 32) X(mlx, mlx2g64, 2, 64) X(mlx, mlx2g128, 2, 128)        \
    X(mlx, mlx3g32, 3, 32) X(mlx, mlx3g64, 3, 64) X(mlx, mlx3g128, 3, 128)        \
    X(mlx, mlx4g32, 4, 32) X(mlx, mlx4g64, 4, 64) X(mlx, mlx4g128, 4, 128)        \
    X(mlx, mlx5g32, 5, 32) X(mlx, mlx5g64, 5, 64) X(mlx, mlx5g128, 5, 128)        \
    X(mlx, mlx6g32, 6, 32) X(mlx, mlx6g64, 6, 64) X(mlx, mlx6g128, 6, 128)
EVERY_RUNTIME(RUNTIME)

/* Codes of MLX of 8 bits are no int8_t, and have no form; nor have levels with one scale for a row or more. */
#define LIMITS_w(bits) .code_min = -(1 << ((bits) - 1)), .code_max = (1 << ((bits) - 1)) - 1
#define LIMITS_mlx(bits) .code_max = (1 << (bits)) - 1, .min_min = 1, .min_max = 1
#define RUNTIME_FORM(kind, name, bits, group)                                                  \
    {.level = #name, .weights = group, .sub_weights = 32, .scale_min = 1, .scale_max = 1,      \
     .unit = 1, .wide = true, LIMITS_##kind(bits), .read = read_##name, .write = write_##name},

/* Codes that are no integers of a range, and a codebook's rows. */
#define UNEVEN .uneven = true
#define GRID(type) \
    .grid = &mq_##type##_codes, .read = mq_##type##_read_parts, .write = mq_##type##_write_parts

/* clang-format off */
static const struct mq_block_form forms[] = {
    {"q8_0",    32, 32, -127, 127,    1,   1,  0, 0, 0, 1, 0, .read = read_q8_0, .write = write_q8_0},
    {"q6_k",   256, 16,  -32,  31, -128, 127,  0, 0, 0, 1, 0, .read = read_q6_k, .write = write_q6_k},
    {"q5_k",   256, 32,    0,  31,    0,  63, 63, 0, 0, 1, 0, .read = read_q5_k, .write = write_q5_k},
    {"q4_k",   256, 32,    0,  15,    0,  63, 63, 0, 0, 1, 0, .read = read_q4_k, .write = write_q4_k},
    {"q3_k",   256, 16,   -4,   3,  -32,  31,  0, 0, 0, 1, 0, .read = read_q3_k, .write = write_q3_k},
    {"q2_k",   256, 16,    0,   3,    0,  15, 15, 0, 0, 1, 0, .read = read_q2_k, .write = write_q2_k},
    {"iq4_nl",  32, 32, -127, 113,    1,   1,  0, 0, 0, 1, 0, UNEVEN, .read = read_iq4_nl, .write = write_iq4_nl},
    {"iq4_xs", 256, 32, -127, 113,  -32,  31,  0, 0, 0, 1, 0, UNEVEN, .read = read_iq4_xs, .write = write_iq4_xs},
    {"iq3_s",  256, 32,  -15,  15,    0,  15,  0, 0, 0, 2,     0.5f, GRID(iq3_s)},
    {"iq3_xxs",256, 32,  -62,  62,    0,  15,  0, 0, 0, 0.5f,  0.5f, GRID(iq3_xxs)},
    {"iq2_s",  256, 16,  -43,  43,    0,  15,  0, 0, 0, 0.25f, 0.5f, GRID(iq2_s)},
    {"iq2_xs", 256, 16,  -43,  43,    0,  15,  0, 0, 0, 0.25f, 0.5f, GRID(iq2_xs)},
    {"iq2_xxs",256, 32,  -43,  43,    0,  15,  0, 0, 0, 0.25f, 0.5f, GRID(iq2_xxs)},
    EVERY_RUNTIME(RUNTIME_FORM)
};
/* clang-format on */

const struct mq_block_form *mq_block_form_of(const struct mq_level *level)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].level, level->name) == 0)
            return &forms[i];
    return NULL;
}
