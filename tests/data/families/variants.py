"""Checkpoints whose config has one switch otherwise than the published ones of their family.

A row: what the config has in place, names of tensors that go, and names that come (with '{}' in a
layer's place: on all layers that have the tensor named second).
"""

VARIANTS = {
    "deepseek_v3-no_q_lora": {
        "config": {"q_lora_rank": None},
        "without": r"self_attn\.q_[ab]_",
        "with": [("self_attn.q_proj.weight", "self_attn.o_proj.weight", "BF16")],
    },
    "deepseek_v3-one_group": {"config": {"n_group": 1, "topk_group": 1}},
    "deepseek_v3-two_groups": {"config": {"n_group": 2, "topk_group": 1}},
    "deepseek_v3-weights_as_scored": {"config": {"norm_topk_prob": False}},
    "deepseek_v3-tied": {"config": {"tie_word_embeddings": True}, "without": r"^lm_head"},
    "deepseek_v2-greedy": {"config": {"topk_method": "greedy", "n_group": 1, "topk_group": 1}},
    "deepseek_v2-q_lora": {
        "config": {"q_lora_rank": 20},
        "without": r"self_attn\.q_proj",
        "with": [
            ("self_attn.q_a_proj.weight", "self_attn.o_proj.weight", "BF16"),
            ("self_attn.q_a_layernorm.weight", "self_attn.o_proj.weight", "BF16"),
            ("self_attn.q_b_proj.weight", "self_attn.o_proj.weight", "BF16"),
        ],
    },
    "dbrx-no_clip": {"config": {"clip_qkv": None}},
    "dots1-weights_as_scored": {"config": {"norm_topk_prob": False}},
    "ernie4_5_moe-biases": {
        "config": {"use_bias": True},
        "with": [
            (f"{module}.bias", f"{module}.weight", "BF16")
            for module in [f"self_attn.{x}_proj" for x in "qkvo"]
            + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
            + [f"mlp.shared_experts.{x}_proj" for x in ("gate", "up", "down")]
        ]
        + [("lm_head.bias", None, "BF16")],
    },
    "ernie4_5_moe-untied": {
        "config": {"tie_word_embeddings": False},
        "with": [("lm_head.weight", None, "BF16")],
    },
    "ernie4_5_moe-every_second_layer": {
        "config": {
            "moe_layer_interval": 2,
            "moe_layer_start_index": 0,
            "moe_layer_end_index": -1,
        },
    },
    "gemma4_text-biases": {
        "config": {"attention_bias": True},
        "with": [
            (f"self_attn.{x}_proj.bias", f"self_attn.{x}_proj.weight", "BF16") for x in "qkvo"
        ],
    },
    "gemma4_text-dense": {
        "config": {"enable_moe_block": False},
        "without": r"(\.experts\.|\.router\.|feedforward_layernorm_[12])",
    },
    "glm4_moe-no_qk_norm": {"config": {"use_qk_norm": False}, "without": r"self_attn\.[qk]_norm"},
    "glm4_moe-no_biases": {
        "config": {"attention_bias": False},
        "without": r"self_attn\.[qkv]_proj\.bias",
    },
    "granitemoe-biases": {
        "config": {"attention_bias": True},
        "with": [
            (f"self_attn.{x}_proj.bias", f"self_attn.{x}_proj.weight", "BF16") for x in "qkvo"
        ],
    },
    "granitemoe-untied": {
        "config": {"tie_word_embeddings": False},
        "with": [("lm_head.weight", None, "BF16")],
    },
    "granitemoehybrid-dense": {
        "config": {"num_local_experts": 0, "num_experts_per_tok": 0},
        "without": r"block_sparse_moe",
    },
    "granitemoehybrid-rope": {"config": {"position_embedding_type": "rope"}},
    "granitemoehybrid-no_conv_bias": {
        "config": {"mamba_conv_bias": False},
        "without": r"conv1d\.bias",
    },
    "granitemoehybrid-proj_biases": {
        "config": {"mamba_proj_bias": True},
        "with": [
            ("mamba.in_proj.bias", "mamba.in_proj.weight", "BF16"),
            ("mamba.out_proj.bias", "mamba.in_proj.weight", "BF16"),
        ],
    },
    "hunyuan_v1_moe-counts_by_layer": {"config": {"moe_topk": [2, 3]}},
    "hunyuan_v1_moe-untied": {
        "config": {"tie_word_embeddings": False},
        "with": [("lm_head.weight", None, "BF16")],
    },
    "lfm2_moe-no_choice_bias": {"config": {"use_expert_bias": False}, "without": r"expert_bias"},
    "lfm2_moe-conv_bias": {
        "config": {"conv_bias": True},
        "with": [
            (f"conv.{module}.bias", f"conv.{module}.weight", "BF16")
            for module in ("in_proj", "conv", "out_proj")
        ],
    },
    "lfm2_moe-weights_as_scored": {"config": {"norm_topk_prob": False}},
    "llama4-no_qk_norm": {"config": {"use_qk_norm": False}},
    "mimo_v2_flash-biases": {
        "config": {"attention_bias": True},
        "with": [
            (f"self_attn.{x}_proj.bias", f"self_attn.{x}_proj.weight", "BF16") for x in "qkv"
        ],
    },
    "nemotron_h-no_conv_bias": {"config": {"use_conv_bias": False}, "without": r"conv1d\.bias"},
    "nemotron_h-mlp_layer": {
        "config": {
            "hybrid_override_pattern": "-E*",
            "layers_block_type": ["mlp", "moe", "full_attention"],
        },
        "without": r"layers\.0\.mixer\.",
        "with": [
            (f"backbone.layers.0.mixer.{x}_proj.weight", None, "BF16") for x in ("up", "down")
        ],
    },
    "olmoe-clip_qkv": {"config": {"clip_qkv": 1.2}},
    "olmoe-weights_sum_to_1": {"config": {"norm_topk_prob": True}},
    "phimoe-no_biases": {
        "config": {"attention_bias": False, "lm_head_bias": False},
        "without": r"(self_attn\..*|lm_head)\.bias",
    },
    "qwen2_moe-every_second_layer": {
        "config": {"decoder_sparse_step": 2},
        "without": r"layers\.0\.mlp\.",
        "with": [
            (f"model.layers.0.mlp.{x}_proj.weight", None, "BF16") for x in ("gate", "up", "down")
        ],
    },
    "qwen2_moe-no_biases": {"config": {"qkv_bias": False}, "without": r"self_attn\..*\.bias"},
    "qwen2_moe-weights_sum_to_1": {"config": {"norm_topk_prob": True}},
    "qwen3_next-biases": {
        "config": {"attention_bias": True},
        "with": [
            (f"self_attn.{x}_proj.bias", f"self_attn.{x}_proj.weight", "BF16") for x in "qkvo"
        ],
    },
    "qwen3_next-weights_as_scored": {"config": {"norm_topk_prob": False}},
    "qwen3_moe-weights_as_scored": {"config": {"norm_topk_prob": False}},
}
