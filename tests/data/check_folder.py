"""Opens a folder that moeq export --format wrote with the safetensors library, decodes each matrix by its runtime's own
definition in numpy, and compares it with the original's.

usage: check_folder.py ORIGINAL FOLDER BOUND     BOUND: largest relative error of a matrix
"""
import glob
import json
import re
import sys

import numpy as np
from safetensors import safe_open

DTYPES = {"F16": "<f2", "F32": "<f4", "U32": "<u4", "I32": "<i4", "I8": "i1", "U8": "u1", "I64": "<i8",
          "F8_E4M3": "u1", "BF16": "<u2"}


def tensors(folder):
    """name -> (dtype, array); numpy has neither bfloat16 nor E4M3, so the bytes are read here where safetensors says."""
    found = {}
    for path in sorted(glob.glob(folder + "/*.safetensors")):
        with safe_open(path, "np") as f, open(path, "rb") as raw:
            size = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(size))
            for name in f.keys():
                piece = f.get_slice(name)
                begin, end = header[name]["data_offsets"]
                raw.seek(8 + size + begin)
                array = np.frombuffer(raw.read(end - begin), DTYPES[piece.get_dtype()]).reshape(piece.get_shape())
                if piece.get_dtype() == "BF16":
                    array = (array.astype(np.uint32) << 16).view(np.float32)
                found[name] = array
    return found


def stream(words, bits):
    """Unsigned codes of a dense little-endian stream along the row."""
    flat = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder="little")
    return (flat.reshape(*words.shape[:-1], -1, bits) << np.arange(bits)).sum(-1).astype(np.float32)


def grouped(values, scales):
    return values.reshape(*scales.shape, -1) * scales.astype(np.float32)[..., None]


def e4m3():
    code = np.arange(256)
    exponent, fraction = code >> 3 & 15, (code & 7) / 8
    value = np.where(exponent == 0, fraction * 2.0 ** -6, (1 + fraction) * 2.0 ** (exponent - 7.0))
    return np.where(code & 128, -value, value).astype(np.float32)


def matrices(found):
    for name in found:
        module, _, end = name.rpartition(".")
        if end == "scales":
            words, scales, biases = found[module + ".weight"], found[name], found[module + ".biases"]
            bits = words.shape[-1] * 32 // (scales.shape[-1] * config_group(module))
            codes = stream(words, bits)
            yield module, (grouped(codes, scales) + biases.astype(np.float32)[..., None]).reshape(codes.shape)
        elif end == "weight_packed":
            rows, cols = found[module + ".weight_shape"]
            bits = found[name].shape[1] * 32 // cols
            codes = stream(found[name], bits) - 2 ** (bits - 1)
            yield module, grouped(codes, found[module + ".weight_scale"]).reshape(rows, cols)
        elif end == "weight_scale_inv":
            blocks = np.kron(found[name], np.ones((128, 128), np.float32))
            codes = found[module + ".weight"]
            yield module, e4m3()[codes] * blocks[:codes.shape[0], :codes.shape[1]]
        elif end == "weight_scale" and module + ".weight" in found:
            yield module, found[module + ".weight"] * found[name]


original, folder, bound = sys.argv[1], sys.argv[2], float(sys.argv[3])
config = json.load(open(folder + "/config.json"))


def config_group(module):
    how = config["quantization"]
    return how.get(module, how)["group_size"]


found, source = tensors(folder), tensors(original)
worst, count = 0, 0
for module, decoded in matrices(found):
    experts = decoded if decoded.ndim == 3 else [decoded]
    for i, matrix in enumerate(experts):
        name = module
        for mlx, own in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
            name = re.sub(rf"switch_mlp\.{mlx}_proj$", f"experts.{i}.{own}", name)
        want = source[name + ".weight"]
        assert matrix.shape == want.shape, (name, matrix.shape, want.shape)
        worst = max(worst, float(np.sqrt(((matrix - want) ** 2).sum() / (want ** 2).sum())))
        count += 1
for name, array in found.items():
    if name in source and array.dtype == source[name].dtype and "." + name.rpartition(".")[2] == ".weight":
        assert (array == source[name]).all(), name
assert count >= 84 and worst <= bound, (folder, count, worst)
index = folder + "/model.safetensors.index.json"
for name in json.load(open(index))["weight_map"] if glob.glob(index) else []:
    assert name in found, name
print(f"{folder}: {count} matrices, worst relative error {worst:.4f}")
