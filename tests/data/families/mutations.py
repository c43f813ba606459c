"""Do the goldens notice every feature? Breaks one at a time in the evaluator and prints how far the
logits move from the golden: a wrong implementation of the feature moves them about as far.

    cd tests/data && python3 -m families.mutations [FOLDER]     (default: tests/fixtures/families)
"""

import math
import os
import pathlib
import re
import sys

import numpy as np

from . import ffn, mixers, pieces, routers
from .checkpoint import read_st
from .model import Model

FOLDERS = pathlib.Path(__file__).resolve().parents[2] / "fixtures/families"
LEAST = 0.02
MODULES = (mixers, ffn, pieces, routers)


# ---- ways to break a model; each gives a function of the model


def config(**values):
    return lambda m: m.c.update(values)


def sub_config(part, **values):
    return lambda m: m.c[part].update(values)


def attribute(name, value):
    return lambda m: setattr(m, name, value)


def tensors(pattern, change):
    """`change` of None takes the tensors away."""

    def mutate(m):
        names = [name for name in m.T if re.search(pattern, name)]
        assert names, pattern
        for name in names:
            if change is None:
                del m.T[name]
            else:
                m.T[name] = change(m.T[name])

    return mutate


def without(pattern):
    return tensors(pattern, None)


def zero(pattern):
    return tensors(pattern, lambda t: t * 0)


def one(pattern):
    return tensors(pattern, lambda t: t * 0 + 1)


def function(name, value):
    """In place of a function of the evaluator, for this model alone; undone by `run`."""

    def mutate(m):
        for module in MODULES:
            if hasattr(module, name):
                mutate.undo.append((module, name, getattr(module, name)))
                setattr(module, name, value)

    mutate.undo = []
    return mutate


def exchange(a, b):
    """Tensors whose names have `a` for those that have `b`, and the other way round."""

    def mutate(m):
        for name in [name for name in m.T if a in name]:
            other = name.replace(a, b)
            m.T[name], m.T[other] = m.T[other], m.T[name]

    return mutate


def rope(**values):
    """In what a config says of rotary positions; None takes a key away."""

    def mutate(m):
        for key in ("rope_parameters", "rope_scaling"):
            if isinstance(m.c.get(key), dict):
                m.c[key].update(values)
                for name in [name for name, value in values.items() if value is None]:
                    m.c[key].pop(name)

    return mutate


def no_scaling(m):
    kept = ("rope_theta", "llama_4_scaling_beta", "original_max_position_embeddings")
    given = m.c.get("rope_parameters") or {}
    m.c["rope_scaling"] = None
    m.c["rope_parameters"] = {k: v for k, v in given.items() if k in kept} | {
        "rope_type": "default"
    }
    if "rope_theta" in m.c:
        m.c["rope_parameters"].setdefault("rope_theta", m.c["rope_theta"])
    m.c["rope_parameters"].setdefault("rope_theta", 1e4)


