#!/usr/bin/env python3
"""Writes a tiny Mixtral in the forms of other tools' quantized checkpoints, each holding the very same weights:

    python3 tests/data/make_quantized_folders.py OUT

OUT/plain has them as F32; the others as codes, scales and zeros of GPTQ (both formats), AWQ, compressed-tensors
and MLX. Every weight is (code - zero) * scale of 4 bits, in groups of 32 along its row, and scales have so few
bits that all of these forms hold them exactly. Without any package: tests run it where there is none.
"""
import array
import json
import pathlib
import random
import struct
import sys

H, FFN, VOCAB, EXPERTS, GROUP = 64, 64, 64, 2, 32
LAYER = "model.layers.0."
CONFIG = {
    "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "vocab_size": VOCAB, "hidden_size": H,
    "intermediate_size": FFN, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_local_experts": EXPERTS, "num_experts_per_tok": 1, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "rope_theta": 1e6, "tie_word_embeddings": False,
}  # fmt: skip
LINEAR = {f"{LAYER}self_attn.{p}_proj": (H // 2 if p in "kv" else H, H) for p in "qkvo"}
MATRICES = {"w1": (FFN, H), "w3": (FFN, H), "w2": (H, FFN)}
MOE = LAYER + "block_sparse_moe."
EXPERT = {f"{MOE}experts.{e}.{m}": shape for e in range(EXPERTS) for m, shape in MATRICES.items()}
OTHERS = {"model.embed_tokens": (VOCAB, H), "lm_head": (VOCAB, H), MOE + "gate": (EXPERTS, H)}
NORMS = [LAYER + "input_layernorm", LAYER + "post_attention_layernorm", "model.norm"]


class Matrix:
    def __init__(self, dice, rows, cols):
        self.rows, self.cols, groups = rows, cols, range(cols // GROUP)
        self.codes = [[dice.randrange(16) for _ in range(cols)] for _ in range(rows)]
        self.zeros = [[dice.randrange(16) for _ in groups] for _ in range(rows)]
        self.scales = [[dice.randrange(8, 16) / 512 for _ in groups] for _ in range(rows)]

    def values(self):
        return [(q - self.zeros[r][c // GROUP]) * self.scales[r][c // GROUP]
                for r, row in enumerate(self.codes) for c, q in enumerate(row)]  # fmt: skip


def transposed(rows):
    return [list(column) for column in zip(*rows)]


def stream(values, bits=4):
    """A little-endian stream of values, as words."""
    number = sum(v << i * bits for i, v in enumerate(values))
    return number.to_bytes(-(-len(values) * bits // 32) * 4, "little")


def half(values):
    return b"".join(struct.pack("<e", v) for v in values)


def bfloat(values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def flat(rows):
    return [v for row in rows for v in row]


def f32(values):
    return array.array("f", values).tobytes()


# Each form: a module's tensors as (end of the name, dtype, shape, bytes).


def plain(m):
    yield ".weight", "F32", [m.rows, m.cols], f32(m.values())


def gptq(m, less):
    yield ".qweight", "I32", [m.cols // 8, m.rows], words_down(m.codes)
    yield ".qzeros", "I32", [m.cols // GROUP, m.rows // 8], b"".join(
        stream([(z - less) % 16 for z in column]) for column in transposed(m.zeros))  # fmt: skip
    yield ".scales", "F16", [m.cols // GROUP, m.rows], half(flat(transposed(m.scales)))
    yield ".g_idx", "I32", [m.cols], b"".join(struct.pack("<i", c // GROUP) for c in range(m.cols))


def with_zeros(m):
    """As AutoGPTQ saved models whose layers have no bias."""
    yield from gptq(m, 1)
    yield ".bias", "F16", [m.rows], half([0.0] * m.rows)


def words_down(rows):
    """Streams of rows -> the words of all of them, those of one place side by side."""
    words = [struct.unpack(f"<{len(row) // 8}I", stream(row)) for row in rows]
    return b"".join(struct.pack(f"<{len(rows)}I", *column) for column in zip(*words))


def awq(m):
    def eights(values):
        return stream([values[i // 8 * 8 + (0, 2, 4, 6, 1, 3, 5, 7)[i % 8]] for i in range(len(values))])

    yield ".qweight", "I32", [m.cols, m.rows // 8], b"".join(map(eights, transposed(m.codes)))
    yield ".qzeros", "I32", [m.cols // GROUP, m.rows // 8], b"".join(map(eights, transposed(m.zeros)))
    yield ".scales", "F16", [m.cols // GROUP, m.rows], half(flat(transposed(m.scales)))


def packed(m, shape=True):
    yield ".weight_packed", "I32", [m.rows, m.cols // 8], b"".join(map(stream, m.codes))
    yield ".weight_scale", "BF16", [m.rows, m.cols // GROUP], bfloat(flat(m.scales))
    yield ".weight_zero_point", "I32", [m.rows // 8, m.cols // GROUP], words_down(transposed(m.zeros))
    if shape:
        yield ".weight_shape", "I64", [2], struct.pack("<2q", m.rows, m.cols)


def centred(m):
    return [[q - m.zeros[r][c // GROUP] for c, q in enumerate(row)] for r, row in enumerate(m.codes)]


def packed8(m):
    yield ".weight_packed", "I32", [m.rows, m.cols // 4], bytes(q + 128 for q in flat(centred(m)))
    yield ".weight_scale", "BF16", [m.rows, m.cols // GROUP], bfloat(flat(m.scales))


def bytes8(m):
    yield ".weight", "I8", [m.rows, m.cols], struct.pack(f"{m.rows * m.cols}b", *flat(centred(m)))
    yield ".weight_scale", "F16", [m.rows, m.cols // GROUP], half(flat(m.scales))


def mlx(m, bits):
    yield ".weight", "U32", [m.rows, m.cols * bits // 32], b"".join(stream(row, bits) for row in m.codes)
    yield ".scales", "F16", [m.rows, m.cols // GROUP], half(flat(m.scales))
    yield ".biases", "F16", [m.rows, m.cols // GROUP], half(
        -z * s for zeros, scales in zip(m.zeros, m.scales) for z, s in zip(zeros, scales))  # fmt: skip


def write(folder, config, tensors, metadata="pt"):
    header, data = {"__metadata__": {"format": metadata}}, b""
    for name, dtype, shape, content in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))


def tensors_of(matrices, forms):
    """forms: of the linear layers, the experts, and the rest."""
    for names, form in zip((LINEAR, EXPERT, OTHERS), forms):
        for name in names:
            for end, dtype, shape, content in form(matrices[name]):
                yield name + end, dtype, shape, content
    for name in NORMS:
        yield name + ".weight", "F32", [H], f32([1.0] * H)


def stacked(matrices, form):
    """All modules in MLX's names."""
    for name in LINEAR | OTHERS:
        for end, dtype, shape, content in form(matrices[name]):
            yield name + end, dtype, shape, content
    for matrix, its_name in (("w1", "gate"), ("w3", "up"), ("w2", "down")):
        pieces = [list(form(matrices[f"{MOE}experts.{e}.{matrix}"])) for e in range(EXPERTS)]
        for end, dtype, shape, _ in pieces[0]:
            content = b"".join(next(c for n, _, _, c in piece if n == end) for piece in pieces)
            yield f"{MOE}switch_mlp.{its_name}_proj{end}", dtype, [EXPERTS] + shape, content
    for name in NORMS:
        yield name + ".weight", "F16", [H], half([1.0] * H)


def compressed(*groups):
    return {"quantization_config": {
        "quant_method": "compressed-tensors", "quantization_status": "compressed",
        "format": groups[0][0] if len(groups) == 1 else "mixed-precision", "ignore": ["lm_head"],
        "config_groups": {f"group_{i}": {"targets": ["Linear"], "format": form, "weights": {
            "num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": GROUP}}
            for i, (form, bits, symmetric) in enumerate(groups)}}}  # fmt: skip


def main():
    out, dice = pathlib.Path(sys.argv[1]), random.Random(7)
    matrices = {name: Matrix(dice, *shape) for name, shape in (LINEAR | EXPERT | OTHERS).items()}
    both = {"bits": 4, "group_size": GROUP}
    in_gptq = both | {"quant_method": "gptq", "sym": False, "desc_act": False}
    mlx4 = both | {"mode": "affine"}
    mlx8 = {LAYER + "self_attn.q_proj": False, "group_size": GROUP, "bits": 8}
    four, eight, whole = ("pack-quantized", 4, False), ("pack-quantized", 8, True), ("int-quantized", 8, True)
    forms = {
        "plain": ({}, (plain, plain, plain)),
        "gptq": ({"quantization_config": in_gptq}, (with_zeros, lambda m: gptq(m, 1), plain)),
        "gptq_v2": ({"quantization_config": in_gptq | {"checkpoint_format": "gptq_v2", "desc_act": True}},
                    (lambda m: gptq(m, 0), lambda m: gptq(m, 0), plain)),
        "awq": ({"quantization_config": both | {"quant_method": "awq", "version": "gemm", "zero_point": True}},
                (awq, awq, plain)),
        "ct4": (compressed(four), (packed, packed, plain)),
        "ct8": (compressed(whole), (bytes8, bytes8, plain)),
        "ct_mixed": (compressed(four, eight), (packed8, packed, plain)),
    }  # fmt: skip
    for name, (config, form) in forms.items():
        write(out / name, config, tensors_of(matrices, form))
    write(out / "mlx", {"quantization": mlx4, "quantization_config": mlx4}, stacked(matrices, lambda m: mlx(m, 4)), "mlx")
    write(out / "mlx8", {"quantization": mlx8}, stacked(matrices, lambda m: plain(m) if m is matrices[LAYER + "self_attn.q_proj"] else mlx(m, 8)), "mlx")
    write(out / "mlx_plain", {}, stacked(matrices, plain), "mlx")
    ids = struct.pack("<16q", *(i * 7 % VOCAB for i in range(16)))
    text = json.dumps({"input_ids": {"dtype": "I64", "shape": [1, 16], "data_offsets": [0, len(ids)]}}).encode()
    (out / "ids.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + ids)


if __name__ == "__main__":
    main()
