"""Writing checkpoints: safetensors files, and weights as they are quantized in published ones."""

import json

import numpy as np

from .checkpoint import E4M3, FP4

STORED = {"BF16": "<u2", "F32": "<f4", "I32": "<i4", "I64": "<i8", "U8": "u1", "F8_E4M3": "u1"}


def bf16_bits(values):
    """Rounded to the nearest, ties to even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def bf16(values):
    return (bf16_bits(values).astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def write_st(path, tensors, metadata=None):
    """`tensors`: name -> (values or codes, dtype), in the order of their names."""
    header, parts, at = {"__metadata__": metadata or {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        values, dtype = tensors[name]
        stored = bf16_bits(values) if dtype == "BF16" else np.asarray(values).astype(STORED[dtype])
        part = np.ascontiguousarray(stored).tobytes()
        shape = list(np.shape(values))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


def nearest(values, table):
    """The index of the nearest entry of an ascending table."""
    at = np.clip(np.searchsorted(table, values), 1, len(table) - 1)
    return at - (values - table[at - 1] <= table[at] - values)


def fp8_blocks(w, scale_dtype, powers_of_two=False):
    """Blocks of 128 x 128, those at the edges smaller: codes and scales."""
    rows, cols = -(-w.shape[0] // 128), -(-w.shape[1] // 128)
    scales = np.empty((rows, cols))
    for r in range(rows):
        for c in range(cols):
            block = w[r * 128 : (r + 1) * 128, c * 128 : (c + 1) * 128]
            scales[r, c] = np.abs(block).max() / E4M3[0x7E]
    if powers_of_two:
        scales = 2.0 ** np.ceil(np.log2(scales))
    scales = bf16(scales) if scale_dtype == "BF16" else scales.astype(np.float32).astype(np.float64)
    whole = np.kron(scales, np.ones((128, 128)))[: w.shape[0], : w.shape[1]]
    codes = nearest(np.minimum(np.abs(w) / whole, E4M3[0x7E]), E4M3[:0x7F])
    return (codes | (w < 0) << 7).astype(np.uint8), scales


def mxfp4(w):
    """[experts, rows, inputs]: blocks of 32 inputs, two codes a byte, and their exponents."""
    x = w.reshape(*w.shape[:2], -1, 32)
    exponents = np.floor(np.log2(np.maximum(np.abs(x).max(-1), 2.0**-100))) - 2
    codes = nearest(np.abs(x) / 2.0 ** exponents[..., None], FP4[:8]) | (x < 0) << 3
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8), exponents + 127


def int4(w, group=32):
    """Symmetric: words of eight codes, a scale for each group of a row."""
    rows, cols = w.shape
    x = w.reshape(rows, -1, group)
    scales = bf16(np.abs(x).max(-1) / 7.5)
    codes = (
        np.clip(np.round(x / scales[..., None]), -8, 7).astype(np.int64).reshape(rows, -1, 8) + 8
    )
    words = (codes << 4 * np.arange(8)).sum(-1).astype(np.uint32)
    return words.view(np.int32), scales
