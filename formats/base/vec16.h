/*
 * vec16.h: a virtual vector of 16 floats, the same bits on every processor.
 *
 * Kernels are written once on this type and compiled once per instruction set (see
 * cmake/isa.cmake). Every operation is IEEE exact per lane: fused multiply-add only where v_fma
 * is written, min/max with x86's rule (the second operand where either is NaN or both are zero),
 * no reordered sums: v_sum folds halves in a fixed order. So variants differ in speed only.
 */
#ifndef MQ_VEC16_H
#define MQ_VEC16_H

#include "f16.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Exported symbols of a file that is compiled per instruction set: MQ_ISA_NAME(mq_q8_0_encode)
 * becomes mq_q8_0_encode_avx2 and so on. */
#ifndef MQ_ISA_SUFFIX
#define MQ_ISA_SUFFIX _generic
#endif
#define MQ_ISA_PASTE2(a, b) a##b
#define MQ_ISA_PASTE(a, b) MQ_ISA_PASTE2(a, b)
#define MQ_ISA_NAME(name) MQ_ISA_PASTE(name, MQ_ISA_SUFFIX)

/* One operation is one or two instructions, so is always inlined. In the reference it is a loop,
 * and forcing it would take the compiler minutes; instrumented by a sanitizer, inlining it at all
 * would. */
#if defined(MQ_USE_AVX512) || defined(MQ_USE_AVX2) || defined(MQ_USE_NEON)
#define MQ_INLINE static inline __attribute__((always_inline, unused))
#elif defined(__SANITIZE_ADDRESS__)
#define MQ_INLINE static __attribute__((noinline, unused))
#else
#define MQ_INLINE static inline __attribute__((unused))
#endif

/* One operation a line reads as the table that it is. */
/* clang-format off */

/* Adding 1.5 * 2^23 to |x| < 2^22 rounds x to an integer (ties to even) in the low bits. */
#define MQ_MAGIC 12582912.0f

#if defined(MQ_USE_AVX512) || defined(MQ_USE_AVX2)
#include <immintrin.h>

