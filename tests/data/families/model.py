"""A model of any family, evaluated in numpy's float64 from nothing but the files of its folder.

The formulas follow Transformers 5.24's modeling files (Grok-1: hpcai-tech/grok-1), and share no
code with them nor with moeq: what both agree with is no mistake of one of them.
"""

import json
import math
import os

import numpy as np

from .checkpoint import from_native, load_ckpt
from .ffn import FeedForward
from .mixers import Mixers
from .pieces import gelu_tanh, lnorm, rms, silu

# model_types that are another's by another name.
KINDS = {
    "gemma4_text": "gemma4",
    "qwen3_5_moe_text": "qwen3_5_moe",
    "qwen3_vl_moe_text": "qwen3_vl_moe",
    "llama4_text": "llama4",
    "kimi_k2": "deepseek_v3",
}


class Model(Mixers, FeedForward):
    def __init__(self, d, cfg_name=None, mla_mscale2=True):
        self.T = load_ckpt(d)
        self.mscale2 = mla_mscale2
        if cfg_name is None and os.path.exists(os.path.join(d, "params.json")):
            self.c, self.T = from_native(json.load(open(os.path.join(d, "params.json"))), self.T)
        else:
            self.c = json.load(open(os.path.join(d, cfg_name or "config.json")))
        if "text_config" in self.c:
            t = self.c["text_config"]
            t.setdefault("tie_word_embeddings", self.c.get("tie_word_embeddings", False))
            self.c = t
        mt = self.c.get("model_type") or (
            "grok-1"
            if "num_experts" in self.c and "Grok" in str(self.c.get("architectures"))
            else None
        )
        self.mt = KINDS.get(mt, mt)
        self.plus1 = self.mt in ("qwen3_next", "qwen3_5_moe")  # RMSNorm weights are stored as w-1
        self.pre = next(
            p
            for p in (
                "model.language_model.",
                "language_model.model.",
                "model.",
                "transformer.",
                "backbone.",
            )
            if p + "embed_tokens.weight" in self.T
            or p + "embeddings.weight" in self.T
            or p + "wte.weight" in self.T
        )
        if self.mt == "nemotron_h":
            self.c["num_hidden_layers"] = len(
                self.c.get("layers_block_type") or self.c["hybrid_override_pattern"]
            )
        if self.mt == "dbrx":
            self.c.update(
                hidden_size=self.c["d_model"],
                num_hidden_layers=self.c["n_layers"],
                num_attention_heads=self.c["n_heads"],
            )

    def w(self, name):
        return self.T[name + ".weight"]

    def nw(self, name):
        return self.w(name) + 1 if self.plus1 else self.w(name)

    def lin(self, x, name):
        y = x @ self.T[name + ".weight"].T
        b = self.T.get(name + ".bias")
        return y if b is None else y + b

    def forward(self, ids):
        c, mt, T, P = self.c, self.mt, self.T, self.pre
        self.out, self.margin = {}, np.inf
        eps = c.get("rms_norm_eps", c.get("norm_eps", c.get("layernorm_epsilon", 1e-5)))
        pos = np.arange(len(ids)).astype(np.float64)
        E = T[
            P
            + {"dbrx": "wte.weight", "nemotron_h": "embeddings.weight"}.get(
                mt, "embed_tokens.weight"
            )
        ]
        x = E[ids]
        if mt == "grok-1":
            x = x * c["embedding_multiplier_scale"]
        if mt in ("granitemoe", "granitemoehybrid"):
            x = x * c.get("embedding_multiplier", 1.0)
        if mt == "gemma4" or (mt == "afmoe" and c.get("mup_enabled")):
            x = x * math.sqrt(c["hidden_size"])
        for l in range(c["num_hidden_layers"]):
            p = f"{P}{'blocks' if mt == 'dbrx' else 'layers'}.{l}."
            self.out[f"hidden.{l}"] = x
            if mt == "dbrx":
                q = p + "norm_attn_norm."
                a = self.gqa(l, lnorm(x, self.w(q + "norm_1"), None, 1e-5), pos, q)
                self.out[f"attn_out.{l}"] = a
                x = x + a
                x = x + self.moe(l, lnorm(x, self.w(q + "norm_2"), None, 1e-5), p)
                continue
            nrm = (
                (lambda t, n: lnorm(t, self.w(n), T.get(n + ".bias"), eps))
                if mt == "phimoe"
                else (lambda t, n: rms(t, self.nw(n), eps))
            )
            if mt == "nemotron_h":
                x = self.nemotron_layer(l, x, pos, p)
                continue
            if mt == "grok-1":

                def gn(t, n):
                    return rms(t, T[p + n + ".scale"], eps)

                a = self.grok_attn(l, gn(x, "pre_attn_norm"), pos, p)
                self.out[f"attn_out.{l}"] = a
                x = x + gn(a, "post_attn_norm")
                x = x + gn(self.moe(l, gn(x, "pre_moe_norm"), p), "post_moe_norm")
                continue
            if mt == "lfm2_moe":
                h = nrm(x, p + "operator_norm")
                a = (self.gqa if p + "self_attn.q_proj.weight" in T else self.shortconv)(
                    l, h, pos, p
                )
                self.out[f"attn_out.{l}"] = a
                x = x + a
                h = nrm(x, p + "ffn_norm")
                if p + "feed_forward.w1.weight" in T:
                    f = p + "feed_forward."
                    x = (
                        x
                        + (silu(h @ self.w(f + "w1").T) * (h @ self.w(f + "w3").T))
                        @ self.w(f + "w2").T
                    )
                else:
                    x = x + self.moe(l, h, p)
                continue
            h = nrm(x, p + "input_layernorm")
            mix = (
                self.mla
                if c.get("kv_lora_rank")
                else (
                    self.deltanet
                    if p + "linear_attn.conv1d.weight" in T
                    else self.granite_mamba if p + "mamba.conv1d.weight" in T else self.gqa
                )
            )
            a = mix(l, h, pos, p)
            self.out[f"attn_out.{l}"] = a
            if mt in ("gemma4", "afmoe"):
                a = nrm(a, p + "post_attention_layernorm")
            rm = (
                c.get("residual_multiplier", 1.0)
                if mt in ("granitemoe", "granitemoehybrid")
                else 1.0
            )
            x = x + a * rm
            if mt == "gemma4":
                y = self.mlp(nrm(x, p + "pre_feedforward_layernorm"), p + "mlp.", gelu_tanh)
                if c.get("enable_moe_block"):
                    y = nrm(y, p + "post_feedforward_layernorm_1") + nrm(
                        self.moe(l, nrm(x, p + "pre_feedforward_layernorm_2"), p, xr=x),
                        p + "post_feedforward_layernorm_2",
                    )
                x = (x + nrm(y, p + "post_feedforward_layernorm")) * T[p + "layer_scalar"]
                continue
            h = nrm(x, p + ("pre_mlp_layernorm" if mt == "afmoe" else "post_attention_layernorm"))
            if mt == "llama4" and p + "feed_forward.gate_proj.weight" in T:
                y = self.mlp(h, p + "feed_forward.")
            else:
                y = (
                    self.mlp(h, p + "mlp.")
                    if p + "mlp.gate_proj.weight" in T
                    else self.moe(l, h, p)
                )
            if mt == "afmoe":
                y = nrm(y, p + "post_mlp_layernorm")
            x = x + y * rm
        self.out[f"hidden.{c['num_hidden_layers']}"] = x
        if mt == "phimoe":
            x = lnorm(x, T[P + "norm.weight"], T[P + "norm.bias"], eps)
        elif mt == "dbrx":
            x = lnorm(x, T[P + "norm_f.weight"], None, 1e-5)
        elif mt == "grok-1":
            x = rms(x, T[P + "norm.scale"], eps)
        elif mt == "nemotron_h":
            x = rms(x, self.w(P + "norm_f"), c["layer_norm_epsilon"])
        else:
            x = rms(x, self.nw(P + ("embedding_norm" if mt == "lfm2_moe" else "norm")), eps)
        y = x @ T.get("lm_head.weight", T.get("language_model.lm_head.weight", E)).T
        if mt == "grok-1":
            y = y * c["output_multiplier_scale"]
        if mt in ("granitemoe", "granitemoehybrid"):
            y = y / c.get("logits_scaling", 1.0)
        if "lm_head.bias" in T:
            y = y + T["lm_head.bias"]
        if c.get("final_logit_softcapping"):
            y = np.tanh(y / c["final_logit_softcapping"]) * c["final_logit_softcapping"]
        self.out["logits"] = y
        return self.out
