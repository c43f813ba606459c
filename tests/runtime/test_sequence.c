/*
 * test_sequence.c: tokens that come one after the other or in pieces give the logits of the whole
 * sequence, to the last bit: for every family in all forms of config.json, in every arithmetic.
 */
#include "golden.h"
#include "oracle_folders.h"
#include "sequence.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct oracle_folders here;

static const char *const configs[] = {NULL, "config_long.json", "config_chunk.json"};

/* Logits after each token of one window; `rows` has room for all. */
static moeq_status reference(const struct mq_context *context, const struct mq_arm *arm,
                             const int32_t *ids, size_t count, float *rows, moeq_error *err)
{
    const struct mq_hparams *hp = &arm->view->hparams;
    /* where frequencies hang on the length, each token has a sequence of its own length */
    const bool each = hp->rope.type == MQ_ROPE_LONGROPE;
    for (size_t n = each ? 1 : count; n <= count; n++) {
        const struct mq_windows windows = {ids, 1, n};
        struct collected c = {0};
        const moeq_status status = collect(context, arm, 1, &windows, &c, err);
        if (status != MOEQ_OK)
            return status;
        const size_t first = each ? n - 1 : 0;
        memcpy(rows + first * hp->vocab, c.logits + first * hp->vocab,
               (n - first) * hp->vocab * sizeof(float));
        collected_free(&c);
    }
    return MOEQ_OK;
}

/* All ids, `piece` at a time, in a sequence with room for `room` and `at_once` through the layers together. */
static void check_pieces(const struct mq_context *context, const struct mq_arm *arm,
                         const int32_t *ids, size_t count, size_t piece, size_t at_once,
                         size_t room, const float *expected, const char *what)
{
    const size_t vocab = arm->view->hparams.vocab;
    struct mq_sequence *s = NULL;
    const float *logits;
    moeq_error err = {0};
    ck_assert_ok(mq_sequence_create(context, arm, room, at_once, &s, &err));
    for (size_t at = 0; at < count;) {
        /* a prompt, then single tokens, then pieces again */
        const size_t n = at == 0 || at > count / 2 ? (piece < count - at ? piece : count - at) : 1;
        ck_assert_ok(mq_sequence_append(s, ids + at, n, &logits, &err));
        at += n;
        ck_assert_uint_eq(mq_sequence_tokens(s), at);
        ck_assert_msg(memcmp(logits, expected + (at - 1) * vocab, vocab * sizeof(float)) == 0,
                      "%s: token %zu of %zu, pieces of %zu, %zu at once: %g, expected %g", what, at,
                      count, piece, at_once, (double)logits[0], (double)expected[(at - 1) * vocab]);
    }
    mq_sequence_destroy(s);
    /* and with no memory for keys and values that can be formed again */
    const struct mq_sequence_memory memory = mq_sequence_memory(context, arm, room, at_once);
    if (!memory.keeps_formed)
        return;
    struct mq_context tight = *context;
    tight.memory_bytes = memory.cache_bytes + memory.other_bytes;
    ck_assert(!mq_sequence_memory(&tight, arm, room, memory.at_once).keeps_formed);
    check_pieces(&tight, arm, ids, count, piece, memory.at_once, room, expected, what);
}

static void check_arm(const struct mq_arm *arm, const struct golden *golden, bool all,
                      const char *what)
{
    const size_t vocab = arm->view->hparams.vocab;
    const struct mq_context one = {.isa = mq_isa_detect(), .threads = 1};
    const struct mq_context two = {.isa = MQ_ISA_GENERIC, .threads = 2};
    const size_t count = golden->windows.length < 24 ? golden->windows.length : 24;
    float *expected = malloc(count * vocab * sizeof(float));
    moeq_error err = {0};
    ck_assert_msg(reference(&one, arm, golden->windows.ids, count, expected, &err) == MOEQ_OK, "%s",
                  err.message);
    check_pieces(&one, arm, golden->windows.ids, count, 5, 2, count, expected, what);
    if (all && !mq_test_sampled()) {
        check_pieces(&one, arm, golden->windows.ids, count, 1, 0, count, expected, what);
        check_pieces(&two, arm, golden->windows.ids, 12, 7, 0, count + 30, expected, what);
    }
    free(expected);
}

