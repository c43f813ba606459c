"""Compares the evaluator with the golden.safetensors of folders; a table of largest differences.

    cd tests/data && python3 -m families.check FOLDER...      (numpy alone)

A golden holds input_ids [sequences, tokens]; logits; hidden.N, what layer N reads (N = layers: what
the last norm reads); attn_out.N, what the mixer of layer N gives for the first sequence; of layers
with experts router.N.logits, router.N.experts (in the order of their numbers) and router.N.weights,
with the tokens of all sequences as rows. Some folders hold logits of another reading besides.
"""

import os
import sys

import numpy as np

from .checkpoint import read_st
from .model import Model

LIMIT = 2e-3  # what f32 sums in another order may differ by, in logits


def with_mscale2(folder):
    """Mistral Large 3 as if its yarn had apply_scale."""
    m = Model(folder)
    m.c["rope_parameters"].update(mscale=1.0, mscale_all_dim=1.0)
    m.c["rope_parameters"].pop("attention_factor")
    return m


# What a golden may hold besides: the suffix of its names, and the model that gives it.
READINGS = {
    "_no_mscale2": lambda folder: Model(folder, mla_mscale2=False),
    "_mscale2": with_mscale2,
    "_long": lambda folder: Model(folder, "config_long.json"),
    "_topk": lambda folder: Model(folder, "config_topk.json"),
    "_chunk": lambda folder: Model(folder, "config_chunk.json"),
}


def evaluate(model, ids):
    """What a golden holds, and the smallest distance between what was chosen and what was not."""
    margin, outs = np.inf, []
    for sequence in ids:
        outs.append(model.forward(sequence))
        margin = min(margin, model.margin)
    golden = {}
    for name, first in outs[0].items():
        if name.startswith("attn_out"):
            golden[name] = first
        elif name.startswith("router"):
            golden[name] = np.concatenate([out[name] for out in outs])
        else:
            golden[name] = np.stack([out[name] for out in outs])
    return golden, margin


def compare(model, golden, suffix, most):
    """Adds the largest differences to `most`; returns the margin."""
    mine, margin = evaluate(model, golden["input_ids"])
    for name, values in mine.items():
        other = golden.get(name + suffix)
        if other is None:
            continue
        kind = "_".join(part for part in name.split(".") if not part.isdigit()) + suffix
        difference = (
            (values != other).sum() if name.endswith("experts") else abs(values - other).max()
        )
        most[kind] = max(most.get(kind, 0.0), float(difference))
    return margin


def check(folder, config=None):
    """The largest differences by kind, and the margin of all choices."""
    stored = read_st(os.path.join(folder, "golden.safetensors"))
    golden, most = {name: values for name, (values, _) in stored.items()}, {}
    margin = compare(Model(folder, config), golden, "", most)
    for suffix, model in READINGS.items():
        if config is None and "logits" + suffix in golden:
            compare(model(folder), golden, suffix, most)
    return most, margin


def main(folders):
    wrong = 0
    for folder in folders:
        most, margin = check(folder)
        if os.path.exists(os.path.join(folder, "config_tf5.json")):
            most["logits_tf5"] = check(folder, "config_tf5.json")[0]["logits"]
        bad = most.get("router_experts", 0) > 0 or not all(
            value <= LIMIT for kind, value in most.items() if kind.startswith("logits")
        )
        wrong += bad
        numbers = " ".join(f"{kind} {value:.1e}" for kind, value in most.items())
        name = os.path.basename(folder.rstrip("/"))
        print(f"{'BAD' if bad else 'ok':3} {name:20} margin {margin:.1e} {numbers}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
