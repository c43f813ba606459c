/* test_config.c: config.json: what is read, what is assumed, and what is refused. */
#include "family.h"
#include "file.h"
#include "open_options.h"
#include "test_support.h"
#include "view_int.h"

#include <stdio.h>
#include <string.h>

#define MAMBA                                                                     \
    "\"model_type\":\"nemotron_h\",\"hidden_size\":64,\"intermediate_size\":160," \
    "\"hybrid_override_pattern\":\"M*E\",\"vocab_size\":256" HEADS
#define COMPRESSED(weights, format)                                                            \
    ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"" format          \
    "\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{" weights "}}}}"
#define COMPRESSED_AND(more)                                                                       \
    ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\"," \
    "\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":4,\"type\":\"int\",\"strategy\":\"channel\"}}},"    \
    more "}"
#define BASE                                                                   \
    "\"model_type\":\"mixtral\",\"hidden_size\":64,\"intermediate_size\":160," \
    "\"num_hidden_layers\":2,\"vocab_size\":256"
#define HEADS ",\"num_attention_heads\":8"

/* Notes, joined by newlines, unless NULL. */
static moeq_status parse_with(const struct mq_open_options *options, const char *json,
                              struct mq_hparams *h, char notes[4096], moeq_error *err)
{
    memset(err, 0, sizeof *err);
    struct mq_view *view = mq_view_create("config.json");
    ck_assert_ptr_nonnull(view);
    ck_assert_ok(mq_view_set_options(view, options, err));
    mq_buffer_append(&view->side[MQ_SIDE_CONFIG], json, strlen(json));
    const moeq_status status = mq_config_parse(view, "config.json", err);
    memcpy(h, &view->hparams, sizeof *h); /* with its padding, which tests compare */
    if (notes)
        notes[0] = '\0';
    for (size_t i = 0; notes && i < view->notes_count; i++)
        snprintf(notes + strlen(notes), 4096 - strlen(notes), "%s\n", view->notes[i]);
    mq_view_close(view);
    return status;
}

static moeq_status parse(const char *json, struct mq_hparams *h, moeq_error *err)
{
    return parse_with(NULL, json, h, NULL, err);
}

