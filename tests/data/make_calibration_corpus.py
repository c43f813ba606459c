#!/usr/bin/env python3
"""Makes tests/fuzz/corpus/calibration: a calibration and imatrix files of the model in fuzz_calibration.c, and some
that are wrong.

    pip install gguf numpy
    tests/data/make_calibration_corpus.py
"""
import json
import pathlib
import re
import struct

import numpy as np
from gguf import GGUFWriter

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/fuzz/corpus/calibration"
ROLES = {"attn_q": (1, 32), "attn_k": (1, 32), "attn_v": (1, 32), "attn_o": (1, 32),
         "expert_gate": (2, 32), "expert_up": (2, 32), "expert_down": (2, 48)}
NAMES = {"attn_q": "attn_q", "attn_k": "attn_k", "attn_v": "attn_v", "attn_o": "attn_output",
         "expert_gate": "ffn_gate_exps", "expert_up": "ffn_up_exps", "expert_down": "ffn_down_exps"}


def config():
    text = (ROOT / "tests/fuzz/fuzz_calibration.c").read_text()
    body = text[text.index("config[] =") : text.index(";\n", text.index("config[] ="))]
    return "".join(json.loads(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', body))


def calibration(name, change=lambda tensors, metadata: None):
    tensors = {}
    for role, (experts, cols) in ROLES.items():
        tensors[f"{role}.0.sums"] = np.full((experts, 7), 9, np.int64)
        if role != "expert_gate":
            tensors[f"{role}.0.in_sum2"] = np.arange(experts * cols * 2, dtype=np.int64).reshape(
                experts, 2 * cols)
    tensors["config.json"] = np.frombuffer(config().encode(), np.uint8)
    text = {"name": "t", "tokens": 9, "context": 9, "bytes": 30, "crc32": "00000001",
            "token_ids_crc32": "00000002"}
    metadata = {"format": "moeqcal", "moeqcal.version": "1", "moeqcal.producer": "moeq",
                "moeqcal.family": "mixtral",
                "moeqcal.model": json.dumps({"name": "m", "fingerprint": "0123abcd"}),
                "moeqcal.texts": json.dumps([text])}
    change(tensors, metadata)
    header, data = {"__metadata__": metadata}, b""
    for key, value in tensors.items():
        dtype = "U8" if value.dtype == np.uint8 else "I64"
        begin = len(data)
        data += value.tobytes()
        header[key] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [begin, len(data)]}
    head = json.dumps(header).encode()
    (OUT / name).write_bytes(struct.pack("<Q", len(head)) + head + data)


def imatrix(name, change=lambda tensors: None):
    tensors = {}
    for role, (experts, cols) in ROLES.items():
        key = f"blk.0.{NAMES[role]}.weight"
        tensors[key + ".in_sum2"] = np.ones((experts, cols), np.float32)
        tensors[key + ".counts"] = np.full((experts, 1), 3, np.float32)
    change(tensors)
    writer = GGUFWriter(OUT / name, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["t"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 1)
    for key, value in tensors.items():
        writer.add_tensor(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def dat(name, calls=2, tail=b"", cut=None):
    """imatrix.dat, as imatrix_dat.h draws it."""
    out = struct.pack("<i", len(ROLES))
    for role, (experts, cols) in ROLES.items():
        key = f"blk.0.{NAMES[role]}.weight".encode()
        values = np.arange(experts * cols, dtype="<f4") * calls
        out += struct.pack("<i", len(key)) + key + struct.pack("<ii", calls, values.size)
        out += values.tobytes()
    (OUT / name).write_bytes((out + tail)[:cut])


def negative(tensors, _):
    tensors["attn_q.0.in_sum2"][0, 5] = -1


def wide(tensors, _):
    tensors["attn_q.0.in_sum2"] = np.zeros((1, 66), np.int64)


def lacking(tensors, _):
    del tensors["expert_up.0.sums"]


def no_texts(_, metadata):
    metadata["moeqcal.texts"] = "[{}]"


def older(tensors):
    for key in [k for k in tensors if k.endswith("_exps.weight.counts")]:
        tensors[key] = tensors[key][:1]


def odd(tensors):
    tensors["blk.0.attn_q.weight.counts"][0] = np.nan
    tensors["blk.0.attn_k.weight.in_sum2"][0, 3] = -1
    tensors["blk.0.attn_v.weight.counts"] = tensors["blk.0.attn_v.weight.counts"].astype(np.float16)
    del tensors["blk.0.attn_output.weight.counts"]
    tensors["blk.0.ffn_up_exps.weight.in_sum2"] = np.ones((2, 31), np.float32)


def main():
    OUT.mkdir(exist_ok=True)
    calibration("sound")
    for change in (negative, wide, lacking, no_texts):
        calibration(change.__name__, change)
    imatrix("imatrix")
    for change in (older, odd):
        imatrix(change.__name__, change)
    dat("dat", tail=struct.pack("<ii", 5, 1) + b"t")
    dat("dat_cut", cut=-20)


if __name__ == "__main__":
    main()
