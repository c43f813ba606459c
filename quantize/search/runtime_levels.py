#!/usr/bin/env python3
"""The levels of other runtimes: the lists of starting points of w_int.c and mlx.c, and how far this kind of search is from
what the runtimes' own tools do.

    pip install numpy
    quantize/search/runtime_levels.py lists       the lists, found greedily (as in greedy.py); some minutes
    quantize/search/runtime_levels.py [MOEQ]      relative error of moeq's blocks and of the others' rounding, same weights

Others: llm-compressor's observers `minmax` and `mse` (observers/mse.py: shrinks the range in steps of 1 % up to 20 %, by
the norm 2.4), scales as compressed-tensors' calculate_qparams has them, max / 7.5; MLX's mx.quantize (mlx/backend/cpu/
quantized.cpp): the larger edge is met exactly, and zero is a code. Both store scales as bf16 here. moeq's blocks are
made by `moeq convert` of a folder with these weights.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

GROUPS = (32, 64, 128)


def bf16(x):
    u = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + (u >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32).astype(np.float64)


def drawn(kind, rng, shape):
    return {"gauss": lambda: rng.standard_normal(shape), "laplace": lambda: rng.laplace(size=shape),
            "t5": lambda: rng.standard_t(5, shape)}[kind]()


def sample(rng, groups, width):
    return np.concatenate([drawn(kind, rng, (groups, width)) for kind in ("gauss", "laplace", "t5")])


# ---- lists ----

def symmetric(x, low, high, c):
    """Relative error of codes rounded at scale (largest weight) / c, once the scale follows them."""
    q = np.clip(np.rint(x * (c / np.abs(x).max(1))[:, None]), low, high)
    xx = (x * x).sum(1)
    return (xx - (q * x).sum(1) ** 2 / np.maximum((q * q).sum(1), 1e-9)) / xx


def affine(x, most, below, above):
    """The same of codes on a grid over the range less parts of it, once scale and bias follow."""
    low, range_ = x.min(1), np.ptp(x, axis=1)
    q = np.clip(np.rint((x - (low + below * range_)[:, None]) * (most / (range_ * (1 - below - above)))[:, None]), 0, most)
    d, e = q - q.mean(1)[:, None], x - x.mean(1)[:, None]
    return ((e * e).sum(1) - (d * e).sum(1) ** 2 / np.maximum((d * d).sum(1), 1e-9)) / (x * x).sum(1)


def greedy(errors, count):
    best, chosen = np.full(len(errors), np.inf), []
    for _ in range(count):
        chosen.append(int(np.minimum(best[:, None], errors).mean(0).argmin()))
        best = np.minimum(best, errors[:, chosen[-1]])
    return chosen, best.mean()


def lists():
    for group in GROUPS:
        for sign in (1, -1):
            x = sample(np.random.default_rng(1), 3000, group)
            x *= (sign * np.sign(x[np.arange(len(x)), np.abs(x).argmax(1)]))[:, None]
            starts = np.arange(4.5, 12, 0.1)
            chosen, error = greedy(np.stack([symmetric(x, -8, 7, c) for c in starts], 1), 16)
            print(group, "positive" if sign > 0 else "negative", [round(float(starts[k]), 2) for k in chosen],
                  f"{error:.6f}", flush=True)
    steps = {2: 0.03, 3: 0.02, 4: 0.012, 5: 0.006, 6: 0.003}
    for bits, step in steps.items():
        ticks = np.arange(-5, 14 if bits < 5 else 9) * step
        starts = [(a, b) for a in ticks for b in ticks if a + b < 0.7]
        parts = []
        for group in GROUPS:
            x = sample(np.random.default_rng(1), 20000 // group, group)
            parts.append(np.stack([affine(x, 2**bits - 1, *s) for s in starts], 1))
        chosen, error = greedy(np.concatenate(parts), 16)
        print(bits, "bits", ", ".join("{%.3ff, %.3ff}" % starts[k] for k in chosen), f"{error:.6f}", flush=True)


if __name__ == "__main__":
    lists()
