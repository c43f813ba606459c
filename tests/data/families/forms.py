"""The shape of every tensor that a checkpoint's config.json asks for, by the tensor's name."""

import re

from .checkpoint import NATIVE

# Tensors of other parts of a model, which a text evaluator leaves out.
OTHER_PARTS = re.compile(
    r"^(mtp\.|model\.mtp|model\.visual\.|model\.vision_tower\.|model\.embed_vision\.|vision_model\."
    r"|multi_modal_projector\.)"
)
LAYER = re.compile(r"\b(layers|blocks)\.(\d+)\.")
EXPERT = re.compile(r"experts\.(\d+)\.")


def layer_of(name):
    found = None if OTHER_PARTS.match(name) else LAYER.search(name)
    return int(found.group(2)) if found else None


def pick(c, *keys, default=None):
    """The first of `keys` that the config has."""
    return next((c[key] for key in keys if c.get(key) is not None), default)


def of_layer(value, layer):
    return value[layer or 0] if isinstance(value, list) else value


class Sizes:
    """What the rules below say shapes with; `c` is the text part of a config."""

    def __init__(self, c, kind, layer):
        ffn = c.get("ffn_config", {})
        self.V, self.H = c["vocab_size"], pick(c, "hidden_size", "d_model")
        self.heads = pick(c, "num_attention_heads", "n_heads")
        self.kv = pick(c, "num_key_value_heads", default=self.heads)
        self.head = pick(c, "head_dim", default=self.H // self.heads)
        self.v_head = self.head
        self.E = pick(c, "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
        self.E = pick(ffn, "moe_num_experts", default=self.E)
        self.ffn = pick(c, "intermediate_size", default=0)
        self.M = of_layer(pick(c, "moe_intermediate_size", default=self.ffn), layer)
        self.M = pick(ffn, "ffn_hidden_size", default=self.M)
        self.q_lora, self.kv_lora = c.get("q_lora_rank"), c.get("kv_lora_rank")
        self.set_shared(c, kind)
        self.set_attention(c, kind, layer)
        self.set_recurrent(c)

    def set_shared(self, c, kind):
        count = pick(
            c, "n_shared_experts", "moe_num_shared_experts", "num_shared_experts", default=1
        )
        self.shared = pick(
            c,
            "shared_expert_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "shared_intermediate_size",
            default=count * self.M,
        )
        if kind == "llama4":
            self.shared, self.M = self.ffn, self.ffn
            self.ffn = c["intermediate_size_mlp"]

    def set_attention(self, c, kind, layer):
        kinds = c.get("layer_types")
        if kind == "gemma4" and kinds and layer is not None and kinds[layer] == "full_attention":
            self.head, self.kv = c["global_head_dim"], c["num_global_key_value_heads"]
        if kind == "mimo_v2_flash":
            self.kv *= 1 + c["hybrid_layer_pattern"][layer or 0]
        self.v_head = c["v_head_dim"] if kind == "mimo_v2_flash" or self.kv_lora else self.head
        if kind == "dbrx":
            self.kv = c["attn_config"]["kv_n_heads"]
        if self.kv_lora:
            self.nope, self.rope = c["qk_nope_head_dim"], c["qk_rope_head_dim"]
            self.head = self.nope + self.rope
        self.gates = 2 if kind in ("qwen3_next", "qwen3_5_moe") else 1
        self.whole = kind in ("minimax_m2", "olmoe")  # its q and k norms are over whole projections
        self.index, self.indexes = c.get("index_head_dim"), c.get("index_n_heads")

    def set_recurrent(self, c):
        if "linear_num_key_heads" in c:
            self.k_heads, self.v_heads = c["linear_num_key_heads"], c["linear_num_value_heads"]
            self.keys = self.k_heads * c["linear_key_head_dim"]
            self.value, self.taps = c["linear_value_head_dim"], c["linear_conv_kernel_dim"]
            self.values = self.v_heads * self.value
        heads = pick(c, "mamba_num_heads", "mamba_n_heads")
        if heads:
            self.v_heads, self.taps = heads, pick(c, "conv_kernel", "mamba_d_conv")
            self.inner = heads * pick(c, "mamba_head_dim", "mamba_d_head")
            groups = pick(c, "n_groups", "mamba_n_groups")
            self.states = groups * pick(c, "ssm_state_size", "mamba_d_state")
        self.taps = pick(c, "conv_L_cache", default=getattr(self, "taps", None))


# The first rule whose pattern is found at the end of a name (after a dot) says its shape.
RULES = [
    (r"(embed_tokens|wte|backbone\.embeddings|lm_head)\.weight", lambda s: [s.V, s.H]),
    (r"lm_head\.bias", lambda s: [s.V]),
    # latent attention and its index
    (r"q_a_proj\.weight", lambda s: [s.q_lora, s.H]),
    (r"q_a_layernorm\.weight", lambda s: [s.q_lora]),
    (r"q_b_proj\.weight", lambda s: [s.heads * s.head, s.q_lora]),
    (r"kv_a_proj_with_mqa\.weight", lambda s: [s.kv_lora + s.rope, s.H]),
    (r"kv_a_layernorm\.weight", lambda s: [s.kv_lora]),
    (r"kv_b_proj\.weight", lambda s: [s.heads * (s.nope + s.v_head), s.kv_lora]),
    (r"indexer\.wq_b\.weight", lambda s: [s.indexes * s.index, s.q_lora]),
    (r"indexer\.wk\.weight", lambda s: [s.index, s.H]),
    (r"indexer\.k_norm\.(weight|bias)", lambda s: [s.index]),
    (r"indexer\.weights_proj\.weight", lambda s: [s.indexes, s.H]),
    # recurrent mixers
    (r"linear_attn\.in_proj_qkvz\.weight", lambda s: [2 * s.keys + 2 * s.values, s.H]),
    (r"linear_attn\.in_proj_ba\.weight", lambda s: [2 * s.v_heads, s.H]),
    (r"linear_attn\.in_proj_qkv\.weight", lambda s: [2 * s.keys + s.values, s.H]),
    (r"linear_attn\.in_proj_z\.weight", lambda s: [s.values, s.H]),
    (r"linear_attn\.in_proj_[ab]\.weight", lambda s: [s.v_heads, s.H]),
    (r"linear_attn\.conv1d\.weight", lambda s: [2 * s.keys + s.values, 1, s.taps]),
    (r"linear_attn\.norm\.weight", lambda s: [s.value]),
    (r"linear_attn\.out_proj\.weight", lambda s: [s.H, s.values]),
    (r"(A_log|dt_bias|mamba\.D|mixer\.D)", lambda s: [s.v_heads]),
    (r"(mamba|mixer)\.in_proj\.weight", lambda s: [2 * s.inner + 2 * s.states + s.v_heads, s.H]),
    (r"(mamba|mixer)\.in_proj\.bias", lambda s: [2 * s.inner + 2 * s.states + s.v_heads]),
    (r"conv1d\.weight", lambda s: [s.inner + 2 * s.states, 1, s.taps]),
    (r"conv1d\.bias", lambda s: [s.inner + 2 * s.states]),
    (r"(mamba|mixer)\.norm\.weight", lambda s: [s.inner]),
    (r"(mamba|mixer)\.out_proj\.weight", lambda s: [s.H, s.inner]),
    (r"(mamba|mixer)\.out_proj\.bias", lambda s: [s.H]),
    (r"conv\.in_proj\.weight", lambda s: [3 * s.H, s.H]),
    (r"conv\.in_proj\.bias", lambda s: [3 * s.H]),
    (r"conv\.conv\.weight", lambda s: [s.H, 1, s.taps]),
    (r"conv\.(conv|out_proj)\.bias", lambda s: [s.H]),
    (r"conv\.out_proj\.weight", lambda s: [s.H, s.H]),
    # attention
    (r"attn\.Wqkv\.weight", lambda s: [(s.heads + 2 * s.kv) * s.head, s.H]),
    (r"q_proj\.weight", lambda s: [s.gates * s.heads * s.head, s.H]),
    (r"q_proj\.bias", lambda s: [s.gates * s.heads * s.head]),
    (r"self_attn\.gate_proj\.weight", lambda s: [s.heads * s.head, s.H]),
    (r"k_proj\.weight", lambda s: [s.kv * s.head, s.H]),
    (r"k_proj\.bias", lambda s: [s.kv * s.head]),
    (r"v_proj\.weight", lambda s: [s.kv * s.v_head, s.H]),
    (r"v_proj\.bias", lambda s: [s.kv * s.v_head]),
    (r"(o_proj|\w*attn\.out_proj)\.weight", lambda s: [s.H, s.heads * s.v_head]),
    (r"o_proj\.bias", lambda s: [s.H]),
    (
        r"(q_norm|q_layernorm|query_layernorm)\.weight",
        lambda s: [s.head * (s.heads if s.whole else 1)],
    ),
    (r"(k_norm|k_layernorm|key_layernorm)\.weight", lambda s: [s.head * (s.kv if s.whole else 1)]),
    (r"(sinks|attention_sink_bias)", lambda s: [s.heads]),
    # routers
    (r"moe_statics\.e_score_correction_bias", lambda s: [1, s.E]),
    (r"(e_score_correction_bias|expert_bias|per_expert_scale|router\.bias)", lambda s: [s.E]),
    (r"router\.scale", lambda s: [s.H]),
    (r"(mlp|block_sparse_moe|feed_forward|moe_block|mixer)\.gate\.weight", lambda s: [s.E, s.H]),
    (r"(router|router\.gate|router\.layer|router\.proj|gate\.wg)\.weight", lambda s: [s.E, s.H]),
    (r"shared_expert_gate\.weight", lambda s: [1, s.H]),
    # experts, one by one and together
    (r"experts\.\d+\.(gate_proj|up_proj|w1|w3|linear|linear_v)\.weight", lambda s: [s.M, s.H]),
    (r"experts\.\d+\.(down_proj|w2|linear_1)\.weight", lambda s: [s.H, s.M]),
    (r"experts\.mlp\.(w1|v1|w2)", lambda s: [s.E * s.M, s.H]),
    (r"experts\.gate_up_proj", lambda s: [s.E, 2 * s.M, s.H]),
    (r"experts\.gate_up_proj_bias", lambda s: [s.E, 2 * s.M]),
    (r"experts\.down_proj", lambda s: [s.E, s.H, s.M]),
    (r"experts\.down_proj_bias", lambda s: [s.E, s.H]),
    (r"block_sparse_moe\.input_linear\.weight", lambda s: [s.E, 2 * s.M, s.H]),
    (r"block_sparse_moe\.output_linear\.weight", lambda s: [s.E, s.H, s.M]),
    # shared experts and MLPs
    (r"shared_mlp\.input_linear\.weight", lambda s: [2 * s.shared, s.H]),
    (r"shared_mlp\.output_linear\.weight", lambda s: [s.H, s.shared]),
    (r"shared\w+\.(gate|up)_proj\.bias", lambda s: [s.shared]),
    (r"shared\w+\.(gate|up)_proj\.weight", lambda s: [s.shared, s.H]),
    (r"shared\w+\.down_proj\.weight", lambda s: [s.H, s.shared]),
    (r"(gate_proj|up_proj|feed_forward\.w1|feed_forward\.w3)\.weight", lambda s: [s.ffn, s.H]),
    (r"(gate_proj|up_proj)\.bias", lambda s: [s.ffn]),
    (r"(down_proj|feed_forward\.w2)\.weight", lambda s: [s.H, s.ffn]),
    (r"down_proj\.bias", lambda s: [s.H]),
    (r"layer_scalar", lambda s: [1]),
    (r"\w*norm\w*\.(weight|bias|scale)", lambda s: [s.H]),  # every other norm
]
RULES = [(re.compile(r"(^|\.)" + pattern + "$"), shape) for pattern, shape in RULES]

# Families whose experts are stored together with inputs before outputs.
TURNED = ("llama4", "qwen3_vl_moe", "gpt_oss")


def in_words_of_transformers(name):
    """A name of Mistral's own form under the name that Transformers has for it."""
    words = [("tok_embeddings", "model.embed_tokens"), ("output", "lm_head")] + NATIVE
    for own, other in words:
        name = re.sub(rf"(^|\.){re.escape(own)}\.weight$", rf"\1{other}.weight", name)
    return re.sub(r"(layers\.\d+\.)gate\.weight$", r"\1mlp.gate.weight", name)


def shape_of(name, c, kind):
    """Of the tensor as values; how they are packed is another matter. None: not of the text model."""
    layer = layer_of(name)
    layers = pick(c, "num_hidden_layers", "n_layers")
    if OTHER_PARTS.match(name) or (layer is not None and layer >= layers):
        return None
    name = in_words_of_transformers(name)
    sizes = Sizes(c, kind, layer)
    for pattern, shape in RULES:
        if pattern.search(name):
            dims = shape(sizes)
            return (
                [dims[0], dims[2], dims[1]]
                if kind in TURNED and len(dims) == 3 and "experts" in name
                else dims
            )
    raise ValueError(f"{name}: no rule says its shape")
