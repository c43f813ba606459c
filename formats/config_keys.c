/*
 * config_keys.c: the table of config.json's keys that all families share.
 *
 * Sources: the classes PretrainedConfig (PreTrainedConfig in 5.x) and GenerationConfig of
 * Transformers 4.0 to 5.24, whose every argument and attribute is here
 * (tests/data/make_config_keys.py lists them), and what tools are seen to write into published
 * config.json files. Keys of a family's own maths stand in its descriptor.
 */
#include "config_keys.h"

#include "hparams.h"
#include "text_match.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define HARMLESS(name)                       \
    {                                        \
        .key = name, .rule = MQ_KEY_HARMLESS \
    }
#define SPECIAL(name)                       \
    {                                       \
        .key = name, .rule = MQ_KEY_SPECIAL \
    }
#define SPECIAL_INTO(name, member)                                                        \
    {                                                                                     \
        .key = name, .rule = MQ_KEY_SPECIAL, .field = offsetof(struct mq_hparams, member) \
    }
#define ONLY(name, values)                               \
    {                                                    \
        .key = name, .rule = MQ_KEY_ONLY, .only = values \
    }
#define SIZE(name, member, otherwise)                                                  \
    {                                                                                  \
        .key = name, .rule = MQ_KEY_U32, .field = offsetof(struct mq_hparams, member), \
        .when_absent = otherwise                                                       \
    }

