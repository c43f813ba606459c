#!/usr/bin/env python3
"""Are the GGUF files that moeq writes of every family what llama.cpp's converter writes?

usage: gguf_families.py --moeq FILE --source LLAMA_CPP FOLDER...

FOLDERS are small checkpoints, which need no tokenizer: moeq is given one of some letters, and the
converter's own vocabulary code, which knows published tokenizers alone, is left out. Of each, names,
shapes, types and bytes of all tensors are compared, at f32 and at bf16, and all keys but those of the
tokenizer and a listed few. Then moeq opens the converter's file, and another with gate and up, and q, k and v
joined, and their logits must be those of the folder where nothing was rounded. Of quantized folders the blocks are copied, or decoded to bf16. Exit code 1
if one differs. Needs transformers, numpy, gguf, safetensors; without torch, numpy_torch stands in for it.
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import types

# Keys that one of the two alone writes, or otherwise, and why that is the same.
EXCUSED = {
    "general.": "names and labels",
    "tokenizer.": "not compared here",
    "rope.dimension_count": "the whole head, also by default",
    "vocab_size": "the number of tokens",
    "attention.key_length": "embedding_length / head_count, also by default",
    "attention.value_length": "the same",
    "rope.scaling.type": "none, also by default",
    "expert_group_count": "1: no groups",
    "expert_group_used_count": "the same",
    "expert_gating_func": "also by default",
    "expert_weights_scale": "1, also by default",
    "nextn_predict_layers": "layers that guess tokens, which moeq leaves out",
    "block_count": "the same",
    "feed_forward_length": "of dense layers, which there are none of",
    "expert_weights_norm": "false, also by default",
    "attention.temperature_length": "of Mistral 4, which the converter leaves out",
    "attention.temperature_scale": "the same",
    "context_length": "the converter makes up another of models without positions",
    "rope.scaling.yarn_beta_fast": "32, also by default",
    "rope.scaling.yarn_beta_slow": "1, also by default",
    "rope.scaling.attn_factor": "the converter has a formula, and the model its own number",
    "attention.sliding_window_pattern": "MiMo's of whole numbers in place of truth values",
    "full_attention_interval": "recurrent_layers says it; the converter writes 4 where it is not said",
    "attention.sliding_window": "MiMo's counts the token itself; Phi's is none",
    "expert_shared_feed_forward_length": "the converter guesses",
    "notes": "moeq's own",
    "attention.indexer.types": "the converter writes it where config.json does, and all else is guessed",
}
# Whose norms are stored with 1 added, or whose decays as exponentials: logits are nearly the same.
ROUNDED = {"qwen3_next", "qwen3_5_moe", "granitemoehybrid", "nemotron_h", "phimoe", "mistral4", "mistral_large3", "llama3", "llama3_tied"}
# Whose file by the converter is of another model, as it has no keys for numbers that this folder has and
# no published model.
OTHERS = {
    "afmoe": "every third layer has no window, and the converter takes every fourth for granted",
    "phimoe": "short and long factors of one magnitude, and the file says no longrope",
    "mistral4": "numbers of positions and of YaRN: the converter has DeepSeek's",
    "mistral_large3": "the same: it multiplies scores, whatever apply_scale says",
}
# Keys that one folder's files have otherwise.
OTHER_KEYS = {
    "mistral4": ["rope.scaling.yarn_log_multiplier"],  # as above
    "mistral_large3": ["rope.scaling.yarn_log_multiplier"],
    "mistral_large3_fp8": ["rope.scaling.yarn_log_multiplier"],
    "nemotron_h": ["rope.freq_base", "rope.scaling.finetuned"],  # of a model without positions
}
# Rows of heads in the order that Llama's positions ask for, and these layers have no positions: of q and k
# alike, so that it is the same.
OTHER_TENSORS = {"nemotron_h": ("attn_q.weight: other bytes", "attn_k.weight: other bytes")}
# Folders of which there are no two files.
SKIPPED = {
    "grok1": "the converter does not know the names of this form",
    "mixtral_fused": "the same",
    "qwen3_moe": "layers without experts, which the architecture cannot say: refused",
    "mistral_swa": "the architecture has no window",
}
# What is changed in a config.json because the converter knows published models alone.
EDITS = {
    "dots1": {"scoring_func": "sigmoid"},
    "hunyuan_v1_moe": {"rope_scaling": None, "rope_parameters": None},
    "phimoe": "same_mscale",
    "mistral4": {"architectures": ["Mistral3ForConditionalGeneration"]},
    "mimo_v2_flash": "part_in_rope",
    "nemotron_h": {"time_step_min": 0.001},
    "grok1": {"model_type": "grok1", "architectures": ["GrokForCausalLM"], "num_local_experts": 6},
}
# The same for the converter alone: keys that are no key of the family.
CONVERTER_EDITS = {"nemotron_h": {"d_head": 6}}


LETTERS = pathlib.Path(__file__).resolve().parents[1] / "fixtures/gguf/letters_tokenizer.json"


def letters_tokenizer(folder, vocab):
    """As many tokens as the model has rows: the converter leaves out rows of Gemma without a token."""
    tokenizer = json.loads(LETTERS.read_text())
    tokens = tokenizer["model"]["vocab"]
    tokens.update({f"!{i}": i for i in range(len(tokens), vocab)})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def convert(source, folder, kind, output):
    """llama.cpp's converter without its vocabulary."""
    import transformers  # before torch is found, whose stand-in is not enough for it
    transformers.AutoConfig  # noqa: B018
    sys.path[:0] = [str(source / "gguf-py"), str(source)]
    if not importlib.util.find_spec("torch"):
        sys.path.append(str(pathlib.Path(__file__).parent / "numpy_torch"))
    import torch
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    native = (folder / "params.json").exists()  # Mistral's own form
    load = ModelBase.load_hparams
    ModelBase.load_hparams = staticmethod(
        lambda *args, **more: load(*args, **more) | CONVERTER_EDITS.get(folder.name, {}))
    hparams = ModelBase.load_hparams(folder, native)
    if native:
        import conversion.base
        from conversion.mistral import MistralMoeModel as cls
        conversion.base._mistral_common_installed = True  # which the vocabulary alone asks for
        (folder / "config.json").write_text("{}")  # asked for, and not used
    else:
        cls = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    queue = [ModelBase]
    while queue:
        each = queue.pop()
        queue += each.__subclasses__()
        each.set_vocab = lambda self: self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])
    if getattr(cls, "supports_mtp_export", False):
        cls.no_mtp = True
    with torch.inference_mode():
        joint = gguf.MODEL_TENSORS[cls.model_arch] if kind == "fused" else []
        cls(folder, gguf.LlamaFileType.MOSTLY_BF16 if kind == "bf16" else gguf.LlamaFileType.ALL_F32,
            output, eager=True,
            fuse_gate_up_exps=gguf.MODEL_TENSOR.FFN_GATE_UP_EXP in joint,
            fuse_qkv=gguf.MODEL_TENSOR.ATTN_QKV in joint).write()


