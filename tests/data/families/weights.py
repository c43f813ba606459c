"""Random weights of the kinds and sizes that make every part of a model count."""

import re

import numpy as np

# The first pattern found in a name says how its values are drawn: mean and standard deviation, or
# what else they are drawn from. A family's own row comes first.
RULES = [
    (r"A_log$", lambda draw: np.log(0.03 + 2.5 * draw.uniform())),
    (r"dt_bias$", (-0.5, 0.7)),
    (r"conv(1d)?\.weight$", (0, 0.45)),
    (r"(mixer|mamba)\.D$", (0, 0.8)),
    (r"layer_scalar$", lambda draw: 0.8 + 0.3 * draw.uniform()),
    (r"router\.scale$", (1, 0.2)),
    (r"per_expert_scale$", (1, 0.25)),
    (r"router\.proj\.weight$", (0, 1.5)),
    (r"norm\w*\.(weight|scale)$", (1, 0.2)),
    (r"norm\w*\.bias$", (0, 0.1)),
    (r"(e_score_correction_bias|expert_bias)$", (0, 0.15)),
    (r"(sinks|attention_sink_bias)$", (0, 1)),
    (r"bias$", (0, 0.3)),
    (r"(mlp\.gate|router|router\.gate|router\.layer|gate\.wg|\bgate)\.weight$", (0, 0.3)),
    (r"(embed_tokens|wte|tok_embeddings|backbone\.embeddings)\.weight$", (0, 0.6)),
    (r"(lm_head|output)\.weight$", (0, 0.3)),
    (
        r"(q_proj|k_proj|q_b_proj|q_a_proj|kv_a_proj_with_mqa|kv_b_proj|Wqkv|in_proj\w*|wq_a|wq_b"
        r"|wkv_a_with_mqa|wkv_b|indexer\.w\w+)\.weight$",
        (0, 0.23),
    ),
    (r"", (0, 0.15)),
]
GPT_OSS = [
    (r"gate_up_proj$", (0, 0.45)),
    (r"gate_up_proj_bias$", (0, 0.5)),
    (r"down_proj$", (0, 0.04)),
    (r"down_proj_bias$", (0, 0.1)),
]
GRANITE = [
    (r"embed_tokens", (0, 0.3)),
    (r"(v_proj|o_proj|out_proj|_linear)", (0, 0.4)),
    (r"[qk]_proj", (0, 0.35)),
]
PLUS_ONE = [(r"linear_attn\.norm\.weight$", (1, 0.2)), (r"norm\w*\.weight$", (0, 0.2))]
FAMILIES = {
    "gpt_oss": GPT_OSS,
    "granitemoe": GRANITE + [(r"router", (0, 0.35))],
    "granitemoehybrid": GRANITE,
    "qwen3_next": PLUS_ONE,
    "qwen3_5_moe": PLUS_ONE,
    "grok-1": [
        (r"embed_tokens", (0, 0.225)),
        (r"[qk]_proj", (0, 0.5)),
        (r"gate\.weight", (0, 0.3)),
        (r"(experts|attn\.[vo])", (0, 0.22)),
    ],
    "ernie4_5_moe": [(r"e_score_correction_bias", (0, 0.05)), (r"mlp\.gate\.weight", (0, 0.5))],
    "lfm2_moe": [(r"conv\.out_proj\.weight", (0, 0.22))],
    "phimoe": [(r"gate\.weight$", (0, 0.045))],
    "llama4": [(r"router\.weight$", (0, 0.22))],
}


class Draw:
    """Numbers for one tensor, from the seed and the tensor's name: what others there are is no matter."""

    def __init__(self, seed, name, shape):
        words = [seed] + list(name.encode())
        self.numbers, self.shape = np.random.Generator(np.random.PCG64(words)), shape

    def uniform(self):
        return self.numbers.random(self.shape)

    def normal(self):
        return self.numbers.standard_normal(self.shape)


def draw(name, shape, kind, seed):
    rule = next(r for pattern, r in FAMILIES.get(kind, []) + RULES if re.search(pattern, name))
    numbers = Draw(seed, name, shape)
    if callable(rule):
        return rule(numbers)
    mean, deviation = rule
    return mean + deviation * numbers.normal()
