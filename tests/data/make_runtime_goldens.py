#!/usr/bin/env python3
"""Writes tests/quantize/data/source_<level>.bin of the levels that other runtimes read: random blocks, and the CRC-32 of
what they stand for by the runtimes' own definitions, in numpy's arithmetic.

    pip install numpy && python3 tests/data/make_runtime_goldens.py
    pip install mlx compressed-tensors torch && python3 tests/data/make_runtime_goldens.py check

The second line asks the runtimes' own packages what the files' blocks are, and compares.

 - compressed-tensors, pack-quantized: codes of 4 or 8 bits from the lowest bits of an int32 on, less 8 or 128, times the
   scale (compressors/quantized_compressors/pack_quantized.py, unpack_from_int32).
 - MLX: codes in a dense stream of bits, times the scale, plus the bias (mlx/ops.cpp, affine_dequantize).
 - E4M3 times a scale (DeepSeek-V3, inference/kernel.py, weight_dequant).

A file is BLOCKS blocks of the level's bytes and the CRC-32 of their weights as little-endian f32, rounded once.
"""
import pathlib
import sys
import zlib

import numpy as np


BLOCKS = 20


def e4m3(codes):
    """OCP's FP8 E4M3 without its NaNs."""
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.float64)
    value = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), np.ldexp(1 + mantissa / 8, exponent - 7))
    return np.where(codes & 0x80, -value, value)


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


def of_mlx(blocks, bits, group):
    import mlx.core as mx

    halves = np.ascontiguousarray(blocks[:, :4]).view("<u2").astype(np.uint32) << 16
    scales, biases = (mx.array(halves[:, i : i + 1].copy().view(np.float32)) for i in (0, 1))
    packed = mx.array(np.ascontiguousarray(blocks[:, 4:]).view("<u4"))
    return np.array(mx.dequantize(packed, scales, biases, group_size=group, bits=bits))


def of_compressed_tensors(blocks, bits, group):
    import torch
    from compressed_tensors.compressors import pack_quantized

    halves = np.ascontiguousarray(blocks[:, :2]).view("<u2").astype(np.uint32) << 16
    packed = torch.tensor(np.ascontiguousarray(blocks[:, 2:]).view("<i4").copy())
    codes = pack_quantized.unpack_from_int32(packed, bits, torch.Size((len(blocks), group)))
    return halves.view(np.float32) * codes.numpy().astype(np.float32)


def of_torch(blocks):
    import torch

    codes = torch.tensor(blocks[:, 4:].copy()).view(torch.float8_e4m3fn).to(torch.float32).numpy()
    return np.ascontiguousarray(blocks[:, :4]).view("<f4") * codes


def of_packages(level, blocks):
    if level == "fp8b":
        return of_torch(blocks)
    if level.startswith("mlx"):
        return of_mlx(blocks, int(level[3]), int(level[5:]))
    return of_compressed_tensors(blocks, int(level[1]), int(level[3:] or 128))


def check(folder):
    differ = 0
    for path in sorted(folder.glob("source_[wmf]*.bin")):
        level = path.stem[len("source_") :]
        if level == "f8_e4m3":
            continue
        data = path.read_bytes()
        blocks = np.frombuffer(data[:-4], np.uint8).reshape(BLOCKS, -1)
        same = data[-4:] == np.array([zlib.crc32(of_packages(level, blocks).astype("<f4").tobytes())], "<u4").tobytes()
        differ += not same
        print(f"{level}: {'the same' if same else 'OTHER WEIGHTS'}")
    return differ


def main():
    folder = pathlib.Path(__file__).resolve().parents[1] / "quantize" / "data"
    if sys.argv[1:] == ["check"]:
        sys.exit(check(folder))
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
