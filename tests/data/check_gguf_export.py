"""Opens GGUF files with the `gguf` package and compares every tensor with the moeq file whose
blocks they should hold.

usage: check_gguf_export.py MOEQ_FILE GGUF_FILE...      several: the splits of one model

Each tensor, dequantized by `gguf`, equals the tensors of the moeq file, dequantized by `gguf` too:
the experts of a matrix stacked, the rows of q and k interleaved within each head.
"""
import json
import sys
import zlib

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, LlamaFileType, dequantize
from safetensors import safe_open

moeq, paths = sys.argv[1], sys.argv[2:]
source = safe_open(moeq, framework="numpy")
levels = {k[12:]: v.split()[0] for k, v in source.metadata().items() if k.startswith("moeq.tensor.")}
config = json.loads(zlib.decompress(source.get_tensor("moeq.config.json").tobytes()))


def stored(name):
    """A tensor as floats; numpy has no bf16, so its bits are read as they lie in the file."""
    if name in levels:
        return dequantize(source.get_tensor(name), GGMLQuantizationType[levels[name].upper()])
    if source.get_slice(name).get_dtype() != "BF16":
        return source.get_tensor(name).astype(np.float32)
    raw = open(moeq, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    info = json.loads(raw[8 : 8 + n])[name]
    begin, end = (8 + n + o for o in info["data_offsets"])
    bits = np.frombuffer(raw[begin:end], "<u2").astype(np.uint32) << 16
    return bits.view(np.float32).reshape(info["shape"])


def interleaved(rows, heads):
    """[heads, 2, half, cols] -> [heads, half, 2, cols]: row i of the first half, then of the second."""
    shape = (heads, 2, rows.shape[0] // heads // 2, rows.shape[1])
    return rows.reshape(shape).swapaxes(1, 2).reshape(rows.shape)


NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate_inp": "block_sparse_moe.gate",
    "ffn_gate_exps": "w1", "ffn_up_exps": "w3", "ffn_down_exps": "w2",
}
HEADS = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}


def expected(name):
    parts = name.split(".")
    if parts[0] != "blk":
        return stored(f"{NAMES[parts[0]]}.weight")
    layer, what = f"model.layers.{parts[1]}", parts[2]
    if what.endswith("_exps"):
        return np.stack([stored(f"{layer}.block_sparse_moe.experts.{e}.{NAMES[what]}.weight")
                         for e in range(config["num_local_experts"])])
    rows = stored(f"{layer}.{NAMES[what]}.weight")
    return interleaved(rows, HEADS[what]) if what in HEADS else rows


readers = [GGUFReader(path) for path in paths]
if len(readers) > 1:
    for number, reader in enumerate(readers):
        assert reader.get_field("split.no").contents() == number
        assert reader.get_field("split.count").contents() == len(readers)
tensors = [t for reader in readers for t in reader.tensors]
seen = set()
for t in tensors:
    want = expected(t.name)
    found = dequantize(t.data, t.tensor_type)
    assert tuple(reversed([int(n) for n in t.shape])) == want.shape, t.name
    assert np.array_equal(found.reshape(want.shape), want), t.name
    assert t.name not in seen
    seen.add(t.name)
assert len(seen) == 3 + 10 * config["num_hidden_layers"], len(seen)
for key in ("general.architecture", "llama.expert_count", "tokenizer.ggml.tokens",
            "tokenizer.ggml.bos_token_id", "general.file_type"):
    assert readers[0].get_field(key) is not None, key
assert len(readers[0].get_field("tokenizer.ggml.tokens").contents()) == config["vocab_size"]

# The file type: llama.cpp's of the same mix, or the experts' level. (S, M, L are sizes of mixes; a
# file of one level is the smallest.)
MIXES = {name: name.upper() for name in "q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m iq3_xs iq3_m".split()}
MIXES |= {name: name[:-4].upper() for name in "q2_k_mix q6_k_mix iq4_nl_mix iq4_xs_mix".split()}
LEVELS = {"q3_k": "Q3_K_S", "q4_k": "Q4_K_S", "q5_k": "Q5_K_S"}
recipe = dict(p.rsplit("=", 1) for p in source.metadata()["moeq.recipe"].split("; "))
level = recipe["experts and MLP"]
what = MIXES.get(recipe.get("recipe"), LEVELS.get(level, level.upper()))
file_type = LlamaFileType["ALL_F32" if what == "F32" else f"MOSTLY_{what}"]
found = readers[0].get_field("general.file_type").contents()
assert found == file_type, (found, file_type)
print(f"{paths[0]}: {len(tensors)} tensors, {file_type.name}")
