#!/usr/bin/env python3
"""Writes tests/calibrate/data/calibration.txt: what matrices meet, by the evaluator in families/ (float64).

    pip install numpy
    tests/data/make_calibration_goldens.py

A line for each matrix that some token of the checkpoint's golden.safetensors meets:

    MODEL NAME TOKENS OUTPUTS WEIGHTS COLS MEAN...

OUTPUTS: the sum of the squares of what it gives, without biases; WEIGHTS: of its weights; MEAN: of each
column's input the mean square.
"""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from families.checkpoint import read_st  # noqa: E402
from families.model import Model  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ("tests/fixtures/families/deepseek_v3", "tests/fixtures/families/qwen2_moe")


class Watched(np.ndarray):
    """A matrix that notes what it is multiplied with: x @ W.T."""

    def __array_finalize__(self, other):
        self.name = getattr(other, "name", None)
        self.seen = getattr(other, "seen", None)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [np.asarray(i) if isinstance(i, Watched) else i for i in inputs]
        out = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul and isinstance(inputs[1], Watched) and plain[0].ndim == 2:
            columns, outputs, tokens = self.seen.get(self.name, (0, 0, 0))
            self.seen[self.name] = (columns + (plain[0] ** 2).sum(0), outputs + (out**2).sum(),
                                    tokens + len(out))
        return out


def watch(weights, seen):
    for name, value in weights.items():
        if value.ndim == 2:
            weights[name] = value.view(Watched)
            weights[name].name, weights[name].seen = name, seen


def main():
    with open(ROOT / "tests/calibrate/data/calibration.txt", "w") as f:
        for folder in MODELS:
            seen = {}
            model = Model(str(ROOT / folder))
            watch(model.T, seen)
            for ids in read_st(ROOT / folder / "golden.safetensors")["input_ids"][0]:
                model.forward(ids)
            for name, (columns, outputs, tokens) in sorted(seen.items()):
                weights = (np.asarray(model.T[name]) ** 2).sum()
                means = " ".join(f"{x:.8g}" for x in columns / tokens)
                print(folder, name, tokens, f"{outputs:.8g} {weights:.8g}", len(columns), means,
                      file=f)


if __name__ == "__main__":
    main()
