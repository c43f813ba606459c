"""How small each family's checkpoint is: what its config.json has in place of a published one's.

A key of SMALL or of a family's own row takes the place of the same key wherever it stands in a
config (not in its parts for images and quantization), if it has a number there; a list or a mapping
takes the place of what is there. Keys that have null stay so.
"""

# A quarter of the rotary dimensions must be even, groups of experts must come out even, and no two
# sizes of one family are alike where one could be mistaken for the other.
SMALL = {
    "vocab_size": 128,
    "vocab_size_per_layer_input": 128,
    "hidden_size": 32,
    "d_model": 32,
    "dim": 32,
    "intermediate_size": 40,
    "hidden_dim": 40,
    "moe_intermediate_size": 12,
    "expert_hidden_dim": 12,
    "shared_expert_intermediate_size": 20,
    "moe_shared_expert_intermediate_size": 20,
    "shared_intermediate_size": 20,
    "head_dim": 8,
    "attention_head_dim": 8,
    "num_experts": 6,
    "n_routed_experts": 6,
    "num_local_experts": 6,
    "moe_num_experts": 6,
    "q_lora_rank": 20,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 10,
    "sliding_window": 12,
    "index_n_heads": 8,
    "index_head_dim": 12,
}

DENSE_THEN_EXPERTS = {"num_hidden_layers": 2, "keep": [0, 1]}
WITH_FULL_LAST = {
    "num_hidden_layers": 2,
    "keep": [0, 3],
    "layer_types": ["linear_attention", "full_attention"],
    "full_attention_interval": 2,
    "head_dim": 24,
    "mrope_section": [1, 1, 1],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 10,
    "intermediate_size": 28,
}
GROUPS = {**DENSE_THEN_EXPERTS, "n_routed_experts": 8}
MISTRAL = {**DENSE_THEN_EXPERTS, "n_layers": 2, "v_head_dim": 14}
# More than one block of 128 x 128 in rows, in columns and in both.
FP8 = {
    "hidden_size": 40,
    "dim": 40,
    "intermediate_size": 136,
    "hidden_dim": 136,
    "moe_intermediate_size": 24,
    "expert_hidden_dim": 24,
    "n_routed_experts": 4,
    "num_experts": 4,
    "q_lora_rank": 132,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 16,
    "v_head_dim": 20,
}

