#!/usr/bin/env python3
"""Makes tests/formats/data/folder_tokenizers.json: tokenizers that stand in several files, and the
keys that a GGUF file has of them: tokens and types by AutoTokenizer, as llama.cpp's converter takes
them, special ids and chat templates by the `gguf` package.

    pip install transformers==5.24.0 gguf==0.19.0
    python3 tests/data/make_folder_goldens.py

One JSON object, "cases": name, "files" (name: text), "vocab" (the model's), "lines": a line for each
key, as tests/data/make_gguf_vocab_goldens.py writes them. The tokenizer_config.json of models are
hand-made, true to the published files of these families.
"""
import json
import logging
import os
import pathlib
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
import gguf  # noqa: E402
from make_gguf_vocab_goldens import dump  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

logging.disable(logging.CRITICAL)
ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "formats" / "data" / "folder_tokenizers.json"
VERY_LARGE = int(1e30)  # transformers' VERY_LARGE_INTEGER, which it saves as model_max_length


def added(content, **flags):
    default = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    return {"content": content, **default, **flags}


def typed(content, **flags):
    return {"__type": "AddedToken", **added(content, **flags)}


def template(bos):
    item = {"SpecialToken": {"id": bos[0], "type_id": 0}}
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {"type": "TemplateProcessing", "single": [item, a], "pair": [item, a, item, b],
            "special_tokens": {bos[0]: {"id": bos[0], "ids": [bos[1]], "tokens": [bos[0]]}}}


