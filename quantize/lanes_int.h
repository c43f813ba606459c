/*
 * lanes_int.h: what only the codecs need of the virtual vector (formats/base/vec16.h): transposes
 * that put one sub-block in each lane, sums within half a vector, codes and halves in memory.
 *
 * The same rule holds: every implementation gives the same bits.
 */
#ifndef MQ_LANES_INT_H
#define MQ_LANES_INT_H

#include "vec16.h"

#include <stddef.h>

/*
 * v_transpose(p, stride, out)   out[c] lane r = p[r * stride + c] for 16 rows and columns
 * v_sum_halves(a)               every lane has the sum of its half of the vector (lanes 0..7 or
 *                               8..15): lanes i and i^4 are added, then i^2, then i^1
 * v_max_halves(a)               likewise
 * v_join(lo, hi)                lanes 0..7 of lo, 8..15 of hi
 * v_set1_f16(p)                 the half at p in every lane
 * v_from_u8(p)                  16 bytes as floats
 * v_store_f16(p, a)             rounded to nearest even; a must not be NaN
 * v_store_bf16(p, a)            likewise
 * mq_transpose_bytes(in, out)   out[16 * c + r] = in[16 * r + c]
 */
#if defined(MQ_USE_AVX512) || defined(MQ_USE_AVX2)

/* A perfect shuffle of the 256 bytes moves the bits of their index round by one; four of them
 * swap the row with the column. */
MQ_INLINE void mq_transpose_bytes(const uint8_t in[256], uint8_t out[256])
{
    __m128i a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = _mm_loadu_si128((const __m128i *)(in + 16 * i));
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
        }
        for (int i = 0; i < 16; i++)
            a[i] = b[i];
    }
    for (int i = 0; i < 16; i++)
        _mm_storeu_si128((__m128i *)(out + 16 * i), a[i]);
}
#endif

#if defined(MQ_USE_AVX512)

MQ_INLINE v16 v_join(v16 lo, v16 hi)
{
    return _mm512_mask_mov_ps(lo, 0xff00, hi);
}

/* Four columns at once: quarter q of load[r] holds row 4q + r, so that unpacking and shuffling
 * within quarters finishes the transpose. */
