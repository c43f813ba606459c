#!/usr/bin/env python3
"""Makes tests/tokenizer/data: small tokenizers, and the ids that the `tokenizers` library gives.

    pip install tokenizers==0.23.3
    python3 tests/data/make_tokenizer_goldens.py

Writes, with fixed seeds, so that a second run changes nothing:
  demo.jsonl                 goldens of demo/model/tokenizer.json (which it does not touch)
  byte_level.json, .jsonl    a byte-level BPE of 600 pieces, trained here on the sentences below
  options/NAME.json, .jsonl  tokenizers of a few dozen pieces, one for each group of options

A golden line: text, add_special_tokens, ids, decoded, decoded_skip, cat.
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers import trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "tokenizer" / "data"

SENTENCES = [
    "The tide turns twice a day, and the harbour turns with it.",
    "She counted 128 boats, 17 of them red; the others she couldn't tell.",
    "Don't lift the lid yet: it'll boil over if you've filled it to the brim.",
    "Experts are chosen by a router, two of eight for each token.",
    "def area(w, h):\n    return w * h  # in square metres\n",
    "for (int i = 0; i < n; i++) {\n\tsum += values[i];\n}\n",
    "Grüße aus Köln! Où est la gare ? ¿Qué hora es?",
    "Москва и Санкт-Петербург, осень 1998 года.",
    "今日は天気がいいですね。東京タワーへ行きましょう。",
    "नमस्ते दुनिया, आज मौसम अच्छा है।",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "emoji: 🙂👩‍🚀🇩🇪, math: ∑ x² ≤ ∞, quotes: “so” ‘they’ say…",
    "a  b   c    d\t\te\n\n\nf \n g\r\nh",
    "WE'RE SHOUTING, I'M NOT, THEY'LL SEE, HE'D SAY; it'ſ old",
    "   leading spaces and trailing ones   ",
    "1 22 333 4444 55555 3.14159 1,000,000 0x7fff ½ Ⅳ ٣",
    "nfc: é vs e\u0301, Å vs A\u030a, ﬁ, 한 vs 한",
    "url https://example.org/a/b?c=d&e=f#g and mail me@example.org",
    "zero\u0000byte, bell\u0007, nbsp\u00a0here, ideographic\u3000space, mvs\u180egone, zwj\u200dthere",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
]


def texts(extra, alphabet, count, seed):
    """Sentences, corner cases, and random strings over the alphabet."""
    rng = random.Random(seed)
    yield from [("empty", ""), ("space", " "), ("spaces", "  "), ("newline", "\n")]
    yield from (("sentence", s) for s in SENTENCES)
    yield from (("special", s) for s in extra)
    for i in range(count):
        yield ("random", "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40))))
    for i in range(count // 4):
        parts = [rng.choice(SENTENCES)[: rng.randrange(1, 20)] for _ in range(3)]
        yield ("mixture", rng.choice(extra or [" "]).join(parts))
    yield ("long", " ".join(SENTENCES))
    yield ("long-run", "a" * 700 + " " * 700 + "\n" * 300 + "7" * 400 + "!" * 300)


def write_goldens(tokenizer, path, extra, alphabet, count, seed):
    with path.open("w", encoding="utf-8") as out:
        for i, (category, text) in enumerate(texts(extra, alphabet, count, seed)):
            specials = i % 2 == 0
            ids = tokenizer.encode(text, add_special_tokens=specials).ids
            line = {
                "text": text,
                "add_special_tokens": specials,
                "ids": ids,
                "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                "decoded_skip": tokenizer.decode(ids, skip_special_tokens=True),
                "cat": category,
            }
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


MIXED = list("aabbeeiinnrrsstt  .,'\n019éßЖ中🙂\u0301\t") + ["the ", "'s", "'Re", "\r\n", "<s>", "▁"]


def make_byte_level():
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>", "<|end|>x", "<|mask|>"])
    tokenizer.add_tokens([AddedToken("hello world", normalized=False), AddedToken("boil over")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A",
        pair="<|begin|> $A <|begin|> $B",
        special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))],
    )
    tokenizer.save(str(DATA / "byte_level.json"), pretty=False)
    extra = ["<|begin|>", "a<|end|>x", "<|end|><|end|>x<|end|", "hello world, hello worlds", "<|mask|>"]
    write_goldens(tokenizer, DATA / "byte_level.jsonl", extra, MIXED, 80, 2)


def added(id, content, **options):
    token = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized", "special"], False)
    return {"id": id, "content": content, **token, **options}


def base(pieces, merges, **model):
    """A tokenizer.json around a vocabulary that is numbered in the order given."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": merges,
            **model,
        },
    }


