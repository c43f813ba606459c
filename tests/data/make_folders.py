#!/usr/bin/env python3
"""Writes tests/fixtures/folders/: one small Mixtral as the tools of the field leave it on disk.

    python3 -m venv old && old/bin/pip install transformers==4.36.2 numpy
    pip install "transformers>=5.24" tokenizers numpy
    python3 tests/data/make_folders.py --transformers4 old/bin/python

Configurations and tokenizer files are written by Transformers itself, of two ages; the other files
have the names and keys that each tool's own source gives them (FOLDERS, below, names the place). All
folders hold the same weights, so everything that moeq computes of them must be equal: tests/cli/folders.sh.
Where a file would be the same bytes, it is a symbolic link to weights/.
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "fixtures" / "folders"
HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, EXPERTS = 32, 32, 2, 4, 2, 4
HEAD_DIM = HIDDEN // HEADS
PIECES = 320  # of the tokenizer's model; two added tokens follow
VOCAB = PIECES + 2
CHAT = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']"
        " + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
        "{% endif %}")

# What both MixtralConfig and LlamaConfig are given.
SHAPE = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=LAYERS,
             num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, rms_norm_eps=1e-5,
             max_position_embeddings=4096, bos_token_id=1, eos_token_id=2)
MIXTRAL = dict(SHAPE, num_local_experts=EXPERTS, num_experts_per_tok=2, sliding_window=None,
               architectures=["MixtralForCausalLM"])


# ---- inside either Transformers: make_folders.py --save FOLDER, a JSON object on stdin ----


def make_config(spec):
    import transformers
    major = int(transformers.__version__.split(".")[0])
    fields = dict(spec["config"])
    fields["torch_dtype" if major < 5 else "dtype"] = "bfloat16"
    theta = {"rope_theta": 1e6} if major < 5 else {"rope_parameters": {"rope_theta": 1e6,
                                                                       "rope_type": "default"}}
    if not spec.get("mergekit"):
        return transformers.MixtralConfig(**fields, **theta)
    # mergekit/moe/mixtral.py, _generate_config: a Llama goes through MistralConfig to MixtralConfig.
    llama = transformers.LlamaConfig(**fields, **theta)
    mistral = transformers.MistralConfig(**llama.to_dict())
    mistral.sliding_window = None
    mistral.max_position_embeddings = llama.max_position_embeddings
    config = transformers.MixtralConfig(**mistral.to_dict())
    config.architectures = ["MixtralForCausalLM"]
    config.num_local_experts = EXPERTS
    config.num_experts_per_tok = 2
    config.sliding_window = None
    return config


def save(folder, spec):
    import transformers
    config = make_config(spec)
    config._name_or_path = spec.get("name", "")
    for key, value in spec.get("update", {}).items():
        setattr(config, key, value)
    if spec.get("full"):
        (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    else:
        config.save_pretrained(folder)
    generation = transformers.GenerationConfig(bos_token_id=1, eos_token_id=2,
                                               **spec.get("generation", {}))
    generation.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["tokenizer"],
                                                           **spec.get("tokens", {}))
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)


# ---- the model ----


def cut_tokenizer():
    """The demo's tokenizer with its first merges only, and two added tokens behind."""
    tokenizer = json.loads((ROOT / "demo/model/tokenizer.json").read_text())
    model = tokenizer["model"]
    old = model["vocab"]
    kept = {piece: i for piece, i in old.items() if i < 259}  # <unk>, <s>, </s> and the bytes
    merges = []
    for left, right in model["merges"]:
        missing = [p for p in dict.fromkeys((left, right, left + right)) if p not in kept]
        if any(len(p) > 1 for p in missing[:-1]) or len(kept) + len(missing) > PIECES:
            continue
        for piece in missing:
            kept[piece] = len(kept)
        merges.append([left, right])
    assert len(kept) == PIECES, len(kept)
    model["vocab"], model["merges"] = kept, merges
    for i, content in enumerate(("<|im_start|>", "<|im_end|>")):
        tokenizer["added_tokens"].append({"id": PIECES + i, "content": content, "single_word": False,
                                          "lstrip": False, "rstrip": False, "normalized": False,
                                          "special": True})
    return tokenizer


