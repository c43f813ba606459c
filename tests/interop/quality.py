#!/usr/bin/env python3
"""The comparison of quality.sh, which see: tables in Markdown."""
import argparse
import concurrent.futures
import ctypes
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.constants import GGML_QUANT_SIZES

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVELS = ("q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs",
          "iq2_s", "iq2_xs", "iq2_xxs")
QUICK = ("q4_k", "iq3_xxs", "q2_k")
SCRATCH_LEVEL = "q3_k"  # one that only experts have in a file that is otherwise q8_0


def bits(level):
    weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[level.upper()]]
    return 8 * size / weights


class Ggml:
    """ggml_quantize_chunk, which llama-quantize calls for each expert of a tensor."""

    def __init__(self, library, threads):
        self.library, self.threads = ctypes.CDLL(str(library)), threads
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool

    def needs_importance(self, level):
        return self.library.ggml_quantize_requires_imatrix(int(GGMLQuantizationType[level.upper()]))

    def quantize(self, level, weights, importance):
        """Blocks of weights [experts, rows, cols]; importance [experts, cols], or None."""
        experts, rows, cols = weights.shape
        out = np.zeros((experts, rows, int(cols * bits(level) / 8)), np.uint8)
        kind = int(GGMLQuantizationType[level.upper()])
        self.library.ggml_quantize_init(kind)

        def one(expert):
            size = self.library.ggml_quantize_chunk(
                ctypes.c_int(kind), pointer(weights[expert]), pointer(out[expert]), ctypes.c_int64(0),
                ctypes.c_int64(rows), ctypes.c_int64(cols),
                None if importance is None else pointer(importance[expert]))
            if size != out[expert].nbytes:
                raise Failed(f"ggml_quantize_chunk at {level}: {size} bytes, not {out[expert].nbytes}")

        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(one, range(experts)))
        return out


def pointer(array):
    if not array.flags.c_contiguous:
        raise Failed("an array with gaps")
    return array.ctypes.data_as(ctypes.c_void_p)


def read_imatrix(path):
    """Name -> mean squares [experts, cols], as llama-quantize has them: 1 where an expert met nothing."""
    tensors = {t.name: np.array(t.data, np.float32) for t in GGUFReader(path).tensors}
    means = {}
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            name = name[:-len(".in_sum2")]
            counts = tensors[name + ".counts"].reshape(-1, 1)
            sums = sums.reshape(len(counts), -1)
            means[name] = np.ascontiguousarray(
                np.where(counts > 0, sums / np.maximum(counts, 1), 1), np.float32)
    return means