const struct mq_config_key mq_config_keys[] = {
    /* ---- the maths ---- */
    SIZE("hidden_size", hidden, -1),
    SIZE("intermediate_size", ffn, -1),
    SIZE("num_hidden_layers", layers, -1),
    SIZE("num_attention_heads", heads, -1),
    SIZE("vocab_size", vocab, -1),
    SPECIAL_INTO("max_position_embeddings", max_positions),
    SPECIAL_INTO("num_key_value_heads", kv_heads),
    SPECIAL_INTO("head_dim", head_dim),
    SPECIAL_INTO("sliding_window", sliding_window),
    SPECIAL_INTO("rms_norm_eps", rms_eps),
    SPECIAL("rope_theta"),
    SPECIAL("rope_scaling"),
    SPECIAL("rope_parameters"),
    SPECIAL_INTO("tie_word_embeddings", tied_head),
    SPECIAL_INTO("bos_token_id", bos),
    SPECIAL_INTO("eos_token_id", eos),
    SPECIAL("model_type"),
    SPECIAL("quantization_config"),
    SPECIAL("quantization"), /* MLX */
    {.key = "hidden_act",
     .rule = MQ_KEY_NAME,
     .only = "\"silu\" \"swish\"",
     .field = offsetof(struct mq_hparams, activation),
     .when_absent = MQ_ACTIVATION_SILU},
    ONLY("hidden_activation", "\"silu\" \"swish\""),
    ONLY("attention_bias", "false"),
    ONLY("qkv_bias", "false"),
    ONLY("mlp_bias", "false"),
    ONLY("use_bias", "false"),
    ONLY("bias", "false"),
    ONLY("partial_rotary_factor", "1"),
    ONLY("rope_interleaved", "false"), /* true: another order of the rows of q and k (nanotron) */
    ONLY("rope_interleave", "false"),
    ONLY("use_qk_norm", "false"),
    ONLY("qk_layernorm", "false"),
    ONLY("use_rmsnorm", "true"),
    HARMLESS("use_sliding_window"), /* see config.c: nobody reads it in families without it */
    HARMLESS("max_window_layers"),  /* where windows begin, with use_sliding_window */
    ONLY("use_swa", "false"),
    /* Off by default is what false of a key that nobody knows says. Of these it is not: */
    ONLY("is_causal", "true"), /* false: later tokens are seen too (Transformers 5, masking_utils.py) */
    ONLY("causal", "true"),
    ONLY("use_causal_mask", "true"),
    ONLY("use_rope", "true"),
    ONLY("use_rotary_pos_emb", "true"),
    ONLY("norm_topk_prob", ""), /* of families that do not read it, and do one or the other */
    ONLY("sliding_window_pattern", "1"),
    SPECIAL("layer_types"),
    {.key = "mlp_layer_types", .rule = MQ_KEY_ALL, .only = "\"dense\" \"sparse\""},
    {.key = "no_rope_layers", .rule = MQ_KEY_ALL, .only = "1"}, /* 1: the layer has RoPE */
    ONLY("logit_scale", "1"),
    ONLY("logits_scaling", "1"),
    ONLY("embedding_multiplier", "1"),
    ONLY("residual_multiplier", "1"),
    ONLY("attention_multiplier", ""), /* granite: absent, or it replaces 1 / sqrt(head_dim) */
    ONLY("final_logit_softcapping", ""),
    ONLY("attn_logit_softcapping", ""),
    ONLY("is_encoder_decoder", "false"),
    ONLY("add_cross_attention", "false"),
    ONLY("cross_attention_hidden_size", ""),
    ONLY("tie_encoder_decoder", "false"),
    ONLY("pruned_heads", "{}"),
    ONLY("per_layer_config", "{}"),

    /* ---- PretrainedConfig: how a model is called, named and stored ---- */
    HARMLESS("architectures"),
    HARMLESS("torch_dtype"),
    HARMLESS("dtype"),
    HARMLESS("transformers_version"),
    HARMLESS("adapters"),
    HARMLESS("name_or_path"),
    HARMLESS("_name_or_path"),
    HARMLESS("_commit_hash"),
    HARMLESS("_auto_class"),
    HARMLESS("_attn_implementation"),
    HARMLESS("_attn_implementation_autoset"),
    HARMLESS("_attn_implementation_internal"),
    HARMLESS("attn_implementation"),
    HARMLESS("_experts_implementation"),
    HARMLESS("_experts_implementation_internal"),
    HARMLESS("experts_implementation"),
    HARMLESS("_output_attentions"),
    HARMLESS("attribute_map"),
    HARMLESS("base_config_key"),
    HARMLESS("base_model_tp_plan"),
    HARMLESS("base_model_pp_plan"),
    HARMLESS("base_model_ep_plan"),
    HARMLESS("base_model_sp_plan"),
    HARMLESS("base_model_fsdp_plan"),
    HARMLESS("distributed_config"),
    HARMLESS("extra_config_files"),
    HARMLESS("extra_files"),
    HARMLESS("sub_configs"),
    HARMLESS("sub_configs_defaults"),
    HARMLESS("is_composition"),
    HARMLESS("has_no_defaults_at_init"),
    HARMLESS("keys_to_ignore_at_inference"),
    HARMLESS("ignore_keys_at_rope_validation"),
    HARMLESS("use_cache"),
    HARMLESS("is_decoder"),
    HARMLESS("pad_token_id"),
    HARMLESS("unk_token_id"),
    HARMLESS("sep_token_id"),
    HARMLESS("cls_token_id"),
    HARMLESS("mask_token_id"),
    HARMLESS("decoder_start_token_id"),
    HARMLESS("id2label"),
    HARMLESS("label2id"),
    HARMLESS("num_labels"),
    HARMLESS("problem_type"),
    HARMLESS("finetuning_task"),
    HARMLESS("task_specific_params"),
    HARMLESS("prefix"),
    HARMLESS("return_dict"),
    HARMLESS("use_return_dict"),
    HARMLESS("output_attentions"),
    HARMLESS("output_hidden_states"),
    HARMLESS("torchscript"),
    HARMLESS("use_bfloat16"),
    HARMLESS("tf_legacy_loss"),
    HARMLESS("xla_device"),
    HARMLESS("chunk_size_feed_forward"), /* cuts the same products */
    HARMLESS("gradient_checkpointing"),
    HARMLESS("tokenizer_class"),
    HARMLESS("loss_type"),

    /* ---- GenerationConfig: what is done with logits ---- */
    HARMLESS("_bos_token_tensor"),
    HARMLESS("_decoder_start_token_tensor"),
    HARMLESS("_eos_token_tensor"),
    HARMLESS("_from_model_config"),
    HARMLESS("_mask_length"),
    HARMLESS("_original_object_hash"),
    HARMLESS("_pad_token_tensor"),
    HARMLESS("assistant_confidence_threshold"),
    HARMLESS("assistant_early_exit"),
    HARMLESS("assistant_ensemble_weight"),
    HARMLESS("assistant_lookbehind"),
    HARMLESS("bad_words_ids"),
    HARMLESS("begin_suppress_tokens"),
    HARMLESS("cache_config"),
    HARMLESS("cache_implementation"),
    HARMLESS("compile_config"),
    HARMLESS("constraints"),
    HARMLESS("continuous_batching_config"),
    HARMLESS("disable_compile"),
    HARMLESS("diversity_penalty"),
    HARMLESS("do_sample"),
    HARMLESS("dola_layers"),
    HARMLESS("early_stopping"),
    HARMLESS("encoder_no_repeat_ngram_size"),
    HARMLESS("encoder_repetition_penalty"),
    HARMLESS("epsilon_cutoff"),
    HARMLESS("eta_cutoff"),
    HARMLESS("exponential_decay_length_penalty"),
    HARMLESS("force_bos_token_to_be_generated"),
    HARMLESS("force_words_ids"),
    HARMLESS("forced_bos_token_id"),
    HARMLESS("forced_decoder_ids"),
    HARMLESS("forced_eos_token_id"),
    HARMLESS("generation_kwargs"),
    HARMLESS("guidance_scale"),
    HARMLESS("is_assistant"),
    HARMLESS("length_penalty"),
    HARMLESS("low_memory"),
    HARMLESS("max_cache_len"),
    HARMLESS("max_length"),
    HARMLESS("max_matching_ngram_size"),
    HARMLESS("max_new_tokens"),
    HARMLESS("max_time"),
    HARMLESS("min_length"),
    HARMLESS("min_new_tokens"),
    HARMLESS("min_p"),
    HARMLESS("no_repeat_ngram_size"),
    HARMLESS("num_assistant_tokens"),
    HARMLESS("num_assistant_tokens_schedule"),
    HARMLESS("num_beam_groups"),
    HARMLESS("num_beams"),
    HARMLESS("num_return_sequences"),
    HARMLESS("output_logits"),
    HARMLESS("output_scores"),
    HARMLESS("penalty_alpha"),
    HARMLESS("prefill_chunk_size"),
    HARMLESS("prompt_lookup_num_tokens"),
    HARMLESS("remove_invalid_values"),
    HARMLESS("renormalize_logits"),
    HARMLESS("repetition_penalty"),
    HARMLESS("return_dict_in_generate"),
    HARMLESS("return_legacy_cache"),
    HARMLESS("sequence_bias"),
    HARMLESS("speculation_type"),
    HARMLESS("stop_strings"),
    HARMLESS("suppress_tokens"),
    HARMLESS("target_lookbehind"),
    HARMLESS("temperature"),
    HARMLESS("token_healing"),
    HARMLESS("top_h"),
    HARMLESS("top_k"),
    HARMLESS("top_p"),
    HARMLESS("typical_p"),
    HARMLESS("watermarking_config"),
    HARMLESS("generation_config"),

    /* ---- heads that guess further tokens: extra_tensors.c leaves theirs out ---- */
    HARMLESS("num_nextn_predict_layers"),
    HARMLESS("num_mtp_layers"),
    HARMLESS("num_mtp_modules"),
    HARMLESS("mtp_*"),
    HARMLESS("use_mtp"),

    /* ---- training: what acts there only, or how weights began ---- */
    HARMLESS("initializer_range"),
    HARMLESS("initializer_factor"),
    HARMLESS("init_std"),
    HARMLESS("init_method"),
    HARMLESS("init_device"),
    HARMLESS("attention_dropout"),
    HARMLESS("attention_probs_dropout_prob"),
    HARMLESS("attn_dropout"),
    HARMLESS("attn_pdrop"),
    HARMLESS("classifier_dropout"),
    HARMLESS("dropout"),
    HARMLESS("embd_pdrop"),
    HARMLESS("embedding_dropout"),
    HARMLESS("hidden_dropout"),
    HARMLESS("hidden_dropout_prob"),
    HARMLESS("mlp_dropout"),
    HARMLESS("resid_pdrop"),
    HARMLESS("residual_dropout"),
    HARMLESS("output_router_logits"),
    HARMLESS("router_aux_loss_coef"),
    HARMLESS("router_jitter_noise"),
    HARMLESS("router_z_loss_coef"),
    HARMLESS("pretraining_tp"), /* splits the same products */
    HARMLESS("tensor_parallel_degree"),
    HARMLESS("sequence_parallel"),
    HARMLESS("use_gradient_checkpointing"),
    HARMLESS("gradient_checkpointing_use_reentrant"),
    HARMLESS("neftune_noise_alpha"),
    HARMLESS("keys_to_ignore"),
    HARMLESS("fp32_residual_connection"),
    HARMLESS("z_loss"),
    HARMLESS("use_fused_rms_norm"), /* how, not what */
    HARMLESS("use_fused_rope"),
    HARMLESS("fuse_attention_qkv"),
    HARMLESS("fuse_attention_ffn"),

    /* ---- tools: where files came from, which kernel is to run, limits of tokenizers ---- */
    HARMLESS("auto_map"),
    HARMLESS("transformers.js_config"),
    HARMLESS("is_llama_config"),
    HARMLESS("trust_remote_code"),
    HARMLESS("merge_method"),
    HARMLESS("n_ctx"),
    HARMLESS("ctx_length"),
    HARMLESS("max_sequence_length"),
    HARMLESS("max_seq_len"),
    HARMLESS("max_seq_length"),
    HARMLESS("model_max_length"),
    HARMLESS("seq_length"),
    HARMLESS("seq_len"),
    HARMLESS("tokenizer_model_max_length"),
    HARMLESS("tokenizer_padding_side"),
    HARMLESS("tokenizer_name"),
    HARMLESS("bos_token"),
    HARMLESS("eos_token"),
    HARMLESS("pad_token"),
    HARMLESS("unk_token"),
    HARMLESS("padding_side"),
    HARMLESS("use_sdpa"),
    HARMLESS("use_flash_attn"),
    HARMLESS("use_flash_attention"),
    HARMLESS("use_flash_attention_2"),
    HARMLESS("_flash_attn_2_enabled"),
    HARMLESS("flash_attn"),
    HARMLESS("flash_attention"),
    HARMLESS("use_memory_efficient_attention"),
    HARMLESS("use_xformers"),
    HARMLESS("attn_impl"),
    HARMLESS("num_logits_to_keep"),
    HARMLESS("logits_to_keep"),
    HARMLESS("unsloth_*"),
    HARMLESS("_unsloth_*"),
    HARMLESS("mergekit_*"),
    HARMLESS("axolotl_*"),
    HARMLESS("_pre_quantization_dtype"),
    HARMLESS("_quantization_config"),
    HARMLESS("base_model"),
    HARMLESS("base_model_name"),
    HARMLESS("base_model_name_or_path"),
    HARMLESS("model_name"),
    HARMLESS("model_id"),
    HARMLESS("author"),
    HARMLESS("license"),
    HARMLESS("language"),
    HARMLESS("tags"),
    HARMLESS("description"),
    HARMLESS("revision"),
    HARMLESS("framework"), /* ModelScope */
    HARMLESS("task"),
    HARMLESS("pipeline"),
    HARMLESS("custom_pipelines"),
    HARMLESS("chat_template"),
    {0},
};

