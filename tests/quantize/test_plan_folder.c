/* test_plan_folder.c: folders for other runtimes: where everything stands, what config.json says, and what is refused. */
#include "f16.h"
#include "json.h"
#include "plan.h"
#include "stored.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIGS "tests/fixtures/configs/"
static const struct mq_json_limits limits = {.depth = MQ_JSON_DEEPEST, .values = 1 << 24};

static struct mq_view *open_model(const char *path)
{
    struct mq_view *view;
    moeq_error err = {0};
    const moeq_status status = strstr(path, ".json")
                                   ? mq_view_from_config(mq_test_source(path), NULL, &view, &err)
                                   : mq_model_open(mq_test_source(path), &view, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    return view;
}

static struct mq_policy policy_of(const struct mq_view *view,
                                  const struct mq_folder_options *options, const char *level)
{
    const struct mq_level *l =
        level ? mq_level_find(level) : mq_folder_default_level(view, options);
    struct mq_policy policy = l ? mq_policy_default(l) : (struct mq_policy){0};
    mq_folder_fit_policy(view, options, &policy);
    return policy;
}

static struct mq_plan *plan_of(const struct mq_view *view, const struct mq_folder_options *options,
                               const char *level)
{
    const struct mq_policy policy = policy_of(view, options, level);
    struct mq_plan *plan = NULL;
    moeq_error err = {0};
    const moeq_status status = mq_plan_create_folder(view, &policy, options, &plan, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    return plan;
}

static const struct mq_plan_file *file_of(const struct mq_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->files_count; i++)
        if (strcmp(plan->files[i].name, name) == 0)
            return &plan->files[i];
    return NULL;
}

static cJSON *parse(const char *text, size_t n)
{
    cJSON *tree = NULL;
    moeq_error err = {0};
    ck_assert_msg(mq_json_parse(text, n, &limits, "text", 0, &tree, &err) == MOEQ_OK, "%s",
                  err.message);
    return tree;
}

/* ---- places ---- */

/* Bytes of a shard's data that entries and pieces are said to stand at, marked once each. */
struct map {
    unsigned char *bytes;
    uint64_t size;
};

static void mark(const struct map *map, const struct mq_plan_file *f, uint64_t offset,
                 uint64_t size)
{
    ck_assert_uint_ge(offset, f->header_bytes);
    ck_assert_uint_le(offset + size, f->file_bytes);
    uint64_t twice = 0;
    for (uint64_t i = 0; i < size; i++)
        twice += map->bytes[offset - f->header_bytes + i]++ != 0;
    ck_assert_uint_eq(twice, 0);
}

static void mark_entry(const struct map *map, const struct mq_plan *plan,
                       const struct mq_plan_entry *e, uint32_t file)
{
    const struct mq_plan_file *f = &plan->files[file];
    uint64_t sum = 0;
    for (uint32_t p = 0; e->split && p < e->split->parts_count; p++) {
        const uint64_t bytes = mq_split_rows(e->split, p, e->tensor->rows) * e->parts[p].row_bytes;
        sum += bytes;
        if (e->parts[p].file == file)
            mark(map, f, e->parts[p].offset, bytes);
        ck_assert_uint_eq(e->parts[p].file, e->parts[0].file); /* a matrix in one shard */
    }
    if (e->split)
        ck_assert_uint_eq(sum, e->size_bytes);
    else if (e->file == file)
        mark(map, f, e->offset, e->size_bytes);
}

/* The header's tensors stand side by side, each at a multiple of its elements; entries and pieces fill them. */
static void check_shard(const struct mq_plan *plan, uint32_t file)
{
    const struct mq_plan_file *f = &plan->files[file];
    struct map map = {.size = f->file_bytes - f->header_bytes};
    cJSON *header = parse(f->header + 8, (size_t)f->header_bytes - 8);
    uint64_t at = 0;
    map.bytes = calloc((size_t)map.size + 1, 1);
    for (const cJSON *t = header->child; t; t = t->next) {
        enum mq_dtype dtype;
        if (strcmp(t->string, "__metadata__") == 0)
            continue;
        const cJSON *offsets = mq_json_get(t, "data_offsets");
        uint64_t begin, end, bytes, n;
        ck_assert(mq_dtype_find(mq_json_get(t, "dtype")->valuestring, &dtype));
        ck_assert(mq_json_u64(offsets->child, &begin) && mq_json_u64(offsets->child->next, &end));
        bytes = mq_dtype_bytes(dtype);
        ck_assert_uint_eq(begin, at);
        ck_assert_uint_eq(begin % bytes, 0);
        for (const cJSON *d = mq_json_get(t, "shape")->child; d; d = d->next) {
            ck_assert(mq_json_u64(d, &n));
            bytes *= n;
        }
        ck_assert_uint_eq(end - begin, bytes);
        at = end;
    }
    ck_assert_uint_eq(at, map.size);
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        mark_entry(&map, plan, &plan->entries[i], file);
    for (size_t i = 0; i < plan->pieces_count; i++)
        if (plan->pieces[i].file == file)
            mark(&map, f, plan->pieces[i].offset, plan->pieces[i].size_bytes);
    ck_assert_ptr_null(memchr(map.bytes, 0, (size_t)map.size));
    free(map.bytes);
    cJSON_Delete(header);
}

START_TEST(tensors_fill_their_shards)
{
    struct mq_view *view = open_model("demo/model");
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++)
        for (int small = 0; small < 2; small++) {
            const struct mq_folder_options options = {.format = (enum mq_folder_format)f,
                                                      .shard_bytes = small ? 1 << 20 : 0};
            struct mq_plan *plan = plan_of(view, &options, NULL);
            uint64_t bytes = 0;
            uint32_t shards = 0;
            ck_assert(plan->is_folder);
            ck_assert_uint_eq(plan->items_count, view->tensors_count);
            for (uint32_t i = 0; i < plan->files_count; i++) {
                bytes += plan->files[i].file_bytes;
                if (!strstr(plan->files[i].name, ".safetensors") ||
                    strstr(plan->files[i].name, ".json")) {
                    ck_assert_uint_eq(plan->files[i].header_bytes, plan->files[i].file_bytes);
                    continue;
                }
                check_shard(plan, i);
                shards++;
            }
            ck_assert_uint_eq(bytes, plan->output_bytes);
            ck_assert(small ? shards > 2 : shards == 1);
            ck_assert_int_eq(file_of(plan, "model.safetensors.index.json") != NULL,
                             small || f == MQ_FOLDER_MLX);
            mq_plan_free(plan);
        }
    mq_view_close(view);
}
END_TEST

