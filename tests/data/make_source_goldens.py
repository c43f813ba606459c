#!/usr/bin/env python3
"""Writes tests/formats/data/sources.safetensors: tensors in every layout and code that the reader
puts rows together from, and beside each matrix's the weights that it holds, as F32 `want.<case>`.

    pip install numpy gguf safetensors && python3 tests/data/make_source_goldens.py

numpy makes the weights from the codes by the formats' definitions; gguf decodes MXFP4. The order of
the stored tensors is that of checkpoints: gpt-oss, Llama 4, DBRX, Granite, DeepSeek-V3, Kimi K2.
"""
import pathlib

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save

rng = np.random.default_rng(20250901)
E, ROWS, COLS = 3, 5, 7  # of plain tensors: experts, and a matrix
tensors = {}


def plain(name, values):
    tensors[name] = np.ascontiguousarray(values, dtype=np.float16)  # save() takes the buffer as it is


def want(name, values):
    tensors["want." + name] = np.ascontiguousarray(values, dtype=np.float32)


def numbers(*shape):
    return rng.standard_normal(shape).astype(np.float16)


def plain_layouts():
    gate, up, down = (numbers(E, ROWS, COLS) for _ in range(3))
    bias = numbers(E, 2, ROWS)
    q, k, v = numbers(6, COLS), numbers(2, COLS), numbers(3, COLS)
    plain("rows", np.concatenate([gate, up], axis=1))
    plain("transposed", np.concatenate([gate, up], axis=1).swapaxes(1, 2))
    plain("alternating", np.stack([gate, up], axis=2).reshape(E, 2 * ROWS, COLS))
    plain("both", np.stack([gate, up], axis=2).reshape(E, 2 * ROWS, COLS).swapaxes(1, 2))
    plain("down", down.swapaxes(1, 2))
    plain("flat", gate.reshape(E * ROWS, COLS))
    plain("flat_transposed", down.swapaxes(1, 2).reshape(E * COLS, ROWS))
    plain("bias", np.stack([bias[:, 0], bias[:, 1]], axis=2).reshape(E, 2 * ROWS))
    plain("bias_rows", bias.reshape(E, 2 * ROWS))
    plain("qkv", np.concatenate([q, k, v]))
    plain("square", numbers(E, 2 * ROWS, 2 * ROWS))
    plain("taps", gate[0].reshape(ROWS, 1, COLS))
    plain("vector", bias[0, 0].reshape(1, ROWS))
    want("gate", gate[1]), want("up", up[2]), want("down", down[1])
    want("bias_gate", bias[1, 0]), want("bias_up", bias[2, 1])
    want("q", q), want("k", k), want("v", v)
    want("taps", gate[0]), want("vector", bias[0, 0])


def wide_transposed():
    """More rows than are turned at once, more columns than one run has; the test knows the weights."""
    matrix = (np.arange(1100 * 35) % 2001 - 1000).reshape(1100, 35)
    plain("wide", np.stack([matrix, -matrix], axis=1).reshape(2200, 35).T[None])


def e4m3(codes):
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.float64)
    value = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), np.ldexp(1 + mantissa / 8, exponent - 7))
    return np.where(codes & 0x80, -value, value)


def f8_codes(*shape):
    codes = rng.integers(0, 256, shape, dtype=np.uint8)
    codes[(codes & 0x7F) == 0x7F] ^= 1
    return codes


def f8(name, codes, scales, suffix, spread):
    tensors[name] = codes
    tensors[name + suffix] = scales
    want(name, e4m3(codes) * spread)


def fp8():
    rows, cols = 130, 150
    blocks = rng.uniform(1e-3, 2, (2, 2)).astype(np.float32)
    spread = blocks.astype(np.float64).repeat(128, 0).repeat(128, 1)[:rows, :cols]
    f8("f8.blocks.weight", f8_codes(rows, cols), blocks, "_scale_inv", spread)
    by_row = rng.uniform(1e-3, 2, (9, 1)).astype(np.float16)
    f8("f8.row.weight", f8_codes(9, 20), by_row, "_scale", by_row.astype(np.float64))
    one = np.array(0.25, dtype=np.float32)
    f8("f8.one.weight", f8_codes(3, 20), one, "_scale", 0.25)
    f8("f8.one1.weight", f8_codes(3, 20), one.reshape(1), "_scale", 0.25)
    experts = rng.uniform(1e-3, 2, (E, 1, 1)).astype(np.float32)
    codes = f8_codes(E, 8, 20)
    f8("f8.fused", codes, experts, "_scale_inv", experts.astype(np.float64))
    want("f8.fused", (e4m3(codes) * experts.astype(np.float64))[1, 4:])