static const struct {
    const char *json, *message;
} refused[] = {
    {"", "JSON at byte 0: found nothing"},
    {"[]", "expected a JSON object"},
    {"{}", "\"model_type\" is missing"},
    {"{\"model_type\":7}", "\"model_type\" is missing"},
    {"{" BASE "}", "\"num_attention_heads\" is missing"},
    {"{" BASE HEADS HEADS "}", "JSON holds the key \"num_attention_heads\" twice"},
    {"{" BASE HEADS ",\"clip_qkv\":8.0}",
     "\"clip_qkv\": 8: a key that moeq does not know: it may change the maths. Where it was "
     "written "
     "by a tool and the model does without, --ignore-config clip_qkv goes on"},
    {"{" BASE HEADS ",\"attention_bias\":true}",
     "\"attention_bias\": true (implemented: false): a key that moeq implements at other values "
     "only: it may "
     "change the maths. Where it was written by a tool and the model does without, --ignore-config "
     "attention_bias goes on"},
    {"{" BASE HEADS ",\"hidden_act\":\"gelu\"}",
     "\"hidden_act\": \"gelu\" (implemented: \"silu\" or \"swish\"): a key that moeq implements at "
     "other values only: it may "
     "change the maths. Where it was written by a tool and the model does without, --ignore-config "
     "hidden_act goes on"},
    {"{" BASE HEADS ",\"compression_config\":{\"quant_method\":\"compressed-tensors\"}}",
     "the weights are quantized already (compressed-tensors: \"compression_config\" in "
     "config.json): moeq needs the original model, in float32, float16 or bfloat16"},
    {"{" BASE HEADS ",\"quantization_config\":{\"quant_method\":\"gptq\"}}",
     "the weights are quantized already (GPTQ, without a number of bits: \"quantization_config\" "
     "in "
     "config.json): moeq needs the original model, in float32, float16 or bfloat16"},
#define REFUSED_AS(how)                                                                  \
    "the weights are quantized already (" how ": \"quantization_config\" in config.json): moeq " \
    "needs the original model, in float32, float16 or bfloat16"
    {"{" BASE HEADS
     ",\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[64,128]}}",
     REFUSED_AS("FP8, in blocks of another size than 128x128")},
    {"{" BASE HEADS ",\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}}",
     REFUSED_AS("FP8, of a format other than e4m3")},
    {"{" BASE HEADS ",\"quantization_config\":{\"quant_method\":\"fp8\",\"expert_dtype\":\"fp4\"}}",
     REFUSED_AS("FP8, with experts that are not")},
    {"{" BASE HEADS COMPRESSED_AND("\"transform_config\":{\"config_groups\":{\"R1\":{\"type\":"
                                   "\"hadamard\"}}}") "}",
     REFUSED_AS("compressed-tensors, with transforms (transform_config)")},
    {"{" BASE HEADS COMPRESSED_AND("\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}") "}",
     REFUSED_AS("compressed-tensors, of which zeros are left out (sparsity_config)")},
    {"{" BASE HEADS COMPRESSED(
         "\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":48",
         "pack-quantized") "}",
     REFUSED_AS("compressed-tensors, in groups of no multiple of 32 weights")},
    {"{" BASE HEADS COMPRESSED("\"num_bits\":1,\"type\":\"int\",\"strategy\":\"channel\"",
                               "pack-quantized") "}",
     REFUSED_AS("compressed-tensors, of fewer than 2 or more than 8 bits")},
    {"{" BASE HEADS COMPRESSED("\"num_bits\":4,\"type\":\"int\",\"strategy\":\"channel\"",
                               "int-quantized") "}",
     REFUSED_AS("compressed-tensors, of other than 8 bits")},
    {"{" BASE HEADS COMPRESSED("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"channel\","
                               "\"symmetric\":false",
                               "float-quantized") "}",
     REFUSED_AS("compressed-tensors, of floats with zeros")},
#define TOOL(method, rest) ",\"quantization_config\":{\"quant_method\":\"" method "\"," rest "}"
    {"{" BASE HEADS TOOL("gptq", "\"bits\":5,\"group_size\":128") "}",
     REFUSED_AS("GPTQ, of neither 2, 3, 4 nor 8 bits")},
    {"{" BASE HEADS TOOL("gptq", "\"bits\":4") "}", REFUSED_AS("GPTQ, without a group_size")},
    {"{" BASE HEADS TOOL("gptq",
                         "\"bits\":4,\"group_size\":-1,\"checkpoint_format\":\"marlin\"") "}",
     REFUSED_AS("GPTQ, in a checkpoint_format that is neither gptq nor gptq_v2")},
    {"{" BASE HEADS TOOL("gptq", "\"bits\":4,\"group_size\":-1,\"is_marlin_format\":true") "}",
     REFUSED_AS("GPTQ, in a form for one kernel (marlin, bitblas)")},
    {"{" BASE HEADS TOOL("gptq", "\"bits\":4,\"group_size\":-1,\"pack_dtype\":\"int16\"") "}",
     REFUSED_AS("GPTQ, packed into other words than int32")},
    {"{" BASE HEADS TOOL(
         "gptq", "\"bits\":4,\"group_size\":64,\"dynamic\":{\"+:.*q_proj\":{\"bits\":6}}") "}",
     REFUSED_AS("GPTQ, of neither 2, 3, 4 nor 8 bits")},
    {"{" BASE HEADS TOOL("awq", "\"bits\":4,\"group_size\":128,\"version\":\"gemv\"") "}",
     REFUSED_AS("AWQ, in a version that is not gemm")},
    {"{" BASE HEADS TOOL("awq", "\"bits\":4,\"group_size\":128,\"zero_point\":false") "}",
     REFUSED_AS("AWQ, without zeros (zero_point)")},
    {"{" BASE HEADS TOOL("awq", "\"bits\":8,\"group_size\":128") "}",
     REFUSED_AS("AWQ, of other than 4 bits")},
    {"{" BASE HEADS COMPRESSED("\"num_bits\":4,\"type\":\"float\",\"strategy\":\"tensor_group\"",
                               "mxfp6-pack-quantized") "}",
     REFUSED_AS("compressed-tensors, in a format that is none of pack-quantized, int-quantized, "
                "naive-quantized, float-quantized, mxfp4-pack-quantized and "
                "nvfp4-pack-quantized")},
    {"{" BASE HEADS ",\"partial_rotary_factor\":0.5}",
     "\"partial_rotary_factor\": 0.5 (implemented: 1): a key that moeq implements at other values "
     "only: it may "
     "change the maths. Where it was written by a tool and the model does without, --ignore-config "
     "partial_rotary_factor goes on"},
    {"{" BASE HEADS ",\"rope_scaling\":{\"type\":\"su\",\"factor\":4.0}}",
     "\"rope_scaling\": rope type \"su\" is not implemented (default, linear, dynamic, llama3, "
     "yarn, longrope, proportional, mrope)"},
    {"{" BASE HEADS ",\"rope_parameters\":{\"rope_type\":\"default\",\"beta\":32}}",
     "\"beta\": 32: a key that moeq does not know: it may change the maths. Where it was written "
     "by a "
     "tool and the model does without, --ignore-config beta goes on"},
    {"{" BASE HEADS ",\"rope_scaling\":{\"type\":\"linear\"}}",
     "rope scaling: \"factor\" is missing"},
    {"{" BASE HEADS ",\"rope_theta\":-1}", "\"rope_theta\": -1 is no positive number"},
    {"{" BASE HEADS ",\"rms_norm_eps\":\"1e-5\"}",
     "\"rms_norm_eps\": \"1e-5\" is no positive number"},
    {"{" BASE HEADS ",\"num_key_value_heads\":3}",
     "num_attention_heads 8 is no multiple of num_key_value_heads 3"},
    {"{" BASE HEADS ",\"num_key_value_heads\":16}",
     "num_attention_heads 8 is no multiple of num_key_value_heads 16"},
    {"{" BASE ",\"num_attention_heads\":24}",
     "hidden_size 64 is no multiple of num_attention_heads 24, and there is no head_dim"},
    {"{" BASE ",\"num_attention_heads\":64}", "head_dim 1: expected an even number up to 1024"},
    {"{" BASE HEADS ",\"head_dim\":2048}", "head_dim 2048: expected an even number up to 1024"},
    {"{" BASE HEADS ",\"num_local_experts\":4,\"num_experts_per_tok\":5}",
     "num_experts_per_tok 5 is more than the 4 experts"},
    {"{" BASE HEADS ",\"num_local_experts\":0}",
     "\"num_local_experts\": expected a whole number from 1 to 16777216, found 0"},
    {"{" BASE HEADS ",\"max_position_embeddings\":4000000000}",
     "\"max_position_embeddings\": expected a whole number from 1 to 16777216, found 4000000000"},
    {"{" BASE HEADS ",\"max_position_embeddings\":1000000000000000019884624838656}",
     "\"max_position_embeddings\": expected a whole number from 1 to 16777216, found 1e+30"},
    {"{" BASE HEADS ",\"max_position_embeddings\":NaN}",
     "\"max_position_embeddings\": expected a whole number from 1 to 16777216, found \"NaN\""},
    {"{" BASE HEADS ",\"rope_theta\":Infinity}",
     "\"rope_theta\": \"Infinity\" is no positive number"},
    {"{" BASE HEADS ",\"rms_norm_eps\":NaNs}",
     "JSON at byte 143: found text that is no JSON value"},
    {"{" BASE HEADS ",\"x\\\1\":NaN}", "JSON at byte 130: found a backslash that begins no escape"},
#define REFUSED_MLX(how)                              \
    "the weights are quantized already (MLX, " how    \
    ": \"quantization\" in config.json): moeq needs " \
    "the original model, in float32, float16 or bfloat16"
    {"{" BASE HEADS ",\"quantization\":{\"group_size\":64,\"bits\":7}}",
     REFUSED_MLX("of neither 2, 3, 4, 5, 6 nor 8 bits")},
    {"{" BASE HEADS ",\"quantization\":{\"group_size\":16,\"bits\":4,\"mode\":\"nvfp4\"}}",
     REFUSED_MLX("in a mode that is neither affine nor mxfp4")},
    {"{" BASE HEADS
     ",\"quantization\":{\"group_size\":64,\"bits\":4,\"a.b\":{\"bits\":4,\"group_size\":16}}}",
     REFUSED_MLX("in groups of neither 32, 64 nor 128 weights")},
    {"{" BASE HEADS ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
     "\"layer_types\": [\"full_attention\",\"sliding_attention\"] is not implemented (only lists "
     "of "
     "\"full_attention\", or of \"sliding_attention\"). --ignore-config layer_types goes on "
     "without "
     "it, at the risk of wrong results"},
    {"{" BASE HEADS ",\"num_local_experts\":8.5}",
     "\"num_local_experts\": expected a whole number from 1 to 16777216, found 8.5"},
    {"{" BASE ",\"num_attention_heads\":\"8\"}",
     "\"num_attention_heads\": expected a whole number from 1 to 16777216, found \"8\""},
    {"{\"model_type\":\"qwen3_moe\",\"hidden_size\":64,\"intermediate_size\":160,"
     "\"num_hidden_layers\":2,\"vocab_size\":256" HEADS ",\"use_sliding_window\":1}",
     "\"use_sliding_window\": 1 is neither true nor false"},
    {"{" BASE HEADS ",\"tie_word_embeddings\":1}",
     "\"tie_word_embeddings\": 1 is neither true nor false"},
    {"{" MAMBA ",\"mamba_num_heads\":6,\"n_groups\":4}",
     "asks for mixers whose heads cannot be shared out among their keys (or groups)"},
    {"{" MAMBA ",\"conv_kernel\":65}", "asks for a convolution of more than 64 taps"},
    {"{" MAMBA ",\"ssm_state_size\":1025}",
     "asks for mixers with states of more than 1024 rows or columns"},
    {"{" MAMBA ",\"mamba_head_dim\":1025}",
     "asks for mixers with states of more than 1024 rows or columns"},
    {"{" MAMBA ",\"moe_latent_size\":1024}",
     "\"moe_latent_size\": 1024 (implemented: null): a key that moeq implements at other values "
     "only: it may change the maths. Where it was written by a tool and the model does without, "
     "--ignore-config moe_latent_size goes on"},
};

