#!/usr/bin/env python3
"""Makes tests/tokenizer/data/side_files.json: what AutoTokenizer makes of a tokenizer.json and the
files beside it.

    pip install transformers==5.24.0 tokenizers==0.23.3
    python3 tests/data/make_side_file_goldens.py

With fixed seeds, so that a second run changes nothing. The file is one JSON object: "bases", some
texts of a tokenizer.json, and "cases", each with the number of its base, the side files' texts, and
what Transformers says: "error": true, or the added tokens (id, content, flags in the order
single_word, lstrip, rstrip, normalized, special), the ids of bos to mask (null: none) and of some
texts.
"""
import json
import logging
import os
import pathlib
import random
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer  # noqa: E402

logging.disable(logging.CRITICAL)
ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "tokenizer" / "data" / "side_files.json"
FLAGS = ["single_word", "lstrip", "rstrip", "normalized", "special"]
ATTRIBUTES = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]


def token(content, **flags):
    """As tokenizer_config.json has it in added_tokens_decoder."""
    default = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    return {"content": content, **default, **flags}


def typed(content, **flags):
    """As tokenizer_config.json has a special token that is an object."""
    return {"__type": "AddedToken", **token(content, **flags)}


def mapped(content, **flags):
    """As special_tokens_map.json has one."""
    t = token(content, **flags)
    del t["special"]
    return t


def make_base(added=None, **members):
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "x", "y", "e", "t", "<", ">", "|", "/"]
    pieces += ["et", "xy", "▁a", "pad"]
    if added is None:
        added = [{"id": i, **token(pieces[i])} for i in range(3)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {p: i for i, p in enumerate(pieces)},
            "merges": [["e", "t"], ["x", "y"], ["▁", "a"]],
        },
        **members,
    }


VOCAB = len(make_base()["model"]["vocab"])
OWN = [{"id": i, **token(p)} for i, p in enumerate(["<unk>", "<s>", "</s>"])]


def renamed(**changes):
    b = make_base()
    b.update(changes)
    return b