/* The last steps of v_sum and v_max_lane: lanes i+2, then i+1. */
MQ_INLINE float mq_sum4(__m128 a)
{
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}
MQ_INLINE float mq_max4(__m128 a)
{
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
#endif

#if defined(MQ_USE_AVX512)
typedef __m512 v16;
typedef __mmask16 m16; /* one bit a lane */

MQ_INLINE v16 v_set1(float x) { return _mm512_set1_ps(x); }
MQ_INLINE v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
MQ_INLINE void v_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
MQ_INLINE v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
MQ_INLINE v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
MQ_INLINE v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
MQ_INLINE v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
MQ_INLINE v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
MQ_INLINE v16 v_fnma(v16 a, v16 b, v16 c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a*b */
MQ_INLINE v16 v_fms(v16 a, v16 b, v16 c) { return _mm512_fmsub_ps(a, b, c); }   /* a*b - c */
MQ_INLINE v16 v_neg(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
MQ_INLINE v16 v_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
MQ_INLINE v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
MQ_INLINE v16 v_abs(v16 a) { return _mm512_abs_ps(a); }
MQ_INLINE m16 v_gt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
MQ_INLINE m16 v_lt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
MQ_INLINE m16 m_and(m16 a, m16 b) { return a & b; }
MQ_INLINE m16 m_or(m16 a, m16 b) { return a | b; }
MQ_INLINE unsigned m_bits(m16 a) { return a; }
MQ_INLINE v16 v_select(m16 m, v16 yes, v16 no) { return _mm512_mask_mov_ps(no, m, yes); }
MQ_INLINE v16 v_round_f16(v16 a)
{
    return _mm512_cvtph_ps(_mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
MQ_INLINE v16 v_load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
MQ_INLINE v16 v_load_bf16(const uint8_t *p)
{
    const __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}
MQ_INLINE v16 v_from_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
/* The low 8 bits of each lane's pattern: of MQ_MAGIC + n these are the code n. */
MQ_INLINE void v_store_low8(uint8_t *p, v16 a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_castps_si512(a)));
}
/* Lane bits as integers, for building powers of two in exp. */
MQ_INLINE v16 v_shift_add_exponent(v16 mantissa, v16 magic_n)
{
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(magic_n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(mantissa), n));
}
MQ_INLINE v16 v_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
MQ_INLINE float v_sum(v16 a)
{
    const __m256 t = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return mq_sum4(_mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}
MQ_INLINE float v_max_lane(v16 a)
{
    const __m256 t = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return mq_max4(_mm_max_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}

#elif defined(MQ_USE_AVX2)
typedef struct { __m256 lo, hi; } v16;
typedef struct { __m256 lo, hi; } m16; /* all bits of a lane set or clear */

#define MQ_V2(expr_lo, expr_hi) ((v16){expr_lo, expr_hi})
MQ_INLINE v16 v_set1(float x) { const __m256 v = _mm256_set1_ps(x); return MQ_V2(v, v); }
MQ_INLINE v16 v_load(const float *p)
{
    return MQ_V2(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
MQ_INLINE void v_store(float *p, v16 a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
#define MQ_BINARY(name, op)                                                                        \
    MQ_INLINE v16 name(v16 a, v16 b) { return MQ_V2(op(a.lo, b.lo), op(a.hi, b.hi)); }
MQ_BINARY(v_add, _mm256_add_ps)
MQ_BINARY(v_sub, _mm256_sub_ps)
MQ_BINARY(v_mul, _mm256_mul_ps)
MQ_BINARY(v_div, _mm256_div_ps)
MQ_BINARY(v_min, _mm256_min_ps)
MQ_BINARY(v_max, _mm256_max_ps)
#undef MQ_BINARY
MQ_INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
    return MQ_V2(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
MQ_INLINE v16 v_fnma(v16 a, v16 b, v16 c)
{
    return MQ_V2(_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi));
}
MQ_INLINE v16 v_fms(v16 a, v16 b, v16 c)
{
    return MQ_V2(_mm256_fmsub_ps(a.lo, b.lo, c.lo), _mm256_fmsub_ps(a.hi, b.hi, c.hi));
}
MQ_INLINE v16 v_neg(v16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return MQ_V2(_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign));
}
MQ_INLINE v16 v_abs(v16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return MQ_V2(_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi));
}
MQ_INLINE m16 v_gt(v16 a, v16 b)
{
    return (m16){_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)};
}
MQ_INLINE m16 v_lt(v16 a, v16 b)
{
    return (m16){_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
MQ_INLINE m16 m_and(m16 a, m16 b)
{
    return (m16){_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi)};
}
MQ_INLINE m16 m_or(m16 a, m16 b)
{
    return (m16){_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi)};
}
MQ_INLINE unsigned m_bits(m16 a)
{
    return (unsigned)_mm256_movemask_ps(a.lo) | (unsigned)_mm256_movemask_ps(a.hi) << 8;
}
MQ_INLINE v16 v_select(m16 m, v16 yes, v16 no)
{
    return MQ_V2(_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi));
}
MQ_INLINE v16 v_round_f16(v16 a)
{
    return MQ_V2(_mm256_cvtph_ps(_mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT)),
                 _mm256_cvtph_ps(_mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT)));
}
MQ_INLINE v16 v_load_f16(const uint8_t *p)
{
    return MQ_V2(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 16))));
}
MQ_INLINE __m256 mq_bf16x8(const uint8_t *p)
{
    const __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}
