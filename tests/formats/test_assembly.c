/*
 * test_assembly.c: tensors in odd layouts and codes, read as rows. data/sources.safetensors has them all,
 * and the weights that they hold, by tests/data/make_source_goldens.py.
 */
#include "assembly.h"
#include "error.h"
#include "levels.h"
#include "mlx_forms.h"
#include "place_tensor.h"
#include "st_edit.h"
#include "stored.h"
#include "test_model.h"
#include "view_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES "tests/formats/data/sources.safetensors"
#define BOTH (MQ_PARTS_TRANSPOSED | MQ_PARTS_ALTERNATE)

/* A view of the file's tensors, of a model of three experts whose layer has the rows of q, k and v. */
struct sources {
    struct mq_view *view;
    struct mq_tensor_set set;
    struct mq_program layer;
    const struct mq_program *layers[1];
    struct mq_model_program program;
};

static struct sources *sources_open(const char *path)
{
    static const struct mq_slot qkv[] = {{.role = MQ_ROLE_ATTN_Q, .rows = 6, .cols = 7},
                                         {.role = MQ_ROLE_ATTN_K, .rows = 2, .cols = 7},
                                         {.role = MQ_ROLE_ATTN_V, .rows = 3, .cols = 7}};
    struct sources *s = calloc(1, sizeof *s);
    moeq_error err = {0};
    ck_assert_ptr_nonnull(s);
    s->layer.steps_count = 1;
    s->layer.steps[0].slots_count = 3;
    memcpy(s->layer.steps[0].slots, qkv, sizeof qkv);
    s->layers[0] = &s->layer;
    s->program.layers = s->layers;
    s->view = mq_view_create(path);
    ck_assert_ptr_nonnull(s->view);
    s->view->hparams.experts = 3;
    s->view->hparams.layers = 1;
    s->view->program = &s->program;
    ck_assert_msg(!mq_tensor_set_open(&s->set, s->view->arena, &path, 1, false, &err), "%s",
                  err.message);
    s->view->files = mq_arena_alloc(s->view->arena, 1, sizeof *s->view->files);
    ck_assert_ptr_nonnull(s->view->files);
    s->view->files_count = 1;
    ck_assert(!mq_file_open(path, &s->view->files[0].file, &err));
    return s;
}

static void sources_close(struct sources *s)
{
    mq_view_close(s->view);
    mq_tensor_set_free(&s->set);
    free(s);
}

#define F8_BLOCKS                                                    \
    {                                                                \
        .method = MQ_SOURCE_F8, .block_rows = 128, .block_cols = 128 \
    }
#define F8                     \
    {                          \
        .method = MQ_SOURCE_F8 \
    }
#define MXFP4                     \
    {                             \
        .method = MQ_SOURCE_MXFP4 \
    }
#define SCHEME(of, b, g, z)                                        \
    {                                                              \
        .method = MQ_SOURCE_##of, .schemes_count = 1, .schemes = { \
            {.bits = b, .group = g, .zeros = z}                    \
        }                                                          \
    }
#define PACKED(b, g) SCHEME(COMPRESSED, b, g, false)
#define PACKED_ZEROS(b, g) SCHEME(COMPRESSED, b, g, true)
#define MLX(b, g) SCHEME(MLX, b, g, true)
#define MLX_MXFP4                              \
    {                                          \
        .method = MQ_SOURCE_MLX, .mxfp4 = true \
    }
#define CT_MXFP4                                      \
    {                                                 \
        .method = MQ_SOURCE_COMPRESSED, .mxfp4 = true \
    }
#define CT_NVFP4                                      \
    {                                                 \
        .method = MQ_SOURCE_COMPRESSED, .nvfp4 = true \
    }
#define AWQ SCHEME(AWQ, 4, 32, true)
#define GPTQ(b, g, less, any)                                                        \
    {                                                                                \
        .method = MQ_SOURCE_GPTQ, .schemes_count = 1,                                \
        .schemes = {{.bits = b, .group = g, .zeros = true}}, .zeros_less_one = less, \
        .reordered = any                                                             \
    }
/* A tensor of 21 x 96 in compressed-tensors' form, and one of 32 x 96 in GPTQ's. */
#define CT(name, storage, ...)                                                               \
    {                                                                                        \
        name ".weight", name, storage, __VA_ARGS__, NOT_FUSED, -1, 2, 21, 96, MQ_ROLE_ATTN_O \
    }
#define OF_MLX(name, ...)                                                                    \
    {                                                                                        \
        name ".weight", name, "a8_32", __VA_ARGS__, NOT_FUSED, -1, 2, 5, 128, MQ_ROLE_ATTN_O \
    }
