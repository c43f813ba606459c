/* test_written.c: pieces of items make up the items, each byte once, and their checksums. */
#include "written.h"
#include "test_support.h"

#include <zlib.h>

enum { SIZE = 1000 };
static unsigned char bytes[SIZE];

static void add(struct mq_written *w, uint64_t item, size_t from, size_t end)
{
    ck_assert_ok(mq_written_add(w, item, from, bytes + from, end - from, NULL));
}

static bool is_whole(struct mq_written *w, uint64_t item, uint64_t size, uint32_t *crc)
{
    ck_assert_ok(mq_written_gather(w, NULL, NULL));
    return mq_written_whole(w, item, size, crc);
}

START_TEST(pieces_make_up_items)
{
    struct mq_written w = {0};
    uint32_t crc;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * i % 251);
    add(&w, 7, 300, 400); /* in any order, with others between */
    add(&w, 2, 0, 10);
    add(&w, 7, 400, 401);
    add(&w, 7, 900, SIZE);
    add(&w, 2, 10, 20);
    add(&w, 7, 0, 300);
    add(&w, 7, 401, 900);
    add(&w, 9, 5, 5); /* nothing */
    ck_assert_uint_eq(w.count, 4); /* neighbours that came one after the other are one */
    ck_assert(is_whole(&w, 7, SIZE, &crc));
    ck_assert_uint_eq(crc, crc32_z(0, bytes, SIZE));
    ck_assert(is_whole(&w, 2, 20, &crc));
    ck_assert_uint_eq(crc, crc32_z(0, bytes, 20));
    ck_assert(is_whole(&w, 9, 0, &crc)); /* an empty item needs no piece */
    ck_assert_uint_eq(crc, 0);
    mq_written_free(&w);
}
END_TEST

START_TEST(gaps_and_overlaps_are_seen)
{
    static const struct {
        size_t from[3], end[3];
    } wrong[] = {
        {{0, 0, 0}, {0, 0, 0}},                /* nothing */
        {{0, 500, 0}, {400, SIZE, 0}},         /* a gap, */
        {{1, 500, 0}, {500, SIZE, 0}},         /* at the beginning, */
        {{0, 500, 0}, {500, SIZE - 1, 0}},     /* at the end */
        {{0, 500, 400}, {500, SIZE, 500}},     /* twice: some, */
        {{0, 500, 0}, {500, SIZE, 500}},       /* a piece, */
        {{0, 0, 0}, {SIZE, 1, 0}},             /* the beginning, */
        {{0, 300, 0}, {500, SIZE, 0}},         /* the middle */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mq_written w = {0};
        uint32_t crc;
        for (int k = 2; k >= 0; k--)
            add(&w, 1, wrong[i].from[k], wrong[i].end[k]);
        ck_assert_msg(!is_whole(&w, 1, SIZE, &crc), "case %zu", i);
        mq_written_free(&w);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, pieces_make_up_items);
    tcase_add_test(tests, gaps_and_overlaps_are_seen);
}

int main(void)
{
    return mq_test_main("written", add_tests);
}