MQ_INLINE v16 v_load_bf16(const uint8_t *p) { return MQ_V2(mq_bf16x8(p), mq_bf16x8(p + 16)); }
MQ_INLINE __m256 mq_i8x8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
MQ_INLINE v16 v_from_i8(const int8_t *p) { return MQ_V2(mq_i8x8(p), mq_i8x8(p + 8)); }
MQ_INLINE void v_store_low8(uint8_t *p, v16 a)
{
    const __m256i mask = _mm256_set1_epi32(0xff);
    const __m256i lo = _mm256_and_si256(_mm256_castps_si256(a.lo), mask);
    const __m256i hi = _mm256_and_si256(_mm256_castps_si256(a.hi), mask);
    /* packus works within 128-bit halves: words come as lo0-3 hi0-3 lo4-7 hi4-7 */
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi16(_mm256_castsi256_si128(words),
                                                    _mm256_extracti128_si256(words, 1)));
}
MQ_INLINE __m256 mq_shift_add8(__m256 mantissa, __m256 magic_n)
{
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(magic_n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(mantissa), n));
}
MQ_INLINE v16 v_shift_add_exponent(v16 mantissa, v16 magic_n)
{
    return MQ_V2(mq_shift_add8(mantissa.lo, magic_n.lo), mq_shift_add8(mantissa.hi, magic_n.hi));
}
MQ_INLINE v16 v_sqrt(v16 a) { return MQ_V2(_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)); }
MQ_INLINE float v_sum(v16 a)
{
    const __m256 t = _mm256_add_ps(a.lo, a.hi);
    return mq_sum4(_mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}
MQ_INLINE float v_max_lane(v16 a)
{
    const __m256 t = _mm256_max_ps(a.lo, a.hi);
    return mq_max4(_mm_max_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}

#elif defined(MQ_USE_NEON)
#include <arm_neon.h>

typedef struct { float32x4_t q[4]; } v16;
typedef struct { uint32x4_t q[4]; } m16; /* all bits of a lane set or clear */

#define MQ_V4(q0, q1, q2, q3) ((v16){{q0, q1, q2, q3}})
#define MQ_UNARY(name, op)                                                                         \
    MQ_INLINE v16 name(v16 a) { return MQ_V4(op(a.q[0]), op(a.q[1]), op(a.q[2]), op(a.q[3])); }
#define MQ_BINARY(type, name, from, op)                                                            \
    MQ_INLINE type name(from a, from b)                                                            \
    {                                                                                              \
        return (type){{op(a.q[0], b.q[0]), op(a.q[1], b.q[1]), op(a.q[2], b.q[2]),                 \
                       op(a.q[3], b.q[3])}};                                                       \
    }
#define MQ_TERNARY(name, from, op)                                                                 \
    MQ_INLINE v16 name(from a, v16 b, v16 c)                                                       \
    {                                                                                              \
        return MQ_V4(op(a.q[0], b.q[0], c.q[0]), op(a.q[1], b.q[1], c.q[1]),                       \
                     op(a.q[2], b.q[2], c.q[2]), op(a.q[3], b.q[3], c.q[3]));                      \
    }
/* NEON's own fmin and fmax have another rule for NaN and zeros. */
#define MQ_MIN_Q(a, b) vbslq_f32(vcltq_f32(a, b), a, b)
#define MQ_MAX_Q(a, b) vbslq_f32(vcgtq_f32(a, b), a, b)
#define MQ_FMA_Q(a, b, c) vfmaq_f32(c, a, b)
#define MQ_FNMA_Q(a, b, c) vfmsq_f32(c, a, b)
#define MQ_FMS_Q(a, b, c) vfmaq_f32(vnegq_f32(c), a, b) /* -(c - a*b) has another sign of zero */
#define MQ_ROUND_F16_Q(a) vcvt_f32_f16(vcvt_f16_f32(a))
MQ_BINARY(v16, v_add, v16, vaddq_f32)
MQ_BINARY(v16, v_sub, v16, vsubq_f32)
MQ_BINARY(v16, v_mul, v16, vmulq_f32)
MQ_BINARY(v16, v_div, v16, vdivq_f32)
MQ_BINARY(v16, v_min, v16, MQ_MIN_Q)
MQ_BINARY(v16, v_max, v16, MQ_MAX_Q)
MQ_BINARY(m16, v_gt, v16, vcgtq_f32)
MQ_BINARY(m16, v_lt, v16, vcltq_f32)
MQ_BINARY(m16, m_and, m16, vandq_u32)
MQ_BINARY(m16, m_or, m16, vorrq_u32)
MQ_TERNARY(v_fma, v16, MQ_FMA_Q)
MQ_TERNARY(v_fnma, v16, MQ_FNMA_Q)
MQ_TERNARY(v_fms, v16, MQ_FMS_Q)
MQ_TERNARY(v_select, m16, vbslq_f32)
MQ_UNARY(v_neg, vnegq_f32)
MQ_UNARY(v_abs, vabsq_f32)
MQ_UNARY(v_sqrt, vsqrtq_f32)
MQ_UNARY(v_round_f16, MQ_ROUND_F16_Q)
#undef MQ_UNARY
#undef MQ_BINARY
#undef MQ_TERNARY
MQ_INLINE v16 v_set1(float x)
{
    const float32x4_t v = vdupq_n_f32(x);
    return MQ_V4(v, v, v, v);
}
MQ_INLINE v16 v_load(const float *p)
{
    return MQ_V4(vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12));
}
MQ_INLINE void v_store(float *p, v16 a)
{
    vst1q_f32(p, a.q[0]);
    vst1q_f32(p + 4, a.q[1]);
    vst1q_f32(p + 8, a.q[2]);
    vst1q_f32(p + 12, a.q[3]);
}
/* The low bytes of all lanes. */
MQ_INLINE uint8x16_t mq_low8(uint32x4_t a, uint32x4_t b, uint32x4_t c, uint32x4_t d)
{
    const uint16x8_t ab = vuzp1q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b));
    const uint16x8_t cd = vuzp1q_u16(vreinterpretq_u16_u32(c), vreinterpretq_u16_u32(d));
    return vuzp1q_u8(vreinterpretq_u8_u16(ab), vreinterpretq_u8_u16(cd));
}
MQ_INLINE unsigned m_bits(m16 a)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vandq_u8(mq_low8(a.q[0], a.q[1], a.q[2], a.q[3]), vld1q_u8(bit));
    return vaddv_u8(vget_low_u8(bits)) | (unsigned)vaddv_u8(vget_high_u8(bits)) << 8;
}
MQ_INLINE v16 v_load_f16(const uint8_t *p)
{
    const float16x8_t lo = vreinterpretq_f16_u8(vld1q_u8(p));
    const float16x8_t hi = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    return MQ_V4(vcvt_f32_f16(vget_low_f16(lo)), vcvt_high_f32_f16(lo),
                 vcvt_f32_f16(vget_low_f16(hi)), vcvt_high_f32_f16(hi));
}
MQ_INLINE v16 v_load_bf16(const uint8_t *p)
{
    const uint16x8_t lo = vreinterpretq_u16_u8(vld1q_u8(p)), zero = vdupq_n_u16(0);
    const uint16x8_t hi = vreinterpretq_u16_u8(vld1q_u8(p + 16));
    return MQ_V4(vreinterpretq_f32_u16(vzip1q_u16(zero, lo)),
                 vreinterpretq_f32_u16(vzip2q_u16(zero, lo)),
                 vreinterpretq_f32_u16(vzip1q_u16(zero, hi)),
                 vreinterpretq_f32_u16(vzip2q_u16(zero, hi)));
}
MQ_INLINE v16 v_from_i8(const int8_t *p)
{
    const int8x16_t bytes = vld1q_s8(p);
    const int16x8_t lo = vmovl_s8(vget_low_s8(bytes)), hi = vmovl_high_s8(bytes);
    return MQ_V4(vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_high_s16(lo)),
                 vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), vcvtq_f32_s32(vmovl_high_s16(hi)));
}
MQ_INLINE void v_store_low8(uint8_t *p, v16 a)
{
    vst1q_u8(p, mq_low8(vreinterpretq_u32_f32(a.q[0]), vreinterpretq_u32_f32(a.q[1]),
                        vreinterpretq_u32_f32(a.q[2]), vreinterpretq_u32_f32(a.q[3])));
}
MQ_INLINE float32x4_t mq_shift_add4(float32x4_t mantissa, float32x4_t magic_n)
{
    const uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(magic_n), 23);
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(mantissa), n));
}
MQ_INLINE v16 v_shift_add_exponent(v16 mantissa, v16 magic_n)
{
    return MQ_V4(mq_shift_add4(mantissa.q[0], magic_n.q[0]),
                 mq_shift_add4(mantissa.q[1], magic_n.q[1]),
                 mq_shift_add4(mantissa.q[2], magic_n.q[2]),
                 mq_shift_add4(mantissa.q[3], magic_n.q[3]));
}
MQ_INLINE float v_sum(v16 a)
{
    const float32x4_t t = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
    return vpadds_f32(vadd_f32(vget_low_f32(t), vget_high_f32(t)));
}
MQ_INLINE float v_max_lane(v16 a)
{
    const float32x4_t even = MQ_MAX_Q(a.q[0], a.q[2]), odd = MQ_MAX_Q(a.q[1], a.q[3]);
    const float32x4_t t = MQ_MAX_Q(even, odd);
    const float32x4_t u = MQ_MAX_Q(t, vextq_f32(t, t, 2));
    const float x = vgetq_lane_f32(u, 0), y = vgetq_lane_f32(u, 1);
    return x > y ? x : y;
}