class Quality:
    """One model: its files are made level by level, judged together and removed."""

    def __init__(self, options, model):
        self.o, self.model = options, model
        self.ggml = Ggml(options.ggml, options.threads)
        self.work = options.work / model.resolve().parent.name / model.resolve().name
        self.work.mkdir(parents=True, exist_ok=True)
        self.results = {"model": model.name, "tables": {}}

    def moeq(self, command, *arguments, threads=True):
        words = [str(w) for w in (self.o.moeq, command, *arguments)]
        words += ["--threads", str(self.o.threads)] if threads else []
        run = subprocess.run(words, capture_output=True, check=False)
        if run.returncode:
            raise Failed(f"{' '.join(words)}: exit code {run.returncode}\n{run.stderr.decode()[-600:]}")
        return run.stdout

    def export(self, name, *arguments):
        path = self.work / name
        self.moeq("export", self.model, "-o", path, "--force", "-q", *arguments)
        return path

    # ---- once for all levels ----

    def prepare(self):
        self.text = self.work / "calibration.txt"
        self.text.write_bytes(b"".join(part_of(t, self.o.calibration_bytes) for t in self.o.calibration_text))
        self.calibration, imatrix = self.work / "model.cal", self.work / "imatrix.gguf"
        self.moeq("calibrate", self.model, "--text", self.text, "-o", self.calibration, "--force", "-q")
        self.moeq("calibrate", "--merge", self.calibration, "-o", imatrix, "--force", "-q", threads=False)
        self.importance = read_imatrix(imatrix)
        self.reference = self.work / "held-out.moeqref"
        self.moeq("record", self.model, "--text", self.o.held_out, "-o", self.reference, "--force", "-q")
        scratch = self.export("scratch.gguf", "--level", SCRATCH_LEVEL)
        kind = GGMLQuantizationType[SCRATCH_LEVEL.upper()]
        tensors = GGUFReader(scratch).tensors
        self.experts = {t.name for t in tensors if t.tensor_type == kind}
        self.rest = int(sum(t.n_bytes for t in tensors if t.name not in self.experts))
        self.source = GGUFReader(self.export("source.gguf", "--level", "f32"))
        self.by_feedback = ("--effort", "calibrated", "--text", self.text)

    def weights(self):
        """Name and f32 weights [experts, rows, cols] of each tensor of experts."""
        for t in self.source.tensors:
            if t.name in self.experts:
                yield t.name, np.array(t.data, np.float32).reshape(-1, *t.data.shape[-2:])

    def by_ggml(self, level, name, with_importance):
        """moeq's file of the level, with GGML's blocks in the place of its own."""
        path = self.export(name, "--level", level)
        reader = GGUFReader(path, "r+")
        tensors = {t.name: t for t in reader.tensors}
        for tensor, weights in self.weights():
            to = tensors[tensor]
            if to.tensor_type.name.lower() != level:
                raise Failed(f"{path}: {tensor} is {to.tensor_type.name}, not {level}")
            importance = self.importance[tensor] if with_importance else None
            to.data[...] = self.ggml.quantize(level, weights, importance).reshape(to.data.shape)
        reader.data.flush()
        return path

    # ---- tables ----

    def level_files(self, level):
        """What each makes of a level. The first is what the others are compared with."""
        yield "GGML, imatrix", self.by_ggml(level, "ggml-imatrix.gguf", True)
        if not self.ggml.needs_importance(level):
            yield "GGML", self.by_ggml(level, "ggml.gguf", False)
        for label, *options in (
                ("moeq",),
                ("moeq, best", "--effort", "best"),
                ("moeq, importance", "--calibration", self.calibration),
                ("moeq, calibrated", *self.by_feedback)):
            yield label, self.export(f"{label.split()[-1]}.gguf", "--level", level, *options)
        if not self.o.no_budgets:
            yield "moeq, budget", self.export("budget.gguf", "--bpw", bits(level), *self.by_feedback)

    def budget_files(self, bpw):
        """A budget's levels, and levels drawn by lot that take as many bytes."""
        yield "budget", self.export("budget.gguf", "--bpw", bpw, *self.by_feedback)
        for seed in range(self.o.lots):
            levels = draw_levels(self.matrices(), bpw, random.Random(seed))
            patterns = [w for m, level in levels.items() for w in ("--tensor", f"{m}={level}")]
            yield f"by lot, seed {seed}", self.export(f"lot{seed}.gguf", "--level", SCRATCH_LEVEL, *patterns,
                                                      *self.by_feedback)

    def matrices(self):
        """Pattern of the names of each layer's gate, up and down -> weights of all experts together."""
        plan = json.loads(self.moeq("convert", self.model, "--dry-run", "--level", SCRATCH_LEVEL, "--json"))
        found = {}
        for t in plan["tensors"]:
            if t["level"] == SCRATCH_LEVEL:
                words = t["name"].split(".")
                if "experts" in words:
                    words[words.index("experts") + 1] = "*"
                name = ".".join(words)
                found[name] = found.get(name, 0) + 8 * t["bytes"] / bits(SCRATCH_LEVEL)
        return found

    def judge(self, title, files):
        """A table of files, which are removed."""
        files = dict(files)
        found = json.loads(self.moeq("verify", *files.values(), "--against", self.reference, "--json", "-q"))
        differences = [None, *(d["figures"]["kld_nats"] for d in found["differences"])]
        measured = [row for row in found["rows"] if not row["is_baseline"]]
        first = measured[0]["kld_nats"]["mean"]["value"]
        rows = []
        for label, path, row, difference in zip(files, files.values(), measured, differences):
            # of experts; where a budget has other levels for the rest, too, as if those were the others' q8_0
            size = int(sum(t.n_bytes for t in GGUFReader(path).tensors)) - self.rest
            kld = row["kld_nats"]["mean"]
            rows.append({"by": label, "bytes": size, "kld": kld["value"],
                         "kld_se": kld["se"], "ratio": kld["value"] / first,
                         "difference": difference and difference["mean"],
                         "difference_se": difference and difference["se"],
                         "ppl_ratio": row["ppl_ratio"]["value"], "ppl_ratio_se": row["ppl_ratio"]["se"],
                         "routes": row.get("routing", {}).get("overall", {}).get("exact_set_rate", {}).get("value")})
            path.unlink()
        self.results["tables"][title] = rows
        self.results["protocol"] = found["protocol"]
        print_rows(title, rows)

    def run(self):
        self.prepare()
        print(f"\n### {self.model}\n\ncalibrated on {' and '.join(t.name for t in self.o.calibration_text)} "
              f"({self.text.stat().st_size} bytes), judged on {self.o.held_out.name}\n")
        print_head()
        for level in self.o.levels:
            self.judge(level, self.level_files(level))
        for bpw in self.o.budgets:
            self.judge(f"{bpw} bits", self.budget_files(bpw))
        p = self.results["protocol"]
        print(f"\n{p['windows']} windows of {p['context_tokens']} tokens, {p['scored_tokens']} scored predictions",
              flush=True)
        (self.work / "quality.json").write_text(json.dumps(self.results, indent=1), encoding="utf-8")


