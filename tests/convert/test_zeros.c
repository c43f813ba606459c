/* test_zeros.c: zeros where weights should be, in pieces of bytes, and in models of every format.
 */
#include "convert.h"
#include "integrity.h"
#include "check_json.h"
#include "stored.h"
#include "test_support.h"
#include "weights_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct mq_context context(void)
{
    return (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
}

/* ---- runs ---- */

/* The longest run, its place, and the ends, byte by byte. */
static struct mq_zero_span by_hand(const unsigned char *p, uint64_t n)
{
    struct mq_zero_span s = {.bytes = n};
    uint64_t run = 0;
    for (uint64_t i = 0; i < n; i++) {
        run = p[i] ? 0 : run + 1;
        s.has_weight |= p[i] != 0;
        if (run == i + 1)
            s.lead = run;
        if (run > s.longest) {
            s.longest = run;
            s.place = i + 1 - run;
        }
    }
    s.trail = run;
    return s;
}

static void same(const struct mq_zero_span *a, const struct mq_zero_span *b)
{
    ck_assert_uint_eq(a->bytes, b->bytes);
    ck_assert_uint_eq(a->lead, b->lead);
    ck_assert_uint_eq(a->trail, b->trail);
    ck_assert(a->has_weight == b->has_weight);
    if (b->longest >= MQ_ZEROS_RUN) {
        ck_assert_uint_eq(a->longest, b->longest);
        ck_assert_uint_eq(a->place, b->place);
    } else {
        ck_assert_uint_lt(a->longest, MQ_ZEROS_RUN);
    }
}

/* Runs about as long as the limit, at random places of random pieces. */
START_TEST(spans)
{
    enum { BYTES = 5 * MQ_ZEROS_RUN };
    unsigned char *p = malloc(BYTES);
    uint64_t state = 7;
    for (int round = 0; round < 100; round++) {
        memset(p, 1, BYTES);
        for (int k = 0; k < 2; k++) {
            const uint64_t n = MQ_ZEROS_RUN - 2 +
                               mq_test_random(&state) % (round % 4 ? 4 : BYTES / 3),
                           at = mq_test_random(&state) % (BYTES - n + 1);
            memset(p + at, 0, n);
        }
        if (round == 0)
            memset(p, 0, BYTES);
        const struct mq_zero_span whole = mq_zeros_scan(p, BYTES), expected = by_hand(p, BYTES);
        same(&whole, &expected);
        struct mq_zero_span sum = {0};
        for (uint64_t at = 0, n; at < BYTES; at += n) {
            n = 1 + mq_test_random(&state) % (2 * MQ_ZEROS_RUN);
            n = n < BYTES - at ? n : BYTES - at;
            const struct mq_zero_span next = mq_zeros_scan(p + at, n);
            mq_zeros_join(&sum, &next);
        }
        same(&sum, &expected);
    }
    free(p);
}
END_TEST

/* ---- judgement ---- */

static struct mq_zeros judged_of(uint64_t tokens, enum mq_role role, uint64_t bytes, uint64_t from,
                                 uint64_t to)
{
    unsigned char *p = malloc(bytes);
    memset(p, 1, bytes);
    memset(p + from, 0, to - from);
    const struct mq_zero_span span = mq_zeros_scan(p, bytes);
    const struct mq_zero_place place = {
        .name = "x", .path = "f", .role = role, .layer = -1, .expert = -1, .bytes = bytes};
    struct mq_zeros zeros = {.tokens = tokens};
    mq_zeros_judge(&zeros, &place, bytes / 256, &span);
    free(p);
    return zeros;
}

static struct mq_zeros judged(enum mq_role role, uint64_t bytes, uint64_t from, uint64_t to)
{
    return judged_of(0, role, bytes, from, to);
}

START_TEST(judgement)
{
    const uint64_t n = 1 << 18, run = MQ_ZEROS_RUN;
    struct mq_zeros z = judged(MQ_ROLE_EXPERT_UP, n, 1000, 1000 + run);
    ck_assert_uint_eq(z.count, 1);
    ck_assert_uint_eq(z.listed[0].offset, 1000);
    ck_assert_uint_eq(z.listed[0].bytes, run);
    ck_assert(!z.listed[0].whole);
    ck_assert_uint_eq(judged(MQ_ROLE_EXPERT_UP, n, 1000, 1000 + run - 1).count, 0);
    ck_assert_uint_eq(judged(MQ_ROLE_EXPERT_UP, n, n - run, n).count, 1);
    z = judged(MQ_ROLE_ROUTER, 1024, 0, 1024); /* small, but nothing else */
    ck_assert_uint_eq(z.count, 1);
    ck_assert(z.listed[0].whole);
    /* Vocabularies are padded at their end, with a few rows, of 1,024 at most 128, or those behind
     * the last token; nowhere else, and not whole. */
    z = judged(MQ_ROLE_HEAD, n, n - 128 * 256, n);
    ck_assert_uint_eq(z.count, 0);
    ck_assert_uint_eq(z.padding[1].rows, 128);
    z = judged(MQ_ROLE_HEAD, n, n - 2 * run, n);
    ck_assert_uint_eq(z.count, 1);
    ck_assert_uint_eq(z.padding[1].rows, 0);
    z = judged_of(512, MQ_ROLE_HEAD, n, n - 2 * run, n);
    ck_assert_uint_eq(z.count, 0);
    ck_assert_uint_eq(z.padding[1].rows, 512);
    ck_assert_uint_eq(judged_of(513, MQ_ROLE_HEAD, n, n - 2 * run, n).count, 1);
    z = judged(MQ_ROLE_HEAD, 100 * n, 100 * n - 1024 * 256, 100 * n); /* 1 % */
    ck_assert_uint_eq(z.count, 0);
    ck_assert_uint_eq(z.padding[1].rows, 1024);
    z = judged(MQ_ROLE_EMBEDDING, n, n - 700, n);
    ck_assert_uint_eq(z.padding[0].rows, 2);
    ck_assert_uint_eq(z.padding[0].offset, n - 512);
    ck_assert_uint_eq(judged(MQ_ROLE_EMBEDDING, n, 256, 256 + run).count, 1);
    ck_assert_uint_eq(judged(MQ_ROLE_EMBEDDING, n, 0, n).count, 1);
}
END_TEST

/* A run that goes on into the next tensor of the file; none over a tensor that is not zero, into
 * another file, or from a vocabulary's padding. */
START_TEST(borders)
{
    const uint64_t n = 1 << 18, half = MQ_ZEROS_RUN / 2;
    static const struct {
        enum mq_role role;
        const char *path;
        uint64_t trail, gap, lead, found;
    } cases[] = {
        {MQ_ROLE_EXPERT_UP, "f", MQ_ZEROS_RUN / 2, 0, MQ_ZEROS_RUN / 2, 1},
        {MQ_ROLE_EXPERT_UP, "f", MQ_ZEROS_RUN / 2, 32, MQ_ZEROS_RUN / 2 - 32, 1},
        {MQ_ROLE_EXPERT_UP, "f", MQ_ZEROS_RUN / 2, 0, MQ_ZEROS_RUN / 2 - 1, 0},
        {MQ_ROLE_EXPERT_UP, "f", MQ_ZEROS_RUN / 2, 1 << 20, MQ_ZEROS_RUN / 2, 0},
        {MQ_ROLE_EXPERT_UP, "g", MQ_ZEROS_RUN / 2, 0, MQ_ZEROS_RUN / 2, 0},
        {MQ_ROLE_HEAD, "f", MQ_ZEROS_RUN / 2, 0, MQ_ZEROS_RUN / 2, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_zeros z = {.count = 0};
        struct mq_zero_place place = {.name = "a", .path = "f", .role = cases[i].role, .bytes = n};
        const struct mq_zero_span first = {.bytes = n,
                                           .trail = cases[i].trail,
                                           .longest = cases[i].trail,
                                           .place = n - cases[i].trail,
                                           .has_weight = true};
        const struct mq_zero_span next = {
            .bytes = n, .lead = cases[i].lead, .longest = cases[i].lead, .has_weight = true};
        mq_zeros_judge(&z, &place, 1024, &first);
        place.name = "b";
        place.path = cases[i].path;
        place.offset = n + cases[i].gap;
        mq_zeros_judge(&z, &place, 1024, &next);
        ck_assert_msg(z.count == cases[i].found, "case %zu", i);
        if (!z.count)
            continue;
        char text[256];
        ck_assert_str_eq(z.listed[0].name, "a");
        ck_assert_uint_eq(z.listed[0].offset, n - half);
        mq_zeros_describe(&z.listed[0], text, sizeof text);
        ck_assert_str_eq(text, "65536 bytes in a row are zero, on into b");
    }
}
END_TEST

/* ---- models ---- */

static const char expert[] = "model.layers.1.block_sparse_moe.experts.3.w1.weight";

static struct mq_view *open_model(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(path, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

static const struct mq_tensor *tensor(const struct mq_view *view, const char *name)
{
    for (size_t i = 0; i < view->tensors_count; i++)
        if (strcmp(view->tensors[i].name, name) == 0)
            return &view->tensors[i];
    ck_abort_msg("%s", name);
    return NULL;
}

static void write_zeros(const struct mq_view *view, const char *name, uint64_t from, uint64_t n)
{
    const struct mq_tensor *t = tensor(view, name);
    void *zeros = calloc(n, 1);
    const int fd = open(view->files[t->file].file.path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, zeros, n, (off_t)(t->offset + from)), (ssize_t)n);
    close(fd);
    free(zeros);
}

/* Opened anew: a file that changes under a view is an error. */
static struct mq_view *again(struct mq_view *view)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", view->path);
    mq_view_close(view);
    return open_model(path);
}

/* The demo's model, an expert's matrix zero, and the last 3 rows of its head. */
static const char *damaged_folder(void)
{
    static char folder[1024];
    char command[5000];
    snprintf(folder, sizeof folder, "%s", mq_test_temporary("zeros"));
    snprintf(command, sizeof command, "rm -rf '%s' && cp -rL '%s' '%s' && chmod -R u+w '%s'",
             folder, mq_test_source("demo/model"), folder, folder);
    ck_assert_int_eq(system(command), 0);
    struct mq_view *view = open_model(folder);
    const struct mq_tensor *t = tensor(view, expert), *head = tensor(view, "lm_head.weight");
    write_zeros(view, expert, 0, t->rows * t->row_bytes);
    write_zeros(view, "lm_head.weight", (head->rows - 3) * head->row_bytes, 3 * head->row_bytes);
    mq_view_close(view);
    return folder;
}

static void expect_expert(const struct mq_zeros *zeros, const char *name)
{
    moeq_error err = {0};
    ck_assert_uint_eq(zeros->count, 1);
    ck_assert_str_eq(zeros->listed[0].name, name);
    ck_assert_int_eq(zeros->listed[0].layer, 1);
    ck_assert_int_eq(zeros->listed[0].expert, 3);
    ck_assert(zeros->listed[0].whole);
    ck_assert_uint_eq(zeros->padding[1].rows, 3);
    ck_assert_int_eq(mq_zeros_status(zeros, &err), MOEQ_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "layer 1, expert 3, expert_gate: all of it"));
}

static void check_weights(const char *path, struct mq_weights_result *r)
{
    const struct mq_context ctx = context();
    moeq_error err = {0};
    struct mq_view *view = open_model(path);
    ck_assert_ok(mq_weights_check(&ctx, view, r, &err));
    mq_view_close(view);
}

static void write_model(const char *folder, const char *output, const char *level, bool gguf)
{
    const struct mq_context ctx = context();
    const struct mq_policy policy = mq_policy_default(mq_level_find(level));
    const struct mq_convert_options options = {.output = output, .replace = true};
    const struct mq_gguf_options none = {0};
    struct mq_convert_result result;
    struct mq_plan *plan;
    moeq_error err = {0};
    struct mq_view *view = open_model(folder);
    ck_assert_ok(gguf ? mq_plan_create_gguf(view, &policy, &none, &plan, &err)
                      : mq_plan_create(view, &policy, &plan, &err));
    ck_assert_msg(mq_convert(&ctx, plan, &options, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    mq_view_close(view);
}

/* Found in the folder, and in what is made of it, at levels whose zeros are zero bytes and at
 * levels whose are not; the checksums are right. */
START_TEST(models)
{
    static const char *const levels[] = {"q4_k", "q3_k"};
    const struct mq_context ctx = context();
    const char *folder = damaged_folder();
    struct mq_weights_result w;
    check_weights(mq_test_source("demo/model"), &w);
    ck_assert_uint_eq(w.zeros.count, 0);
    struct mq_view *view = open_model(folder);
    ck_assert_ok(mq_weights_check(&ctx, view, &w, NULL));
    expect_expert(&w.zeros, expert);
    mq_view_close(view);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const char *file = mq_test_temporary("zeros.moeq");
        struct mq_integrity_result r;
        moeq_error err = {0};
        write_model(folder, file, levels[i], false);
        ck_assert_ok(mq_integrity_check(&ctx, file, &r, &err));
        ck_assert(!r.header_damaged && !r.checksums_damaged && !r.damaged_count);
        expect_expert(&r.zeros, expert);
        ck_assert(!mq_integrity_ok(&r));
        ck_assert_int_eq(mq_integrity_status(&r, &err), MOEQ_CORRUPT);
        cJSON *json = mq_integrity_json(&r);
        ck_assert(cJSON_IsFalse(cJSON_GetObjectItem(json, "ok")));
        ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "zeros")), 1);
        ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "zero_padding")), 1);
        cJSON_Delete(json);
        mq_integrity_free(&r);
    }
    const char *gguf = mq_test_temporary("zeros.gguf");
    write_model(folder, gguf, "q3_k", true);
    view = open_model(gguf);
    ck_assert_ok(mq_weights_check(&ctx, view, &w, NULL));
    expect_expert(&w.zeros, "blk.1.ffn_gate_exps.weight expert 3");
    mq_view_close(view);
}
END_TEST

