"""MLPs, experts, shared experts, and what a layer with experts makes of its router's choice."""

import numpy as np

from .pieces import gelu_tanh, rms, sigmoid, silu
from .routers import route

GATES = (
    "mlp.gate",
    "block_sparse_moe.gate",
    "mlp.router.gate",
    "mlp.router",
    "ffn.router.layer",
    "mlp.gate.wg",
    "feed_forward.gate",
    "feed_forward.router",
    "block_sparse_moe.router.layer",
    "moe_block.gate",
    "mixer.gate",
)
CHOICE_BIASES = (
    "mlp.gate.e_score_correction_bias",
    "mlp.expert_bias",
    "block_sparse_moe.e_score_correction_bias",
    "mlp.moe_statics.e_score_correction_bias",
    "feed_forward.expert_bias",
    "mlp.e_score_correction_bias",
    "mixer.gate.e_score_correction_bias",
)
SHARED = ("mlp.shared_mlp.", "feed_forward.shared_expert.", "mlp.shared_experts.")


class FeedForward:
    """For Model."""

    def mlp(self, x, p, act=silu):
        return self.lin(
            act(self.lin(x, p + "gate_proj")) * self.lin(x, p + "up_proj"), p + "down_proj"
        )

    def expert(self, x, p, e):
        T, mt = self.T, self.mt
        if mt == "grok-1":
            q = f"{p}moe_block.experts.{e}."
            return self.lin(
                gelu_tanh(self.lin(x, q + "linear")) * self.lin(x, q + "linear_v"), q + "linear_1"
            )
        if mt == "nemotron_h":
            return self.relu2(x, f"{p}mixer.experts.{e}.")
        if mt in ("granitemoe", "granitemoehybrid"):
            g, u = np.split(x @ self.w(p + "block_sparse_moe.input_linear")[e].T, 2, -1)
            return (silu(g) * u) @ self.w(p + "block_sparse_moe.output_linear")[e].T
        if mt == "llama4":  # stored [E, in, out]
            g, u = np.split(x @ T[p + "feed_forward.experts.gate_up_proj"][e], 2, -1)
            return (silu(g) * u) @ T[p + "feed_forward.experts.down_proj"][e]
        if mt == "lfm2_moe":
            q = f"{p}feed_forward.experts.{e}."
            return (silu(x @ self.w(q + "w1").T) * (x @ self.w(q + "w3").T)) @ self.w(q + "w2").T
        if mt == "gpt_oss":
            u = x @ T[p + "mlp.experts.gate_up_proj"][e] + T[p + "mlp.experts.gate_up_proj_bias"][e]
            L = self.c["swiglu_limit"]
            g, u = np.minimum(u[:, ::2], L), np.clip(u[:, 1::2], -L, L)  # interleaved rows
            return ((u + 1) * g * sigmoid(1.702 * g)) @ T[p + "mlp.experts.down_proj"][e] + T[
                p + "mlp.experts.down_proj_bias"
            ][e]
        if mt == "dbrx":
            I = self.c["ffn_config"]["ffn_hidden_size"]
            s = slice(e * I, (e + 1) * I)
            q = p + "ffn.experts.mlp."
            return (silu(x @ T[q + "w1"][s].T) * (x @ T[q + "v1"][s].T)) @ T[q + "w2"][s]
        act = gelu_tanh if mt == "gemma4" else silu
        if (
            mt == "qwen3_vl_moe"
            and T[p + "mlp.experts.gate_up_proj"].shape[1] == self.c["hidden_size"]
        ):  # official: [E, in, out]
            g, u = np.split(x @ T[p + "mlp.experts.gate_up_proj"][e], 2, -1)
            return (silu(g) * u) @ T[p + "mlp.experts.down_proj"][e]
        for q in (p + "mlp.experts.", p + "experts."):
            if q + "gate_up_proj" in T:
                g, u = np.split(x @ T[q + "gate_up_proj"][e].T, 2, -1)
                return (act(g) * u) @ T[q + "down_proj"][e].T
        q = f"{p}block_sparse_moe.experts.{e}."
        if q + "w1.weight" in T:
            return (act(x @ self.w(q + "w1").T) * (x @ self.w(q + "w3").T)) @ self.w(q + "w2").T
        return self.mlp(x, f"{p}mlp.experts.{e}.", act)

    def moe(self, l, x, p, xr=None):
        """x: what experts read; xr: what the router reads (gemma4 only)."""
        z, bias, scale = self.router(x, p, xr)
        if z is None:  # Granite 4's models without experts
            return self.shared(x, p)
        i, w, margin = route(self.mt, self.c, z, bias, scale, l)
        o = np.argsort(i, -1)
        self.out[f"router.{l}.logits"] = z
        self.out[f"router.{l}.experts"] = np.take_along_axis(i, o, -1)
        self.out[f"router.{l}.weights"] = np.take_along_axis(w, o, -1)
        self.margin = min(self.margin, margin)
        latent = p + "mixer.fc1_latent_proj.weight" in self.T  # Nemotron 3 Super
        y = self.experts(self.lin(x, p + "mixer.fc1_latent_proj") if latent else x, p, i, w)
        if latent:
            y = self.lin(y, p + "mixer.fc2_latent_proj")
        return y + self.shared(x, p)

    def router(self, x, p, xr):
        """Logits, what is added to them for the choice alone, what weights are multiplied by."""
        T, c = self.T, self.c
        if self.mt == "gemma4":
            r = rms(xr, None, c["rms_norm_eps"]) * T[p + "router.scale"] * c["hidden_size"] ** -0.5
            return r @ self.w(p + "router.proj").T, None, T[p + "router.per_expert_scale"]
        gate = next((gate for gate in GATES if p + gate + ".weight" in T), None)
        bias = next((T[p + bias].ravel() for bias in CHOICE_BIASES if p + bias in T), None)
        return gate and self.lin(x, p + gate), bias, None

    def experts(self, x, p, chosen, weights):
        y = np.zeros_like(x)
        for e in range(chosen.max() + 1):
            t, s = np.where(chosen == e)
            w = weights[t, s][:, None]
            if len(t) and self.mt == "llama4":  # the weight multiplies what the expert reads
                y[t] += self.expert(x[t] * w, p, e)
            elif len(t):
                y[t] += self.expert(x[t], p, e) * w
        return y

    def shared(self, x, p):
        T = self.T
        if p + "mixer.shared_experts.up_proj.weight" in T:
            return self.relu2(x, p + "mixer.shared_experts.")
        if p + "shared_mlp.input_linear.weight" in T:
            g, u = np.split(self.lin(x, p + "shared_mlp.input_linear"), 2, -1)
            return self.lin(silu(g) * u, p + "shared_mlp.output_linear")
        for name in SHARED:
            if p + name + "gate_proj.weight" in T:
                return self.mlp(x, p + name)
        if p + "mlp.shared_expert.gate_proj.weight" in T:
            gate = sigmoid(x @ self.w(p + "mlp.shared_expert_gate").T)
            return gate * self.mlp(x, p + "mlp.shared_expert.")
        return 0

    def relu2(self, x, q):
        return self.lin(np.maximum(self.lin(x, q + "up_proj"), 0) ** 2, q + "down_proj")