MQ_INLINE void v_transpose(const float *p, size_t stride, v16 out[16])
{
#pragma GCC unroll 4
    for (int c = 0; c < 16; c += 4) {
        __m512 load[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            const float *q = p + (size_t)r * stride + c;
            __m512 a = _mm512_castps128_ps512(_mm_loadu_ps(q));
            a = _mm512_insertf32x4(a, _mm_loadu_ps(q + 4 * stride), 1);
            a = _mm512_insertf32x4(a, _mm_loadu_ps(q + 8 * stride), 2);
            load[r] = _mm512_insertf32x4(a, _mm_loadu_ps(q + 12 * stride), 3);
        }
        const __m512 ab_lo = _mm512_unpacklo_ps(load[0], load[1]);
        const __m512 ab_hi = _mm512_unpackhi_ps(load[0], load[1]);
        const __m512 cd_lo = _mm512_unpacklo_ps(load[2], load[3]);
        const __m512 cd_hi = _mm512_unpackhi_ps(load[2], load[3]);
        out[c] = _mm512_shuffle_ps(ab_lo, cd_lo, 0x44);
        out[c + 1] = _mm512_shuffle_ps(ab_lo, cd_lo, 0xee);
        out[c + 2] = _mm512_shuffle_ps(ab_hi, cd_hi, 0x44);
        out[c + 3] = _mm512_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
}

#define MQ_HALVES(name, op)                          \
    MQ_INLINE v16 name(v16 a)                        \
    {                                                \
        a = op(a, _mm512_shuffle_f32x4(a, a, 0xb1)); \
        a = op(a, _mm512_shuffle_ps(a, a, 0x4e));    \
        return op(a, _mm512_shuffle_ps(a, a, 0xb1)); \
    }
MQ_HALVES(v_sum_halves, _mm512_add_ps)
MQ_HALVES(v_max_halves, _mm512_max_ps)
#undef MQ_HALVES

MQ_INLINE v16 v_set1_f16(const uint8_t *p)
{
    short h;
    memcpy(&h, p, 2);
    return _mm512_cvtph_ps(_mm256_set1_epi16(h));
}
MQ_INLINE v16 v_from_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
MQ_INLINE void v_store_f16(uint8_t *p, v16 a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
MQ_INLINE void v_store_bf16(uint8_t *p, v16 a)
{
    const __m512i u = _mm512_castps_si512(a);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}

#elif defined(MQ_USE_AVX2)

MQ_INLINE v16 v_join(v16 lo, v16 hi)
{
    return MQ_V2(lo.lo, hi.hi);
}

/* As for AVX-512, with two rows a load: eight rows, four columns. */
MQ_INLINE void mq_transpose_8x4(const float *p, size_t stride, __m256 out[4])
{
    __m256 load[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        const float *q = p + (size_t)r * stride;
        load[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(q)),
                                       _mm_loadu_ps(q + 4 * stride), 1);
    }
    const __m256 ab_lo = _mm256_unpacklo_ps(load[0], load[1]);
    const __m256 ab_hi = _mm256_unpackhi_ps(load[0], load[1]);
    const __m256 cd_lo = _mm256_unpacklo_ps(load[2], load[3]);
    const __m256 cd_hi = _mm256_unpackhi_ps(load[2], load[3]);
    out[0] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
    out[1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
    out[2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
    out[3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
}
MQ_INLINE void v_transpose(const float *p, size_t stride, v16 out[16])
{
    for (int c = 0; c < 16; c += 4) {
        __m256 lo[4], hi[4];
        mq_transpose_8x4(p + c, stride, lo);
        mq_transpose_8x4(p + 8 * stride + c, stride, hi);
        for (int i = 0; i < 4; i++)
            out[c + i] = MQ_V2(lo[i], hi[i]);
    }
}

#define MQ_HALVES(name, op)                                 \
    MQ_INLINE __m256 name##_of_8(__m256 a)                  \
    {                                                       \
        a = op(a, _mm256_permute2f128_ps(a, a, 0x01));      \
        a = op(a, _mm256_shuffle_ps(a, a, 0x4e));           \
        return op(a, _mm256_shuffle_ps(a, a, 0xb1));        \
    }                                                       \
    MQ_INLINE v16 name(v16 a)                               \
    {                                                       \
        return MQ_V2(name##_of_8(a.lo), name##_of_8(a.hi)); \
    }
MQ_HALVES(v_sum_halves, _mm256_add_ps)
MQ_HALVES(v_max_halves, _mm256_max_ps)
#undef MQ_HALVES

MQ_INLINE v16 v_set1_f16(const uint8_t *p)
{
    short h;
    memcpy(&h, p, 2);
    const __m256 v = _mm256_cvtph_ps(_mm_set1_epi16(h));
    return MQ_V2(v, v);
}
MQ_INLINE __m256 mq_u8x8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
MQ_INLINE v16 v_from_u8(const uint8_t *p)
{
    return MQ_V2(mq_u8x8(p), mq_u8x8(p + 8));
}
MQ_INLINE void v_store_f16(uint8_t *p, v16 a)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(p + 16), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
MQ_INLINE __m256i mq_round_bf16x8(__m256 a)
{
    const __m256i u = _mm256_castps_si256(a);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    return _mm256_srli_epi32(up, 16);
}
MQ_INLINE void v_store_bf16(uint8_t *p, v16 a)
{
    /* packus works within 128-bit halves: quarters come as lo0 hi0 lo1 hi1 */
    const __m256i words = _mm256_packus_epi32(mq_round_bf16x8(a.lo), mq_round_bf16x8(a.hi));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(words, 0xd8));
}

#elif defined(MQ_USE_NEON)

/* As on x86. */
MQ_INLINE void mq_transpose_bytes(const uint8_t in[256], uint8_t out[256])
{
    uint8x16_t a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = vld1q_u8(in + 16 * i);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            b[2 * i] = vzip1q_u8(a[i], a[i + 8]);
            b[2 * i + 1] = vzip2q_u8(a[i], a[i + 8]);
        }
        for (int i = 0; i < 16; i++)
            a[i] = b[i];
    }
    for (int i = 0; i < 16; i++)
        vst1q_u8(out + 16 * i, a[i]);
}
MQ_INLINE v16 v_join(v16 lo, v16 hi)
{
    return MQ_V4(lo.q[0], lo.q[1], hi.q[2], hi.q[3]);
}

/* 4 x 4 at a time, interleaving rows i and i + 2 twice. */
MQ_INLINE void v_transpose(const float *p, size_t stride, v16 out[16])
{
    for (int c = 0; c < 16; c += 4) {
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            const float *q = p + (size_t)(4 * r) * stride + c;
            const float32x4_t row0 = vld1q_f32(q), row1 = vld1q_f32(q + stride);
            const float32x4_t row2 = vld1q_f32(q + 2 * stride), row3 = vld1q_f32(q + 3 * stride);
            const float32x4_t even_lo = vzip1q_f32(row0, row2), odd_lo = vzip1q_f32(row1, row3);
            const float32x4_t even_hi = vzip2q_f32(row0, row2), odd_hi = vzip2q_f32(row1, row3);
            out[c].q[r] = vzip1q_f32(even_lo, odd_lo);
            out[c + 1].q[r] = vzip2q_f32(even_lo, odd_lo);
            out[c + 2].q[r] = vzip1q_f32(even_hi, odd_hi);
            out[c + 3].q[r] = vzip2q_f32(even_hi, odd_hi);
        }
    }
}

#define MQ_SWAP_PAIRS(q) vextq_f32(q, q, 2)
#define MQ_HALVES(name, op)                                                                  \
    MQ_INLINE v16 name(v16 a)                                                                \
    {                                                                                        \
        a = op(a, MQ_V4(a.q[1], a.q[0], a.q[3], a.q[2]));                                    \
        a = op(a, MQ_V4(MQ_SWAP_PAIRS(a.q[0]), MQ_SWAP_PAIRS(a.q[1]), MQ_SWAP_PAIRS(a.q[2]), \
                        MQ_SWAP_PAIRS(a.q[3])));                                             \
        return op(a, MQ_V4(vrev64q_f32(a.q[0]), vrev64q_f32(a.q[1]), vrev64q_f32(a.q[2]),    \
                           vrev64q_f32(a.q[3])));                                            \
    }
MQ_HALVES(v_sum_halves, v_add)
MQ_HALVES(v_max_halves, v_max)
#undef MQ_HALVES
#undef MQ_SWAP_PAIRS

MQ_INLINE v16 v_set1_f16(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    const float32x4_t v = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h)));
    return MQ_V4(v, v, v, v);
}
MQ_INLINE v16 v_from_u8(const uint8_t *p)
{
    const uint8x16_t bytes = vld1q_u8(p);
    const uint16x8_t lo = vmovl_u8(vget_low_u8(bytes)), hi = vmovl_high_u8(bytes);
    return MQ_V4(vcvtq_f32_u32(vmovl_u16(vget_low_u16(lo))), vcvtq_f32_u32(vmovl_high_u16(lo)),
                 vcvtq_f32_u32(vmovl_u16(vget_low_u16(hi))), vcvtq_f32_u32(vmovl_high_u16(hi)));
}
MQ_INLINE uint8x16_t mq_round_f16x8(float32x4_t lo, float32x4_t hi)
{
    return vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(lo), hi));
}
MQ_INLINE void v_store_f16(uint8_t *p, v16 a)
{
    vst1q_u8(p, mq_round_f16x8(a.q[0], a.q[1]));
    vst1q_u8(p + 16, mq_round_f16x8(a.q[2], a.q[3]));
}
/* The upper half of each lane's word is the result. */
MQ_INLINE uint16x8_t mq_round_bf16x4(float32x4_t a)
{
    const uint32x4_t u = vreinterpretq_u32_f32(a);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    return vreinterpretq_u16_u32(vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd));
}
MQ_INLINE void v_store_bf16(uint8_t *p, v16 a)
{
    const uint16x8_t lo = vuzp2q_u16(mq_round_bf16x4(a.q[0]), mq_round_bf16x4(a.q[1]));
    const uint16x8_t hi = vuzp2q_u16(mq_round_bf16x4(a.q[2]), mq_round_bf16x4(a.q[3]));
    vst1q_u8(p, vreinterpretq_u8_u16(lo));
    vst1q_u8(p + 16, vreinterpretq_u8_u16(hi));
}

