"""The mixes that have llama.cpp's names, at published shapes: bytes of `moeq fit` against a second
implementation of llama.cpp's rule (llama_tensor_get_type_impl in src/llama-quant.cpp, without an
importance matrix), written here tensor by tensor by its names in GGUF; and against sizes of published files.

usage: check_mixes.py MOEQ WORK_DIR
"""
import json
import subprocess
import sys

moeq, work = sys.argv[1:]
BITS = {"f16": 16, "q8_0": 8.5, "q6_k": 6.5625, "q5_k": 5.5, "q4_k": 4.5, "q3_k": 3.4375, "q2_k": 2.625,
        "iq4_nl": 4.5, "iq4_xs": 4.25, "iq3_s": 3.4375, "iq3_xxs": 3.0625}
# moeq's name: llama.cpp's, its default type
MIXES = {"q2_k_mix": ("Q2_K", "q2_k"), "q3_k_s": ("Q3_K_S", "q3_k"), "q3_k_m": ("Q3_K_M", "q3_k"),
         "q3_k_l": ("Q3_K_L", "q3_k"), "q4_k_s": ("Q4_K_S", "q4_k"), "q4_k_m": ("Q4_K_M", "q4_k"),
         "q5_k_s": ("Q5_K_S", "q5_k"), "q5_k_m": ("Q5_K_M", "q5_k"), "q6_k_mix": ("Q6_K", "q6_k"),
         "iq3_xs": ("IQ3_XS", "iq3_s"), "iq3_m": ("IQ3_M", "iq3_s"), "iq4_nl_mix": ("IQ4_NL", "iq4_nl"),
         "iq4_xs_mix": ("IQ4_XS", "iq4_xs")}


def dense(hidden, ffn, layers, heads, kv, vocab, **more):
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=hidden, intermediate_size=ffn,
                num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, vocab_size=vocab,
                max_position_embeddings=4096, rms_norm_eps=1e-5, hidden_act="silu", torch_dtype="float16",
                tie_word_embeddings=False) | more


MODELS = {
    "Llama-2-7B": dense(4096, 11008, 32, 32, 32, 32000),
    "Llama-2-70B": dense(8192, 28672, 80, 64, 8, 32000),
    "Llama-3-8B": dense(4096, 14336, 32, 32, 8, 128256),
    "Llama-3.2-1B": dense(2048, 8192, 16, 32, 8, 128256, tie_word_embeddings=True),
    "Mixtral-8x7B": dense(4096, 14336, 32, 32, 8, 32000, architectures=["MixtralForCausalLM"], model_type="mixtral",
                          num_local_experts=8, num_experts_per_tok=2),
    "Qwen3-30B-A3B": dense(2048, 6144, 48, 32, 4, 151936, architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe",
                           head_dim=128, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768,
                           norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[]),
}
# Bytes of published files (TheBloke/Llama-2-7B-GGUF), vocabulary and all.
PUBLISHED = {("Llama-2-7B", "q4_k_m"): 4081004224}