START_TEST(refuses_what_it_does_not_implement)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct mq_hparams h;
        moeq_error err;
        ck_assert_int_ne(parse(refused[i].json, &h, &err), MOEQ_OK);
        ck_assert_str_eq(err.message + strlen("config.json: "), refused[i].message);
    }
}
END_TEST

START_TEST(names_the_families_that_it_knows)
{
    struct mq_hparams h;
    moeq_error err;
    ck_assert_int_eq(parse("{\"model_type\":\"gpt2\"}", &h, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "\"gpt2\" is not supported (supported: mixtral, "));
    for (size_t i = 0; i < mq_families_count; i++)
        ck_assert_msg(strstr(err.message, mq_families[i]->name), "%s", mq_families[i]->name);
}
END_TEST

/* All that Transformers writes by itself is in the table, listed from its sources by a script. */
START_TEST(knows_every_key_of_transformers)
{
    char line[200], key[100];
    size_t n = 0;
    FILE *f = fopen(mq_test_source("tests/formats/data/config_keys.txt"), "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        ck_assert_int_eq(sscanf(line, "%99s", key), 1);
        ck_assert_msg(mq_config_key_find(mq_config_keys, key), "%s is not known", key);
        n++;
    }
    fclose(f);
    ck_assert_uint_gt(n, 100);
}
END_TEST