#else /* the reference */

MQ_INLINE void mq_transpose_bytes(const uint8_t in[256], uint8_t out[256])
{
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 16; c++)
            out[16 * c + r] = in[16 * r + c];
}
MQ_INLINE v16 v_join(v16 lo, v16 hi)
{
    memcpy(hi.f, lo.f, sizeof lo.f / 2);
    return hi;
}
MQ_INLINE void v_transpose(const float *p, size_t stride, v16 out[16])
{
    for (int c = 0; c < 16; c++)
        for (int r = 0; r < 16; r++)
            out[c].f[r] = p[(size_t)r * stride + (size_t)c];
}
#define MQ_HALVES(name, op)                               \
    MQ_INLINE v16 name(v16 a)                             \
    {                                                     \
        for (int distance = 4; distance; distance /= 2) { \
            v16 other;                                    \
            for (int i = 0; i < 16; i++)                  \
                other.f[i] = a.f[i ^ distance];           \
            a = op(a, other);                             \
        }                                                 \
        return a;                                         \
    }
MQ_HALVES(v_sum_halves, v_add)
MQ_HALVES(v_max_halves, v_max)
#undef MQ_HALVES
MQ_INLINE v16 v_set1_f16(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return v_set1(mq_f16_to_f32(h));
}
MQ_INLINE v16 v_from_u8(const uint8_t *p)
{
    v16 r;
    for (int i = 0; i < 16; i++)
        r.f[i] = p[i];
    return r;
}
MQ_INLINE void v_store_f16(uint8_t *p, v16 a)
{
    for (int i = 0; i < 16; i++) {
        const uint16_t h = mq_f32_to_f16(a.f[i]);
        memcpy(p + 2 * i, &h, 2);
    }
}
MQ_INLINE void v_store_bf16(uint8_t *p, v16 a)
{
    for (int i = 0; i < 16; i++) {
        const uint16_t h = mq_f32_to_bf16(a.f[i]);
        memcpy(p + 2 * i, &h, 2);
    }
}
#endif

