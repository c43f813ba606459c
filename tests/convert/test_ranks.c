/*
 * test_ranks.c: conversions that several ranks have begun, as a process alone goes on with them; and how work is dealt. (Ranks
 * themselves: tests/cluster.)
 */
#include "division.h"
#include "journal.h"
#include "test_model.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEMO "demo/model"

/* ---- journals ---- */

enum { LINE = 65 }; /* bytes of a journal's line */

struct left {
    char output[1024], part[1100], journal[1100], one[1200], two[1200], three[1200];
    uint64_t tensors; /* that are finished */
};

/* What a run of three ranks leaves that was killed: the lines of one that was interrupted, dealt to journals of rank 0 and 1; an
 * empty one; and a file of someone else. */
static void leave(struct left *l, const char *name)
{
    struct test_stopper stopper = {.left = 30};
    const struct mq_context context = {.isa = mq_isa_detect(),
                                       .threads = 2,
                                       .cancel = &stopper.cancel,
                                       .progress = test_stop_progress,
                                       .progress_user = &stopper};
    moeq_error err = {0};
    snprintf(l->output, sizeof l->output, "%s", mq_test_temporary(name));
    snprintf(l->part, sizeof l->part, "%s.part", l->output);
    snprintf(l->journal, sizeof l->journal, "%s.part.journal", l->output);
    snprintf(l->one, sizeof l->one, "%s.1", l->journal);
    snprintf(l->two, sizeof l->two, "%s.2", l->journal);
    snprintf(l->three, sizeof l->three, "%s.3", l->journal);
    const char *const all[] = {l->output, l->part, l->journal, l->one, l->two, l->three};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unlink(all[i]);
    ck_assert_int_eq(test_convert(mq_test_source(DEMO), "q4_k", l->output, &context, NULL, &err),
                     MOEQ_CANCELLED);
    struct mq_buffer text = test_read(l->journal), rest = {0}, mine = {0};
    const size_t first = strcspn(text.data, "\n") + 1, lines = (text.size - first) / LINE;
    ck_assert_uint_gt(lines, 8);
    mq_buffer_append(&rest, text.data, first);
    mq_buffer_append(&mine, text.data, first);
    mq_journal_put(&mine, &(struct mq_journal_line){.kind = MQ_JOURNAL_RANK, .item = 1});
    l->tensors = 0;
    for (size_t i = 0; i < lines; i++) {
        const char *line = text.data + first + i * LINE;
        mq_buffer_append(i % 2 ? &mine : &rest, line, LINE);
        l->tensors += line[0] == MQ_JOURNAL_TENSOR;
    }
    mq_buffer_append(&mine, "t 000000", 8); /* torn */
    test_write(l->journal, rest.data, rest.size);
    test_write(l->one, mine.data, mine.size);
    test_write(l->two, "precious", 8);
    test_write(l->three, "", 0);
    mq_buffer_free(&text);
    mq_buffer_free(&rest);
    mq_buffer_free(&mine);
}

