#!/usr/bin/env python3
"""Writes tests/quantize/data/source_<level>.bin of the levels that other runtimes read: random blocks, and the CRC-32 of
what they stand for by the runtimes' own definitions, in numpy's arithmetic.

    pip install numpy && python3 tests/data/make_runtime_goldens.py

 - compressed-tensors, pack-quantized: codes of 4 or 8 bits from the lowest bits of an int32 on, less 8 or 128, times the
   scale (compressors/quantized_compressors/pack_quantized.py, unpack_from_int32).
 - MLX: codes in a dense stream of bits, times the scale, plus the bias (mlx/ops.cpp, affine_dequantize).
 - E4M3 times a scale (DeepSeek-V3, inference/kernel.py, weight_dequant).

A file is BLOCKS blocks of the level's bytes and the CRC-32 of their weights as little-endian f32, rounded once.
"""
import pathlib
import zlib

import numpy as np

from make_gguf_goldens import e4m3

BLOCKS = 20


def bf16s(rng, count):
    """Finite ones of either sign and any size, as bytes and as numbers; the first is 0."""
    halves = rng.integers(0, 65536, count, dtype=np.uint16)
    halves[(halves & 0x7000) == 0x7000] ^= 0x4000  # products with codes stay finite
    halves[0] = 0
    values = (halves.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return halves.astype("<u2").view(np.uint8).reshape(count, 2), values[:, None]


def stream(packed, bits):
    """Unsigned codes of so many bits, the first in the lowest bits of the first byte."""
    flat = np.unpackbits(packed, axis=1, bitorder="little").reshape(packed.shape[0], -1, bits)
    return (flat.astype(np.int64) << np.arange(bits)).sum(axis=2).astype(np.float64)


def symmetric(rng, bits, group):
    scales, d = bf16s(rng, BLOCKS)
    packed = rng.integers(0, 256, (BLOCKS, group * bits // 8), dtype=np.uint8)
    return np.concatenate([scales, packed], axis=1), d * (stream(packed, bits) - 2 ** (bits - 1))


def affine(rng, bits, group):
    (scales, d), (biases, b) = bf16s(rng, BLOCKS), bf16s(rng, BLOCKS)
    packed = rng.integers(0, 256, (BLOCKS, group * bits // 8), dtype=np.uint8)
    exact = d * stream(packed, bits)
    # a float64 holds the sum unless the two are far apart, when the smaller one does not count
    return np.concatenate([scales, biases, packed], axis=1), exact + b


def floats(rng):
    codes = rng.integers(0, 256, (BLOCKS, 128), dtype=np.uint8)
    codes[(codes & 0x7F) == 0x7F] ^= 1
    scales = (rng.standard_normal(BLOCKS) * 2.0 ** rng.integers(-30, 30, BLOCKS)).astype("<f4")
    blocks = np.concatenate([scales.view(np.uint8).reshape(BLOCKS, 4), codes], axis=1)
    return blocks, e4m3(codes) * scales.astype(np.float64)[:, None]


def main():
    folder = pathlib.Path(__file__).resolve().parents[1] / "quantize" / "data"
    rng = np.random.default_rng(20240601)
    levels = {f"w{bits}{name}": symmetric(rng, bits, group) for bits in (4, 8)
              for name, group in (("g32", 32), ("g64", 64), ("g128", 128), ("c", 128))}
    levels |= {f"mlx{bits}g{group}": affine(rng, bits, group) for bits in (2, 3, 4, 5, 6, 8)
               for group in (32, 64, 128)}
    levels["fp8b"] = floats(rng)
    for level, (blocks, weights) in levels.items():
        weights = weights.astype("<f4")
        assert np.isfinite(weights).all()
        crc = np.array([zlib.crc32(weights.tobytes())], dtype="<u4")
        (folder / f"source_{level}.bin").write_bytes(blocks.tobytes() + crc.tobytes())


if __name__ == "__main__":
    main()