def make_weights():
    """Hugging Face's names -> bf16 as uint16."""
    import numpy as np
    random = np.random.default_rng(7)

    def matrix(rows, cols, scale):
        bits = (random.standard_normal((rows, cols)) * scale).astype(np.float32).view(np.uint32)
        return ((bits + 0x8000) >> 16).astype(np.uint16)

    def norm():
        bits = (1 + 0.1 * random.standard_normal(HIDDEN)).astype(np.float32).view(np.uint32)
        return (bits >> 16).astype(np.uint16)

    tensors = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN, 1.0)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        tensors[layer + "input_layernorm.weight"] = norm()
        for name, rows in (("q", HIDDEN), ("k", KV_HEADS * HEAD_DIM), ("v", KV_HEADS * HEAD_DIM),
                           ("o", HIDDEN)):
            tensors[layer + f"self_attn.{name}_proj.weight"] = matrix(rows, HIDDEN, 0.2)
        tensors[layer + "post_attention_layernorm.weight"] = norm()
        tensors[layer + "block_sparse_moe.gate.weight"] = matrix(EXPERTS, HIDDEN, 0.3)
        for e in range(EXPERTS):
            for w in ("w1", "w2", "w3"):
                tensors[layer + f"block_sparse_moe.experts.{e}.{w}.weight"] = matrix(FFN, HIDDEN, 0.2)
    tensors["model.norm.weight"] = norm()
    tensors["lm_head.weight"] = matrix(VOCAB, HIDDEN, 0.3)
    return tensors