/* ---- looking up ---- */

bool mq_config_key_is(const struct mq_config_key *key, const char *name)
{
    return mq_text_matches(key->key, name) || mq_text_has_word(key->alias, name);
}

const struct mq_config_key *mq_config_key_find(const struct mq_config_key *keys, const char *name)
{
    for (; keys->key; keys++)
        if (mq_config_key_is(keys, name))
            return keys;
    return NULL;
}

bool mq_config_value_is_off(const cJSON *value)
{
    return !value || cJSON_IsNull(value) || cJSON_IsFalse(value) ||
           ((cJSON_IsObject(value) || cJSON_IsArray(value)) && !value->child) ||
           (cJSON_IsString(value) && !value->valuestring[0]);
}

/* Whether a value is the one that the n characters of `word` say. */
static bool value_is(const cJSON *value, const char *word, size_t n)
{
    if (cJSON_IsString(value))
        return word[0] == '"' && n == strlen(value->valuestring) + 2 &&
               memcmp(word + 1, value->valuestring, n - 2) == 0;
    if (cJSON_IsNumber(value))
        return (word[0] == '-' || (word[0] >= '0' && word[0] <= '9')) &&
               strtod(word, NULL) == value->valuedouble;
    if (cJSON_IsBool(value))
        return word[0] == (cJSON_IsTrue(value) ? 't' : 'f');
    char said[128]; /* no word is that long, and printing there needs no memory */
    return cJSON_PrintPreallocated((cJSON *)value, said, sizeof said, false) && strlen(said) == n &&
           memcmp(said, word, n) == 0;
}

