/*
 * test_gguf.c: GGUF files as models: what is read of a sound one, and one refusal for each thing
 * that can be wrong.
 */
#include "test_model.h"

#include "family.h"
#include "gguf.h"
#include "gguf_build.h"
#include "levels.h"
#include "policy.h"
#include "safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_build(struct gguf_build *b, const char *path)
{
    struct mq_buffer out = gguf_finish(b);
    test_write(path, out.data, out.size);
    mq_buffer_free(&out);
}

static struct mq_view *open_view(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(path, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* ---- sound files ---- */

START_TEST(small_models)
{
    for (int experts = 0; experts < 2; experts++)
        for (uint32_t version = 2; version <= 3; version++) {
            const char *path = mq_test_temporary("small.gguf");
            struct gguf_build b = {.version = version};
            gguf_small_model(&b, experts);
            write_build(&b, path);
            struct mq_view *v = open_view(path);
            ck_assert(v->is_gguf && !v->is_moeq && !v->hparams.tied_head);
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
            ck_assert_uint_eq(q->interleaved_heads, 2);
            ck_assert_ok(mq_view_read_rows(v, q, 5, 1, row, &err));
            ck_assert(row[0] == 0.25f * (float)(6 * 8 + 1));
            mq_view_close(v);
        }
}
END_TEST

START_TEST(no_head_is_tied)
{
    const char *path = mq_test_temporary("tied.gguf");
    struct gguf_build b = {.drop = "output.weight"};
    gguf_small_model(&b, false);
    write_build(&b, path);
    struct mq_view *v = open_view(path);
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
    write_build(&b, path);
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
    write_build(&b, path);
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
            mq_view_close(open_view(path));
        else
            test_refused(path, MOEQ_MALFORMED,
                         "%s: the tensors end at byte 2976, the file at 3008: bytes of something "
                         "else stand behind them (a download over another file?)");
    }
}
END_TEST

/* ---- one refusal each: keys of the architecture ---- */

struct key_case {
    const char *key;
    enum mq_gguf_value_type type;
    double number; /* for the numeric types */
    const char *text;
    moeq_status status;
    const char *message; /* behind "key 'k' at byte N: "; NULL: accepted */
};

static void put_case(struct gguf_build *b, const struct key_case *c)
{
    if (c->type == MQ_GGUF_STRING)
        gguf_key_text(b, c->key, c->text);
    else if (c->type == MQ_GGUF_F32)
        gguf_key_f32(b, c->key, (float)c->number);
    else if (c->type == MQ_GGUF_BOOL)
        gguf_key_bool(b, c->key, c->number != 0);
    else if (c->type == MQ_GGUF_ARRAY)
        gguf_key_array(b, c->key, MQ_GGUF_U32, (uint32_t[]){2, 2}, 4, 2);
    else
        gguf_key_u32(b, c->key, (uint32_t)c->number);
}

static const struct key_case keys[] = {
    {"general.architecture", MQ_GGUF_STRING, 0, "falcon", MOEQ_UNSUPPORTED,
     "architecture \"falcon\" is not supported (supported: llama)"},
    {"general.architecture", MQ_GGUF_U32, 1, NULL, MOEQ_MALFORMED, "expected a short text"},
    {"general.type", MQ_GGUF_STRING, 0, "else", MOEQ_UNSUPPORTED,
     "expected \"model\": this is an adapter, a projector or the like"},
    {"general.type", MQ_GGUF_STRING, 0, "model", MOEQ_OK, NULL},
    {"llama.block_count", MQ_GGUF_U32, 0, NULL, MOEQ_MALFORMED,
     "expected a whole number from 1 to 16777216"},
    {"llama.block_count", MQ_GGUF_F32, 1, NULL, MOEQ_MALFORMED,
     "expected a whole number from 1 to 16777216"},
    {"llama.attention.head_count", MQ_GGUF_ARRAY, 0, NULL, MOEQ_UNSUPPORTED,
     "one value for each layer is not implemented"},
    {"llama.attention.layer_norm_rms_epsilon", MQ_GGUF_F32, -1, NULL, MOEQ_MALFORMED,
     "expected a positive number"},
    {"llama.attention.layer_norm_rms_epsilon", MQ_GGUF_F32, (double)NAN, NULL, MOEQ_MALFORMED,
     "expected a positive number"},
    {"llama.rope.freq_base", MQ_GGUF_STRING, 0, "x", MOEQ_MALFORMED, "expected a positive number"},
    {"llama.rope.freq_base", MQ_GGUF_F32, 5e5, NULL, MOEQ_OK, NULL},
    {"llama.attention.key_length", MQ_GGUF_U32, 4, NULL, MOEQ_OK, NULL},
    {"llama.attention.value_length", MQ_GGUF_U32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented beside heads of 4"},
    {"llama.rope.dimension_count", MQ_GGUF_U32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented beside heads of 4"},
    {"llama.rope.scaling.type", MQ_GGUF_STRING, 0, "yarn", MOEQ_UNSUPPORTED,
     "rope scaling \"yarn\" is not implemented (none, linear, and Llama 3's)"},
    {"llama.rope.scaling.type", MQ_GGUF_STRING, 0, "none", MOEQ_OK, NULL},
    {"llama.rope.scaling.factor", MQ_GGUF_F32, 4, NULL, MOEQ_OK, NULL},
    {"llama.rope.scaling.attn_factor", MQ_GGUF_F32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented (only 1). --ignore-config llama.rope.scaling.attn_factor goes on "
     "without it, at the "
     "risk of wrong results"},
    {"llama.attention.sliding_window", MQ_GGUF_U32, 32, NULL, MOEQ_OK, NULL},
    {"llama.attention.sliding_window", MQ_GGUF_U32, 0, NULL, MOEQ_OK, NULL},
    {"llama.expert_weights_scale", MQ_GGUF_F32, 2.5, NULL, MOEQ_UNSUPPORTED,
     "2.5 is not implemented (only 1). --ignore-config llama.expert_weights_scale goes on without "
     "it, at the "
     "risk of wrong results"},
    {"llama.expert_weights_norm", MQ_GGUF_BOOL, 0, NULL, MOEQ_UNSUPPORTED,
     "0 is not implemented (only 1). --ignore-config llama.expert_weights_norm goes on without it, "
     "at the "
     "risk of wrong results"},
    {"llama.expert_weights_norm", MQ_GGUF_STRING, 0, "yes", MOEQ_UNSUPPORTED, "expected a number"},
    {"llama.expert_gating_func", MQ_GGUF_U32, 2, NULL, MOEQ_UNSUPPORTED,
     "2 is not implemented (only 1). --ignore-config llama.expert_gating_func goes on without it, "
     "at the "
     "risk of wrong results"},
    {"llama.logit_scale", MQ_GGUF_F32, 0.5, NULL, MOEQ_UNSUPPORTED,
     "0.5 is not implemented (only 1). --ignore-config llama.logit_scale goes on without it, at "
     "the "
     "risk of wrong results"},
    {"llama.attention.causal", MQ_GGUF_BOOL, 0, NULL, MOEQ_UNSUPPORTED,
     "0 is not implemented (only 1). --ignore-config llama.attention.causal goes on without it, at "
     "the "
     "risk of wrong results"},
    {"llama.attention.clamp_kqv", MQ_GGUF_F32, 8, NULL, MOEQ_UNSUPPORTED,
     "is a key that moeq does not know: it may change the maths. Where it was written by a tool "
     "and "
     "the model does without, --ignore-config llama.attention.clamp_kqv goes on"},
    {"llama.attention.clamp_kqv", MQ_GGUF_F32, 0, NULL, MOEQ_OK, NULL},
    {"llama.tensor_data_layout", MQ_GGUF_STRING, 0, "Meta AI original pth", MOEQ_OK, NULL},
    {"llamas.other", MQ_GGUF_STRING, 0, "another architecture's", MOEQ_OK, NULL},
};

START_TEST(keys_of_the_architecture)
{
    const struct key_case *c = &keys[_i];
    const char *path = mq_test_temporary("key.gguf");
    struct gguf_build b = {.drop = c->key};
    gguf_small_model(&b, true);
    b.drop = NULL;
    put_case(&b, c);
    write_build(&b, path);
    if (!c->message) {
        mq_view_close(open_view(path));
        return;
    }
    struct mq_view *view;
    moeq_error err = {0};
    char expected[400];
    const moeq_status status = mq_model_open(path, &view, &err);
    ck_assert_msg(status == c->status, "%s: %s", c->key, err.message);
    snprintf(expected, sizeof expected, "%s: key '%s' at byte ", path, c->key);
    ck_assert_msg(strncmp(err.message, expected, strlen(expected)) == 0, "%s", err.message);
    const char *text = strstr(err.message + strlen(expected), ": ");
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text + 2, c->message);
    if (!strstr(c->message, "--ignore-config"))
        return;
    const struct mq_open_options open = {.ignored_keys = &c->key, .ignored_keys_count = 1};
    err = (moeq_error){0};
    ck_assert_msg(mq_model_open_with(path, &open, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert_ptr_nonnull(strstr(view->notes[0], c->key));
    mq_view_close(view);
}
END_TEST

START_TEST(keys_that_are_missing)
{
    static const char *const required[] = {
        "llama.vocab_size",        "llama.context_length",      "llama.embedding_length",
        "llama.block_count",       "llama.feed_forward_length", "llama.attention.head_count",
        "llama.expert_used_count", "general.architecture",
    };
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        const char *path = mq_test_temporary("missing.gguf");
        char message[200];
        struct gguf_build b = {.drop = required[i]};
        gguf_small_model(&b, true);
        write_build(&b, path);
        snprintf(message, sizeof message, "%%s: key '%s' is missing", required[i]);
        test_refused(path, MOEQ_MALFORMED, message);
    }
    const char *path = mq_test_temporary("missing.gguf");
    struct gguf_build b = {.drop = "llama.attention.layer_norm_rms_epsilon"};
    gguf_small_model(&b, true);
    write_build(&b, path);
    test_refused(path, MOEQ_MALFORMED,
                 "%s: key 'llama.attention.layer_norm_rms_epsilon' is missing or 0");
}
END_TEST

/* What rope.scaling.* and rope_freqs.weight mean. */
START_TEST(rope_scalings)
{
    const char *path = mq_test_temporary("rope.gguf");
    struct gguf_build b = {0};
    gguf_key_f32(&b, "llama.rope.scaling.factor", 4);
    gguf_small_model(&b, false);
    write_build(&b, path);
    struct mq_view *v = open_view(path);
    ck_assert(v->hparams.rope.type == MQ_ROPE_LINEAR && v->hparams.rope.factor == 4);
    mq_view_close(v);
    static const struct {
        float factors[2];
        bool known;
        size_t notes; /* of ones exactly, which are as good as none, there is nothing to say */
    } cases[] = {
        {{1, 1}, true, 0},  {{0.999999f, 1}, true, 1}, {{1, 8}, false, 0},   {{8, 8}, false, 0},
        {{2, 1}, false, 0}, {{1, INFINITY}, false, 0}, {{NAN, 1}, false, 0}, {{1, 0.5f}, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf_small_model(&b, false);
        gguf_tensor(&b, "rope_freqs.weight", 0, 1, (uint64_t[]){2}, cases[i].factors, 8);
        write_build(&b, path);
        if (cases[i].known) {
            v = open_view(path);
            ck_assert(v->hparams.rope.type == MQ_ROPE_DEFAULT);
            ck_assert_uint_eq(v->notes_count, cases[i].notes);
            mq_view_close(v);
        } else
            test_refused(path, MOEQ_UNSUPPORTED,
                         "%s: tensor 'rope_freqs.weight' at byte 3040: its factors are not those "
                         "of Llama 3's scaling of positions (low 1, high 4): which they are is not "
                         "known");
    }
    gguf_small_model(&b, false);
    gguf_tensor(&b, "rope_freqs.weight", 0, 1, (uint64_t[]){3}, (float[]){1, 1, 1}, 12);
    write_build(&b, path);
    test_refused(path, MOEQ_MALFORMED,
                 "%s: tensor 'rope_freqs.weight' at byte 3040: expected F32 [2], half of a head, "
                 "found F32 [3]");
}
END_TEST

/* ---- several files ---- */

#define FIXTURES "tests/fixtures/gguf/"

START_TEST(split_files)
{
    struct mq_view *v = open_view(mq_test_source(FIXTURES "mixtral-00001-of-00002.gguf"));
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

/* ---- types ---- */

/* As the `gguf` package has them (tests/data/make_gguf_types.py). */
START_TEST(types_are_those_of_gguf)
{
    FILE *f = fopen(mq_test_source("tests/formats/data/gguf_types.txt"), "r");
    unsigned id, weights, bytes, rows = 0;
    char name[32];
    ck_assert_ptr_nonnull(f);
    for (; fscanf(f, "%u %31s %u %u", &id, name, &weights, &bytes) == 4; rows++) {
        const struct mq_gguf_type *type = mq_gguf_type_by_id(id);
        ck_assert_msg(type && strcmp(type->name, name) == 0, "%u %s", id, name);
        ck_assert_uint_eq(type->block_weights, weights);
        ck_assert_uint_eq(type->block_bytes, bytes);
        /* and a level of the name, where there is one, has the same blocks */
        const struct mq_level *level = mq_level_of_storage(type->storage);
        ck_assert_str_eq(level->name, type->storage);
        ck_assert_uint_eq(level->block_weights, weights);
        ck_assert_uint_eq(level->block_bytes, bytes);
    }
    fclose(f);
    ck_assert_uint_ge(rows, 33);
}
END_TEST

/* A model of which every matrix is of one type, its blocks all zeros but the first bytes. */
static void write_of_type(const struct mq_gguf_type *type, const char *path)
{
    static const struct {
        const char *name;
        uint32_t rows, experts;
        bool plain; /* F32 */
    } tensors[] = {
        {"token_embd.weight", 4, 1, false},
        {"blk.0.attn_norm.weight", 1, 1, true},
        {"blk.0.attn_q.weight", 256, 1, false},
        {"blk.0.attn_k.weight", 128, 1, false},
        {"blk.0.attn_v.weight", 128, 1, false},
        {"blk.0.attn_output.weight", 256, 1, false},
        {"blk.0.ffn_norm.weight", 1, 1, true},
        {"blk.0.ffn_gate_inp.weight", 2, 1, false},
        {"blk.0.ffn_gate_exps.weight", 256, 2, false},
        {"blk.0.ffn_up_exps.weight", 256, 2, false},
        {"blk.0.ffn_down_exps.weight", 256, 2, false},
        {"output_norm.weight", 1, 1, true},
        {"output.weight", 4, 1, false},
    };
    struct gguf_build b = {0};
    static char zeros[256 * 2 * 256 * 8];
    gguf_key_text(&b, MQ_GGUF_KEY_ARCHITECTURE, "llama");
    gguf_key_u32(&b, "llama.context_length", 64);
    gguf_key_u32(&b, "llama.vocab_size", 4);
    gguf_key_u32(&b, "llama.embedding_length", 256);
    gguf_key_u32(&b, "llama.block_count", 1);
    gguf_key_u32(&b, "llama.feed_forward_length", 256);
    gguf_key_u32(&b, "llama.attention.head_count", 2);
    gguf_key_u32(&b, "llama.attention.head_count_kv", 1);
    gguf_key_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_key_u32(&b, "llama.expert_count", 2);
    gguf_key_u32(&b, "llama.expert_used_count", 1);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const bool plain = tensors[i].plain;
        const uint64_t ne[] = {256, tensors[i].rows, tensors[i].experts};
        const uint64_t bytes = 256 / (plain ? 1 : type->block_weights) *
                               (plain ? 4 : type->block_bytes) * ne[1] * ne[2];
        zeros[0] = (char)i;
        gguf_tensor(&b, tensors[i].name, plain ? 0 : type->id,
                    ne[2] > 1   ? 3
                    : ne[1] > 1 ? 2
                                : 1,
                    ne, zeros, bytes);
        while (b.data.size % MQ_GGUF_ALIGNMENT)
            mq_buffer_putc(&b.data, 0);
    }
    write_build(&b, path);
}

/* Inspect, fit and copying need the sizes of blocks only; what needs weights refuses by name. */
START_TEST(every_type_can_be_carried)
{
    for (size_t i = 0; i < mq_gguf_types_count; i++) {
        const struct mq_gguf_type *type = &mq_gguf_types[i];
        const char *path = mq_test_temporary("type.gguf");
        write_of_type(type, path);
        struct mq_view *v = open_view(path);
        const struct mq_tensor *t = mq_view_find(v, MQ_ROLE_EXPERT_UP, 0, 1);
        const struct mq_level *level;
        const struct mq_policy as_stored = {0};
        struct mq_plan *plan;
        moeq_error err = {0};
        ck_assert_str_eq(t->storage, type->storage);
        ck_assert_str_eq(mq_tensor_shown(t), "blk.0.ffn_up_exps.weight expert 1");
        ck_assert_ok(mq_tensor_stored(v, t, &level, &err));
        ck_assert_uint_eq(t->row_bytes, 256 / type->block_weights * type->block_bytes);
        ck_assert_ok(mq_plan_create(v, &as_stored, &plan, &err));
        ck_assert_uint_eq(plan->total.bytes, plan->total.source_bytes);
        mq_plan_free(plan);
        if (mq_level_can_decode(level)) {
            ck_assert_ok(mq_tensor_level(v, t, &level, &err));
        } else {
            const struct mq_policy q8_0 = mq_policy_default(mq_level_find("q8_0"));
            ck_assert_int_eq(mq_tensor_level(v, t, &level, &err), MOEQ_UNSUPPORTED);
            ck_assert_ptr_nonnull(
                strstr(err.message, "tensor 'blk.0.ffn_up_exps.weight expert 1'"));
            ck_assert_ptr_nonnull(strstr(err.message, type->storage));
            ck_assert_int_eq(mq_plan_create(v, &q8_0, &plan, NULL), MOEQ_UNSUPPORTED);
        }
        ck_assert_uint_eq(v->notes_count, type->block_weights > 1); /* of the router */
        mq_view_close(v);
    }
}
END_TEST

static void convert_as_stored(const char *from, const char *to)
{
    const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 2};
    const struct mq_convert_options how = {.output = to, .replace = true};
    const struct mq_policy as_stored = {0};
    struct mq_convert_result result;
    struct mq_plan *plan;
    struct mq_view *v = open_view(from);
    moeq_error err = {0};
    ck_assert_msg(mq_plan_create(v, &as_stored, &plan, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(mq_convert(&context, plan, &how, &result, &err) == MOEQ_OK, "%s", err.message);
    mq_plan_free(plan);
    mq_view_close(v);
}

/* By way of a moeq file: the same blocks, a quantized router and all. */
START_TEST(blocks_are_carried_through)
{
    static const char *const names[] = {"iq4_xs", "q8_0", "mxfp4"};
    for (size_t n = 0; n < 3; n++) {
        const char *path = mq_test_temporary("carried.gguf"),
                   *moeq = mq_test_temporary("carried.moeq");
        write_of_type(mq_gguf_type_by_storage(names[n]), path);
        convert_as_stored(path, moeq);
        struct mq_view *a = open_view(path), *b = open_view(moeq);
        ck_assert(b->is_moeq && a->tensors_count == b->tensors_count);
        for (size_t i = 0; i < a->tensors_count; i++) {
            const struct mq_tensor *s = &a->tensors[i], *t = &b->tensors[i];
            const size_t size = s->rows * s->row_bytes;
            char *x = malloc(size), *y = malloc(size);
            moeq_error err = {0};
            ck_assert_str_eq(s->storage, t->storage);
            ck_assert_uint_eq(s->row_bytes, t->row_bytes);
            ck_assert_ok(mq_view_read_rows(a, s, 0, s->rows, x, &err));
            ck_assert_ok(mq_view_read_rows(b, t, 0, t->rows, y, &err));
            ck_assert_int_eq(memcmp(x, y, size), 0);
            free(x);
            free(y);
        }
        mq_view_close(a);
        mq_view_close(b);
    }
}
END_TEST

/* GGUF files that hold something else than a model. */
START_TEST(other_contents_are_named)
{
    static const struct {
        const char *key, *value, *says;
    } others[] = {
        {"general.type", "adapter",
         "%s: is a LoRA adapter, no model: it has no weights of its "
         "own: merge it into its base model (llama-export-lora)"},
        {"general.type", "imatrix",
         "%s: is an importance matrix, no model: it has no weights: "
         "give the model that it was made of"},
        {"general.type", "mmproj",
         "%s: is the projector of a model that sees or hears (mmproj), "
         "no model: give the language model's file beside it"},
        {"general.architecture", "controlvector",
         "%s: is a control vector, no model: it has no weights of its own: give the model that it "
         "steers"},
        {"general.architecture", "clip",
         "%s: is the projector of a model that sees or hears (mmproj), no model: give the language "
         "model's file beside it"},
    };
    const char *path = mq_test_temporary("contents.gguf");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct gguf_build b = {0};
        gguf_key_text(&b, others[i].key, others[i].value);
        write_build(&b, path);
        test_refused(path, MOEQ_UNSUPPORTED, others[i].says);
    }
    struct gguf_build b = {0};
    gguf_key_text(&b, "general.architecture", "llama");
    gguf_tensor(&b, "blk.0.attn_q.weight.lora_a", 0, 1, (const uint64_t[]){4}, (float[4]){0},
                sizeof(float[4]));
    write_build(&b, path);
    test_refused(path, MOEQ_UNSUPPORTED, others[0].says);
    b = (struct gguf_build){0};
    gguf_key_text(&b, "general.architecture", "llama");
    write_build(&b, path);
    test_refused(path, MOEQ_UNSUPPORTED,
                 "%s: has a vocabulary and no tensors, as llama.cpp's ggml-vocab-*.gguf: give the "
                 "model's file");
}
END_TEST

START_TEST(strangers_are_named)
{
    static const struct {
        uint32_t id;
        const char *says;
    } strangers[] = {
        {31, "is of type 31, Q4_0_4_4, which llama.cpp gave up"},
        {36, "is of type 36, IQ4_NL_4_4 (or BitNet's I2_S), which llama.cpp gave up"},
        {139, "is of type 139, IQ4_K, which only ik_llama.cpp reads"},
        {212, "is of type 212, which only ik_llama.cpp reads"},
        {99, "is of type 99, which is unknown"},
        {UINT32_MAX, "is of type 4294967295, which is unknown"},
    };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        const char *path = mq_test_temporary("stranger.gguf");
        struct gguf_build b = {
            .change = "output.weight", .field = GGUF_TYPE, .value = strangers[i].id};
        struct mq_view *v;
        moeq_error err = {0};
        gguf_small_model(&b, false);
        write_build(&b, path);
        ck_assert_int_eq(mq_model_open(path, &v, &err), MOEQ_UNSUPPORTED);
        ck_assert_msg(strstr(err.message, strangers[i].says), "%s", err.message);
    }
}
END_TEST

/* ---- weights ---- */

/* Decoded rows are what the `gguf` package decodes, in Hugging Face's order. */
START_TEST(weights_are_those_of_gguf)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors golden;
    moeq_error err = {0};
    struct mq_view *v = open_view(mq_test_source(FIXTURES "types.gguf"));
    ck_assert_ok(
        mq_safetensors_open(mq_test_source(FIXTURES "types.safetensors"), arena, &golden, &err));
    size_t compared = 0;
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_tensor *t = &v->tensors[i];
        const struct mq_st_entry *e = mq_safetensors_find(&golden, t->name);
        const struct mq_level *level;
        if (!e)
            continue;
        float *want = malloc(e->size_bytes), *have = malloc(e->size_bytes);
        uint8_t *bytes = malloc(t->rows * t->row_bytes);
        ck_assert(want && have && bytes && e->size_bytes == t->rows * t->cols * 4);
        ck_assert_ok(mq_file_read_at(&golden.file, e->offset, want, e->size_bytes, &err));
        ck_assert_ok(mq_view_read_rows(v, t, 0, t->rows, bytes, &err));
        ck_assert_ok(mq_tensor_level(v, t, &level, &err));
        mq_level_decode_rows(level, MQ_ISA_GENERIC, bytes, t->rows, t->cols, have);
        ck_assert_msg(memcmp(want, have, e->size_bytes) == 0, "%s differs", t->name);
        compared++;
        free(want);
        free(have);
        free(bytes);
    }
    ck_assert_uint_eq(compared, golden.count);
    ck_assert_uint_eq(compared, 11); /* of ten types */
    mq_safetensors_close(&golden);
    mq_arena_destroy(arena);
    mq_view_close(v);
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
    tcase_add_loop_test(tests, keys_of_the_architecture, 0, sizeof keys / sizeof *keys);
    tcase_add_test(tests, keys_that_are_missing);
    tcase_add_test(tests, rope_scalings);
    tcase_add_test(tests, split_files);
    tcase_add_test(tests, types_are_those_of_gguf);
    tcase_add_test(tests, every_type_can_be_carried);
    tcase_add_test(tests, blocks_are_carried_through);
    tcase_add_test(tests, other_contents_are_named);
    tcase_add_test(tests, strangers_are_named);
    tcase_add_test(tests, weights_are_those_of_gguf);
}

int main(void)
{
    return mq_test_main("test_gguf", add_tests);
}