def print_head():
    print("| | by | bytes of experts | KLD, mean | ratio | difference | PPL ratio | same experts |")
    print("|---|---|---|---|---|---|---|---|", flush=True)


def print_rows(title, rows):
    for i, r in enumerate(rows):
        difference = "" if r["difference"] is None else f"{r['difference']:+.6f} ± {r['difference_se']:.6f}"
        routes = "" if r["routes"] is None else f"{r['routes']:.2%}".replace("%", " %")
        print(f"| {'' if i else title} | {r['by']} | {r['bytes']:,} | {r['kld']:.6f} ± {r['kld_se']:.6f} | "
              f"{r['ratio']:.3f} | {difference} | {r['ppl_ratio']:.5f} ± {r['ppl_ratio_se']:.5f} | {routes} |",
              flush=True)


def part_of(path, most):
    """A text's first lines, of at most so many bytes."""
    text = path.read_bytes()
    if not most or len(text) <= most:
        return text
    return text[:text.rindex(b"\n", 0, most) + 1]


def draw_levels(matrices, bpw, lot):
    """Each matrix's level by lot, then up or down in a matrix by lot until the bits are as wanted, or less
    by too little for one step more."""
    steps = sorted({bits(level): level for level in LEVELS}.items())
    levels = {m: lot.randrange(len(steps)) for m in matrices}
    budget = bpw * sum(matrices.values())

    def used():
        return sum(steps[levels[m]][0] * weights for m, weights in matrices.items())

    while used() > budget:
        m = lot.choice([m for m in levels if levels[m] > 0])
        levels[m] -= 1
    while True:
        left = budget - used()
        fit = [m for m, weights in matrices.items() if levels[m] + 1 < len(steps) and
               (steps[levels[m] + 1][0] - steps[levels[m]][0]) * weights <= left]
        if not fit:
            return {m: steps[step][1] for m, step in levels.items()}
        levels[lot.choice(fit)] += 1


class Failed(Exception):
    """A command that did not do its work."""


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("models", type=pathlib.Path, nargs="+")
    p.add_argument("--moeq", type=pathlib.Path, required=True)
    p.add_argument("--ggml", type=pathlib.Path, required=True)
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("--calibration-text", type=pathlib.Path, action="append", required=True)
    p.add_argument("--calibration-bytes", type=int)
    p.add_argument("--held-out", type=pathlib.Path, required=True)
    p.add_argument("--levels")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--no-budgets", action="store_true")
    p.add_argument("--budgets", default="")
    p.add_argument("--lots", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    options = p.parse_args()
    options.levels = options.levels.split(",") if options.levels else QUICK if options.quick else LEVELS
    options.levels = [level for level in options.levels if level != "none"]
    options.budgets = [float(b) for b in options.budgets.split(",") if b]
    for level in options.levels:
        if level not in LEVELS:
            sys.exit(f"--levels: '{level}' is none of {', '.join(LEVELS)}")
    if not shutil.which(str(options.moeq)):
        sys.exit(f"{options.moeq}: no such program")
    try:
        for model in options.models:
            Quality(options, model).run()
    except (Failed, OSError) as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