#else /* the reference: one lane after the other */

typedef struct { float f[16]; } v16;
typedef struct { uint16_t bits; } m16; /* one bit a lane */

#define MQ_LANES for (int i = 0; i < 16; i++)
MQ_INLINE v16 v_set1(float x) { v16 r; MQ_LANES r.f[i] = x; return r; }
MQ_INLINE v16 v_load(const float *p) { v16 r; memcpy(&r, p, sizeof r); return r; }
MQ_INLINE void v_store(float *p, v16 a) { memcpy(p, &a, sizeof a); }
#define MQ_BINARY(name, expression)                                                                \
    MQ_INLINE v16 name(v16 x, v16 y)                                                               \
    {                                                                                              \
        v16 r;                                                                                     \
        MQ_LANES { const float a = x.f[i], b = y.f[i]; r.f[i] = (expression); }                    \
        return r;                                                                                  \
    }
MQ_BINARY(v_add, a + b)
MQ_BINARY(v_sub, a - b)
MQ_BINARY(v_mul, a * b)
MQ_BINARY(v_div, a / b)
MQ_BINARY(v_min, a < b ? a : b)
MQ_BINARY(v_max, a > b ? a : b)
#undef MQ_BINARY
MQ_INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
    v16 r;
    MQ_LANES r.f[i] = fmaf(a.f[i], b.f[i], c.f[i]);
    return r;
}
MQ_INLINE v16 v_neg(v16 a) { v16 r; MQ_LANES r.f[i] = -a.f[i]; return r; }
MQ_INLINE v16 v_fnma(v16 a, v16 b, v16 c) { return v_fma(v_neg(a), b, c); }
MQ_INLINE v16 v_fms(v16 a, v16 b, v16 c) { return v_fma(a, b, v_neg(c)); }
MQ_INLINE v16 v_abs(v16 a) { v16 r; MQ_LANES r.f[i] = fabsf(a.f[i]); return r; }
MQ_INLINE m16 v_gt(v16 a, v16 b)
{
    m16 r = {0};
    MQ_LANES r.bits |= (uint16_t)((a.f[i] > b.f[i]) << i);
    return r;
}
MQ_INLINE m16 v_lt(v16 a, v16 b) { return v_gt(b, a); }
MQ_INLINE m16 m_and(m16 a, m16 b) { return (m16){(uint16_t)(a.bits & b.bits)}; }
MQ_INLINE m16 m_or(m16 a, m16 b) { return (m16){(uint16_t)(a.bits | b.bits)}; }
MQ_INLINE unsigned m_bits(m16 a) { return a.bits; }
MQ_INLINE v16 v_select(m16 m, v16 yes, v16 no)
{
    v16 r;
    MQ_LANES r.f[i] = m.bits >> i & 1 ? yes.f[i] : no.f[i];
    return r;
}
MQ_INLINE v16 v_round_f16(v16 a)
{
    v16 r;
    MQ_LANES r.f[i] = mq_f16_to_f32(mq_f32_to_f16(a.f[i]));
    return r;
}
MQ_INLINE v16 v_load_f16(const uint8_t *p)
{
    v16 r;
    MQ_LANES { uint16_t h; memcpy(&h, p + 2 * i, 2); r.f[i] = mq_f16_to_f32(h); }
    return r;
}
MQ_INLINE v16 v_load_bf16(const uint8_t *p)
{
    v16 r;
    MQ_LANES { uint16_t h; memcpy(&h, p + 2 * i, 2); r.f[i] = mq_bf16_to_f32(h); }
    return r;
}
MQ_INLINE v16 v_from_i8(const int8_t *p) { v16 r; MQ_LANES r.f[i] = p[i]; return r; }
MQ_INLINE void v_store_low8(uint8_t *p, v16 a)
{
    MQ_LANES p[i] = (uint8_t)mq_float_bits(a.f[i]);
}
MQ_INLINE v16 v_shift_add_exponent(v16 mantissa, v16 magic_n)
{
    v16 r;
    MQ_LANES r.f[i] = mq_bits_float(mq_float_bits(mantissa.f[i]) + (mq_float_bits(magic_n.f[i]) << 23));
    return r;
}
MQ_INLINE v16 v_sqrt(v16 a) { v16 r; MQ_LANES r.f[i] = sqrtf(a.f[i]); return r; }
/* Of all lanes, folded in a fixed shape: lanes i and i+8, then i and i+4, i+2, i+1. */
MQ_INLINE float v_sum(v16 a)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            a.f[i] += a.f[i + half];
    return a.f[0];
}
MQ_INLINE float v_max_lane(v16 a)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            a.f[i] = a.f[i] > a.f[i + half] ? a.f[i] : a.f[i + half];
    return a.f[0];
}
#endif

