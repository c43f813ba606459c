/* test_nonfinite.c: NaN and infinite weights: counted over the whole model, refused or noted. */
#include "error.h"
#include "nonfinite.h"
#include "open_options.h"
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAN_BF16 = 0x7fc0, INFINITY_BF16 = 0xff80, NAN_F16 = 0x7e00 };

/* ---- counting ---- */

/* Every bit pattern of each format, against the C library's opinion; then around the edges of the
 * blocks that are counted at once. */
START_TEST(counts_every_pattern)
{
    static uint16_t x[65536];
    static float wide[9000];
    for (unsigned i = 0; i < 65536; i++)
        x[i] = (uint16_t)i;
    struct mq_nonfinite found = mq_nonfinite_count("bf16", x, 65536);
    ck_assert_uint_eq(found.count, 256); /* 2 signs of 128 fractions */
    ck_assert_uint_eq(found.first, 0x7f80);
    ck_assert(!found.first_is_nan);
    found = mq_nonfinite_count("f16", x, 65536);
    ck_assert_uint_eq(found.count, 2048);
    ck_assert_uint_eq(found.first, 0x7c00);
    found = mq_nonfinite_count("bf16", x + 0x7f81, 1);
    ck_assert(found.count == 1 && found.first == 0 && found.first_is_nan);
    ck_assert_uint_eq(mq_nonfinite_count("bf16", x, 0).count, 0);
    static const size_t places[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8999};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        wide[places[p]] = -1.0f / 0.0f;
        found = mq_nonfinite_count("f32", wide, 9000);
        ck_assert_uint_eq(found.count, 1);
        ck_assert_uint_eq(found.first, places[p]);
        ck_assert_uint_eq(mq_nonfinite_count("f32", wide, places[p]).count, 0);
        wide[places[p]] = 3.4e38f;
    }
}
END_TEST

START_TEST(adds_parts_in_any_order)
{
    const struct mq_nonfinite none = {0}, nan = {2, 3, true}, infinite = {5, 7, false};
    struct mq_nonfinite a = {0}, b = {0};
    mq_nonfinite_add(&a, 100, &nan);
    mq_nonfinite_add(&a, 50, &none);
    mq_nonfinite_add(&a, 20, &infinite);
    mq_nonfinite_add(&b, 20, &infinite);
    mq_nonfinite_add(&b, 100, &nan);
    ck_assert_uint_eq(a.count, 7);
    ck_assert_uint_eq(a.first, 27);
    ck_assert(!a.first_is_nan);
    ck_assert(memcmp(&a, &b, sizeof a) == 0);
}
END_TEST

/* ---- models ---- */