def excused(key, folder):
    name = key if key.startswith(("general.", "tokenizer.")) else key.split(".", 1)[1]
    return any(name == e or (e.endswith(".") and name.startswith(e))
               for e in [*EXCUSED, *OTHER_KEYS.get(folder, [])])


def halves(t):
    """Gate and up of experts apart, as moeq writes them; llama.cpp reads both."""
    if not t.name.endswith("ffn_gate_up_exps.weight"):
        return [t]
    cols, rows, experts = (int(n) for n in t.shape)
    data = t.data.reshape(experts, 2, rows // 2, -1)
    return [types.SimpleNamespace(name=t.name.replace("gate_up", part), shape=[cols, rows // 2, experts],
                                  tensor_type=t.tensor_type, data=data[:, i])
            for i, part in enumerate(("gate", "up"))]


def compare(ours, theirs, folder):
    import gguf_files
    from gguf import GGUFReader
    a, b = GGUFReader(ours), GGUFReader(theirs)
    blocks = next(f.contents() for k, f in a.fields.items() if k.endswith(".block_count"))
    b.tensors = [t for t in b.tensors
                 if not (t.name.startswith("blk.") and int(t.name.split(".")[1]) >= blocks)]
    b.tensors = [half for t in b.tensors for half in halves(t)]
    wrong = gguf_files.compare_tensors(a, b)
    # small products, which moeq never stores below the source
    wrong = [w for w in wrong if not ("types F32 and BF16" in w and
                                      any(n in w for n in ("ssm_ba.", "ssm_alpha.", "ssm_beta.")))]
    # an exponential in single precision, and Llama 3's divisors
    wrong = [w for w in wrong if not w.endswith(("ssm_a: other bytes", "rope_freqs.weight: other bytes"))
             and not (":" in w and "exp_probs_b.bias: shapes" in w)]
    wrong = [w for w in wrong if not w.endswith(OTHER_TENSORS.get(folder, ("\0",)))]
    keys, _ = gguf_files.compare_keys(a, b, {})
    wrong += [k for k in keys if not excused(k.split(":")[0], folder)]
    return len(a.tensors), wrong


def logits(moeq, model, ids, output):
    """The bytes of what `moeq eval --dump` writes of logits; a text if it fails."""
    run = subprocess.run([moeq, "eval", model, "--ids", ids, "--dump", output, "-q"],
                         capture_output=True, text=True, check=False)
    if run.returncode:
        return run.stderr.strip().splitlines()[-1]
    from safetensors.numpy import load_file
    dump = load_file(output)
    return dump["logits"] if "logits" in dump else next(iter(dump.values()))


def check(options, folder, kind):
    with tempfile.TemporaryDirectory(prefix="moeq-families-") as work:
        return check_in(pathlib.Path(work), options, folder, kind)


def is_quantized(folder):
    """Whose blocks are copied, or decoded to bf16."""
    return any("\"quantization" in (folder / name).read_text()
               for name in ("config.json", "params.json") if (folder / name).exists())


def prepare(folder, work):
    """A copy of the folder with what both sides need."""
    model = work / folder.name
    model.mkdir()
    for f in folder.iterdir():
        if f.suffix in (".json", ".safetensors") and not f.name.startswith(("golden", "config_tf5")):
            (model / f.name).symlink_to(f.resolve())
    if folder.name in EDITS:
        config = json.loads((folder / "config.json").read_text())
        if EDITS[folder.name] == "same_mscale":
            config["rope_scaling"]["short_mscale"] = config["rope_scaling"]["long_mscale"]
        elif EDITS[folder.name] == "part_in_rope":
            config["rope_parameters"] = {"rope_type": "default", "rope_theta": config["rope_theta"],
                                         "partial_rotary_factor": config["partial_rotary_factor"]}
        else:
            config.update(EDITS[folder.name])
        (model / "config.json").unlink()
        (model / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    if not (model / "tokenizer.json").exists():
        config = json.loads((folder / ("config.json" if (folder / "config.json").exists()
                                       else "params.json")).read_text())
        letters_tokenizer(model, config.get("text_config", config)["vocab_size"])
    return model


def export(moeq, model, output, kind, folder):
    """What goes wrong; empty if nothing does."""
    levels = ["--level", kind, "--attention", kind, "--embeddings", kind, "--shared", kind]
    run = subprocess.run([moeq, "export", model, "-o", output, "-q",
                          *(["--unify", "up"] if is_quantized(folder) else levels)],
                         capture_output=True, text=True, check=False)
    return run.stderr.strip().replace(str(model.parent), "")[:600] if run.returncode else ""


def check_in(work, options, folder, kind):
    model = prepare(folder, work)
    ours, theirs = work / "ours.gguf", work / "theirs.gguf"
    failed = export(options.moeq, model, ours, kind, folder)
    if failed:
        return [failed]
    fused = work / "fused.gguf"
    for form, path in ((kind, theirs), ("fused", fused))[:1 + (kind == "f32")]:
        run = subprocess.run([sys.executable, __file__, "--convert", form, "--source", options.source,
                              "--output", path, model], capture_output=True, text=True, check=False)
        if run.returncode:
            return [f"converter, {form}: " + run.stderr.strip().splitlines()[-1]]
    if (model / "params.json").exists():
        (model / "config.json").unlink()
    count, wrong = compare(ours, theirs, folder.name)
    golden = folder / "golden.safetensors"
    if kind == "f32" and golden.exists():
        import numpy as np
        from safetensors.numpy import load_file, save_file
        tokens = next(v for v in load_file(golden).values() if v.dtype.kind == "i")
        save_file({"input_ids": np.atleast_2d(tokens).astype(np.int64)}, work / "ids.safetensors")
        want = logits(options.moeq, model, work / "ids.safetensors", work / "a")
        for path in (ours,) if folder.name in OTHERS else (ours, theirs, fused):
            found = logits(options.moeq, path, work / "ids.safetensors", work / "b")
            if isinstance(want, str) or isinstance(found, str):
                wrong.append(f"eval of {path.name}: {want if isinstance(want, str) else found}")
            elif not np.allclose(want, found, rtol=0, atol=1e-4 if folder.name in ROUNDED else 0):
                wrong.append(f"logits of {path.name} differ by {np.abs(want - found).max()}")
    if not wrong:
        print(f"  ok    {folder.name} {kind}: {count} tensors", flush=True)
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folders", type=pathlib.Path, nargs="+")
    p.add_argument("--moeq", type=pathlib.Path)
    p.add_argument("--source", type=pathlib.Path, required=True)
    p.add_argument("--convert")
    p.add_argument("--output", type=pathlib.Path)
    p.add_argument("--kinds", default="f32,bf16")
    options = p.parse_args()
    if options.convert:
        convert(options.source, options.folders[0], options.convert, options.output)
        return
    failed = 0
    for folder in options.folders:
        if folder.name in SKIPPED:
            print(f"  skip  {folder.name}: {SKIPPED[folder.name]}", flush=True)
            continue
        for kind in ["bf16"] if is_quantized(folder) else options.kinds.split(","):
            wrong = check(options, folder, kind)
            failed += bool(wrong)
            for text in wrong[:12]:
                print(f"  FAIL  {folder.name} {kind}: {text}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
