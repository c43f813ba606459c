/*
 * test_gguf.c: GGUF files as models: what is read of a sound one, and one refusal for each thing
 * that can be wrong with the file. What its keys say: test_gguf_config.c; its weights:
 * test_gguf_types.c.
 */
#include "test_model.h"

#include "family.h"
#include "gguf.h"
#include "gguf_build.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- sound files ---- */

START_TEST(small_models)
{
    for (int experts = 0; experts < 2; experts++)
        for (uint32_t version = 2; version <= 3; version++) {
            const char *path = mq_test_temporary("small.gguf");
            struct gguf_build b = {.version = version};
            gguf_small_model(&b, experts);
            gguf_write(&b, path);
            struct mq_view *v = test_open(path);
            ck_assert(v->kind == MQ_VIEW_GGUF && v->kind != MQ_VIEW_MOEQ && !v->hparams.tied_head);
            ck_assert_str_eq(v->family->name, experts ? "mixtral" : "llama");
            ck_assert_uint_eq(v->hparams.experts, experts ? 2 : 0);
            ck_assert_uint_eq(v->hparams.head_dim, 4);
            ck_assert_uint_eq(v->hparams.kv_heads, 1);
            ck_assert(v->hparams.rms_eps == 1e-5f && v->hparams.rope.theta == 1e4);
            ck_assert_uint_eq(v->hparams.sliding_window, 0);
            ck_assert_int_eq(v->hparams.bos, -1);
            /* the second expert's rows stand behind the first's */
            const struct mq_tensor *t = experts ? mq_view_find(v, MQ_ROLE_EXPERT_UP, 0, 1)
                                                : mq_view_find(v, MQ_ROLE_MLP_UP, 0, -1);
            float row[8];
            moeq_error err = {0};
            ck_assert_ok(mq_view_read_rows(v, t, 3, 1, row, &err));
            ck_assert(row[2] == 0.25f * (float)((experts ? 64 : 0) + 3 * 8 + 2 + 1));
            /* q: head 1's row 1 is the first of the half behind row 0's pair */
            const struct mq_tensor *q = mq_view_find(v, MQ_ROLE_ATTN_Q, 0, -1);
            ck_assert_uint_eq(q->stored_interleaved, 2);
            ck_assert_ok(mq_view_read_rows(v, q, 5, 1, row, &err));
            ck_assert(row[0] == 0.25f * (float)(6 * 8 + 1));
            /* and that is where a message says it is */
            ck_assert_int_eq(mq_view_fail_row(&err, MOEQ_MALFORMED, v, q, 5, "row %d", 5),
                             MOEQ_MALFORMED);
            ck_assert_uint_eq(err.offset, q->offset + 6 * q->row_bytes);
            ck_assert_str_eq(err.tensor, mq_tensor_shown(q));
            ck_assert_ptr_nonnull(strstr(err.message, mq_view_tensor_path(v, q)));
            mq_view_prefetch_rows(v, q, 5, 1);
            mq_view_prefetch_rows(v, q, 5, UINT64_MAX); /* none so many: nothing is asked for */
            mq_view_close(v);
        }
}
END_TEST

START_TEST(no_head_is_tied)
{
    const char *path = mq_test_temporary("tied.gguf");
    struct gguf_build b = {.drop = "output.weight"};
    gguf_small_model(&b, false);
    gguf_write(&b, path);
    struct mq_view *v = test_open(path);
    ck_assert(v->hparams.tied_head);
    mq_view_close(v);
}
END_TEST

