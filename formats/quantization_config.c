/*
 * quantization_config.c: config.json's "quantization_config" of the methods that moeq reads.
 *
 *     fp8                  fmt e4m3, also by the name that torch has for it (MiniMax-M2); expert_dtype;
 *                          weight_block_size [128, 128], or null: scales of rows or tensors
 *     mxfp4                nothing that the tensors do not say
 *     compressed-tensors   config_groups.*.weights: num_bits, type, strategy, group_size, symmetric,
 *                          actorder, block_structure; format; sparsity_config, transform_config
 *
 * Sources: Transformers' FineGrainedFP8Config and Mxfp4Config (utils/quantization_config.py),
 * compressed-tensors' QuantizationArgs (quantization/quant_args.py) and CompressionFormat. What is
 * said of activations changes how runtimes multiply, not the weights. Which modules stay plain
 * ("ignore", "modules_to_not_convert") the tensors themselves tell.
 */
#include "quantization_config.h"

#include "json.h"

#include <string.h>

static bool is_text(const cJSON *object, const char *key, const char *text)
{
    const cJSON *c = mq_json_get(object, key);
    return cJSON_IsString(c) && strcmp(c->valuestring, text) == 0;
}

static bool is_given(const cJSON *object, const char *key)
{
    const cJSON *c = mq_json_get(object, key);
    return c && !cJSON_IsNull(c) && !cJSON_IsFalse(c);
}

/* [128, 128]: the one size of block that scales of FP8 are implemented for. */
static bool are_blocks(const cJSON *list)
{
    uint64_t rows, cols;
    return cJSON_IsArray(list) && cJSON_GetArraySize(list) == 2 &&
           mq_json_u64(cJSON_GetArrayItem(list, 0), &rows) &&
           mq_json_u64(cJSON_GetArrayItem(list, 1), &cols) && rows == 128 && cols == 128;
}

static const char *read_fp8(const cJSON *config, struct mq_source_claim *claim)
{
    *claim = (struct mq_source_claim){.method = MQ_SOURCE_F8};
    if (is_given(config, "fmt") && !is_text(config, "fmt", "e4m3") &&
        !is_text(config, "fmt", "float8_e4m3fn"))
        return "of a format other than e4m3";
    if (is_given(config, "expert_dtype") && !is_text(config, "expert_dtype", "fp8"))
        return "with experts that are not";
    if (!is_given(config, "weight_block_size"))
        return NULL;
    if (!are_blocks(mq_json_get(config, "weight_block_size")))
        return "in blocks of another size than 128x128";
    claim->block_rows = claim->block_cols = 128;
    return NULL;
}

static const char *read_mxfp4(const cJSON *config, struct mq_source_claim *claim)
{
    (void)config;
    *claim = (struct mq_source_claim){.method = MQ_SOURCE_MXFP4};
    return NULL;
}

/* ---- compressed-tensors ---- */

static const char *read_float_weights(const cJSON *weights, struct mq_source_claim *claim)
{
    claim->method = MQ_SOURCE_F8;
    if (!is_text(weights, "strategy", "block"))
        return is_text(weights, "strategy", "channel") || is_text(weights, "strategy", "tensor")
                   ? NULL
                   : "with scales that are not of blocks, rows or tensors";
    if (!are_blocks(mq_json_get(weights, "block_structure")))
        return "in blocks of another size than 128x128";
    claim->block_rows = claim->block_cols = 128;
    return NULL;
}

static const char *read_packed_weights(const cJSON *weights, uint64_t bits,
                                       struct mq_source_claim *claim)
{
    uint64_t group = 0;
    claim->method = MQ_SOURCE_PACKED;
    claim->bits = (uint32_t)bits;
    if (is_given(weights, "actorder") && !is_text(weights, "actorder", "static") &&
        !is_text(weights, "actorder", "weight"))
        return "with weights in the order of their activations (actorder)";
    if (is_text(weights, "strategy", "channel"))
        return NULL;
    if (!is_text(weights, "strategy", "group") ||
        !mq_json_u64(mq_json_get(weights, "group_size"), &group))
        return "with scales that are not of groups or rows";
    claim->group = (uint32_t)group;
    return group % 32 || group == 0 || group > 1 << 20 ? "in groups of no multiple of 32 weights"
                                                       : NULL;
}

static const char *read_group(const cJSON *config, const cJSON *group,
                              struct mq_source_claim *claim)
{
    const cJSON *weights = mq_json_get(group, "weights");
    const cJSON *of =
        is_given(group, "format") ? group : config; /* newer: each group has its own */
    uint64_t bits;
    if (!weights || !mq_json_u64(mq_json_get(weights, "num_bits"), &bits))
        return "";
    if (mq_json_get(weights, "symmetric") && !is_given(weights, "symmetric"))
        return "asymmetric";
    if (is_text(of, "format", "float-quantized") && is_text(weights, "type", "float") && bits == 8)
        return read_float_weights(weights, claim);
    if (is_text(of, "format", "pack-quantized") && is_text(weights, "type", "int"))
        return bits == 4 || bits == 8 ? read_packed_weights(weights, bits, claim)
                                      : "of neither 4 nor 8 bits";
    return "in a format that is neither pack-quantized nor float-quantized";
}

/* What is done to weights besides: zeros taken out of them, or rotations, of which a model does the
 * other half when it runs (compressed-tensors' SparsityCompressionConfig, TransformConfig). */
static const char *read_more(const cJSON *config)
{
    const cJSON *sparsity = mq_json_get(config, "sparsity_config");
    const cJSON *transforms = mq_json_get(config, "transform_config");
    const cJSON *groups = mq_json_get(transforms, "config_groups");
    if (is_given(sparsity, "format") && !is_text(sparsity, "format", "dense"))
        return "of which zeros are left out (sparsity_config)";
    return transforms && transforms->child && !(groups && !groups->child)
               ? "with transforms (transform_config)"
               : NULL;
}

static const char *read_compressed(const cJSON *config, struct mq_source_claim *claim)
{
    const cJSON *groups = mq_json_get(config, "config_groups");
    const cJSON *first = cJSON_IsObject(groups) ? groups->child : NULL;
    const char *more = read_more(config);
    *claim = (struct mq_source_claim){0};
    if (!first || more)
        return more ? more : "";
    const char *why = read_group(config, first, claim);
    for (const cJSON *g = first->next; g && !why; g = g->next) {
        struct mq_source_claim other = {0};
        why = read_group(config, g, &other);
        if (!why && memcmp(&other, claim, sizeof other) != 0)
            why = "in groups that differ";
    }
    return why;
}

static const struct {
    const char *method;
    const char *(*read)(const cJSON *config, struct mq_source_claim *claim);
} readers[] = {
    {"fp8", read_fp8},
    {"mxfp4", read_mxfp4},
    {"compressed-tensors", read_compressed},
};

const char *mq_claim_read(const cJSON *config, const char *method, struct mq_source_claim *claim)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(readers[i].method, method) == 0) {
            const char *why = readers[i].read(config, claim);
            if (why)
                *claim = (struct mq_source_claim){0};
            return why;
        }
    return "";
}
