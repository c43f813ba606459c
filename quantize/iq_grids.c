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

/* clang-format off */

/* Sixteen entries in one line, each through f. */
#define EACH(f, i, a, b, c, d, e, g, h, j, k, l, m, n, o, p, q, r)                         \
    f(i, 0x##a) f(i, 0x##b) f(i, 0x##c) f(i, 0x##d) f(i, 0x##e) f(i, 0x##g) f(i, 0x##h)    \
        f(i, 0x##j) f(i, 0x##k) f(i, 0x##l) f(i, 0x##m) f(i, 0x##n) f(i, 0x##o) f(i, 0x##p) \
            f(i, 0x##q) f(i, 0x##r)

/* The number of weight i, of 8 with 2 bits or of 4 with 4. */
#define OF_8(e, i) (((e) >> (2 * (i))) & 3)
#define OF_4(e, i) (((e) >> (4 * (i))) & 15)

#define IQ1(t) ((t) * 8)
#define IQ2(t) (8 + (t) * 17 + ((t) >> 1))
#define IQ3_XXS(t) (4 + (t) * 8 + ((t) == 7) * 2)
#define IQ3_S(t) (1 + (t) * 2)

/* All weights of an entry, a byte each. */
#define AT(value, number, e, i) (UINT64_C(1) * value(number(e, i)) << 8 * (i))
#define FOUR(value, number, e, i)                                                          \
    (AT(value, number, e, i) + AT(value, number, e, i + 1) + AT(value, number, e, i + 2) + \
     AT(value, number, e, i + 3))
#define IQ1_BYTES(i, e) FOUR(IQ1, OF_8, e, 0) + FOUR(IQ1, OF_8, e, 4),
#define IQ2_BYTES(i, e) FOUR(IQ2, OF_8, e, 0) + FOUR(IQ2, OF_8, e, 4),
#define IQ3_XXS_BYTES(i, e) FOUR(IQ3_XXS, OF_4, e, 0),
#define IQ3_S_BYTES(i, e) FOUR(IQ3_S, OF_4, e, 0),
#define IQ1_ROW(...) EACH(IQ1_BYTES, __VA_ARGS__)
#define IQ2_ROW(...) EACH(IQ2_BYTES, __VA_ARGS__)
#define IQ3_XXS_ROW(...) EACH(IQ3_XXS_BYTES, __VA_ARGS__)
#define IQ3_S_ROW(...) EACH(IQ3_S_BYTES, __VA_ARGS__)

const uint64_t mq_iq1_s_grid[2048] = {MQ_IQ1_S_LIST(IQ1_ROW, 0)};
const uint64_t mq_iq2_xxs_grid[256] = {MQ_IQ2_XXS_LIST(IQ2_ROW, 0)};
const uint64_t mq_iq2_xs_grid[512] = {MQ_IQ2_XS_LIST(IQ2_ROW, 0)};
const uint64_t mq_iq2_s_grid[1024] = {MQ_IQ2_S_LIST(IQ2_ROW, 0)};
const uint32_t mq_iq3_xxs_grid[256] = {MQ_IQ3_XXS_LIST(IQ3_XXS_ROW, 0)};
const uint32_t mq_iq3_s_grid[512] = {MQ_IQ3_S_LIST(IQ3_S_ROW, 0)};

/* Weight i of an entry, as a float. */
#define IQ2_FLOAT(i, e) (float)IQ2(OF_8(e, i)),
#define IQ3_XXS_FLOAT(i, e) (float)IQ3_XXS(OF_4(e, i)),
#define IQ3_S_FLOAT(i, e) (float)IQ3_S(OF_4(e, i)),
#define IQ2_COLUMN(...) EACH(IQ2_FLOAT, __VA_ARGS__)
#define IQ3_XXS_COLUMN(...) EACH(IQ3_XXS_FLOAT, __VA_ARGS__)
#define IQ3_S_COLUMN(...) EACH(IQ3_S_FLOAT, __VA_ARGS__)
#define FOUR_OF(list, f) {list(f, 0)}, {list(f, 1)}, {list(f, 2)}, {list(f, 3)}
#define EIGHT_OF(list, f) FOUR_OF(list, f), {list(f, 4)}, {list(f, 5)}, {list(f, 6)}, {list(f, 7)}

/* clang-format on */

_Alignas(64) const float mq_iq2_xxs_columns[8][256] = {EIGHT_OF(MQ_IQ2_XXS_LIST, IQ2_COLUMN)};
_Alignas(64) const float mq_iq2_xs_columns[8][512] = {EIGHT_OF(MQ_IQ2_XS_LIST, IQ2_COLUMN)};
_Alignas(64) const float mq_iq2_s_columns[8][1024] = {EIGHT_OF(MQ_IQ2_S_LIST, IQ2_COLUMN)};
_Alignas(64) const float mq_iq3_xxs_columns[4][256] = {FOUR_OF(MQ_IQ3_XXS_LIST, IQ3_XXS_COLUMN)};
_Alignas(64) const float mq_iq3_s_columns[4][512] = {FOUR_OF(MQ_IQ3_S_LIST, IQ3_S_COLUMN)};