/* The place of a value among words, -1 if it is none of them; and how many places there are. */
static int place_of(const cJSON *value, const char *words, uint32_t *places)
{
    int found = -1;
    *places = *words != '\0';
    while (*words) {
        const size_t n = strcspn(words, " |");
        if (found < 0 && value && value_is(value, words, n))
            found = (int)*places - 1;
        words += n;
        *places += *words == ' ';
        words += *words != '\0';
    }
    return found;
}

static bool is_among(const cJSON *value, const char *words)
{
    uint32_t places;
    return cJSON_IsNull(value) || place_of(value, words, &places) >= 0;
}

int mq_config_key_place(const struct mq_config_key *key, const cJSON *value)
{
    uint32_t places;
    return place_of(value, key->only, &places);
}

uint32_t mq_config_key_places(const struct mq_config_key *key)
{
    uint32_t places;
    place_of(NULL, key->only, &places);
    return places;
}

bool mq_config_key_is_read(const struct mq_config_key *key)
{
    return key->rule != MQ_KEY_HARMLESS && key->rule != MQ_KEY_ONLY && key->rule != MQ_KEY_ALL;
}

bool mq_config_key_allows(const struct mq_config_key *key, const cJSON *value)
{
    const bool number = key->rule == MQ_KEY_U32 || key->rule == MQ_KEY_COUNT;
    if (key->rule == MQ_KEY_ONLY || key->rule == MQ_KEY_NAME || key->rule == MQ_KEY_CHOICE ||
        (number && key->only))
        return is_among(value, key->only);
    if (key->rule != MQ_KEY_ALL || cJSON_IsNull(value))
        return true;
    if (!cJSON_IsArray(value))
        return false;
    for (const cJSON *item = value->child; item; item = item->next)
        if (!is_among(item, key->only))
            return false;
    return true;
}
