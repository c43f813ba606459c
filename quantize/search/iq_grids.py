#!/usr/bin/env python3
"""Writes quantize/iq_grids_list.h, the codebooks of GGML's IQ types, from the PyPI package `gguf`.

    pip install numpy gguf && python3 quantize/search/iq_grids.py > quantize/iq_grids_list.h

A codebook is a fact of the format that no rule gives: GGML's authors chose the entries. Here each entry is four
hexadecimal digits: its magnitudes' numbers, the first in the lowest bits, 2 bits each of 8 or 4 bits each of 4.
"""
import numpy as np
from gguf import quants

ROW = 16
BOOKS = [("IQ1_S", quants.IQ1_S), ("IQ2_XXS", quants.IQ2_XXS), ("IQ2_XS", quants.IQ2_XS), ("IQ2_S", quants.IQ2_S),
         ("IQ3_XXS", quants.IQ3_XXS), ("IQ3_S", quants.IQ3_S)]


def packed(kind):
    kind.init_grid()
    entries = kind.grid.reshape(kind.grid_shape)
    bits = 16 // kind.grid_shape[1]
    numbers = np.searchsorted(np.array(kind.grid_map, dtype=np.float32), entries)
    return (numbers << bits * np.arange(kind.grid_shape[1])).sum(axis=1)


def main():
    print("/*\n * iq_grids_list.h: the codebooks of GGML's IQ types, written by search/iq_grids.py. X takes A, then 16\n"
          " * entries of four hexadecimal digits each; what they stand for: iq_grids.c.\n */")
    print("#ifndef MQ_IQ_GRIDS_LIST_H\n#define MQ_IQ_GRIDS_LIST_H\n\n/* clang-format off */")
    for name, kind in BOOKS:
        entries = packed(kind)
        rows = [",".join(f"{e:04x}" for e in entries[at : at + ROW]) for at in range(0, len(entries), ROW)]
        print(f"#define MQ_{name}_LIST(X, A) \\")
        print(" \\\n".join(f"    X(A,{row})" for row in rows))
        print()
    print("/* clang-format on */\n#endif")


if __name__ == "__main__":
    main()