/* ---- config.json ---- */

static cJSON *config_of(const struct mq_plan *plan)
{
    const struct mq_plan_file *f = file_of(plan, "config.json");
    return parse(f->header, (size_t)f->header_bytes);
}

START_TEST(config_is_kept_but_for_quantization)
{
    struct mq_view *view = open_model("demo/model");
    cJSON *source = parse(view->side[MQ_SIDE_CONFIG].data, view->side[MQ_SIDE_CONFIG].size);
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++) {
        const struct mq_folder_options options = {.format = (enum mq_folder_format)f};
        struct mq_plan *plan = plan_of(view, &options, NULL);
        cJSON *config = config_of(plan);
        ck_assert(cJSON_IsObject(mq_json_get(config, "quantization_config")));
        ck_assert_int_eq(f == MQ_FOLDER_MLX, mq_json_get(config, "quantization") != NULL);
        for (const cJSON *m = source->child; m; m = m->next)
            ck_assert(strcmp(m->string, "tie_word_embeddings") == 0 ||
                      mq_json_same(m, mq_json_get(config, m->string)));
        cJSON_Delete(config);
        mq_plan_free(plan);
    }
    cJSON_Delete(source);
    mq_view_close(view);
}
END_TEST

/* One after the other: where each is in the text. */
static void check_says(const char *text, const char *const *words)
{
    for (const char *at = text; *words; words++) {
        const char *found = strstr(at, *words);
        ck_assert_msg(found, "no %s in %.600s", *words, at);
        at = found;
    }
}

