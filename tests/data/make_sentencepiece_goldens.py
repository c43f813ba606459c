#!/usr/bin/env python3
"""Makes tests/tokenizer/data/sentencepiece: small models, and the ids that `sentencepiece` gives.

    pip install sentencepiece==0.2.3 protobuf tokenizers==0.23.3
    python3 tests/data/make_sentencepiece_goldens.py

  NAME.model         a model of a few hundred pieces, one for each group of options
  NAME.jsonl         golden ids
  NAME.pieces        a piece a line: type, score, text as JSON
  tests/fuzz/corpus/sentencepiece  small models with a text
  ../options/unigram*.json, .jsonl  the same idea in the `tokenizers` library: Unigram, Precompiled

The models are trained here, and a second training may differ in the last digits of scores: so they
are kept where they are there, and only the goldens are made anew (--train trains again).
"""
import base64
import io
import json
import random
import re
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Tokenizer

from make_tokenizer_goldens import DATA, SENTENCES, added, base, template, write_goldens

OUT = DATA / "sentencepiece"

# A small character map: what becomes what, by code points. (NFKC's has 240 kB.)
RULES = {
    "\u2460": "1", "\ufb01": "fi", "\u00c5": "A\u030a", "e\u0301": "\u00e9",
    "\u3000": " ", "\u00a0": " ", "\t": " ", "\u200b": "", "\u2026": "...", "\u00df": "ss",
    "\u1e9e": "SS", "\u30ab\u3099": "\u30ac", "ab\u0301c": "abc", "\u00bd": "1/2",
    "\u337f": "\u682a\u5f0f\u4f1a\u793e", "\r\n": "\n", "\u00ad": "", "\u2003": "  ",
}

TEXTS = SENTENCES + [
    "the then there them other rather weather", "boats, boats, boats and more boats.",
    "to be or not to be, that is the question", "1 12 123 1234 2024-01-31 10:20:30",
]

PLAIN = dict(normalization_rule_name="identity", remove_extra_whitespaces=False)
BYTES = dict(byte_fallback=True, vocab_size=600)
USER = dict(user_defined_symbols=["<x>", "the", "foo bar", "zz", "\ufb01"],
            control_symbols=["<sep>", "<cls>"])

MODELS = {
    "bpe_bytes": dict(model_type="bpe", **PLAIN, **BYTES),
    "bpe_rules": dict(model_type="bpe", rules=True, unused=True, vocab_size=360, **USER),
    "bpe_suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True, split_digits=True, rules=True,
                       **BYTES),
    "bpe_phrases": dict(model_type="bpe", split_by_whitespace=False, unused=True, escape=False,
                        rules=True, vocab_size=400, pad_id=3),
    "unigram_bytes": dict(model_type="unigram", split_by_whitespace=False, **PLAIN, **BYTES),
    "unigram_rules": dict(model_type="unigram", rules=True, add_dummy_prefix=False, unused=True,
                          vocab_size=320, **USER),
    "unigram_suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True, rules=True,
                           vocab_size=300, unk_id=2, bos_id=0, eos_id=1),
}


def train(path, rules=False, unused=False, escape=True, **options):
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as tsv:
        if rules:
            code = lambda text: " ".join(f"{ord(c):X}" for c in text)
            tsv.write("".join(f"{code(a)}\t{code(b)}\n" for a, b in RULES.items()))
            tsv.flush()
            options["normalization_rule_tsv"] = tsv.name
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 3), model_writer=model, minloglevel=2,
            hard_vocab_limit=False, num_threads=1, character_coverage=0.98, **options)
    proto = pb.ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.normalization_rule_tsv = ""
    rng = random.Random(1)
    for piece in proto.pieces:
        if unused and piece.type == piece.NORMAL and rng.random() < 0.2:
            piece.type = piece.UNUSED
    if not escape:
        proto.normalizer_spec.escape_whitespaces = False
    path.write_bytes(proto.SerializeToString(deterministic=True))


ALPHABET = list("aabbeeiinnrrsstt  .,'\n019\u00e9\u00df\u0416\u4e2d\U0001f642\u0301\t\r\0\u2581")
ALPHABET += list(RULES) + ["the ", " th", "  ", "   ", "\u2581\u2581", "zz", "foo bar", "<x>", "\u2581a",
                           "\ue000", "\U0010ffff", "\ufffd", "ab\u0301", "<0x41>", "boat"]


def texts():
    rng = random.Random(7)
    yield from ["", " ", "  ", "\n", "\u2581", " \u2581 ", "\t x", "x \t", "\0", "a\0b", "\r\n", " a  b ",
                "\u2581\u2581x", "  lead", "trail  ", "\u3000x\u3000", "\u200b", " \u200b "]
    yield from TEXTS
    for _ in range(50):
        yield "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(1, 40)))
    yield "a" * 700 + " " * 700 + "\n" * 300 + "7" * 400 + "!" * 300
    yield " ".join(TEXTS)
    yield "supercalifragilistic" * 100