def write_safetensors(path, tensors, metadata):
    """By hand, since every tool has its own order and metadata; names sorted, as safetensors' writers do."""
    kinds = {"uint16": "BF16", "float32": "F32", "int64": "I64"}
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        t = tensors[name]
        header[name] = {"dtype": kinds[t.dtype.name], "shape": list(t.shape),
                        "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
        blobs.append(t.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def widen(bf16):
    import numpy as np
    return (bf16.astype(np.uint32) << 16).view(np.float32)


def write_shards(folder, groups, metadata):
    """model-0000N-of-0000M.safetensors and their index, as Transformers and huggingface_hub name them."""
    weight_map, total = {}, 0
    for i, group in enumerate(groups, 1):
        name = f"model-{i:05d}-of-{len(groups):05d}.safetensors"
        write_safetensors(folder / name, group, {"format": "pt"})
        weight_map.update(dict.fromkeys(group, name))
        total += sum(t.nbytes for t in group.values())
    index = {"metadata": dict(metadata, total_size=total), "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def halves(tensors):
    names = list(tensors)
    middle = next(i for i, n in enumerate(names) if ".layers.1." in n)
    return [{n: tensors[n] for n in names[:middle]}, {n: tensors[n] for n in names[middle:]}]


def link(path, target):
    """A relative symbolic link to `target`."""
    path.symlink_to(os.path.relpath(target, path.parent))


def one_file(folder):
    link(folder / "model.safetensors", OUT / "weights" / "model.safetensors")


def pickled(path, name):
    """What torch.save leaves: a zip archive with a pickle inside. moeq must not look into it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}/data.pkl"), pickle.dumps({}))


# ---- the tools ----


class Tools:
    """The two Transformers, and the model that every folder holds."""

    def __init__(self, old_python):
        self.old = old_python
        self.tensors = make_weights()
        self.tokenizers = OUT / "tokenizers"  # taken away at the end
        for name in ("new", "old"):
            folder = self.tokenizers / name
            folder.mkdir(parents=True)
            tokenizer = cut_tokenizer()
            if name == "old":  # tokenizers before 0.20 join the two sides of a merge
                tokenizer["model"]["merges"] = [" ".join(m) for m in tokenizer["model"]["merges"]]
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
            (folder / "tokenizer_config.json").write_text(json.dumps(
                {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
                 "unk_token": "<unk>", "clean_up_tokenization_spaces": False}))

    def save(self, python, folder, **spec):
        spec.setdefault("config", MIXTRAL)
        spec["tokenizer"] = str(self.tokenizers / ("old" if python == self.old else "new"))
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, __file__, "--save", folder], input=json.dumps(spec), text=True, check=True,
                       env=dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error"))

    def save4(self, folder, **spec):
        self.save(self.old, folder, **spec)

    def save5(self, folder, **spec):
        self.save(sys.executable, folder, **spec)


def card(folder, front, text):
    lines = "\n".join(f"{k}: {v}" if isinstance(v, str) else f"{k}:\n" + "\n".join(f"- {x}" for x in v)
                      for k, v in front.items())
    (folder / "README.md").write_text(f"---\n{lines}\n---\n\n{text}\n")


def transformers4_full(tools, folder):
    """PretrainedConfig.to_json_string(use_diff=False): every attribute, generation's defaults too."""
    tools.save4(folder, full=True)
    one_file(folder)


def transformers5_full(tools, folder):
    tools.save5(folder, full=True)
    one_file(folder)


def transformers5(tools, folder):
    """save_pretrained of a model and its tokenizer: the experts under the published names again
    (conversion_mapping.py), the chat template in a file of its own."""
    tools.save5(folder)
    one_file(folder)


def mergekit(tools, folder):
    """mergekit/moe/mixtral.py and scripts/moe.py, of Llama models."""
    tools.save4(folder, config=dict(SHAPE, architectures=["LlamaForCausalLM"]), mergekit=True)
    one_file(folder)
    recipe = ("base_model: example/tiny-llama\ngate_mode: hidden\ndtype: bfloat16\nexperts:\n" +
              "".join(f"  - source_model: example/tiny-llama-{i}\n    positive_prompts: [\"{p}\"]\n"
                      for i, p in enumerate(("code", "chat", "maths", "poems"))))
    (folder / "mergekit_moe_config.yml").write_text(recipe)
    card(folder, {"base_model": ["example/tiny-llama"], "tags": ["mergekit", "merge"],
                  "library_name": "transformers"}, "# Untitled Model (1)")


def axolotl(tools, folder):
    """Axolotl over the Trainer of Transformers 4: the last checkpoint beside the result, and what the
    Trainer's save_model and save_state write (trainer.py: training_args.bin, trainer_state.json)."""
    update = {"use_cache": False}
    tools.save4(folder, update=update, name="example/tiny-mixtral", generation={"do_sample": True})
    one_file(folder)
    (folder / "added_tokens.json").write_text(json.dumps(
        {"<|im_end|>": PIECES + 1, "<|im_start|>": PIECES}, indent=2) + "\n")
    pickled(folder / "training_args.bin", "training_args")
    checkpoint = folder / "checkpoint-100"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        link(checkpoint / name, folder / name)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        pickled(checkpoint / name, pathlib.PurePath(name).stem)
    (checkpoint / "trainer_state.json").write_text(json.dumps(
        {"best_metric": None, "best_model_checkpoint": None, "epoch": 1.0, "global_step": 100,
         "log_history": [{"epoch": 1.0, "loss": 2.5, "step": 100}], "max_steps": 100}, indent=2))
    card(folder, {"license": "apache-2.0", "base_model": "example/tiny-mixtral",
                  "tags": ["axolotl", "generated_from_trainer"], "library_name": "transformers"},
         "[<img src=\"https://raw.githubusercontent.com/axolotl-ai-cloud/axolotl/main/image/"
         "axolotl-badge-web.png\" alt=\"Built with Axolotl\"/>](https://github.com/axolotl-ai-cloud/axolotl)")


def unsloth(tools, folder):
    """unsloth/models/llama.py puts unsloth_version into the config, their uploads unsloth_fixed; a
    tokenizer without a padding token gets one that is not the end's (unsloth_zoo/pad_token.py)."""
    tools.save5(folder, update={"unsloth_fixed": True, "unsloth_version": "2026.10.9", "pad_token_id": 0,
                                "use_cache": False},
                tokens={"pad_token": "<unk>", "padding_side": "left", "model_max_length": 4096})
    one_file(folder)
    card(folder, {"base_model": "example/tiny-mixtral",
                  "tags": ["text-generation-inference", "transformers", "unsloth", "mixtral", "trl"],
                  "license": "apache-2.0", "language": ["en"]}, "# Uploaded finetuned model")


def mlx(tools, folder):
    """mlx_lm.convert without -q: models/mixtral.py stacks the experts, utils.py (save_model, save_config)
    sorts the keys, writes an index beside the one file and says "mlx" in its metadata; nothing is said
    of quantization."""
    import numpy as np
    tools.save4(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(dict(sorted(config.items())), indent=4))
    tensors = dict(tools.tensors)
    for i in range(LAYERS):
        moe = f"model.layers.{i}.block_sparse_moe."
        for w, name in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")):
            tensors[moe + f"switch_mlp.{name}.weight"] = np.stack(
                [tensors.pop(moe + f"experts.{e}.{w}.weight") for e in range(EXPERTS)])
    write_safetensors(folder / "model.safetensors", tensors, {"format": "mlx"})
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values()),
                          "total_parameters": sum(t.size for t in tensors.values())},
             "weight_map": {name: "model.safetensors" for name in sorted(tensors)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=4))
    card(folder, {"library_name": "mlx", "pipeline_tag": "text-generation", "tags": ["mlx"],
                  "base_model": "example/tiny-mixtral"}, "")