/* clang-format on */
MQ_INLINE v16 v_zero(void)
{
    return v_set1(0.0f);
}
/* Rounds |x| < 2^22 to an integer, ties to even. */
MQ_INLINE v16 v_round(v16 x)
{
    return v_sub(v_add(x, v_set1(MQ_MAGIC)), v_set1(MQ_MAGIC));
}
MQ_INLINE v16 v_clamp(v16 x, float lo, float hi)
{
    return v_min(v_max(x, v_set1(lo)), v_set1(hi));
}

/*
 * exp(x): x = n ln2 + r with |r| <= ln2 / 2; a polynomial of degree 6 for exp(r) (Cephes' expf
 * coefficients); then n is added to the exponent. Below -87.33 gives 0 and above 88.37 the largest
 * power representable; error below 2 ulp in between.
 */
MQ_INLINE v16 v_exp(v16 x)
{
    const m16 tiny = v_lt(x, v_set1(-87.33f));
    x = v_min(v_max(x, v_set1(-87.33f)), v_set1(88.37f));
    const v16 magic_n = v_fma(x, v_set1(1.44269504088896341f), v_set1(MQ_MAGIC));
    const v16 n = v_sub(magic_n, v_set1(MQ_MAGIC));
    v16 r = v_fma(n, v_set1(-0.693359375f), x);
    r = v_fma(n, v_set1(2.12194440e-4f), r);
    v16 p = v_set1(1.9875691500e-4f);
    p = v_fma(p, r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    p = v_add(v_fma(v_mul(r, r), p, r), v_set1(1.0f));
    return v_select(tiny, v_zero(), v_shift_add_exponent(p, magic_n));
}

/* x / (1 + exp(-x)) */
MQ_INLINE v16 v_silu(v16 x)
{
    return v_div(x, v_add(v_set1(1.0f), v_exp(v_neg(x))));
}

#endif