# By folder; "keep" are the layers of the published order that are left, "tf5" what the config that
# Transformers 5 writes has otherwise.
FAMILIES = {
    "afmoe": {
        "num_hidden_layers": 3,
        "keep": [0, 1, 3],
        "global_attn_every_n_layers": 3,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
    "dbrx": {"ffn_hidden_size": 12},
    "deepseek_v2": GROUPS,
    "deepseek_v3": GROUPS,
    "deepseek_v32": {
        **FP8,
        "moe_intermediate_size": 20,
        "n_routed_experts": 6,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "index_n_heads": 7,
        "index_head_dim": 20,
    },
    "deepseek_v3_fp8": FP8,
    "dots1": {**DENSE_THEN_EXPERTS, "sliding_window": 4096},
    "ernie4_5_moe": {**DENSE_THEN_EXPERTS, "moe_layer_end_index": 1, "moe_capacity": [6, 6, 6]},
    "exaone_moe": {
        "num_hidden_layers": 3,
        "keep": [0, 1, 3],
        "is_moe_layer": [False, True, True],
        "mlp_layer_types": ["dense", "sparse", "sparse"],
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window_pattern": "LLG",
    },
    "gemma4_moe": {
        "num_hidden_layers": 2,
        "keep": [1, 2],
        "layer_types": ["sliding_attention", "full_attention"],
        "global_head_dim": 16,
        "per_layer_config": {"1": {"head_dim": 16, "num_key_value_heads": 1}},
    },
    "glm4_moe": DENSE_THEN_EXPERTS,
    "glm4_moe_lite": {**DENSE_THEN_EXPERTS, "v_head_dim": 14},
    "glm_moe_dsa": {"v_head_dim": 14, "moe_intermediate_size": 8},
    "gpt_oss": {
        "num_hidden_layers": 2,
        "keep": [0, 1],
        "layer_types": ["sliding_attention", "full_attention"],
        "head_dim": 16,
        "intermediate_size": 24,
        "num_local_experts": 4,
    },
    "gpt_oss_mxfp4": {
        "num_hidden_layers": 2,
        "keep": [0, 1],
        "layer_types": ["sliding_attention", "full_attention"],
        "head_dim": 16,
        "hidden_size": 64,
        "intermediate_size": 32,
        "num_local_experts": 4,
    },
    "granitemoe": {"num_hidden_layers": 2, "keep": [0, 1], "intermediate_size": 12},
    "granitemoehybrid": {
        "num_hidden_layers": 2,
        "keep": [0, 1],
        "layer_types": ["mamba", "attention"],
        "intermediate_size": 12,
        "mamba_d_head": 8,
        "tf5": {"layer_types": ["linear_attention", "full_attention"]},
    },
    "grok1": {"intermediate_size": 20},
    "hunyuan_v1_moe": {"intermediate_size": 12, "moe_intermediate_size": [12, 12]},
    "hy_v3": DENSE_THEN_EXPERTS,
    "kimi_k2_int4": {
        **DENSE_THEN_EXPERTS,
        "moe_intermediate_size": 32,
        "qk_rope_head_dim": 16,
    },
    "lfm2_moe": {
        "num_hidden_layers": 3,
        "keep": [0, 2, 3],
        "layer_types": ["conv", "full_attention", "conv"],
        "num_dense_layers": 1,
    },
    "llama4": {"intermediate_size": 12, "intermediate_size_mlp": 28, "num_local_experts": 5},
    "mimo_v2_flash": {
        "num_hidden_layers": 2,
        "keep": [0, 1],
        "hybrid_layer_pattern": [0, 1],
        "moe_layer_freq": [0, 1],
        "layer_types": ["full_attention", "sliding_attention"],
        "mlp_layer_types": ["dense", "sparse"],
        "head_dim": 12,
        "swa_head_dim": 12,
        "v_head_dim": 8,
        "swa_v_head_dim": 8,
        "sliding_window_size": 12,
        "tf5": {"sliding_window": 13},
    },
    "minimax_m2": {
        "hidden_size": 24,
        "intermediate_size": 132,
        "mlp_intermediate_size": 200,
        "shared_intermediate_size": 0,
        "head_dim": 24,
        "num_local_experts": 4,
    },
    "ministral3": {"num_hidden_layers": 2, "keep": [0, 1], "head_dim": 12},
    "mistral4": MISTRAL,
    "mistral_large3": {**MISTRAL, "head_dim": 20},
    "mistral_large3_fp8": {**FP8, "head_dim": 40},
    "nemotron_h": {
        "num_hidden_layers": 3,
        "keep": [0, 1, 3],
        "hybrid_override_pattern": "ME*",
        "layers_block_type": ["linear_attention", "moe", "full_attention"],
        "intermediate_size": 12,
        "mamba_head_dim": 6,
        "ssm_state_size": 8,
    },
    "phimoe": {
        "sliding_window": 2048,
        "intermediate_size": 20,
        "long_factor": [1.0, 1.8, 4.0, 8.0],
        "short_factor": [1.0, 1.1, 1.5, 2.2],
    },
    "qwen2_moe": {"sliding_window": 32768},
    "qwen3_5_moe": WITH_FULL_LAST,
    "qwen3_next": WITH_FULL_LAST,
    "qwen3_vl_moe": {"head_dim": 12, "mrope_section": [3, 2, 1]},
}
# Families of tests/fixtures/oracles, for variants alone.
OLDER = {"olmoe": {"intermediate_size": 12}, "qwen3_moe": {}}
FAMILIES["gemma4_text"] = FAMILIES["gemma4_moe"]

# Other configs of the same checkpoint, whose logits a golden holds besides.
READINGS = {
    "config_long.json": {"original_max_position_embeddings": 24},
    "config_topk.json": {"index_topk": 12},
    "config_chunk.json": {"attention_chunk_size": 20, "floor_scale": 8},
}
NOT_RESIZED = ("vision_config", "quantization_config", "audio_config")


def resize(config, sizes):
    """`config` with the sizes, all the way down."""
    out = {}
    for key, value in config.items():
        small = sizes.get(key)
        if key in NOT_RESIZED:
            out[key] = value
        elif small is not None and isinstance(small, (list, dict, str)):
            out[key] = small if value is not None else None
        elif small is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
            out[key] = small
        elif isinstance(value, dict):
            out[key] = resize(value, sizes)
        else:
            out[key] = value
    return out


def fewer_layers(config, keep):
    """Lists that say the kinds of layers, for those that are kept."""
    out = {}
    for key, value in config.items():
        if isinstance(value, dict):
            value = fewer_layers(value, keep)
        elif keep and key in ("layer_types", "mlp_layer_types") and len(value) > len(keep):
            value = [value[layer] for layer in keep]
        out[key] = value
    return out