/* A step of a search that is long enough to be a function of its own; one huge function takes the
 * compiler very long, above all in the reference variant. */
#define MQ_OUTLINE static __attribute__((noinline))

/* Unrolls the loop that follows, in the variants that are to be fast: the reference, where each
 * operation is a loop already, would take a minute to compile. */
#define MQ_PRAGMA(text) _Pragma(#text)
#if defined(MQ_USE_AVX512) || defined(MQ_USE_AVX2) || defined(MQ_USE_NEON)
#define MQ_UNROLL(n) MQ_PRAGMA(GCC unroll n)
#else
#define MQ_UNROLL(n) MQ_PRAGMA(GCC unroll 1)
#endif

/* One integer for four bytes: what follows shifts and masks in each byte alone. */
MQ_INLINE uint32_t mq_load4(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

MQ_INLINE void mq_store4(uint8_t *p, uint32_t u)
{
    memcpy(p, &u, sizeof u);
}

/* 0, 1, ... 15 */
MQ_INLINE v16 v_iota(void)
{
    static const float lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return v_load(lanes);
}

/* 1/a, and 0 for 0: a scale of 0 makes all codes 0. */
MQ_INLINE v16 v_inverse_or_zero(v16 a)
{
    return v_select(v_gt(v_abs(a), v_zero()), v_div(v_set1(1.0f), a), v_zero());
}

#endif