#define TURNED(name, storage, ...)                                                           \
    {                                                                                        \
        name ".weight", name, storage, __VA_ARGS__, NOT_FUSED, -1, 2, 32, 96, MQ_ROLE_ATTN_O \
    }
#define NOT_FUSED 0, 0

static const struct source {
    const char *name, *want, *storage;
    struct mq_source_claim claim;
    uint32_t parts, part;
    int expert;
    uint32_t dims;
    uint64_t rows, cols;
    enum mq_role role;
} sources[] = {
    {"rows", "gate", "f16", {0}, 2, 0, 1, 2, 5, 7, MQ_ROLE_EXPERT_GATE},
    {"rows", "up", "f16", {0}, 2, 1, 2, 2, 5, 7, MQ_ROLE_EXPERT_UP},
    {"transposed", "gate", "f16", {0}, 2, MQ_PARTS_TRANSPOSED, 1, 2, 5, 7, MQ_ROLE_EXPERT_GATE},
    {"transposed", "up", "f16", {0}, 2, 1 | MQ_PARTS_TRANSPOSED, 2, 2, 5, 7, MQ_ROLE_EXPERT_UP},
    {"alternating", "gate", "f16", {0}, 2, MQ_PARTS_ALTERNATE, 1, 2, 5, 7, MQ_ROLE_EXPERT_GATE},
    {"alternating", "up", "f16", {0}, 2, 1 | MQ_PARTS_ALTERNATE, 2, 2, 5, 7, MQ_ROLE_EXPERT_UP},
    {"both", "gate", "f16", {0}, 2, BOTH, 1, 2, 5, 7, MQ_ROLE_EXPERT_GATE},
    {"both", "up", "f16", {0}, 2, 1 | BOTH, 2, 2, 5, 7, MQ_ROLE_EXPERT_UP},
    {"down", "down", "f16", {0}, 1, MQ_PARTS_TRANSPOSED, 1, 2, 5, 7, MQ_ROLE_EXPERT_DOWN},
    {"flat", "gate", "f16", {0}, 1, MQ_PARTS_FLAT_EXPERTS, 1, 2, 5, 7, MQ_ROLE_EXPERT_GATE},
    {"flat_transposed",
     "down",
     "f16",
     {0},
     1,
     MQ_PARTS_FLAT_EXPERTS | MQ_PARTS_TRANSPOSED,
     1,
     2,
     5,
     7,
     MQ_ROLE_EXPERT_DOWN},
    {"bias", "bias_gate", "f16", {0}, 2, MQ_PARTS_ALTERNATE, 1, 1, 1, 5, MQ_ROLE_EXPERT_GATE},
    {"bias", "bias_up", "f16", {0}, 2, 1 | MQ_PARTS_ALTERNATE, 2, 1, 1, 5, MQ_ROLE_EXPERT_UP},
    {"bias_rows", "bias_gate", "f16", {0}, 2, 0, 1, 1, 1, 5, MQ_ROLE_EXPERT_GATE},
    {"bias_rows", "bias_up", "f16", {0}, 2, 1, 2, 1, 1, 5, MQ_ROLE_EXPERT_UP},
    {"qkv", "q", "f16", {0}, 3, MQ_PARTS_QKV, -1, 2, 6, 7, MQ_ROLE_ATTN_Q},
    {"qkv", "k", "f16", {0}, 3, 1 | MQ_PARTS_QKV, -1, 2, 2, 7, MQ_ROLE_ATTN_K},
    {"qkv", "v", "f16", {0}, 3, 2 | MQ_PARTS_QKV, -1, 2, 3, 7, MQ_ROLE_ATTN_V},
    {"taps", "taps", "f16", {0}, NOT_FUSED, -1, 2, 5, 7, MQ_ROLE_MIX_CONV},
    {"vector", "vector", "f16", {0}, NOT_FUSED, -1, 1, 1, 5, MQ_ROLE_ATTN_NORM},
    {"f8.blocks.weight", "f8.blocks.weight", "f8_e4m3", F8_BLOCKS, NOT_FUSED, -1, 2, 130, 150,
     MQ_ROLE_ATTN_O},
    {"f8.row.weight", "f8.row.weight", "f8_e4m3", F8, NOT_FUSED, -1, 2, 9, 20, MQ_ROLE_ATTN_O},
    {"f8.one.weight", "f8.one.weight", "f8_e4m3", F8, NOT_FUSED, -1, 2, 3, 20, MQ_ROLE_ATTN_O},
    {"f8.one1.weight", "f8.one1.weight", "f8_e4m3", F8, NOT_FUSED, -1, 2, 3, 20, MQ_ROLE_ATTN_O},
    {"f8.fused", "f8.fused", "f8_e4m3", F8, 2, 1, 1, 2, 4, 20, MQ_ROLE_EXPERT_UP},
    {"mx", "mx", "mxfp4", MXFP4, 2, 1 | BOTH, 1, 2, 4, 64, MQ_ROLE_EXPERT_UP},
    {"i4.weight", "i4", "i4_32", PACKED(4, 32), NOT_FUSED, -1, 2, 5, 128, MQ_ROLE_EXPERT_UP},
    {"i8.weight", "i8", "i8_32", PACKED(8, 128), NOT_FUSED, -1, 2, 5, 128, MQ_ROLE_EXPERT_UP},
    {"i4c.weight", "i4c", "i4_32", PACKED(4, 0), NOT_FUSED, -1, 2, 5, 128, MQ_ROLE_EXPERT_UP},
    CT("ct2", "i8_32", PACKED(2, 32)),
    CT("ct3", "i8_32", PACKED(3, 32)),
    CT("ct4z", "i8_32", PACKED_ZEROS(4, 32)),
    CT("ct5z", "i8_32", PACKED_ZEROS(5, 32)),
    CT("ct6z", "i8_32", PACKED_ZEROS(6, 0)),
    CT("ct7", "i8_32", PACKED(7, 0)),
    CT("ct8z", "a8_32", PACKED_ZEROS(8, 32)),
    CT("ct8zf", "f32", PACKED_ZEROS(8, 32)),
    CT("ct4i", "f32", PACKED_ZEROS(4, 32)),
    CT("by_row", "i8_32", PACKED(8, 0)),
    CT("by_rowz", "a8_32", PACKED_ZEROS(8, 0)),
    CT("by_group", "i8_32", PACKED(8, 32)),
    CT("by_groupz", "a8_32", PACKED_ZEROS(8, 32)),
    CT("by_matrix", "i8_32", PACKED(8, MQ_GROUP_TENSOR)),
    CT("by_matrixz", "a8_32", PACKED_ZEROS(8, MQ_GROUP_TENSOR)),
    OF_MLX("mlx2g32", MLX(2, 32)),
    OF_MLX("mlx3g64", MLX(3, 64)),
    OF_MLX("mlx4g64", MLX(4, 64)),
    OF_MLX("mlx4g128", MLX(4, 128)),
    OF_MLX("mlx5g32", MLX(5, 32)),
    OF_MLX("mlx6g128", MLX(6, 128)),
    OF_MLX("mlx8g32", MLX(8, 32)),
    {"mlxe.weight", "mlxe", "a8_32", MLX(4, 64), 1, 0, 1, 2, 5, 128, MQ_ROLE_EXPERT_UP},
    {"mlxmx.weight", "mlxmx", "mxfp4", MLX_MXFP4, 1, 0, 2, 2, 5, 128, MQ_ROLE_EXPERT_UP},
    {"ctmx.weight", "mlxmx", "mxfp4", CT_MXFP4, NOT_FUSED, -1, 2, 5, 128, MQ_ROLE_ATTN_O},
    {"f8.nv.weight", "nv", "f32", CT_NVFP4, NOT_FUSED, -1, 2, 5, 96, MQ_ROLE_ATTN_O},
    TURNED("gptq2", "i8_32", GPTQ(2, 32, true, false)),
    TURNED("gptq3", "i8_32", GPTQ(3, 32, true, false)),
    TURNED("gptq4", "i8_32", GPTQ(4, 32, true, false)),
    TURNED("gptq8", "a8_32", GPTQ(8, 0, true, false)),
    TURNED("gptq4b", "i8_32", GPTQ(4, 0, false, true)),
    TURNED("gptqi", "f32", GPTQ(4, 32, true, true)),
    TURNED("gptq16", "f32", GPTQ(4, 16, true, false)),
    TURNED("awq", "i8_32", AWQ),
};
enum { SOURCES_COUNT = sizeof sources / sizeof *sources };

