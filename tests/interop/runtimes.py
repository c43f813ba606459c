#!/usr/bin/env python3
"""The checks of runtimes.sh, which see. Prints a line for each; exit code 1 if one fails."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

import folder_layouts as layouts
import gguf_files

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("GPTQMODEL_DISABLE_PACK_EXT", "1")

ALL = {"a": "compressed-tensors", "b": "gptq", "c": "awq", "d": "mlx"}  # reading
# Writing: letter -> format, levels
EXPORTS = {
    "e": ("mlx", ("mlx4g64", "mlx4g32", "mlx4g128", "mlx2g32", "mlx3g64", "mlx5g32", "mlx6g64", "mlx8g64")),
    "f": ("compressed-tensors", ("w4g32", "w4g64", "w4g128", "w4c", "w8g32", "w8g128", "w8c")),
    "g": ("fp8-block", ("fp8b",)),
    "h": ("int8", ("w8c",)),
}
PLAIN = ["--level", "f32", "--attention", "f32", "--shared", "f32", "--embeddings", "f32", "--tensor", "*.gate.weight=f32"]
OF_VLLM = ("w4g32", "w8g128", "w4c") # one of each kind: a run takes half a minute
# Differences of logits by what made them: the same weights in f32; states or weights rounded to bf16 on the way.
EXACT, ROUNDED = "exact", "rounded"


class Failed(Exception):
    """A command or a package that did not do its work."""


class Logits:
    """How far two programs are from each other."""

    def __init__(self, ours, theirs):
        a, b = log_softmax(ours), log_softmax(theirs)
        self.most = float(np.abs(ours - theirs).max())
        self.kld = float((np.exp(a) * (a - b)).sum(-1).mean())
        self.top = float((a.argmax(-1) == b.argmax(-1)).mean())

    def is_fine(self, kind):
        return self.kld < 1e-5 if kind == EXACT else self.kld < 0.02 and self.top > 0.9

    def __str__(self):
        return f"logits within {self.most:.2g}, KLD {self.kld:.2g}, top token {self.top:.1%}".replace("%", " %")


def log_softmax(x):
    x = x.astype(np.float64) - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class Checks:
    """Of one model, in a folder of its own."""

    def __init__(self, options, model):
        self.o, self.model, self.failed = options, model.resolve(), 0
        self.work = options.work / (self.model.name if self.model.parent == options.models else
                                    "-".join(self.model.parts[-2:]))
        self.work.mkdir(parents=True, exist_ok=True)
        self.ids = self.read_ids()
        layouts.write_file(self.work / "ids.safetensors", {"input_ids": layouts.Tensor("I64", self.ids)})

    def read_ids(self):
        if (self.model / "ids.npy").exists():
            return np.load(self.model / "ids.npy")
        config = json.loads((self.model / "config.json").read_text(encoding="utf-8"))
        return np.random.default_rng(17).integers(3, config["vocab_size"], (2, 64))

    def report(self, ok, what, detail):
        self.failed += not ok
        print(f"  {'ok  ' if ok else 'FAIL'}  {what:<34} {detail}", flush=True)

    # ---- moeq ----

    def moeq(self, *words):
        words = [str(w) for w in (self.o.moeq, *words)]
        run = subprocess.run(words, capture_output=True, check=False)
        if run.returncode:
            raise Failed(f"{' '.join(words)}: exit code {run.returncode}: {run.stderr.decode()[:500]}")
        return run.stdout

    def logits(self, model):
        out = self.work / "dump.safetensors"
        out.unlink(missing_ok=True)
        self.moeq("eval", model, "--ids", self.work / "ids.safetensors", "--dump", out, "-q")
        return layouts.read_file(out)["logits"].f32()

    def weights(self, model, name="plain.moeq"):
        """What moeq makes of a model's numbers, in f32."""
        out = self.work / name
        self.moeq("convert", model, "-o", out, "-q", "--force", *PLAIN)
        return gguf_files.MoeqFile(out)

    def compare(self, decoded, moeq_file):
        """Bit for bit; the texts of what differs. -0 is 0, which a sum cannot tell."""
        wrong = []
        for module, theirs in decoded.items():
            try:
                ours = moeq_file.weights(module + ".weight")
            except KeyError:
                wrong.append(f"{module}: not there")
                continue
            if ours.shape != theirs.shape:
                wrong.append(f"{module}: {ours.shape}, not {theirs.shape}")
            elif not np.array_equal(ours, theirs):
                far = np.abs(ours - theirs)
                at = np.unravel_index(far.argmax(), far.shape)
                wrong.append(f"{module}: {np.count_nonzero(far)} differ, most at {[int(i) for i in at]}: {ours[at]}, "
                             f"not {theirs[at]}")
        return wrong

    # ---- reading: folders that their packages made ----

    def check_reading(self, kind):
        import runtime_folders as makers
        make, table = makers.MAKERS[kind]
        for how in table:
            what = f"read {how}" if how.startswith(kind) else f"read {kind} {how}"
            folder = fresh(self.work / how.replace(" ", "_"))
            try:
                decoded = make(self.model, folder, how)
            except ValueError as error: # widths that the package itself refuses
                print(f"  none  {what:<34} {str(error).splitlines()[0]}", flush=True)
                continue
            try:
                wrong = self.compare_formula(folder, kind, how, decoded)
                wrong = wrong or self.compare(decoded, self.weights(folder))
                if wrong:
                    self.report(False, what, "; ".join(wrong[:3]) + f"; {len(wrong)} of {len(decoded)} matrices")
                    continue
                dense = makers.dense(self.model, fresh(self.work / "dense"), decoded)
                far = Logits(self.logits(folder), self.logits(dense))
                self.report(far.is_fine(EXACT), what, f"{len(decoded)} matrices equal, {far}")
            except Failed as failure:
                self.report(False, what, str(failure))

    def compare_formula(self, folder, kind, how, decoded):
        """What folder_layouts decodes otherwise than the package."""
        import runtime_folders as makers
        tensors, wrong = layouts.read_folder(folder), []
        for module, theirs in decoded.items():
            found = makers.by_formula(kind, how, lambda end, m=module: tensors.get(f"{m}.{end}"),
                                      theirs.shape[1])
            if found is not None and not np.array_equal(found, theirs):
                wrong.append(f"{module}: folder_layouts.py decodes otherwise")
        return wrong

    # ---- writing ----

    def check_writing(self, form, levels):
        for level in levels:
            what = f"export {form} {level}"
            folder = fresh(self.work / f"{form}-{level}")
            try:
                self.moeq("export", self.model, "-o", folder, "--format", form, "--level", level, "-q")
                decoded = DECODERS[form](folder)
                wrong = self.compare(decoded, self.weights(folder))
                self.report(not wrong, f"{what}: read again", "; ".join(wrong[:3]) or f"{len(decoded)} matrices equal")
                self.moeq("convert", self.model, "-o", self.work / "level.moeq", "--level", level, "-q", "--force")
                wrong = self.compare(decoded, self.weights(self.work / "level.moeq"))
                self.report(not wrong, f"{what}: as convert", "; ".join(wrong[:3]) or f"{len(decoded)} matrices equal")
                self.check_runner(form, what, folder)
                if self.o.vllm and level in OF_VLLM:
                    self.check_vllm(what, folder, decoded)
            except (Failed, RuntimeError, ValueError, KeyError, NotImplementedError) as failure:
                self.report(False, what, f"{type(failure).__name__}: {failure}")

    def check_runner(self, form, what, folder):
        if form == "mlx":
            far = Logits(self.logits(folder), mlx_logits(folder, self.ids))
            self.report(far.is_fine(EXACT), f"{what}: mlx-lm", str(far))
            return
        why = not_in_transformers(form, folder)
        if why:
            print(f"  none  {what + ': Transformers':<34} {why}", flush=True)
            return
        import runtime_models
        far = Logits(self.logits(folder), runtime_models.logits(folder, self.ids))
        self.report(far.is_fine(ROUNDED), f"{what}: Transformers", str(far))

    def check_vllm(self, what, folder, decoded):
        """vLLM of the folder beside vLLM of the same weights in bf16: on the processor its latent attention is another."""
        import runtime_folders as makers
        np.save(self.work / "ids.npy", self.ids)
        dense = makers.dense(self.model, fresh(self.work / "dense"), decoded)
        try:
            far = Logits(self.vllm_logits(folder), self.vllm_logits(dense))
            self.report(far.is_fine(ROUNDED), f"{what}: vLLM", str(far))
        except Failed as failure:
            self.report(False, f"{what}: vLLM", str(failure))

    def vllm_logits(self, folder):
        out, log = self.work / "vllm.npy", self.work / "vllm.log"
        out.unlink(missing_ok=True)
        script = pathlib.Path(__file__).with_name("runtime_vllm.py")
        run = subprocess.run([self.o.vllm, script, folder, self.work / "ids.npy", out], capture_output=True, check=False)
        log.write_bytes(run.stderr)
        if run.returncode:
            last = [line for line in run.stderr.decode(errors="replace").splitlines() if "Error: " in line]
            raise Failed(f"{(last or ['?'])[-1]}; see {log}")
        return np.load(out)