static struct mq_view *open_model_as(const char *path, bool no_check)
{
    struct mq_view *view;
    moeq_error err = {0};
    const struct mq_open_options options = {.no_check = no_check};
    ck_assert_msg(mq_model_open_with(path, &options, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

static struct mq_view *open_model(const char *path)
{
    return open_model_as(path, false);
}

/* Overwrites the two bytes of a weight, or of a block's scale, that stand `at` bytes into a row. */
static void put(const char *model, const char *tensor, uint64_t row, uint64_t at, uint16_t bits)
{
    struct mq_view *view = open_model(model);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (strcmp(t->name, tensor) != 0)
            continue;
        FILE *f = fopen(view->files[t->file].file.path, "r+b");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(fseek(f, (long)(t->offset + row * t->row_bytes + at), SEEK_SET), 0);
        ck_assert_uint_eq(fwrite(&bits, 1, 2, f), 2);
        ck_assert_int_eq(fclose(f), 0);
        mq_view_close(view);
        return;
    }
    ck_abort_msg("no tensor '%s'", tensor);
}

#define ROUTER "model.layers.0.block_sparse_moe.gate.weight"
#define EXPERT "model.layers.1.block_sparse_moe.experts.2.w2.weight"
#define NORM "model.norm.weight"

/* A model with 4 such weights in 3 tensors. */
static const char *damaged_model(const char *name)
{
    static char model[1024];
    strcpy(model, test_model_copy(MIXTRAL, name));
    put(model, ROUTER, 1, 2 * 5, NAN_BF16);
    put(model, NORM, 0, 2 * 9, INFINITY_BF16);
    put(model, EXPERT, 3, 2 * 7, NAN_BF16);
    put(model, EXPERT, 3, 2 * 6, INFINITY_BF16);
    return model;
}

static const char *fresh(const char *name)
{
    static char path[1024];
    char part[1100];
    strcpy(path, mq_test_temporary(name));
    unlink(path);
    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
    strcat(part, ".journal");
    unlink(part);
    return path;
}

struct attempt {
    const char *level;
    bool allow, no_check;
    const struct mq_policy_override *overrides;
    size_t overrides_count;
    const struct mq_context *context; /* NULL: 2 threads, generic */
    uint64_t weights;                 /* out: what the plan says */
    struct mq_convert_result result;  /* out */
};

/* As `moeq convert` does. */
static moeq_status convert(const char *model, const char *output, struct attempt *a,
                           moeq_error *err)
{
    static const struct mq_context plain = {.isa = MQ_ISA_GENERIC, .threads = 2};
    const struct mq_context *context = a->context ? a->context : &plain;
    const struct mq_convert_options options = {.output = output, .replace = true};
    struct mq_policy policy = mq_policy_default(mq_level_find(a->level));
    struct mq_view *view = open_model_as(model, a->no_check);
    struct mq_plan *plan;
    policy.allow_nonfinite = a->allow;
    policy.overrides = a->overrides;
    policy.overrides_count = a->overrides_count;
    moeq_status status = mq_convert_plan(context, view, &policy, NULL, 0, &plan, err);
    if (status == MOEQ_OK) {
        a->weights = plan->nonfinite_weights;
        status = mq_convert(context, plan, &options, &a->result, err);
    }
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

static void assert_nothing_at(const char *path)
{
    static const char *const ends[] = {"", ".part", ".part.journal"};
    for (size_t i = 0; i < 3; i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        ck_assert_msg(access(name, F_OK) != 0, "%s is left", name);
    }
}

/* All of them are counted before the copy fails, with the same words from any number of threads. */
START_TEST(counts_the_whole_model_before_it_fails)
{
    const char *model = damaged_model("nonfinite"), *path = fresh("nonfinite.moeq");
    static const char *const copies[] = {"bf16", "f16", "f32"};
    for (unsigned i = 0; i < 9; i++) {
        const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 1 + i / 3 * 3};
        struct attempt a = {.level = copies[i % 3], .context = &context};
        moeq_error err = {0};
        ck_assert_int_eq(convert(model, path, &a, &err), MOEQ_UNSUPPORTED);
        ck_assert_str_eq(err.tensor, ROUTER);
        const char *text = strstr(err.message, ": row ");
        ck_assert_ptr_nonnull(text);
        ck_assert_str_eq(text, ": row 1, column 5: weight is NaN; --allow-nonfinite copies such "
                               "weights as they are; in all 4 weights in 3 tensors: 1 in '" ROUTER
                               "' at row 1, column 5; 2 in '" EXPERT
                               "' from row 3, column 6; 1 in '" NORM "' at row 0, column 9");
        assert_nothing_at(path);
    }
}
END_TEST

START_TEST(names_a_few_tensors_and_counts_the_others)
{
    const char *path = fresh("many.moeq");
    char model[1024];
    strcpy(model, test_model_copy(MIXTRAL, "many"));
    for (int e = 0; e < 6; e++) {
        char name[128];
        snprintf(name, sizeof name, "model.layers.0.block_sparse_moe.experts.%d.w1.weight", e % 4);
        put(model, e < 4 ? name : e == 4 ? ROUTER : NORM, 0, 2 * (uint64_t)e, NAN_BF16);
    }
    struct attempt a = {.level = "bf16"};
    moeq_error err = {0};
    ck_assert_int_eq(convert(model, path, &a, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "; in all 6 weights in 6 tensors: 1 in '" ROUTER));
    const char *end = strstr(err.message, "; 2 in 2 others");
    ck_assert(end && strcmp(end, "; 2 in 2 others") == 0);
}
END_TEST

/* Blocks hold none, allowed or not: the first that stands in the way is named, and only such are
 * counted. */
START_TEST(blocks_refuse_them_always)
{
    const char *model = damaged_model("blocks"), *path = fresh("blocks.moeq");
    struct attempt a = {.level = "q4_k", .allow = true};
    moeq_error err = {0};
    ck_assert_int_eq(convert(model, path, &a, &err), MOEQ_UNSUPPORTED);
    ck_assert_str_eq(err.tensor, EXPERT);
    ck_assert_ptr_nonnull(strstr(err.message, "row 3, column 6: weight is infinite; blocks cannot "
                                              "hold such weights: mend the model, or keep their "
                                              "tensors as they are (--tensor 'NAME=bf16' "
                                              "--allow-nonfinite); in all 2 weights in '" EXPERT
                                              "' from row 3, column 6"));
    assert_nothing_at(path);
    /* and as that says */
    const struct mq_policy_override keep = {EXPERT, mq_level_find("bf16")};
    a.overrides = &keep;
    a.overrides_count = 1;
    moeq_error none = {0};
    ck_assert_msg(convert(model, path, &a, &none) == MOEQ_OK, "%s", none.message);
    ck_assert_uint_eq(a.weights, 4);
}
END_TEST

/* The note stands in the file and is read with it; what was copied is what was there. */
START_TEST(notes_what_it_copies)
{
    const char *model = damaged_model("allowed"), *path = fresh("allowed.moeq");
    struct attempt a = {.level = "bf16", .allow = true};
    moeq_error err = {0};
    ck_assert_msg(convert(model, path, &a, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(a.weights, 4);
    const char *note = "copied although NaN or infinite: 4 weights in 3 tensors: 1 in '" ROUTER
                       "' at row 1, column 5; 2 in '" EXPERT "' from row 3, column 6; 1 in '" NORM
                       "' at row 0, column 9";
    struct mq_view *view = open_model(path), *source = open_model(model);
    ck_assert(mq_view_has_note(view, note));
    ck_assert_uint_eq(view->notes_count, source->notes_count + 1);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const size_t n = (size_t)(t->rows * t->row_bytes);
        char *x = malloc(n), *y = malloc(n);
        ck_assert_ok(mq_view_read_rows(view, t, 0, t->rows, x, &err));
        ck_assert_ok(mq_view_read_rows(source, &source->tensors[i], 0, t->rows, y, &err));
        ck_assert_msg(memcmp(x, y, n) == 0, "%s differs", t->name);
        free(x);
        free(y);
    }
    mq_view_close(view);
    mq_view_close(source);
    /* Copied again it is noted once; without leave it is refused again. */
    char again[1024];
    strcpy(again, path);
    const char *copy = fresh("allowed.again.moeq");
    ck_assert_ok(convert(again, copy, &a, &err));
    view = open_model(copy);
    ck_assert(mq_view_has_note(view, note));
    ck_assert_uint_eq(view->notes_count, 1);
    mq_view_close(view);
    a.allow = false;
    ck_assert_int_eq(convert(again, copy, &a, &err), MOEQ_UNSUPPORTED);
}
END_TEST

/* Encoders make weights finite; what is let through is not. */
START_TEST(casts_let_them_through)
{
    char narrow[1024];
    const char *model = damaged_model("cast");
    strcpy(narrow, fresh("cast.f16.moeq"));
    struct attempt a = {.level = "f16", .allow = true}, back = {.level = "f32"};
    moeq_error err = {0};
    ck_assert_ok(convert(model, narrow, &a, &err));
    ck_assert_int_eq(convert(narrow, fresh("cast.f32.moeq"), &back, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message,
                                 "; in all 4 weights in 3 tensors: 1 in '" ROUTER
                                 "' at row 1, column 5; 2 in '" EXPERT "' from row 3, column 6; "));
}
END_TEST

/* A model without one: --allow-nonfinite leaves no trace but that of the recipe. */
START_TEST(notes_nothing_where_there_is_none)
{
    struct attempt a = {.level = "bf16", .allow = true};
    moeq_error err = {0};
    const char *path = fresh("clean.moeq");
    ck_assert_ok(convert(mq_test_source(MIXTRAL), path, &a, &err));
    ck_assert_uint_eq(a.weights, 0);
    struct mq_view *view = open_model(path);
    ck_assert_uint_eq(view->notes_count, 0);
    mq_view_close(view);
}
END_TEST

/* Stops after so many reports of a phase. */
struct phase_stopper {
    atomic_bool cancel;
    const char *phase;
    int left, scans;
};

static void stop_in_phase(void *user, const struct mq_progress *progress)
{
    struct phase_stopper *s = user;
    s->scans += strcmp(progress->phase, "look for NaN") == 0;
    if (strcmp(progress->phase, s->phase) == 0 && --s->left == 0)
        atomic_store(&s->cancel, true);
}

START_TEST(goes_on_where_it_stopped)
{
    char whole[1024], path[1024];
    const char *model = damaged_model("stopped");
    strcpy(whole, fresh("stopped.whole.moeq"));
    strcpy(path, fresh("stopped.moeq"));
    struct attempt a = {.level = "bf16", .allow = true};
    moeq_error err = {0};
    ck_assert_ok(convert(model, whole, &a, &err));
    struct phase_stopper s = {.phase = "convert", .left = 20};
    const struct mq_context context = {.isa = MQ_ISA_GENERIC,
                                       .threads = 1,
                                       .progress = stop_in_phase,
                                       .progress_user = &s,
                                       .cancel = &s.cancel};
    a.context = &context;
    ck_assert_int_eq(convert(model, path, &a, NULL), MOEQ_CANCELLED);
    ck_assert_int_gt(s.scans, 20);
    s.phase = "look for NaN";
    s.left = 5;
    atomic_store(&s.cancel, false);
    ck_assert_int_eq(convert(model, path, &a, NULL), MOEQ_CANCELLED);
    a.context = NULL;
    ck_assert_msg(convert(model, path, &a, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(a.result.tensors_resumed, 20);
    ck_assert(test_files_equal(path, whole));
    /* A run that was stopped while it counts has still not finished the tensors that cannot stay.
     */
    const struct mq_context context_again = context;
    for (int stop = 2; stop < 50; stop += 16) {
        atomic_store(&s.cancel, false);
        s.phase = "convert";
        s.left = stop;
        a = (struct attempt){.level = "bf16", .context = &context_again};
        ck_assert_int_eq(convert(model, path, &a, NULL), MOEQ_CANCELLED);
    }
    a.context = NULL;
    ck_assert_int_eq(convert(model, path, &a, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "; in all 4 weights in 3 tensors: "));
}
END_TEST

/* A scale of a block that is copied, not decoded, is looked at too. */
START_TEST(finds_them_in_copied_blocks)
{
    char model[1024];
    moeq_error err = {0};
    strcpy(model, fresh("source.q8_0.moeq"));
    ck_assert_ok(test_convert(mq_test_source(MIXTRAL), "q8_0", model, NULL, NULL, &err));
    put(model, EXPERT, 2, 34, NAN_F16); /* the row's second block: 32 weights */
    const char *path = fresh("copy.q8_0.moeq");
    struct attempt a = {.level = "q8_0", .no_check = true}; /* its checksum is another's now */
    ck_assert_int_eq(convert(model, path, &a, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message,
                                 ": row 2, column 32: weight is NaN; "
                                 "--allow-nonfinite copies such weights as they are; "
                                 "in all 32 weights in '" EXPERT "' from row 2, column 32"));
    a.allow = true;
    moeq_error none = {0};
    ck_assert_msg(convert(model, path, &a, &none) == MOEQ_OK, "%s", none.message);
    ck_assert_uint_eq(a.weights, 32);
    a.level = "q4_k";
    ck_assert_int_eq(convert(model, path, &a, &none), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(none.message, "(--tensor 'NAME=q8_0' --allow-nonfinite)"));
}
END_TEST

/* NaN stays NaN and infinity infinity in every cast, with the same bytes from every kernel. */
START_TEST(casts_keep_what_they_are)
{
    static const struct {
        const char *from, *to;
        uint32_t bits, carried;
    } cases[] = {
        {"bf16", "f16", 0x7f81, 0x7e08},     {"bf16", "f16", 0xffff, 0xfff8},
        {"bf16", "f16", 0xff80, 0xfc00},     {"bf16", "f32", 0x7f81, 0x7fc10000},
        {"f32", "bf16", 0x7f800001, 0x7fc0}, {"f32", "bf16", 0x7fffffff, 0x7fff},
        {"f32", "bf16", 0xff800000, 0xff80}, {"f32", "f16", 0x7f800001, 0x7e00},
        {"f16", "bf16", 0x7c01, 0x7fc0},     {"f16", "f32", 0xfc01, 0xffc02000},
        {"f16", "f32", 0xfe00, 0xffc00000},  {"f16", "f32", 0x7c00, 0x7f800000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mq_level *from = mq_level_find(cases[i].from),
                              *to = mq_level_find(cases[i].to);
        uint8_t in[40 * 4] = {0}, out[40 * 4], first[40 * 4];
        float weights[40];
        for (size_t k = 1; k < 40; k += 3)
            memcpy(in + k * from->block_bytes, &cases[i].bits, from->block_bytes);
        for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
            if (!mq_isa_available((enum mq_isa)isa))
                continue;
            mq_level_decode_rows(from, (enum mq_isa)isa, in, 1, 40, weights);
            mq_level_encode_rows(to, (enum mq_isa)isa, MQ_EFFORT_DEFAULT, NULL, weights, 1, 40,
                                 out);
            mq_nonfinite_carry(weights, 40, cases[i].to, out);
            const size_t n = 40 * to->block_bytes;
            if (isa == 0)
                memcpy(first, out, n);
            ck_assert_msg(memcmp(first, out, n) == 0, "case %zu: %s differs", i,
                          mq_isa_name((enum mq_isa)isa));
            uint32_t carried = 0;
            memcpy(&carried, out + 7 * to->block_bytes, to->block_bytes);
            ck_assert_msg(carried == cases[i].carried, "case %zu: %x", i, carried);
            const struct mq_nonfinite before = mq_nonfinite_count(cases[i].from, in, 40),
                                      after = mq_nonfinite_count(cases[i].to, out, 40);
            ck_assert_uint_eq(after.count, 13);
            ck_assert_uint_eq(after.first, before.first);
            ck_assert_msg(after.first_is_nan == before.first_is_nan, "case %zu", i);
        }
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, counts_every_pattern);
    tcase_add_test(tests, adds_parts_in_any_order);
    tcase_add_test(tests, counts_the_whole_model_before_it_fails);
    tcase_add_test(tests, names_a_few_tensors_and_counts_the_others);
    tcase_add_test(tests, blocks_refuse_them_always);
    tcase_add_test(tests, notes_what_it_copies);
    tcase_add_test(tests, casts_let_them_through);
    tcase_add_test(tests, notes_nothing_where_there_is_none);
    tcase_add_test(tests, goes_on_where_it_stopped);
    tcase_add_test(tests, finds_them_in_copied_blocks);
    tcase_add_test(tests, casts_keep_what_they_are);
}

int main(void)
{
    return mq_test_main("test_nonfinite", add_tests);
}