/* An alignment of its own, and all types of values. */
START_TEST(all_values)
{
    const char *path = mq_test_temporary("values.gguf");
    struct gguf_build b = {.alignment = 64};
    const int64_t minus = -5;
    const double wide = 2.5;
    gguf_key_u32(&b, MQ_GGUF_KEY_ALIGNMENT, 64);
    gguf_key_raw(&b, "x.u8", MQ_GGUF_U8, &(uint8_t){200}, 1);
    gguf_key_raw(&b, "x.i8", MQ_GGUF_I8, &(int8_t){-3}, 1);
    gguf_key_raw(&b, "x.u16", MQ_GGUF_U16, &(uint16_t){60000}, 2);
    gguf_key_raw(&b, "x.i16", MQ_GGUF_I16, &(int16_t){-4}, 2);
    gguf_key_raw(&b, "x.i32", MQ_GGUF_I32, &(int32_t){7}, 4);
    gguf_key_raw(&b, "x.u64", MQ_GGUF_U64, &(uint64_t){1ull << 60}, 8);
    gguf_key_raw(&b, "x.i64", MQ_GGUF_I64, &minus, 8);
    gguf_key_raw(&b, "x.f64", MQ_GGUF_F64, &wide, 8);
    gguf_key_bool(&b, "x.bool", true);
    gguf_key_strings(&b, "x.texts", (const char *const[]){"one", "", "three"}, 3);
    gguf_key_array(&b, "x.floats", MQ_GGUF_F32, (float[]){1, -2}, 4, 2);
    gguf_small_model(&b, true);
    gguf_write(&b, path);
    struct mq_gguf g;
    struct mq_arena *arena = mq_arena_create();
    moeq_error err = {0};
    ck_assert_msg(mq_gguf_read(path, arena, &g, &err) == MOEQ_OK, "%s", err.message);
    static const struct {
        const char *key;
        double value;
        bool whole;
    } numbers[] = {{"x.u8", 200, true},  {"x.i8", -3, false},  {"x.u16", 60000, true},
                   {"x.i16", -4, false}, {"x.i32", 7, true},   {"x.u64", 0x1p60, true},
                   {"x.i64", -5, false}, {"x.f64", 2.5, false}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const struct mq_gguf_key *key = mq_gguf_find(&g, numbers[i].key);
        double value = 0;
        uint64_t whole = 0;
        ck_assert(key && mq_gguf_number(&g, key, 0, &value) && value == numbers[i].value);
        ck_assert(mq_gguf_whole(&g, key, 0, &whole) == numbers[i].whole);
        ck_assert(!numbers[i].whole || (double)whole == value);
    }
    double second = 0;
    ck_assert(mq_gguf_number(&g, mq_gguf_find(&g, "x.floats"), 1, &second) && second == -2);
    struct mq_gguf_strings s = mq_gguf_strings(&g, mq_gguf_find(&g, "x.texts"));
    ck_assert(mq_gguf_next(&s) && s.size == 3 && memcmp(s.text, "one", 3) == 0);
    ck_assert(mq_gguf_next(&s) && s.size == 0 && mq_gguf_next(&s) && s.size == 5);
    ck_assert(!mq_gguf_next(&s));
    ck_assert_uint_eq(g.data_offset % 64, 0);
    mq_gguf_close(&g);
    mq_arena_destroy(arena);
}
END_TEST

/* ---- one refusal each: what is read of the file at all ---- */