def tensors(c):
    """(name in GGUF, weights)"""
    d, layers, heads, kv = (c[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"))
    dim = c.get("head_dim", d // heads)
    experts = c.get("num_local_experts", c.get("num_experts", 0))
    ffn = c.get("moe_intermediate_size", c["intermediate_size"])
    yield "token_embd.weight", d * c["vocab_size"]
    if not c["tie_word_embeddings"]:
        yield "output.weight", d * c["vocab_size"]
    yield "output_norm.weight", d
    for i in range(layers):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", d
        yield b + "ffn_norm.weight", d
        yield b + "attn_q.weight", d * heads * dim
        yield b + "attn_k.weight", d * kv * dim
        yield b + "attn_v.weight", d * kv * dim
        yield b + "attn_output.weight", d * heads * dim
        if c["model_type"] == "qwen3_moe":
            yield b + "attn_q_norm.weight", dim
            yield b + "attn_k_norm.weight", dim
        if experts:
            yield b + "ffn_gate_inp.weight", d * experts
        for m in "gate", "up", "down":
            yield b + f"ffn_{m}{'_exps' if experts else ''}.weight", max(experts, 1) * d * ffn


def type_of(name, c, ftype, default):
    n = c["num_hidden_layers"]
    i = int(name.split(".")[1]) if name.startswith("blk.") else 0
    experts = c.get("num_local_experts", c.get("num_experts", 0))
    shared = c["num_attention_heads"] // c["num_key_value_heads"]
    more = i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2
    if "_norm" in name or "gate_inp" in name:
        return "f16"
    if name == "output.weight" or (c["tie_word_embeddings"] and name == "token_embd.weight"):
        return "q6_k"
    if "attn_v" in name:
        t = default
        if ftype == "Q2_K":
            t = "q4_k" if shared >= 4 else "q3_k"
        elif ftype == "IQ3_XS" and shared >= 4 or ftype == "IQ3_M":
            t = "q4_k"
        elif ftype == "Q3_K_M":
            t = "q5_k" if i < 2 else "q4_k"
        elif ftype == "Q3_K_L" or ftype.startswith("IQ4") and shared >= 4:
            t = "q5_k"
        elif ftype in ("Q4_K_M", "Q5_K_M") and more:
            t = "q6_k"
        elif ftype == "Q4_K_S" and i < 4:
            t = "q5_k"
        if n == 80 and not experts and shared > 1 and t in ("q3_k", "q4_k"):
            t = "q5_k"
        return "q8_0" if experts == 8 else t
    if "attn_k" in name:
        return "q8_0" if experts == 8 else "iq3_xxs" if ftype == "IQ3_XS" else default
    if "attn_q" in name:
        return "iq3_xxs" if ftype == "IQ3_XS" else default
    if "ffn_down" in name:
        if ftype == "Q2_K":
            return "q3_k"
        if ftype == "Q3_K_M":
            return "q5_k" if i < n // 16 else "q4_k"
        if ftype == "IQ3_M" and (i < n // 8 or experts == 8 and more):
            return "q4_k"
        if ftype == "Q3_K_L":
            return "q5_k"
        if ftype in ("Q4_K_M", "Q5_K_M") and more:
            return "q6_k"
        if i < n // 8 and (ftype.startswith("IQ4") or ftype == "Q4_K_S"):
            return "q5_k"
        return default
    if "attn_output" in name:
        if experts == 8:
            return default if ftype in ("Q3_K_L", "Q5_K_S", "Q5_K_M", "Q6_K") else "q5_k"
        return {"Q2_K": "q3_k", "Q3_K_M": "q4_k", "Q3_K_L": "q5_k", "IQ3_M": "q4_k"}.get(ftype, default)
    if ("ffn_gate" in name or "ffn_up" in name) and ftype == "IQ3_XS" and n // 8 <= i < 7 * n // 8:
        return "iq3_xxs"
    return default


bad = 0
for model, config in MODELS.items():
    path = f"{work}/{model}.json"
    json.dump(config, open(path, "w"))
    out = subprocess.run([moeq, "fit", path, "--vram", "512GiB", "--levels", ",".join(MIXES), "--json"],
                         check=True, capture_output=True, text=True).stdout
    found = {row["name"]: row["weight_bytes"] for row in json.loads(out)["rows"]}
    for mix, (ftype, default) in MIXES.items():
        want = sum(int(w * BITS[type_of(name, config, ftype, default)]) // 8 for name, w in tensors(config))
        if found[mix] != want:
            bad += 1
            print(f"{model} {mix}: {found[mix]} bytes, llama.cpp's rule gives {want}")
        size = PUBLISHED.get((model, mix), want)
        if abs(found[mix] - size) > 5e-4 * size:
            bad += 1
            print(f"{model} {mix}: {found[mix]} bytes, the published file has {size}")
print(f"{len(MODELS)} models, {len(MIXES)} mixes")
sys.exit(bad > 0)
