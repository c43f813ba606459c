#!/usr/bin/env python3
"""Finds the lists of starting points that the encoders try for every sub-block: `cuts` of q2_k.c, q4_k.c
and q5_k.c, `inverse_scales` of q3_k.c and q6_k.c, and `weighted_...` of q2_k.c and q3_k.c.

    pip install numpy
    quantize/search/greedy.py [--model FOLDER] [LEVEL...]          default: all, demo/model

A list is chosen greedily from a mesh of starting points: the next one is the one that lowers most the
mean, over sub-blocks, of the least relative error so far, where the error is what the best scale (and
minimum) leaves for the codes rounded at that start. The sub-blocks are drawn from weights with long and
short tails, and from a model's experts. For the weighted lists every weight has an importance: in half of
the sub-blocks from a gamma distribution, in half, with longer tails, from a log-normal one.

Beside the list that it finds, it prints how much of the list in the level's file that is, and the error
that both leave on sub-blocks that neither was chosen on. Exit code 1: one of the lists in the files is
worse than what was found by more than TOLERANCE.
"""
import argparse
import json
import pathlib
import re
import struct
import sys

import numpy as np

QUANTIZE = pathlib.Path(__file__).resolve().parents[1]
TOLERANCE = 0.001  # of the squared error
SEED, FRESH_SEED = 1, 2


def mesh(step, reach):
    ticks = np.arange(-reach, reach + 1) * step
    return [(below, above) for below in ticks for above in ticks]


LEVELS = {
    # level: weights of a sub-block, least and largest code, sub-blocks of each kind, mesh
    "q4_k": (32, 0, 15, 2000, mesh(0.015, 10)),
    "q3_k": (16, -4, 3, 4000, np.concatenate([-np.arange(2.5, 5.6, 0.05), np.arange(2.2, 5, 0.05)])),
    "q5_k": (32, 0, 31, 2000, mesh(0.0075, 15)),
    "q2_k": (16, 0, 3, 2000, mesh(0.03, 12)),
    "q6_k": (16, -32, 31, 4000, -np.arange(200, 341) / 10),
    "q3_k weighted": (16, -4, 3, 4000,
                      np.concatenate([-np.arange(2, 6.6, 0.05), np.arange(1.8, 6, 0.05)])),
    "q2_k weighted": (16, 0, 3, 2000, mesh(0.03, 12)),
}
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def expert_weights(folder):
    """The matrices of experts (or the MLP) of layer 0, by name."""
    found = {}
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(size))
            for name, tensor in header.items():
                if re.search(r"\.layers\.0\..*(experts|mlp)\..*weight$", name):
                    begin, end = tensor["data_offsets"]
                    file.seek(8 + size + begin)
                    raw = np.frombuffer(file.read(end - begin), DTYPES[tensor["dtype"]])
                    if tensor["dtype"] == "BF16":
                        raw = (raw.astype("<u4") << 16).view("<f4")
                    found[name] = raw.astype("<f4")
    if not found:
        sys.exit(f"{folder}: no *.safetensors file has experts or an MLP of layer 0")
    return np.concatenate([found[name] for name in sorted(found)])