/* The small model with bytes at an offset replaced. */
START_TEST(broken_beginnings)
{
    static const struct {
        size_t at, n;
        const char *bytes;
        moeq_status status;
        const char *message;
    } cases[] = {
        {4, 4, "\1\0\0\0", MOEQ_UNSUPPORTED,
         "%s: at byte 4: GGUF version 1, which was in use in August 2023 only; moeq reads 2 and 3: "
         "convert the model again"},
        {4, 4, "\0\0\0\3", MOEQ_UNSUPPORTED,
         "%s: at byte 4: a big-endian GGUF file; moeq reads little-endian ones: "
         "gguf-convert-endian FILE little, of the Python package gguf, turns it into one"},
        {4, 4, "\4\0\0\0", MOEQ_UNSUPPORTED, "%s: at byte 4: GGUF version 4; moeq reads 2 and 3"},
        {8, 4, "\xff\0\0\0", MOEQ_MALFORMED,
         "%s: at byte 8: the number of tensors is 255, more than the file has room for "
         "(truncated?)"},
        {8, 8, "\0\0\0\0\0\0\0\1", MOEQ_LIMIT,
         "%s: at byte 8: the number of tensors is 72057594037927936, more than any model has"},
        {16, 4, "\0\1\0\0", MOEQ_MALFORMED,
         "%s: at byte 16: the number of keys is 256, more than the file has room for "
         "(truncated?)"},
        {24, 8, "\0\0\0\0\0\0\0\0", MOEQ_MALFORMED,
         "%s: at byte 24: the name of a key: expected a length from 1 to 65535, found 0"},
        {24, 4, "\0\0\1\0", MOEQ_MALFORMED,
         "%s: at byte 24: the name of a key: expected a length from 1 to 65535, found 65536"},
        {32, 1, "\xff", MOEQ_MALFORMED, "%s: at byte 24: the name of a key is not UTF-8 text"},
        {32, 1, "", MOEQ_MALFORMED, "%s: at byte 24: the name of a key is not UTF-8 text"},
        {52, 4, "\15\0\0\0", MOEQ_MALFORMED,
         "%s: key 'general.architecture' at byte 52: expected a type of value from 0 to 12, found "
         "13"},
        {56, 4, "\377\377\377\0", MOEQ_MALFORMED,
         "%s: at byte 64: general.architecture needs 16777215 bytes, but the file ends after 2912 "
         "(truncated?)"},
    };
    const char *path = mq_test_temporary("broken.gguf");
    struct gguf_build b = {0};
    gguf_small_model(&b, false);
    struct mq_buffer sound = gguf_finish(&b);
    char *bytes = malloc(sound.size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bytes, sound.data, sound.size);
        memcpy(bytes + cases[i].at, cases[i].bytes, cases[i].n);
        test_write(path, bytes, sound.size);
        test_refused(path, cases[i].status, cases[i].message);
    }
    /* cut anywhere, it is an error and never a crash */
    for (size_t n = 4; n < sound.size; n += n < 1200 ? 3 : 41) {
        struct mq_view *view;
        moeq_error err = {0};
        test_write(path, sound.data, n);
        ck_assert_int_eq(mq_model_open(path, &view, &err), MOEQ_MALFORMED);
        ck_assert_msg(strstr(err.message, "truncated?") != NULL, "%s", err.message);
    }
    free(bytes);
    mq_buffer_free(&sound);
}
END_TEST

/* Arrays that hold one array each, as deep as `depth`; the innermost holds a string. */
static void put_nested(struct gguf_build *b, const char *key, int depth)
{
    struct mq_buffer value = {0};
    for (int i = 1; i < depth; i++)
        mq_buffer_append(&value, (const uint32_t[]){MQ_GGUF_ARRAY, 1, 0}, 12);
    mq_buffer_append(&value, (const uint32_t[]){MQ_GGUF_STRING, 1, 0}, 12);
    mq_buffer_append(&value, "\1\0\0\0\0\0\0\0x", 9);
    gguf_key_raw(b, key, MQ_GGUF_ARRAY, value.data, value.size);
    mq_buffer_free(&value);
}

static void nested_array(struct gguf_build *b)
{
    put_nested(b, "x.deep", 9);
}

static void long_array(struct gguf_build *b)
{
    gguf_key_raw(b, "x.long", MQ_GGUF_ARRAY, "\4\0\0\0\0\0\0\0\0\0\0\100", 12);
}

static void many_strings(struct gguf_build *b)
{
    gguf_key_raw(b, "x.many", MQ_GGUF_ARRAY, "\10\0\0\0\0\0\0\0\1\0\0\0", 12);
}

static void bad_bool(struct gguf_build *b)
{
    gguf_key_raw(b, "x.flag", MQ_GGUF_BOOL, "\2", 1);
}

/* A text of eight bytes' length, three of them: "a", U+0000, "b". */
static void nul_in_text(struct gguf_build *b)
{
    gguf_key_raw(b, "x.text", MQ_GGUF_STRING, "\3\0\0\0\0\0\0\0a\0b", 11);
}

static void again(struct gguf_build *b)
{
    gguf_key_u32(b, "llama.block_count", 1);
}

static void odd_alignment(struct gguf_build *b)
{
    gguf_key_u32(b, MQ_GGUF_KEY_ALIGNMENT, 48);
}

static void huge_alignment(struct gguf_build *b)
{
    gguf_key_u32(b, MQ_GGUF_KEY_ALIGNMENT, 1u << 21);
}

static void text_alignment(struct gguf_build *b)
{
    gguf_key_text(b, MQ_GGUF_KEY_ALIGNMENT, "32");
}

static void twice(struct gguf_build *b)
{
    const float zeros[8] = {0};
    gguf_tensor(b, "output_norm.weight", 0, 1, (uint64_t[]){8}, zeros, sizeof zeros);
}

