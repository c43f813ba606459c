#!/usr/bin/env python3
"""Gives the moeq files in tests/fuzz/corpus/moeq_file that have no checksums theirs, as NAME_sums
(formats/FORMAT.md, "Checksums"): python3 tests/data/make_checksum_corpus.py

Python's own modules alone. A second run changes nothing.
"""
import json
import pathlib
import struct
import zlib

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "corpus" / "moeq_file"


def with_checksums(file):
    (length,) = struct.unpack_from("<Q", file)
    header, data = json.loads(file[8 : 8 + length]), file[8 + length :]
    spans = sorted(t["data_offsets"] for name, t in header.items() if name != "__metadata__")
    words = len(spans) + 2
    header["moeq.crc32"] = {"dtype": "U32", "shape": [words],
                            "data_offsets": [len(data), len(data) + 4 * words]}
    text = json.dumps(header).encode()
    head = struct.pack("<Q", len(text)) + text
    table = b"".join(struct.pack("<I", zlib.crc32(data[a:b])) for a, b in spans)
    table += struct.pack("<I", zlib.crc32(head))
    return head + data + table + struct.pack("<I", zlib.crc32(table))


for path in sorted(CORPUS.iterdir()):
    file = path.read_bytes()
    if not path.name.endswith("_sums") and file[:1] != b"{" and b"moeq.crc32" not in file:
        path.with_name(path.name + "_sums").write_bytes(with_checksums(file))