/* Harmless at these values; mended or skipped numbers; every vintage's ways to say nothing. */
static const char *const accepted[] = {
    ",\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":["
    "128,128]}",
    ",\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":null}",
    /* as MiniMax-M2 is published; as Transformers 5 writes it */
    ",\"quantization_config\":{\"activation_scheme\":\"dynamic\",\"fmt\":\"float8_e4m3fn\","
    "\"quant_method\":\"fp8\",\"weight_block_size\":[128,128],"
    "\"modules_to_not_convert\":[\"gate\",\"e_score_correction_bias\",\"lm_head\"]}",
    ",\"quantization_config\":{\"quant_method\":\"fp8\",\"scale_fmt\":\"float\",\"expert_dtype\":"
    "\"fp8\",\"dequantize\":false,\"weight_block_size\":[128,128]}",
    ",\"quantization_config\":{\"quant_method\":\"mxfp4\"}",
    COMPRESSED(
        "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[128,128]",
        "float-quantized"),
    COMPRESSED("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"channel\"", "float-quantized"),
    COMPRESSED("\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":128,"
               "\"symmetric\":true",
               "pack-quantized"),
    COMPRESSED("\"num_bits\":8,\"type\":\"int\",\"strategy\":\"channel\"", "pack-quantized"),
    COMPRESSED("\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":32,"
               "\"symmetric\":false,\"actorder\":\"group\"",
               "pack-quantized"),
    COMPRESSED("\"num_bits\":8,\"type\":\"int\",\"strategy\":\"tensor\"", "int-quantized"),
    COMPRESSED("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\"", "naive-quantized"),
    COMPRESSED("\"num_bits\":4,\"type\":\"float\",\"strategy\":\"group\",\"group_size\":32",
               "mxfp4-pack-quantized"),
    COMPRESSED("\"num_bits\":4,\"type\":\"float\",\"strategy\":\"tensor_group\",\"group_size\":16",
               "nvfp4-pack-quantized"),
    TOOL("gptq", "\"bits\":4,\"group_size\":128,\"desc_act\":true,\"sym\":true"),
    TOOL("gptq", "\"bits\":3,\"group_size\":-1,\"checkpoint_format\":\"gptq_v2\",\"dynamic\":{"
                 "\"-:gate\":{},\"+:q_proj\":{\"bits\":8,\"group_size\":64}}"),
    TOOL("awq", "\"bits\":4,\"group_size\":128,\"version\":\"gemm\",\"zero_point\":true"),
    ",\"quantization\":{\"group_size\":64,\"bits\":4,\"mode\":\"affine\",\"lm_head\":false,\"a\":{"
    "\"group_size\":32,\"bits\":8}},\"quantization_config\":{\"group_size\":64,\"bits\":4}",
    ",\"quantization_config\":{\"group_size\":32,\"bits\":4,\"mode\":\"mxfp4\"}",
    COMPRESSED_AND("\"sparsity_config\":{\"format\":\"dense\"},\"transform_config\":{}"),
    COMPRESSED_AND("\"sparsity_config\":{},\"transform_config\":{\"config_groups\":{}}"),
    ",\"pretraining_tp\":2,\"attention_dropout\":0.1,\"rope_interleaved\":false",
    ",\"use_sliding_window\":false,\"max_window_layers\":28,\"sliding_window\":null",
    ",\"layer_types\":[\"full_attention\",\"full_attention\"],\"pruned_heads\":{}",
    ",\"hidden_act\":\"swish\",\"partial_rotary_factor\":1.0,\"mlp_bias\":false",
    ",\"auto_map\":{\"AutoConfig\":\"c.C\"},\"transformers.js_config\":{\"dtype\":\"q4\"}",
    ",\"unsloth_fixed\":true,\"unsloth_version\":\"2025.1\",\"unsloth_no_such_key_yet\":7",
    ",\"model_max_length\":1000000000000000019884624838656,\"max_length\":20",
    ",\"model_max_length\":1000000000000000019884624838656000000000000000000000000000000000001",
    ",\"temperature\":NaN,\"max_time\":Infinity,\"length_penalty\":-Infinity,\"top_p\":1e999",
    ",\"quantization\":\"made with tool 3\",\"quantization_config\":null",
    ",\"quantization\":{\"note\":\"from float32\"},\"quantization_config\":{}",
    ",\"some_list\":[],\"some_text\":\"\",\"some_switch\":false,\"some_object\":{},\"x\":null",
    ",\"tie_word_embeddings\":null,\"head_dim\":null,\"rope_scaling\":{},\"rope_theta\":10000",
    ",\"rope_scaling\":{\"type\":\"default\",\"rope_type\":\"default\"}",
};