static void stray(struct gguf_build *b)
{
    const float zeros[8] = {0};
    gguf_tensor(b, "blk.0.attn_q.bias", 0, 1, (uint64_t[]){8}, zeros, sizeof zeros);
}

/* A small model with one thing wrong, and what opening it says ("%s": the file). */
static const struct damage {
    void (*before)(struct gguf_build *b);
    void (*after)(struct gguf_build *b);
    struct gguf_build how;
    bool experts;
    moeq_status status;
    const char *message;
} damages[] = {
    {.before = nested_array,
     .status = MOEQ_LIMIT,
     .message = "%s: key 'x.deep' at byte 54: arrays within arrays, more than 8 deep"},
    {.before = long_array,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'x.long' at byte 54: 4611686018427387904 elements need at least 4 bytes "
                "each, but the file ends after 2954 (truncated?)"},
    {.before = many_strings,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'x.many' at byte 54: 4294967296 elements need at least 8 bytes each, but "
                "the file ends after 2954 (truncated?)"},
    {.before = bad_bool,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'x.flag' at byte 42: expected 0 or 1 for a boolean, found 2"},
    {.before = nul_in_text,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'x.text' at byte 42: expected a text without U+0000, where other readers "
                "end it"},
    {.before = again,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'llama.block_count' at byte 208: is there twice"},
    {.before = odd_alignment,
     .status = MOEQ_MALFORMED,
     .message =
         "%s: key 'general.alignment' at byte 53: expected a power of two up to 1048576, found 48"},
    {.before = huge_alignment,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'general.alignment' at byte 53: expected a power of two up to 1048576, "
                "found 2097152"},
    {.before = text_alignment,
     .status = MOEQ_MALFORMED,
     .message = "%s: key 'general.alignment' at byte 53: expected a u32"},
    {.how = {.change = "output.weight", .field = GGUF_DIMS, .value = 5},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1026: expected 1 to 4 dimensions, found 5"},
    {.how = {.change = "output.weight", .field = GGUF_DIMS},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1026: expected 1 to 4 dimensions, found 0"},
    {.how = {.change = "output.weight", .field = GGUF_NE0},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1026: dimension 0 is 0"},
    {.how = {.change = "output.weight", .field = GGUF_NE0, .value = 1ull << 61},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1026: its shape's product overflows 64 bits"},
    {.how = {.change = "output.weight", .field = GGUF_NE0, .value = 1ull << 59},
     .status = MOEQ_MALFORMED,
     .message =
         "%s: tensor 'output.weight' at byte 2848: needs 9223372036854775808 bytes, but the file "
         "ends at byte 2976: 9223372036854775680 bytes of the file are missing (truncated?)"},
    {.how = {.change = "output.weight", .field = GGUF_TYPE, .value = 4},
     .status = MOEQ_UNSUPPORTED,
     .message = "%s: tensor 'output.weight' at byte 1026: is of type 4, Q4_2, "
                "which llama.cpp gave up in 2023; get a newer file of this model"},
    {.how = {.change = "output.weight", .field = GGUF_TYPE, .value = 12},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1026: rows of 8 weights are no multiple of the "
                "256 of a Q4_K block"},
    {.how = {.change = "output.weight", .field = GGUF_OFFSET, .value = 1},
     .status = MOEQ_MALFORMED,
     .message =
         "%s: tensor 'output.weight' at byte 1026: offset 1 is no multiple of the alignment 32"},
    {.how = {.change = "output.weight", .field = GGUF_OFFSET, .value = 32},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1088: overlaps another tensor: data begins at "
                "32, the tensor before ends at 128"},
    {.how = {.change = "output.weight", .field = GGUF_OFFSET, .value = 3200},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 1088: leaves a hole: data begins at 3200, the "
                "tensor before ends at 1760"},
    {.after = twice,
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output_norm.weight' at byte 3040: is there twice"},
    {.after = stray,
     .status = MOEQ_UNSUPPORTED,
     .message = "%s: tensor 'blk.0.attn_q.bias' at byte 3040: has no place in a llama model of "
                "this metadata: it may change the maths"},
    {.how = {.drop = "blk.0.attn_k.weight"},
     .status = MOEQ_NOT_FOUND,
     .message = "%s: tensor 'blk.0.attn_k.weight' is missing: a llama model of 1 layers needs it"},
    {.how = {.drop = "blk.0.ffn_up_exps.weight"},
     .experts = true,
     .status = MOEQ_NOT_FOUND,
     .message = "%s: tensor 'blk.0.ffn_up_exps.weight' is missing: a mixtral model of 1 layers "
                "with these experts needs it"},
    {.how = {.change = "output.weight", .field = GGUF_NE0, .value = 7},
     .status = MOEQ_MALFORMED,
     .message = "%s: tensor 'output.weight' at byte 2848: expected shape [8, 4] (fastest first) "
                "from the metadata, found [7, 4]"},
};

START_TEST(damaged)
{
    const struct damage *d = &damages[_i];
    const char *path = mq_test_temporary("damaged.gguf");
    struct gguf_build b = d->how;
    if (d->before)
        d->before(&b);
    gguf_small_model(&b, d->experts);
    if (d->after)
        d->after(&b);
    gguf_write(&b, path);
    test_refused(path, d->status, d->message);
}
END_TEST

/* Bytes behind the last tensor: padding is fine, more is not. */
START_TEST(bytes_behind)
{
    const char *path = mq_test_temporary("behind.gguf");
    char more[40] = "";
    for (int n = 31; n <= 32; n++) {
        struct gguf_build b = {0};
        gguf_small_model(&b, false);
        struct mq_buffer out = gguf_finish(&b);
        mq_buffer_append(&out, more, (size_t)n);
        test_write(path, out.data, out.size);
        mq_buffer_free(&out);
        if (n == 31)
            mq_view_close(test_open(path));
        else
            test_refused(path, MOEQ_MALFORMED,
                         "%s: the tensors end at byte 2976, the file at 3008: bytes of something "
                         "else stand behind them (a download over another file?)");
    }
}
END_TEST

/* ---- several files ---- */

START_TEST(split_files)
{
    struct mq_view *v =
        test_open(mq_test_source("tests/fixtures/gguf/mixtral-00001-of-00002.gguf"));
    ck_assert_uint_eq(v->files_count, 2);
    ck_assert_uint_eq(v->tensors_count, 65);
    ck_assert_str_eq(v->files[1].name, "mixtral-00002-of-00002.gguf");
    mq_view_close(v);

    const char *folder = test_model_copy("tests/fixtures/gguf", "split");
    char first[1024], second[1024], message[2200];
    snprintf(first, sizeof first, "%s/mixtral-00001-of-00002.gguf", folder);
    snprintf(second, sizeof second, "%s/mixtral-00002-of-00002.gguf", folder);
    snprintf(message, sizeof message, "%%s: is file 2 of 2 of a split model: give the first, %s",
             first);
    test_refused(second, MOEQ_INVALID_ARGUMENT, message);

    char other[1024];
    snprintf(other, sizeof other, "%s/first.gguf", folder);
    ck_assert_int_eq(link(first, other), 0);
    test_refused(other, MOEQ_INVALID_ARGUMENT,
                 "%s: is file 1 of 2 of a split model: expected a name ending in "
                 "-00001-of-00002.gguf, to find the others");
    ck_assert_int_eq(unlink(second), 0);
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_eq(mq_model_open(first, &view, &err), MOEQ_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "mixtral-00002-of-00002.gguf: is missing: the "
                                              "model is split into 2 files"));
    ck_assert_int_eq(link(first, second), 0);
    snprintf(message, sizeof message, "%s: expected file 2 of 2, its keys say 1 of 2", second);
    err = (moeq_error){0};
    ck_assert_int_eq(mq_model_open(first, &view, &err), MOEQ_MALFORMED);
    ck_assert_str_eq(err.message, message);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, small_models);
    tcase_add_test(tests, no_head_is_tied);
    tcase_add_test(tests, all_values);
    tcase_add_test(tests, broken_beginnings);
    tcase_add_loop_test(tests, damaged, 0, sizeof damages / sizeof *damages);
    tcase_add_test(tests, bytes_behind);
    tcase_add_test(tests, split_files);
}

int main(void)
{
    return mq_test_main("test_gguf", add_tests);
}