def not_in_transformers(form, folder):
    """What Transformers 5.24 cannot load of folders that its own packages make, too."""
    if form == "int8":
        return "it has no form of experts in int-quantized"
    odd = [n for n, t in layouts.read_folder(folder).items() if t.dtype == "F8_E4M3" and t.array.shape[0] % 128]
    return f"it takes scales for equal parts of the rows: {odd[0]}" if odd else None


def fresh(folder):
    if folder.exists():
        shutil.rmtree(folder)
    return folder


# ---- what the packages make of an exported folder ----


def decode_mlx(folder):
    import runtime_folders
    return runtime_folders.mlx_weights(folder)


def decode_compressed(folder):
    """By the dequantizer of compressed-tensors, with scales in f32, since with bf16 ones it rounds to bf16."""
    from compressed_tensors.entrypoints.convert.converters import CompressedTensorsDequantizer
    # without its model it takes every "weight" for a linear layer's
    return decode_by(CompressedTensorsDequantizer(folder, ["re:.*embed_tokens$"], as_torch("float32")), folder)


def decode_fp8(folder):
    """Of compressed-tensors too: its dequantizer of the FP8 that DeepSeek's models have."""
    from compressed_tensors.entrypoints.convert.converters import FP8BlockDequantizer
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    if config["quant_method"] == "compressed-tensors":
        return decode_compressed(folder)
    return decode_by(FP8BlockDequantizer.from_pretrained(str(folder), dtype=as_torch("float32")), folder)


