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


# ---- quantized: of 32 columns, one group each ----

BYTES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U32": 4, "I64": 8, "I8": 1, "U8": 1, "F8_E4M3": 1}
N = 32
WIDE = dict(CONFIG, hidden_size=N, intermediate_size=N, vocab_size=8, num_key_value_heads=2)
LINEAR = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def typed(tensors, config, blanks=False, metadata=None):
    """tensors: name -> (dtype, shape); blanks: in place of zeros."""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = {"format": metadata}
    for name, (dtype, shape) in tensors.items():
        size = BYTES[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((8 + len(text)) % 2 != blanks)
    return b"\0".join([json.dumps(config).encode(), b"", struct.pack("<Q", len(text)) + text])


def quantized(form, whole=()):
    """form: of a module's rows and columns what stands beside its name."""
    tensors = {"model.norm.weight": ("F16", [N])}
    for n in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"model.layers.0.{n}.weight"] = ("F16", [N])
    for name in ["model.layers.0." + n for n in LINEAR] + ["model.embed_tokens", "lm_head"]:
        ends = name.split(".")[-1] in ("embed_tokens", "lm_head")
        shape = (8, N) if ends else (N, N)
        its = {".weight": ("F16", list(shape))} if ends and not whole else form(*shape)
        tensors.update({name + end: value for end, value in its.items()})
    return tensors


def gptq(rows, cols):
    return {".qweight": ("I32", [cols // 8, rows]), ".qzeros": ("I32", [2, rows // 8]),
            ".scales": ("F16", [2, rows]), ".g_idx": ("I32", [cols])}


def gptq3(rows, cols):
    return {".qweight": ("I32", [cols * 3 // 32, rows]), ".qzeros": ("I32", [1, rows * 3 // 32]), ".scales": ("F16", [1, rows])}


def awq(rows, cols):
    return {".qweight": ("I32", [cols, rows // 8]), ".qzeros": ("I32", [1, rows // 8]), ".scales": ("F16", [1, rows])}


def packed(rows, cols):
    return {".weight_packed": ("I32", [rows, cols // 8]), ".weight_scale": ("BF16", [rows, 1]),
            ".weight_zero_point": ("I32", [rows // 8, 1]), ".weight_g_idx": ("I32", [cols])}


def bytes8(rows, cols):
    return {".weight": ("I8", [rows, cols]), ".weight_scale": ("F32", [1])}


def mlx(bits):
    return lambda rows, cols: {".weight": ("U32", [rows, cols * bits // 32]), ".scales": ("F16", [rows, 1]),
                               ".biases": ("F16", [rows, 1])}


def mxfp4(rows, cols):
    return {".weight": ("U32", [rows, cols // 8]), ".scales": ("U8", [rows, 1])}


def compressed(form, **weights):
    weights = dict(weights, type="int")
    return dict(WIDE, quantization_config={"quant_method": "compressed-tensors", "format": form,
                                           "config_groups": {"g": {"targets": ["Linear"], "weights": weights}}})


def packed4(groups, dtype):
    return lambda rows, cols: {".weight_packed": ("U8", [rows, cols // 2]), ".weight_scale": (dtype, [rows, groups])} | (
        {".weight_global_scale": ("F32", [1])} if groups > 1 else {})


def compressed4(form):
    weights = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}
    return dict(WIDE, quantization_config={"quant_method": "compressed-tensors", "format": form,
                                           "config_groups": {"g": {"targets": ["Linear"], "weights": weights}}})


def by(method, **keys):
    return dict(WIDE, quantization_config=dict(keys, quant_method=method))


LATENT = dict(CONFIG, model_type="deepseek_v3", hidden_size=N, intermediate_size=N, vocab_size=8, num_key_value_heads=2,
              q_lora_rank=None, kv_lora_rank=N, qk_nope_head_dim=N, qk_rope_head_dim=2, v_head_dim=2,
              n_routed_experts=2, num_experts_per_tok=1, moe_intermediate_size=N, n_shared_experts=None,
              first_k_dense_replace=1, n_group=1, topk_group=1, quantization={"bits": 4, "group_size": 32})


def latent():
    a = "model.layers.0.self_attn."
    t = {n: v for n, v in quantized(mlx(4)).items() if "self_attn" not in n}
    t |= {a + n + ".weight": ("F16", s) for n, s in {
        "q_proj": [2 * (N + 2), N], "kv_a_proj_with_mqa": [N + 2, N], "kv_a_layernorm": [N], "o_proj": [N, 4],
        "unembed_out": [2, 2, N]}.items()}
    return t | {a + "embed_q.weight": ("U32", [2, N, N // 8]), a + "embed_q.scales": ("F16", [2, N, 1]),
                a + "embed_q.biases": ("F16", [2, N, 1])}


def stacked():
    moe = "model.layers.0.block_sparse_moe."
    t = {n: v for n, v in quantized(mlx(4), True).items() if ".mlp." not in n}
    for n, value in mlx(4)(2, N).items():
        t[moe + "gate" + n] = value
    for m in ("gate", "up", "down"):
        for n, (dtype, shape) in mlx(4)(N, N).items():
            t[f"{moe}switch_mlp.{m}_proj{n}"] = (dtype, [2, *shape])
    return t


def quantized_cases():
    four = {"bits": 4, "group_size": 32}
    mixtral = dict(WIDE, model_type="mixtral", num_local_experts=2, num_experts_per_tok=1)
    return {
        "gptq_4": typed(quantized(gptq), by("gptq", bits=4, group_size=16, desc_act=True)),
        "gptq_4_blanks": typed(quantized(gptq), by("gptq", bits=4, group_size=16, desc_act=True), True),
        "gptq_3": typed(quantized(gptq3), by("gptq", bits=3, group_size=32, desc_act=False, checkpoint_format="gptq_v2"), True),
        "awq": typed(quantized(awq), by("awq", version="gemm", **four), True),
        "ct_packed": typed(quantized(packed), compressed("pack-quantized", num_bits=4, strategy="channel", symmetric=False), True),
        "ct_zeros": typed(quantized(packed), compressed("pack-quantized", num_bits=4, strategy="group", group_size=32, symmetric=False)),
        "ct_bytes": typed(quantized(bytes8), compressed("int-quantized", num_bits=8, strategy="tensor"), True),
        "ct_mxfp4": typed(quantized(packed4(1, "U8")), compressed4("mxfp4-pack-quantized"), True),
        "ct_nvfp4": typed(quantized(packed4(2, "F8_E4M3")), compressed4("nvfp4-pack-quantized"), True),
        "gptq_biases": typed(quantized(gptq) | {f"model.layers.0.{n}.bias": ("F16", [N]) for n in LINEAR},
                             by("gptq", bits=4, group_size=16, desc_act=True)),
        "mlx_4": typed(quantized(mlx(4), True), dict(WIDE, quantization=four), True, "mlx"),
        "mlx_3_zeros": typed(quantized(mlx(3), True), dict(WIDE, quantization={"bits": 3, "group_size": 32}), False, "mlx"),
        "mlx_mxfp4": typed(quantized(mxfp4, True), dict(WIDE, quantization=dict(four, mode="mxfp4")), True),
        "mlx_stacked": typed(stacked(), dict(mixtral, quantization=four), True),
        "mlx_latent": typed(latent(), LATENT, True),
    }


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
    cases |= quantized_cases()
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in cases.items():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