/* What other programs may read in another way is said. */
START_TEST(says_what_is_not_used)
{
    static const struct {
        const char *json, *note;
    } cases[] = {
        {"{" BASE HEADS ",\"rope_scaling\":{\"factor\":8.0}}",
         "config.json's rope_scaling has a factor of 8, and no rope_type that has one: it is not "
         "used, as in Transformers\n"},
        {"{" BASE HEADS ",\"rope_scaling\":{\"type\":\"yarn\",\"rope_type\":\"default\",\"factor\":8.0}}",
         "config.json's rope_scaling has a factor of 8, and no rope_type that has one: it is not "
         "used, as in Transformers\n"},
        {"{" BASE HEADS ",\"rope_scaling\":{\"factor\":1.0}}", ""},
        {"{" BASE HEADS ",\"architectures\":[\"LlamaForCausalLM\"]}",
         "config.json's architectures say LlamaForCausalLM, its model_type says mixtral: it is read "
         "as the latter, as in Transformers\n"},
        {"{" BASE HEADS ",\"architectures\":[\"MixtralForCausalLM\"]}", ""},
        {"{" BASE HEADS ",\"architectures\":[\"MixtralForSequenceClassification\"]}", ""},
        {"{" MAMBA ",\"time_step_limit\":[0.0,Infinity]}", ""},
        {"{" MAMBA ",\"time_step_limit\":[0.0,{\"__float__\":\"Infinity\"}]}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_hparams h;
        moeq_error err;
        char notes[4096];
        ck_assert_msg(parse_with(NULL, cases[i].json, &h, notes, &err) == MOEQ_OK, "%s: %s",
                      cases[i].json, err.message);
        ck_assert_str_eq(notes, cases[i].note);
    }
}
END_TEST

/* Keys of layers that a model has none of: a Nemotron-H without experts. */
START_TEST(a_model_may_be_without_some_kinds_of_layers)
{
    struct mq_hparams h;
    moeq_error err = {0};
    const moeq_status status =
        parse("{\"model_type\":\"nemotron_h\",\"hidden_size\":64,\"intermediate_size\":160,"
              "\"hybrid_override_pattern\":\"M-*-\",\"vocab_size\":256" HEADS "}",
              &h, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(h.layers, 4);
}
END_TEST

START_TEST(accepts_what_is_harmless)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        char json[1000], notes[4096];
        struct mq_hparams h;
        moeq_error err;
        snprintf(json, sizeof json, "{" BASE HEADS "%s}", accepted[i]);
        ck_assert_msg(parse_with(NULL, json, &h, notes, &err) == MOEQ_OK, "%s: %s", accepted[i],
                      err.message);
        ck_assert_str_eq(notes, "");
    }
}
END_TEST

