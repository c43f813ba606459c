/*
 * quantization_config.c: config.json's "quantization_config" of the methods that moeq reads.
 *
 *     fp8                  fmt e4m3, also by the name that torch has for it (MiniMax-M2); expert_dtype;
 *                          weight_block_size [128, 128], or null: scales of rows or tensors
 *     mxfp4                nothing that the tensors do not say
 *     compressed-tensors   config_groups.*.weights: num_bits, type, strategy, group_size, symmetric,
 *                          block_structure; format; sparsity_config, transform_config
 *     gptq                 bits, group_size, desc_act, checkpoint_format, dynamic; is_marlin_format,
 *                          pack_dtype, rotation (sym the tensors tell)
 *     awq                  bits, group_size, zero_point, version
 *     (MLX)                bits, group_size, mode; the same for single modules under their names
 *
 * Sources: Transformers' FineGrainedFP8Config, Mxfp4Config, GPTQConfig and AwqConfig
 * (utils/quantization_config.py), compressed-tensors' QuantizationArgs (quantization/quant_args.py) and
 * CompressionFormat, GPTQModel's QuantizeConfig, mlx_lm's load_model (utils.py). What is
 * said of activations changes how runtimes multiply, not the weights. Which modules stay plain
 * ("ignore", "modules_to_not_convert") the tensors themselves tell.
 */
#include "quantization_config.h"

#include "json.h"

#include <inttypes.h>
#include <stdio.h>
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

/* One more way of storing integers, unless it has been said. */
static const char *add_scheme(struct mq_source_claim *claim, uint64_t bits, uint32_t group,
                              bool zeros)
{
    const struct mq_source_scheme scheme = {.bits = (uint32_t)bits, .group = group, .zeros = zeros};
    for (uint32_t i = 0; i < claim->schemes_count; i++) {
        const struct mq_source_scheme *s = &claim->schemes[i];
        if (s->bits == scheme.bits && s->group == group && s->zeros == zeros)
            return NULL;
    }
    if (claim->schemes_count == MQ_MAX_SCHEMES)
        return "in more ways than moeq knows of one model";
    claim->schemes[claim->schemes_count++] = scheme;
    return NULL;
}

enum { MAX_GROUP = 1 << 20 };

static const char *read_float_weights(const cJSON *weights, struct mq_source_claim *claim)
{
    if (!is_text(weights, "strategy", "block"))
        return is_text(weights, "strategy", "channel") || is_text(weights, "strategy", "tensor")
                   ? NULL
                   : "with scales that are not of blocks, rows or tensors";
    if (!are_blocks(mq_json_get(weights, "block_structure")))
        return "in blocks of another size than 128x128";
    claim->block_rows = claim->block_cols = 128;
    return NULL;
}

static const char *read_integer_weights(const cJSON *weights, bool packed, uint64_t bits,
                                        struct mq_source_claim *claim)
{
    const bool zeros = mq_json_get(weights, "symmetric") && !is_given(weights, "symmetric");
    uint64_t group = 0;
    if (packed ? bits < 2 || bits > 8 : bits != 8)
        return packed ? "of fewer than 2 or more than 8 bits" : "of other than 8 bits";
    if (is_text(weights, "strategy", "channel"))
        return add_scheme(claim, bits, 0, zeros);
    if (is_text(weights, "strategy", "tensor") && !packed)
        return add_scheme(claim, bits, MQ_GROUP_TENSOR, zeros);
    if (!is_text(weights, "strategy", "group") ||
        !mq_json_u64(mq_json_get(weights, "group_size"), &group))
        return "with scales that are not of groups, rows or tensors";
    if (group % 32 || group == 0 || group > MAX_GROUP)
        return "in groups of no multiple of 32 weights";
    return add_scheme(claim, bits, (uint32_t)group, zeros);
}

