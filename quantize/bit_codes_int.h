/*
 * bit_codes_int.h: unsigned codes of 2 to 8 bits in a dense stream, the first in the lowest bits.
 *
 * Eight codes fill as many bytes as they have bits. They are moved as one integer: neighbours are
 * joined in pairs, pairs in fours, fours in eights.
 */
#ifndef MQ_BIT_CODES_INT_H
#define MQ_BIT_CODES_INT_H

#include "lanes_int.h"

#define MQ_LOW_BYTES UINT64_C(0x00ff00ff00ff00ff)
#define MQ_LOW_PAIRS UINT64_C(0x0000ffff0000ffff)
#define MQ_LOW_FOURS UINT64_C(0x00000000ffffffff)

/* `bits` bytes as an integer, in loads of whole words: of a copy of three bytes a load of eight would have to wait for
 * their stores. */
MQ_INLINE uint64_t mq_load_bytes(const uint8_t *p, int bits)
{
    const size_t first = bits == 3 ? 2 : bits == 5 || bits == 6 ? 4 : (size_t)bits;
    const size_t rest = (size_t)bits - first;
    uint64_t low = 0, high = 0;
    memcpy(&low, p, first);
    memcpy(&high, p + first, rest);
    return low | high << (8 * first % 64);
}

/* n codes, a multiple of 8. `bits` is a constant where it matters. */
MQ_INLINE void mq_pack_codes(const uint8_t *codes, size_t n, int bits, uint8_t *packed)
{
    for (size_t i = 0; i < n; i += 8, packed += bits) {
        uint64_t u;
        memcpy(&u, codes + i, sizeof u);
        u = (u & MQ_LOW_BYTES) | (u >> 8 & MQ_LOW_BYTES) << bits;
        u = (u & MQ_LOW_PAIRS) | (u >> 16 & MQ_LOW_PAIRS) << 2 * bits;
        u = (u & MQ_LOW_FOURS) | u >> 32 << 4 * bits;
        memcpy(packed, &u, (size_t)bits);
    }
}

MQ_INLINE void mq_unpack_codes(const uint8_t *packed, size_t n, int bits, uint8_t *codes)
{
    const uint64_t four = (UINT64_C(1) << 4 * bits) - 1;
    const uint64_t pair = ((UINT64_C(1) << 2 * bits) - 1) * UINT64_C(0x100000001);
    const uint64_t one = ((UINT64_C(1) << bits) - 1) * UINT64_C(0x1000100010001);
    for (size_t i = 0; i < n; i += 8, packed += bits) {
        uint64_t u = mq_load_bytes(packed, bits);
        u = (u & four) | u >> 4 * bits << 32;
        u = (u & pair) | (u >> 2 * bits & pair) << 16;
        u = (u & one) | (u >> bits & one) << 8;
        memcpy(codes + i, &u, sizeof u);
    }
}

/* Four bits apart from the others: n codes, a multiple of 32, the low and the high nibble of each byte. */
MQ_INLINE void mq_unpack_nibbles(const uint8_t *packed, size_t n, uint8_t *codes)
{
#if defined(MQ_USE_AVX512) || defined(MQ_USE_AVX2)
    const __m128i mask = _mm_set1_epi8(15);
    for (size_t i = 0; i < n; i += 32, packed += 16) {
        const __m128i both = _mm_loadu_si128((const __m128i *)packed);
        const __m128i low = _mm_and_si128(both, mask);
        const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), mask);
        _mm_storeu_si128((__m128i *)(codes + i), _mm_unpacklo_epi8(low, high));
        _mm_storeu_si128((__m128i *)(codes + i + 16), _mm_unpackhi_epi8(low, high));
    }
#elif defined(MQ_USE_NEON)
    for (size_t i = 0; i < n; i += 32, packed += 16) {
        const uint8x16_t both = vld1q_u8(packed);
        const uint8x16_t low = vandq_u8(both, vdupq_n_u8(15)), high = vshrq_n_u8(both, 4);
        vst1q_u8(codes + i, vzip1q_u8(low, high));
        vst1q_u8(codes + i + 16, vzip2q_u8(low, high));
    }
#else
    for (size_t i = 0; i < n / 2; i++) {
        codes[2 * i] = packed[i] & 15;
        codes[2 * i + 1] = packed[i] >> 4;
    }
#endif
}

#endif
