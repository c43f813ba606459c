#!/usr/bin/env python3
"""Writes a checkpoint with the widths of a published model and few layers (of Mixtral 8x7B, one, by
default), for benchmarks and memory tests: random bf16 weights, three shards, an index and config.json, as a
Hugging Face folder has them. Needs nothing but Python, and a few MiB of memory.

    make_full_width.py OUT [--layers N] [--seed S] [--tokenizer FOLDER]
    make_full_width.py OUT --config config.json --moeq PROGRAM [--layers N] [--experts E] [--vocab V]
                       [--set KEY=JSON]... [--transposed]

With --config the model is of that config.json, cut to N layers, E experts and V tokens; which tensors it has
is what `moeq inspect config.json --tensors --json` says. With --transposed the experts of a layer stand in two tensors
of [expert, in, out], as Llama 4, Qwen3-VL and gpt-oss are published.
"""
import argparse
import array
import json
import os
import random
import re
import shutil
import struct
import subprocess

HIDDEN, FFN, EXPERTS, HEADS, KV_HEADS, VOCAB = 4096, 14336, 8, 32, 8, 32000
HEAD_DIM = HIDDEN // HEADS
SHARDS = 3
POOL = 1 << 22  # normal deviates; every row is a slice of them that starts at a random place


def bf16(values):
    """Rounds floats to the nearest bf16 (ties to even); returns their bytes."""
    bits = array.array("I", array.array("f", values).tobytes())
    return array.array("H", [(u + 0x7FFF + (u >> 16 & 1)) >> 16 for u in bits]).tobytes()


def tensors(layers):
    """(name, shape, is a norm) in the order of the official files."""
    yield "model.embed_tokens.weight", [VOCAB, HIDDEN], False
    for n in range(layers):
        layer = f"model.layers.{n}."
        for e in range(EXPERTS):
            expert = f"{layer}block_sparse_moe.experts.{e}."
            yield expert + "w1.weight", [FFN, HIDDEN], False
            yield expert + "w2.weight", [HIDDEN, FFN], False
            yield expert + "w3.weight", [FFN, HIDDEN], False
        yield layer + "block_sparse_moe.gate.weight", [EXPERTS, HIDDEN], False
        yield layer + "input_layernorm.weight", [HIDDEN], True
        yield layer + "post_attention_layernorm.weight", [HIDDEN], True
        for which, rows in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield f"{layer}self_attn.{which}_proj.weight", [rows * HEAD_DIM, HIDDEN], False
        yield layer + "self_attn.o_proj.weight", [HIDDEN, HEADS * HEAD_DIM], False
    yield "model.norm.weight", [HIDDEN], True
    yield "lm_head.weight", [VOCAB, HIDDEN], False


