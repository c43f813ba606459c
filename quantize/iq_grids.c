/*
 * iq_grids.c: the packed codebooks of iq_grids_list.h, unpacked by the compiler.
 *
 *     IQ2    numbers 0, 1, 2 stand for the magnitudes 8, 25, 43
 *     IQ3_XXS        0 .. 7            4, 12, 20, ... 52, 62
 *     IQ3_S          0 .. 7            1, 3, ... 15
 *     IQ1            0, 1, 2           0, 8, 16 (see iq_grids.h)
 */
#include "iq_grids.h"

#include "iq_grids_list.h"

/* Sixteen entries in one line, each through `f`. */
#define EACH(f, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q)                               \
    f(0x##a) f(0x##b) f(0x##c) f(0x##d) f(0x##e) f(0x##g) f(0x##h) f(0x##i) f(0x##j) f(0x##k) \
        f(0x##l) f(0x##m) f(0x##n) f(0x##o) f(0x##p) f(0x##q)

/* The number of weight i, of 8 with 2 bits or of 4 with 4. */
#define OF_8(e, i) (((e) >> (2 * (i))) & 3)
#define OF_4(e, i) (((e) >> (4 * (i))) & 15)

#define IQ1(t) ((t)*8)
#define IQ2(t) (8 + (t)*17 + ((t) >> 1))
#define IQ3_XXS(t) (4 + (t)*8 + ((t) == 7) * 2)
#define IQ3_S(t) (1 + (t)*2)

#define AT(value, number, e, i) (UINT64_C(1) * value(number(e, i)) << 8 * (i))
#define FOUR(value, number, e, i)                                                          \
    (AT(value, number, e, i) + AT(value, number, e, i + 1) + AT(value, number, e, i + 2) + \
     AT(value, number, e, i + 3))

#define IQ1_ENTRY(e) FOUR(IQ1, OF_8, e, 0) + FOUR(IQ1, OF_8, e, 4),
#define IQ2_ENTRY(e) FOUR(IQ2, OF_8, e, 0) + FOUR(IQ2, OF_8, e, 4),
#define IQ3_XXS_ENTRY(e) FOUR(IQ3_XXS, OF_4, e, 0),
#define IQ3_S_ENTRY(e) FOUR(IQ3_S, OF_4, e, 0),
#define IQ1_ROW(...) EACH(IQ1_ENTRY, __VA_ARGS__)
#define IQ2_ROW(...) EACH(IQ2_ENTRY, __VA_ARGS__)
#define IQ3_XXS_ROW(...) EACH(IQ3_XXS_ENTRY, __VA_ARGS__)
#define IQ3_S_ROW(...) EACH(IQ3_S_ENTRY, __VA_ARGS__)

const uint64_t mq_iq1_s_grid[2048] = {MQ_IQ1_S_LIST(IQ1_ROW)};
const uint64_t mq_iq2_xxs_grid[256] = {MQ_IQ2_XXS_LIST(IQ2_ROW)};
const uint64_t mq_iq2_xs_grid[512] = {MQ_IQ2_XS_LIST(IQ2_ROW)};
const uint64_t mq_iq2_s_grid[1024] = {MQ_IQ2_S_LIST(IQ2_ROW)};
const uint32_t mq_iq3_xxs_grid[256] = {MQ_IQ3_XXS_LIST(IQ3_XXS_ROW)};
const uint32_t mq_iq3_s_grid[512] = {MQ_IQ3_S_LIST(IQ3_S_ROW)};
