/* test_token_profile.c: what texts have in common, and lists that are none. */
#include "test_support.h"
#include "token_profile.h"

#include <stdlib.h>
#include <string.h>

enum { VOCAB = 300, TOKENS = 16 * MQ_PROFILE_PIECE };

/* Tokens of a kind: from `first` on, `kinds` of them, smaller ones more often. */
static void fill(int32_t *ids, int32_t first, int32_t kinds, uint32_t seed)
{
    for (size_t i = 0; i < TOKENS; i++) {
        seed = seed * 1664525u + 1013904223u;
        const double u = (double)(seed >> 8) / 0x1p24;
        ids[i] = first + (int32_t)(u * u * kinds);
    }
}

static int32_t a[TOKENS], b[TOKENS], other[TOKENS];

static void setup(void)
{
    fill(a, 0, 150, 1);
    fill(b, 0, 150, 2);
    fill(other, 100, 150, 3);
}

static struct mq_profile_distance compare(const struct mq_buffer *list, const int32_t *ids,
                                          size_t count, struct mq_buffer *note)
{
    struct mq_profile_distance d;
    moeq_error err = {0};
    ck_assert_msg(mq_profile_compare(list->data, "m", ids, count, VOCAB, &d, note, &err) == MOEQ_OK,
                  "%s", err.message);
    return d;
}

START_TEST(kinds_are_told_apart)
{
    struct mq_buffer list = {0}, note = {0};
    moeq_error err = {0};
    setup();
    ck_assert(mq_profile_add(&list, "texts/a.txt", a, TOKENS, VOCAB, &err) == MOEQ_OK);
    mq_profile_end(&list);
    struct mq_profile_distance d = compare(&list, b, TOKENS, &note);
    ck_assert(!d.far && d.common > d.own - 0.02 && d.own > 0.7 && note.size == 0);
    d = compare(&list, other, TOKENS, &note);
    ck_assert(d.far && d.common < 0.4);
    ck_assert_msg(strstr(note.data, "calibrated on a.txt: ") == note.data, "%s", note.data);
    mq_buffer_clear(&note);
    ck_assert(!compare(&list, other, MQ_PROFILE_PIECE - 1, &note).far); /* too short to say */
    mq_buffer_free(&list);

    /* of two texts the nearer counts; a short one says nothing */
    list = (struct mq_buffer){0};
    ck_assert(mq_profile_add(&list, "a", a, TOKENS, VOCAB, &err) == MOEQ_OK);
    ck_assert(mq_profile_add(&list, "other", other, TOKENS, VOCAB, &err) == MOEQ_OK);
    ck_assert(mq_profile_add(&list, "short", other, 100, VOCAB, &err) == MOEQ_OK);
    mq_profile_end(&list);
    ck_assert(!compare(&list, b, TOKENS, &note).far && !compare(&list, other, TOKENS, &note).far);
    mq_buffer_free(&list);
    mq_buffer_free(&note);
}
END_TEST

START_TEST(counts_are_exact)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct mq_buffer profile = {0};
    moeq_error err = {0};
    double common;
    int32_t *ids = calloc(4097, sizeof *ids);
    for (int i = 0; i < 4097;
         i++) /* 0: 4,092 times, 1: once, 2: four times; beyond the vocabulary: none */
        ids[i] = i == 0 ? 1 : i < 5 ? 2 : i == 5 ? VOCAB : i == 6 ? -1 : 0;
    ck_assert(mq_profile_count(ids, 4097, VOCAB, &common, &profile, &err) == MOEQ_OK);
    ck_assert_uint_eq(profile.size, VOCAB);
    ck_assert_int_eq(profile.data[0], digits[37]); /* 1 + 3 * 12 */
    ck_assert_int_eq(profile.data[1], digits[1]);
    ck_assert_int_eq(profile.data[2], digits[7]);
    ck_assert_int_eq(profile.data[3], digits[0]);
    /* seven pieces of 0 alone, whose others have 3579 of 3585; one of 505, others all 0 */
    const double want = (7 * (4090.0 - 512) / 3585 + 505.0 / 512) / 8;
    ck_assert_msg(common > want - 1e-3 && common < want + 1e-3, "%g, not %g", common, want);
    mq_buffer_free(&profile);
    free(ids);
}
END_TEST

START_TEST(other_lists_are_refused)
{
    static const char *const bad[] = {
        "{}",
        "[1]",
        "[",
        "[{\"name\":\"a\",\"tokens\":9,\"common\":0.5,\"profile\":\"AAA\"}]",
        "[{\"name\":\"a\",\"tokens\":-9,\"common\":0.5,\"profile\":\"\"}]",
        "[{\"name\":\"a\",\"tokens\":9,\"profile\":\"\"}]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mq_profile_distance d;
        struct mq_buffer note = {0};
        moeq_error err = {0};
        ck_assert_int_ne(mq_profile_compare(bad[i], "m.moeq", a, TOKENS, VOCAB, &d, &note, &err),
                         MOEQ_OK);
        ck_assert(!d.far && note.size == 0);
        ck_assert_str_eq(err.path, "m.moeq");
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, kinds_are_told_apart);
    tcase_add_test(tests, counts_are_exact);
    tcase_add_test(tests, other_lists_are_refused);
}

int main(void)
{
    return mq_test_main("token_profile", add_tests);
}