/* 70,000 zero bytes in the middle of a matrix of a GGUF file. */
START_TEST(hole_in_a_gguf_file)
{
    const struct mq_context ctx = context();
    const char *gguf = mq_test_temporary("hole.gguf");
    struct mq_weights_result w;
    write_model(mq_test_source("demo/model"), gguf, "bf16", true);
    struct mq_view *view = open_model(gguf);
    ck_assert_ok(mq_weights_check(&ctx, view, &w, NULL));
    ck_assert_uint_eq(w.zeros.count, 0);
    write_zeros(view, expert, 1000, 70000);
    view = again(view);
    ck_assert_ok(mq_weights_check(&ctx, view, &w, NULL));
    ck_assert_uint_eq(w.zeros.count, 1);
    ck_assert_uint_ge(w.zeros.listed[0].bytes, 70000);
    ck_assert_uint_lt(w.zeros.listed[0].bytes, 70008);
    ck_assert(!w.zeros.listed[0].whole);
    mq_view_close(view);
}
END_TEST

/* A norm of zeros, and zeros over the border of two experts in one tensor, which are neighbours in
 * the file and not in the view; as a moeq file too. */
START_TEST(norm_and_experts)
{
    static const char norm[] = "model.layers.1.input_layernorm.weight";
    const struct mq_context ctx = context();
    const char *gguf = mq_test_temporary("norm.gguf"), *file = mq_test_temporary("norm.moeq");
    struct mq_weights_result w;
    struct mq_integrity_result r;
    moeq_error err = {0};
    write_model(mq_test_source("demo/model"), gguf, "bf16", true);
    struct mq_view *view = open_model(gguf);
    const struct mq_tensor *t = tensor(view, expert);
    write_zeros(view, expert, t->rows * t->row_bytes - 33000, 66000);
    view = again(view);
    ck_assert_ok(mq_weights_check(&ctx, view, &w, NULL));
    ck_assert_uint_eq(w.zeros.count, 1);
    ck_assert_str_eq(w.zeros.listed[0].name, "blk.1.ffn_gate_exps.weight expert 3");
    ck_assert_str_eq(w.zeros.listed[0].into, "blk.1.ffn_gate_exps.weight expert 4");
    write_zeros(view, norm, 0, tensor(view, norm)->row_bytes);
    view = again(view);
    ck_assert_ok(mq_weights_check(&ctx, view, &w, NULL));
    ck_assert_uint_eq(w.zeros.count, 2);
    mq_view_close(view);
    write_model(gguf, file, "bf16", false);
    ck_assert_ok(mq_integrity_check(&ctx, file, &r, &err));
    ck_assert_uint_ge(r.zeros.count, 1);
    ck_assert_str_eq(r.zeros.listed[0].name, norm);
    mq_integrity_free(&r);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, spans);
    tcase_add_test(tests, judgement);
    tcase_add_test(tests, borders);
    tcase_add_test(tests, norm_and_experts);
    tcase_add_test(tests, models);
    tcase_add_test(tests, hole_in_a_gguf_file);
}

int main(void)
{
    return mq_test_main("zeros", add_tests);
}
