/*
 * source_blocks.c: blocks of checkpoints that are published quantized: decoders alone. moeq reads them
 * and never quantizes to them.
 *
 *     f8_e4m3, 132 B of 128:  f32 d | u8 code[128]     weight = d e4m3(code)
 *     mxfp4,    17 B of 32:   u8 e  | u8 low[16]       weight = 2^(e - 128) (doubled e2m1)
 *     nvfp4,    36 B of 64:   u8 e[4] | u8 low[4][8]   weight = e4m3(e) / 2 (doubled e2m1)
 *     i4_32,    20 B of 32:   f32 d | u8 low[16]       weight = d (code - 8)
 *     i8_32,    36 B of 32:   f32 d | u8 code[32]      weight = d (code - 128)
 *     a8_32,    40 B of 32:   f32 d, m | u8 code[32]   weight = d code + m, rounded once
 *
 * Of 4 bits, weights l and l + 16 are the low and the high nibble of low[l]; of nvfp4, which has a scale per 16
 * weights, l and l + 8. A row's last f8_e4m3 block may be cut: it has as many codes as weights are left. mxfp4
 * and nvfp4 are GGML's types of these names (ggml-common.h, block_mxfp4); where checkpoints have scales and codes,
 * and how they become blocks: formats/assembly.c.
 *
 * E4M3 (OCP 8-bit floating point, "FN"): sign, 4 bits of exponent with bias 7, 3 of mantissa; no
 * infinities, and NaN where all seven bits are set.
 */
#include "codecs_int.h"
#include "lanes_int.h"

#include <math.h>

enum { F8_BLOCK = 128, BLOCK = 32, SCALE_BYTES = 4 };

/* ---- f8_e4m3 ---- */

/* At most 128 codes, n of them; weights beyond n are not written. As halves the codes' bits are the
 * weights times 2^-8, exactly, since a half's exponent has bias 15; so are denormals. */
MQ_INLINE void decode_f8(const uint8_t *block, size_t n, float *weights)
{
    uint16_t half[F8_BLOCK];
    uint8_t code[F8_BLOCK] = {0};
    float d, all[F8_BLOCK];
    bool nan = false;
    memcpy(&d, block, sizeof d);
    memcpy(code, block + SCALE_BYTES, n);
    for (int i = 0; i < F8_BLOCK; i++) {
        half[i] = (uint16_t)((code[i] & 0x80) << 8 | (code[i] & 0x7f) << 7);
        nan |= (code[i] & 0x7f) == 0x7f;
    }
    for (int i = 0; i < F8_BLOCK; i += 16) {
        const v16 code_value = v_mul(v_load_f16((const uint8_t *)(half + i)), v_set1(256));
        v_store(all + i, v_mul(code_value, v_set1(d)));
    }
    for (int i = 0; nan && i < F8_BLOCK; i++)
        all[i] = (code[i] & 0x7f) == 0x7f ? NAN : all[i];
    memcpy(weights, all, n * sizeof *weights);
}

void MQ_ISA_NAME(mq_f8_e4m3_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (size_t count; n; n -= count) {
        count = n < F8_BLOCK ? n : F8_BLOCK;
        decode_f8(blocks, count, weights);
        blocks += SCALE_BYTES + count;
        weights += count;
    }
}

/* ---- blocks of 32 integers ---- */

struct kind {
    size_t scale_bytes, code_bytes;
    int8_t zero;         /* the code of the weight 0, where codes are no floats */
    const int8_t *value; /* of each 4-bit code; NULL: itself */
};