def make(name, options):
    path = OUT / f"{name}.model"
    if "--train" in sys.argv or not path.exists():
        train(path, **options)
    sp = sentencepiece.SentencePieceProcessor(model_file=str(path))
    proto = pb.ModelProto.FromString(path.read_bytes())
    control = [re.escape(p.piece) for p in proto.pieces if p.type in (p.CONTROL, p.UNKNOWN)]
    with (OUT / f"{name}.jsonl").open("w", encoding="utf-8") as out:
        for i, text in enumerate(texts()):
            assert not re.search("|".join(control), text)  # those are found before the model
            specials = i % 2 == 0
            ids = [sp.bos_id()] * specials + sp.encode(text)
            line = {"text": text, "add_special_tokens": specials, "ids": ids}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
    with (OUT / f"{name}.pieces").open("w", encoding="utf-8") as out:
        for p in proto.pieces:
            out.write(f"{p.type} {p.score!r} {json.dumps(p.piece, ensure_ascii=False)}\n")


def make_unigram():
    """Unigram as T5's conversion has it, and one with bytes."""
    proto = pb.ModelProto.FromString((OUT / "unigram_rules.model").read_bytes())
    charsmap = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    vocab = [[p.piece, p.score] for p in proto.pieces]
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    t = base([], [])
    t["model"] = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}
    t["added_tokens"] = [added(i, vocab[i][0], special=True) for i in range(3)]
    t["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": charsmap},
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"},
        ],
    }
    t["pre_tokenizer"] = t["decoder"] = metaspace
    t["post_processor"] = template([], [2])
    proto = pb.ModelProto.FromString((OUT / "unigram_bytes.model").read_bytes())
    b = base([], [])
    b["model"] = {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
                  "vocab": [[p.piece, p.score] for p in proto.pieces]}
    b["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Strip", "strip_left": True, "strip_right": False},
            {"type": "Replace", "pattern": {"Regex": "\\A"}, "content": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    }
    b["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    extra = ["  both  ends  ", "e\u0301 A\u030a \u337f\u2460", "<s>", "a</s> b", "\u2026\u00bd\u200b"]
    for seed, (name, content) in enumerate({"unigram": t, "unigram_bytes": b}.items()):
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (DATA / "options" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        write_goldens(Tokenizer.from_str(text), DATA / "options" / f"{name}.jsonl", extra,
                      [c for c in ALPHABET if c != "\0"], 40, 30 + seed)


def make_vocab_seed(path, proto):
    """The tokenizer.json that moeq makes of a model (formats/FORMAT.md), for its way into GGUF."""
    if path.name not in ("bpe_bytes", "unigram_bytes", "unigram_rules"):
        return
    n = proto.normalizer_spec
    tree = {
        "normalizer": {"type": "SentencePiece", "add_dummy_prefix": n.add_dummy_prefix,
                       "precompiled_charsmap": base64.b64encode(n.precompiled_charsmap).decode()},
        "model": {"type": "SentencePiece", "unk_token": "<unk>",
                  "algorithm": {1: "Unigram", 2: "BPE"}[proto.trainer_spec.model_type],
                  "byte_fallback": proto.trainer_spec.byte_fallback,
                  "vocab": [[p.piece, p.score, p.type] for p in proto.pieces]},
    }
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def make_corpus():
    """Seeds for the fuzzer: the first pieces of each model, without the character map of most."""
    corpus = DATA.parents[1] / "fuzz" / "corpus" / "sentencepiece"
    corpus.mkdir(exist_ok=True)
    for name in MODELS:
        proto = pb.ModelProto.FromString((OUT / f"{name}.model").read_bytes())
        keep = [p for p in proto.pieces if p.type != p.NORMAL][:270]
        keep += [p for p in proto.pieces if p.type == p.NORMAL][:40]
        del proto.pieces[:]
        proto.pieces.extend(keep)
        if name != "unigram_rules":
            proto.normalizer_spec.precompiled_charsmap = b""
        make_vocab_seed(corpus.parent / "gguf_vocab" / name, proto)
        model = proto.SerializeToString(deterministic=True)
        text = "the boats e\u0301  \ufb01 \u2581x <x>zz\n".encode()
        (corpus / name).write_bytes(len(model).to_bytes(2, "little") + model + text)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, options in MODELS.items():
        make(name, options)
    make_unigram()
    make_corpus()


if __name__ == "__main__":
    main()
