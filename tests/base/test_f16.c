/* test_f16.c: half precision against the compiler's own _Float16, all bit patterns. */
#include "f16.h"
#include "test_support.h"

#include <math.h>

START_TEST(every_half_widens_exactly)
{
    for (uint32_t h = 0; h < 65536; h++) {
        _Float16 native;
        const uint16_t bits = (uint16_t)h;
        memcpy(&native, &bits, 2);
        const float mine = mq_f16_to_f32(bits), theirs = (float)native;
        if (isnan(theirs))
            ck_assert(isnan(mine));
        else
            ck_assert_uint_eq(mq_float_bits(mine), mq_float_bits(theirs));
    }
}
END_TEST

START_TEST(floats_round_as_the_compiler_rounds)
{
    uint64_t seed = 1;
    for (int i = 0; i < 4000000; i++) {
        const float x = mq_bits_float((uint32_t)mq_test_random(&seed));
        if (isnan(x))
            continue;
        const _Float16 native = (_Float16)x;
        uint16_t theirs;
        memcpy(&theirs, &native, 2);
        ck_assert_uint_eq(mq_f32_to_f16(x), theirs);
    }
    for (uint32_t h = 0; h < 0x7c00; h++) { /* ties between neighbours, and their neighbours */
        const double middle = ((double)mq_f16_to_f32((uint16_t)h) +
                               (h + 1 == 0x7c00 ? 65536.0 : mq_f16_to_f32((uint16_t)(h + 1)))) /
                              2;
        for (int step = -1; step <= 1; step++) {
            const float x = mq_bits_float(mq_float_bits((float)middle) + (uint32_t)step);
            const _Float16 native = (_Float16)x;
            uint16_t theirs;
            memcpy(&theirs, &native, 2);
            ck_assert_uint_eq(mq_f32_to_f16(x), theirs);
        }
    }
}
END_TEST

START_TEST(bfloat16_rounds_to_even)
{
    ck_assert_uint_eq(mq_f32_to_bf16(1.0f), 0x3f80);
    ck_assert_uint_eq(mq_f32_to_bf16(mq_bits_float(0x3f808000u)), 0x3f80); /* tie, even below */
    ck_assert_uint_eq(mq_f32_to_bf16(mq_bits_float(0x3f818000u)), 0x3f82); /* tie, even above */
    ck_assert_uint_eq(mq_f32_to_bf16(mq_bits_float(0x7f7fffffu)), 0x7f80); /* overflows to inf */
    ck_assert(isnan(mq_bf16_to_f32(mq_f32_to_bf16(NAN))));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, every_half_widens_exactly);
    tcase_add_test(tests, floats_round_as_the_compiler_rounds);
    tcase_add_test(tests, bfloat16_rounds_to_even);
}

int main(void)
{
    return mq_test_main("test_f16", add_tests);
}
