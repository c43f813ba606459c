#!/bin/bash
# Families that compute what another one computes, or the same under other names, give its logits to the last
# bit; --list-families says them all.
. "$(dirname "$0")/helper.sh"
optimized_judges "the figures"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }

# Two forms of Grok-1, and Solar Open as what it is beside GLM-4.5: with the same random numbers.
python3 - "$work" << 'EOF'
import array, json, pathlib, random, struct, sys

H, HEADS, KV, FFN, VOCAB, EXPERTS = 32, 4, 2, 48, 64, 4
D = H // HEADS
ATTENTION = {"q": [HEADS * D, H], "k": [KV * D, H], "v": [KV * D, H], "o": [H, HEADS * D]}
common = {"vocab_size": VOCAB, "hidden_size": H, "num_hidden_layers": 2, "num_attention_heads": HEADS,
          "num_key_value_heads": KV, "max_position_embeddings": 128, "rms_norm_eps": 1e-5}


def write(name, config, shapes):
    folder, at, header, data, dice = pathlib.Path(sys.argv[1], name), 0, {}, b"", random.Random(1)
    folder.mkdir()
    for tensor, shape in shapes:
        count = shape[0] * (shape + [1])[1]
        data += array.array("f", [dice.uniform(-0.3, 0.3) + (len(shape) == 1) for _ in range(count)]).tobytes()
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [at, len(data)]}
        at = len(data)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps(common | config))


def grok(names, layer):
    a, moe, norms = names["attention"], names["moe"], names["norms"]
    yield names["embedding"], [VOCAB, H]
    for i in range(2):
        n = layer + f"{i}."
        yield from ((n + norm, [H]) for norm in norms)
        yield from ((n + a[p], shape) for p, shape in ATTENTION.items())
        yield n + names["router"], [EXPERTS, H]
        for e in range(EXPERTS):
            yield n + f"{moe}{e}.linear.weight", [FFN, H]
            yield n + f"{moe}{e}.linear_v.weight", [FFN, H]
            yield n + f"{moe}{e}.linear_1.weight", [H, FFN]
    yield names["norm"], [H]


numbers = {"intermediate_size": FFN, "attn_output_multiplier": 0.25, "embedding_multiplier_scale": 8.0,
           "output_multiplier_scale": 0.577, "max_attn_value": 30.0, "tie_word_embeddings": True}
write("grok_a", numbers | {"architectures": ["Grok1ModelForCausalLM"], "num_experts": EXPERTS}, grok(
    {"attention": {p: f"attn.{p}_proj.weight" for p in ATTENTION}, "moe": "moe_block.experts.",
     "norms": [f"{p}_norm.scale" for p in ("pre_attn", "post_attn", "pre_moe", "post_moe")],
     "router": "moe_block.gate.weight", "embedding": "model.embed_tokens.weight", "norm": "model.norm.scale"},
    "model.layers."))
write("grok_b", numbers | {"architectures": ["GrokForCausalLM"], "num_local_experts": EXPERTS}, grok(
    {"attention": {p: f"multi_head_attention.{name}.weight"
                   for p, name in zip("qkvo", ("query", "key", "value", "linear"))}, "moe": "moe.",
     "norms": [f"rms_norm{p}.weight" for p in ("", "_1", "_2", "_3")], "router": "router.weight",
     "embedding": "transformer.in_out_embed.weight", "norm": "transformer.rms_norm.weight"},
    "transformer.decoder_layer."))
write("grok_2", numbers | {"architectures": ["Grok1ForCausalLM"], "num_local_experts": EXPERTS, "residual_moe": True,
                           "attn_temperature_len": 1024}, [("model.norm.weight", [H])])


def solar():
    yield "model.embed_tokens.weight", [VOCAB, H]
    for i in range(2):
        n = f"model.layers.{i}."
        yield n + "input_layernorm.weight", [H]
        yield n + "post_attention_layernorm.weight", [H]
        yield from ((n + f"self_attn.{p}_proj.weight", shape) for p, shape in ATTENTION.items())
        yield n + "mlp.gate.weight", [EXPERTS, H]
        yield n + "mlp.gate.e_score_correction_bias", [EXPERTS]
        for module in [f"experts.{e}" for e in range(EXPERTS)] + ["shared_experts"]:
            for p, shape in (("gate", [FFN, H]), ("up", [FFN, H]), ("down", [H, FFN])):
                yield n + f"mlp.{module}.{p}_proj.weight", shape
    yield "model.norm.weight", [H]
    yield "lm_head.weight", [VOCAB, H]


numbers = {"head_dim": D, "moe_intermediate_size": FFN, "n_routed_experts": EXPERTS, "num_experts_per_tok": 2,
           "n_shared_experts": 1, "first_k_dense_replace": 0, "routed_scaling_factor": 1.5, "rope_theta": 1e6,
           "partial_rotary_factor": 1.0, "intermediate_size": FFN, "tie_word_embeddings": False}
write("solar", numbers | {"model_type": "solar_open"}, solar())
write("glm", numbers | {"model_type": "glm4_moe", "use_qk_norm": False}, solar())

ids = struct.pack("<16q", *(i * 7 % VOCAB for i in range(16)))
text = json.dumps({"input_ids": {"dtype": "I64", "shape": [1, 16], "data_offsets": [0, len(ids)]}}).encode()
pathlib.Path(sys.argv[1], "ids.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + ids)
EOF

# same A B
same() {
    for model in "$@"; do
        expect 0 "" eval "$work/$model" --ids "$work/ids.safetensors" --dump "$work/$model.logits" --threads 1 \
            --no-progress
    done
    cmp -s "$work/$1.logits" "$work/$2.logits" || fail "$1 and $2: other logits"
}
same grok_a grok_b
same glm solar
"$moeq" inspect "$work/grok_2" > "$work/stdout" 2>&1 && fail "grok_2 was opened"
grep -q '"residual_moe": true (implemented: false)' "$work/stdout" || fail "grok_2: $(cat "$work/stdout")"

"$moeq" inspect --list-families | grep -q '^mixtral  *llama  *Mixtral 8x7B' || fail "--list-families"
"$moeq" inspect --list-families --json > "$work/stdout"
python3 - "$work/stdout" << 'EOF' || fail "--list-families --json"
import json, sys
d = json.load(open(sys.argv[1]))
by_name = {f["name"]: f for f in d["families"]}
assert d["moeq_result"] == "families" and all(f["models"] for f in d["families"]), "a family without models"
assert by_name["grok1"]["other_model_types"] == ["grok-1"] and by_name["mixtral"]["gguf_architecture"] == "llama"
assert by_name["grok1"]["other_architectures"] == ["GrokForCausalLM", "Grok1ForCausalLM"]
EOF
for config in tests/fixtures/configs/*.json; do
    "$moeq" inspect "$config" > "$work/stdout" 2>&1 && "$moeq" fit "$config" --vram 80GiB > "$work/stdout" 2>&1 ||
        fail "$config: $(cat "$work/stdout")"
done
"$moeq" fit tests/fixtures/configs/deepseek-v3.json --vram 80GiB --json |
    tr -d '\n' | grep -q '"made_of":.*"latent attention".*"router: sigmoid"' || fail "made_of of DeepSeek-V3"
finish
