/*
 * test_lanes.c: each operation of the virtual vector, every instruction set against the reference,
 * bit by bit: NaNs, infinities, zeros of both signs, denormals, ties.
 */
#include "lanes_ops.h"

#include "cpu.h"
#include "f16.h"
#include "test_support.h"

#include <math.h>

static const struct {
    bool exact;
    const char *name;
} rows[] = {
#define ROW(exact, name, expression) {exact, name},
    LANES_OPS(ROW)
#undef ROW
};
enum { OPS = sizeof rows / sizeof *rows };

static void check(const float *in)
{
    static void (*const variants[MQ_ISA_COUNT])(const float *, float *) =
        MQ_ISA_TABLE(mq_lanes_ops);
    static float expected[LANES_ROWS * 16], out[LANES_ROWS * 16];
    variants[MQ_ISA_GENERIC](in, expected);
    for (int isa = MQ_ISA_GENERIC + 1; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        variants[isa](in, out);
        if (memcmp(out, expected, sizeof out) == 0)
            continue;
        for (int i = 0; i < LANES_ROWS * 16; i++) {
            const int row = i / 16, lane = i % 16;
            const bool exact = row >= OPS || rows[row].exact;
            if (mq_float_bits(out[i]) != mq_float_bits(expected[i]) &&
                (exact || !isnan(out[i]) || !isnan(expected[i])))
                ck_abort_msg("%s, %s, lane %d: %08x of %08x, %08x, %08x; the reference has %08x",
                             mq_isa_name((enum mq_isa)isa),
                             row < OPS ? rows[row].name : "transpose", lane, mq_float_bits(out[i]),
                             mq_float_bits(in[lane]), mq_float_bits(in[16 + lane]),
                             mq_float_bits(in[32 + lane]), mq_float_bits(expected[i]));
        }
    }
}

START_TEST(random_bits)
{
    uint64_t seed = 1;
    float in[LANES_IN];
    for (int times = 0; times < 20000; times++) {
        for (int i = 0; i < LANES_IN; i++)
            in[i] = mq_bits_float((uint32_t)mq_test_random(&seed));
        check(in);
        for (int i = 0; i < LANES_IN; i++)
            in[i] = 4 * mq_test_gauss(&seed);
        check(in);
    }
}
END_TEST

/* All pairs and many triples of what is treated apart somewhere, and of its neighbours. */
START_TEST(special_values)
{
    static const uint32_t special[] = {
        0x00000000, 0x00000001,
        0x007fffff, 0x00800000, /* denormal, smallest normal */
        0x33000000, 0x33800000,
        0x38000000, 0x38800000, /* 2^-25, 2^-24, 2^-15, 2^-14: halves' ends */
        0x387fc000, 0x387fe000,
        0x3f800000, 0x3f801000, /* ties between halves: denormal, normal */
        0x3f803000, 0x3f808000,
        0x3f818000, 0x42aea8f6, /* of bfloat16; where exp stops */
        0x42b0bd71, 0x477fe000,
        0x477ff000, 0x4b400000, /* 65504, 65520, MQ_MAGIC */
        0x7f7fffff, 0x7f800000,
        0x7f800001, 0x7fa00000, /* infinity, NaNs that signal */
        0x7fc00000, 0x7fffffff,
    };
    enum { VALUES = 6 * sizeof special / sizeof *special };
    float values[VALUES];
    for (size_t i = 0; i < VALUES; i++)
        values[i] = mq_bits_float((special[i / 6] + (uint32_t)(i % 3) - 1) ^ (i / 3 % 2) << 31);
    uint64_t seed = 2;
    float in[LANES_IN];
    for (size_t i = 0; i < VALUES; i++)
        for (size_t j = 0; j < VALUES; j += 16) {
            for (size_t lane = 0; lane < LANES_IN; lane++)
                in[lane] = values[mq_test_random(&seed) % VALUES];
            for (size_t lane = 0; lane < 16; lane++) {
                in[lane] = values[i];
                in[16 + lane] = values[(j + lane) % VALUES];
            }
            check(in);
            in[(i + j) % 16] = values[(i + 7 * j) % VALUES]; /* sums and maxima */
            check(in);
        }
}
END_TEST

/* Every half, as v_load_f16 and v_set1_f16 read it. */
START_TEST(halves)
{
    float in[LANES_IN] = {0};
    for (uint32_t h = 0; h < 65536; h++) {
        const uint32_t pair = h | (h ^ 0x8001u) << 16;
        for (int lane = 0; lane < 16; lane++)
            in[lane] = mq_bits_float(pair);
        check(in);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, random_bits);
    tcase_add_test(tests, special_values);
    tcase_add_test(tests, halves);
}

int main(void)
{
    return mq_test_main("test_lanes", add_tests);
}
