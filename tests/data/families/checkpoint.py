"""Reading checkpoints as they are published: safetensors files, FP8, MXFP4 and packed integers,
Mistral's own names. Every weight comes back as float64 under the names of Transformers.

Sources: the safetensors format; OCP 8-bit floating point (E4M3) and microscaling (MXFP4) formats;
DeepSeek-V3's README_WEIGHTS.md for blocks of 128 x 128; compressed-tensors' pack-quantized form;
vLLM's mistral_large_3.py for Mistral's names and params.json.
"""

import json
import math
import os

import numpy as np


def _bf16(b):
    return (np.frombuffer(b, "<u2").astype(np.uint32) << 16).view(np.float32)


def _e4m3_table():
    t = np.zeros(256, np.float64)
    for i in range(256):
        s, e, m = i >> 7, (i >> 3) & 15, i & 7
        v = math.ldexp(m / 8.0, -6) if e == 0 else math.ldexp(1 + m / 8.0, e - 7)
        if e == 15 and m == 7:
            v = float("nan")  # e4m3fn: S.1111.111 is NaN, no infinities
        t[i] = -v if s else v
    return t


E4M3 = _e4m3_table()
FP4 = np.array(
    [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float64
)  # e2m1


def read_st(path):
    out = {}
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        hdr = json.loads(f.read(n))
        buf = f.read()
    for k, v in hdr.items():
        if k == "__metadata__":
            continue
        a, b = v["data_offsets"]
        raw = buf[a:b]
        dt = v["dtype"]
        if dt == "BF16":
            x = _bf16(raw)
        elif dt == "F32":
            x = np.frombuffer(raw, "<f4")
        elif dt == "F16":
            x = np.frombuffer(raw, "<f2").astype(np.float32)
        elif dt == "I32":
            x = np.frombuffer(raw, "<i4")
        elif dt == "I64":
            x = np.frombuffer(raw, "<i8")
        elif dt in ("U8", "F8_E4M3"):
            x = np.frombuffer(raw, np.uint8)
        else:
            raise ValueError(dt)
        out[k] = (x.reshape(v["shape"]), dt)
    return out


def load_ckpt(d):
    """Every weight as float64; FP8 (weight_scale_inv / weight_scale, 128x128 blocks) and MXFP4 are expanded."""
    raw = {}
    idx = [f for f in os.listdir(d) if f.endswith(".safetensors.index.json")]
    if idx:
        files = sorted(set(json.load(open(os.path.join(d, idx[0])))["weight_map"].values()))
    else:
        files = [
            f
            for f in sorted(os.listdir(d))
            if f.endswith(".safetensors") and not f.startswith("golden")
        ]
    for f in files:
        raw.update(read_st(os.path.join(d, f)))
    T = {}
    for k, (x, dt) in raw.items():
        if dt == "F8_E4M3":
            w = E4M3[x]
            sk = next(s for s in (k + "_scale_inv", k + "_scale") if s in raw)
            s = raw[sk][0].astype(np.float64)
            if s.ndim == 2:
                s = np.kron(s, np.ones((128, 128)))[: w.shape[0], : w.shape[1]]
            T[k] = w * s
        elif k.endswith("_blocks"):  # MXFP4: [E, rows, G, 16] u8 + [E, rows, G] u8 (e8m0)
            sc = raw[k[:-7] + "_scales"][0].astype(np.int64) - 127
            w = np.stack([FP4[x & 15], FP4[x >> 4]], -1).reshape(
                *x.shape[:-1], 32
            )  # low nibble first
            w = np.ldexp(w, sc[..., None]).reshape(*x.shape[:2], -1)  # [E, rows, in]
            T[k[:-7]] = np.swapaxes(w, 1, 2)  # Transformers' [E, in, out] layout
        elif k.endswith(
            ".weight_packed"
        ):  # compressed-tensors int-b, dense little-endian bit stream along the row
            R, C = (int(t) for t in raw[k[:-7] + "_shape"][0])
            S = raw[k[:-7] + "_scale"][0].astype(np.float64)
            nb = x.shape[1] * 32 // C
            bits = np.unpackbits(
                np.ascontiguousarray(x.astype("<i4")).view(np.uint8).reshape(R, -1),
                axis=1,
                bitorder="little",
            )[:, : C * nb]
            u = bits.reshape(R, C, nb).astype(np.int64) @ (1 << np.arange(nb))
            T[k[:-7]] = (u - (1 << (nb - 1))) * np.repeat(S, C // S.shape[1], 1)
        elif k.endswith(("_scale_inv", "_scales", ".weight_scale", ".weight_shape")):
            continue
        else:
            T[k] = x.astype(np.float64)
    return T


NATIVE = [
    ("attention.wq_a", "self_attn.q_a_proj"),
    ("attention.q_a_norm", "self_attn.q_a_layernorm"),
    ("attention.wq_b", "self_attn.q_b_proj"),
    ("attention.wkv_a_with_mqa", "self_attn.kv_a_proj_with_mqa"),
    ("attention.kv_a_norm", "self_attn.kv_a_layernorm"),
    ("attention.wkv_b", "self_attn.kv_b_proj"),
    ("attention.wo", "self_attn.o_proj"),
    ("attention_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("feed_forward.w1", "mlp.gate_proj"),
    ("feed_forward.w2", "mlp.down_proj"),
    ("feed_forward.w3", "mlp.up_proj"),
    ("shared_experts.w1", "mlp.shared_experts.gate_proj"),
    ("shared_experts.w2", "mlp.shared_experts.down_proj"),
    ("shared_experts.w3", "mlp.shared_experts.up_proj"),
]


def from_native(p, T):
    """Mistral's own layout (params.json + consolidated*.safetensors) -> HF names / keys of mistral4."""
    U = {}
    for k, v in T.items():
        if k == "tok_embeddings.weight":
            k = "model.embed_tokens.weight"
        elif k == "norm.weight":
            k = "model.norm.weight"
        elif k == "output.weight":
            k = "lm_head.weight"
        elif k.startswith("layers."):
            _, l, r = k.split(".", 2)
            r = r.rsplit(".weight", 1)[0]
            if r == "gate":
                r = "mlp.gate"
            elif r.startswith("experts."):
                _, e, w = r.split(".")
                r = f"mlp.experts.{e}." + {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}[w]
            else:
                r = dict(NATIVE)[r]
            k = f"model.layers.{l}.{r}.weight"
        else:
            continue  # vision_encoder., patch_merger., ...
        U[k] = v
    m, y = p["moe"], p.get("yarn") or {}
    rp = {
        "rope_type": "yarn",
        "rope_theta": p.get("rope_theta", 1e4),
        "factor": y["factor"],
        "beta_fast": y["beta"],
        "beta_slow": y["alpha"],
        "original_max_position_embeddings": y["original_max_position_embeddings"],
        "llama_4_scaling_beta": p["llama_4_scaling"]["beta"],
    }
    if not y.get("apply_scale", True):
        rp["attention_factor"] = 1.0  # cos/sin x1 AND no softmax mscale^2
    else:
        rp["mscale"] = rp["mscale_all_dim"] = 1.0
    c = dict(
        model_type="mistral4",
        hidden_size=p["dim"],
        num_hidden_layers=p["n_layers"],
        num_attention_heads=p["n_heads"],
        num_key_value_heads=p["n_kv_heads"],
        intermediate_size=p["hidden_dim"],
        vocab_size=p["vocab_size"],
        rms_norm_eps=p["norm_eps"],
        q_lora_rank=p["q_lora_rank"],
        kv_lora_rank=p["kv_lora_rank"],
        qk_nope_head_dim=p["qk_nope_head_dim"],
        qk_rope_head_dim=p["qk_rope_head_dim"],
        v_head_dim=p["v_head_dim"],
        rope_parameters=rp,
        n_routed_experts=m["num_experts"],
        num_experts_per_tok=m["num_experts_per_tok"],
        n_shared_experts=m["num_shared_experts"],
        moe_intermediate_size=m["expert_hidden_dim"],
        first_k_dense_replace=m["first_k_dense_replace"],
        routed_scaling_factor=m["routed_scale"],
        n_group=m["num_expert_groups"],
        topk_group=m["num_expert_groups_per_tok"],
        norm_topk_prob=True,
        tie_word_embeddings=p.get("tied_embeddings", False),
    )
    return c, U