static moeq_status place(struct sources *s, const struct source *c, struct mq_tensor *t,
                         moeq_error *err)
{
    const struct mq_tensor_alias aliases[] = {{c->role, c->name, c->parts, c->part}, {0}};
    bool found;
    *t = (struct mq_tensor){.name = c->want,
                            .role = c->role,
                            .expert = c->expert,
                            .dims = c->dims,
                            .rows = c->rows,
                            .cols = c->cols};
    s->view->claim = c->claim;
    const moeq_status status =
        mq_place_tensor(s->view, &s->set, c->name, c->parts ? aliases : NULL, t, &found, err);
    ck_assert(status || found);
    return status;
}

/* All rows at once, and in chunks of every size. */
static float *read_all(struct sources *s, const struct mq_tensor *t, uint8_t **rows)
{
    moeq_error err = {0};
    const struct mq_level *level;
    ck_assert_msg(!mq_tensor_level(s->view, t, &level, &err), "%s", err.message);
    uint8_t *all = mq_test_guarded(t->rows * t->row_bytes);
    float *weights = mq_test_guarded(t->rows * t->cols * sizeof *weights);
    ck_assert_msg(!mq_view_read_rows(s->view, t, 0, t->rows, all, &err), "%s", err.message);
    for (uint64_t step = 1; step < t->rows; step = step * 2 + 1) {
        uint8_t *some = mq_test_guarded(step * t->row_bytes);
        for (uint64_t row = 0; row < t->rows; row += step) {
            const uint64_t n = row + step < t->rows ? step : t->rows - row;
            mq_view_prefetch_rows(s->view, t, row, n);
            ck_assert(!mq_view_read_rows(s->view, t, row, n, some, &err));
            ck_assert_mem_eq(some, all + row * t->row_bytes, n * t->row_bytes);
        }
    }
    mq_level_decode_rows(level, mq_isa_detect(), all, t->rows, t->cols, weights);
    if (rows)
        *rows = all;
    return weights;
}

