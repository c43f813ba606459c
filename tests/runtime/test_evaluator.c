/* The evaluator's promises: the same bits always, arms that do not disturb each other, clear
 * errors. */
#include "golden.h"
#include "f16.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARMS = 4, LENGTH = 32 };

/* The Mixtral oracle with four arms; its tokens cut into six windows. */
struct fixture {
    struct mq_view *view, *twin;
    struct golden golden;
    struct mq_windows windows;
    const struct mq_level **levels[ARMS];
    struct mq_arm arms[ARMS];
};

static const struct mq_level **levels_for(const struct mq_view *view, const char *experts,
                                          const char *others)
{
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    ck_assert_ptr_nonnull(levels);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const enum mq_role_class group = mq_role_class(view->tensors[i].role);
        const char *name = group == MQ_CLASS_EXPERTS ? experts
                           : group == MQ_CLASS_KEEP  ? NULL
                                                     : others;
        levels[i] = name ? mq_level_find(name) : NULL;
    }
    return levels;
}

static void set_up(struct fixture *f)
{
    moeq_error err = {0};
    const char *folder = mq_test_source("tests/fixtures/oracles/mixtral");
    memset(f, 0, sizeof *f);
    ck_assert_msg(mq_view_open(folder, &f->view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(mq_view_open(folder, &f->twin, &err) == MOEQ_OK, "%s", err.message);
    golden_open(mq_test_source("tests/fixtures/oracles/mixtral/golden.safetensors"), &f->golden);
    f->windows = f->golden.windows;
    f->windows.count *= f->windows.length / LENGTH;
    f->windows.length = LENGTH;
    f->levels[1] = levels_for(f->view, "q4_k", NULL);
    f->levels[2] = levels_for(f->twin, "q3_k", "q8_0");
    f->levels[3] = levels_for(f->view, "q4_k", NULL);
    f->arms[0] = (struct mq_arm){.name = "stored", .view = f->view, .routes_from = -1};
    f->arms[1] =
        (struct mq_arm){.name = "q4_k", .view = f->view, .levels = f->levels[1], .routes_from = -1};
    f->arms[2] = (struct mq_arm){
        .name = "q3_k, another view", .view = f->twin, .levels = f->levels[2], .routes_from = -1};
    f->arms[3] = (struct mq_arm){
        .name = "q4_k, routes of 0", .view = f->view, .levels = f->levels[3], .routes_from = 0};
}

static void tear_down(struct fixture *f)
{
    mq_view_close(f->view);
    mq_view_close(f->twin);
    golden_close(&f->golden);
    for (int a = 0; a < ARMS; a++)
        free(f->levels[a]);
}

static void run(const struct fixture *f, const struct mq_context *context,
                struct collected *results)
{
    moeq_error err = {0};
    ck_assert_msg(collect(context, f->arms, ARMS, &f->windows, results, &err) == MOEQ_OK, "%s",
                  err.message);
}

static void free_all(struct collected *results)
{
    for (int a = 0; a < ARMS; a++)
        collected_free(&results[a]);
}

START_TEST(same_bits)
{
    struct fixture f;
    struct collected first[ARMS], other[ARMS];
    set_up(&f);
    const struct mq_context plain = {.isa = MQ_ISA_GENERIC, .threads = 1};
    run(&f, &plain, first);
    static const unsigned threads[] = {1, 2, 5};
    static const size_t windows_a_pass[] = {1, 4, 6};
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        /* the generic kernels are slow: one more run of them will do */
        for (size_t i = isa ? 0 : 1; i < (isa ? 3 : 2) && mq_isa_available((enum mq_isa)isa); i++) {
            if (mq_test_sampled() && isa && i != (size_t)isa % 3)
                continue;
            struct mq_context context = {.isa = (enum mq_isa)isa, .threads = threads[i]};
            context.memory_bytes =
                mq_evaluation_bytes(&context, f.arms, ARMS, f.windows.length, windows_a_pass[i]);
            ck_assert_uint_eq(mq_evaluation_windows(&context, f.arms, ARMS, f.windows.length,
                                                    f.windows.count, context.memory_bytes),
                              windows_a_pass[i]);
            run(&f, &context, other);
            for (int a = 0; a < ARMS; a++)
                ck_assert_msg(collected_equal(&first[a], &other[a]), "%s, %u threads: arm %d",
                              mq_isa_name((enum mq_isa)isa), threads[i], a);
            free_all(other);
        }
    }
    free_all(first);
    tear_down(&f);
}
END_TEST

/* The bits that an arm produces do not depend on the arms beside it. */
START_TEST(arms_alone)
{
    struct fixture f;
    struct collected together[ARMS], alone;
    set_up(&f);
    moeq_error err = {0};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    run(&f, &context, together);
    for (int a = 0; a < 3; a++) {
        ck_assert_msg(collect(&context, &f.arms[a], 1, &f.windows, &alone, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert_msg(collected_equal(&alone, &together[a]), "arm %d", a);
        collected_free(&alone);
    }
    /* what quantizing reports */
    const size_t matrices = 2 * 8 * 3;
    ck_assert_uint_eq(together[0].quantized, 0);
    ck_assert_uint_eq(together[1].quantized, matrices);
    ck_assert_uint_eq(together[2].quantized, matrices);
    ck_assert(together[1].squared_weights == together[2].squared_weights);
    ck_assert_double_gt(together[1].squared_error, 0);
    ck_assert_double_lt(together[2].squared_error, 0.01 * together[2].squared_weights);
    ck_assert(together[3].squared_error == together[1].squared_error);
    /* the arm with foreign routes: those, but its own router's logits */
    const size_t n = together[0].layers * together[0].tokens;
    ck_assert_mem_eq(together[3].chosen, together[0].chosen,
                     n * together[0].top_k * sizeof(int32_t));
    ck_assert_mem_eq(together[3].weights, together[0].weights,
                     n * together[0].top_k * sizeof(float));
    ck_assert_mem_ne(together[3].router_logits, together[0].router_logits,
                     n * together[0].experts * sizeof(float));
    free_all(together);
    tear_down(&f);
}
END_TEST

/* Quantizing to the storage's own type changes nothing. */
START_TEST(no_quantization)
{
    struct fixture f;
    struct collected results[2];
    set_up(&f);
    moeq_error err = {0};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    free(f.levels[1]);
    f.levels[1] = levels_for(f.view, "bf16", "f32");
    f.arms[1].levels = f.levels[1];
    ck_assert_ok(collect(&context, f.arms, 2, &f.windows, results, &err));
    ck_assert(results[1].squared_error == 0 && results[1].squared_weights > 0);
    results[1].squared_weights = 0;
    results[1].quantized = 0;
    ck_assert(collected_equal(&results[0], &results[1]));
    collected_free(&results[0]);
    collected_free(&results[1]);
    tear_down(&f);
}
END_TEST

static bool is_bf16(const float *x, size_t n)
{
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all &= x[i] == mq_bf16_to_f32(mq_f32_to_bf16(x[i]));
    return all;
}

/* Activations rounded to bf16: what is handed out is bf16, near f32 but not the same, the same bits
 * however it is run, and the arms beside it do not notice. */
START_TEST(bf16_activations)
{
    struct fixture f;
    struct collected plain[1], with[3], other[3];
    set_up(&f);
    moeq_error err = {0};
    const struct mq_context one = {.isa = MQ_ISA_GENERIC, .threads = 1};
    const struct mq_context many = {.isa = mq_isa_detect(), .threads = 3};
    const struct mq_arm f32 = f.arms[0];
    struct mq_arm arms[3] = {f32, f32, f32};
    arms[0].bf16_activations = true; /* its embeddings are looked up first, and shared unrounded */
    ck_assert_ok(collect(&many, &f32, 1, &f.windows, plain, &err));
    ck_assert_ok(collect(&many, arms, 3, &f.windows, with, &err));
    ck_assert_ok(collect(&one, arms, 3, &f.windows, other, &err));
    for (int a = 0; a < 3; a++)
        ck_assert(collected_equal(&with[a], &other[a]));
    ck_assert(collected_equal(&plain[0], &with[1]));
    ck_assert(collected_equal(&plain[0], &with[2]));
    const struct collected *b = &with[0];
    const size_t layers = b->layers * b->tokens;
    ck_assert(is_bf16(b->hidden, (b->layers + 1) * b->tokens * b->hidden_size));
    ck_assert(is_bf16(b->router_logits, layers * b->experts));
    ck_assert(is_bf16(b->logits, b->tokens * b->vocab));
    ck_assert(!is_bf16(plain[0].logits, b->tokens * b->vocab));
    double difference = 0, size = 0;
    for (size_t i = 0; i < b->tokens * b->vocab; i++) {
        difference += fabs((double)b->logits[i] - (double)plain[0].logits[i]);
        size += fabs((double)plain[0].logits[i]);
    }
    /* 8 bits a number: 2^-9 at most and 2^-10.5 on average for one rounding, and it is not one */
    ck_assert_double_gt(difference, 0x1p-11 * size);
    ck_assert_double_lt(difference, 0x1p-5 * size);
    for (int a = 0; a < 3; a++) {
        collected_free(&with[a]);
        collected_free(&other[a]);
    }
    collected_free(&plain[0]);
    tear_down(&f);
}
END_TEST

struct scored {
    size_t tokens, hidden_calls;
    uint64_t done;
    atomic_bool *cancel;
};

static bool second_half(void *user, size_t token)
{
    (void)user;
    return token % LENGTH >= LENGTH / 2;
}

static moeq_status count_scored(void *user, const size_t *token_index, size_t tokens,
                                const float *const *logits, moeq_error *err)
{
    struct scored *s = user;
    (void)err;
    for (size_t i = 0; i < tokens; i++) {
        ck_assert_uint_ge(token_index[i] % LENGTH, LENGTH / 2);
        ck_assert(isfinite(logits[0][i]));
        if (i)
            ck_assert_uint_gt(token_index[i], token_index[i - 1]);
    }
    s->tokens += tokens;
    return MOEQ_OK;
}

static void on_progress(void *user, const struct mq_progress *progress)
{
    struct scored *s = user;
    ck_assert_uint_ge(progress->done, s->done);
    ck_assert_uint_le(progress->done, progress->total);
    s->done = progress->done;
    if (s->cancel && progress->done > progress->total / 2)
        atomic_store(s->cancel, true);
}

static moeq_status refuse(void *user, uint32_t layer, size_t first, size_t tokens,
                          const float *const *hidden, moeq_error *err)
{
    (void)first, (void)tokens, (void)hidden, (void)err;
    struct scored *s = user;
    s->hidden_calls++;
    return layer == 1 ? MOEQ_NO_SPACE : MOEQ_OK;
}

START_TEST(observers)
{
    struct fixture f;
    set_up(&f);
    moeq_error err = {0};
    struct scored scored = {0};
    struct mq_observer observer = {
        .user = &scored, .wants_logits = second_half, .on_logits = count_scored};
    struct mq_context context = {
        .isa = mq_isa_detect(), .threads = 2, .progress = on_progress, .progress_user = &scored};
    ck_assert_ok(mq_evaluate(&context, f.arms, 1, &f.windows, &observer, &err));
    ck_assert_uint_eq(scored.tokens, f.windows.count * LENGTH / 2);
    ck_assert_uint_gt(scored.done, 0);

    observer.on_hidden = refuse; /* stops there */
    scored = (struct scored){0};
    ck_assert_int_eq(mq_evaluate(&context, f.arms, 1, &f.windows, &observer, &err), MOEQ_NO_SPACE);
    ck_assert_uint_eq(scored.hidden_calls, 2);
    ck_assert_uint_eq(scored.tokens, 0);

    atomic_bool cancel = false;
    scored = (struct scored){.cancel = &cancel};
    context.cancel = &cancel;
    observer.on_hidden = NULL;
    ck_assert_int_eq(mq_evaluate(&context, f.arms, 1, &f.windows, &observer, &err), MOEQ_CANCELLED);
    ck_assert_uint_eq(scored.tokens, 0);

    /* nothing to do is done at once */
    const struct mq_windows none = {.length = 8};
    context.cancel = NULL;
    ck_assert_ok(mq_evaluate(&context, f.arms, 1, &none, &observer, &err));
    tear_down(&f);
}
END_TEST

static void expect_failure(const struct mq_arm *arms, size_t count,
                           const struct mq_windows *windows, moeq_status status, const char *text)
{
    moeq_error err = {0};
    const struct mq_observer nobody = {0};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    ck_assert_int_eq(mq_evaluate(&context, arms, count, windows, &nobody, &err), status);
    ck_assert_int_eq(err.status, status);
    ck_assert_msg(strstr(err.message, text) != NULL, "'%s' does not say '%s'", err.message, text);
}

START_TEST(wrong_requests)
{
    struct fixture f;
    struct mq_view *llama;
    moeq_error err = {0};
    set_up(&f);
    int32_t ids[] = {1, 2, 256, 3};
    struct mq_windows windows = {ids, 2, 2};
    expect_failure(f.arms, 1, &windows, MOEQ_INVALID_ARGUMENT,
                   "token 0 of window 1 has the id 256");
    ids[2] = -1;
    expect_failure(f.arms, 1, &windows, MOEQ_INVALID_ARGUMENT, "the id -1");
    windows.length = 0;
    expect_failure(f.arms, 1, &windows, MOEQ_INVALID_ARGUMENT, "windows of 0 tokens");
    expect_failure(f.arms, 0, &f.windows, MOEQ_INVALID_ARGUMENT, "nothing to evaluate");
    f.arms[1].routes_from = 1;
    expect_failure(f.arms, 2, &f.windows, MOEQ_INVALID_ARGUMENT, "expected an earlier one");
    f.arms[1].routes_from = -1;
    const char *folder = mq_test_source("tests/fixtures/oracles/llama2");
    ck_assert_ok(mq_view_open(folder, &llama, &err));
    f.arms[1] = (struct mq_arm){.name = "llama", .view = llama, .routes_from = -1};
    expect_failure(f.arms, 2, &f.windows, MOEQ_INVALID_ARGUMENT, "are different architectures");
    mq_view_close(llama);
    const struct mq_level unknown = mq_levels[0];
    f.levels[3][f.view->tensors_count / 2] = &unknown;
    expect_failure(&f.arms[3], 1, &f.windows, MOEQ_INVALID_ARGUMENT, "earlier one");
    f.arms[3].routes_from = -1;
    expect_failure(&f.arms[3], 1, &f.windows, MOEQ_INVALID_ARGUMENT, "not in the table");
    f.levels[3][f.view->tensors_count / 2] = mq_level_find("q4_0");
    expect_failure(&f.arms[3], 1, &f.windows, MOEQ_INVALID_ARGUMENT, "which is read only");
    tear_down(&f);
}
END_TEST

/* A NaN in a file is found where it is, in any kind of tensor. */
START_TEST(weights_not_finite)
{
    static const struct {
        enum mq_role role;
        int32_t layer, expert;
    } where[] = {{MQ_ROLE_EXPERT_DOWN, 1, 5},
                 {MQ_ROLE_ATTN_NORM, 0, -1},
                 {MQ_ROLE_ROUTER, 1, -1},
                 {MQ_ROLE_ATTN_K, 1, -1}};
    char folder[512], command[4096];
    struct fixture f;
    set_up(&f);
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        moeq_error err = {0};
        struct mq_view *view;
        snprintf(folder, sizeof folder, "%s", mq_test_temporary("not_finite"));
        snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'",
                 folder, mq_test_source("tests/fixtures/oracles/mixtral"), folder, folder);
        ck_assert_int_eq(system(command), 0);
        ck_assert_ok(mq_view_open(folder, &view, &err));
        const struct mq_tensor *t =
            mq_view_find(view, where[i].role, where[i].layer, where[i].expert);
        ck_assert_ptr_nonnull(t);
        const uint64_t row = t->rows - 1, offset = t->offset + row * t->row_bytes + 2 * 3;
        const uint16_t nan = 0x7fc0;
        const int fd = open(view->files[t->file].file.path, O_WRONLY);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, &nan, sizeof nan, (off_t)offset), sizeof nan);
        close(fd);
        const struct mq_arm arm = {.name = "damaged", .view = view, .routes_from = -1};
        char text[64];
        snprintf(text, sizeof text, "row %llu, column 3", (unsigned long long)row);
        expect_failure(&arm, 1, &f.windows, MOEQ_MALFORMED, text);
        expect_failure(&arm, 1, &f.windows, MOEQ_MALFORMED, t->name);
        mq_view_close(view);
    }
    tear_down(&f);
}
END_TEST

