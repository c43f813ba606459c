#!/usr/bin/env python3
"""A folder in the form that mlx_lm.convert gives it without quantizing (each model's `sanitize`):

    python3 tests/data/make_mlx_folder.py FOLDER OUT

Experts stacked, of gpt-oss gate and up apart; norms of 1 + w as such, in F32; convolutions [channels, taps, 1];
kv_b of latent attention as embed_q and unembed_out. Without any package: tests run it where there is none.
"""
import array
import json
import pathlib
import re
import struct
import sys

SIZES = {"F32": 4, "BF16": 2, "F16": 2}
NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight", "model.norm.weight", "q_norm.weight", "k_norm.weight")
STACKS = {"dots1": "experts", "afmoe": "experts", "llama4": "experts", "gpt_oss": "experts"}


def load(path):
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return {name: (e["dtype"], e["shape"], data[end + e["data_offsets"][0] : end + e["data_offsets"][1]])
            for name, e in json.loads(data[8:end]).items() if name != "__metadata__"}  # fmt: skip


def save(path, tensors):
    header, data = {"__metadata__": {"format": "mlx"}}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def floats(tensor):
    dtype, _, content = tensor
    if dtype == "F32":
        return array.array("f", content)
    return array.array("f", b"".join(b"\0\0" + content[i : i + 2] for i in range(0, len(content), 2)))  # BF16


def cut(tensor, rows):
    """The rows of these numbers of a tensor whose last dimension is a row."""
    dtype, shape, content = tensor
    size = shape[-1] * SIZES[dtype]
    return dtype, [len(rows), shape[-1]], b"".join(content[r * size : (r + 1) * size] for r in rows)


def turned(tensor):
    """The last two dimensions of one matrix or several, exchanged."""
    dtype, (*more, rows, cols), content = tensor
    size, n = SIZES[dtype], rows * cols
    several = len(content) // (n * size)
    at = [content[i : i + size] for i in range(0, len(content), size)]
    return dtype, [*more, cols, rows], b"".join(
        at[m * n + r * cols + c] for m in range(several) for c in range(cols) for r in range(rows))  # fmt: skip


def stack(tensors, family):
    names = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}
    found = {}
    for name in list(tensors):
        at = re.fullmatch(r"(.*)experts\.(\d+)\.(\w+)\.weight", name)
        if at:
            of = f"{at[1]}{STACKS.get(family, 'switch_mlp')}.{names.get(at[3], at[3])}.weight"
            found.setdefault(of, {})[int(at[2])] = tensors.pop(name)
    for name, experts in found.items():
        dtype, shape, _ = experts[0]
        tensors[name] = dtype, [len(experts), *shape], b"".join(experts[e][2] for e in sorted(experts))


def halves(tensor):
    """Even and odd columns of the last dimension."""
    dtype, shape, content = tensor
    size = SIZES[dtype]
    at = [content[i : i + size] for i in range(0, len(content), size)]
    return [(dtype, shape[:-1] + [shape[-1] // 2], b"".join(at[half::2])) for half in (0, 1)]


def split_gpt_oss(tensors):
    for name in [n for n in tensors if ".mlp.experts." in n]:
        tensor, its = tensors.pop(name), name[: name.index("experts.") + 8]
        bias = name.endswith("_bias")
        end = "bias" if bias else "weight"
        if "gate_up" not in name:
            tensors[f"{its}down_proj.{end}"] = tensor if bias else turned(tensor)
            continue
        for which, half in zip(("gate", "up"), halves(tensor)):
            tensors[f"{its}{which}_proj.{end}"] = half if bias else turned(half)


def split_kv_b(tensors, config):
    heads, plain, value = (config[k] for k in ("num_attention_heads", "qk_nope_head_dim", "v_head_dim"))
    for name in [n for n in tensors if n.endswith(".kv_b_proj.weight")]:
        tensor, module = tensors.pop(name), name[: -len("kv_b_proj.weight")]
        rows = plain + value
        keys = [turned(cut(tensor, range(h * rows, h * rows + plain))) for h in range(heads)]
        values = [cut(tensor, range(h * rows + plain, (h + 1) * rows)) for h in range(heads)]
        for its, parts in (("embed_q", keys), ("unembed_out", values)):
            tensors[f"{module}{its}.weight"] = parts[0][0], [heads, *parts[0][1]], b"".join(p[2] for p in parts)


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    config = json.loads((folder / "config.json").read_text())
    family = config["model_type"]
    tensors = {n: t for n, t in load(folder / "model.safetensors").items() if not n.startswith("mtp.")}
    if family == "gpt_oss":
        split_gpt_oss(tensors)
    stack(tensors, family)
    if "kv_lora_rank" in config:
        split_kv_b(tensors, config)
    for name, tensor in tensors.items():
        if "conv1d.weight" in name:
            tensors[name] = tensor[0], [tensor[1][0], tensor[1][2], 1], tensor[2]
        if family.startswith("qwen3_next") and name.endswith(NORMS):
            tensors[name] = "F32", tensor[1], array.array("f", (1 + w for w in floats(tensor))).tobytes()
    out.mkdir(parents=True)
    save(out / "model.safetensors", tensors)
    (out / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