START_TEST(rows_are_those_of_numpy)
{
    const struct source *c = &sources[_i];
    char name[80];
    struct st_edit *edit = calloc(1, sizeof *edit);
    struct sources *s = sources_open(mq_test_source(SOURCES));
    struct mq_tensor t;
    moeq_error err = {0};
    ck_assert_ptr_nonnull(edit);
    st_edit_load(edit, mq_test_source(SOURCES));
    ck_assert_msg(!place(s, c, &t, &err), "%s: %s", c->name, err.message);
    ck_assert_str_eq(t.storage, c->storage);
    uint8_t *rows;
    const float *weights = read_all(s, &t, &rows);
    snprintf(name, sizeof name, "want.%s", c->want);
    const struct st_item *want = st_edit_find(edit, name);
    ck_assert_msg(want && want->size == c->rows * c->cols * sizeof *weights, "%s", name);
    ck_assert_msg(memcmp(weights, want->bytes, want->size) == 0, "%s: %s", c->name, name);
    if (strcmp(c->name, "mx") == 0) { /* ggml's own bytes */
        want = st_edit_find(edit, "bytes.mx");
        ck_assert_uint_eq(want->size, t.rows * t.row_bytes);
        ck_assert_mem_eq(rows, want->bytes, want->size);
    }
    st_edit_free(edit);
    free(edit);
    sources_close(s);
}
END_TEST

START_TEST(many_transposed_rows)
{
    const struct source wide = {
        "wide", "wide", "f16", {0}, 2, BOTH, 0, 2, 1100, 35, MQ_ROLE_EXPERT_GATE};
    struct sources *s = sources_open(mq_test_source(SOURCES));
    struct mq_tensor t;
    moeq_error err = {0};
    s->view->hparams.experts = 1;
    ck_assert_msg(!place(s, &wide, &t, &err), "%s", err.message);
    const float *weights = read_all(s, &t, NULL);
    for (int i = 0; i < 1100 * 35; i++)
        ck_assert(weights[i] == (float)(i % 2001 - 1000));
    sources_close(s);
}
END_TEST

/* Of the weights that make_source_goldens.py gives them, through several bands. */
START_TEST(many_rows_that_stand_across)
{
    static const struct source wide[] = {
        {"gptqw.weight", "gptqw", "i8_32", GPTQ(4, 32, true, false), NOT_FUSED, -1, 2, 1040, 64,
         MQ_ROLE_ATTN_O},
        {"awqw.weight", "awqw", "i8_32", AWQ, NOT_FUSED, -1, 2, 1040, 64, MQ_ROLE_ATTN_O}};
    struct sources *s = sources_open(mq_test_source(SOURCES));
    struct mq_tensor t;
    moeq_error err = {0};
    ck_assert_msg(!place(s, &wide[_i], &t, &err), "%s", err.message);
    ck_assert_uint_gt(mq_view_rows_at_once(&t), 1);
    ck_assert_uint_lt(mq_view_rows_at_once(&t), 1040);
    const float *weights = read_all(s, &t, NULL);
    for (int r = 0; r < 1040; r++)
        for (int c = 0; c < 64; c++)
            ck_assert(weights[r * 64 + c] ==
                      0.5f * (float)((r * 7 + c * 3) % 16 - (r + c / 32) % 16));
    sources_close(s);
}
END_TEST

