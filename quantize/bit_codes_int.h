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
        uint64_t u = 0;
        memcpy(&u, packed, (size_t)bits);
        u = (u & four) | u >> 4 * bits << 32;
        u = (u & pair) | (u >> 2 * bits & pair) << 16;
        u = (u & one) | (u >> bits & one) << 8;
        memcpy(codes + i, &u, sizeof u);
    }
}

/* Four bits apart from the others: a byte is a pair, which compilers make vectors of. */
MQ_INLINE void mq_unpack_nibbles(const uint8_t *packed, size_t n, uint8_t *codes)
{
    for (size_t i = 0; i < n / 2; i++) {
        codes[2 * i] = packed[i] & 15;
        codes[2 * i + 1] = packed[i] >> 4;
    }
}

#endif