def sentencepiece_like(extra=()):
    """As of Llama 2: byte fallback, and a few pieces; every merge makes a piece and back."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "a", "b", "c", "▁a"]
    tokens = [{"id": i, **added(pieces[i])} for i in range(3)]
    tokens += [{"id": len(pieces) + i, **token} for i, token in enumerate(extra)]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None, "post_processor": template(("<s>", 1)), "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {p: i for i, p in enumerate(pieces)}, "merges": [["▁", "a"]]},
    }


LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|eot_id|>"]


def byte_level(own):
    """As of GPT-2: its pattern, and a piece for each of a few bytes."""
    pieces = ["Ġ", "a", "b", "c", "Ġa"]
    n = len(pieces)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": n + i, **added(t)} for i, t in enumerate(own)],
        "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": template((own[0], n)) if own else {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {p: i for i, p in enumerate(pieces)}, "merges": [["Ġ", "a"]]},
    }


LLAMA2 = {
    "add_bos_token": True, "add_eos_token": False, "bos_token": typed("<s>", special=False), "clean_up_tokenization_spaces": False,
    "eos_token": typed("</s>", special=False), "legacy": False, "model_max_length": VERY_LARGE, "pad_token": None,
    "padding_side": "right", "sp_model_kwargs": {}, "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": typed("<unk>", special=False),
}
MISTRAL = {
    "add_bos_token": True, "add_eos_token": False,
    "added_tokens_decoder": {str(i): added(t) for i, t in enumerate(["<unk>", "<s>", "</s>"])},
    "additional_special_tokens": [], "bos_token": "<s>", "clean_up_tokenization_spaces": False, "eos_token": "</s>", "legacy": True,
    "model_max_length": VERY_LARGE, "pad_token": None, "sp_model_kwargs": {}, "spaces_between_special_tokens": False,
    "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "use_default_system_prompt": False,
    "chat_template": "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}",
}
LLAMA3_CONFIG = {
    "added_tokens_decoder": {str(5 + i): added(t) for i, t in enumerate(LLAMA3)}, "bos_token": LLAMA3[0],
    "chat_template": "{% for m in messages %}{{ m['content'] | trim }}<|eot_id|>{% endfor %}", "clean_up_tokenization_spaces": True,
    "eos_token": LLAMA3[3], "model_input_names": ["input_ids", "attention_mask"], "model_max_length": VERY_LARGE,
    "tokenizer_class": "PreTrainedTokenizerFast",
}
MAP = {"bos_token": {k: v for k, v in added("<s>").items() if k != "special"}, "eos_token": "</s>", "unk_token": "<unk>"}
IM = ["<|im_start|>", "<|im_end|>"]
BASE = len(sentencepiece_like()["model"]["vocab"])
IDS = dict(bos_token_id=1, eos_token_id=2)


def case(name, tokenizer, vocab, config, ids=IDS, **files):
    """Other files by their names with _ for . and __ for /."""
    texts = {"tokenizer.json": tokenizer, "config.json": {"model_type": "llama", "vocab_size": vocab, **ids}}
    if config is not None:
        texts["tokenizer_config.json"] = config
    for key, value in files.items():
        texts[key.replace("__", "/").replace("_jinja", ".jinja").replace("_json", ".json")] = value
    return name, vocab, {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in texts.items()}


SPM = sentencepiece_like()
CASES = [
    case("Llama 2", SPM, BASE, LLAMA2, special_tokens_map_json=MAP),
    case("TinyLlama", SPM, BASE, {**LLAMA2, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>",
                                  "chat_template": "{% for m in messages %}{{ m }}{% endfor %}"}, special_tokens_map_json={**MAP, "pad_token": "</s>"}),
    case("Mistral 7B", SPM, BASE, MISTRAL, special_tokens_map_json=MAP),
    case("Mixtral 8x7B", SPM, BASE, {**MISTRAL, "chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}),
    case("Llama 3 Instruct", byte_level(LLAMA3), 9, LLAMA3_CONFIG, dict(bos_token_id=5, eos_token_id=[6, 8])),
    case("Llama 3 of many rows", byte_level(LLAMA3), 12, LLAMA3_CONFIG, dict(bos_token_id=5, eos_token_id=[6, 8])),
    case("added_tokens.json", SPM, BASE + 2, dict(LLAMA2, eos_token=IM[1]), added_tokens_json={IM[1]: BASE + 1, IM[0]: BASE}),
    case("added_tokens_decoder", SPM, BASE + 2, dict(MISTRAL, eos_token=IM[1], added_tokens_decoder={
        **MISTRAL["added_tokens_decoder"], str(BASE): added(IM[0]), str(BASE + 1): added(IM[1])})),
    case("special_tokens_map.json", SPM, BASE + 3, LLAMA2, special_tokens_map_json={**MAP, "eos_token": IM[1], "pad_token": "<pad>",
                                                                                   "additional_special_tokens": [IM[0]]}),
    case("without tokenizer_config.json", SPM, BASE + 1, None, added_tokens_json={"<pad>": BASE}, special_tokens_map_json={**MAP, "pad_token": "<pad>"}),
    case("a pad token behind the vocabulary", sentencepiece_like([added("<pad>")]), BASE, dict(LLAMA2, pad_token="<pad>"),
         {**IDS, "pad_token_id": BASE}),
    case("the same from tokenizer_config.json alone", SPM, BASE, dict(LLAMA2, pad_token="[PAD]")),
    case("tokens of a user", SPM, BASE + 2, dict(MISTRAL, added_tokens_decoder={
        **MISTRAL["added_tokens_decoder"], str(BASE): added("my▁word", special=False, normalized=True), str(BASE + 1): added("<|x|>", special=False)})),
    case("sep and mask", byte_level(LLAMA3), 11, {**LLAMA3_CONFIG, "sep_token": "<sep>", "mask_token": "<mask>"}, dict(bos_token_id=5)),
    case("ids of config.json", {**byte_level(LLAMA3), "post_processor": byte_level([])["post_processor"]}, 9, {"tokenizer_class": "PreTrainedTokenizerFast"}, dict(bos_token_id=5, eos_token_id=6, pad_token_id=7)),
    case("nothing is added", byte_level([]), 5, {"tokenizer_class": "PreTrainedTokenizerFast"}, {}),
    case("chat template in a file", SPM, BASE, {**MISTRAL, "chat_template": "config's"}, chat_template_jinja="file's\n"),
    case("a chat template with carriage returns", SPM, BASE, MISTRAL, chat_template_jinja="a\r\nb\rc\n\r\n"),
    case("a list with names twice", SPM, BASE, {**MISTRAL, "chat_template": [
        {"name": "default", "template": "A"}, {"name": "rag", "template": "R"}, {"name": "default", "template": "B"}, {"name": "rag", "template": "S"}]}),
    case("named chat templates in files", SPM, BASE, MISTRAL, chat_template_jinja="file's", additional_chat_templates__rag_jinja="rag's",
         **{"additional_chat_templates__a-b_jinja": "{{ \"ä\" }}\n"}),
    case("named chat templates alone", SPM, BASE, MISTRAL, additional_chat_templates__rag_jinja="rag's"),
    case("a list without a default", SPM, BASE, {**MISTRAL, "chat_template": [{"name": "rag", "template": "R"}, {"name": "tool use", "template": "T"}]}),
]


def token_types(t, texts, vocab):
    """As llama.cpp's converter has them; of SentencePiece's, bytes and the unknown token as there."""
    model = json.loads(texts["tokenizer.json"])["model"]
    by_id = {i: token for token, i in t.get_vocab().items()}
    for i in range(vocab):
        if i not in by_id:
            yield f"[PAD{i}]", gguf.TokenType.UNUSED
            continue
        token, kind = by_id[i], gguf.TokenType.NORMAL
        about = t.added_tokens_decoder.get(i)
        if about:
            looks_special = token in ("<pad>", "<mask>") or (token.startswith("<|") and token.endswith("|>"))
            kind = gguf.TokenType.CONTROL if about.special or looks_special else gguf.TokenType.USER_DEFINED
        if kind == gguf.TokenType.USER_DEFINED:
            token = token.replace("▁", " ")
        if model["byte_fallback"] and token.startswith("<0x"):
            kind = gguf.TokenType.BYTE
        if token == model["unk_token"]:
            kind = gguf.TokenType.UNKNOWN
        yield token, kind


def run(texts, vocab):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name, text in texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", newline="")
        t = AutoTokenizer.from_pretrained(folder)
        writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
        tokens, kinds = zip(*token_types(t, texts, vocab))
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        # What it has read together, for a package that reads tokenizer.json's tokens only.
        (folder / "tokenizer.json").write_text(t._tokenizer.to_str(), encoding="utf-8")
        config = json.loads(texts.get("tokenizer_config.json", "{}"))
        for key in ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]:
            if getattr(t, f"{key}_token") is not None:
                config[f"{key}_token"] = getattr(t, f"{key}_token")
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        special = gguf.SpecialVocab(folder, n_vocab=vocab)
        special.chat_template = t.chat_template
        if isinstance(t.chat_template, dict):
            special.chat_template = [{"name": n, "template": x} for n, x in sorted(t.chat_template.items())]
        special.add_to_gguf(writer, quiet=True)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        # moeq writes nothing on pairs of texts; the order of the names has no meaning.
        for line in sorted(dump(folder / "x.gguf")):
            if line.startswith("tokenizer.chat_templates "):
                head, *names = line.split(" ")[:2] + sorted(line.split(" ")[2:])
                line = " ".join([head, *names])
            if not line.startswith("tokenizer.ggml.add_sep_token"):
                yield line


def main():
    cases = [{"name": n, "vocab": v, "files": f, "lines": "\n".join(run(f, v)) + "\n"} for n, v, f in CASES]
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    OUT.write_text(f'{{"cases":[\n{lines}]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