/* A file's tensors name the bytes on disk, scales shared by blocks once. */
START_TEST(stored_bytes)
{
    struct sources *s = sources_open(mq_test_source(SOURCES));
    struct mq_tensor t;
    moeq_error err = {0};
    for (size_t i = 0; i < SOURCES_COUNT; i++) {
        ck_assert(!place(s, &sources[i], &t, &err));
        if (strcmp(sources[i].name, "f8.blocks.weight") == 0)
            ck_assert_uint_eq(mq_tensor_stored_bytes(&t), 130 * 150 + 4 * 4);
        else if (strcmp(sources[i].name, "i8.weight") == 0)
            ck_assert_uint_eq(mq_tensor_stored_bytes(&t), 5 * 128 + 5 * 4);
        else if (strcmp(sources[i].name, "gptq4.weight") == 0)
            ck_assert_uint_eq(mq_tensor_stored_bytes(&t),
                              32 * 96 / 2 + 3 * 32 / 2 + 3 * 32 * 2 + 96 * 4);
        else if (strcmp(sources[i].name, "mlxe.weight") == 0)
            ck_assert_uint_eq(mq_tensor_stored_bytes(&t), 5 * 128 / 2 + 5 * 2 * 4);
    }
    sources_close(s);
}
END_TEST

/* ---- what is wrong ---- */

static const struct source *source_of(const char *name)
{
    for (size_t i = 0; i < SOURCES_COUNT; i++)
        if (strcmp(sources[i].name, name) == 0)
            return &sources[i];
    ck_abort_msg("%s", name);
}

static const struct wrong {
    const char *source, *tensor; /* that is replaced; then by what: */
    enum mq_dtype dtype;
    uint32_t dims;
    uint64_t a, b;
    const char *message;
} wrong[] = {
    {"transposed", "transposed", MQ_F16, 2, 7, 10,
     "expected shape [3, 7, 10] from config.json, found [7, 10]"},
    {"taps", "taps", MQ_F16, 2, 7, 5, "expected shape [5, 7] from config.json, found [7, 5]"},
    {"vector", "vector", MQ_F16, 2, 5, 2, "expected shape [5] from config.json, found [5, 2]"},
    {"qkv", "qkv", MQ_F16, 2, 12, 7, "expected shape [11, 7] from config.json, found [12, 7]"},
    {"f8.blocks.weight", "f8.blocks.weight_scale_inv", MQ_F32, 2, 1, 2,
     "expected shape [2, 2] from config.json, found [1, 2]"},
    {"f8.blocks.weight", "f8.blocks.weight_scale_inv", MQ_I32, 2, 2, 2,
     "scales of dtype I32: expected F32, F16 or BF16"},
    {"f8.blocks.weight", "f8.blocks.weight_scale_inv", MQ_DTYPE_COUNT, 0, 0, 0,
     "its scales are missing: expected a tensor 'f8.blocks.weight_scale_inv' or '..._scale'"},
    {"f8.row.weight", "f8.row.weight_scale", MQ_F16, 2, 8, 1,
     "expected shape [9, 1] from config.json, found [8, 1]"},
    {"f8.blocks.weight", "f8.blocks.weight", MQ_F8_E4M3, 2, 130, 149,
     "expected shape [130, 150] from config.json, found [130, 149]"},
    {"mx", "mx_scales", MQ_U8, 2, 8, 2, "expected shape [3, 8, 2] from config.json, found [8, 2]"},
    {"mx", "mx_scales", MQ_DTYPE_COUNT, 0, 0, 0,
     "its scales are missing: expected a tensor 'mx_scales'"},
    {"mx", "mx_blocks", MQ_I8, 2, 8, 2, "codes of dtype I8: expected U8"},
    {"i4.weight", "i4.weight_packed", MQ_I32, 2, 5, 15,
     "expected shape [5, 16] from config.json, found [5, 15]"},
    {"i4.weight", "i4.weight_scale", MQ_F16, 2, 5, 3,
     "expected shape [5, 4] from config.json, found [5, 3]"},
    {"i4.weight", "i4.weight_zero_point", MQ_I32, 2, 1, 4,
     "there is 'i4.weight_zero_point': config.json says that codes are symmetric"},
    {"i4.weight", "i4.weight_g_idx", MQ_I32, 1, 127, 0,
     "expected shape [128] from config.json, found [127]"},
    {"i4.weight", "i4.weight_g_idx", MQ_F32, 1, 128, 0, "groups of dtype F32: expected I32"},
    {"i4.weight", "i4.weight_scale", MQ_DTYPE_COUNT, 0, 0, 0,
     "its scales are missing: expected a tensor 'i4.weight_scale'"},
    {"i4.weight", "i4.weight_scale", MQ_I32, 2, 5, 4,
     "scales of dtype I32: expected F32, F16 or BF16"},
    {"ct4z.weight", "ct4z.weight_zero_point", MQ_DTYPE_COUNT, 0, 0, 0,
     "its zeros are missing: expected a tensor '..._zero_point'"},
    {"ct4z.weight", "ct4z.weight_zero_point", MQ_I32, 2, 2, 3,
     "expected shape [3, 3] from config.json, found [2, 3]"},
    {"ct4z.weight", "ct4z.weight_zero_point", MQ_I8, 2, 3, 3, "zeros of dtype I8: expected I32"},
    {"mlx4g64.weight", "mlx4g64.biases", MQ_F16, 2, 5, 1,
     "expected shape [5, 2] from config.json, found [5, 1]"},
    {"mlx4g64.weight", "mlx4g64.biases", MQ_U8, 2, 5, 2,
     "biases of dtype U8: expected F32, F16 or BF16"},
    {"mlxe.weight", "mlxe.weight", MQ_U32, 2, 15, 16,
     "expected shape [3, 5, 16] from config.json, found [15, 16]"},
    {"mlxmx.weight", "mlxmx.scales", MQ_U8, 2, 15, 4,
     "expected shape [3, 5, 4] from config.json, found [15, 4]"},
    {"gptq4.weight", "gptq4.qweight", MQ_I32, 2, 32, 12,
     "expected shape [12, 32] from config.json, found [32, 12]"},
    {"gptq4.weight", "gptq4.qzeros", MQ_I32, 2, 3, 5,
     "expected shape [3, 4] from config.json, found [3, 5]"},
    {"gptqi.weight", "gptqi.g_idx", MQ_DTYPE_COUNT, 0, 0, 0,
     "the groups of its columns are missing: expected a tensor '....g_idx'"},
    {"f8.nv.weight", "f8.nv.weight_global_scale", MQ_DTYPE_COUNT, 0, 0, 0,
     "its scale is missing: expected a tensor 'f8.nv.weight_global_scale'"},
    {"f8.nv.weight", "f8.nv.weight_global_scale", MQ_F16, 1, 1, 0,
     "the scale of a matrix of dtype F16: expected F32"},
    {"f8.nv.weight", "f8.nv.weight_scale", MQ_F8_E4M3, 2, 5, 3,
     "expected shape [5, 6] from config.json, found [5, 3]"},
    {"awq.weight", "awq.scales", MQ_F16, 2, 32, 3,
     "expected shape [3, 32] from config.json, found [32, 3]"},
    {"i4.weight", "i4.weight_shape", MQ_I64, 1, 3, 0, "expected two numbers of dtype I64 or I32"},
};

