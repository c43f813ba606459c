#!/usr/bin/env python3
"""Writes tests/fixtures/gguf/: GGUF files by the PyPI package `gguf`, a writer and quantizer that
shares nothing with moeq.

    pip install numpy gguf safetensors && python3 tests/data/make_gguf_models.py

llama3_tied.gguf          tests/fixtures/oracles/llama3_tied in F16: no head, rope_freqs.weight, heads
                          set by key_length
mixtral-0000N-of-00002    .../mixtral in Q8_0, experts joined, in two files
types.gguf                random blocks of each type, as matrices of a model of two layers;
types.safetensors         what `gguf` decodes some of them to, in Hugging Face's order of rows
spm.gguf                  demo/model/tokenizer.json as a sentencepiece vocabulary, no tensors
byte_level.gguf           tests/tokenizer/data/byte_level.json, no tensors
"""
import json
import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLES = ROOT / "tests" / "fixtures" / "oracles"
OUT = ROOT / "tests" / "fixtures" / "gguf"


def read_bf16(folder):
    """All tensors of a folder's safetensors files as their raw bf16 (uint16)."""
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        raw = path.read_bytes()
        n = struct.unpack("<Q", raw[:8])[0]
        for name, t in json.loads(raw[8 : 8 + n]).items():
            if name == "__metadata__":
                continue
            assert t["dtype"] == "BF16"
            a, b = t["data_offsets"]
            tensors[name] = np.frombuffer(raw[8 + n + a : 8 + n + b], "<u2").reshape(t["shape"])
    return tensors


def to_f32(bf16):
    return (bf16.astype(np.uint32) << 16).view(np.float32)


