"""Attention of all kinds, gated DeltaNet, Mamba2, short convolutions: what mixes tokens.

Sources: the modeling files of Transformers 5.24, named by model_type, with the recurrences in their
plain form (a step a token) where those compute in chunks.
"""

import numpy as np

from .pieces import (
    attend,
    inv_freq,
    lnorm,
    mscale,
    rms,
    rope_params,
    rot_half,
    rot_pairs,
    rotary_dim,
    sigmoid,
    silu,
    softplus,
)


class Mixers:
    """For Model: every method takes the layer's number, its normed input, positions, its prefix."""

    def gqa(self, l, x, pos, p):
        c, mt = self.c, self.mt
        H, nh = c["hidden_size"], c["num_attention_heads"]
        nkv = c.get("num_key_value_heads") or nh
        hd = c.get("head_dim") or H // nh
        lt = (c.get("layer_types") or [None] * 999)[l]
        if mt == "afmoe" and lt is None:
            lt = (
                "full_attention"
                if (l + 1) % c["global_attn_every_n_layers"] == 0
                else "sliding_attention"
            )
        win = c.get("sliding_window")
        win = win if win and (lt is None or lt == "sliding_attention") else None
        if mt == "qwen3_moe" or mt == "qwen2_moe":
            win = None if not c.get("use_sliding_window") else win
        scale, sinks, k_eq_v, cap, chunk = hd**-0.5, None, False, None, None
        if mt == "mimo_v2_flash":
            if lt is None:
                lt = (
                    "full_attention" if l == 0 or (l + 1) % 6 == 0 else "sliding_attention"
                )  # = hybrid_layer_pattern 0 / 1
            swa = lt == "sliding_attention"
            nkv = 2 * c["num_key_value_heads"] if swa else nkv
            win = (
                (
                    c["sliding_window_size"] + 1
                    if c.get("sliding_window_size")
                    else c["sliding_window"]
                )
                if swa
                else None
            )
            sinks = self.T.get(p + "self_attn.attention_sink_bias")
        if mt in ("granitemoe", "granitemoehybrid"):
            scale = c["attention_multiplier"]
        if (
            mt == "dots1"
            and lt is None
            and c.get("sliding_window")
            and l >= c.get("max_window_layers", 62)
        ):
            lt = "sliding_attention"
        if mt == "dots1" or mt == "minimax_m2":
            win = None if lt != "sliding_attention" else c.get("sliding_window")
        if mt == "llama4":
            iv = c.get("no_rope_layer_interval", 4)
            nr = c.get("no_rope_layers") or [
                int((i + 1) % iv != 0) for i in range(c["num_hidden_layers"])
            ]
            rope_on = bool(nr[l])
            chunk = c.get("attention_chunk_size") if rope_on else None
            win = None
        if mt == "exaone_moe":
            if lt is None:
                pt = c.get("sliding_window_pattern", 4)
                lt = (
                    ("sliding_attention" if pt[l % len(pt)] == "L" else "full_attention")
                    if isinstance(pt, str)
                    else ("full_attention" if (l + 1) % pt == 0 else "sliding_attention")
                )
            win = c.get("sliding_window") if lt == "sliding_attention" else None
        if mt == "gemma4":
            scale = 1.0
            if lt == "full_attention":
                k_eq_v = c["attention_k_eq_v"]
                if "per_layer_config" in c:  # what Transformers 5 writes on re-save
                    o = c["per_layer_config"].get(str(l), {})
                    hd, nkv = o.get("head_dim", hd), o.get("num_key_value_heads", nkv)
                else:  # official form
                    hd = c.get("global_head_dim", 512)
                    if k_eq_v and c.get("num_global_key_value_heads"):
                        nkv = c["num_global_key_value_heads"]
        if mt == "dbrx":
            a = c["attn_config"]
            nkv = a["kv_n_heads"]
            qkv = x @ self.w(p + "attn.Wqkv").T
            if a.get("clip_qkv") is not None:
                qkv = np.clip(qkv, -a["clip_qkv"], a["clip_qkv"])
            q, k, v = np.split(qkv, [nh * hd, (nh + nkv) * hd], -1)
        else:
            q, k = self.lin(x, p + "self_attn.q_proj"), self.lin(x, p + "self_attn.k_proj")
            v = k if k_eq_v else self.lin(x, p + "self_attn.v_proj")
        if mt in ("qwen3_next", "qwen3_5_moe"):  # per head [query hd | gate hd]
            q, ogate = (
                t.reshape(len(x), -1) for t in np.split(q.reshape(len(x), nh, 2 * hd), 2, -1)
            )
        if mt in ("olmoe", "minimax_m2"):  # norm over the whole projection
            q = rms(q, self.w(p + "self_attn.q_norm"), c["rms_norm_eps"])
            k = rms(k, self.w(p + "self_attn.k_norm"), c["rms_norm_eps"])
            if c.get("clip_qkv") is not None:
                q, k, v = (np.clip(t, -c["clip_qkv"], c["clip_qkv"]) for t in (q, k, v))
        T = len(x)
        q, k, v = q.reshape(T, nh, hd), k.reshape(T, nkv, hd), v.reshape(T, nkv, -1)
        if mt == "mimo_v2_flash":
            v = v * (c.get("attention_value_scale") or 1.0)
        qn, kn = {
            "lfm2_moe": ("q_layernorm", "k_layernorm"),
            "hunyuan_v1_moe": ("query_layernorm", "key_layernorm"),
        }.get(mt, ("q_norm", "k_norm"))
        qn, kn, neps = (
            p + "self_attn." + qn,
            p + "self_attn." + kn,
            c.get("rms_norm_eps", c.get("norm_eps", c.get("layernorm_epsilon"))),
        )
        per_head = mt not in ("olmoe", "minimax_m2") and qn + ".weight" in self.T
        if per_head and mt != "hunyuan_v1_moe":  # norm per head, before RoPE
            q = rms(q, self.nw(qn), neps)
            k = rms(k, self.nw(kn), neps)
        if mt == "gemma4":
            v = rms(v, None, c["rms_norm_eps"])
        rp = rope_params(c, lt)
        if mt == "mimo_v2_flash" and "rope_parameters" not in c:
            rp["rope_theta"] = c.get("swa_rope_theta", 1e4) if swa else c.get("rope_theta", 5e6)
        if mt == "dbrx" and "rope_theta" in c["attn_config"]:
            rp["rope_theta"] = c["attn_config"]["rope_theta"]
        nope = (
            (mt == "granitemoehybrid" and c.get("position_embedding_type") != "rope")
            or (mt == "afmoe" and lt == "full_attention")
            or (mt == "exaone_moe" and c.get("sliding_window") and lt == "full_attention")
            or (mt == "llama4" and not rope_on)
        )
        if not nope:  # Trinity, K-EXAONE: NoPE on global layers
            d = rotary_dim(c, mt, rp, hd) if rp["rope_type"] != "proportional" else hd
            f, m = inv_freq(rp, d, seq=len(pos))
            ang = pos[:, None] * f
            rot = (
                rot_pairs if mt in ("ernie4_5_moe", "llama4") else rot_half
            )  # only the first d of each head are rotated
            q, k = (
                np.concatenate([rot(t[..., :d], np.cos(ang) * m, np.sin(ang) * m), t[..., d:]], -1)
                for t in (q, k)
            )
        if per_head and mt == "hunyuan_v1_moe":  # norm per head, AFTER RoPE
            q = rms(q, self.w(qn), neps)
            k = rms(k, self.w(kn), neps)
        if mt == "llama4":
            if rope_on and c.get("use_qk_norm", True):
                q, k = rms(q, None, c["rms_norm_eps"]), rms(
                    k, None, c["rms_norm_eps"]
                )  # unweighted, after RoPE
            if not rope_on and c.get("attn_temperature_tuning", True):
                q = (
                    q
                    * (
                        np.log1p(np.floor((pos + 1) / c.get("floor_scale", 8192)))
                        * c.get("attn_scale", 0.1)
                        + 1
                    )[:, None, None]
                )
        if mt == "ministral3":
            q = (
                q
                * (
                    1
                    + rp["llama_4_scaling_beta"]
                    * np.log(1 + np.floor(pos / rp["original_max_position_embeddings"]))
                )[:, None, None]
            )
        if mt == "gpt_oss":
            sinks = self.T[p + "self_attn.sinks"]
        o = attend(q, k, v, scale, win, sinks, cap, chunk)
        if mt in ("qwen3_next", "qwen3_5_moe"):
            o = o * sigmoid(ogate)
        if mt == "lfm2_moe":
            return self.lin(o, p + "self_attn.out_proj")
        if mt == "afmoe":
            o = o * sigmoid(x @ self.w(p + "self_attn.gate_proj").T)
        return (
            o @ self.w(p + "attn.out_proj").T
            if mt == "dbrx"
            else self.lin(o, p + "self_attn.o_proj")
        )

    def grok_attn(self, l, x, pos, p):
        c = self.c
        hd = c["hidden_size"] // c["num_attention_heads"]
        T = len(x)
        q, k, v = (self.lin(x, p + f"attn.{n}_proj").reshape(T, -1, hd) for n in "qkv")
        f, _ = inv_freq({"rope_theta": c.get("rope_theta", 1e4), "rope_type": "default"}, hd)
        ang = pos[:, None] * f
        q, k = rot_half(q, np.cos(ang), np.sin(ang)), rot_half(k, np.cos(ang), np.sin(ang))
        return self.lin(
            attend(q, k, v, c["attn_output_multiplier"], cap=c.get("max_attn_value", 30.0)),
            p + "attn.o_proj",
        )

    # ---- linear attention (gated DeltaNet) and short convolution
    def causal_conv(self, x, w, b=None):  # x [T, C], w [C, 1, K]: y[t] = sum_j w[K-1-j] x[t-j]
        K = w.shape[-1]
        xp = np.concatenate([np.zeros((K - 1, x.shape[1])), x])
        y = sum(w[:, 0, j] * xp[j : j + len(x)] for j in range(K))
        return y if b is None else y + b

    def deltanet(self, l, x, pos, p):
        c, T = self.c, self.T
        a = p + "linear_attn."
        n = len(x)
        nk, nv, dk, dv = (
            c["linear_" + t]
            for t in ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim")
        )
        r = nv // nk
        if (
            a + "in_proj_qkvz.weight" in T
        ):  # Qwen3-Next: rows grouped per KEY head [q dk | k dk | v r*dv | z r*dv], [b r | a r]
            u = (x @ self.w(a + "in_proj_qkvz").T).reshape(n, nk, -1)
            ba = (x @ self.w(a + "in_proj_ba").T).reshape(n, nk, 2 * r)
            q, k, v, z = np.split(u, [dk, 2 * dk, 2 * dk + r * dv], -1)
            mix = np.concatenate([t.reshape(n, -1) for t in (q, k, v)], -1)
            z = z.reshape(n, nv, dv)
            b, al = ba[..., :r].reshape(n, nv), ba[..., r:].reshape(n, nv)
        else:  # Qwen3.5: plain order [q | k | v]
            mix = x @ self.w(a + "in_proj_qkv").T
            z = (x @ self.w(a + "in_proj_z").T).reshape(n, nv, dv)
            b, al = x @ self.w(a + "in_proj_b").T, x @ self.w(a + "in_proj_a").T
        mix = silu(self.causal_conv(mix, self.w(a + "conv1d"), T.get(a + "conv1d.bias")))
        q, k, v = np.split(mix, [nk * dk, 2 * nk * dk], -1)

        def l2(t):
            return t / np.sqrt((t * t).sum(-1, keepdims=True) + 1e-6)

        q, k = l2(q.reshape(n, nk, dk)) * dk**-0.5, l2(k.reshape(n, nk, dk))
        v = v.reshape(n, nv, dv)
        q, k = np.repeat(q, r, 1), np.repeat(k, r, 1)  # value head h uses key head h / r
        beta, g = sigmoid(b), -np.exp(T[a + "A_log"]) * softplus(al + T[a + "dt_bias"])
        S = np.zeros((nv, dk, dv))
        o = np.zeros((n, nv, dv))
        for t in range(n):
            S = S * np.exp(g[t])[:, None, None]
            S = (
                S
                + k[t][:, :, None]
                * (beta[t][:, None] * (v[t] - np.einsum("hkv,hk->hv", S, k[t])))[:, None, :]
            )
            o[t] = np.einsum("hkv,hk->hv", S, q[t])
        o = rms(o, self.w(a + "norm"), c["rms_norm_eps"]) * silu(z)  # this norm weight has no +1
        return self.lin(o.reshape(n, -1), a + "out_proj")

    def mamba2(
        self,
        l,
        x,
        pos,
        p,
        names=(
            "mamba_num_heads",
            "mamba_head_dim",
            "n_groups",
            "ssm_state_size",
            "layer_norm_epsilon",
        ),
        a=None,
        dtmin=None,
    ):
        c, T = self.c, self.T
        a = p + (a or "mixer.")
        n = len(x)
        nh, hd, G, N, eps = (c[t] for t in names)
        D = nh * hd
        z, u, dt = np.split(self.lin(x, a + "in_proj"), [D, 2 * D + 2 * G * N], -1)
        u = silu(self.causal_conv(u, self.w(a + "conv1d"), T.get(a + "conv1d.bias")))
        v, Bm, Cm = np.split(u, [D, D + G * N], -1)
        v = v.reshape(n, nh, hd)
        Bm, Cm = (
            np.repeat(t.reshape(n, G, N), nh // G, 1) for t in (Bm, Cm)
        )  # head h uses group h / (nh/G)
        dt = np.maximum(
            softplus(dt + T[a + "dt_bias"]),
            c.get("time_step_min", 0.001) if dtmin is None else dtmin,
        )
        A = -np.exp(T[a + "A_log"])  # clamp: Transformers' reading
        S = np.zeros((nh, hd, N))
        o = np.zeros((n, nh, hd))
        for t in range(n):
            S = (
                S * np.exp(dt[t] * A)[:, None, None]
                + (dt[t][:, None] * v[t])[:, :, None] * Bm[t][:, None, :]
            )
            o[t] = np.einsum("hpn,hn->hp", S, Cm[t]) + T[a + "D"][:, None] * v[t]
        o = (o.reshape(n, D) * silu(z)).reshape(n, G, D // G)
        o = rms(o, None, eps).reshape(n, D) * self.w(a + "norm")  # per group, gate first
        return self.lin(o, a + "out_proj")

    def granite_mamba(self, l, x, pos, p):
        return self.mamba2(
            l,
            x,
            pos,
            p,
            ("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "rms_norm_eps"),
            "mamba.",
            0.0,
        )

    def nemotron_layer(self, l, x, pos, p):
        c = self.c
        h = rms(x, self.w(p + "norm"), c["layer_norm_epsilon"])
        a = p + "mixer."
        if a + "conv1d.weight" in self.T:
            y = self.mamba2(l, h, pos, p)
            self.out[f"attn_out.{l}"] = y
        elif a + "q_proj.weight" in self.T:
            q, k, v = (
                self.lin(h, a + f"{t}_proj").reshape(len(h), -1, c["head_dim"]) for t in "qkv"
            )
            y = self.lin(attend(q, k, v, c["head_dim"] ** -0.5), a + "o_proj")
            self.out[f"attn_out.{l}"] = y  # no RoPE
        elif a + "gate.weight" in self.T:
            y = self.moe(l, h, p)
        else:
            y = self.relu2(h, a)
        return x + y

    def shortconv(self, l, x, pos, p):
        B, C, u = np.split(self.lin(x, p + "conv.in_proj"), 3, -1)
        return self.lin(
            C * self.causal_conv(B * u, self.w(p + "conv.conv"), self.T.get(p + "conv.conv.bias")),
            p + "conv.out_proj",
        )

    def mla(self, l, x, pos, p):
        c = self.c
        nh, dn, dr, dv, r = (
            c[k]
            for k in (
                "num_attention_heads",
                "qk_nope_head_dim",
                "qk_rope_head_dim",
                "v_head_dim",
                "kv_lora_rank",
            )
        )
        T, a = len(x), p + "self_attn."
        q = (
            self.lin(
                rms(self.lin(x, a + "q_a_proj"), self.w(a + "q_a_layernorm"), 1e-6), a + "q_b_proj"
            )
            if c.get("q_lora_rank")
            else self.lin(x, a + "q_proj")
        )
        q = q.reshape(T, nh, dn + dr)
        kv = self.lin(x, a + "kv_a_proj_with_mqa")
        kr = kv[:, r:].reshape(T, 1, dr)
        kvb = self.lin(rms(kv[:, :r], self.w(a + "kv_a_layernorm"), 1e-6), a + "kv_b_proj").reshape(
            T, nh, dn + dv
        )  # eps 1e-6, not rms_norm_eps
        rp = rope_params(c)
        f, m = inv_freq(rp, dr)
        ang = pos[:, None] * f
        cs, sn = np.cos(ang) * m, np.sin(ang) * m
        rot = rot_pairs if c.get("rope_interleave", True) else rot_half
        q = np.concatenate([q[..., :dn], rot(q[..., dn:], cs, sn)], -1)
        k = np.concatenate([kvb[..., :dn], np.repeat(rot(kr, cs, sn), nh, 1)], -1)
        if self.mt == "mistral4":
            q = (
                q
                * (
                    1
                    + rp["llama_4_scaling_beta"]
                    * np.log(1 + np.floor(pos / rp["original_max_position_embeddings"]))
                )[:, None, None]
            )
        scale = (dn + dr) ** -0.5
        if rp["rope_type"] != "default" and rp.get("mscale_all_dim") and self.mscale2:
            scale *= mscale(rp["factor"], rp["mscale_all_dim"]) ** 2
        if not c.get("index_topk") or l == 0:
            self.keep = None  # GLM-5: a layer without indexer tensors reuses the last selection
        keep = self.keep
        if (
            a + "indexer.wk.weight" in self.T and T > c["index_topk"]
        ):  # DSA: no effect up to index_topk keys
            i_, hi, di = a + "indexer.", c["index_n_heads"], c["index_head_dim"]
            qi = self.lin(
                rms(self.lin(x, a + "q_a_proj"), self.w(a + "q_a_layernorm"), 1e-6), i_ + "wq_b"
            ).reshape(T, hi, di)
            ki = lnorm(
                self.lin(x, i_ + "wk"), self.w(i_ + "k_norm"), self.T[i_ + "k_norm.bias"], 1e-6
            ).reshape(T, 1, di)
            ci, si = np.cos(ang), np.sin(
                ang
            )  # halves pairing here, interleaved in the attention (same cos/sin)
            irot = rot_pairs if self.mt == "glm_moe_dsa" else rot_half
            qi, ki = (
                np.concatenate([irot(t[..., :dr], ci * m, si * m), t[..., dr:]], -1)
                for t in (qi, ki)
            )
            s = np.maximum(np.einsum("thd,sd->ths", qi, ki[:, 0]) * di**-0.5, 0)
            s = np.einsum("ths,th->ts", s, self.lin(x, i_ + "weights_proj") * hi**-0.5)
            s = np.where(np.tri(T, dtype=bool), s, -np.inf)
            o = np.argsort(-s, -1, kind="stable")[:, : c["index_topk"]]
            keep = self.keep = np.zeros((T, T), bool)
            np.put_along_axis(keep, o, True, -1)
        return self.lin(attend(q, k, kvb[..., dn:], scale, keep=keep), a + "o_proj")