START_TEST(groups_are_as_their_readers_take_them)
{
    static const char *const two[] = {"\"format\": \"pack-quantized\"",
                                      "\"group_0\"",
                                      "re:.*layers\\\\.\\\\d+\\\\.self_attn\\\\.q_proj$",
                                      "self_attn\\\\.qkv_proj$",
                                      "shared_expert.\\\\.gate_proj$", /* no "experts" */
                                      "\"num_bits\": 8",
                                      "\"group_size\": 64",
                                      "\"group_1\"",
                                      "re:.*layers\\\\.\\\\d+\\\\.mlp\\\\.experts\\\\.\\\\d+\\\\..*"
                                      "\", \"Linear\"]", /* the expert's number ends it */
                                      "\"num_bits\": 4",
                                      "\"group_size\": 32",
                                      "\"ignore\": [",
                                      "re:.*layers\\\\.\\\\d+\\\\.mlp\\\\.gate$",
                                      "lm_head",
                                      NULL};
    static const char *const one[] = {"\"int-quantized\"",         "\"targets\": [\"Linear\"]",
                                      "\"strategy\": \"channel\"", "\"strategy\": \"token\"",
                                      "\"dynamic\": true",         NULL};
    static const char *const fp8[] = {"\"quant_method\": \"fp8\"",
                                      "\"weight_block_size\": [128, 128]",
                                      "\"model.layers.1.mlp.gate\"", "\"lm_head\"]", NULL};
    static const char *const mlx[] = {
        "\"quantization\": {\"group_size\": 64, \"bits\": 4, \"mode\": \"affine\"",
        "\"model.embed_tokens\": {\"group_size\": 64, \"bits\": 8",
        "\"model.layers.1.mlp.gate\": false", NULL};
    static const char *const *const says[MQ_FOLDER_FORMATS] = {[MQ_FOLDER_MLX] = mlx,
                                                               [MQ_FOLDER_PACKED] = two,
                                                               [MQ_FOLDER_FP8] = fp8,
                                                               [MQ_FOLDER_INT8] = one};
    struct mq_view *view = open_model(CONFIGS "deepseek-v2-lite.json");
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++) {
        const struct mq_folder_options options = {.format = (enum mq_folder_format)f};
        struct mq_plan *plan = plan_of(view, &options, NULL);
        check_says(file_of(plan, "config.json")->header, says[f]);
        mq_plan_free(plan);
    }
    mq_view_close(view);
}
END_TEST

/* Levels by layer: layers are named one by one. */
START_TEST(layers_of_other_levels_are_listed)
{
    static const char *const says[] = {"layers\\\\.(0|1)\\\\.mlp\\\\.experts", "\"num_bits\": 8",
                                       "layers\\\\.(2|3|", "\"num_bits\": 4", NULL};
    struct mq_view *view = open_model(CONFIGS "qwen3-30b-a3b.json");
    const struct mq_folder_options options = {.format = MQ_FOLDER_PACKED};
    const struct mq_policy_override override = {"*.layers.[01].mlp.experts.*",
                                                mq_level_find("w8g128")};
    struct mq_policy policy = policy_of(view, &options, "w4g128");
    struct mq_plan *plan;
    moeq_error err = {0};
    policy.overrides = &override;
    policy.overrides_count = 1;
    ck_assert_ok(mq_plan_create_folder(view, &policy, &options, &plan, &err));
    check_says(file_of(plan, "config.json")->header, says);
    ck_assert_uint_eq(plan->warnings_count, 1); /* Transformers takes one */
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

/* ---- names ---- */

START_TEST(mlx_has_experts_stacked)
{
    static const struct {
        const char *config, *name;
    } cases[] = {
        {"mixtral-8x7b",
         "model.layers.31.block_sparse_moe.switch_mlp.down_proj.scales\",\"BF16\",[8,4096,224]"},
        {"qwen3-30b-a3b", "model.layers.0.mlp.switch_mlp.gate_proj.weight\",\"U32\",[128,768,256]"},
        {"dots.llm1", "model.layers.1.mlp.experts.up_proj.biases\",\"BF16\",[128,1408,64]"},
        {"glm-4.7-flash", "model.layers.1.self_attn.kv_b_proj.weight\",\"BF16\",[8960,512]"},
        {"qwen3.5-35b-a3b",
         "language_model.model.layers.0.mlp.switch_mlp.down_proj.weight\",\"U32\",[256,2048,64]"},
        {"qwen3.5-35b-a3b",
         "language_model.model.layers.0.linear_attn.conv1d.weight\",\"BF16\",[8192,1,4]"},
        {"lfm2-8b-a1b", "model.layers.0.feed_forward.gate_proj.weight\",\"U32\",[7168,512]"},
        {"lfm2-8b-a1b", "model.layers.0.conv.conv.weight\",\"BF16\",[2048,1,3]"},
        {"gpt-oss-20b", "model.layers.0.mlp.experts.gate_proj.bias\",\"BF16\",[32,2880]"},
        {"granite-3.1-3b-a800m",
         "model.layers.0.block_sparse_moe.switch_mlp.up_proj.weight\",\"U32\",[40,512,192]"},
    };
    const struct mq_folder_options options = {.format = MQ_FOLDER_MLX};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[200], want[400], name[200];
        snprintf(path, sizeof path, CONFIGS "%s.json", cases[i].config);
        struct mq_view *view = open_model(path);
        struct mq_plan *plan = plan_of(view, &options, NULL);
        const char *rest = strchr(cases[i].name, '"');
        snprintf(name, sizeof name, "%.*s", (int)(rest - cases[i].name), cases[i].name);
        const char *dtype = rest + 3, *end = strchr(dtype, '"');
        snprintf(want, sizeof want, "\"%s\":{\"dtype\":\"%.*s\",\"shape\":%s", name,
                 (int)(end - dtype), dtype, end + 2);
        bool found = false;
        for (size_t f = 0; f < plan->files_count; f++)
            found |=
                strstr(plan->files[f].header + 8 * (plan->files[f].header_bytes > 8), want) != NULL;
        ck_assert_msg(found, "%s: no %s", path, want);
        mq_plan_free(plan);
        mq_view_close(view);
    }
}
END_TEST

