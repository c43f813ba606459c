#!/usr/bin/env python3
"""Writes tests/formats/data/gguf_vocab_{demo,bytes}.txt: the tokenizer's keys in a GGUF file, by
independent means: the `sentencepiece` package reads the model that demo/model's tokenizer.json was
converted from, and `gguf` (whose SpecialVocab llama.cpp's converter uses) does the rest.

    pip install gguf sentencepiece
    python3 tests/data/make_gguf_vocab_goldens.py TOKENIZER.MODEL

A line is a key: name, type, value; an array has all its elements in the line. Texts are JSON.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import gguf
from sentencepiece import SentencePieceProcessor

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "formats" / "data"
NAMES = {
    gguf.GGUFValueType.STRING: "string",
    gguf.GGUFValueType.FLOAT32: "f32",
    gguf.GGUFValueType.INT32: "i32",
    gguf.GGUFValueType.UINT32: "u32",
    gguf.GGUFValueType.BOOL: "bool",
}


def text(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "%.9g" % value


def dump(path):
    """The lines of a file's tokenizer keys."""
    for name, field in gguf.GGUFReader(path).fields.items():
        if not name.startswith("tokenizer."):
            continue
        value = field.contents()
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            yield f"{name} {NAMES[field.types[-1]]}[{len(value)}] " + " ".join(map(text, value))
        else:
            yield f"{name} {NAMES[field.types[0]]} {text(value)}"


def sentencepiece_tokens(path):
    """As sentencepiece has them."""
    model = SentencePieceProcessor(str(path))
    for i in range(model.vocab_size()):
        kind = gguf.TokenType.NORMAL
        if model.IsUnknown(i):
            kind = gguf.TokenType.UNKNOWN
        elif model.IsControl(i):
            kind = gguf.TokenType.CONTROL
        elif model.IsByte(i):
            kind = gguf.TokenType.BYTE
        yield model.IdToPiece(i), model.GetScore(i), kind


def byte_level_tokens(tokenizer):
    """Pieces, then the added tokens behind them, special or not."""
    tokens = {i: (piece, gguf.TokenType.NORMAL) for piece, i in tokenizer["model"]["vocab"].items()}
    for added in tokenizer["added_tokens"]:
        special = added["special"]
        kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
        tokens[added["id"]] = (added["content"], kind)
    return [tokens[i] for i in range(len(tokens))]


def write(name, tokenizer, config, model_name, pre, tokens, scores, kinds, merges):
    """A GGUF file of the tokenizer alone, and its golden."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        shutil.copy(tokenizer, folder / "tokenizer.json")
        shutil.copy(config, folder / "tokenizer_config.json")
        (folder / "config.json").write_text("{}")
        writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
        writer.add_tokenizer_model(model_name)
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        if scores:
            writer.add_token_scores(scores)
        writer.add_token_types(kinds)
        special = gguf.SpecialVocab(folder, load_merges=merges, n_vocab=len(tokens))
        special.add_to_gguf(writer)
        if model_name == "llama":  # llama.cpp follows it in no other of these
            writer.add_add_space_prefix(json.loads(config.read_text())["add_prefix_space"])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        lines = sorted(dump(folder / "x.gguf"))
    # moeq writes nothing on pairs of texts.
    lines = [line for line in lines if not line.startswith("tokenizer.ggml.add_sep_token")]
    (DATA / f"gguf_vocab_{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    tokens, scores, kinds = zip(*sentencepiece_tokens(sys.argv[1]))
    write("demo", ROOT / "demo" / "model" / "tokenizer.json", DATA / "gguf_vocab_demo_config.json",
          "llama", "default", tokens, scores, kinds, False)
    path = ROOT / "tests" / "tokenizer" / "data" / "byte_level.json"
    tokens, kinds = zip(*byte_level_tokens(json.loads(path.read_text(encoding="utf-8"))))
    write("bytes", path, DATA / "gguf_vocab_bytes_config.json", "gpt2", "llama-bpe", tokens, None,
          kinds, True)


if __name__ == "__main__":
    main()