def as_torch(name):
    import torch
    return getattr(torch, name)


def decode_by(converter, folder):
    import torch
    from safetensors.torch import load_file
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(path))
    plain = {n for n, t in tensors.items() if t.dtype in (torch.float32, torch.float16, torch.bfloat16)}
    scaled = {n: t.float() if n.endswith(("weight_scale", "weight_scale_inv")) else t for n, t in tensors.items()}
    found = converter.process(scaled)
    return {n.removesuffix(".weight"): t.float().numpy() for n, t in found.items()
            if n.endswith(".weight") and n not in plain}


def mlx_logits(folder, ids):
    """What mlx-lm computes with states in f32."""
    import mlx.core as mx
    from mlx_lm.utils import load_model
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array(ids)).astype(mx.float32))


DECODERS = {"mlx": decode_mlx, "compressed-tensors": decode_compressed, "fp8-block": decode_fp8,
            "int8": decode_compressed}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--moeq", type=pathlib.Path, required=True)
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("--checks", default="abcdefgh")
    p.add_argument("--vllm", help="a Python that has vLLM")
    p.add_argument("models", nargs="*", type=pathlib.Path)
    options = p.parse_args()
    options.models_given, options.models = options.models, options.work / "models"
    models = options.models_given
    if not models:
        import runtime_models
        models = [pathlib.Path("demo/model")]
        models += [runtime_models.make(family, options.models / family) for family in runtime_models.FAMILIES]
    failed = 0
    for model in models:
        print(f"{model}:", flush=True)
        checks = Checks(options, model)
        for letter in options.checks:
            if letter in ALL:
                checks.check_reading(ALL[letter])
            elif letter in EXPORTS:
                checks.check_writing(*EXPORTS[letter])
            else:
                sys.exit(f"--checks: '{letter}' is none of {''.join(ALL)}{''.join(EXPORTS)}")
        failed += checks.failed
    print(f"{failed} failed" if failed else "all as it should be")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
