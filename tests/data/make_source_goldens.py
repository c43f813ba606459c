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


def write(path):
    """F8_E4M3 is no type of numpy's: its codes are bytes, and the header says so afterwards."""
    data = save(dict(sorted(tensors.items())))
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].decode()
    for name in tensors:
        if name.startswith("f8.") and tensors[name].dtype == np.uint8:
            header = header.replace(f'"{name}":{{"dtype":"U8"', f'"{name}":{{"dtype":"F8_E4M3"')
    header = header.rstrip()
    header += " " * (-(8 + len(header)) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data[8 + size :])


def main():
    plain_layouts()
    wide_transposed()
    fp8()
    mxfp4()
    packed()
    write(pathlib.Path(__file__).resolve().parents[1] / "formats" / "data" / "sources.safetensors")


if __name__ == "__main__":
    main()
