"""Reads GGUF and moeq files with numpy and the `gguf` package, and compares them."""
import json
import struct

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

# Keys that moeq writes otherwise than llama.cpp's converter, or one of the two alone, and why.
KEYS_THAT_DIFFER = {
    "general.name": "a title that the converter makes up of the folder's name",
    "general.basename": "the same",
    "general.size_label": "the same",
    "general.finetune": "the same",
    "general.version": "the same",
    "general.type": "'model', also by default",
    "general.sampling.": "from generation_config.json; moeq leaves sampling to the user",
    "general.alignment": "32, also by default",
    "tokenizer.ggml.add_sep_token": "about pairs of texts",
    "tokenizer.ggml.unknown_token_id": "moeq also takes it from tokenizer.json",
    "tokenizer.chat_templates": "moeq writes the default template only",
    "tokenizer.chat_template.": "the same",
}
# Without tokenizer.model the converter has no scores: all pieces get -1000, and <unk> is CONTROL.
KEYS_WITHOUT_SENTENCEPIECE = {
    "tokenizer.ggml.scores": "the converter has none without tokenizer.model",
    "tokenizer.ggml.token_type": "<unk> is CONTROL there",
}


def excuse(key, excuses):
    """Why a key may differ; None if it may not. An excuse that ends with a dot is for a family."""
    for name, why in excuses.items():
        if key == name or (name.endswith(".") and key.startswith(name)):
            return why
    return None


def compare_keys(ours, theirs, excuses):
    """What differs in the metadata: a list of texts for mismatches, one for excused keys."""
    a, b = ({k: f for k, f in r.fields.items() if not k.startswith("GGUF.")} for r in (ours, theirs))
    wrong, excused = [], []
    for key in sorted(a.keys() | b.keys()):
        if key in a and key in b and a[key].types == b[key].types and same(a[key], b[key]):
            continue
        if excuse(key, excuses):
            excused.append(key)
        elif key not in a or key not in b:
            wrong.append(f"{key}: only in {'ours' if key in a else 'theirs'}")
        elif a[key].types != b[key].types:
            wrong.append(f"{key}: types {a[key].types} and {b[key].types}")
        else:
            wrong.append(f"{key}: {str(a[key].contents())[:60]} and {str(b[key].contents())[:60]}")
    return wrong, excused


def same(a, b):
    x, y = a.contents(), b.contents()
    if a.types[-1] == GGUFValueType.FLOAT32:
        return np.array_equal(np.float32(x), np.float32(y))
    return x == y


def compare_tensors(ours, theirs):
    """What differs in names, shapes, types and bytes of the tensors of two files."""
    a, b = ({t.name: t for t in r.tensors} for r in (ours, theirs))
    wrong = [f"{n}: only in {'ours' if n in a else 'theirs'}" for n in sorted(a.keys() ^ b.keys())]
    for name in sorted(a.keys() & b.keys()):
        x, y = a[name], b[name]
        if list(x.shape) != list(y.shape):
            wrong.append(f"{name}: shapes {list(x.shape)} and {list(y.shape)}")
        elif x.tensor_type != y.tensor_type:
            wrong.append(f"{name}: types {x.tensor_type.name} and {y.tensor_type.name}")
        elif x.data.tobytes() != y.data.tobytes():
            wrong.append(f"{name}: other bytes")
    return wrong