/* The file of sources with a tensor replaced by zeros of another shape, or removed. */
static const char *edited(const struct wrong *w, const char *name)
{
    struct st_edit *edit = calloc(1, sizeof *edit);
    const char *path = mq_test_temporary(name);
    ck_assert_ptr_nonnull(edit);
    st_edit_load(edit, mq_test_source(SOURCES));
    if (st_edit_find(edit, w->tensor))
        st_edit_remove(edit, w->tensor);
    if (w->dtype != MQ_DTYPE_COUNT)
        st_edit_add(edit, w->tensor, w->dtype, w->dims, w->a, w->b);
    st_edit_save(edit, path);
    st_edit_free(edit);
    free(edit);
    return path;
}

START_TEST(wrong_tensors_are_told)
{
    const struct wrong *w = &wrong[_i];
    char name[80];
    snprintf(name, sizeof name, "wrong%d.safetensors", _i);
    struct sources *s = sources_open(edited(w, name));
    struct mq_tensor t;
    moeq_error err = {0};
    ck_assert_int_ne(place(s, source_of(w->source), &t, &err), MOEQ_OK);
    ck_assert_msg(strstr(err.message, w->message), "%s: %s", w->tensor, err.message);
    ck_assert_msg(strstr(err.message, name), "%s", err.message);
    sources_close(s);
}
END_TEST

/* Of zeros: no scale is 0, and E8M0 has none; all bits set are NaN in both. */
START_TEST(scales_that_are_none)
{
    static const struct wrong scales[] = {
        {"f8.blocks.weight", "f8.blocks.weight_scale_inv", MQ_F32, 2, 2, 2, NULL},
        {"i4.weight", "i4.weight_scale", MQ_BF16, 2, 5, 4, NULL},
    };
    for (size_t i = 0; i < 2; i++) {
        struct sources *s = sources_open(edited(&scales[i], "scales.safetensors"));
        struct mq_tensor t;
        moeq_error err = {0};
        char want[200];
        ck_assert(!place(s, source_of(scales[i].source), &t, &err));
        uint8_t *rows = mq_test_guarded(2 * t.row_bytes);
        ck_assert_int_eq(mq_view_read_rows(s->view, &t, 3, 2, rows, &err), MOEQ_CORRUPT);
        snprintf(want, sizeof want, "tensor '%s' at byte", scales[i].tensor);
        ck_assert_msg(strstr(err.message, want), "%s", err.message);
        ck_assert_msg(strstr(err.message, "the scale of row 3, columns from 0 of"), "%s",
                      err.message);
        sources_close(s);
    }
}
END_TEST