/* ---- refusals ---- */

START_TEST(what_runtimes_refuse_is_said)
{
    static const struct {
        const char *config;
        enum mq_folder_format format;
        uint32_t gpus;
        const char *level, *says[3];
    } cases[] = {
        {"glm-4.5-air",
         MQ_FOLDER_PACKED,
         4,
         "w4g128",
         {"rows of 1408 weights, cut among 4 GPUs (--tp 4)",
          "no multiple of w4g128's groups of 128",
          "w4g32 fits up to 4 GPUs, w4g64 fits up to 2 GPUs, w4g128 fits 1 GPU"}},
        {"glm-4.5-air", MQ_FOLDER_PACKED, 1, "w4g128", {NULL}},
        {"glm-4.5-air", MQ_FOLDER_PACKED, 2, "w4g64", {NULL}},
        {"glm-4.5-air", MQ_FOLDER_PACKED, 4, "w4g32", {NULL}},
        {"glm-4.5-air",
         MQ_FOLDER_PACKED,
         4,
         NULL,
         {NULL}}, /* shared experts at a group that fits, too */
        {"qwen3-30b-a3b", MQ_FOLDER_PACKED, 4, "w4g128", {"w4g128 fits up to 2 GPUs"}},
        {"qwen3-30b-a3b", MQ_FOLDER_PACKED, 4, "w4g64", {NULL}},
        {"qwen3-30b-a3b",
         MQ_FOLDER_FP8,
         4,
         "fp8b",
         {"768 rows, cut among 4 GPUs", "fp8b fits up to 2 GPUs"}},
        {"gpt-oss-20b", MQ_FOLDER_PACKED, 1, "w4g32", {"family gpt_oss", "in MXFP4"}},
        {"dbrx", MQ_FOLDER_PACKED, 1, "w4g32", {"family dbrx", "experts of a layer in one tensor"}},
        {"llama-4-scout", MQ_FOLDER_MLX, 1, "mlx4g64", {"family llama4"}},
        {"hunyuan-a13b", MQ_FOLDER_MLX, 1, "mlx4g64", {"another model_type"}},
        {"kimi-k2.5", MQ_FOLDER_PACKED, 1, "w4g32", {"text_config"}},
        {"mixtral-8x7b",
         MQ_FOLDER_PACKED,
         1,
         "mlx4g64",
         {"--format compressed-tensors has no form (it has: w4g32"}},
        {"mixtral-8x7b",
         MQ_FOLDER_PACKED,
         1,
         "q4_k",
         {"to be stored at q", "--unify up takes the next larger one"}},
        {"mixtral-8x7b", MQ_FOLDER_MLX, 1, "w4g32", {"--format mlx has no form"}},
        {"mixtral-8x7b", MQ_FOLDER_MLX, 1, "q4_k", {NULL}},
        {"mixtral-8x7b", MQ_FOLDER_INT8, 1, "w4g32", {"--format int8 has no form (it has: w8c)"}},
    };
    struct mq_view *view = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[200];
        snprintf(path, sizeof path, CONFIGS "%s.json", cases[i].config);
        if (!i || cases[i].config != cases[i - 1].config) {
            mq_view_close(view);
            view = open_model(path);
        }
        const struct mq_folder_options options = {
            .format = cases[i].format,
            .tensor_parallel = cases[i].gpus,
            .asked = {[MQ_CLASS_EXPERTS] = cases[i].level != NULL}};
        const struct mq_policy policy = policy_of(view, &options, cases[i].level);
        struct mq_plan *plan = NULL;
        moeq_error err = {0};
        const moeq_status status = mq_plan_create_folder(view, &policy, &options, &plan, &err);
        ck_assert_msg(status == (cases[i].says[0] ? MOEQ_UNSUPPORTED : MOEQ_OK), "%s: %s", path,
                      err.message);
        for (size_t k = 0; k < 3 && cases[i].says[k]; k++)
            ck_assert_msg(strstr(err.message, cases[i].says[k]), "%s: no '%s' in: %s", path,
                          cases[i].says[k], err.message);
        mq_plan_free(plan);
    }
    mq_view_close(view);
}
END_TEST