START_TEST(names_all_unknown_keys_and_ignores_them_if_told)
{
    static const char json[] = "{" BASE HEADS ",\"clip_qkv\":8.0,\"alibi\":true,\"mlp_bias\":true,"
                               "\"shared\":[1,2]}";
    const char *const keys[] = {"clip_qkv", "alibi", "mlp_bias", "shared"};
    struct mq_open_options options = {.ignored_keys = keys + 2, .ignored_keys_count = 1};
    struct mq_hparams h;
    moeq_error err;
    char notes[4096];
    ck_assert_int_eq(parse_with(&options, json, &h, notes, &err), MOEQ_UNSUPPORTED);
    ck_assert_str_eq(
        err.message,
        "config.json: \"clip_qkv\": 8, \"alibi\": true, \"shared\": [1,2]: keys that moeq "
        "does not know: they may change the maths. Where they were written by a tool and "
        "the model does without, --ignore-config clip_qkv goes on (repeat it for each)");
    options.ignored_keys_count = 0;
    ck_assert_int_eq(parse_with(&options, json, &h, notes, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(
        strstr(err.message, "\"mlp_bias\": true (implemented: false), \"shared\""));
    ck_assert_ptr_nonnull(strstr(err.message, "does not know, or not at these values"));
    const char *const others[] = {"hidden_size", "nothing,more"};
    options = (struct mq_open_options){.ignored_keys = others, .ignored_keys_count = 1};
    ck_assert_int_eq(parse_with(&options, "{" BASE HEADS "}", &h, notes, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "hidden_size: the model cannot be read without it"));
    options.ignored_keys = others + 1;
    ck_assert_ok(parse_with(&options, "{" BASE HEADS "}", &h, notes, &err));
    ck_assert_str_eq(notes,
                     "--ignore-config: config.json has no key \"nothing,more\"; the option is "
                     "given once for each key\n");
    options = (struct mq_open_options){.ignored_keys = keys, .ignored_keys_count = 4};
    ck_assert_ok(parse_with(&options, json, &h, notes, &err));
    ck_assert_str_eq(
        notes,
        "config.json's \"clip_qkv\", which moeq does not know, is ignored, as was asked for\n"
        "config.json's \"alibi\", which moeq does not know, is ignored, as was asked for\n"
        "config.json's \"mlp_bias\" is ignored, as was asked for\n"
        "config.json's \"shared\", which moeq does not know, is ignored, as was asked for\n");
}
END_TEST

/* A model of text among others, as families of it are published. */
#define AROUND                                                                                   \
    "\"model_type\":\"mistral3\",\"architectures\":[\"Mistral3ForConditionalGeneration\"],"      \
    "\"vision_config\":{\"hidden_size\":8,\"model_type\":\"pixtral\"},\"image_token_index\":10," \
    "\"boi_token_id\":3,\"projector_hidden_act\":\"gelu\",\"spatial_merge_size\":2,"             \
    "\"vision_feature_layer\":-1,\"audio_config\":null,\"dtype\":\"bfloat16\""
#define NESTED(around, more) "{" AROUND around ",\"text_config\":{" BASE HEADS more "}}"

START_TEST(the_model_may_stand_in_a_text_config)
{
    struct mq_hparams h, flat;
    moeq_error err;
    char notes[4096];
    ck_assert_ok(
        parse("{" BASE HEADS ",\"eos_token_id\":5,\"tie_word_embeddings\":true}", &flat, &err));
    static const char *const same[] = {
        NESTED(",\"tie_word_embeddings\":true", ",\"eos_token_id\":5"),
        NESTED(",\"eos_token_id\":7", ",\"eos_token_id\":5,\"tie_word_embeddings\":true"),
        NESTED(",\"eos_token_id\":[5,6],\"tie_word_embeddings\":true",
               ",\"eos_token_id\":null,\"tie_word_embeddings\":false,\"dtype\":\"float32\""),
        NESTED(",\"eos_token_id\":5,\"hidden_size\":64", ",\"tie_word_embeddings\":true"),
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        ck_assert_msg(parse_with(NULL, same[i], &h, notes, &err) == MOEQ_OK, "%s", err.message);
        ck_assert_str_eq(notes, "");
        ck_assert_mem_eq(&h, &flat, sizeof h);
    }
    /* the outer type is the family's, and the inner one says none */
    ck_assert_ok(parse("{\"model_type\":\"mixtral\",\"text_config\":{\"model_type\":\"other\","
                       "\"hidden_size\":64,\"intermediate_size\":160,\"num_hidden_layers\":2,"
                       "\"vocab_size\":256" HEADS "}}",
                       &h, &err));
    static const struct {
        const char *json, *message;
    } wrong[] = {
        {NESTED(",\"hidden_size\":65", ""), "\"hidden_size\": 65: a key that moeq does not know"},
        {NESTED(",\"cross\":true", ""), "\"cross\": true: a key that moeq does not know"},
        {NESTED(",\"is_encoder_decoder\":true", ""), "\"is_encoder_decoder\": true (impl"},
        {NESTED("", ",\"vision_config\":{\"a\":1}"), "\"vision_config\": {"},
        {NESTED(",\"quantization_config\":{\"quant_method\":\"gptq\"}", ""), "GPTQ"},
        {NESTED("", ",\"quantization_config\":{\"quant_method\":\"gptq\"}"), "GPTQ"},
        {"{\"model_type\":\"a\",\"text_config\":{\"model_type\":\"b\"}}",
         "model_type \"b\" is not"},
        {"{\"model_type\":\"mixtral\",\"text_config\":7}", "\"text_config\": 7: a key"},
        {"{\"text_config\":{},\"text_config\":{}}", "holds the key \"text_config\" twice"},
        {"{\"text_config\":{}}", "\"model_type\" is missing"},
        {"{\"text_config\":{\"text_config\":{\"model_type\":\"llama\"}}}",
         "\"model_type\" is missing"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_ne(parse(wrong[i].json, &h, &err), MOEQ_OK);
        ck_assert_msg(strstr(err.message, wrong[i].message), "%s", err.message);
    }
    const char *const ignored[] = {"cross"};
    const struct mq_open_options options = {.ignored_keys = ignored, .ignored_keys_count = 1};
    ck_assert_ok(parse_with(&options, NESTED(",\"cross\":true", ""), &h, notes, &err));
    ck_assert_str_eq(notes, "config.json's \"cross\", which moeq does not know, is ignored, as was "
                            "asked for\n");
}
END_TEST

START_TEST(a_family_is_known_by_its_architecture)
{
    struct mq_hparams h;
    moeq_error err;
#define UNTYPED(architectures)                                                           \
    "{\"architectures\":" architectures ",\"hidden_size\":64,\"intermediate_size\":160," \
    "\"num_hidden_layers\":2,\"vocab_size\":256" HEADS "}"
    ck_assert_ok(parse(UNTYPED("[\"MixtralForCausalLM\"]"), &h, &err));
    ck_assert_uint_eq(h.experts, 8);
    static const char *const none[] = {UNTYPED("[\"X\"]"), UNTYPED("[]"), UNTYPED("[7]"),
                                       UNTYPED("\"MixtralForCausalLM\"")};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        ck_assert_int_eq(parse(none[i], &h, &err), MOEQ_MALFORMED);
        ck_assert_str_eq(err.message, "config.json: \"model_type\" is missing");
    }
}
END_TEST

#define LLAMA                                                                 \
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":160," \
    "\"num_hidden_layers\":2,\"vocab_size\":256,\"max_position_embeddings\":4096" HEADS

START_TEST(a_window_that_transformers_does_not_use_is_noted)
{
    struct mq_open_options options = {.sliding_window = MQ_WINDOW_DEFAULT};
    struct mq_hparams h;
    moeq_error err;
    char notes[4096];
    ck_assert_ok(parse_with(&options, LLAMA ",\"sliding_window\":64}", &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 0);
    ck_assert_ptr_nonnull(strstr(notes, "sliding_window of 64, which is not used"));
    ck_assert_ok(parse_with(&options, LLAMA ",\"sliding_window\":4096}", &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 0);
    ck_assert_str_eq(notes, ""); /* all positions fit: nothing to disagree about */
    options.sliding_window = MQ_WINDOW_APPLY;
    ck_assert_ok(parse_with(&options, LLAMA ",\"sliding_window\":64}", &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 64);
    ck_assert_ptr_nonnull(strstr(notes, "is used, as was asked for"));
    options.sliding_window = MQ_WINDOW_IGNORE;
    static const char json[] = "{" BASE HEADS ",\"sliding_window\":64}"; /* Mixtral has windows */
    ck_assert_ok(parse_with(&options, json, &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 0);
    ck_assert_ptr_nonnull(strstr(notes, "is not used, as was asked for"));
    options.sliding_window = MQ_WINDOW_DEFAULT;
    ck_assert_ok(parse_with(&options, json, &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 64);
    ck_assert_str_eq(notes, "");
}
END_TEST

#define MISTRAL                                                                 \
    "{\"model_type\":\"mistral\",\"hidden_size\":64,\"intermediate_size\":160," \
    "\"num_hidden_layers\":2,\"vocab_size\":256,\"sliding_window\":64" HEADS

/* Transformers 5 makes a Ministral of a Mistral with layer_types. */
START_TEST(layer_types_decide_about_a_window)
{
    struct mq_hparams h;
    moeq_error err;
    char notes[4096];
    ck_assert_ok(parse_with(NULL,
                            MISTRAL ",\"layer_types\":[\"full_attention\",\"full_attention\"]}", &h,
                            notes, &err));
    ck_assert_uint_eq(h.sliding_window, 0);
    ck_assert_uint_eq(h.max_positions, 131072);
    ck_assert_ptr_nonnull(strstr(notes, "its layer_types say full attention"));
    ck_assert_ok(
        parse_with(NULL, MISTRAL ",\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]}",
                   &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 64);
    ck_assert_str_eq(notes, "");
    ck_assert_ok(parse_with(NULL, MISTRAL ",\"use_sliding_window\":false}", &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 64);
    ck_assert_ptr_nonnull(strstr(notes, "though config.json says use_sliding_window false"));
    ck_assert_ok(parse_with(NULL, MISTRAL ",\"use_sliding_window\":true}", &h, notes, &err));
    ck_assert_str_eq(notes, "");
    /* Mixtral's code does not look at layer_types */
    ck_assert_ok(parse_with(NULL,
                            "{" BASE HEADS ",\"sliding_window\":64,\"layer_types\":"
                            "[\"full_attention\",\"full_attention\"]}",
                            &h, notes, &err));
    ck_assert_uint_eq(h.sliding_window, 64);
}
END_TEST

START_TEST(two_values_of_rope_theta_are_noted)
{
    struct mq_hparams h;
    moeq_error err;
    char notes[4096];
    ck_assert_ok(parse_with(NULL,
                            LLAMA ",\"rope_theta\":1e4,\"rope_parameters\":{\"rope_theta\":5e5,"
                                  "\"rope_type\":\"default\",\"beta_fast\":32}}",
                            &h, notes, &err));
    ck_assert(h.rope.theta == 5e5);
    ck_assert_ptr_nonnull(strstr(notes, "two values of rope_theta"));
    ck_assert_ok(parse_with(NULL,
                            LLAMA ",\"rope_theta\":5e5,\"rope_parameters\":{\"rope_theta\":5e5,"
                                  "\"rope_type\":\"default\"}}",
                            &h, notes, &err));
    ck_assert_str_eq(notes, "");
}
END_TEST

START_TEST(dynamic_rope_is_exact_up_to_max_positions)
{
    struct mq_hparams h;
    moeq_error err;
    char notes[4096];
    static const char json[] =
        LLAMA ",\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}";
    ck_assert_ok(parse_with(NULL, json, &h, notes, &err));
    ck_assert_int_eq(h.rope.type, MQ_ROPE_DEFAULT);
    ck_assert_uint_eq(h.rope.exact_positions, 4096);
    ck_assert(h.rope.theta == 5e5);
    ck_assert_ptr_nonnull(strstr(notes, "RoPE type dynamic"));
    /* both forms: rope_scaling is taken, theta from where it stands beside */
    ck_assert_ok(parse_with(NULL,
                            LLAMA ",\"rope_parameters\":{\"rope_theta\":7.0},\"rope_scaling\":"
                                  "{\"type\":\"linear\",\"factor\":2.0}}",
                            &h, notes, &err));
    ck_assert_int_eq(h.rope.type, MQ_ROPE_LINEAR);
    ck_assert(h.rope.theta == 1e4);
    ck_assert_ptr_nonnull(strstr(notes, "rope_scaling is taken"));
}
END_TEST

START_TEST(knows_the_family_defaults)
{
    struct mq_hparams h;
    moeq_error err;
    ck_assert_ok(parse("{" BASE HEADS ",\"some_switch\":false,\"other\":null}", &h, &err));
    ck_assert_uint_eq(h.experts, 8);
    ck_assert_uint_eq(h.top_k, 2);
    ck_assert_uint_eq(h.kv_heads, 8); /* MixtralConfig's own default, not the number of heads */
    ck_assert_uint_eq(h.head_dim, 8);
    ck_assert_uint_eq(h.sliding_window, 0);
    ck_assert_int_eq(h.rope.type, MQ_ROPE_DEFAULT);
    ck_assert(h.rope.theta == 1e6);
    ck_assert(h.rms_eps == 1e-5f);
    ck_assert(!h.tied_head);
    ck_assert_int_eq(h.bos, -1);
    /* MistralConfig assumes a window of 4096 where the key is absent; null switches it off. */
    static const char mistral[] = "{\"model_type\":\"mistral\",\"hidden_size\":64,"
                                  "\"intermediate_size\":160,\"num_hidden_layers\":2,"
                                  "\"vocab_size\":256,\"num_attention_heads\":8%s}";
    char json[300];
    snprintf(json, sizeof json, mistral, "");
    ck_assert_ok(parse(json, &h, &err));
    ck_assert_uint_eq(h.sliding_window, 4096);
    ck_assert_uint_eq(h.experts, 0);
    snprintf(json, sizeof json, mistral, ",\"sliding_window\":null,\"eos_token_id\":[5,6]");
    ck_assert_ok(parse(json, &h, &err));
    ck_assert_uint_eq(h.sliding_window, 0);
    ck_assert_int_eq(h.eos, 5);
}
END_TEST

static void parse_fixture(const char *model, const char *file, struct mq_hparams *h)
{
    struct mq_buffer text;
    moeq_error err = {0};
    char path[300];
    snprintf(path, sizeof path, "tests/fixtures/oracles/%s/%s", model, file);
    ck_assert_ok(mq_file_read_all(mq_test_source(path), 1 << 20, &text, &err));
    ck_assert_msg(parse(text.data, h, &err) == MOEQ_OK, "%s", err.message);
    mq_buffer_free(&text);
}

/* The published form and the one that Transformers 5 writes say the same. */
START_TEST(both_forms_are_equal)
{
    static const char *const models[] = {"mixtral",     "llama2",  "llama3",
                                         "llama3_tied", "mistral", "mistral_swa"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct mq_hparams a;
        parse_fixture(models[i], "config.json", &a);
        struct mq_hparams b;
        parse_fixture(models[i], "config_tf5.json", &b);
        /* Both were zeroed before they were filled, so padding is equal too. */
        ck_assert_msg(memcmp(&a, &b, sizeof a) == 0, "%s differs", models[i]);
    }
    struct mq_hparams llama3;
    parse_fixture("llama3", "config.json", &llama3);
    ck_assert_int_eq(llama3.rope.type, MQ_ROPE_LLAMA3);
    ck_assert(llama3.rope.factor > 1 && llama3.rope.original_max_positions > 0);
    struct mq_hparams other;
    parse_fixture("llama3_tied", "config.json", &other);
    ck_assert(other.tied_head);
    parse_fixture("mistral_swa", "config.json", &other);
    ck_assert_uint_gt(other.sliding_window, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, refuses_what_it_does_not_implement);
    tcase_add_test(tests, names_the_families_that_it_knows);
    tcase_add_test(tests, knows_every_key_of_transformers);
    tcase_add_test(tests, a_model_may_be_without_some_kinds_of_layers);
    tcase_add_test(tests, says_what_is_not_used);
    tcase_add_test(tests, accepts_what_is_harmless);
    tcase_add_test(tests, names_all_unknown_keys_and_ignores_them_if_told);
    tcase_add_test(tests, a_window_that_transformers_does_not_use_is_noted);
    tcase_add_test(tests, layer_types_decide_about_a_window);
    tcase_add_test(tests, two_values_of_rope_theta_are_noted);
    tcase_add_test(tests, dynamic_rope_is_exact_up_to_max_positions);
    tcase_add_test(tests, knows_the_family_defaults);
    tcase_add_test(tests, the_model_may_stand_in_a_text_config);
    tcase_add_test(tests, a_family_is_known_by_its_architecture);
    tcase_add_test(tests, both_forms_are_equal);
}

int main(void)
{
    return mq_test_main("test_config", add_tests);
}