def interleave(rows, heads):
    """Rotate-half order -> GGUF's for `llama`: rows of a head's two halves take turns."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows, heads):
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def encode(bf16, kind):
    """What GGUFWriter.add_tensor takes: an array, and its raw type."""
    if kind == T.BF16:
        return bf16.view(np.uint8), T.BF16
    if kind == T.F16:
        return to_f32(bf16).astype(np.float16), None
    if kind == T.F32:
        return to_f32(bf16), None
    return quantize(to_f32(bf16), kind), kind


def add_hparams(w, config, head_dim):
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_vocab_size(config["vocab_size"])
    w.add_rope_dimension_count(head_dim)
    if "rope_theta" in config:
        w.add_rope_freq_base(config["rope_theta"])
    if "num_local_experts" in config:
        w.add_expert_count(config["num_local_experts"])
        w.add_expert_used_count(config["num_experts_per_tok"])
    if "head_dim" in config:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)


# Hugging Face's names -> GGUF's, within a layer.
LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
EXPERT = {"w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps"}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def llama3_factors(config, head_dim):
    """By what rope's frequencies are divided (Transformers' _compute_llama3_parameters)."""
    r = config["rope_scaling"]
    original = r["original_max_position_embeddings"]
    wave = 2 * np.pi * config["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = (original / wave - r["low_freq_factor"]) / (
        r["high_freq_factor"] - r["low_freq_factor"]
    )
    ramp = 1 / ((1 - smooth) / r["factor"] + smooth)
    f = np.where(wave < original / r["high_freq_factor"], 1, ramp)
    return np.where(wave > original / r["low_freq_factor"], r["factor"], f).astype(np.float32)


def write_model(oracle, kind, path, split=0):
    config = json.loads((ORACLES / oracle / "config.json").read_text())
    tensors = read_bf16(ORACLES / oracle)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    w = gguf.GGUFWriter(path, "llama", split_max_tensors=split)
    w.add_name(oracle)
    w.add_type("model")
    add_hparams(w, config, head_dim)

    def add(name, bf16):
        keep = bf16.ndim == 1 or "ffn_gate_inp" in name
        data, raw = encode(bf16, T.F32 if keep else kind)
        w.add_tensor(name, data, raw_dtype=raw)

    for hf, name in WHOLE.items():
        if hf + ".weight" in tensors and not (
            hf == "lm_head" and config.get("tie_word_embeddings")
        ):
            add(name + ".weight", tensors[hf + ".weight"])
    if config.get("rope_scaling"):
        w.add_tensor("rope_freqs.weight", llama3_factors(config, head_dim))
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for hf, name in LAYER.items():
            t = tensors.get(f"{prefix}{hf}.weight")
            if t is None:
                continue
            if name == "attn_q":
                t = interleave(t, heads)
            if name == "attn_k":
                t = interleave(t, kv_heads)
            add(f"blk.{layer}.{name}.weight", t)
        for hf, name in EXPERT.items():
            experts = [
                tensors.get(f"{prefix}block_sparse_moe.experts.{e}.{hf}.weight")
                for e in range(config.get("num_local_experts", 0))
            ]
            if experts:
                add(f"blk.{layer}.{name}.weight", np.stack(experts))
    finish(w)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# Type: bytes and weights of a block, where its f16 scales stand.
BLOCKS = {
    T.Q8_0: (34, 32, (0,)),
    T.Q4_0: (18, 32, (0,)),
    T.Q4_1: (20, 32, (0, 2)),
    T.Q5_0: (22, 32, (0,)),
    T.Q5_1: (24, 32, (0, 2)),
    T.Q2_K: (84, 256, (80, 82)),
    T.Q3_K: (110, 256, (108,)),
    T.Q4_K: (144, 256, (0, 2)),
    T.Q5_K: (176, 256, (0, 2)),
    T.Q6_K: (210, 256, (208,)),
}


def random_blocks(rng, kind, rows, cols):
    """Random bytes with finite scales, [rows, bytes a row]."""
    size, weights, halves = BLOCKS[kind]
    blocks = rng.integers(0, 256, (rows * cols // weights, size), dtype=np.uint8)
    for at in halves:
        scale = (rng.standard_normal(len(blocks)) * 0.01).astype("<f2")
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def write_types():
    rng = np.random.default_rng(20240601)
    hidden, ffn, vocab, head_dim, heads, experts = 256, 32, 16, 16, 2, 3
    w = gguf.GGUFWriter(OUT / "types.gguf", "llama")
    add_hparams(
        w,
        {
            "max_position_embeddings": 64,
            "hidden_size": hidden,
            "num_hidden_layers": 2,
            "intermediate_size": ffn,
            "num_attention_heads": heads,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-5,
            "vocab_size": vocab,
            "num_local_experts": experts,
            "num_experts_per_tok": 2,
            "head_dim": head_dim,
        },
        head_dim,
    )
    golden = {}

    def add(name, kind, rows, cols, hf=None, count=1, part=0, order=lambda m: m):
        blocks = random_blocks(rng, kind, count * rows, cols)
        if hf:
            weights = dequantize(blocks, kind).reshape(count, rows, cols)[part]
            golden[hf] = np.ascontiguousarray(order(weights))
        shape = (count, rows, blocks.shape[1]) if count > 1 else (rows, blocks.shape[1])
        w.add_tensor(name, blocks.reshape(shape), raw_dtype=kind)

    layer = "model.layers.0."
    w.add_tensor("output_norm.weight", np.ones(hidden, np.float32))
    w.add_tensor("blk.0.attn_norm.weight", np.ones(hidden, np.float32))
    w.add_tensor("blk.0.ffn_norm.weight", np.ones(hidden, np.float32))
    w.add_tensor("blk.0.ffn_gate_inp.weight", np.zeros((experts, hidden), np.float32))
    add("token_embd.weight", T.Q2_K, vocab, hidden, "model.embed_tokens.weight")
    add("output.weight", T.Q6_K, vocab, hidden, "lm_head.weight")
    add("blk.0.attn_q.weight", T.Q4_K, heads * head_dim, hidden,
        layer + "self_attn.q_proj.weight", order=lambda m: deinterleave(m, heads))
    add("blk.0.attn_k.weight", T.Q5_K, head_dim, hidden,
        layer + "self_attn.k_proj.weight", order=lambda m: deinterleave(m, 1))
    add("blk.0.attn_v.weight", T.Q8_0, head_dim, hidden, layer + "self_attn.v_proj.weight")
    add("blk.0.attn_output.weight", T.Q4_1, hidden, heads * head_dim,
        layer + "self_attn.o_proj.weight")
    expert = layer + "block_sparse_moe.experts."
    add("blk.0.ffn_gate_exps.weight", T.Q4_K, ffn, hidden, expert + "2.w1.weight", experts, 2)
    add("blk.0.ffn_up_exps.weight", T.Q3_K, ffn, hidden, expert + "0.w3.weight", experts, 0)
    add("blk.0.ffn_down_exps.weight", T.Q5_1, hidden, ffn, expert + "1.w2.weight", experts, 1)
    # in a layer of its own, whose other tensors are of types that were there
    second = "model.layers.1."
    for name in "attn_norm", "ffn_norm":
        w.add_tensor(f"blk.1.{name}.weight", np.ones(hidden, np.float32))
    w.add_tensor("blk.1.ffn_gate_inp.weight", np.zeros((experts, hidden), np.float32))
    for name, rows in ("attn_q", heads * head_dim), ("attn_k", head_dim), ("attn_v", head_dim):
        add(f"blk.1.{name}.weight", T.Q2_K, rows, hidden)
    add("blk.1.attn_output.weight", T.Q4_0, hidden, heads * head_dim,
        second + "self_attn.o_proj.weight")
    for name in "ffn_gate_exps", "ffn_up_exps":
        add(f"blk.1.{name}.weight", T.Q2_K, ffn, hidden, count=experts)
    add("blk.1.ffn_down_exps.weight", T.Q5_0, hidden, ffn,
        second + "block_sparse_moe.experts.2.w2.weight", experts, 2)
    finish(w)
    save_file(golden, OUT / "types.safetensors")
    (OUT / "types.safetensors").chmod(0o644)


def write_spm():
    """Scores as sentencepiece gives them: by the order in which pieces were merged."""
    j = json.loads((ROOT / "demo" / "model" / "tokenizer.json").read_text())
    vocab, special = j["model"]["vocab"], {t["content"] for t in j["added_tokens"]}
    rank = {}
    for left, right in j["model"]["merges"]:
        rank.setdefault(left + right, len(rank))
    tokens = sorted(vocab, key=vocab.get)
    scores, types = [], []
    for token in tokens:
        byte = len(token) == 6 and token.startswith("<0x")
        if token in special or byte:
            kind = gguf.TokenType.BYTE if byte else gguf.TokenType.CONTROL
            scores.append(0.0)
            types.append(gguf.TokenType.UNKNOWN if token == "<unk>" else kind)
        else:
            scores.append(-float(rank.get(token, len(rank) + vocab[token])))
            types.append(gguf.TokenType.NORMAL)
    w = gguf.GGUFWriter(OUT / "spm.gguf", "llama")
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens + ["[PAD0]"])
    w.add_token_scores(scores + [-10000.0])
    w.add_token_types(types + [gguf.TokenType.UNUSED])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    finish(w)


def write_byte_level():
    j = json.loads((ROOT / "tests" / "tokenizer" / "data" / "byte_level.json").read_text())
    vocab = dict(j["model"]["vocab"])
    types = {t: gguf.TokenType.NORMAL for t in vocab}
    for t in j["added_tokens"]:
        vocab[t["content"]] = t["id"]
        types[t["content"]] = (
            gguf.TokenType.CONTROL if t["special"] else gguf.TokenType.USER_DEFINED
        )
    tokens = sorted(vocab, key=vocab.get)
    assert [vocab[t] for t in tokens] == list(range(len(tokens)))
    w = gguf.GGUFWriter(OUT / "byte_level.gguf", "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens)
    w.add_token_types([types[t] for t in tokens])
    w.add_token_merges([" ".join(m) for m in j["model"]["merges"]])
    w.add_bos_token_id(vocab["<|begin|>"])
    w.add_eos_token_id(vocab["<|end|>"])
    finish(w)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    write_model("llama3_tied", T.F16, OUT / "llama3_tied.gguf")
    write_model("mixtral", T.Q8_0, OUT / "mixtral.gguf", split=12)
    write_types()
    write_spm()
    write_byte_level()


if __name__ == "__main__":
    main()