PIECES = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "e", "t", "h", "1", "2", " ", "ab", "abc"]
PIECES += ["▁a", "th", "the", "▁the", "12", "bb", "▁▁", "ba", "aa", "\n", "é", "é1", "cc", "b▁"]
MERGES = [["a", "b"], ["ab", "c"], ["▁", "a"], ["t", "h"], ["th", "e"], ["▁", "the"], ["1", "2"]]
MERGES += [["b", "b"], ["▁", "▁"], ["b", "a"], ["a", "a"], ["é", "1"], ["c", "c"]]


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def make_options():
    tokenizers = {}

    t = base(PIECES, MERGES)
    t["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            split({"String": " "}, "Removed"),
            split({"Regex": "b+"}, "MergedWithNext"),
            split({"Regex": "[ceh]"}, "MergedWithPrevious", True),
            split({"Regex": r"\d|a{,2}t"}, "Contiguous"),
            {"type": "Digits", "individual_digits": True},
        ],
    }
    tokenizers["behaviors"] = t

    t = base(PIECES, [" ".join(m) for m in MERGES])
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    t["pre_tokenizer"] = metaspace
    t["decoder"] = metaspace
    tokenizers["metaspace"] = t

    # "b▁" merges across a word start: words must not be cut there.
    t = base(PIECES, MERGES + [["b", "▁"]], fuse_unk=True)
    t["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            {"type": "Replace", "pattern": {"String": "cc"}, "content": "c"},
        ],
    }
    t["decoder"] = {"type": "Strip", "content": "a", "start": 0, "stop": 0}
    tokenizers["crossing"] = t

    # The bytes of some characters only: the others are unknown, behind the bytes that follow.
    byte_pieces = [f"<0x{b:02X}>" for b in (0xC3, 0xA4, 0x9F, 0xE4, 0xB8, 0xAD, 0x72)]
    t = base(PIECES + byte_pieces, MERGES, byte_fallback=True, fuse_unk=True)
    t["normalizer"] = {"type": "Prepend", "prepend": "▁"}
    t["decoder"] = {
        "type": "Sequence",
        "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}],
    }
    tokenizers["some_bytes"] = t

    t = base(PIECES, MERGES, unk_token=None)
    t["pre_tokenizer"] = split({"Regex": "b*"}, "Isolated")
    t["decoder"] = {"type": "Fuse"}
    tokenizers["dropped"] = t

    t = base(PIECES, MERGES)
    t["normalizer"] = {"type": "NFC"}
    t["added_tokens"] = [
        added(1, "<s>", special=True),
        added(2, "</s>", special=True, lstrip=True),
        added(len(PIECES), "[L]", lstrip=True),
        added(len(PIECES) + 1, "[R]", rstrip=True),
        added(len(PIECES) + 2, "[LR]", lstrip=True, rstrip=True, special=True),
        added(len(PIECES) + 3, "word", single_word=True),
        added(len(PIECES) + 4, "e\u0301\u0323", normalized=True, special=True),
        added(len(PIECES) + 5, "e\u0301", normalized=True),
        added(len(PIECES) + 6, " b"),
        added(len(PIECES) + 7, "[LRR", rstrip=True),
    ]
    t["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
            template([1], [2, 2]),
        ],
    }
    tokenizers["added"] = t

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<unk>", "<s>", "</s>"] + alphabet + ["Ġt", "he", "Ġthe", "'s", "ee", "ĠĠ", "12"]
    merges = ["Ġ t", "h e", "Ġt he", "' s", "e e", "Ġ Ġ", "1 2"]
    t = base(pieces, merges, unk_token=None)
    t["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
    t["decoder"] = t["pre_tokenizer"]
    t["post_processor"] = template([1], [2])
    tokenizers["gpt2"] = t

    # Which pieces come of the input's offset 0, behind what moves it.
    first = dict(metaspace, prepend_scheme="first", split=False)
    digits = {"type": "Digits", "individual_digits": True}
    for name, normalizers in {
        "first_stripped": [{"type": "Strip", "strip_left": True, "strip_right": False}],
        "first_replaced": [
            {"type": "Replace", "pattern": {"Regex": "^[ a]b?"}, "content": ""},
            {"type": "Replace", "pattern": {"String": "cc"}, "content": "h"},
        ],
        "first_prepended": [
            {"type": "Prepend", "prepend": "e1"},
            {"type": "Replace", "pattern": {"String": "1t"}, "content": "12"},
        ],
    }.items():
        t = base(PIECES, MERGES)
        t["normalizer"] = {"type": "Sequence", "normalizers": normalizers}
        t["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, first]}
        t["decoder"] = metaspace
        tokenizers[name] = t

    alphabet = MIXED + list("abceth12") * 3 + ["[L]", "[R]", "[LR]", "[LRR", "word", " word ", "</s>"]
    alphabet += ["e\u0301\u0323", "e\u0323\u0301", "ab", "the", " b", "中", "ä", "cc"]
    extra = ["  [L]  [R]  [LR]  ", "word swordword word, word", "a </s> b", "[R] b", "ccc", "aab bb aaat"]
    (DATA / "options").mkdir(exist_ok=True)
    for seed, (name, content) in enumerate(tokenizers.items()):
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (DATA / "options" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
        write_goldens(tokenizer, DATA / "options" / f"{name}.jsonl", extra, alphabet, 60, 10 + seed)


def template(before, after):
    names = {1: "<s>", 2: "</s>"}
    single = [{"SpecialToken": {"id": names[i], "type_id": 0}} for i in before]
    single.append({"Sequence": {"id": "A", "type_id": 0}})
    single += [{"SpecialToken": {"id": names[i], "type_id": 0}} for i in after]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for i, n in names.items()},
    }


def main():
    DATA.mkdir(parents=True, exist_ok=True)
    demo = Tokenizer.from_file(str(ROOT / "demo" / "model" / "tokenizer.json"))
    extra = ["<s>", "</s>", "a<s>b</s>c", "<unk>x", "<0x41>", "<s", "<<s>>"]
    write_goldens(demo, DATA / "demo.jsonl", extra, MIXED, 80, 1)
    make_byte_level()
    make_options()


if __name__ == "__main__":
    main()
