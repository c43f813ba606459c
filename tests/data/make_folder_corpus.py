#!/usr/bin/env python3
"""Makes tests/fuzz/corpus/hf_folder: tiny Llamas as fuzz_hf_folder.c takes them.

Usage: make_folder_corpus.py tests/fuzz/corpus/hf_folder
Needs Python alone. The names and shapes are those of Transformers' LlamaForCausalLM.
"""
import json
import os
import struct
import sys

CONFIG = {"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
          "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 5,
          "tie_word_embeddings": False}
LAYER = {"input_layernorm": [4], "post_attention_layernorm": [4], "self_attn.q_proj": [4, 4],
         "self_attn.k_proj": [2, 4], "self_attn.v_proj": [2, 4], "self_attn.o_proj": [4, 4],
         "mlp.gate_proj": [6, 4], "mlp.up_proj": [6, 4], "mlp.down_proj": [4, 6]}


def llama():
    tensors = {"model.embed_tokens.weight": [5, 4], "model.norm.weight": [4], "lm_head.weight": [5, 4]}
    tensors.update({f"model.layers.0.{n}.weight": shape for n, shape in LAYER.items()})
    return tensors


def blob(tensors, config=CONFIG, index=""):
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"\0".join([json.dumps(config).encode(), index.encode(), struct.pack("<Q", len(text)) + text])


def renamed(function):
    return {function(name): shape for name, shape in llama().items()}


def main():
    whole = llama()
    headless = {n: s for n, s in whole.items() if n != "lm_head.weight"}
    tied = dict(CONFIG, tie_word_embeddings=True)
    index = json.dumps({"weight_map": {n: "model-1.safetensors" for n in list(whole)[1:] + ["gone"]}})
    cases = {
        "plain": blob(whole),
        "index": blob(whole, index=index),
        "base": blob(renamed(lambda n: n.removeprefix("model."))),
        "peft": blob(renamed(lambda n: "base_model.model." + n)),
        "wrapped": blob(renamed(lambda n: "_orig_mod." + n.replace("layers.0.", "layers.0.module."))),
        "two_models": blob({**renamed(lambda n: "a." + n), **renamed(lambda n: "b." + n)}),
        "extras": blob({**whole, "v_head.weight": [4], "model.layers.0.self_attn.rotary_emb.inv_freq": [1]}),
        "bias": blob({**whole, "model.layers.0.self_attn.q_proj.bias": [4]}),
        "gptq": blob({**whole, "model.layers.0.self_attn.q_proj.g_idx": [4]}),
        "tied": blob(headless, tied),
        "tied_and_stored": blob(whole, tied),
        "headless": blob(headless),
        "head_alone": blob({n: s for n, s in whole.items() if "embed" not in n}, tied),
    }
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in cases.items():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