static const char *read_group(const cJSON *config, const cJSON *group,
                              struct mq_source_claim *claim)
{
    const cJSON *weights = mq_json_get(group, "weights");
    const cJSON *of =
        is_given(group, "format") ? group : config; /* newer: each group has its own */
    const bool naive = is_text(of, "format", "naive-quantized");
    const bool packed = is_text(of, "format", "pack-quantized");
    uint64_t bits;
    if (!weights || !mq_json_u64(mq_json_get(weights, "num_bits"), &bits))
        return "";
    if (is_text(weights, "type", "int") &&
        (packed || naive || is_text(of, "format", "int-quantized")))
        return read_integer_weights(weights, packed, bits, claim);
    if (is_text(of, "format", "mxfp4-pack-quantized")) {
        claim->mxfp4 = true;
        return NULL;
    }
    if (is_text(of, "format", "nvfp4-pack-quantized")) {
        claim->nvfp4 = true;
        return NULL;
    }
    if (!is_text(weights, "type", "float") || bits != 8 ||
        !(naive || is_text(of, "format", "float-quantized")))
        return "in a format that is none of pack-quantized, int-quantized, naive-quantized, "
               "float-quantized, mxfp4-pack-quantized and nvfp4-pack-quantized";
    return mq_json_get(weights, "symmetric") && !is_given(weights, "symmetric")
               ? "of floats with zeros"
               : read_float_weights(weights, claim);
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
    *claim = (struct mq_source_claim){.method = MQ_SOURCE_COMPRESSED};
    if (!first || more)
        return more ? more : "";
    const char *why = NULL;
    for (const cJSON *g = first; g && !why; g = g->next)
        why = read_group(config, g, claim);
    return why;
}

/* ---- GPTQ and AWQ ---- */

/* group_size: -1 is a row. */
static bool read_group_size(const cJSON *config, uint32_t *group)
{
    const cJSON *c = mq_json_get(config, "group_size");
    uint64_t n;
    *group = 0;
    if (cJSON_IsNumber(c) && c->valuedouble == -1)
        return true;
    if (!mq_json_u64(c, &n) || n == 0 || n > MAX_GROUP)
        return false;
    *group = (uint32_t)n;
    return true;
}

/* A module's own: what it does not say is the model's. "-:" in front of its pattern: it stays plain. */
static const char *read_dynamic(const cJSON *config, uint64_t bits, uint32_t group,
                                struct mq_source_claim *claim)
{
    const char *why = NULL;
    for (const cJSON *m = mq_json_get(config, "dynamic") ? mq_json_get(config, "dynamic")->child
                                                         : NULL;
         m && !why; m = m->next) {
        uint64_t its_bits = bits;
        uint32_t its_group = group;
        if (strncmp(m->string ? m->string : "", "-:", 2) == 0)
            continue;
        if (mq_json_get(m, "bits") && !mq_json_u64(mq_json_get(m, "bits"), &its_bits))
            why = "with a \"dynamic\" that is not understood";
        if (mq_json_get(m, "group_size") && !read_group_size(m, &its_group))
            why = "with a \"dynamic\" that is not understood";
        if (its_bits != 2 && its_bits != 3 && its_bits != 4 && its_bits != 8)
            why = "of neither 2, 3, 4 nor 8 bits";
        claim->reordered |= is_given(m, "desc_act");
        why = why ? why : add_scheme(claim, its_bits, its_group, true);
    }
    return why;
}

static const char *read_gptq(const cJSON *config, struct mq_source_claim *claim)
{
    const cJSON *order = mq_json_get(config, "desc_act");
    uint64_t bits;
    uint32_t group;
    /* where it is silent, tools differ (AutoGPTQ: true, Transformers: false): any order is right then */
    *claim = (struct mq_source_claim){.method = MQ_SOURCE_GPTQ, .reordered = !cJSON_IsFalse(order)};
    if (!mq_json_u64(mq_json_get(config, "bits"), &bits))
        return "without a number of bits";
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
        return "of neither 2, 3, 4 nor 8 bits";
    if (!read_group_size(config, &group))
        return "without a group_size";
    if (is_given(config, "is_marlin_format") || is_given(config, "is_bitblas_format"))
        return "in a form for one kernel (marlin, bitblas)";
    if (is_given(config, "pack_dtype") && !is_text(config, "pack_dtype", "int32"))
        return "packed into other words than int32";
    if (is_given(config, "rotation"))
        return "of rotated weights (rotation)";
    claim->zeros_less_one = !is_text(config, "checkpoint_format", "gptq_v2");
    if (claim->zeros_less_one && is_given(config, "checkpoint_format") &&
        !is_text(config, "checkpoint_format", "gptq"))
        return "in a checkpoint_format that is neither gptq nor gptq_v2";
    const char *why = add_scheme(claim, bits, group, true);
    return why ? why : read_dynamic(config, bits, group, claim);
}