BASES = [
    make_base(),
    make_base(OWN + [{"id": VOCAB, **token("<pad>", special=False, normalized=True)}]),
    make_base([]),
    make_base(None, padding={"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
                             "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}),
    {k: v for k, v in make_base().items() if k != "added_tokens"},
    make_base(OWN + [{"id": VOCAB, **token("<|im_start|>")}, {"id": VOCAB + 1, **token("<|im_end|>")}]),
]
N = VOCAB

# name, base, tokenizer_config.json, added_tokens.json, special_tokens_map.json
CASES = [
    ("nothing", 0, {}, None, None),
    ("no config", 0, None, None, None),
    ("specials that are there", 0, dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"), None, None),
    ("decoder", 0, dict(eos_token="<b>", added_tokens_decoder={str(N + 1): token("<b>"), str(N): token("<a>")}), None, None),
    ("decoder with a gap", 0, dict(added_tokens_decoder={str(N + 5): token("<b>"), str(N + 2): token("<a>")}), None, None),
    ("decoder with other flags", 0, dict(added_tokens_decoder={"2": token("</s>", rstrip=True)}), None, None),
    ("decoder with another id", 0, dict(added_tokens_decoder={"5": token("</s>")}), None, None),
    ("decoder with an id of another", 0, dict(added_tokens_decoder={"2": token("<zz>")}), None, None),
    ("decoder with a piece", 0, dict(added_tokens_decoder={"14": token("et", normalized=True, special=False)}), None, None),
    ("decoder with a piece of another id", 0, dict(added_tokens_decoder={"400": token("et")}), None, None),
    ("decoder without flags", 0, dict(added_tokens_decoder={str(N): {"content": "<a>"}}), None, None),
    ("decoder with an unknown flag", 0, dict(added_tokens_decoder={str(N): {"content": "<a>", "more": 1}}), None, None),
    ("decoder with a content twice", 0, dict(added_tokens_decoder={str(N): token("<a>"), str(N + 1): token("<a>", lstrip=True)}), None, None),
    ("decoder with an empty content", 0, dict(added_tokens_decoder={str(N): token(""), str(N + 1): token("<a>")}), None, None),
    ("decoder of a text", 0, dict(added_tokens_decoder={str(N): "<a>"}), None, None),
    ("decoder with a name for an id", 0, dict(added_tokens_decoder={"x": token("<a>")}), None, None),
    ("decoder: not special but named", 0, dict(pad_token="<a>", added_tokens_decoder={str(N): token("<a>", special=False)}), None, None),
    ("decoder before added_tokens.json", 0, dict(added_tokens_decoder={str(N): token("<a>")}), {"<b>": N + 1, "<c>": N}, None),
    ("empty decoder before added_tokens.json", 0, dict(added_tokens_decoder={}), {"<b>": N}, None),
    ("decoder before special_tokens_map.json", 0, dict(added_tokens_decoder={str(N): token("<a>")}), None, dict(pad_token="<p>")),
    ("added", 0, {}, {"<b>": N + 1, "<a>": N}, None),
    ("added, one named", 0, dict(eos_token="<b>"), {"<b>": N + 1, "<a>": N}, None),
    ("added, one named by an object", 0, dict(eos_token=typed("<b>", lstrip=True)), {"<b>": N + 1, "<a>": N}, None),
    ("added, one in a list", 0, dict(additional_special_tokens=["<b>"]), {"<b>": N + 1, "<a>": N}, None),
    ("added, one in a list of the map", 0, {}, {"<b>": N + 1, "<a>": N}, dict(additional_special_tokens=["<b>"])),
    ("added, one named by the map", 0, {}, {"<b>": N + 1, "<a>": N}, dict(eos_token=mapped("<b>", rstrip=True))),
    ("added with a gap", 0, {}, {"<b>": N + 30, "<a>": N + 25}, None),
    ("added with the id of another", 0, {}, {"<b>": 2, "<a>": N + 7}, None),
    ("added that are pieces", 0, {}, {"et": 14, "<a>": N}, None),
    ("added with a text for an id", 0, {}, {"<b>": str(N), "<a>": N}, None),
    ("added without config", 0, None, {"<b>": N + 1, "<a>": N}, None),
    ("added that tokenizer.json has", 5, {}, {"<|im_start|>": N, "<|im_end|>": N + 1, "</s>": 2}, None),
    ("a new special token", 0, dict(eos_token="<e>", pad_token="<p>"), None, None),
    ("a new special token as an object", 0, dict(eos_token=typed("<e>", lstrip=True, special=False)), None, None),
    ("a piece as a special token", 0, dict(eos_token="et"), None, None),
    ("empty and null special tokens", 0, dict(eos_token=None, pad_token=""), None, None),
    ("a number as a special token", 0, dict(eos_token=3), None, None),
    ("two names for one token, one with flags", 0, dict(bos_token=typed("<x>", lstrip=True), eos_token="<x>"), None, None),
    ("all names", 0, {f"{a}_token": f"<{a}>" for a in reversed(ATTRIBUTES)}, None, None),
    ("additional", 0, dict(additional_special_tokens=["<x>", "<y>", "<x>", "</s>"]), None, None),
    ("additional with flags", 0, dict(additional_special_tokens=[typed("<x>", rstrip=True), "<y>"]), None, None),
    ("additional, not special", 0, dict(additional_special_tokens=[typed("<x>", special=False)]), None, None),
    ("extra and additional", 0, dict(extra_special_tokens=["<e>"], additional_special_tokens=["<a>"]), None, None),
    ("empty extra and additional", 0, dict(extra_special_tokens=[], additional_special_tokens=["<a>"]), None, None),
    ("extra as an object", 0, dict(extra_special_tokens={"image_token": "<img>", "b": "<b>"}), None, None),
    ("extra as an object with flags", 0, dict(extra_special_tokens={"image_token": typed("<img>", rstrip=True)}), None, None),
    ("extra as an object and additional", 0, dict(extra_special_tokens={"t_token": "<t>"}, additional_special_tokens=["<x>", typed("<y>", rstrip=True)]), None, None),
    ("extra as an object and additional, added", 0, dict(extra_special_tokens={"t": "<t>"}, additional_special_tokens=["<x>"]), {"<x>": N, "<y>": N + 1}, None),
    ("extra as an object and additional, decoder", 0, dict(added_tokens_decoder={str(N): token("<y>")}, extra_special_tokens={"t_token": "<t>"}, additional_special_tokens=["<x>"]), None, None),
    ("extra as an object, additional here and in the map", 0, dict(extra_special_tokens={"t_token": "<t>"}, additional_special_tokens=["<x>"]), None, dict(additional_special_tokens=["<y>"])),
    ("extra as an object, additional and the map's extra", 0, dict(extra_special_tokens={"t_token": "<t>"}, additional_special_tokens=["<x>"]), None, dict(extra_special_tokens=["<y>"])),
    ("extra as an object and additional as a text", 0, dict(extra_special_tokens={"t_token": "<t>"}, additional_special_tokens=""), None, None),
    ("model specific", 0, dict(model_specific_special_tokens={"t_token": "<t>", "b": typed("<b>", lstrip=True)}), None, None),
    ("model specific and extra", 0, dict(extra_special_tokens=["<e>"], model_specific_special_tokens={"t_token": "<t>"}), None, None),
    ("model specific and extra as an object", 0, dict(extra_special_tokens={"e": "<e>"}, model_specific_special_tokens={"t_token": "<t>"}), None, None),
    ("model specific and another key", 0, dict(image_token="<img>", model_specific_special_tokens={"t_token": "<t>"}), None, None),
    ("model specific and another key, an object", 0, dict(image_token=typed("<img>"), model_specific_special_tokens={"t_token": "<t>"}), None, None),
    ("model specific and the map", 0, dict(model_specific_special_tokens={"t_token": "<t>"}), None, dict(x_token="<x>", t_token="<u>", extra_special_tokens={"e": "<e>"})),
    ("model specific as a list", 0, dict(model_specific_special_tokens=["<t>"]), None, None),
    ("model specific as null", 0, dict(model_specific_special_tokens=None), None, None),
    ("extra as a text", 0, dict(extra_special_tokens="<e>"), None, None),
    ("extra with a number", 0, dict(extra_special_tokens=[1]), None, None),
    ("other keys", 0, dict(image_token="<img>", eot_token="<eot>"), None, None),
    ("other keys, an object and no tokens", 0, dict(image_token=typed("<img>", rstrip=True), boo_token=5, x_token={"content": "u"}), None, None),
    ("other keys and extra as an object", 0, dict(image_token="<i>", extra_special_tokens={"b_token": "<b>", "image_token": "<j>"}), None, None),
    ("map", 0, {}, None, dict(bos_token="<B>", eos_token=mapped("<E>", lstrip=True), pad_token="<P>", additional_special_tokens=["<X>"])),
    ("map over config", 0, dict(eos_token="<tc>"), None, dict(eos_token="<map>")),
    ("map with null over config", 0, dict(eos_token="<tc>"), None, dict(eos_token=None)),
    ("map: additional beside the config's", 0, dict(additional_special_tokens=["<T>"]), None, dict(additional_special_tokens=["<X>"])),
    ("map: extra beside the config's", 0, dict(additional_special_tokens=["<T>"]), None, dict(extra_special_tokens=["<X>", "<T>"])),
    ("map: extra with flags", 0, {}, None, dict(extra_special_tokens=[mapped("<X>", rstrip=True)])),
    ("map: extra as an object", 0, dict(additional_special_tokens=["<T>"]), None, dict(extra_special_tokens={"im": "<X>"})),
    ("map: other keys", 0, dict(a_token="<a>", b_token=typed("<b>")), None, dict(image_token="<X>", c_token=mapped("<c>"), a_token="<A>")),
    ("not special in tokenizer.json but named", 1, dict(pad_token="<pad>"), None, None),
    ("the same with flags", 1, dict(pad_token=typed("<pad>", lstrip=True)), None, None),
    ("the same in a list", 1, dict(additional_special_tokens=["<pad>"]), None, None),
    ("the same with a decoder", 1, dict(pad_token="<pad>", added_tokens_decoder={}), None, None),
    ("the same with a decoder that has it", 1, dict(added_tokens_decoder={str(N): token("<pad>")}), None, None),
    ("tokenizer.json adds none", 2, dict(eos_token="</s>", bos_token="<s>"), None, None),
    ("tokenizer.json adds none, a decoder", 4, dict(eos_token="<E>", added_tokens_decoder={}), None, None),
    ("padding", 3, {}, None, None),
    ("padding, another pad token", 3, dict(pad_token="<q>"), None, None),
    ("padding, null", 3, dict(pad_token=None), None, None),
    ("order", 0, dict(eos_token="<E>", image_token="<I>", mask_token="<M>", bos_token="<B>", additional_special_tokens=["<X>"],
                      added_tokens_decoder={str(N + 9): token("<b>"), "7": token("<a>")}), None, None),
    ("found in words", 0, dict(added_tokens_decoder={str(N): token("xy", single_word=True), str(N + 1): token("a", normalized=True, special=False)}), None, None),
]


def random_cases(count, seed):
    """Any of the ways, together."""
    rng = random.Random(seed)
    contents = ["<a>", "<b>", "<c>", "<d>", "</s>", "<s>", "et", "xy", "a", "<pad>", "<|im_start|>", "é\n\"", "▁x"]

    def flags():
        return {f: rng.random() < 0.3 for f in ["lstrip", "rstrip", "single_word", "normalized", "special"]}

    def numbers(k):
        return rng.sample([*range(N, N + 8), 2, 5, 14, 900], k)

    for i in range(count):
        config, added, mapping = {}, None, None
        some = lambda most: rng.sample(contents, rng.randrange(0, most + 1))
        for a in rng.sample(ATTRIBUTES, rng.randrange(0, 4)):
            c = rng.choice(contents)
            config[f"{a}_token"] = c if rng.random() < 0.6 else typed(c, **flags())
        if rng.random() < 0.3:
            config[rng.choice(["image_token", "eot_token"])] = rng.choice(contents)
        if rng.random() < 0.4:
            config[rng.choice(["additional_special_tokens", "extra_special_tokens"])] = [
                c if rng.random() < 0.6 else typed(c, **flags()) for c in some(4)
            ]
        if rng.random() < 0.5:
            chosen = some(5)
            config["added_tokens_decoder"] = {str(n): token(c, **flags()) for n, c in zip(numbers(len(chosen)), chosen)}
        if rng.random() < 0.4:
            chosen = some(4)
            added = dict(zip(chosen, numbers(len(chosen))))
        if rng.random() < 0.4:
            mapping = {}
            for a in rng.sample(ATTRIBUTES, rng.randrange(1, 4)):
                c = rng.choice(contents)
                mapping[f"{a}_token"] = c if rng.random() < 0.6 else mapped(c, **{k: v for k, v in flags().items() if k != "special"})
            if rng.random() < 0.4:
                mapping["additional_special_tokens"] = some(3)
        yield (f"random {i}", rng.choice([0, 1, 2, 3, 5]), config, added, mapping)


def texts_of(added):
    contents = [t["content"] for t in added]
    yield ""
    yield " ".join(contents)
    yield "xy" + " x".join(contents) + "et a"
    yield "a<a>  <|im_start|>x y</s>" + "".join(reversed(contents)) + " xy"


def run(base, config, added, mapping):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        files = {"tokenizer.json": base, "tokenizer_config.json": config, "added_tokens.json": added,
                 "special_tokens_map.json": mapping}
        for name, tree in files.items():
            if tree is not None:
                (folder / name).write_text(json.dumps(tree))
        try:
            t = AutoTokenizer.from_pretrained(folder)
        except Exception:
            return {"error": True}
        result = json.loads(t._tokenizer.to_str())["added_tokens"]
        return {
            "added": [[a["id"], a["content"], [a[f] for f in FLAGS]] for a in result],
            "named": [getattr(t, f"{a}_token_id") for a in ATTRIBUTES],
            "texts": [[text, t(text)["input_ids"]] for text in texts_of(result)],
        }


def main():
    cases = []
    for name, base, config, added, mapping in [*CASES, *random_cases(160, 1)]:
        if config is not None:
            config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
        case = {"name": name, "base": base}
        for key, tree in [("config", config), ("added_tokens", added), ("special_tokens_map", mapping)]:
            if tree is not None:
                case[key] = json.dumps(tree, ensure_ascii=False)
        cases.append({**case, **run(BASES[base], config, added, mapping)})
    lines = ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases)
    bases = ",\n".join(json.dumps(json.dumps(b, ensure_ascii=False), ensure_ascii=False) for b in BASES)
    OUT.write_text(f'{{"bases":[\n{bases}],\n"cases":[\n{lines}]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
