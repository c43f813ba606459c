/* test_arena.c: items of every size are zeroed, aligned, apart from each other, and stay. */
#include "arena.h"

#include "test_support.h"

#include <stdint.h>
#include <string.h>

enum { ITEMS = 3000 };

static bool is_filled(const unsigned char *p, size_t n, unsigned char with)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != with)
            return false;
    return true;
}

/* From a few bytes to more than a block; the first is of each kind in turn. */
START_TEST(items_are_zeroed_aligned_and_apart)
{
    static const size_t sizes[] = {1, 40, 3000, 5000, 16384, 16385, 70000, 200, 0};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    static unsigned char *items[ITEMS];
    struct mq_arena *arena = mq_arena_create();
    for (size_t i = 0; i < ITEMS; i++) {
        const size_t n = i % 50 < SIZES ? sizes[(i + (size_t)_i) % SIZES] : 1 + i % 90;
        items[i] = mq_arena_alloc(arena, n, 1);
        ck_assert(items[i] != NULL && (uintptr_t)items[i] % 16 == 0);
        ck_assert(is_filled(items[i], n, 0));
        memset(items[i], 1 + (int)(i % 255), n);
    }
    for (size_t i = 0; i < ITEMS; i++) {
        const size_t n = i % 50 < SIZES ? sizes[(i + (size_t)_i) % SIZES] : 1 + i % 90;
        ck_assert_msg(is_filled(items[i], n, (unsigned char)(1 + i % 255)), "item %zu", i);
    }
    mq_arena_destroy(arena);
}
END_TEST

START_TEST(sizes_that_overflow_are_refused)
{
    struct mq_arena *arena = mq_arena_create();
    ck_assert_ptr_null(mq_arena_alloc(arena, SIZE_MAX / 2, 4));
    ck_assert_ptr_null(mq_arena_alloc(arena, SIZE_MAX, 1));
    ck_assert_ptr_nonnull(mq_arena_alloc(arena, 8, 1));
    mq_arena_destroy(arena);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, items_are_zeroed_aligned_and_apart, 0, 9);
    tcase_add_test(tests, sizes_that_overflow_are_refused);
}

int main(void)
{
    return mq_test_main("arena", add_tests);
}
