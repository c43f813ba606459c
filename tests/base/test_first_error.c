/* test_first_error.c: of many threads that fail, one is heard. */
#include "test_support.h"

#include "first_error.h"

#include <stdio.h>

/* Every task from 100 on fails; the tasks that were begun. */
static int run(struct mq_first_error *first)
{
    int begun = 0;
#pragma omp parallel for num_threads(4) schedule(dynamic) reduction(+ : begun)
    for (int i = 0; i < 100000; i++) {
        moeq_error mine = {0};
        if (mq_first_error_status(first))
            continue;
        begun++;
        mq_first_error_note(first, i < 100 ? MOEQ_OK : mq_fail(&mine, MOEQ_LIMIT, "task %d", i),
                            &mine);
    }
    return begun;
}

START_TEST(one_is_heard_and_all_end)
{
    moeq_error err = {0};
    struct mq_first_error first = {.err = &err};
    const int begun = run(&first);
    int task = 0;
    ck_assert_int_eq(mq_first_error_status(&first), MOEQ_LIMIT);
    ck_assert_int_eq(err.status, MOEQ_LIMIT);
    ck_assert_int_eq(sscanf(err.message, "task %d", &task), 1);
    ck_assert(task >= 100);
    ck_assert(begun <= 100 + 4);
    const moeq_error late = {.status = MOEQ_IO, .message = "late"};
    mq_first_error_note(&first, MOEQ_IO, &late);
    ck_assert_int_eq(mq_first_error_status(&first), MOEQ_LIMIT);
    ck_assert_int_eq(err.status, MOEQ_LIMIT);
}
END_TEST

START_TEST(nobody_need_listen)
{
    struct mq_first_error first = {0};
    run(&first);
    ck_assert_int_eq(mq_first_error_status(&first), MOEQ_LIMIT);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, one_is_heard_and_all_end);
    tcase_add_test(tests, nobody_need_listen);
}

int main(void)
{
    return mq_test_main("first_error", add);
}
