"""How other runtimes' folders hold quantized matrices, in numpy alone: bits, words, scales and zero points.

Written from the layouts as their makers document them, and held against the makers' own code by runtimes.py. A matrix is
[rows, cols] of outputs and inputs, as Hugging Face has them; codes are unsigned.

    packed   compressed-tensors, pack-quantized: rows of bits, zero points packed along rows
    gptq     words of inputs, zero points in words of outputs (version 1: one less)
    awq      words of outputs in the order 0, 2, 4, 6, 1, 3, 5, 7
    mlx      rows of bits, w = scale * code + bias
    fp8      E4M3 with a scale for each block of rows and columns
    rows     I8 or E4M3 with a scale for each row
"""
import json
import pathlib

import numpy as np

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
         "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1", "F8_E4M3": "u1", "F8_E8M0": "u1"}


# ---- files ----


class Tensor:
    """What a file has: the type's name and the numbers, those that numpy has no type for as their bits."""

    def __init__(self, dtype, array):
        self.dtype, self.array = dtype, np.ascontiguousarray(array, TYPES[dtype])

    def f32(self):
        return to_f32(self.array, self.dtype)


def read_folder(folder):
    """Name -> Tensor, of all files of a folder."""
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        tensors.update(read_file(path))
    return tensors


def read_file(path):
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view("<u8")[0])
    header = json.loads(data[8 : 8 + size].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        start, end = info["data_offsets"]
        raw = np.array(data[8 + size + start : 8 + size + end])
        tensors[name] = Tensor(info["dtype"], raw.view(TYPES[info["dtype"]]).reshape(info["shape"]))
    return tensors


def write_file(path, tensors, metadata=None):
    header, at = {"__metadata__": metadata or {"format": "pt"}}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": list(t.array.shape), "data_offsets": [at, at + t.array.nbytes]}
        at += t.array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for t in tensors.values():
            out.write(t.array.tobytes())


def write_folder(folder, source, tensors, changes, metadata=None):
    """A folder as `source`, with these tensors in one file and config.json changed."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in pathlib.Path(source).iterdir():
        if path.suffix in (".json", ".model", ".jinja", ".txt") and not path.name.startswith("model.safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.update(changes)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    write_file(folder / "model.safetensors", tensors, metadata)
    return folder


# ---- numbers ----


def to_f32(array, dtype):
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E4M3":
        return from_e4m3(array)
    return array.astype(np.float32)


def to_bf16(x):
    """Bits of the nearest, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def bf16(x):
    return Tensor("BF16", to_bf16(x))


def round_bf16(x):
    return to_f32(to_bf16(x), "BF16")


def from_e4m3(bits):
    bits = bits.astype(np.int32)
    exponent, fraction = bits >> 3 & 15, bits & 7
    value = np.where(exponent, np.ldexp(1 + fraction / 8, exponent - 7), np.ldexp(fraction / 8, -6))
    value = np.where(bits & 127 == 127, np.nan, value)
    return np.where(bits & 128, -value, value).astype(np.float32)


# ---- bits ----


def pack_bits(codes, bits):
    """[..., n] -> uint32 [..., ceil(n bits / 32)]: a stream of bits, the lowest first."""
    codes = np.asarray(codes)
    stream = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(*codes.shape[:-1], -1)
    stream = np.pad(stream, [(0, 0)] * (stream.ndim - 1) + [(0, -stream.shape[-1] % 32)])
    return np.packbits(stream, axis=-1, bitorder="little").view("<u4")


def unpack_bits(words, bits, n):
    words = np.ascontiguousarray(words).view(np.uint8)
    stream = np.unpackbits(words, axis=-1, bitorder="little")[..., : n * bits]
    return (stream.reshape(*stream.shape[:-1], n, bits) << np.arange(bits)).sum(-1).astype(np.int32)


def spread(of_groups, cols):
    """[rows, groups] -> [rows, cols]"""
    return np.repeat(of_groups, cols // of_groups.shape[1], axis=1)


# ---- layouts: decoding, from a function that gives a module's tensor by its name's end ----


def decode_packed(get, bits):
    rows, cols = get("weight_shape").array
    half = 1 << bits - 1
    codes = unpack_bits(get("weight_packed").array, bits, cols) - half
    scale = get("weight_scale").f32()
    zero = get("weight_zero_point")
    if zero is not None:
        zeros = unpack_bits(np.ascontiguousarray(zero.array.T), bits, rows).T - half
        codes = codes - spread(zeros, cols)
    return codes.astype(np.float32) * spread(scale, cols)


def decode_gptq(get, bits, version):
    words, scale = get("qweight").array, get("scales").f32()
    cols, rows = words.shape[0] * 32 // bits, words.shape[1]
    codes = unpack_bits(np.ascontiguousarray(words.T), bits, cols).T
    zeros = unpack_bits(get("qzeros").array, bits, rows) + (version == 1)
    group = get("g_idx").array
    return ((codes - zeros[group]).astype(np.float32) * scale[group]).T


def decode_awq(get):
    scale = get("scales").f32()
    group = get("qweight").array.shape[0] // scale.shape[0]
    codes, zeros = awq_codes(get("qweight").array), awq_codes(get("qzeros").array)
    return ((codes - np.repeat(zeros, group, 0)).astype(np.float32) * np.repeat(scale, group, 0)).T


def awq_codes(words):
    nibbles = unpack_bits(words[..., None], 4, 8)
    codes = np.empty_like(nibbles)
    codes[..., list(AWQ_ORDER)] = nibbles
    return codes.reshape(words.shape[0], -1)


def decode_mlx(get, bits, group):
    scale, bias = get("scales").f32(), get("biases").f32()
    codes = unpack_bits(get("weight").array, bits, scale.shape[-1] * group)
    blocks = codes.reshape(*scale.shape, group).astype(np.float32)
    return (blocks * scale[..., None] + bias[..., None]).reshape(codes.shape)


def decode_fp8(get, scale_name, block):
    weight, scale = get("weight").f32(), get(scale_name).f32()
    scale = np.repeat(np.repeat(scale, block[0], 0), block[1], 1)[: weight.shape[0], : weight.shape[1]]
    return weight * scale


def decode_rows(get):
    """A scale for each row: int8, and FP8 by channels."""
    zero = get("weight_zero_point")
    return (get("weight").f32() - (zero.f32() if zero else 0)) * get("weight_scale").f32()


# ---- layouts: encoding codes that somebody has chosen ----


def encode_packed(codes, scale, bits, zeros=None):
    """codes 0 ... 2^bits - 1, zeros of the same kind; scale [rows, groups]."""
    tensors = {"weight_packed": Tensor("I32", pack_bits(codes, bits).view("<i4")),
               "weight_scale": bf16(scale),
               "weight_shape": Tensor("I64", codes.shape)}
    if zeros is not None:
        tensors["weight_zero_point"] = Tensor("I32", pack_bits(zeros.T, bits).view("<i4").T)
    return tensors


def encode_gptq(codes, scale, zeros, bits, version, order=None):
    """order: of which group each column is; None: in place."""
    cols = codes.shape[1]
    group = np.arange(cols) // (cols // scale.shape[1]) if order is None else order
    return {"qweight": Tensor("I32", pack_bits(codes, bits).view("<i4").T),
            "qzeros": Tensor("I32", pack_bits((zeros.T - (version == 1)) & (1 << bits) - 1, bits).view("<i4")),
            "scales": Tensor("F16", scale.T), "g_idx": Tensor("I32", group)}


def encode_awq(codes, scale, zeros):
    return {"qweight": Tensor("I32", awq_words(codes.T)), "qzeros": Tensor("I32", awq_words(zeros.T)),
            "scales": Tensor("F16", scale.T)}


def awq_words(codes):
    nibbles = codes.reshape(codes.shape[0], -1, 8)[..., list(AWQ_ORDER)]
    return pack_bits(nibbles, 4).view("<i4")[..., 0]


def encode_mlx(codes, scale, bias, bits):
    return {"weight": Tensor("U32", pack_bits(codes, bits)), "scales": bf16(scale), "biases": bf16(bias)}
