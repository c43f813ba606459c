/* test_block_parts.c: blocks taken apart mean what the decoder says, and come together again. */
#include "block_parts.h"
#include "test_support.h"

#include <string.h>

START_TEST(parts_are_the_block)
{
    const struct mq_level *level = &mq_levels[_i];
    const struct mq_block_form *form = mq_block_form_of(level);
    if (!form)
        return;
    ck_assert_uint_eq(form->weights, level->block_weights);
    uint64_t state = (uint64_t)_i + 1;
    for (int round = 0; round < 50; round++) {
        float weights[MQ_PARTS_WEIGHTS], decoded[MQ_PARTS_WEIGHTS];
        uint8_t block[256], again[256];
        struct mq_block_parts parts;
        for (size_t i = 0; i < form->weights; i++)
            weights[i] = mq_test_gauss(&state) + (float)(round % 3);
        mq_level_encode_rows(level, MQ_ISA_GENERIC, MQ_EFFORT_DEFAULT, NULL, weights, 1, form->weights,
                             block);
        mq_level_decode_rows(level, MQ_ISA_GENERIC, block, 1, form->weights, decoded);
        form->read(block, &parts);
        for (size_t i = 0; i < form->weights; i++) {
            const size_t sub = i / form->sub_weights;
            ck_assert_int_ge(parts.codes[i], form->code_min);
            ck_assert_int_le(parts.codes[i], form->code_max);
            const float scale = parts.d * form->unit * ((float)parts.s[sub] + form->half);
            const float product = scale * (float)parts.codes[i];
            const float min = parts.dmin * (float)parts.m[sub];
            ck_assert_msg(product - min == decoded[i], "%s weight %zu: %g, decoded %g", level->name,
                          i, (double)(product - min), (double)decoded[i]);
        }
        memset(again, 0xa5, sizeof again);
        form->write(&parts, again);
        ck_assert_mem_eq(again, block, level->block_bytes);
    }
}
END_TEST

/* Blocks are put together by bisection. */
START_TEST(entries_ascend)
{
    const struct mq_block_form *form = mq_block_form_of(&mq_levels[_i]);
    const struct mq_code_grid *grid = form ? form->grid : NULL;
    for (unsigned i = 1; grid && i < grid->entries; i++)
        ck_assert_uint_lt(mq_code_grid_entry(grid, i - 1), mq_code_grid_entry(grid, i));
}
END_TEST

START_TEST(every_k_and_iq_level_has_a_form)
{
    static const char *const names[] = {"q8_0",  "q6_k",   "q5_k",   "q4_k",  "q3_k",
                                        "q2_k",  "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs",
                                        "iq2_s", "iq2_xs", "iq2_xxs"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_ptr_nonnull(mq_block_form_of(mq_level_find(names[i])));
    ck_assert_ptr_null(mq_block_form_of(mq_level_find("bf16")));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, parts_are_the_block, 0, (int)mq_levels_count);
    tcase_add_loop_test(tests, entries_ascend, 0, (int)mq_levels_count);
    tcase_add_test(tests, every_k_and_iq_level_has_a_form);
}

int main(void)
{
    return mq_test_main("block_parts", add_tests);
}