START_TEST(one_level_for_what_is_looked_up_as_one)
{
    static const struct {
        enum mq_folder_format format;
        const char *pattern, *level, *says;
    } cases[] = {
        {MQ_FOLDER_PACKED, "*.layers.1.*.w2.weight", "w8g128", "layer 1: "},
        {MQ_FOLDER_PACKED, "*.layers.1.*.experts.3.*", "w8g128",
         "gate, up and down matrices of a layer's experts"},
        {MQ_FOLDER_PACKED, "*.layers.1.self_attn.k_proj.weight", "bf16", "q, k and v of a layer"},
        {MQ_FOLDER_PACKED, "*.layers.1.self_attn.o_proj.weight", "bf16", NULL},
        {MQ_FOLDER_MLX, "*.layers.1.*.experts.3.w1.weight", "mlx8g64", "the experts of one matrix"},
        {MQ_FOLDER_MLX, "*.layers.1.*.w2.weight", "mlx8g64", NULL},
        {MQ_FOLDER_PACKED, "lm_head.weight", "w8g128", "quantize no embeddings and no head"},
    };
    struct mq_view *view = open_model("demo/model");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int up = 0; up < 2; up++) {
            const struct mq_folder_options options = {.format = cases[i].format, .unify_up = up};
            const struct mq_policy_override override = {cases[i].pattern,
                                                        mq_level_find(cases[i].level)};
            struct mq_policy policy = policy_of(view, &options, NULL);
            struct mq_plan *plan = NULL;
            moeq_error err = {0};
            policy.overrides = &override;
            policy.overrides_count = 1;
            const moeq_status status = mq_plan_create_folder(view, &policy, &options, &plan, &err);
            ck_assert_msg(status == (up || !cases[i].says ? MOEQ_OK : MOEQ_UNSUPPORTED), "%s: %s",
                          cases[i].pattern, err.message);
            ck_assert_msg(status == MOEQ_OK || strstr(err.message, cases[i].says), "%s",
                          err.message);
            mq_plan_free(plan);
        }
    mq_view_close(view);
}
END_TEST