def mistral(tools, folder):
    """Mistral AI's repositories hold the model twice: for Transformers, and in their own layout
    (mistral_inference/args.py, transformer.py; llama.cpp's converter reads the same params.json)."""
    tools.save4(folder)
    write_shards(folder, halves(tools.tensors), {})
    own = {}
    for name, t in tools.tensors.items():
        name = name.removeprefix("model.").replace("self_attn.", "attention.").replace(
            "block_sparse_moe.", "feed_forward.").replace("_proj.", ".")
        for theirs, ours in (("attention_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"),
                             ("tok_embeddings", "embed_tokens"), ("output", "lm_head")):
            name = name.replace(ours, theirs)
        for letter in "qkvo":
            name = name.replace(f"attention.{letter}.", f"attention.w{letter}.")
        own[name] = t  # (their rows of q and k are in the other order of RoPE; no reader here looks)
    write_safetensors(folder / "consolidated.safetensors", own, {})
    (folder / "params.json").write_text(json.dumps(
        {"dim": HIDDEN, "n_layers": LAYERS, "head_dim": HEAD_DIM, "hidden_dim": FFN, "n_heads": HEADS,
         "n_kv_heads": KV_HEADS, "norm_eps": 1e-5, "rope_theta": 1e6, "vocab_size": VOCAB,
         "moe": {"num_experts_per_tok": 2, "num_experts": EXPERTS}}, indent=4) + "\n")
    (folder / "tekken.json").write_text(json.dumps(
        {"config": {"pattern": "[^\\r\\n]+", "num_vocab_tokens": 256, "default_vocab_size": 256,
                    "default_num_special_tokens": 3, "version": "v3"},
         "vocab": [{"rank": 0, "token_bytes": "AA==", "token_str": None}]}))
    card(folder, {"library_name": "vllm", "license": "apache-2.0", "extra_gated_description": ">-\n  None."},
         "# Model Card")


