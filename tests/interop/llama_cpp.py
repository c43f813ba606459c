#!/usr/bin/env python3
"""The checks of llama_cpp.sh, which see. Prints a line for each check and a table of quality; exit
code 1 if a check fails."""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from gguf import GGUFReader

import gguf_files

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What llama.cpp and moeq may differ by in perplexity: both work with 8-bit activations, but not in
# the same order, and llama.cpp keeps keys and values in f16.
PERPLEXITY_TOLERANCE = 0.003


class Checks:
    """Runs steps, keeps their outputs in a folder, and counts what fails."""

    def __init__(self, options, model):
        self.o = options
        self.model = model.resolve()
        self.config = json.loads((self.model / "config.json").read_text(encoding="utf-8"))
        self.work = options.work / self.model.parent.name / self.model.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.sources = [f for f in self.model.iterdir() if f.is_file()]
        self.failed = 0
        self.plain = "bf16" if "bfloat16" in str(self.config) else "f16"

    def report(self, ok, what, detail):
        self.failed += not ok
        print(f"  {'ok  ' if ok else 'FAIL'}  {what:<34} {detail}", flush=True)

    def report_list(self, what, wrong, detail):
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        self.report(not wrong, what, shown or detail)

    def make(self, name, inputs, command, text=False):
        """The output of a command, which finds its path for "{}". Made anew only if an input is
        newer. text: what it prints is the output."""
        output = self.work / name
        newest = max(os.path.getmtime(p) for p in inputs)
        if output.exists() and output.stat().st_mtime >= newest:
            return output
        for old in output.parent.glob(output.name + ".new*"):
            old.unlink()
        new = output.with_name(output.name + ".new" + output.suffix)
        printed = self.run_command([new if c == "{}" else c for c in command], name + ".log")
        if text:
            new.write_bytes(printed)
        new.replace(output)
        return output

    def run_command(self, command, log_name):
        """What a command prints; its errors go to a file."""
        command, log = [str(c) for c in command], self.work / log_name
        with open(log, "w", encoding="utf-8") as errors:
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=False,
                                 env=self.o.environment)
            if run.returncode:
                errors.write(run.stdout.decode(errors="replace"))
        if run.returncode:
            raise Failed(f"{' '.join(command)}: exit code {run.returncode}, see {log}")
        return run.stdout

    # ---- files ----

    def level_options(self, level):
        """A level for experts, the default for the rest; an unquantized one for all."""
        if level in ("f32", "f16", "bf16"):
            return ["--level", level, "--attention", level, "--embeddings", level]
        return ["--level", level]

    def exported(self, level):
        return self.make(f"{level}.gguf", [self.o.moeq, *self.sources],
                         [self.o.moeq, "export", self.model, "-o", "{}", "-q",
                          *self.level_options(level)])

    def moeq_file(self, level):
        return self.make(f"{level}.moeq", [self.o.moeq, *self.sources],
                         [self.o.moeq, "convert", self.model, "-o", "{}", "-q", "--force",
                          *self.level_options(level)])

    def converted(self, kind):
        """llama.cpp's converter on the folder."""
        return self.make(f"converted-{kind}.gguf", [self.o.converter, *self.sources],
                         [sys.executable, self.o.converter, self.model, "--outtype", kind,
                          "--outfile", "{}"])

    def quantized(self, level):
        """llama-quantize from our unquantized file, with the levels that `convert --level` gives."""
        source = self.exported(self.plain)
        return self.make(f"llama-{level}.gguf", [source, self.tool("quantize")],
                         [self.tool("quantize"), "--pure", "--tensor-type", f"ffn_.*={level}",
                          source, "{}", "q8_0"])

    def tool(self, name):
        return self.o.tools / f"llama-{name}"

    # ---- checks ----

    def check_tensors(self):
        """a: every tensor, as `gguf` decodes it, is what the moeq file of the same levels has."""
        for level in (*self.o.levels, self.plain):
            moeq = gguf_files.MoeqFile(self.moeq_file(level))
            equal, wrong = gguf_files.compare_with_moeq([self.exported(level)], moeq, self.config)
            self.report_list(f"tensors of export --level {level}", wrong, f"{equal} equal")
        self.check_split()

    def check_split(self):
        """The same of several files, which llama.cpp must load as one."""
        level = self.o.levels[-1]
        moeq_file = self.moeq_file(level)
        for old in self.work.glob("split*.gguf"):
            old.unlink()
        size = str(moeq_file.stat().st_size // 4)
        self.run_command([self.o.moeq, "export", self.model, "-o", self.work / "split.gguf", "-q",
                          "--split-max-size", size, *self.level_options(level)], "split.log")
        parts = sorted(self.work.glob("split-*.gguf"))
        equal, wrong = gguf_files.compare_with_moeq(parts, gguf_files.MoeqFile(moeq_file),
                                                    self.config)
        if len(parts) < 2:
            wrong.append(f"{len(parts)} files")
        else:
            self.run_command([self.tool("perplexity"), "-m", parts[0], "-f", self.o.text, "-c",
                              "512", "--chunks", "1"], "split-llama.log")
        self.report_list(f"tensors of {len(parts)} files, {level}", wrong, f"{equal} equal")

    def check_converter(self):
        """b: names, shapes, types, bytes and keys are those of llama.cpp's converter."""
        excuses = dict(gguf_files.KEYS_THAT_DIFFER)
        if not (self.model / "tokenizer.model").exists():
            excuses.update(gguf_files.KEYS_WITHOUT_SENTENCEPIECE)
        for kind in ("f16", "bf16", "f32"):
            ours, theirs = GGUFReader(self.exported(kind)), GGUFReader(self.converted(kind))
            wrong = gguf_files.compare_tensors(ours, theirs)
            self.report_list(f"tensors against converter, {kind}", wrong,
                             f"{len(ours.tensors)} equal to the byte")
            wrong, excused = gguf_files.compare_keys(ours, theirs, excuses)
            self.report_list(f"keys against converter, {kind}", wrong,
                             f"{len(ours.fields) - 3} keys; may differ: {', '.join(excused) or '-'}")

    def check_ids(self):
        """c: llama-tokenize gives the ids that moeq gives."""
        path = self.exported(self.plain)
        theirs = self.make("ids-llama.txt", [path, self.tool("tokenize"), self.o.text],
                           [self.tool("tokenize"), "-m", path, "-f", self.o.text, "--ids",
                            "--no-escape", "--log-disable"], text=True)
        ours = self.make("ids-moeq.json", [self.o.moeq, self.o.text, *self.sources],
                         [self.o.moeq, "tokenize", self.model, "--text", self.o.text, "--json"],
                         text=True)
        a = json.loads(ours.read_text(encoding="utf-8"))
        a = a["ids"] if isinstance(a, dict) else a
        b = json.loads(theirs.read_text(encoding="utf-8").strip().splitlines()[-1])
        same = sum(x == y for x, y in zip(a, b))
        self.report(a == b, "ids of the text", f"{len(a)} and {len(b)} ids, {same} equal in place")

    def llama_perplexity(self, path, name):
        """Perplexity and its error. Now and then llama-perplexity ends before its last lines are
        out; then once more."""
        for _ in range(4):
            out = self.make(f"{name}.llama-ppl.txt", [path, self.tool("perplexity"), self.o.text],
                            [self.tool("perplexity"), "-m", path, "-f", self.o.text, "-c", "512",
                             "-t", str(self.o.threads)], text=True)
            text = out.read_text(encoding="utf-8")
            text += out.with_name(out.name + ".log").read_text(encoding="utf-8")
            found = re.search(r"PPL = ([0-9.]+) \+/- ([0-9.]+)", text)
            if found:
                return float(found[1]), float(found[2])
            out.unlink()
        raise Failed(f"{out}: no perplexity")

    def check_perplexity(self):
        """d: llama-perplexity on our file against `moeq eval` on the moeq file."""
        for level in (*self.o.levels, self.plain):
            compute = "f32" if level == self.plain else "int8"
            result = self.make(f"{level}.eval.json", [self.o.moeq, self.o.text,
                                                      self.moeq_file(level)],
                               [self.o.moeq, "eval", self.moeq_file(level), "--text", self.o.text,
                                "--protocol", "half", "--compute", compute, "--json", "-q"],
                               text=True)
            ours = json.loads(result.read_text(encoding="utf-8"))["perplexity"]["value"]
            theirs, error = self.llama_perplexity(self.exported(level), level)
            ratio = ours / theirs - 1
            self.report(abs(ours - theirs) <= error and abs(ratio) <= PERPLEXITY_TOLERANCE,
                        f"perplexity at {level} ({compute})",
                        f"moeq {ours:.4f}, llama.cpp {theirs:.4f} +/- {error:.4f}, {ratio:+.3%}")

    def quality(self, path):
        """What verify says of a GGUF file."""
        name = f"{path.name}.verify.json"
        out = self.make(name, [self.o.moeq, self.o.text, path],
                        [self.o.moeq, "verify", path, "--against", self.model, "--text",
                         self.o.text, "--json", "-q"], text=True)
        row = json.loads(out.read_text(encoding="utf-8"))["rows"][1]
        routing = (row.get("routing") or {}).get("overall", {})
        return {"bytes": path.stat().st_size, "ratio": row["ppl_ratio"]["value"],
                "kld": row["kld_nats"]["mean"]["value"],
                "kld_se": row["kld_nats"]["mean"]["se"], "top": row["same_top_rate"]["value"],
                "exact": routing.get("exact_set_rate", {}).get("value")}

    def check_quality(self):
        """e: moeq's quantization beside llama-quantize's, at the same levels of every tensor."""
        print(f"\n  {'level':<8} {'quantized by':<15} {'bytes':>12} {'PPL ratio':>10} "
              f"{'KLD, mean':>19} {'same top':>9} {'same experts':>13}")
        worse = []
        for level in self.o.levels:
            rows = [("moeq", self.quality(self.exported(level))),
                    ("llama-quantize", self.quality(self.quantized(level)))]
            for name, q in rows:
                exact = "-" if q["exact"] is None else f"{q['exact']:.2%}"
                print(f"  {level:<8} {name:<15} {q['bytes']:>12} {q['ratio']:>10.5f} "
                      f"{q['kld']:>10.6f} ±{q['kld_se']:.6f} {q['top']:>9.2%} {exact:>13}")
            ours, theirs = rows[0][1], rows[1][1]
            if ours["kld"] > theirs["kld"] + 2 * (ours["kld_se"] + theirs["kld_se"]):
                worse.append(f"{level}: KLD {ours['kld']:.6f} against {theirs['kld']:.6f}")
        print()
        self.report_list("no level worse than llama-quantize", worse, ", ".join(self.o.levels))

    def run(self):
        print(f"{self.model}:", flush=True)
        checks = {"a": self.check_tensors, "b": self.check_converter, "c": self.check_ids,
                  "d": self.check_perplexity, "e": self.check_quality}
        for letter in self.o.checks:
            try:
                checks[letter]()
            except Failed as failure:
                self.report(False, checks[letter].__doc__.split(":")[0] + ":", str(failure))
        return self.failed


class Failed(Exception):
    """A command that did not do its work."""


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("models", type=pathlib.Path, nargs="+")
    p.add_argument("--moeq", type=pathlib.Path, required=True)
    p.add_argument("--tools", type=pathlib.Path, required=True)
    p.add_argument("--source", type=pathlib.Path, required=True)
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("--text", type=pathlib.Path, default=ROOT / "demo" / "text.txt")
    p.add_argument("--levels", default="q8_0,q6_k,q5_k,q4_k,q3_k")
    p.add_argument("--checks", default="abcde")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    options = p.parse_args()
    options.levels = options.levels.split(",")
    options.converter = options.source / "convert_hf_to_gguf.py"
    options.environment = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    if not shutil.which(str(options.moeq)):
        sys.exit(f"{options.moeq}: no such program")
    failed = sum(Checks(options, model).run() for model in options.models)
    print(f"{failed} checks failed" if failed else "all checks passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