START_TEST(journals_of_ranks_are_joined)
{
    struct left l;
    struct mq_convert_result result;
    char reference[1024];
    moeq_error err = {0};
    snprintf(reference, sizeof reference, "%s", mq_test_temporary("ranks_reference.moeq"));
    ck_assert_ok(test_convert(mq_test_source(DEMO), "q4_k", reference, NULL, NULL, &err));
    leave(&l, "ranks.moeq");
    ck_assert_msg(test_convert(mq_test_source(DEMO), "q4_k", l.output, NULL, &result, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    ck_assert_uint_eq(result.tensors_resumed, l.tensors);
    ck_assert_uint_eq(result.tensors_damaged, 0);
    ck_assert(test_files_equal(l.output, reference));
    ck_assert_int_ne(access(l.part, F_OK), 0);
    ck_assert_int_ne(access(l.journal, F_OK), 0);
    ck_assert_int_ne(access(l.one, F_OK), 0);
    ck_assert_int_ne(access(l.three, F_OK), 0);
    struct mq_buffer foreign = test_read(l.two);
    ck_assert_str_eq(foreign.data, "precious");
    mq_buffer_free(&foreign);
}
END_TEST

/* Rank 0 was killed, and rank 1 does not know yet. */
START_TEST(a_rank_that_lives_on_is_waited_for)
{
    struct left l;
    moeq_error err = {0};
    leave(&l, "ranks_locked.moeq");
    const int fd = open(l.one, O_RDWR);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    ck_assert_int_eq(test_convert(mq_test_source(DEMO), "q4_k", l.output, NULL, NULL, &err),
                     MOEQ_IO);
    ck_assert_msg(strstr(err.message, ".part.journal.1: another command is writing this output"),
                  "%s", err.message);
    close(fd);
    err = (moeq_error){0};
    ck_assert_ok(test_convert(mq_test_source(DEMO), "q4_k", l.output, NULL, NULL, &err));
}
END_TEST

/* A plan of another level starts afresh, and what ranks have left of the first is gone. */
START_TEST(journals_of_another_plan_are_removed)
{
    struct left l;
    struct mq_convert_result result;
    moeq_error err = {0};
    leave(&l, "ranks_other.moeq");
    ck_assert_ok(test_convert(mq_test_source(DEMO), "q8_0", l.output, NULL, &result, &err));
    ck_assert_uint_eq(result.tensors_resumed, 0);
    ck_assert_int_ne(access(l.one, F_OK), 0);
    ck_assert_int_eq(access(l.two, F_OK), 0);
}
END_TEST

/* ---- dealing ---- */

static unsigned host_number(void *user, unsigned rank)
{
    return ((const unsigned *)user)[rank];
}

START_TEST(work_is_dealt_in_ranges)
{
    enum { N = 1000, RANKS = 3 };
    static unsigned hosts[RANKS], owners[N];
    static uint64_t work[N], sums[RANKS];
    const struct mq_peers peers = {.user = hosts, .count = RANKS, .host_number = host_number};
    const struct mq_division d = {.peers = &peers, .hosts = 1};
    for (size_t i = 0; i < N; i++)
        work[i] = i % 7 ? 16 : 1;
    ck_assert_ok(mq_division_deal(&d, work, NULL, 0, N, owners, NULL));
    for (size_t i = 0; i < N; i++) {
        ck_assert(!i || owners[i] == owners[i - 1] || owners[i] == owners[i - 1] + 1);
        sums[owners[i]] += work[i];
    }
    for (unsigned r = 0; r < RANKS; r++)
        ck_assert(sums[r] > 4560 && sums[r] < 4630); /* of 13,713 */
}
END_TEST

START_TEST(a_file_is_one_hosts)
{
    enum { N = 1000, RANKS = 5, FILES = 8 };
    static unsigned hosts[RANKS] = {0, 1, 0, 1, 1}, owners[N];
    static uint64_t work[N], sums[RANKS];
    static uint32_t files[N];
    const struct mq_peers peers = {.user = hosts, .count = RANKS, .host_number = host_number};
    const struct mq_division d = {.peers = &peers, .hosts = 2, .by_files = true};
    unsigned of[FILES];
    memset(of, 0xff, sizeof of);
    for (size_t i = 0; i < N; i++) {
        work[i] = 10;
        files[i] = (uint32_t)(i * FILES / N);
    }
    ck_assert_ok(mq_division_deal(&d, work, files, FILES, N, owners, NULL));
    for (size_t i = 0; i < N; i++) {
        ck_assert(of[files[i]] == UINT32_MAX || of[files[i]] == hosts[owners[i]]);
        of[files[i]] = hosts[owners[i]];
        sums[owners[i]] += work[i];
    }
    for (unsigned r = 0; r < RANKS; r++)
        ck_assert(sums[r] > 1200 && sums[r] < 2600); /* of 10,000; the files of 1,250 */
}
END_TEST

START_TEST(file_systems_are_known)
{
    ck_assert_str_eq(mq_file_system_of(0x6969)->name, "nfs");
    ck_assert(!mq_file_system_of(0x6969)->shared);
    ck_assert(!mq_file_system_of(0x65735546)->shared);
    ck_assert(!mq_file_system_of(0xff534d42)->shared);
    ck_assert(mq_file_system_of(0x0bd00bd0)->shared); /* lustre */
    ck_assert(mq_file_system_of(0xef53)->shared);
    ck_assert(!mq_file_system_of(0x12345678)->shared);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, journals_of_ranks_are_joined);
    tcase_add_test(tests, a_rank_that_lives_on_is_waited_for);
    tcase_add_test(tests, journals_of_another_plan_are_removed);
    tcase_add_test(tests, work_is_dealt_in_ranges);
    tcase_add_test(tests, a_file_is_one_hosts);
    tcase_add_test(tests, file_systems_are_known);
}

int main(void)
{
    return mq_test_main("test_ranks", add_tests);
}
