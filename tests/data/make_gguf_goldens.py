#!/usr/bin/env python3
"""Writes tests/quantize/data/gguf_<level>.bin: random blocks and what the PyPI package `gguf`,
an independent decoder in numpy, makes of them. And source_<level>.bin: blocks that GGUF does not
have, and what their definition in quantize/source_blocks.c is in numpy's arithmetic.

    pip install numpy gguf && python3 tests/data/make_gguf_goldens.py

A file is BLOCKS blocks of the level's bytes, followed by their weights as little-endian f32; of the levels
with codebooks, MANY blocks, to meet nearly all entries, and the CRC-32 of the weights. All bytes are random except
that scales are finite halves; subnormal, negative and zero ones occur.
"""
import pathlib
import zlib

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

BLOCKS = 64
# level: type, bytes of a block, where its halves are
LEVELS = {
    "q8_0": (GGMLQuantizationType.Q8_0, 34, (0,)),
    "q4_k": (GGMLQuantizationType.Q4_K, 144, (0, 2)),
    "q3_k": (GGMLQuantizationType.Q3_K, 110, (108,)),
    "q5_k": (GGMLQuantizationType.Q5_K, 176, (0, 2)),
    "q6_k": (GGMLQuantizationType.Q6_K, 210, (208,)),
    "q2_k": (GGMLQuantizationType.Q2_K, 84, (80, 82)),
    "q4_0": (GGMLQuantizationType.Q4_0, 18, (0,)),
    "q4_1": (GGMLQuantizationType.Q4_1, 20, (0, 2)),
    "q5_0": (GGMLQuantizationType.Q5_0, 22, (0,)),
    "q5_1": (GGMLQuantizationType.Q5_1, 24, (0, 2)),
    "mxfp4": (GGMLQuantizationType.MXFP4, 17, ()),
}
MANY = 128
# Likewise; None: the four bits of IQ1_M's half are in four places.
CODEBOOKS = {
    "iq4_nl": (GGMLQuantizationType.IQ4_NL, 18, (0,)),
    "iq4_xs": (GGMLQuantizationType.IQ4_XS, 136, (0,)),
    "iq3_s": (GGMLQuantizationType.IQ3_S, 110, (0,)),
    "iq3_xxs": (GGMLQuantizationType.IQ3_XXS, 98, (0,)),
    "iq2_s": (GGMLQuantizationType.IQ2_S, 82, (0,)),
    "iq2_xs": (GGMLQuantizationType.IQ2_XS, 74, (0,)),
    "iq2_xxs": (GGMLQuantizationType.IQ2_XXS, 66, (0,)),
    "iq1_m": (GGMLQuantizationType.IQ1_M, 56, None),
    "iq1_s": (GGMLQuantizationType.IQ1_S, 50, (0,)),
    "tq1_0": (GGMLQuantizationType.TQ1_0, 54, (52,)),
    "tq2_0": (GGMLQuantizationType.TQ2_0, 66, (64,)),
    "nvfp4": (GGMLQuantizationType.NVFP4, 36, ()),
}


def e4m3(codes):
    """OCP's FP8 E4M3 without its NaNs."""
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.float64)
    value = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), np.ldexp(1 + mantissa / 8, exponent - 7))
    return np.where(codes & 0x80, -value, value)


def nibbles(codes):
    return np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float64) - 8


# level: bytes of codes behind an f32 scale, what they stand for
SCALED = {
    "f8_e4m3": (128, e4m3),
    "i4_32": (16, nibbles),
    "i8_32": (32, lambda codes: codes.astype(np.float64) - 128),
}


def random_blocks(rng, count, block_bytes, halves):
    blocks = rng.integers(0, 256, (count, block_bytes), dtype=np.uint8)
    for at in halves or ():
        scales = rng.integers(0, 65536, count, dtype=np.uint16)
        scales[(scales & 0x7C00) == 0x7C00] ^= 0x4000  # infinities and NaNs become finite
        scales[0] = 0
        blocks[:, at : at + 2] = scales.astype("<u2").view(np.uint8).reshape(count, 2)
    if halves is None:  # the high nibbles of bytes 49, 51, 53, 55 are the half's, the last its highest
        infinite = ((blocks[:, 55] & 0x70) == 0x70) & ((blocks[:, 53] & 0xC0) == 0xC0)
        blocks[infinite, 55] ^= 0x40
    return blocks


def main():
    folder = pathlib.Path(__file__).resolve().parents[1] / "quantize" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20240501)
    for level, (kind, block_bytes, halves) in LEVELS.items():
        blocks = random_blocks(rng, BLOCKS, block_bytes, halves)
        if level == "mxfp4":
            blocks[:, 0] = np.minimum(blocks[:, 0], 252)  # 12 * 2^(252 - 128) is still finite
            blocks[:3, 0] = 0, 1, 2
        weights = dequantize(blocks, kind).astype("<f4")
        assert np.isfinite(weights).all()
        (folder / f"gguf_{level}.bin").write_bytes(blocks.tobytes() + weights.tobytes())
    for level, (code_bytes, decode) in SCALED.items():
        codes = rng.integers(0, 256, (BLOCKS, code_bytes), dtype=np.uint8)
        if level == "f8_e4m3":
            codes[(codes & 0x7F) == 0x7F] ^= 1
            codes[0] = np.arange(128) - (np.arange(128) == 127)
        scales = (rng.standard_normal(BLOCKS) * 2.0 ** rng.integers(-30, 30, BLOCKS)).astype("<f4")
        weights = (decode(codes) * scales.astype(np.float64)[:, None]).astype("<f4")  # rounded once
        blocks = np.concatenate([scales.view(np.uint8).reshape(BLOCKS, 4), codes], axis=1)
        (folder / f"source_{level}.bin").write_bytes(blocks.tobytes() + weights.tobytes())
    codes = rng.integers(0, 256, (BLOCKS, 32), dtype=np.uint8)  # a8_32: a scale and a bias
    scales = rng.standard_normal((BLOCKS, 2)).astype("<f4")
    weights = codes * scales[:, :1].astype(np.float64) + scales[:, 1:]  # exact in 53 bits
    blocks = np.concatenate([scales.view(np.uint8).reshape(BLOCKS, 8), codes], axis=1)
    (folder / "source_a8_32.bin").write_bytes(blocks.tobytes() + weights.astype("<f4").tobytes())
    rng = np.random.default_rng(20240502)
    for level, (kind, block_bytes, halves) in CODEBOOKS.items():
        blocks = random_blocks(rng, MANY, block_bytes, halves)
        weights = dequantize(blocks, kind).astype("<f4")
        assert np.isfinite(weights).all()
        crc = np.array([zlib.crc32(weights.tobytes())], dtype="<u4")
        (folder / f"gguf_{level}.bin").write_bytes(blocks.tobytes() + crc.tobytes())


if __name__ == "__main__":
    main()