def hub_cache(tools, folder):
    """huggingface_hub: refs, blobs named by hash, snapshots of links. Named here as in HF_HOME."""
    repo = folder / "hub" / "models--example--tiny-mixtral"
    commit = hashlib.sha1(b"tiny-mixtral").hexdigest()
    for name in ("refs", "blobs", f"snapshots/{commit}", ".no_exist/" + commit):
        (repo / name).mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / ".no_exist" / commit / "adapter_config.json").write_text("")
    staging = folder / "staging"
    tools.save4(staging)
    (staging / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    one_file(staging)
    for path in sorted(staging.iterdir()):
        data = path.read_bytes()
        large = path.suffix == ".safetensors"  # large files by SHA-256, others by git's hash
        digest = hashlib.sha256(data) if large else hashlib.sha1(b"blob %d\0" % len(data) + data)
        blob = repo / "blobs" / digest.hexdigest()
        if large:
            link(blob, path.resolve())
        else:
            blob.write_bytes(data)
        link(repo / "snapshots" / commit / path.name, blob)
    shutil.rmtree(staging)
    (folder / "hub" / "version.txt").write_text("1")


def deepspeed(tools, folder):
    """zero_to_fp32.py --safe_serialization (deepspeed/utils/zero_to_fp32.py): f32 whatever the config
    says, persistent buffers with the parameters (rotary_emb.inv_freq, of a model of that age)."""
    import numpy as np
    tools.save4(folder)
    tensors = {name: widen(t) for name, t in tools.tensors.items()}
    for i in range(LAYERS):
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = (
            1e6 ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)).astype(np.float32)
    write_shards(folder, halves(tensors), {})
    (folder / "latest").write_text("global_step100")
    (folder / "zero_to_fp32.py").write_text("#!/usr/bin/env python\n# copied here by DeepSpeed\n")
    (folder / "global_step100").mkdir()
    pickled(folder / "global_step100" / "mp_rank_00_model_states.pt", "mp_rank_00_model_states")


def modelscope(tools, folder):
    """modelscope/hub: configuration.json, and what its cache keeps in the folder (utils/caching.py)."""
    tools.save4(folder)
    one_file(folder)
    (folder / "configuration.json").write_text(
        '{"framework":"pytorch","task":"text-generation","allow_remote":true}\n')
    files = [{"Path": p.name, "Revision": hashlib.sha1(p.name.encode()).hexdigest()}
             for p in sorted(folder.iterdir())]
    for name, data in ((".msc", files), (".mdl", {"id": "example/tiny-mixtral"})):
        (folder / name).write_bytes(pickle.dumps(data, protocol=4))
    (folder / ".mv").write_text("Revision:master,CreatedAt:1706745600")
    card(folder, {"license": "Apache License 2.0", "frameworks": ["Pytorch"], "tasks": ["text-generation"]},
         "#### Clone with HTTP")


FOLDERS = {
    "transformers-4.36-full": transformers4_full,
    "transformers-5-full": transformers5_full,
    "transformers-5": transformers5,
    "mergekit": mergekit,
    "axolotl": axolotl,
    "unsloth": unsloth,
    "mlx": mlx,
    "mistral": mistral,
    "hub-cache": hub_cache,
    "deepspeed": deepspeed,
    "modelscope": modelscope,
}


def write_ids(path):
    """The ids of text.txt by the `tokenizers` package, in rows: the input of `moeq eval --ids`."""
    import numpy as np
    from tokenizers import Tokenizer
    text = (OUT / "text.txt").read_text()
    ids = Tokenizer.from_str(json.dumps(cut_tokenizer())).encode(text).ids
    (OUT / "ids.txt").write_text(", ".join(map(str, ids)) + "\n")
    write_safetensors(path, {"input_ids": np.array(ids[:192], np.int64).reshape(4, 48)}, {})


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--transformers4", metavar="PYTHON", help="one that has Transformers 4.36")
    p.add_argument("--save", metavar="FOLDER", type=pathlib.Path, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.save:
        return save(args.save, json.load(sys.stdin))
    if not args.transformers4:
        p.error("--transformers4 is needed")
    for path in OUT.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
    tools = Tools(args.transformers4)
    (OUT / "weights").mkdir()
    write_safetensors(OUT / "weights" / "model.safetensors", tools.tensors, {"format": "pt"})
    text = (ROOT / "demo/text.txt").read_text()
    (OUT / "text.txt").write_text(text[:1500].rsplit("\n", 1)[0] + "\n")
    write_ids(OUT / "ids.safetensors")
    for name, make in FOLDERS.items():
        folder = OUT / name
        folder.mkdir()
        make(tools, folder)
    shutil.rmtree(tools.tokenizers)


if __name__ == "__main__":
    main()