class MoeqFile:
    """A moeq file's tensors as f32 (formats/FORMAT.md)."""

    def __init__(self, path):
        self.bytes = np.memmap(path, np.uint8, "r")
        header, = struct.unpack("<Q", self.bytes[:8].tobytes())
        self.header = json.loads(self.bytes[8 : 8 + header].tobytes())
        self.metadata = self.header.pop("__metadata__")
        self.start = 8 + header

    def levels(self):
        """Tensor -> level, of those in the model."""
        return {n: self.metadata.get("moeq.tensor." + n, i["dtype"].lower()).split()[0]
                for n, i in self.header.items() if not n.startswith("moeq.")}

    def weights(self, name):
        """[rows, cols], or [cols] of a vector."""
        info = self.header[name]
        start, end = info["data_offsets"]
        raw = self.bytes[self.start + start : self.start + end]
        quantized = self.metadata.get("moeq.tensor." + name)
        if not quantized:
            kind = GGMLQuantizationType[info["dtype"]]
            return plain(raw, kind).reshape(info["shape"])
        level, rows, cols = quantized.split()
        return decode_rows(raw.reshape(int(rows), -1), level, int(cols))


def plain(raw, kind):
    """f32 of numbers that are stored as they are."""
    if kind == GGMLQuantizationType.BF16:
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return raw.view({"F32": "<f4", "F16": "<f2"}[kind.name]).astype(np.float32)


def decode_rows(raw, level, cols):
    """Rows of whole blocks; what is left of a row is in q8_0, and what is left of that in f16."""
    kind = GGMLQuantizationType[level.upper()]
    if kind.name in ("F32", "F16", "BF16"):
        return plain(np.ascontiguousarray(raw).reshape(-1), kind).reshape(-1, cols)
    parts, at, left = [], 0, cols
    for part in (kind, GGMLQuantizationType.Q8_0):
        weights, size = GGML_QUANT_SIZES[part]
        blocks = left // weights
        if blocks:
            piece = np.ascontiguousarray(raw[:, at : at + blocks * size])
            parts.append(dequantize(piece, part))
            at, left = at + blocks * size, left - blocks * weights
    if left:
        parts.append(plain(np.ascontiguousarray(raw[:, at:]).reshape(-1),
                           GGMLQuantizationType.F16).reshape(-1, left))
    return np.concatenate(parts, axis=1)


def interleave(weights, heads):
    """Row i of a head's first half, then row i of its second."""
    rows, cols = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def hugging_face_names(name, experts):
    """A GGUF tensor's names in a Hugging Face folder: one, or one for each expert."""
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight",
             "output_norm.weight": "model.norm.weight"}
    if name in fixed:
        return [fixed[name]]
    _, layer, part, _ = name.split(".")
    layer = f"model.layers.{layer}."
    simple = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
              "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
              "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
              "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
              "ffn_gate_inp": "block_sparse_moe.gate"}
    if part in simple:
        return [f"{layer}{simple[part]}.weight"]
    matrix = {"ffn_gate_exps": "w1", "ffn_up_exps": "w3", "ffn_down_exps": "w2"}[part]
    return [f"{layer}block_sparse_moe.experts.{e}.{matrix}.weight" for e in range(experts)]


def compare_with_moeq(parts, moeq, config):
    """Every tensor of a GGUF file or of several, decoded, against the moeq file's. Returns how many
    are equal, and texts on the others."""
    equal, wrong = 0, []
    levels, seen = moeq.levels(), set()
    heads = {"attn_q": config["num_attention_heads"],
             "attn_k": config.get("num_key_value_heads") or config["num_attention_heads"]}
    for part in parts:
        for tensor in GGUFReader(part).tensors:
            if tensor.name == "rope_freqs.weight":
                continue
            names = hugging_face_names(tensor.name, config.get("num_local_experts", 0))
            seen.update(names)
            expected = np.stack([moeq.weights(n) for n in names])
            for kind, count in heads.items():
                if f".{kind}." in tensor.name:
                    expected = interleave(expected[0], count)[None]
            found = dequantize(tensor.data, tensor.tensor_type)
            if found.size == expected.size and np.array_equal(found.reshape(expected.shape),
                                                              expected):
                equal += 1
            else:
                wrong.append(f"{tensor.name} ({tensor.tensor_type.name}, there {levels[names[0]]})")
    wrong += [f"{n}: not in the GGUF file" for n in sorted(levels.keys() - seen)]
    return equal, wrong