def halves_moved(pattern, axis):
    return tensors(pattern, lambda t: np.roll(t, t.shape[axis] // 2, axis))


def gpt_oss_not_interleaved(m):
    tensors(r"gate_up_proj(_bias)?$", lambda t: np.concatenate([t[..., ::2], t[..., 1::2]], -1))(m)


def qkvz_plain(m):
    """in_proj_qkvz read as [q | k | v | z] of all heads."""
    kinds = ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim")
    nk, nv, dk, dv = (m.c["linear_" + kind] for kind in kinds)
    r = nv // nk
    rows = np.arange(nk * (2 * dk + 2 * r * dv)).reshape(nk, -1)
    parts = np.split(rows, [dk, 2 * dk, 2 * dk + r * dv], 1)
    plain = np.concatenate([part.ravel() for part in parts])
    tensors(r"in_proj_qkvz\.weight$", lambda t: t[np.argsort(plain)])(m)


def query_rows(change):
    """Of q_proj with gates: [heads, query or gate, head, hidden]."""

    def mutate(m):
        heads, head = m.c["num_attention_heads"], m.c["head_dim"]
        shape = (heads, 2, head, -1)
        tensors(
            r"layers\.\d+\.self_attn\.q_proj\.weight$",
            lambda t: t if len(t) != 2 * heads * head else change(t, shape).reshape(t.shape),
        )(m)

    return mutate


def gates_behind(t, shape):
    return t.reshape(2, shape[0], shape[2], -1).transpose(1, 0, 2, 3)


def gates_half(t, shape):
    rows = t.copy().reshape(shape)
    rows[:, 1] = 0
    return rows


def norm_before_rope(m):
    m.mt = "qwen3_moe"
    for name in list(m.T):
        for own, other in (("query_layernorm", "q_norm"), ("key_layernorm", "k_norm")):
            if own in name:
                m.T[name.replace(own, other)] = m.T.pop(name)


def weight_on_output(m):
    def experts(x, p, chosen, weights):
        y = np.zeros_like(x)
        for e in range(chosen.max() + 1):
            t, s = np.where(chosen == e)
            if len(t):
                y[t] += m.expert(x[t], p, e) * weights[t, s][:, None]
        return y

    m.experts = experts


def b_and_c(m):
    """Mamba's B and C exchanged."""
    c = m.c
    inner = c["mamba_num_heads"] * c["mamba_head_dim"]
    states = c["n_groups"] * c["ssm_state_size"]
    for name in m.T:
        for end, first in (
            ("in_proj.weight", 2 * inner),
            ("conv1d.weight", inner),
            ("conv1d.bias", inner),
        ):
            if name.endswith(end):
                t = m.T[name].copy()
                second, third = first + states, first + 2 * states
                t[first:second], t[second:third] = m.T[name][second:third], m.T[name][first:second]
                m.T[name] = t


def plain_scale(m):
    m.c["attention_multiplier"] = (m.c["hidden_size"] / m.c["num_attention_heads"]) ** -0.5


def one_norm_group(x, w, eps, rms=pieces.rms):
    return rms(x.reshape(len(x), -1), w, eps).reshape(x.shape) if x.ndim == 3 else rms(x, w, eps)


def silu_experts(m):
    m.relu2 = lambda x, q: m.lin(pieces.silu(m.lin(x, q + "up_proj")), q + "down_proj")


def as_scored(mt, c, *rest, route=routers.route):
    return route("qwen3_next", {**c, "norm_topk_prob": False}, *rest)


interleaved = function("rot_half", pieces.rot_pairs)
in_halves = function("rot_pairs", pieces.rot_half)
reversed_taps = lambda t: t[..., ::-1]  # noqa: E731

# ---- what is broken, by folder

NO_BIAS = ("no bias in the choice", zero(r"(e_score_correction_bias|expert_bias)$"))
NO_QK_NORM = ("no q and k norms", without(r"(self_attn|model).*self_attn\.[qk]_norm"))
NO_SHARED = ("no shared expert", without(r"shared_experts\.gate_proj"))
AS_SCORED = ("weights as scored", config(norm_topk_prob=False))
V3_ROUTER = [NO_BIAS, AS_SCORED, ("weights not scaled", config(routed_scaling_factor=1.0))]
V3 = V3_ROUTER + [
    ("groups ignored", config(n_group=1, topk_group=1)),
    NO_SHARED,
    ("rotary halves", config(rope_interleave=False)),
    ("no yarn", no_scaling),
    ("no mscale^2", attribute("mscale2", False)),
]
NO_BETA = ("queries not scaled", rope(llama_4_scaling_beta=0.0))
GRANITE = [
    ("scale of the head's size", plain_scale),
    ("embeddings not scaled", config(embedding_multiplier=1.0)),
    ("branches not scaled", config(residual_multiplier=1.0)),
    ("logits not scaled", config(logits_scaling=1.0)),
    ("up rows first", halves_moved("block_sparse_moe.input_linear", 1)),
]
GEMMA = [
    ("layers not scaled", one("layer_scalar")),
    ("weights not scaled", one("per_expert_scale")),
    ("router's input not scaled", one(r"router\.scale")),
    ("no soft cap", config(final_logit_softcapping=None)),
    ("no window", config(sliding_window=None)),
    (
        "all dimensions turn",
        lambda m: m.c["rope_parameters"]["full_attention"].update(partial_rotary_factor=1.0),
    ),
    ("no experts", config(enable_moe_block=False)),
    (
        "router weights as scored",
        function(
            "route",
            lambda mt, c, z, b, s, l, r=routers.route: r(
                "qwen3_next", {**c, "num_experts_per_tok": c["top_k_experts"]}, z
            ),
        ),
    ),
]
GPT_OSS = [
    ("no sinks", tensors("sinks", lambda t: t * 0 - 1e9)),
    ("no clamp", config(swiglu_limit=1e9)),
    ("no window", config(sliding_window=None)),
    ("yarn's bounds rounded", rope(truncate=True)),
    ("cos and sin not scaled", rope(attention_factor=1.0)),
    ("no bias of the router", zero(r"router\.bias")),
    ("gate and up not interleaved", gpt_oss_not_interleaved),
    ("no biases of experts", zero("down_proj_bias")),
]
LARGE3 = [
    ("mscale^2", rope(mscale_all_dim=1.0)),
    ("cos and sin scaled", rope(attention_factor=None)),
    NO_BETA,
]
DELTA = [
    ("norms not by 1 + w", attribute("plus1", False)),
    ("gates behind all queries", query_rows(gates_behind)),
    ("no output gates", query_rows(gates_half)),
    ("no decay", tensors(r"A_log$", lambda t: t * 0 - 50)),
    ("no dt_bias", zero("dt_bias$")),
    ("taps reversed", tensors(r"conv1d\.weight$", reversed_taps)),
    ("the mixer's norm by 1 + w", tensors(r"linear_attn\.norm\.weight$", lambda t: t + 1)),
    ("shared expert not gated", zero(r"shared_expert_gate\.weight$")),
    ("no shared expert", without(r"shared_expert\.gate_proj")),
]
MAMBA = [
    ("no D", zero(r"(mamba|mixer)\.D$")),
    ("taps reversed", tensors(r"conv1d\.weight$", reversed_taps)),
    ("A of 1", one(r"A_log$")),
    ("no bias of the convolution", without(r"conv1d\.bias")),
    ("no dt_bias", zero("dt_bias$")),
]
MUTATIONS = {
    "afmoe": [
        ("embeddings not scaled", config(mup_enabled=False)),
        ("output gates of 1/2", zero(r"self_attn\.gate_proj")),
        NO_BIAS,
        (
            "positions and window on full layers",
            lambda m: m.c.update(layer_types=["sliding_attention"] * 9),
        ),
        ("weights not scaled", config(route_scale=1.0)),
        ("no window", config(sliding_window=None)),
        NO_SHARED,
    ],
    "dbrx": [
        ("no clip", sub_config("attn_config", clip_qkv=None)),
        ("weights as scored", sub_config("ffn_config", moe_normalize_expert_weights=None)),
        ("another theta", sub_config("attn_config", rope_theta=1e4)),
    ],
    "deepseek_v2": [m for m in V3 if m not in (NO_BIAS, AS_SCORED)]
    + [("greedy", config(topk_method="greedy"))],
    "deepseek_v3": V3,
    "deepseek_v3_fp8": V3,
    "deepseek_v32": V3 + [("the indexer chooses", config(index_topk=12))],
    "dots1": V3_ROUTER + [NO_QK_NORM, ("rotary pairs", interleaved), NO_SHARED],
    "ernie4_5_moe": [
        NO_BIAS,
        ("rotary halves", in_halves),
        NO_SHARED,
        ("weights as scored", config(moe_norm_min=1.0)),
    ],
    "exaone_moe": V3_ROUTER
    + [
        ("positions on full layers", lambda m: m.c.update(layer_types=["sliding_attention"] * 9)),
        ("window of one more", config(sliding_window=13)),
        NO_QK_NORM,
        NO_SHARED,
    ],
    "gemma4_moe": GEMMA,
    "gemma4_text": GEMMA,
    "glm4_moe": V3_ROUTER
    + [
        ("all dimensions turn", config(partial_rotary_factor=1.0)),
        ("rotary pairs", interleaved),
        NO_QK_NORM,
        ("no biases", without(r"self_attn\.[qkv]_proj\.bias")),
        NO_SHARED,
    ],
    "glm4_moe_lite": V3_ROUTER + [("rotary halves", config(rope_interleave=False)), NO_SHARED],
    "glm_moe_dsa": V3_ROUTER
    + [
        ("rotary halves", config(rope_interleave=False)),
        ("the indexer chooses", config(index_topk=12)),
    ],
    "gpt_oss": GPT_OSS,
    "gpt_oss_mxfp4": [
        ("no sinks", GPT_OSS[0][1]),
        ("gate and up not interleaved", gpt_oss_not_interleaved),
    ],
    "granitemoe": GRANITE + [("softmax over all", function("route", as_scored))],
    "granitemoehybrid": GRANITE
    + MAMBA
    + [
        ("positions", config(position_embedding_type="rope")),
        ("no shared MLP", without(r"shared_mlp\.input_linear")),
    ],
    "grok1": [
        ("no cap of scores", config(max_attn_value=None)),
        ("half the scale", config(attn_output_multiplier=0.125)),
        ("no norm after attention", one("post_attn_norm")),
        ("embeddings not scaled", config(embedding_multiplier_scale=1.0)),
        ("logits not scaled", config(output_multiplier_scale=1.0)),
        ("gate for up", exchange("linear.", "linear_v.")),
    ],
    "hunyuan_v1_moe": [
        ("norms before positions", norm_before_rope),
        ("theta not stretched", rope(alpha=None, type="default")),
        ("no shared MLP", without(r"shared_mlp\.gate_proj")),
        ("no norm of queries", without("query_layernorm")),
    ],
    "hy_v3": [
        NO_BIAS,
        ("weights not scaled", config(router_scaling_factor=1.0)),
        NO_QK_NORM,
        ("no shared MLP", without(r"shared_mlp\.gate_proj")),
        ("rotary pairs", interleaved),
    ],
    "kimi_k2_int4": V3_ROUTER
    + [
        ("no mscale^2", attribute("mscale2", False)),
        ("another yarn ramp", rope(beta_fast=32)),
        ("codes from 7", tensors(r"mlp\.experts\.\d+\.", lambda t: t + abs(t).mean())),
    ],
    "lfm2_moe": [
        NO_BIAS,
        ("taps reversed", tensors(r"conv\.conv\.weight$", reversed_taps)),
        (
            "B, C and u moved",
            tensors(r"conv\.in_proj\.weight$", lambda t: np.roll(t, len(t) // 3, 0)),
        ),
        ("no q and k norms", without("[qk]_layernorm")),
        ("no last norm", one("embedding_norm")),
        ("rotary pairs", interleaved),
    ],
    "llama4": [
        ("weights on the output", weight_on_output),
        ("no q and k norms", config(use_qk_norm=False)),
        ("positions on every layer", config(no_rope_layers=[1, 1, 1, 1])),
        ("rotary halves", in_halves),
        ("positions not scaled", config(rope_scaling=None)),
        ("no shared expert", without(r"shared_expert\.gate_proj")),
        ("chunks of 20", config(attention_chunk_size=20)),
    ],
    "mimo_v2_flash": [
        NO_BIAS,
        ("no sinks", without("attention_sink_bias")),
        ("values not scaled", config(attention_value_scale=1.0)),
        ("window of one less", config(sliding_window_size=11)),
        ("one theta", config(swa_rope_theta=5000000)),
        ("all dimensions turn", config(partial_rotary_factor=1.0)),
    ],
    "minimax_m2": [
        NO_BIAS,
        ("no q and k norms", one(r"self_attn\.[qk]_norm")),
        ("all dimensions turn", config(rotary_dim=24)),
        ("rotary pairs", interleaved),
        ("gate for up", exchange("w1.", "w3.")),
    ],
    "ministral3": [NO_BETA, ("cos and sin scaled", rope(mscale_all_dim=None))],
    "mistral4": [
        ("no mscale^2", attribute("mscale2", False)),
        NO_BETA,
        AS_SCORED,
        ("no yarn", no_scaling),
        ("up rows first", halves_moved("gate_up_proj$", 1)),
    ],
    "mistral_large3": LARGE3,
    "mistral_large3_fp8": LARGE3,
    "nemotron_h": V3_ROUTER
    + MAMBA
    + [
        ("one group of norms", function("rms", one_norm_group)),
        ("silu for relu^2", silu_experts),
        ("no shared expert", without(r"shared_experts\.up_proj")),
        ("B for C", b_and_c),
    ],
    "phimoe": [
        ("no jitter", config(router_jitter_noise=0.0)),
        ("no threshold", config(router_jitter_noise=1e9)),
        ("no biases of norms", zero(r"norm\.bias")),
        ("cos and sin not scaled", rope(short_mscale=1.0)),
        ("long factors", rope(original_max_position_embeddings=24)),
    ],
    "qwen2_moe": [
        ("weights sum to 1", config(norm_topk_prob=True)),
        ("shared expert not gated", zero("shared_expert_gate")),
        ("no biases", zero(r"[qkv]_proj\.bias")),
    ],
    "qwen3_5_moe": DELTA
    + [
        ("all dimensions turn", rope(partial_rotary_factor=1.0)),
        ("up rows first", halves_moved("experts.gate_up_proj$", 1)),
        ("a for b", exchange("in_proj_a.", "in_proj_b.")),
    ],
    "qwen3_next": DELTA
    + [
        ("all dimensions turn", config(partial_rotary_factor=1.0)),
        ("in_proj_qkvz in plain order", qkvz_plain),
        AS_SCORED,
    ],
    "qwen3_vl_moe": [
        NO_QK_NORM,
        ("up columns first", halves_moved("experts.gate_up_proj$", 2)),
        ("rotary pairs", interleaved),
        ("weights as scored", function("route", as_scored)),
    ],
}


def run(folder, mutate, golden):
    """How far the logits move."""
    model = Model(folder)
    try:
        mutate(model)
        with np.errstate(all="ignore"):
            logits = model.forward(golden["input_ids"][0])["logits"]
    finally:
        for module, name, value in getattr(mutate, "undo", []):
            setattr(module, name, value)
        getattr(mutate, "undo", []).clear()
    moved = abs(logits - golden["logits"][0]).max()
    return moved if math.isfinite(moved) else math.inf


def main(folders):
    weak = []
    for name, mutations in MUTATIONS.items():
        folder = os.path.join(folders, name)
        stored = read_st(os.path.join(folder, "golden.safetensors"))
        golden = {key: values for key, (values, _) in stored.items()}
        moved = [(what, run(folder, mutate, golden)) for what, mutate in mutations]
        print(f"{name:20}", "; ".join(f"{what} {far:.2g}" for what, far in moved), flush=True)
        weak += [f"{name}: {what} {far:.2g}" for what, far in moved if not far >= LEAST]
    print(sum(map(len, MUTATIONS.values())), "mutations; below", LEAST, "are:", weak or "none")
    return len(weak)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1] if len(sys.argv) > 1 else FOLDERS) else 0)