static const char *read_awq(const cJSON *config, struct mq_source_claim *claim)
{
    uint64_t bits;
    uint32_t group;
    *claim = (struct mq_source_claim){.method = MQ_SOURCE_AWQ};
    if (!mq_json_u64(mq_json_get(config, "bits"), &bits) &&
        !mq_json_u64(mq_json_get(config, "w_bit"), &bits))
        return "without a number of bits";
    if (bits != 4)
        return "of other than 4 bits";
    if (is_given(config, "version") && !is_text(config, "version", "gemm") &&
        !is_text(config, "version", "GEMM"))
        return "in a version that is not gemm";
    if (mq_json_get(config, "zero_point") && !is_given(config, "zero_point"))
        return "without zeros (zero_point)";
    return read_group_size(config, &group) ? add_scheme(claim, bits, group, true)
                                           : "without a group_size";
}

/* ---- MLX ---- */

static const char *read_mlx_mode(const cJSON *config, struct mq_source_claim *claim)
{
    uint64_t bits, group;
    if (is_text(config, "mode", "mxfp4")) {
        claim->mxfp4 = true;
        return NULL;
    }
    if (is_given(config, "mode") && !is_text(config, "mode", "affine"))
        return "in a mode that is neither affine nor mxfp4";
    if (!mq_json_u64(mq_json_get(config, "bits"), &bits) ||
        !mq_json_u64(mq_json_get(config, "group_size"), &group))
        return "without bits or group_size";
    if (bits < 2 || bits > 8 || bits == 7)
        return "of neither 2, 3, 4, 5, 6 nor 8 bits";
    return group == 32 || group == 64 || group == 128
               ? add_scheme(claim, bits, (uint32_t)group, true)
               : "in groups of neither 32, 64 nor 128 weights";
}

const char *mq_claim_read_mlx(const cJSON *config, struct mq_source_claim *claim)
{
    *claim = (struct mq_source_claim){.method = MQ_SOURCE_MLX};
    const char *why = read_mlx_mode(config, claim);
    for (const cJSON *m = config->child; m && !why; m = m->next)
        if (cJSON_IsObject(m))
            why = read_mlx_mode(m, claim);
    if (why)
        *claim = (struct mq_source_claim){0};
    return why;
}

static const struct {
    const char *method;
    const char *(*read)(const cJSON *config, struct mq_source_claim *claim);
} readers[] = {
    {"fp8", read_fp8},   {"mxfp4", read_mxfp4}, {"compressed-tensors", read_compressed},
    {"gptq", read_gptq}, {"awq", read_awq},
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

/* ---- in words ---- */

void mq_claim_describe(const struct mq_source_claim *claim, char *text, size_t room)
{
    static const char *const names[] = {
        [MQ_SOURCE_PLAIN] = "",      [MQ_SOURCE_F8] = "FP8",
        [MQ_SOURCE_MXFP4] = "MXFP4", [MQ_SOURCE_COMPRESSED] = "compressed-tensors",
        [MQ_SOURCE_MLX] = "MLX",     [MQ_SOURCE_GPTQ] = "GPTQ",
        [MQ_SOURCE_AWQ] = "AWQ"};
    snprintf(text, room, "%s", names[claim->method]);
    for (uint32_t i = 0; i < claim->schemes_count; i++) {
        const struct mq_source_scheme *s = &claim->schemes[i];
        snprintf(text + strlen(text), room - strlen(text), "%s%" PRIu32 " bits", i ? "; " : ", ",
                 s->bits);
        if (s->group && s->group != MQ_GROUP_TENSOR)
            snprintf(text + strlen(text), room - strlen(text), " in groups of %" PRIu32, s->group);
        else
            snprintf(text + strlen(text), room - strlen(text), ", a scale for each %s",
                     s->group ? "matrix" : "row");
        if (claim->method == MQ_SOURCE_COMPRESSED && s->zeros)
            snprintf(text + strlen(text), room - strlen(text), ", asymmetric");
    }
    if (claim->block_rows)
        snprintf(text + strlen(text), room - strlen(text), "%s in blocks of %" PRIu32 "x%" PRIu32,
                 claim->method == MQ_SOURCE_F8 ? "" : "; FP8", claim->block_rows,
                 claim->block_cols);
    if (claim->mxfp4)
        snprintf(text + strlen(text), room - strlen(text), "%s MXFP4",
                 claim->schemes_count ? ";" : ",");
    if (claim->nvfp4)
        snprintf(text + strlen(text), room - strlen(text), "%s NVFP4",
                 claim->schemes_count || claim->mxfp4 ? ";" : ",");
    if (claim->reordered)
        snprintf(text + strlen(text), room - strlen(text), ", columns in any order (desc_act)");
}