def sub_blocks(rng, model, n, width):
    """n normal ones, n / 2 Laplace, n / 2 Student-t with 5 degrees of freedom, n of the model's."""
    drawn = [rng.standard_normal((n, width)), rng.laplace(size=(n // 2, width)),
             rng.standard_t(5, (n // 2, width))]
    places = rng.permutation(len(model) // width)[:n, None] * width + np.arange(width)
    rows = np.concatenate(drawn + [model[places] / model.std()])
    return rows[(rows**2).sum(1) > 1e-3]


def importance(rng, shape, weighted):
    w = np.ones(shape)
    if weighted:
        w[::2] = rng.gamma(1.5, 1 / 1.5, w[::2].shape)
        w[1::2] = np.exp(rng.standard_normal(w[1::2].shape))
    return w


def affine_errors(x, w, code_max, cuts):
    """affine_int.h, step 1: x ~ a l - b."""
    s0, least = w.sum(1), np.minimum(x.min(1), 0)
    spread, x1, xx = np.maximum(x.max(1), 0) - least, (w * x).sum(1), (w * x * x).sum(1)
    for below, above in cuts:
        inverse = code_max / (spread * (1 - below - above))
        l = np.rint((x - (least + below * spread)[:, None]) * inverse[:, None]).clip(0, code_max)
        s1, s2, sx = (w * l).sum(1), (w * l * l).sum(1), (w * l * x).sum(1)
        det = np.maximum(s0 * s2 - s1 * s1, 1e-9)
        yield (xx - x1 * x1 / s0 - (s0 * sx - x1 * s1) ** 2 / (s0 * det)) / xx


def symmetric_errors(x, w, code_min, code_max, inverse_scales):
    """symmetric_int.h, step 1: x ~ a l."""
    largest, xx = x[np.arange(len(x)), np.abs(x).argmax(1)], (w * x * x).sum(1)
    for c in inverse_scales:
        l = np.rint(x * (c / largest)[:, None]).clip(code_min, code_max)
        yield (xx - (w * l * x).sum(1) ** 2 / np.maximum((w * l * l).sum(1), 1e-9)) / xx


def errors(x, w, code_min, code_max, starts):
    found = (symmetric_errors(x, w, code_min, code_max, starts) if code_min
             else affine_errors(x, w, code_max, starts))
    return np.stack(list(found), 1)


def choose(error, count):
    best, chosen = np.ones(len(error)), []
    for _ in range(count):
        chosen.append(int(np.minimum(best[:, None], error).mean(0).argmin()))
        best = np.minimum(best, error[:, chosen[-1]])
    return chosen


def list_in_code(level):
    """The list in the level's file, and how many of it the efforts `default` and `best` use."""
    level, _, weighted = level.partition(" ")
    lists = "weighted_(?:cuts|inverse_scales)" if weighted else "(?:cuts|inverse_scales)"
    text = (QUANTIZE / f"{level}.c").read_text()
    table = re.search(rf" {lists}\[\d+\] = \{{(.*?)\}};", text, re.S).group(1)
    numbers = [float(x) for x in re.findall(r"-?\d*\.?\d+(?=f?[,}\s]|f?$)", table)]
    pairs = "{" in table
    uses = [int(x) for x in re.findall(rf"= \{{{lists}, (\d+),", text)]
    return list(zip(numbers[::2], numbers[1::2])) if pairs else numbers, uses


def show(start):
    return "{%g, %g}" % start if isinstance(start, tuple) else "%g" % start


def search(level, model):
    width, code_min, code_max, n, starts = LEVELS[level]
    in_code, uses = list_in_code(level)
    weighted = level.endswith("weighted")
    rng = np.random.default_rng(SEED)
    if level == "q3_k":  # its sub-blocks were drawn behind those of q4_k
        sub_blocks(rng, model, LEVELS["q4_k"][3], LEVELS["q4_k"][0])
    x = sub_blocks(rng, model, n, width)
    w = importance(rng, x.shape, weighted)
    chosen = choose(errors(x, w, code_min, code_max, starts), len(in_code))
    tidy = lambda v: float(np.round(v, 4)) + 0.0  # no -0
    found = [tuple(map(tidy, s)) if isinstance(s, tuple) else tidy(s)
             for s in (starts[k] for k in chosen)]
    same = next((i for i, (a, b) in enumerate(zip(found, in_code)) if not np.allclose(a, b)),
                len(found))
    print(f"{level}: {', '.join(map(show, found))}")
    print(f"  the file has the same {len(found)}" if same == len(found) else
          f"  the file has the same {same} of {len(found)}, then others: "
          f"{', '.join(map(show, in_code[same:]))}")
    rng = np.random.default_rng(FRESH_SEED)
    y = sub_blocks(rng, model, n, width)
    w = importance(rng, y.shape, weighted)
    good = True
    for count in uses:
        of_code, of_found = (errors(y, w, code_min, code_max, s[:count]).min(1).mean()
                             for s in (in_code, found))
        print(f"  squared error of the first {count} on fresh sub-blocks: {of_code:.6f} by "
              f"its list, {of_found:.6f} by the list found ({100 * (of_code / of_found - 1):+.2f} %)")
        good = good and of_code <= (1 + TOLERANCE) * of_found
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=QUANTIZE.parent / "demo" / "model")
    parser.add_argument("levels", nargs="*", metavar="LEVEL", default=list(LEVELS))
    arguments = parser.parse_args()
    for level in arguments.levels:
        if level not in LEVELS:
            parser.error(f"LEVEL is one of {', '.join(LEVELS)}, not {level}")
    model = expert_weights(arguments.model)
    good = [search(level, model) for level in arguments.levels]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
