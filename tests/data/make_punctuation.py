#!/usr/bin/env python3
"""Prints the ranges of formats/tokenizer/punctuation.c: the characters at which the pre-tokenizer
Punctuation of the `tokenizers` library splits.

    pip install tokenizers==0.23.3
    python3 tests/data/make_punctuation.py
"""
from tokenizers import pre_tokenizers

COLUMNS = 100


def is_punctuation(split, codes):
    """Those of the codes that are pieces of their own between letters."""
    text = "a" + "a".join(map(chr, codes)) + "a"
    starts = {start for _, (start, end) in split.pre_tokenize_str(text) if end - start == 1}
    return [code for i, code in enumerate(codes) if 2 * i + 1 in starts]


def main():
    split = pre_tokenizers.Punctuation("isolated")
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    ranges = []
    for i in range(0, len(codes), 4096):
        for code in is_punctuation(split, codes[i : i + 4096]):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    line = "   "
    for first, last in ranges:
        item = f" {{{first:#x}, {last:#x}}},"
        if len(line) + len(item) > COLUMNS:
            print(line)
            line = "   "
        line += item
    print(line)


if __name__ == "__main__":
    main()
