/* test_gguf_types.c: the types of tensors of GGUF files, carried through and decoded. */
#include "test_model.h"

#include "gguf_build.h"
#include "levels.h"
#include "policy.h"
#include "safetensors.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    gguf_write(&b, path);
}

/* Inspect, fit and copying need the sizes of blocks only; what needs weights refuses by name. */
START_TEST(every_type_can_be_carried)
{
    for (size_t i = 0; i < mq_gguf_types_count; i++) {
        const struct mq_gguf_type *type = &mq_gguf_types[i];
        const char *path = mq_test_temporary("type.gguf");
        write_of_type(type, path);
        struct mq_view *v = test_open(path);
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
    struct mq_view *v = test_open(from);
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
        struct mq_view *a = test_open(path), *b = test_open(moeq);
        ck_assert(b->kind == MQ_VIEW_MOEQ && a->tensors_count == b->tensors_count);
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
        gguf_write(&b, path);
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
    struct mq_view *v = test_open(mq_test_source("tests/fixtures/gguf/types.gguf"));
    ck_assert_ok(mq_safetensors_open(mq_test_source("tests/fixtures/gguf/types.safetensors"), arena,
                                     &golden, &err));
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
    tcase_add_test(tests, types_are_those_of_gguf);
    tcase_add_test(tests, every_type_can_be_carried);
    tcase_add_test(tests, blocks_are_carried_through);
    tcase_add_test(tests, strangers_are_named);
    tcase_add_test(tests, weights_are_those_of_gguf);
}

int main(void)
{
    return mq_test_main("test_gguf_types", add_tests);
}
