#!/usr/bin/env python3
"""Makes tests/tokenizer/data/chains: the pre-tokenizers of published models over one small
vocabulary, and the ids that the `tokenizers` library gives.

    pip install tokenizers==0.23.3
    python3 tests/data/make_chain_goldens.py

The vocabulary is trained without any pre-tokenizer, so that its pieces cross every place where a
word may be cut: a wrong cut changes the ids. Added tokens: see make_added.
"""
import json
import random
import unicodedata

from make_tokenizer_goldens import DATA, SENTENCES, added, split
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

CHAINS = DATA / "chains"

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = dict(GPT2, use_regex=False)
DIGIT = {"type": "Digits", "individual_digits": True}
DIGITS = {"type": "Digits", "individual_digits": False}
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The letters of scripts with two cases, as deepseek-llm's tokenizer.json lists them.
CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184"
    "Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)


def regex(pattern, behavior="Isolated", invert=False):
    return split({"Regex": pattern}, behavior, invert)


def text(pattern, behavior, invert=False):
    return split({"String": pattern}, behavior, invert)


def punctuation(behavior):
    return {"type": "Punctuation", "behavior": behavior}


PRE_TOKENIZERS = {
    "smollm": [DIGIT, GPT2],
    "llama3": [regex(LLAMA3), BYTES],
    "deepseek_llm": [
        regex("[\r\n]"),
        regex(rf"\s?[{CASED}]+"),
        regex(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
        regex(r"\s+$"),
        regex("[一-龥ࠀ-一가-퟿]+"),
        DIGIT,
        BYTES,
    ],
    "deepseek_coder": [
        regex("[\r\n]"),
        regex(r"\s?\p{L}+"),
        regex(r"\s?\p{P}+"),
        regex("[一-龥ࠀ-一가-퟿]+"),
        DIGIT,
        BYTES,
    ],
    "falcon": [punctuation("Contiguous"), GPT2, DIGITS, regex("[0-9][0-9][0-9]")],
    "falcon3": [punctuation("Contiguous"), GPT2, DIGIT],
    "viking": [regex(r" ?[^(\s|[.,!?…。，、।۔،])]+"), DIGIT, BYTES],
    "superbpe": [regex(r"\p{N}+"), regex(r"(?=(\d{3})+(?!\d))"), BYTES],
    "tiny_aya": [regex(r"\d{1,3}(?=(?:\d{3})*\b)"), regex(LLAMA3), BYTES],
    "bailing": [
        regex(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
        BYTES,
    ],
    # Kimi-K2's, as tokenization_kimi.py has it
    "kimi": [
        regex(
            r"[\p{Han}]+"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
            r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
            r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        BYTES,
    ],
    "both": [regex(r"[\p{L}&&[a-zé中文天]]+|[\w\s&&[^\d ]]"), BYTES],
    "whitespace": [{"type": "Whitespace"}, BYTES],
    "whitespace_split": [{"type": "WhitespaceSplit"}, punctuation("Isolated"), BYTES],
    "anchors": [
        regex(r"^\s+", "MergedWithNext"),
        regex(r"\s+$", "Removed"),
        regex(r"\w+", "MergedWithPrevious", True),
        regex(r"\W\b|\B-|\A\t|a\z"),
        BYTES,
    ],
    "strings": [
        text(".", "Removed"),
        text("  ", "MergedWithNext"),
        text("\n", "Contiguous"),
        text("e", "MergedWithPrevious", True),
        {"type": "CharDelimiterSplit", "delimiter": "é"},
        punctuation("MergedWithPrevious"),
        BYTES,
    ],
    "each": [text("", "Isolated"), BYTES],
    "prefix": [punctuation("MergedWithNext"), dict(GPT2, add_prefix_space=True), punctuation("Removed")],
}


def known(code):
    """Characters of Unicode 3.2: tables of all ages know them."""
    return unicodedata.ucd_3_2_0.category(chr(code)) != "Cn"


def by_category(count, rng):
    classes = {}
    for code in range(0x20000):
        if known(code):
            classes.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    classes.pop("Cs")
    classes.pop("Co", None)
    return {name: rng.sample(chars, min(count, len(chars))) for name, chars in classes.items()}


def texts():
    rng = random.Random(5)
    classes = by_category(6, rng)
    digits = [chr(c) for c in range(0x10000) if known(c) and unicodedata.category(chr(c)) == "Nd"]
    yield from ["", " ", "\r\n", "   \t", " \n \r\n\n  ", "a  \n b \r\n\n c  ", "\ta\t", "x" + " " * 300 + "y"]
    yield from SENTENCES[4:]
    yield "".join(digits[::7]) + " " + " ".join(digits[3::17]) + " ½Ⅳ²³¹¼① 1234567 12a 1234 12345678x"
    yield "ò² ¹³¼ 12ò á1b² 007 3.14 1e10 0x1F"
    yield "!?.,;:'\"()[]{}<>=+-*/\\|@#$%^&~`_ a!b ?! ... -- $5 <=> `x` «q» “w” ‘e’ … 。「」〜・؟،؛।॥–—‐‑⟨⟩¡¿§¶"
    yield "emoji 🙂👩‍🚀🇩🇪 e\u0301 a\u030a\u0323 \u0301x \u200d\u200c zero\u0000byte \ufeff bom"
    yield "'S 'LL 'ſ it'S we'Ve can't 'd'd'd"
    for name in sorted(classes):
        yield "a" + "a ".join(classes[name]) + " " + "".join(classes[name])
    mixed = [c for chars in classes.values() for c in chars] + list("  \n\r\tae.,'019é-") * 8
    for _ in range(24):
        yield "".join(rng.choice(mixed) for _ in range(rng.randrange(2, 40)))


def vocabulary():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    rng = random.Random(6)
    # Short texts, so that pairs of unlike characters are frequent.
    pairs = ["".join(rng.choice("  \n\te.,-'12é²s") for _ in range(6)) for _ in range(4000)]
    tokenizer.train_from_iterator(pairs + SENTENCES * 20, trainer)
    return json.loads(tokenizer.to_str())


def write(name, tokenizer, lines):
    content = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (CHAINS / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    oracle = Tokenizer.from_str(content)
    with (CHAINS / f"{name}.jsonl").open("w", encoding="utf-8") as out:
        for line in lines:
            ids = oracle.encode(line, add_special_tokens=True).ids
            golden = {
                "text": line,
                "add_special_tokens": True,
                "ids": ids,
                "decoded": oracle.decode(ids, skip_special_tokens=False),
                "decoded_skip": oracle.decode(ids, skip_special_tokens=True),
                "cat": "chain",
            }
            out.write(json.dumps(golden, separators=(",", ":")) + "\n")


def make_added(base):
    """Added tokens out of order, twice, and with ids that others have: numbered as they come."""
    flags = {"lstrip": True, "rstrip": True, "normalized": True, "single_word": True}
    size = len(base["model"]["vocab"])
    tokens = [
        added(size + 7, "[B]", lstrip=True),
        added(size + 1, "[A]", rstrip=True, special=True),
        added(3, "word", **flags),
        added(size + 2, "[A]", normalized=True),
        added(size + 2, "[B]", lstrip=True),
        added(size + 9, "  ", rstrip=True),
        added(size + 3, " ", lstrip=True, rstrip=True),
        added(0, "é", normalized=True, lstrip=True),
        added(size, "", special=True),
        added(5, "the", single_word=True, normalized=True),
    ]
    rng = random.Random(7)
    parts = [t["content"] for t in tokens] + ["e\u0301", "a", "thee", "\n", "\u00a0", "w", ",", "_"]
    lines = ["".join(rng.choice(parts) for _ in range(rng.randrange(1, 16))) for _ in range(150)]
    write("added", dict(base, added_tokens=tokens, normalizer={"type": "NFC"}), lines)


def make_forms(base):
    """The normalization forms, of texts with marks out of order in short and long runs."""
    rng = random.Random(8)
    codes = [chr(c) for c in range(0x10000) if known(c) and unicodedata.category(chr(c)) != "Cs"]
    marks = [c for c in codes if unicodedata.combining(c)]
    changing = [c for c in codes if unicodedata.normalize("NFKD", c) != c and not "가" <= c <= "힣"]
    rare = ["\ufdfa", "\u1100\u1161\u11a8", "가각힣", "\u0344", "\u2126", "\u0958", "a", "ﬁ", "\u0000"]
    lines = []
    for length in [3, 9, 30] * 6 + [200]:
        parts = [rng.choice(rng.choice([marks, marks, changing, rare])) for _ in range(length)]
        lines.append("".join(parts))
    lines += ["x" + "".join(rng.choice(marks) for _ in range(400)) + "y", "\u0323", "e\u0301\u0323"]
    # Characters later than Unicode 9, which `tokenizers` leaves as they are: decomposing ones, marks, a pair that
    # is composed since Unicode 13, some of Unicode 15 and 16, and what stands for them meanwhile.
    lines += ["㋿\U0001f16c\U0001fbf3", "a\u0301\u089a\u0334 a\u0eba\u0323\u1ac0\u0301", "\ufdd0x\u089ae\u0301"]
    lines += ["\U00011935\U00011930 \U00011938", "\U0001e030\u0897\u0301\U00016d6a\U0001ccd6\U00011383"]
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        write(form.lower(), dict(base, normalizer={"type": form}), lines)


def main():
    CHAINS.mkdir(parents=True, exist_ok=True)
    base = vocabulary()
    base["decoder"] = GPT2
    lines = list(texts())
    for name, chain in PRE_TOKENIZERS.items():
        pre = {"type": "Sequence", "pretokenizers": chain}
        write(name, dict(base, pre_tokenizer=pre), lines)
    base["pre_tokenizer"] = BYTES
    make_added(base)
    make_forms(base)


if __name__ == "__main__":
    main()
