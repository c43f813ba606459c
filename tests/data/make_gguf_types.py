#!/usr/bin/env python3
"""Writes tests/formats/data/gguf_types.txt: the types of tensors that the `gguf` package knows.

    python make_gguf_types.py OUTPUT

One line a type: id, name, weights a block, bytes a block.
"""
import sys

from gguf import GGML_QUANT_SIZES

with open(sys.argv[1], "w") as out:
    for type_, (weights, size) in sorted(GGML_QUANT_SIZES.items()):
        print(int(type_), type_.name, weights, size, file=out)