START_TEST(defaults_are_what_shapes_allow)
{
    static const struct {
        const char *config;
        enum mq_folder_format format;
        uint32_t gpus;
        const char *level;
    } cases[] = {
        {"mixtral-8x7b", MQ_FOLDER_PACKED, 1, "w4g128"},
        {"mixtral-8x7b", MQ_FOLDER_PACKED, 8, "w4g128"},
        {"glm-4.5-air", MQ_FOLDER_PACKED, 1, "w4g32"},
        {"glm-4.5-air", MQ_FOLDER_MLX, 1, "mlx4g64"},
        {"glm-4.5-air", MQ_FOLDER_FP8, 1, "fp8b"},
        {"glm-4.5-air", MQ_FOLDER_INT8, 1, "w8c"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[200];
        snprintf(path, sizeof path, CONFIGS "%s.json", cases[i].config);
        struct mq_view *view = open_model(path);
        const struct mq_folder_options options = {.format = cases[i].format,
                                                  .tensor_parallel = cases[i].gpus};
        ck_assert_str_eq(mq_folder_default_level(view, &options)->name, cases[i].level);
        mq_view_close(view);
    }
}
END_TEST

/* ---- blocks of GGML as MLX has them ---- */

/* MLX's dequantize (mlx/ops.cpp): a stream of codes, scale * code + bias. */
static float dequantized(const struct mq_split *split, uint8_t *const parts[MQ_SPLIT_MOST],
                         size_t i)
{
    const uint32_t bits = mq_split_bits(split);
    uint32_t code = 0;
    for (uint32_t b = 0; b < bits; b++) {
        const size_t at = i * bits + b;
        code |= (uint32_t)(parts[0][at / 8] >> at % 8 & 1) << b;
    }
    const size_t g = i / mq_split_group(split);
    const float scale = mq_f16_to_f32((uint16_t)(parts[1][2 * g] | parts[1][2 * g + 1] << 8));
    const float bias = mq_f16_to_f32((uint16_t)(parts[2][2 * g] | parts[2][2 * g + 1] << 8));
    return scale * (float)code + bias;
}

/* As the format defines e2m1 with a scale of a power of two (OCP Microscaling 1.0). */
static float dequantized_mx(uint8_t *const parts[MQ_SPLIT_MOST], size_t i)
{
    static const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    const unsigned code = parts[0][i / 2] >> 4 * (i % 2) & 15;
    const float value = ldexpf(values[code & 7], parts[1][i / 32] - 127);
    return code & 8 ? -value : value;
}

START_TEST(blocks_are_the_same_weights)
{
    static const char *const levels[] = {"q8_0", "q5_k", "q4_k", "q5_0",
                                         "q5_1", "q4_0", "q4_1", "mxfp4"};
    enum { BLOCKS = 40, MOST = 256 };
    uint64_t random = 1;
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        const struct mq_level *level = mq_level_find(levels[l]);
        const struct mq_split *split = mq_split_find(MQ_FOLDER_MLX, level);
        uint8_t bytes[3][BLOCKS * MOST], *parts[MQ_SPLIT_MOST] = {bytes[0], bytes[1], bytes[2]};
        static uint8_t blocks[BLOCKS * MOST];
        static float weights[BLOCKS * MOST];
        for (size_t i = 0; i < BLOCKS * (size_t)level->block_bytes; i++)
            blocks[i] = (uint8_t)(mq_test_random(&random) >> 8);
        for (size_t b = 0; b < BLOCKS;
             b++) { /* scales that are finite, and not too small for F16 */
            uint8_t *block = blocks + b * level->block_bytes;
            block[1] = (uint8_t)(0x24 + (b & 7));
            block[0] =
                level->half_at || strcmp(levels[l], "mxfp4") ? block[0] : (uint8_t)(120 + b % 10);
            if (level->has_mins)
                block[3] = (uint8_t)(0x24 + (b & 3));
        }
        split->cut(blocks, BLOCKS, parts);
        level->decode[MQ_ISA_GENERIC](blocks, BLOCKS * (size_t)level->block_weights, weights);
        for (size_t i = 0; i < BLOCKS * (size_t)level->block_weights; i++) {
            const bool mx = split->parts_count == 2;
            const float found = mx ? dequantized_mx(parts, i) : dequantized(split, parts, i);
            const bool exact = mx || level->block_weights == 32;
            const float most = 64 * 32 * 0.05f / 1024; /* of scale and bias, 2^-11 of each */
            ck_assert_msg(exact ? found == weights[i] : fabsf(found - weights[i]) <= most,
                          "%s: weight %zu: %g, %g", levels[l], i, (double)found,
                          (double)weights[i]);
        }
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, tensors_fill_their_shards);
    tcase_add_test(tests, config_is_kept_but_for_quantization);
    tcase_add_test(tests, groups_are_as_their_readers_take_them);
    tcase_add_test(tests, layers_of_other_levels_are_listed);
    tcase_add_test(tests, mlx_has_experts_stacked);
    tcase_add_test(tests, what_runtimes_refuse_is_said);
    tcase_add_test(tests, one_level_for_what_is_looked_up_as_one);
    tcase_add_test(tests, defaults_are_what_shapes_allow);
    tcase_add_test(tests, blocks_are_the_same_weights);
}

int main(void)
{
    return mq_test_main("plan_folder", add_tests);
}
