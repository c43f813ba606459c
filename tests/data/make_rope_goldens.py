#!/usr/bin/env python3
"""Writes tests/runtime/data/rope.txt: what rotary embeddings must be, from the config.json that says
them, in numpy's float64.

    pip install numpy
    tests/data/make_rope_goldens.py

The formulas are those of tests/data/families/pieces.py: Transformers' modeling_rope_utils.py
(_compute_yarn_parameters, _compute_longrope_parameters, _compute_llama3_parameters,
_compute_proportional_rope_parameters, _compute_linear_scaling_rope_parameters; what is absent by
standardize_rope_params), for longrope with short_mscale and long_mscale Phi-3.5-MoE's own code, and for
dynamic with alpha Transformers' modeling_hunyuan_v1_moe.py.

A case is a line "model_type positions dim which", with dim the numbers of a head that are turned and
which 1 for the embedding of layers of sliding attention; a line of keys for config.json; and a line of
what cosines and sines are multiplied by, and the frequency of each pair.
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/data/families"))

import pieces  # noqa: E402

MOST = 4096  # max_position_embeddings
HEAD = 32
YARN = {"rope_type": "yarn", "factor": 8, "original_max_position_embeddings": 512}
LONG = {
    "rope_type": "longrope",
    "original_max_position_embeddings": 24,
    "short_factor": [1 + i / 8 for i in range(HEAD // 2)],
    "long_factor": [1.5 + i * i / 4 for i in range(HEAD // 2)],
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8,
    "low_freq_factor": 1,
    "high_freq_factor": 4,
    "original_max_position_embeddings": 256,
}
PARTLY = {"rope_type": "proportional", "rope_theta": 1e6}


def less(dictionary, *keys):
    return {k: v for k, v in dictionary.items() if k not in keys}


# model_type, positions, rope_parameters
CASES = [
    ("llama", 40, {"rope_type": "default", "rope_theta": 5e5}),
    ("llama", 40, {"rope_type": "linear", "factor": 3}),
    ("llama", 40, YARN),
    ("llama", 40, YARN | {"truncate": False}),
    ("llama", 40, YARN | {"beta_fast": 4, "beta_slow": 4}),
    ("llama", 40, YARN | {"beta_fast": 4, "beta_slow": 4, "truncate": False}),
    ("llama", 40, YARN | {"beta_fast": 0, "beta_slow": 0}),
    ("llama", 40, YARN | {"beta_fast": 2, "beta_slow": 8}),
    ("llama", 40, YARN | {"original_max_position_embeddings": 4}),  # the ramp begins before the first
    ("llama", 40, YARN | {"original_max_position_embeddings": 1 << 20}),
    ("llama", 40, YARN | {"attention_factor": 0.75}),
    ("llama", 40, YARN | {"factor": None}),
    ("llama", 40, YARN | {"factor": 0.5}),
    ("llama", 40, YARN | {"mscale": 0.7, "mscale_all_dim": 1.3}),
    ("llama", 40, YARN | {"mscale": 0.7}),
    ("llama", 40, less(YARN, "original_max_position_embeddings")),
    ("glm4_moe", 40, YARN | {"partial_rotary_factor": 0.5}),
    ("llama", 24, LONG),
    ("llama", 25, LONG),
    ("llama", 25, LONG | {"factor": 2}),
    ("llama", 24, LONG | {"factor": 0.5}),
    ("llama", 25, LONG | {"attention_factor": 1.25}),
    ("phimoe", 24, LONG | {"short_mscale": 1.1, "long_mscale": 1.3}),
    ("phimoe", 25, LONG | {"short_mscale": 1.1, "long_mscale": 1.3}),
    ("llama", 40, LLAMA3),
    ("llama", 40, LLAMA3 | {"high_freq_factor": 1}),
    ("llama", 40, LLAMA3 | {"low_freq_factor": 0.25, "rope_theta": 5e5}),
    ("gemma4_text", 40, {"full_attention": PARTLY}),
    ("gemma4_text", 40, {"full_attention": PARTLY | {"partial_rotary_factor": 0.3}}),
    ("gemma4_text", 40, {"full_attention": PARTLY | {"partial_rotary_factor": 0.25, "factor": 8}}),
    (
        "gemma4_text",
        40,
        {"full_attention": PARTLY, "sliding_attention": {"rope_type": "linear", "factor": 2}},
    ),
    ("hunyuan_v1_moe", 40, {"rope_type": "dynamic", "alpha": 1000.0}),
    ("hunyuan_v1_moe", 40, {"rope_type": "dynamic", "alpha": 0.5, "rope_theta": 1e6}),
]


def main():
    lines = []
    for family, positions, parameters in CASES:
        local = int("sliding_attention" in parameters)
        said = parameters.get("sliding_attention" if local else "full_attention", parameters)
        # standardize_rope_params; 1e4 is the default of all these but phimoe and Gemma 4
        theta = 1e6 if family == "phimoe" else 1e4
        rope = {"original_max_position_embeddings": MOST, "rope_theta": theta} | said
        dim = HEAD
        if rope["rope_type"] != "proportional":
            dim = int(HEAD * rope.get("partial_rotary_factor", 1))
        frequencies, magnitude = pieces.inv_freq(rope, dim, MOST, positions)
        keys = {
            "head_dim": HEAD,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": MOST,
            "rope_parameters": parameters,
        }
        if family == "gemma4_text":
            keys["global_head_dim"] = HEAD
        lines += [
            f"{family} {positions} {dim} {local}",
            json.dumps(keys)[1:-1],
            " ".join(f"{x:.12g}" for x in [magnitude, *frequencies]),
        ]
    (ROOT / "tests/runtime/data/rope.txt").write_text("\n".join(lines) + "\n")


main()