/* Of MLX: keys transposed and in codes, values plain, of three heads. */
START_TEST(kv_b_is_put_together)
{
    struct st_edit *edit = calloc(1, sizeof *edit);
    struct sources *s = sources_open(mq_test_source(SOURCES));
    struct mq_tensor t = {
        .name = "mla.kv_b_proj.weight", .role = MQ_ROLE_ATTN_KV_B, .expert = -1, .dims = 2};
    struct mq_source_claim claim = MLX(4, 32);
    moeq_error err = {0};
    bool found = false;
    ck_assert_ptr_nonnull(edit);
    t.rows = (uint64_t)3 * (32 + 8);
    t.cols = 64;
    s->view->claim = claim;
    s->view->hparams.heads = 3;
    s->view->hparams.plain_dim = 32;
    s->view->hparams.value_dim = 8;
    ck_assert_msg(!mq_mlx_place(s->view, &s->set, &t, &found, &err), "%s", err.message);
    ck_assert(found);
    ck_assert_str_eq(t.storage, "f32");
    ck_assert_uint_eq(mq_view_rows_at_once(&t), 40);
    ck_assert_uint_eq(mq_tensor_stored_bytes(&t),
                      (uint64_t)3 * 64 * (32 / 2 + 4) + (uint64_t)3 * 8 * 64 * 2);
    const float *weights = read_all(s, &t, NULL);
    st_edit_load(edit, mq_test_source(SOURCES));
    const struct st_item *want = st_edit_find(edit, "want.mla");
    ck_assert_uint_eq(want->size, t.rows * t.cols * sizeof *weights);
    ck_assert_mem_eq(weights, want->bytes, want->size);
    t.rows++; /* of other heads it is none */
    found = false;
    ck_assert(!mq_mlx_place(s->view, &s->set, &t, &found, &err) && !found);
    st_edit_free(edit);
    free(edit);
    sources_close(s);
}
END_TEST

/* What only reading tells: zeros in place of what should be there. */
START_TEST(what_rows_are_read_by_is_checked)
{
    static const struct wrong read[] = {
        {"ct3.weight", "ct3.weight_shape", MQ_I64, 1, 2, 0,
         "its numbers are those of a matrix [0, 0]: expected [21, 96], as config.json says"},
        {"ct4z.weight", "ct4z.weight_scale", MQ_F16, 2, 21, 3,
         "the scale of row 0, columns from 0 of 'ct4z': expected a finite number that is not 0"},
        {"f8.nv.weight", "f8.nv.weight_global_scale", MQ_F32, 1, 1, 0,
         "the scale of 'nv': expected a finite number that is not 0"},
        {"awq.weight", "awq.scales", MQ_F16, 2, 3, 32, "expected a finite number that is not 0"},
        {"gptq4.weight", "gptq4.g_idx", MQ_I32, 1, 96, 0,
         "column 32 is of group 0: expected 1, as config.json says that \"desc_act\" is false"},
    };
    const struct wrong *w = &read[_i];
    struct sources *s = sources_open(edited(w, "read.safetensors"));
    struct mq_tensor t;
    moeq_error err = {0};
    ck_assert_msg(!place(s, source_of(w->source), &t, &err), "%s", err.message);
    uint8_t *rows = mq_test_guarded(2 * t.row_bytes);
    ck_assert_int_eq(mq_view_read_rows(s->view, &t, 0, 2, rows, &err), MOEQ_CORRUPT);
    ck_assert_msg(strstr(err.message, w->message), "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.message, w->tensor));
    sources_close(s);
}
END_TEST

/* A tensor in another of the ways that config.json speaks of than the first, or in none. */
START_TEST(of_several_schemes_shapes_tell)
{
    struct source c = *source_of("ct4z.weight");
    struct sources *s = sources_open(mq_test_source(SOURCES));
    struct mq_tensor t;
    moeq_error err = {0};
    c.claim.schemes[0] = (struct mq_source_scheme){.bits = 8, .group = 32};
    c.claim.schemes[1] = (struct mq_source_scheme){.bits = 4, .group = 96};
    c.claim.schemes[2] = (struct mq_source_scheme){.bits = 4, .group = 32, .zeros = true};
    c.claim.schemes_count = 3;
    ck_assert_msg(!place(s, &c, &t, &err), "%s", err.message);
    ck_assert_str_eq(t.storage, "i8_32");
    c.claim.schemes_count = 2;
    ck_assert_int_eq(place(s, &c, &t, &err), MOEQ_MALFORMED);
    ck_assert_msg(strstr(err.message, "are not those of 8 bits in groups of 32 or 4 bits in groups "
                                      "of 96, which config.json speaks of, for 21 rows of 96"),
                  "%s", err.message);
    sources_close(s);
}
END_TEST

/* [E, n, n]: gate and up of such a width could stand in either way. */
START_TEST(a_square_does_not_tell_whether_it_is_transposed)
{
    static const struct mq_tensor_alias two[] = {
        {MQ_ROLE_EXPERT_UP, "square", 2, 1 | MQ_PARTS_TRANSPOSED},
        {MQ_ROLE_EXPERT_UP, "square", 2, 1},
        {0}};
    static const struct mq_tensor_alias rows[] = {
        {MQ_ROLE_EXPERT_UP, "rows", 2, 1 | MQ_PARTS_TRANSPOSED},
        {MQ_ROLE_EXPERT_UP, "rows", 2, 1},
        {0}};
    struct sources *s = sources_open(mq_test_source(SOURCES));
    moeq_error err = {0};
    bool found;
    struct mq_tensor t = {
        .name = "up", .role = MQ_ROLE_EXPERT_UP, .expert = 2, .dims = 2, .rows = 5};
    t.cols = 10;
    ck_assert_int_eq(mq_place_tensor(s->view, &s->set, "square", two, &t, &found, &err),
                     MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "does not tell whether it is transposed"));
    t.cols = 7;
    ck_assert(!mq_place_tensor(s->view, &s->set, "rows", rows, &t, &found, &err));
    ck_assert_ptr_null(t.assembly);
    sources_close(s);
}
END_TEST