static const char *with_config(const char *source, const char *config)
{
    static char folder[1200];
    char command[8000];
    snprintf(folder, sizeof folder, "%s", mq_test_temporary("sequence_config"));
    snprintf(
        command, sizeof command,
        "rm -rf '%s' && mkdir '%s' && ln -s '%s'/model* '%s' && ln -s '%s/%s' '%s/config.json'",
        folder, folder, source, folder, source, config, folder);
    ck_assert_int_eq(system(command), 0);
    return folder;
}

START_TEST(whole_sequence)
{
    const char *source = here.paths[_i];
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct golden golden;
        if (configs[i] && access(test_path(source, configs[i]), R_OK) != 0)
            continue;
        struct mq_view *view = test_open(configs[i] ? with_config(source, configs[i]) : source);
        struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1};
        golden_open(test_path(source, "golden.safetensors"), &golden);
        check_arm(&arm, &golden, true, source);
        arm.bf16_activations = true;
        check_arm(&arm, &golden, false, source);
        arm.bf16_activations = false;
        arm.compute = MQ_COMPUTE_INT8;
        check_arm(&arm, &golden, false, source);
        golden_close(&golden);
        mq_view_close(view);
    }
}
END_TEST

/* Far beyond the window of its attention, where keys are dropped again and again. */
START_TEST(long_sequence)
{
    static const char *const models[] = {"tests/fixtures/oracles/mistral_swa",
                                         "tests/fixtures/families/gpt_oss",
                                         "tests/fixtures/families/gemma4_moe"};
    enum { COUNT = 300 };
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    const struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    float *expected = malloc(COUNT * (size_t)view->hparams.vocab * sizeof(float));
    int32_t ids[COUNT];
    uint64_t random = 1;
    moeq_error err = {0};
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = (int32_t)(mq_test_random(&random) % view->hparams.vocab);
    ck_assert_msg(reference(&context, &arm, ids, COUNT, expected, &err) == MOEQ_OK, "%s",
                  err.message);
    check_pieces(&context, &arm, ids, COUNT, 1, 1, COUNT, expected, models[_i]);
    check_pieces(&context, &arm, ids, COUNT, 33, 3, COUNT, expected, models[_i]);
    free(expected);
    mq_view_close(view);
}
END_TEST

/* Another sequence after the first, refusals, and what memory does not suffice for. */
START_TEST(edges)
{
    struct mq_view *view = test_open(mq_test_source("tests/fixtures/families/qwen3_next"));
    const struct mq_arm arm = {.name = "model", .view = view, .routes_from = -1};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    struct mq_context small = context;
    struct mq_sequence *s = NULL;
    const float *logits;
    float before[16];
    const int32_t ids[] = {1, 2, 3}, outside[] = {(int32_t)view->hparams.vocab};
    moeq_error err = {0};
    ck_assert_ok(mq_sequence_create(&context, &arm, 3, 0, &s, &err));
    ck_assert_ok(mq_sequence_append(s, ids, 3, &logits, &err));
    memcpy(before, logits, sizeof before);
    ck_assert_int_eq(mq_sequence_append(s, ids, 1, &logits, &err), MOEQ_INVALID_ARGUMENT);
    mq_sequence_clear(s);
    ck_assert_ok(mq_sequence_append(s, ids, 1, &logits, &err));
    ck_assert_ok(mq_sequence_append(s, ids + 1, 2, &logits, &err));
    ck_assert_int_eq(memcmp(before, logits, sizeof before), 0);
    mq_sequence_clear(s);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(mq_sequence_append(s, outside, 1, &logits, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "vocabulary"));
    mq_sequence_destroy(s);
    small.memory_bytes = 1 << 20;
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(mq_sequence_create(&small, &arm, 100, 0, &s, &err), MOEQ_NO_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message, "--context"));
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    oracle_folders_add(mq_test_source("tests/fixtures/oracles"), &here);
    oracle_folders_add(mq_test_source("tests/fixtures/families"), &here);
    ck_assert_uint_gt(here.count, 40);
    tcase_add_loop_test(tests, whole_sequence, 0, (int)here.count);
    tcase_add_loop_test(tests, long_sequence, 0, 3);
    tcase_add_test(tests, edges);
}

int main(void)
{
    return mq_test_main("test_sequence", add_tests);
}