def transposed(members):
    """The same with the experts of each layer in two tensors (and two of biases), [expert, in, out]."""
    fused = {}
    for name, shape, vector in members:
        found = re.fullmatch(r"(.*\.experts\.)\d+\.(gate|up|down)_proj\.(weight|bias)", name)
        if not found:
            yield name, shape, vector
            continue
        where, which, what = found.groups()
        both = 1 if which == "down" else 2
        to = where + ("down_proj" if both == 1 else "gate_up_proj") + ("_bias" if what == "bias" else "")
        fused.setdefault(to, []).append([*reversed(shape[1:]), both * shape[0]])
    for name, shapes in fused.items():
        both = 2 if "gate_up" in name else 1
        yield name, [len(shapes) // both, *shapes[0]], False


def size_bytes(shape):
    n = 2
    for d in shape:
        n *= d
    return n


def write_shard(path, members, pool, rng):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in members:
        header[name] = {"dtype": "BF16", "shape": shape,
                        "data_offsets": [at, at + size_bytes(shape)]}
        at += size_bytes(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=1 << 22) as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape, norm in members:
            if norm:
                near = 0 if name.endswith(("bias", "A_log")) else 1
                f.write(bf16([near + rng.gauss(0, 0.05) for _ in range(shape[0])]))
                continue
            row = 2 * shape[-1]
            for _ in range(size_bytes(shape) // row):
                start = 2 * rng.randrange(POOL - shape[-1])
                f.write(pool[start:start + row])


EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def cut(config, args):
    """A published config.json with fewer layers, experts and tokens."""
    inner = config.get("text_config", config)
    layers = inner.get("num_hidden_layers") or inner.get("n_layers")
    for key, value in list(inner.items()):
        if isinstance(value, list) and len(value) == layers:
            inner[key] = value[:args.layers]
    inner["num_hidden_layers" if "num_hidden_layers" in inner else "n_layers"] = args.layers
    for key in EXPERT_KEYS:
        if args.experts and key in inner:
            inner[key] = args.experts
    for key in ("n_group", "topk_group"):
        if args.experts and inner.get(key):
            inner[key] = 1
    if args.vocab:
        inner["vocab_size"] = args.vocab
    for assignment in args.set:
        key, value = assignment.split("=", 1)
        inner[key] = json.loads(value)
    inner["torch_dtype"] = config["torch_dtype"] = "bfloat16"
    config.pop("quantization_config", None)
    return config


def tensors_of(config_path, moeq):
    """The same triples as tensors(), of any family."""
    text = subprocess.run([moeq, "inspect", config_path, "--tensors", "--json"], check=True,
                          capture_output=True, text=True).stdout
    for t in json.loads(text)["tensors"]:
        vector = t["rows"] == 1 and t["role"] not in ("shared_scale",)
        yield t["name"], [t["cols"]] if vector else [t["rows"], t["cols"]], vector


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", help="folder whose tokenizer files are copied")
    parser.add_argument("--config", help="config.json of the model, with --moeq")
    parser.add_argument("--moeq", help="the program that says which tensors it has")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON",
                        help="another value of the config's (first_k_dense_replace=0)")
    parser.add_argument("--experts", type=int)
    parser.add_argument("--vocab", type=int)
    parser.add_argument("--transposed", action="store_true", help="experts of [expert, in, out]")
    args = parser.parse_args()

    os.makedirs(args.out, exist_ok=True)
    rng = random.Random(args.seed)
    pool = memoryview(bf16([rng.gauss(0, 0.02) for _ in range(POOL)]))
    config_path = os.path.join(args.out, "config.json")
    if args.config:
        with open(args.config) as f:
            config = cut(json.load(f), args)
        with open(config_path, "w") as f:
            json.dump(config, f, indent=2)
    everything = list(tensors_of(config_path, args.moeq) if args.config else tensors(args.layers))
    if args.transposed:
        everything = list(transposed(everything))
    total = sum(size_bytes(shape) for _, shape, _ in everything)

    shards, filled = [[] for _ in range(SHARDS)], 0
    for member in everything:
        shards[min(SHARDS - 1, filled * SHARDS // total)].append(member)
        filled += size_bytes(member[1])
    weight_map = {}
    for i, members in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{SHARDS:05d}.safetensors"
        write_shard(os.path.join(args.out, name), members, pool, rng)
        weight_map.update({member[0]: name for member in members})
    with open(os.path.join(args.out, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, f, indent=2)
    config = config if args.config else {
        "architectures": ["MixtralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": HEADS,
        "num_experts_per_tok": 2, "num_hidden_layers": args.layers,
        "num_key_value_heads": KV_HEADS, "num_local_experts": EXPERTS, "rms_norm_eps": 1e-5,
        "rope_theta": 1e6, "sliding_window": None, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16", "vocab_size": VOCAB,
    }
    if not args.config:
        with open(config_path, "w") as f:
            json.dump(config, f, indent=2)
    if args.tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
            if os.path.exists(os.path.join(args.tokenizer, name)):
                shutil.copy(os.path.join(args.tokenizer, name), args.out)


if __name__ == "__main__":
    main()