/* Twice what e2m1 stands for, so that they are integers (ggml-common.h, kvalues_mxfp4). */
static const int8_t doubled_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Half of 2^(e - 127), as the codes are doubled; below 2^-126 a denormal. */
MQ_INLINE float half_of_e8m0(uint8_t e)
{
    const uint32_t bits = e < 2 ? UINT32_C(0x00200000) << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

MQ_INLINE float scale_of(struct kind k, const uint8_t *block)
{
    float d;
    if (k.scale_bytes == 1)
        return half_of_e8m0(*block);
    memcpy(&d, block, sizeof d);
    return d;
}

MQ_INLINE void unpack_codes(struct kind k, const uint8_t *block, int8_t codes[BLOCK])
{
    const uint8_t *in = block + k.scale_bytes;
    if (k.code_bytes == BLOCK) {
        for (int l = 0; l < BLOCK; l++)
            codes[l] = (int8_t)(in[l] + k.zero); /* by 128: the same to either side */
        return;
    }
    for (int l = 0; l < BLOCK / 2; l++) {
        const uint8_t low = in[l] & 15, high = in[l] >> 4;
        codes[l] = k.value ? k.value[low] : (int8_t)(low - k.zero);
        codes[l + BLOCK / 2] = k.value ? k.value[high] : (int8_t)(high - k.zero);
    }
}

MQ_INLINE void decode(struct kind k, const uint8_t *blocks, size_t n, float *weights)
{
    int8_t codes[BLOCK];
    for (size_t b = 0; b < n / BLOCK; b++, blocks += k.scale_bytes + k.code_bytes) {
        const v16 d = v_set1(scale_of(k, blocks));
        unpack_codes(k, blocks, codes);
        for (int i = 0; i < BLOCK; i += 16, weights += 16)
            v_store(weights, v_mul(d, v_from_i8(codes + i)));
    }
}

MQ_INLINE void unpack(struct kind k, const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                      float *mins)
{
    for (size_t b = 0; b < n / BLOCK; b++, blocks += k.scale_bytes + k.code_bytes) {
        scales[b] = scale_of(k, blocks);
        mins[b] = 0;
        unpack_codes(k, blocks, codes + b * BLOCK);
    }
}

#define LEVEL(level, ...)                                                                  \
    void MQ_ISA_NAME(mq_##level##_decode)(const uint8_t *blocks, size_t n, float *weights) \
    {                                                                                      \
        decode((struct kind){__VA_ARGS__}, blocks, n, weights);                            \
    }                                                                                      \
    void MQ_ISA_NAME(mq_##level##_unpack)(const uint8_t *blocks, size_t n, int8_t *codes,  \
                                          float *scales, float *mins)                      \
    {                                                                                      \
        unpack((struct kind){__VA_ARGS__}, blocks, n, codes, scales, mins);                \
    }
LEVEL(mxfp4, 1, 16, 0, doubled_e2m1)
LEVEL(i4_32, SCALE_BYTES, 16, 8, NULL)
LEVEL(i8_32, SCALE_BYTES, 32, -128, NULL)

void MQ_ISA_NAME(mq_a8_32_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (size_t b = 0; b < n / BLOCK; b++, blocks += 2 * SCALE_BYTES + BLOCK) {
        const uint8_t *in = blocks + 2 * SCALE_BYTES;
        int8_t codes[BLOCK];
        float d, m;
        memcpy(&d, blocks, sizeof d);
        memcpy(&m, blocks + SCALE_BYTES, sizeof m);
        for (int l = 0; l < BLOCK; l++)
            codes[l] = (int8_t)(in[l] - 128);
        for (int i = 0; i < BLOCK; i += 16, weights += 16) {
            const v16 code = v_add(v_from_i8(codes + i), v_set1(128));
            v_store(weights, v_fma(v_set1(d), code, v_set1(m)));
        }
    }
}

/* ---- nvfp4 ---- */

enum { NV_BLOCK = 64, NV_BYTES = 36, NV_SUBS = 4, NV_SUB = 16 };

/* Half of an E4M3 without its sign, as the codes are doubled; what would be NaN is 0 (ggml-impl.h,
 * ggml_ue4m3_to_fp32). */
MQ_INLINE float half_of_e4m3(uint8_t e)
{
    const int exponent = e >> 3 & 15;
    const float mantissa = (float)(exponent ? 8 + (e & 7) : e & 7);
    const int power_of_two = (exponent ? exponent : 1) - 7 - 3 - 1; /* bias, mantissa, half */
    const uint32_t power = (uint32_t)(127 + power_of_two) << 23;
    float f;
    memcpy(&f, &power, sizeof f);
    return e == 0x7f ? 0.0f : mantissa * f;
}

MQ_INLINE void unpack_nvfp4(const uint8_t *block, int8_t codes[NV_BLOCK], float scales[NV_SUBS])
{
    for (int i = 0; i < NV_SUBS; i++) {
        scales[i] = half_of_e4m3(block[i]);
        for (int l = 0; l < NV_SUB / 2; l++) {
            const uint8_t byte = block[NV_SUBS + NV_SUB / 2 * i + l];
            codes[NV_SUB * i + l] = doubled_e2m1[byte & 15];
            codes[NV_SUB * i + NV_SUB / 2 + l] = doubled_e2m1[byte >> 4];
        }
    }
}

void MQ_ISA_NAME(mq_nvfp4_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= NV_BLOCK, blocks += NV_BYTES) {
        int8_t codes[NV_BLOCK];
        float scales[NV_SUBS];
        unpack_nvfp4(blocks, codes, scales);
        for (int i = 0; i < NV_SUBS; i++, weights += NV_SUB)
            v_store(weights, v_mul(v_set1(scales[i]), v_from_i8(codes + NV_SUB * i)));
    }
}

void MQ_ISA_NAME(mq_nvfp4_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                  float *mins)
{
    memset(mins, 0, n / NV_SUB * sizeof *mins);
    for (; n; n -= NV_BLOCK, blocks += NV_BYTES, codes += NV_BLOCK, scales += NV_SUBS)
        unpack_nvfp4(blocks, codes, scales);
}
