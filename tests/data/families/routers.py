"""Routers: from logits to chosen experts and their weights, by each family's rule.

Sources: the router classes of Transformers' modeling files, named by model_type; Grok-1 after the
code of hpcai-tech/grok-1 and xai-org/grok-1.
"""

import numpy as np

from .pieces import sigmoid, softmax


def topk(score, k):
    o = np.argsort(-score, -1, kind="stable")
    srt = np.take_along_axis(score, o, -1)
    m = (srt[:, k - 1] - srt[:, k]).min() if score.shape[1] > k else np.inf  # selection margin
    return o[:, :k], m


def route(mt, c, z, bias=None, scale=None, layer=0):
    E = z.shape[1]
    gm = np.inf
    kk = c.get("moe_topk")
    kk = kk[layer] if isinstance(kk, list) else kk
    k = (
        kk
        or c.get("moe_k")
        or c.get("num_experts_per_tok")
        or c.get("top_k_experts")
        or c.get("ffn_config", {}).get("moe_top_k")
    )

    def take(s, i):
        return np.take_along_axis(s, i, -1)

    def groups(s, red):  # keep the best topk_group of n_group groups
        G, tg = c.get("n_group") or 1, c.get("topk_group") or 1
        if G == 1:
            return np.ones_like(s, bool), np.inf
        gs = red(s.reshape(len(s), G, E // G))
        gi, m = topk(gs, tg)
        keep = np.zeros((len(s), G), bool)
        np.put_along_axis(keep, gi, True, -1)
        return np.repeat(keep, E // G, -1), m

    def top2(s):
        return np.sort(s, -1)[..., -2:].sum(-1)

    if mt in ("mixtral", "minimax", "hunyuan_v1_moe", "qwen3_5_moe", "qwen3_vl_moe"):
        p = softmax(z)
        i, m = topk(p, k)
        w = take(p, i)
        w /= w.sum(-1, keepdims=True)
    elif mt in ("qwen3_moe", "qwen2_moe", "olmoe", "qwen3_next"):
        p = softmax(z)
        i, m = topk(p, k)
        w = take(p, i)
        if c.get("norm_topk_prob"):
            w = w / w.sum(-1, keepdims=True)
    elif mt == "dbrx":
        f = c["ffn_config"]
        p = softmax(z)
        i, m = topk(p, k)
        w = take(p, i)
        n = f.get(
            "moe_normalize_expert_weights", 1.0
        )  # key absent in official configs: default 1.0 = L1
        if n is not None:
            w = w / ((np.abs(w) ** n).sum(-1, keepdims=True) ** (1 / n))
    elif mt in (
        "deepseek_v3",
        "deepseek_v32",
        "glm4_moe",
        "glm4_moe_lite",
        "dots1",
        "exaone_moe",
        "nemotron_h",
        "mimo_v2_flash",
        "glm_moe_dsa",
    ):
        s = sigmoid(z)
        sb = s + bias
        keep, gm = groups(sb, top2)
        i, m = topk(np.where(keep, sb, -np.inf), k)
        w = take(s, i)
        if c.get("norm_topk_prob"):
            w = w / (w.sum(-1, keepdims=True) + 1e-20)
        w = w * (1.0 if c.get("routed_scaling_factor") is None else c["routed_scaling_factor"])
    elif mt in ("minimax_m2", "hy_v3", "lfm2_moe"):
        s = sigmoid(z)
        i, m = topk(s + (0 if bias is None else bias), k)
        w = take(s, i)
        if mt == "minimax_m2":
            w = w / w.sum(-1, keepdims=True)
        elif mt == "hy_v3":
            w = w / (w.sum(-1, keepdims=True) + 1e-20) * c["router_scaling_factor"]
        else:
            w = (
                w / (w.sum(-1, keepdims=True) + 1e-6) if c.get("norm_topk_prob", True) else w
            ) * c.get("routed_scaling_factor", 1.0)
    elif mt == "ernie4_5_moe":  # softmax probabilities + bias for the choice only
        p = softmax(z)
        i, m = topk(p + bias, k)
        w = take(p, i)
        w = w / np.maximum(w.sum(-1, keepdims=True), c.get("moe_norm_min", 1e-12))
    elif mt == "grok-1":
        p = softmax(z)
        i, m = topk(p, k)
        w = take(p, i)  # softmax over all, not renormalised
    elif mt == "llama4":
        i, m = topk(z, k)
        w = sigmoid(take(z, i))
    elif mt == "deepseek_v2":
        s = softmax(z)
        if c["topk_method"] == "group_limited_greedy":
            keep, gm = groups(s, lambda g: g.max(-1))
            s = np.where(keep, s, 0)
        i, m = topk(s, k)
        w = take(s, i) * c["routed_scaling_factor"]
    elif mt == "mistral4":
        s = softmax(z)
        keep, gm = groups(s, top2)
        i, m = topk(np.where(keep, s, 0), k)
        w = take(s, i)
        if c.get("norm_topk_prob", True):
            w = w / (w.sum(-1, keepdims=True) + 1e-20)
        w = w * c["routed_scaling_factor"]
    elif mt == "afmoe":
        s = sigmoid(z)
        i, m = topk(s + bias, k)
        w = take(s, i)
        w = w / (w.sum(-1, keepdims=True) + 1e-20) * c["route_scale"]
    elif mt in ("gpt_oss", "granitemoe", "granitemoehybrid"):
        i, m = topk(z, k)
        w = softmax(take(z, i))
    elif mt == "gemma4":
        p = softmax(z)
        i, m = topk(p, k)
        w = take(p, i)
        w = w / w.sum(-1, keepdims=True) * scale[i]
    elif mt == "phimoe":
        eps = c["router_jitter_noise"]

        def one(zz):  # zz may hold -inf for the expert already taken
            i = zz.argmax(-1)[:, None]
            mx = take(zz, i)
            far = (mx - z) / np.maximum(np.abs(z), mx) > 2 * eps
            # a masked-out expert (its z is above mx) has (mx - z) < 0 -> not "far", but its own value is -inf
            g = softmax(np.where(far, -np.inf, zz))
            return i, take(g, i)

        srt = -np.sort(-z, -1)
        m = min((srt[:, 0] - srt[:, 1]).min(), (srt[:, 1] - srt[:, 2]).min())
        i1, w1 = one(z)
        z2 = z.copy()
        np.put_along_axis(z2, i1, -np.inf, -1)
        i2, w2 = one(z2)
        i, w = np.concatenate([i1, i2], -1), np.concatenate([w1, w2], -1)
    else:
        raise ValueError(mt)
    return i, w, min(m, gm)