def mxfp4():
    rows, cols = 4, 64
    nibbles = rng.integers(0, 16, (E, 2 * rows, cols // 32, 32), dtype=np.uint8)
    exponents = rng.integers(100, 140, (E, 2 * rows, cols // 32), dtype=np.uint8)
    exponents[1, 1] = 0, 1
    tensors["mx_blocks"] = np.ascontiguousarray(nibbles[..., 0::2] | nibbles[..., 1::2] << 4)  # low nibble first
    tensors["mx_scales"] = exponents
    ggml = np.concatenate([exponents[..., None], nibbles[..., :16] | nibbles[..., 16:] << 4], axis=-1)
    weights = dequantize(ggml.reshape(E, 2 * rows, -1), GGMLQuantizationType.MXFP4)
    want("mx", weights[1, 1::2])
    tensors["bytes.mx"] = np.ascontiguousarray(ggml[1, 1::2].reshape(rows, -1))


def packed():
    for name, bits, group, dtype in ("i4", 4, 32, np.float16), ("i8", 8, 128, np.float32), ("i4c", 4, 128, np.float16):
        rows, cols = 5, 128
        codes = rng.integers(0, 1 << bits, (rows, cols), dtype=np.uint32)
        words = codes.reshape(rows, -1, 32 // bits) << (np.arange(32 // bits, dtype=np.uint32) * bits)
        scales = rng.uniform(-2, 2, (rows, cols // group)).astype(dtype)
        tensors[name + ".weight_packed"] = np.bitwise_or.reduce(words, axis=2).view(np.int32)
        tensors[name + ".weight_scale"] = scales
        tensors[name + ".weight_shape"] = np.array([rows, cols], dtype=np.int64)
        values = codes.astype(np.float64) - (1 << (bits - 1))
        want(name, values * scales.astype(np.float64).repeat(group, 1))


# ---- integers with scales and zeros: by the formulas of the formats' own packers ----

stored_as = {}  # names of tensors whose dtype is none of numpy's -> that dtype


def stream(values, bits):
    """Rows of values -> rows of little-endian words: value i at the bits from i * bits on."""
    rows, n = values.shape
    bit = (values[:, :, None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1
    flat = np.zeros((rows, -(-n * bits // 32) * 32), dtype=np.uint8)
    flat[:, : n * bits] = bit.reshape(rows, -1)
    return np.packbits(flat, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def put_scales(name, values, dtype):
    """Stored as dtype; returns what they are then, as float64."""
    if dtype == "bf16":
        half = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        tensors[name], stored_as[name] = half, "BF16"
        return (half.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    tensors[name] = values.astype(dtype)
    return tensors[name].astype(np.float64)


def integers(rows, cols, group, bits, zeros):
    """Codes, zeros and scales [rows, groups] (some scales of the whole range of halves)."""
    q = rng.integers(0, 1 << bits, (rows, cols))
    z = rng.integers(0, 1 << bits, (rows, cols // group)) if zeros else None
    return q, z, rng.uniform(0.001, 2, (rows, cols // group))


def spread(values, group, places=None):
    return values.repeat(group, 1) if places is None else values[:, places]


def compressed_tensors():
    rows, cols = 21, 96
    for name, bits, group, zeros, dtype in (
        ("ct2", 2, 32, False, "bf16"), ("ct3", 3, 32, False, np.float16), ("ct4z", 4, 32, True, "bf16"),
        ("ct5z", 5, 32, True, np.float32), ("ct6z", 6, 96, True, np.float16), ("ct7", 7, 96, False, "bf16"),
        ("ct8z", 8, 32, True, "bf16"), ("ct8zf", 8, 32, True, np.float32), ("ct4i", 4, 32, True, np.float16),
    ):  # fmt: skip
        q, z, s = integers(rows, cols, group, bits, zeros)
        module = name + ".weight"
        tensors[module + "_packed"] = stream(q, bits).view(np.int32)
        tensors[module + "_shape"] = np.array([rows, cols], dtype=np.int64)
        s = put_scales(module + "_scale", s, dtype)
        places = None
        if zeros:
            tensors[module + "_zero_point"] = np.ascontiguousarray(stream(z.T, bits).T.view(np.int32))
        if name == "ct4i":
            places = rng.permutation(np.arange(cols) // group)
            tensors[module + "_g_idx"] = places.astype(np.int32)
        z = spread(z, group, places) if zeros else 1 << (bits - 1)
        want(name, (q - z) * spread(s, group, places))
    for name, group, scales in ("by_row", 96, (rows, 1)), ("by_group", 32, (rows, 3)), ("by_matrix", 96, (1,)):
        q, z = rng.integers(-128, 128, (rows, cols)), rng.integers(-128, 128, scales)
        s = rng.uniform(0.001, 2, scales)
        for end, zero in ("", 0), ("z", spread(z.reshape(-1, scales[-1]), group)):
            tensors[name + end + ".weight"] = q.astype(np.int8)
            exact = put_scales(name + end + ".weight_scale", s, np.float16)
            if end:
                tensors[name + "z.weight_zero_point"] = z.astype(np.int8)
            want(name + end, (q - zero) * spread(exact.reshape(-1, scales[-1]), group))


def mlx():
    rows, cols = 5, 128
    for bits, group, dtype in (
        (2, 32, np.float16), (3, 64, "bf16"), (4, 64, np.float16), (4, 128, "bf16"), (5, 32, "bf16"),
        (6, 128, np.float16), (8, 32, np.float32),
    ):  # fmt: skip
        name = f"mlx{bits}g{group}"
        q, _, s = integers(rows, cols, group, bits, False)
        tensors[name + ".weight"] = stream(q, bits)
        s = put_scales(name + ".scales", s - 1, dtype)  # negative ones too
        bias = put_scales(name + ".biases", rng.uniform(-2, 2, s.shape), dtype)
        want(name, q * spread(s, group) + spread(bias, group))
    q, _, s = integers(E * rows, cols, 64, 4, False)
    tensors["mlxe.weight"] = stream(q, 4).reshape(E, rows, -1)
    s = put_scales("mlxe.scales", s.reshape(E, rows, -1), np.float16)[1]
    bias = put_scales("mlxe.biases", rng.uniform(-2, 2, (E, rows, cols // 64)), np.float16)[1]
    want("mlxe", q[rows : 2 * rows] * spread(s, 64) + spread(bias, 64))
    # latent attention's kv_b in two: of each of 3 heads 32 rows of keys, transposed, and 8 of values
    rank, plain_rows, values = 64, 32, 8
    q = rng.integers(0, 16, (E, rank, plain_rows))
    tensors["mla.embed_q.weight"] = stream(q.reshape(E * rank, -1), 4).reshape(E, rank, -1)
    s = put_scales("mla.embed_q.scales", rng.uniform(0.001, 2, (E, rank, 1)), np.float16)
    bias = put_scales("mla.embed_q.biases", rng.uniform(-2, 2, (E, rank, 1)), np.float16)
    v = numbers(E, values, rank)
    plain("mla.unembed_out.weight", v)
    want("mla", np.concatenate([(q * s + bias).swapaxes(1, 2), v.astype(np.float64)], axis=1).reshape(-1, rank))
    codes = rng.integers(0, 16, (E, rows, cols), dtype=np.uint8)
    exponents = rng.integers(100, 140, (E, rows, cols // 32), dtype=np.uint8)
    tensors["mlxmx.weight"] = stream(codes.reshape(E * rows, cols), 4).reshape(E, rows, -1)
    tensors["mlxmx.scales"] = exponents
    blocks = codes.reshape(E, rows, -1, 32)
    ggml = np.concatenate([exponents[..., None], blocks[..., :16] | blocks[..., 16:] << 4], axis=-1)
    tensors["ctmx.weight_packed"] = np.ascontiguousarray(codes[2, :, 0::2] | codes[2, :, 1::2] << 4)
    tensors["ctmx.weight_scale"] = np.ascontiguousarray(exponents[2])
    want("mlxmx", dequantize(ggml.reshape(E, rows, -1), GGMLQuantizationType.MXFP4)[2])


def nvfp4():
    rows, cols = 5, 96
    codes = rng.integers(0, 16, (rows, cols), dtype=np.uint8)
    scales, whole = f8_codes(rows, cols // 16) & 0x7F, np.float32(0.3)
    scales[0, 0] = 0
    tensors["f8.nv.weight_packed"] = np.ascontiguousarray(codes[:, 0::2] | codes[:, 1::2] << 4)
    tensors["f8.nv.weight_scale"] = scales
    tensors["f8.nv.weight_global_scale"] = np.array([whole])
    stored_as["f8.nv.weight_packed"] = "U8"
    e2m1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
    want("nv", (e4m3(scales).astype(np.float32) / whole).repeat(16, 1) * e2m1[codes])


def put_gptq(name, q, z, s, group, bits, v1, places=None):
    tensors[name + ".qweight"] = np.ascontiguousarray(stream(q, bits).T.view(np.int32))
    tensors[name + ".qzeros"] = stream(((z - v1) % (1 << bits)).T, bits).view(np.int32)
    order = np.arange(q.shape[1]) // group if places is None else places
    tensors[name + ".g_idx"] = order.astype(np.int32)
    return put_scales(name + ".scales", np.ascontiguousarray(s.T), np.float16).T


AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def awq_words(values):
    """[n, outputs] -> [n, outputs / 8]: nibble j of a word is output AWQ_ORDER[j] of its eight."""
    return stream(values.reshape(len(values), -1, 8)[:, :, AWQ_ORDER].reshape(len(values), -1), 4).view(np.int32)


def put_awq(name, q, z, s):
    tensors[name + ".qweight"] = awq_words(q.T)
    tensors[name + ".qzeros"] = awq_words(z.T)
    return put_scales(name + ".scales", np.ascontiguousarray(s.T), np.float16).T


def gptq_and_awq():
    rows, cols = 32, 96
    for name, bits, group, v1 in (
        ("gptq2", 2, 32, 1), ("gptq3", 3, 32, 1), ("gptq4", 4, 32, 1), ("gptq8", 8, 96, 1), ("gptq4b", 4, 96, 0),
    ):  # fmt: skip
        q, z, s = integers(rows, cols, group, bits, True)
        s = put_gptq(name, q, z, s, group, bits, v1)
        want(name, (q - spread(z, group)) * spread(s, group))
    q, z, s = integers(rows, cols, 32, 4, True)
    places = rng.permutation(np.arange(cols) // 32)
    s = put_gptq("gptqi", q, z, s, 32, 4, 1, places)
    want("gptqi", (q - spread(z, 32, places)) * spread(s, 32, places))
    q, z, s = integers(rows, cols, 16, 4, True)  # of groups that are no blocks
    s = put_gptq("gptq16", q, z, s, 16, 4, 1)
    want("gptq16", (q - spread(z, 16)) * spread(s, 16))
    q, z, s = integers(rows, cols, 32, 4, True)
    s = put_awq("awq", q, z, s)
    want("awq", (q - spread(z, 32)) * spread(s, 32))
    # more rows than are read at once; the test knows the weights
    row, col = np.meshgrid(np.arange(1040), np.arange(64), indexing="ij")
    q, z, s = (row * 7 + col * 3) % 16, (row[:, :1] + np.arange(2)) % 16, np.full((1040, 2), 0.5)
    put_gptq("gptqw", q, z, s, 32, 4, 1)
    put_awq("awqw", q, z, s)


def write(path):
    """F8_E4M3 is no type of numpy's: its codes are bytes, and the header says so afterwards; nor is BF16."""
    data = save(dict(sorted(tensors.items())))
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].decode()
    for name in tensors:
        if name.startswith("f8.") and tensors[name].dtype == np.uint8 and name not in stored_as:
            header = header.replace(f'"{name}":{{"dtype":"U8"', f'"{name}":{{"dtype":"F8_E4M3"')
    for name, dtype in stored_as.items():
        header = header.replace(f'"{name}":{{"dtype":"U16"', f'"{name}":{{"dtype":"{dtype}"')
    header = header.rstrip()
    header += " " * (-(8 + len(header)) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data[8 + size :])


def main():
    plain_layouts()
    wide_transposed()
    fp8()
    mxfp4()
    packed()
    compressed_tensors()
    mlx()
    nvfp4()
    gptq_and_awq()
    write(pathlib.Path(__file__).resolve().parents[1] / "formats" / "data" / "sources.safetensors")


if __name__ == "__main__":
    main()
