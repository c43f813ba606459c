#!/usr/bin/env python3
"""The levels of other runtimes: the lists of starting points of w_int.c and mlx.c, and how far this kind of search is from
what the runtimes' own tools do.

    pip install numpy
    quantize/search/runtime_levels.py lists       the lists, found greedily (as in greedy.py); some minutes
    quantize/search/runtime_levels.py [MOEQ [MODEL [TEXT]]]      error and KL divergence, moeq's and the others' rounding

Others: llm-compressor's observers `minmax` and `mse` (observers/mse.py: shrinks the range in steps of 1 % up to 20 %, by
the norm 2.4), scales as compressed-tensors' calculate_qparams has them, max / 7.5; MLX's mx.quantize (mlx/backend/cpu/
quantized.cpp): the larger edge is met exactly, and zero is a code. Both store scales as bf16 here. Errors are of weights
drawn in place of the model's experts.
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


# ---- what others do ----

def minmax(x, bits=4):
    scale = bf16(np.maximum(np.abs(x).max(1) / ((2**bits - 1) / 2), 1e-12))[:, None]
    return np.clip(np.rint(x / scale), -2 ** (bits - 1), 2 ** (bits - 1) - 1) * scale


def mse(x, bits=4):
    least, best = np.full(len(x), np.inf), np.zeros(x.shape)
    for step in range(20):
        scale = bf16(np.maximum((1 - step / 100) * np.abs(x).max(1) / ((2**bits - 1) / 2), 1e-12))[:, None]
        q = np.clip(np.rint(x / scale), -2 ** (bits - 1), 2 ** (bits - 1) - 1) * scale
        error = (np.abs(q - x) ** 2.4).sum(1)
        best[error < least] = q[error < least]
        least = np.minimum(least, error)
    return best


def mx_quantize(x, bits=4):
    low, high, most = x.min(1), x.max(1), 2**bits - 1
    is_low = np.abs(low) > np.abs(high)
    scale = np.maximum((high - low) / most, 1e-7) * np.where(is_low, 1, -1)
    edge = np.where(is_low, low, high)
    q0 = np.rint(edge / scale)
    bias = np.where(q0 == 0, 0, edge)
    scale = np.where(q0 == 0, scale, edge / np.where(q0 == 0, 1, q0))
    # codes are rounded before scale and bias are stored
    q = np.clip(np.rint((x - bias[:, None]) / scale[:, None]), 0, most)
    return bf16(scale)[:, None] * q + bf16(bias)[:, None]


OTHERS = {"w4g32": {"minmax": minmax, "mse": mse}, "w4g64": {"minmax": minmax, "mse": mse},
          "w4g128": {"minmax": minmax, "mse": mse}, "mlx4g32": {"mx.quantize": mx_quantize},
          "mlx4g64": {"mx.quantize": mx_quantize}, "mlx4g128": {"mx.quantize": mx_quantize}}


# ---- folders ----

def read(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header, data = json.loads(file.read(size)), file.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def read_folder(folder):
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors |= read(path)
    return tensors


def write(path, tensors):
    at, header = 0, {}
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(t[2] for t in tensors.values()))


def floats(tensor):
    dtype, shape, data = tensor
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape).astype(np.float64)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).reshape(shape).astype(np.float64)


def is_expert(name):
    return ".experts." in name and name.endswith(".weight")


def with_experts(folder, change, to):
    """A copy of a model's folder, with experts' matrices changed, as f32."""
    to.mkdir()
    tensors = {}
    for name, tensor in read_folder(folder).items():
        if is_expert(name):
            w = np.ascontiguousarray(change(floats(tensor)), "<f4")
            tensor = ("F32", list(w.shape), w.tobytes())
        tensors[name] = tensor
    write(to / "model.safetensors", tensors)
    for path in folder.iterdir():
        if path.is_file() and "safetensors" not in path.name:
            (to / path.name).write_bytes(path.read_bytes())
    return to


def blocks(level):
    kind, group = level.split("g")
    return kind, int(group)


def decode(level, raw, shape):
    kind, group = blocks(level)
    head = 4 if kind == "mlx4" else 2
    raw = np.frombuffer(raw, np.uint8).reshape(-1, head + group // 2)
    halves = (np.ascontiguousarray(raw[:, :head]).view("<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    codes = np.stack([raw[:, head:] & 15, raw[:, head:] >> 4], 2).reshape(len(raw), group)
    w = halves[:, :1] * codes + halves[:, 1:2] if head == 4 else halves[:, :1] * (codes - 8.0)
    return w.reshape(shape)


def run(moeq, *arguments):
    done = subprocess.run([moeq, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


AS_IN_SOURCE = ("--attention", "bf16", "--shared", "bf16", "--embeddings", "bf16")


def grouped(change, group):
    return lambda w: change(w.reshape(-1, group)).reshape(w.shape)


def relative_error(of, w):
    return (((of - w) ** 2).sum() / (w * w).sum()) ** 0.5


def compare_errors(moeq, model, room):
    print("relative error             " + "".join(f"{level:>9}" for level in OTHERS))
    for kind in ("gauss", "laplace", "t5"):
        rng = np.random.default_rng(3)
        folder = with_experts(model, lambda w: bf16(0.02 * drawn(kind, rng, w.shape)), room / kind)
        original = {n: floats(t) for n, t in read_folder(folder).items() if is_expert(n)}
        rows = {}
        for level, others in OTHERS.items():
            for effort in ("default", "best"):
                run(moeq, "convert", folder, "-o", room / "x.moeq", "--force", "-q", "--level", level, "--effort", effort)
                ours = read(room / "x.moeq")
                w = np.concatenate([original[n] for n in sorted(original)])
                q = np.concatenate([decode(level, ours[n][2], original[n].shape) for n in sorted(original)])
                rows.setdefault(f"moeq, {effort}", {})[level] = relative_error(q, w)
            for name, change in others.items():
                rows.setdefault(name, {})[level] = relative_error(grouped(change, blocks(level)[1])(w), w)
        for name, figures in rows.items():
            print(f"  {kind:8} {name:15} " + "".join(f"{figures[l]:9.5f}" if l in figures else " " * 9 for l in OTHERS))


def kld(moeq, folder, model, text):
    report = json.loads(run(moeq, "verify", folder, "--against", model, "--text", text, "--json", "-q"))
    row = report["rows"][-1]
    return row["kld_nats"]["mean"]["value"], row["kld_nats"]["mean"]["se"]


def compare_kld(moeq, model, text, room):
    print(f"KL divergence of {model}, experts alone quantized")
    for level, others in OTHERS.items():
        run(moeq, "convert", model, "-o", room / "x.moeq", "--force", "-q", "--level", level, *AS_IN_SOURCE)
        print(f"  {level:9} moeq            %.5f ± %.5f" % kld(moeq, room / "x.moeq", model, text), flush=True)
        for name, change in others.items():
            folder = with_experts(model, grouped(change, blocks(level)[1]), room / f"{model.name}-{level}-{name}")
            print(f"  {level:9} {name:15} %.5f ± %.5f" % kld(moeq, folder, model, text), flush=True)


def main(moeq="build/moeq", model="demo/model", text="demo/text.txt"):
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        compare_errors(moeq, pathlib.Path(model), room)
        compare_kld(moeq, pathlib.Path(model), text, room)


if __name__ == "__main__":
    lists() if sys.argv[1:] == ["lists"] else main(*sys.argv[1:])
