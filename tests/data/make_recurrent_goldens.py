#!/usr/bin/env python3
"""Writes tests/runtime/data/recurrent.txt: what the kernels of runtime/recurrent.h must give, from
their formulas in numpy's float64.

    pip install numpy
    tests/data/make_recurrent_goldens.py

A case is a line of its kind and sizes, and a line of results. The inputs are not in the file: both
sides draw them from the test programs' generator (tests/test_support.c), in the order given here.
"""
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
MASK = (1 << 64) - 1


class Numbers:
    """splitmix64; numbers in [-2, 2) that are exact in f32."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return ((z ^ z >> 31) >> 40) * 2.0 ** -22 - 2

    def array(self, *shape):
        return np.array([self.next() for _ in range(int(np.prod(shape)))]).reshape(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(0, x)


def convolution(n, length, windows, groups, channels, gap, taps, activate, bias, factors):
    """Rows of groups of `channels`, each followed by `gap` numbers that stay as they are."""
    stride = channels + gap
    x, before, after = (n.array(windows, length, groups, stride) for _ in range(3))
    weights, biases = n.array(groups, channels, taps), n.array(groups, channels)
    u = x[..., :channels] * (before[..., :channels] if factors else 1)
    y = np.zeros_like(u) + (biases if bias else 0)
    for j in range(taps):
        y[:, j:] += weights[..., taps - 1 - j] * u[:, : length - j] if j < length else 0
    y = silu(y) if activate else y
    x[..., :channels] = y * (after[..., :channels] if factors else 1)
    return x


def delta(n, length, windows, keys, per_key, key_dim, value_dim, by_key_head):
    """Rows [q | k | v | b | a]; by key head [q k v - | ...], [b a | ...]."""
    heads = keys * per_key
    q_all, v_all = keys * key_dim, heads * value_dim
    tokens = windows * length
    x = n.array(tokens, 2 * q_all + v_all * (2 if by_key_head else 1) + 2 * heads)
    decay, step_bias = n.array(heads) - 2, n.array(heads)
    if by_key_head:
        mixed = x[:, : 2 * (q_all + v_all)].reshape(tokens, keys, -1)
        q, k, v, _ = np.split(mixed, np.cumsum([key_dim, key_dim, per_key * value_dim]), -1)
        b, a = np.split(x[:, 2 * (q_all + v_all):].reshape(tokens, keys, -1), 2, -1)
    else:
        q, k, v, b, a = np.split(x, np.cumsum([q_all, q_all, v_all, heads]), -1)
    q, k = (np.repeat(t.reshape(windows, length, keys, key_dim), per_key, 2) for t in (q, k))
    q, k = (t / np.sqrt((t * t).sum(-1, keepdims=True) + 1e-6) for t in (q, k))
    q = q * key_dim ** -0.5
    v = v.reshape(windows, length, heads, value_dim)
    b, a = b.reshape(windows, length, heads), a.reshape(windows, length, heads)
    beta, g = sigmoid(b), -np.exp(decay) * softplus(a + step_bias)
    state, out = np.zeros((windows, heads, key_dim, value_dim)), np.zeros_like(v)
    for t in range(length):
        state = state * np.exp(g[:, t])[..., None, None]
        held = np.einsum("whkv,whk->whv", state, k[:, t])
        u = beta[:, t][..., None] * (v[:, t] - held)
        state = state + k[:, t][..., None] * u[:, :, None, :]
        out[:, t] = np.einsum("whkv,whk->whv", state, q[:, t])
    return out


def mamba(n, length, windows, groups, per_group, head_dim, size, least_step):
    """Rows [x | B | C | dt]."""
    heads, tokens = groups * per_group, windows * length
    rows = n.array(tokens, heads * head_dim + 2 * groups * size + heads)
    decay, step_bias, skip = n.array(heads) - 2, n.array(heads), n.array(heads)
    cuts = np.cumsum([heads * head_dim, groups * size, groups * size])
    x, b, c, dt = (t.reshape(windows, length, -1) for t in np.split(rows, cuts, -1))
    x = x.reshape(windows, length, heads, head_dim)
    b, c = (np.repeat(t.reshape(windows, length, groups, size), per_group, 2) for t in (b, c))
    dt = np.maximum(softplus(dt + step_bias), np.float64(np.float32(least_step)))
    state, out = np.zeros((windows, heads, head_dim, size)), np.zeros_like(x)
    for t in range(length):
        state = state * np.exp(dt[:, t] * -np.exp(decay))[..., None, None]
        state = state + (dt[:, t][..., None] * x[:, t])[..., None] * b[:, t][:, :, None, :]
        out[:, t] = np.einsum("whpn,whn->whp", state, c[:, t]) + skip[:, None] * x[:, t]
    return out


def norm(n, tokens, heads, size, own_weights, gate_first):
    x, gate = n.array(tokens, heads, size), n.array(tokens, heads, size)
    weight = n.array(heads if own_weights else 1, size)
    y = x * silu(gate) if gate_first else x
    y = y / np.sqrt((y * y).mean(-1, keepdims=True) + 1e-5) * weight
    return y if gate_first else y * silu(gate)


# Some are small, and some (by mq_team in formats/base/context.h) large enough for several threads.
CASES = [
    (convolution, 1, 1, 1, 5, 0, 4, 1, 0, 0),
    (convolution, 7, 2, 1, 20, 3, 4, 1, 1, 0),
    (convolution, 5, 3, 3, 9, 7, 3, 0, 0, 1),
    (convolution, 40, 1, 1, 17, 0, 2, 0, 1, 1),
    (convolution, 2, 1, 1, 530, 0, 4, 1, 0, 0),
    (convolution, 3, 2, 1, 16, 0, 1, 0, 0, 0),
    (convolution, 40, 1, 1, 120, 0, 16, 1, 0, 0),
    (delta, 1, 1, 1, 1, 16, 16, 0),
    (delta, 1, 3, 2, 2, 3, 2, 1),
    (delta, 37, 2, 2, 2, 20, 6, 1),
    (delta, 33, 1, 1, 3, 5, 7, 0),
    (delta, 66, 1, 1, 1, 32, 40, 0),
    (delta, 40, 1, 4, 2, 64, 8, 1),
    (mamba, 1, 1, 1, 1, 8, 16, 0),
    (mamba, 40, 1, 2, 4, 4, 128, 0),
    (mamba, 35, 2, 2, 2, 6, 20, 0.001),
    (mamba, 64, 1, 1, 3, 4, 5, 0.5),
    (mamba, 34, 1, 1, 1, 33, 17, 0),
    (norm, 3, 2, 16, 0, 0),
    (norm, 2, 3, 21, 1, 1),
    (norm, 1, 1, 7, 1, 0),
]


def main():
    lines = []
    for seed, (kind, *sizes) in enumerate(CASES, 1):
        result = kind(Numbers(seed), *sizes).reshape(-1)
        lines.append(" ".join([kind.__name__, *map(str, sizes)]))
        lines.append(" ".join("%.8g" % value for value in result))
    path = ROOT / "tests/runtime/data/recurrent.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
