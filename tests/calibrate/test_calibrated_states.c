/*
 * test_calibrated_states.c: a conversion with error feedback that was killed runs no layer again whose states were kept,
 * and ends with the same bytes; states that are damaged, of another run or cannot be written are done without.
 */
#include "calibrated.h"
#include "test_model.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL "tests/fixtures/families/qwen3_moe-weights_as_scored"
enum { LENGTH = 64, WINDOWS = 16, HEADER_BYTES = 104, PATH_ROOM = PATH_MAX + 32 };

/* keep_seconds: */
#define EACH_LAYER 1e-9

struct run {
    struct mq_calibrated calibrated;
    unsigned first_layer; /* the first that was told to be run */
    bool die;             /* at the second layer */
};

static void on_progress(void *user, const struct mq_progress *progress)
{
    struct run *run = user;
    unsigned layer;
    if (sscanf(progress->phase, "pass 1/1 layer %u/", &layer) != 1)
        return;
    if (!run->first_layer)
        run->first_layer = layer;
    if (run->die && layer == 2)
        kill(getpid(), SIGKILL);
}

static moeq_status convert(struct run *run, const char *output, double keep_seconds,
                           uint32_t first_id)
{
    int32_t ids[WINDOWS * LENGTH];
    struct mq_convert_result result;
    struct mq_plan *plan;
    moeq_error err = {0};
    const struct mq_context context = {
        .isa = mq_isa_detect(), .threads = 1, .progress = on_progress, .progress_user = run};
    struct mq_view *view = test_open(mq_test_source(MODEL));
    for (size_t i = 0; i < WINDOWS * LENGTH; i++)
        ids[i] = (int32_t)((i * i + 3 * i + first_id) % view->hparams.vocab);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    char sentence[MQ_CALIBRATED_SENTENCE];
    run->calibrated = (struct mq_calibrated){
        .context = &context,
        .view = view,
        .windows = &windows,
        .options = {.feedback = {.passes = -1}, .keep_seconds = keep_seconds}};
    mq_calibrated_sentence(&run->calibrated, first_id, sentence);
    struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    policy.calibration = sentence;
    const struct mq_convert_encoder encoder = {.user = &run->calibrated, .run = mq_calibrated_run};
    const struct mq_convert_options how = {.output = output, .replace = true, .encoder = &encoder};
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    const moeq_status status = mq_convert(&context, plan, &how, &result, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

/* A run that is killed in its second layer. */
static void convert_and_die(const char *output, uint32_t first_id)
{
    int status;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct run run = {.die = true};
        convert(&run, output, EACH_LAYER, first_id);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static const char *name_of(const char *output, const char *end, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s%s", output, end);
    return path;
}

static void fresh(const char *name, char output[PATH_MAX])
{
    static const char *const ends[] = {"", ".part", ".part.journal", ".part.states"};
    char path[PATH_ROOM];
    snprintf(output, PATH_MAX - 32, "%s", mq_test_temporary(name));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        unlink(name_of(output, ends[i], path));
}

/* What stands there after the run is as of a run without interruption, and nothing else is left. */
static void check_output(const char *output, const char *whole)
{
    static const char *const ends[] = {".part", ".part.journal", ".part.states",
                                       ".part.states.new"};
    char path[PATH_ROOM];
    ck_assert(test_files_equal(output, whole));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        ck_assert_msg(access(name_of(output, ends[i], path), F_OK) != 0, "%s", path);
}

START_TEST(goes_on)
{
    char whole[PATH_MAX], output[PATH_MAX], path[PATH_ROOM];
    struct run plain = {0}, kept = {0}, resumed = {0};
    fresh("whole.moeq", whole);
    fresh("killed.moeq", output);
    convert(&plain, whole, -1, 0);
    ck_assert_uint_eq(plain.first_layer, 1);
    ck_assert_uint_eq(plain.calibrated.result.states_kept, 0);
    convert_and_die(output, 0);
    ck_assert_int_eq(access(name_of(output, ".part.states", path), F_OK), 0);
    convert(&resumed, output, EACH_LAYER, 0);
    check_output(output, whole);
    ck_assert_uint_eq(resumed.first_layer, 2);
    ck_assert_uint_eq(resumed.calibrated.result.layers_resumed, 1);
    ck_assert_int_eq(resumed.calibrated.result.states_error.status, MOEQ_OK);
    /* what was finished after the states were kept is not made again */
    ck_assert_uint_le(resumed.calibrated.result.matrices, plain.calibrated.result.matrices);
    ck_assert_uint_ge(resumed.calibrated.result.matrices + 2, plain.calibrated.result.matrices);
    ck_assert_uint_eq(resumed.calibrated.result.experts, plain.calibrated.result.experts);
    /* without interruption they are kept and leave no trace */
    convert(&kept, output, EACH_LAYER, 0);
    ck_assert_uint_ge(kept.calibrated.result.states_kept, 1);
    check_output(output, whole);
    /* seconds of work that there were not */
    convert(&kept, output, 1e6, 0);
    ck_assert_uint_eq(kept.calibrated.result.states_kept, 0);
}
END_TEST

/* Bytes `n` from the beginning of a file are others; below 0: so many are cut off its end. */
static void damage(const char *path, long n)
{
    struct mq_buffer bytes = test_read(path);
    if (n >= 0)
        bytes.data[n] ^= 1;
    test_write(path, bytes.data, n >= 0 ? bytes.size : bytes.size - (size_t)-n);
    mq_buffer_free(&bytes);
}

/* What was kept is no use: the first layer is run, a note says why, the bytes are the same. */
START_TEST(does_without)
{
    static const struct {
        const char *file;
        long at;
        const char *why;
    } cases[] = {
        {".part.states", 16, "is no states of an interrupted conversion, or damaged"},
        {".part.states", HEADER_BYTES + 5, "damaged (CRC-32)"},
        {".part.states", -1, "bytes of them, found"},
        {".part.states", -WINDOWS * LENGTH * 32 * 4 - 1, "expected 104 bytes and more, found 103"},
        {".part.journal", -3 * 38, "finished tensors, found"},
    };
    char whole[PATH_MAX], output[PATH_MAX], path[PATH_ROOM];
    struct run plain = {0}, run = {0};
    fresh("whole.moeq", whole);
    convert(&plain, whole, -1, 0);
    fresh("damaged.moeq", output);
    convert_and_die(output, 0);
    damage(name_of(output, cases[_i].file, path), cases[_i].at);
    convert(&run, output, EACH_LAYER, 0);
    ck_assert_uint_eq(run.first_layer, 1);
    ck_assert_uint_eq(run.calibrated.result.layers_resumed, 0);
    ck_assert_msg(strstr(run.calibrated.result.states_error.message, cases[_i].why) != NULL, "%s",
                  run.calibrated.result.states_error.message);
    ck_assert(test_files_equal(output, whole));
}
END_TEST

START_TEST(of_another_text)
{
    char whole[PATH_MAX], output[PATH_MAX];
    struct run plain = {0}, run = {0};
    fresh("whole.moeq", whole);
    fresh("other.moeq", output);
    convert(&plain, whole, -1, 7);
    convert_and_die(output, 0);
    convert(&run, output, EACH_LAYER, 7);
    ck_assert_uint_eq(run.first_layer, 1);
    check_output(output, whole);
}
END_TEST

/* A file of somebody else's stays; a full disk (here: a limit) costs a note. */
START_TEST(cannot_be_kept)
{
    char whole[PATH_MAX], output[PATH_MAX], path[PATH_ROOM];
    struct run plain = {0}, run = {0}, limited = {0};
    fresh("whole.moeq", whole);
    fresh("kept.moeq", output);
    convert(&plain, whole, -1, 0);
    test_write(name_of(output, ".part.states", path), "precious", 8);
    convert(&run, output, EACH_LAYER, 0);
    ck_assert_int_ne(run.calibrated.result.states_error.status, MOEQ_OK);
    ck_assert(test_files_equal(output, whole));
    struct mq_buffer kept = test_read(path);
    ck_assert_uint_eq(kept.size, 8);
    mq_buffer_free(&kept);
    unlink(path);

    struct mq_buffer file = test_read(whole);
    const struct rlimit limit = {file.size + 4096, RLIM_INFINITY};
    mq_buffer_free(&file);
    ck_assert_uint_lt(limit.rlim_cur, WINDOWS * LENGTH * 32 * 4);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    convert(&limited, output, EACH_LAYER, 0);
    ck_assert_int_ne(limited.calibrated.result.states_error.status, MOEQ_OK);
    check_output(output, whole);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, goes_on);
    tcase_add_loop_test(tests, does_without, 0, 5);
    tcase_add_test(tests, of_another_text);
    tcase_add_test(tests, cannot_be_kept);
}

int main(void)
{
    return mq_test_main("test_calibrated_states", add_tests);
}