/* ---- a model ---- */

#define ATTN_O "model.layers.0.self_attn.o_proj.weight"

/* From there to a moeq file as they are, and to a level; both open, and hold what they should. */
START_TEST(a_model_of_f8_is_copied_and_converted)
{
    const char *folder = test_f8_model("f8_model", true), *output = mq_test_temporary("f8.moeq");
    struct mq_view *view = test_open(folder);
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_ATTN_O, 0, -1);
    const uint64_t size = t->rows * t->row_bytes;
    moeq_error err = {0};
    ck_assert_str_eq(t->storage, "f8_e4m3");
    const struct mq_policy as_stored = {0};
    struct mq_plan *plan;
    const struct mq_context context = {.threads = 2};
    struct mq_convert_result result;
    ck_assert_msg(!mq_plan_create(view, &as_stored, &plan, &err), "%s", err.message);
    const struct mq_convert_options options = {.output = output, .replace = true};
    ck_assert_msg(!mq_convert(&context, plan, &options, &result, &err), "%s", err.message);
    mq_plan_free(plan);
    struct mq_view *copy = test_open(output);
    const struct mq_tensor *u = mq_view_find(copy, MQ_ROLE_ATTN_O, 0, -1);
    ck_assert_str_eq(u->storage, "f8_e4m3");
    ck_assert_ptr_null(u->assembly);
    uint8_t *a = malloc(size), *b = malloc(size);
    ck_assert(!mq_view_read_rows(view, t, 0, t->rows, a, &err));
    ck_assert(!mq_view_read_rows(copy, u, 0, u->rows, b, &err));
    ck_assert_mem_eq(a, b, size);
    free(a);
    free(b);
    mq_view_close(copy);
    mq_view_close(view);
    ck_assert_msg(!test_convert(folder, "q4_k", output, NULL, &result, &err), "%s", err.message);
    mq_view_close(test_open(output));
}
END_TEST

START_TEST(codes_that_config_json_does_not_speak_of_are_told)
{
    const char *folder = test_f8_model("f8_unclaimed", false);
    struct mq_view *view = test_open(folder);
    bool told = false;
    for (size_t i = 0; i < view->notes_count; i++)
        told |= strstr(view->notes[i], "its tensors are FP8 in blocks of 128 x 128") != NULL;
    ck_assert(told);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, rows_are_those_of_numpy, 0, SOURCES_COUNT);
    tcase_add_test(tests, many_transposed_rows);
    tcase_add_loop_test(tests, many_rows_that_stand_across, 0, 2);
    tcase_add_loop_test(tests, what_rows_are_read_by_is_checked, 0, 5);
    tcase_add_test(tests, of_several_schemes_shapes_tell);
    tcase_add_test(tests, kv_b_is_put_together);
    tcase_add_test(tests, stored_bytes);
    tcase_add_loop_test(tests, wrong_tensors_are_told, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(tests, scales_that_are_none);
    tcase_add_test(tests, a_model_of_f8_is_copied_and_converted);
    tcase_add_test(tests, codes_that_config_json_does_not_speak_of_are_told);
    tcase_add_test(tests, a_square_does_not_tell_whether_it_is_transposed);
}

int main(void)
{
    return mq_test_main("assembly", add_tests);
}
