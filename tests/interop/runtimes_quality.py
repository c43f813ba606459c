#!/usr/bin/env python3
"""The comparison of runtimes_quality.sh, which see: a table in Markdown."""
import argparse
import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import folder_layouts as layouts
import runtime_folders as makers

# level -> format of export, how its runtime's package makes it: names and functions of a weight and a group
LEVELS = {
    "w4g32": ("compressed-tensors", ("minmax", "mse")),
    "w4g128": ("compressed-tensors", ("minmax", "mse")),
    "mlx4g32": ("mlx", ("mlx",)),
    "mlx4g64": ("mlx", ("mlx",)),
}
TITLES = {"minmax": "llm-compressor, minmax", "mse": "llm-compressor, mse", "mlx": "mlx-lm"}
OTHERS = ("q4_k", "w8g128", "mlx8g64", "fp8b", "w8c", "q8_0") # beside them, of moeq alone


class Failed(Exception):
    """A command that did not do its work."""


class Quality:
    def __init__(self, options, model):
        self.o, self.model = options, model
        self.work = options.work / "-".join(model.resolve().parts[-2:])
        self.work.mkdir(parents=True, exist_ok=True)
        self.plain = layouts.read_folder(model)
        self.results = {}

    def moeq(self, command, *arguments):
        words = [str(w) for w in (self.o.moeq, command, *arguments)]
        run = subprocess.run(words, capture_output=True, check=False)
        if run.returncode:
            raise Failed(f"{' '.join(words)}: exit code {run.returncode}\n{run.stderr.decode()[-600:]}")
        return run.stdout

    def ours(self, level, everything, label, *more):
        """A moeq file: the blocks that export cuts into a folder's tensors."""
        path = self.work / f"{label}.moeq"
        rest = level if everything else "bf16"
        self.moeq("convert", self.model, "-o", path, "--force", "-q", "--level", level, "--attention", rest, "--shared",
                  rest, "--embeddings", "bf16", *more)
        return path

    def theirs(self, level, everything, how):
        """A folder whose matrices are what the package makes of them, written as plain numbers."""
        folder = self.work / f"theirs-{how}"
        shutil.rmtree(folder, ignore_errors=True)
        decoded = {}
        for name, tensor in self.plain.items():
            if makers.is_quantized(name, tensor) and (everything or ".experts." in name):
                with contextlib.redirect_stdout(io.StringIO()):
                    decoded[name.removesuffix(".weight")] = self.package(level, how, makers.plain(tensor))
        return makers.dense(self.model, folder, decoded)

    def package(self, level, how, weight):
        if how != "mlx":
            return makers.Scheme(level, f"memoryless_{how}").make(None, weight)[1]
        import mlx.core as mx
        bits, group = makers.MLX[level]
        codes, scales, biases = mx.quantize(mx.array(weight.numpy()).astype(mx.bfloat16), group, bits)
        return np.array(mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group, bits))

    def prepare(self):
        self.reference = self.work / "held-out.moeqref"
        self.moeq("record", self.model, "--text", self.o.held_out, "-o", self.reference, "--force", "-q")

    def files(self, level, everything):
        form, others = LEVELS.get(level, (None, ()))
        for how in others:
            yield TITLES[how], self.theirs(level, everything, how)
        yield "moeq", self.ours(level, everything, "moeq")
        if form:
            if form != "mlx": # of which both efforts are the same
                yield "moeq, best", self.ours(level, everything, "best", "--effort", "best")
            if self.o.calibration_text:
                yield "moeq, calibrated", self.ours(level, everything, "calibrated", "--effort", "calibrated", "--text",
                                                    self.o.calibration_text)

    def bits(self, level, everything):
        """Of a weight of those that are quantized, as a folder or GGUF file has them."""
        if level == "fp8b":
            return 8 + 32 / 128 / 128
        if level == "w8c":
            taken = [t.array for n, t in self.plain.items() if makers.is_quantized(n, t) and
                     (everything or ".experts." in n)]
            return 8 + 16 * sum(len(t) for t in taken) / sum(t.size for t in taken)
        rest = level if everything else "bf16"
        plan = json.loads(self.moeq("convert", self.model, "--dry-run", "--json", "--level", level, "--attention", rest,
                                    "--shared", rest, "--embeddings", "bf16"))
        weights = {n: t.array.size for n, t in self.plain.items()}
        found = [t for t in plan["tensors"] if t["level"] == level and t["name"] in weights]
        return 8 * sum(t["bytes"] for t in found) / max(1, sum(weights[t["name"]] for t in found))

    def judge(self, level, everything):
        files = dict(self.files(level, everything))
        found = json.loads(self.moeq("verify", *files.values(), "--against", self.reference, "--json", "-q"))
        rows = [row for row in found["rows"] if not row["is_baseline"]]
        differences = [None, *(d["figures"]["kld_nats"] for d in found.get("differences", []))]
        bits = self.bits(level, everything)
        for label, row, difference in zip(files, rows, differences):
            kld = row["kld_nats"]["mean"]
            routes = row.get("routing", {}).get("overall", {}).get("exact_set_rate", {}).get("value")
            gap = f"{difference['mean']:+.6f} ± {difference['se']:.6f}" if difference else ""
            same = "" if routes is None else f"{routes:.2%}".replace("%", " %")
            ratio = row["ppl_ratio"]
            print(f"| {level} | {label} | {bits:.3f} | {kld['value']:.6f} ± {kld['se']:.6f} | {gap} | "
                  f"{ratio['value']:.5f} ± {ratio['se']:.5f} | {same} |", flush=True)
            self.results[f"{level} {label} {'all' if everything else 'experts'}"] = kld["value"]
        self.protocol = found["protocol"]
        for path in files.values():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def run(self):
        self.prepare()
        for everything in (False, True):
            what = "experts and attention" if everything else "experts alone"
            print(f"\n{self.model.name}, {what}:\n\n| level | by | bits | KLD | difference | PPL ratio | same experts |")
            print("|---|---|---|---|---|---|---|", flush=True)
            for level in self.o.levels:
                self.judge(level, everything)
        p = self.protocol
        print(f"\n{p['windows']} windows of {p['context_tokens']} tokens, {p['scored_tokens']} scored predictions",
              flush=True)
        return self.worse()

    def worse(self):
        """Where moeq is not below all others at a level."""
        return [f"{self.model.name} {level} {where}" for level, (_, others) in LEVELS.items() if level in self.o.levels
                for where in ("experts", "all")
                if self.results[f"{level} moeq {where}"] >= min(self.results[f"{level} {TITLES[how]} {where}"]
                                                                for how in others)]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("models", type=pathlib.Path, nargs="+")
    p.add_argument("--moeq", type=pathlib.Path, required=True)
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("--held-out", type=pathlib.Path, required=True)
    p.add_argument("--calibration-text", type=pathlib.Path)
    p.add_argument("--levels", default=",".join((*LEVELS, *OTHERS)))
    options = p.parse_args()
    options.levels = options.levels.split(",")
    try:
        worse = [w for model in options.models for w in Quality(options, model).run()]
    except (Failed, OSError) as failure:
        sys.exit(str(failure))
    if worse:
        sys.exit(f"moeq is not below the others: {'; '.join(worse)}")


if __name__ == "__main__":
    main()