/* Weights that are numbers, but so large that what they make is none: the layer and the arm are
 * named, whatever ran beside it. */
START_TEST(states_not_finite)
{
    char folder[512], command[4096];
    struct fixture f;
    struct mq_view *view;
    moeq_error err = {0};
    set_up(&f);
    snprintf(folder, sizeof folder, "%s", mq_test_temporary("overflow"));
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'", folder,
             mq_test_source("tests/fixtures/oracles/mixtral"), folder, folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_ok(mq_view_open(folder, &view, &err));
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_ATTN_O, 1, -1);
    uint16_t *row = malloc(t->row_bytes);
    for (size_t i = 0; i < t->cols; i++)
        row[i] = i % 2 ? 0x7f7f : 0x7f7e; /* just below bf16's largest */
    const int fd = open(view->files[t->file].file.path, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, row, t->row_bytes, (off_t)t->offset), (ssize_t)t->row_bytes);
    close(fd);
    free(row);
    const struct mq_arm arms[] = {f.arms[0],
                                  {.name = "overflowing", .view = view, .routes_from = -1}};
    expect_failure(arms, 2, &f.windows, MOEQ_UNSUPPORTED,
                   "output of layer 1 (arm 'overflowing', token ");
    expect_failure(arms, 2, &f.windows, MOEQ_UNSUPPORTED, "its activations overflow");
    expect_failure(arms, 2, &f.windows, MOEQ_UNSUPPORTED, folder);
    mq_view_close(view);
    tear_down(&f);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, same_bits);
    tcase_add_test(tests, arms_alone);
    tcase_add_test(tests, no_quantization);
    tcase_add_test(tests, bf16_activations);
    tcase_add_test(tests, observers);
    tcase_add_test(tests, wrong_requests);
    tcase_add_test(tests, weights_not_finite);
    tcase_add_test(tests, states_not_finite);
}

int main(void)
{
    return mq_test_main("test_evaluator", add_tests);
}
