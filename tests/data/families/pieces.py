"""What the layers of all families are put together from: norms, activations, rotary positions,
attention over a whole sequence.

Rotary positions follow Transformers' modeling_rope_utils.py, except where it and a model's own code
differ: longrope takes the multipliers of Phi-3.5-MoE's code, 'dynamic' with alpha is Hunyuan's.
"""

import math

import numpy as np


def rms(x, w, eps):
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return y if w is None else y * w


def lnorm(x, w, b, eps):
    m = x.mean(-1, keepdims=True)
    v = ((x - m) ** 2).mean(-1, keepdims=True)
    y = (x - m) / np.sqrt(v + eps) * w
    return y if b is None else y + b


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(0, x)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rope_params(cfg, layer_type=None):
    rp = cfg.get("rope_parameters")
    if rp is None:
        rp = dict(cfg.get("rope_scaling") or {})
        rp.setdefault("rope_theta", cfg.get("rope_theta", 10000.0))
    elif layer_type is not None and layer_type in rp:
        rp = rp[layer_type]
    rp = dict(rp)
    rp["rope_type"] = rp.get("rope_type", rp.get("type", "default"))
    return rp


def mscale(f, m=1.0):
    return 1.0 if f <= 1 else 0.1 * m * math.log(f) + 1.0


def inv_freq(rp, dim, max_pos=None, seq=None):
    """-> (inv_freq[dim/2], multiplier of cos and sin)"""
    th, ty = float(rp["rope_theta"]), rp["rope_type"]
    i = np.arange(0, dim, 2) / dim
    f = th**-i
    if ty == "default":
        return f, 1.0
    if ty == "dynamic" and rp.get(
        "alpha"
    ):  # hunyuan: a static NTK stretch of theta, independent of the length
        return (th * rp["alpha"] ** (dim / (dim - 2))) ** -i, 1.0
    if ty == "linear":
        return f / rp["factor"], 1.0
    if ty == "llama3":
        o = rp["original_max_position_embeddings"]
        lo, hi = rp["low_freq_factor"], rp["high_freq_factor"]
        wl = 2 * math.pi / f
        sm = (
            (o / wl - lo) / (hi - lo) if hi != lo else 0.0 * wl
        )  # llama4: low == high factor, no middle band
        g = np.where(wl > o / lo, f / rp["factor"], f)
        mid = ~(wl < o / hi) & ~(wl > o / lo)
        return np.where(mid, (1 - sm) * f / rp["factor"] + sm * f, g), 1.0
    if ty == "yarn":
        o = rp["original_max_position_embeddings"]
        fac = max_pos / o if rp["factor"] is None else rp["factor"]
        af, ms, msa = rp.get("attention_factor"), rp.get("mscale"), rp.get("mscale_all_dim")
        if af is None:
            af = mscale(fac, ms) / mscale(fac, msa) if ms and msa else mscale(fac)
        bf, bs = rp.get("beta_fast") or 32, rp.get("beta_slow") or 1

        def cd(r):
            return dim * math.log(o / (r * 2 * math.pi)) / (2 * math.log(th))

        lo, hi = cd(bf), cd(bs)
        if rp.get("truncate", True):
            lo, hi = math.floor(lo), math.ceil(hi)
        lo, hi = max(lo, 0), min(hi, dim - 1)
        if lo == hi:
            hi += 0.001
        ramp = np.clip((np.arange(dim // 2) - lo) / (hi - lo), 0, 1)
        return (f / fac) * ramp + f * (1 - ramp), af
    if ty == "longrope":
        o = rp["original_max_position_embeddings"]
        long = seq is not None and seq > o
        ext = np.array(rp["long_factor" if long else "short_factor"], np.float64)
        own = rp.get("long_mscale" if long else "short_mscale")  # phimoe
        if own is not None:
            return f / ext, own
        fac = max_pos / o if rp.get("factor") is None else rp["factor"]
        af = 1.0 if fac <= 1 else math.sqrt(1 + math.log(fac) / math.log(o))
        return f / ext, af if rp.get("attention_factor") is None else rp["attention_factor"]
    if ty == "proportional":
        n = int(rp.get("partial_rotary_factor", 1.0) * dim // 2)
        return np.concatenate([f[:n] / rp.get("factor", 1.0), np.zeros(dim // 2 - n)]), 1.0
    raise ValueError(ty)


def rot_half(x, cos, sin):  # x [T, h, d]; cos/sin [T, d/2]
    a, b = np.split(x, 2, -1)
    c, s = cos[:, None], sin[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


def rot_pairs(
    x, cos, sin
):  # interleaved input pairs, halves on output (order is irrelevant to q.k)
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = cos[:, None], sin[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


PARTIAL = {
    "glm4_moe": 0.5,
    "qwen3_next": 0.25,
    "qwen3_5_moe": 0.25,
    "mimo_v2_flash": 0.334,
}  # class defaults when the config has no key


def rotary_dim(c, mt, rp, hd):
    if mt == "minimax_m2" and c.get("rotary_dim"):
        return c["rotary_dim"]
    f = rp.get("partial_rotary_factor", c.get("partial_rotary_factor", PARTIAL.get(mt, 1.0)))
    return int(hd * f)


def attend(q, k, v, scale, window=None, sinks=None, cap=None, chunk=None, keep=None):
    T, nh, _ = q.shape
    g = nh // k.shape[1]
    k, v = np.repeat(k, g, 1), np.repeat(v, g, 1)
    s = np.einsum("thd,shd->hts", q, k) * scale
    if cap:
        s = cap * np.tanh(s / cap)  # before the mask
    i, j = np.arange(T)[:, None], np.arange(T)[None]
    ok = j <= i
    if window:
        ok &= j > i - window  # `window` keys including the token itself
    if keep is not None:
        ok &= keep  # keys the indexer selected
    if chunk:
        ok &= j // chunk == i // chunk  # llama4: only keys of the query's own chunk
    s = np.where(ok, s, -np.inf)
    if sinks is not None:  # an extra logit per head that takes probability but adds no value
        p = softmax(np.concatenate([s, np.broadcast_to(sinks[:, None, None], (nh, T, 1))], -1))[
            ..., :-1
        ]
    else:
        p = softmax(s)
    return np.einsum("hts,shd->thd", p, v).reshape(T, -1)
