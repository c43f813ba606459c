#!/usr/bin/env python3
"""Writes what stands beside the weights in demo/model, as Transformers' save_pretrained leaves it:
tokenizer_config.json, special_tokens_map.json, generation_config.json, and the model card README.md.
Configuration, weights and tokenizer.json are read, not written.

    pip install "transformers>=4.45,<5" && python3 tests/data/make_demo_folder.py

(Transformers 4, which wrote the other files; 5 keeps the special tokens in tokenizer_config.json.)
"""
import json
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from huggingface_hub import ModelCard, ModelCardData  # noqa: E402
from transformers import GenerationConfig, LlamaTokenizerFast, MixtralConfig  # noqa: E402

MODEL = pathlib.Path(__file__).resolve().parents[2] / "demo" / "model"
WRITTEN = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
CARD = """---
{{ card_data }}
---

# The demo's model

A Mixtral of 6.4 million parameters (3 layers, 8 experts of which a token meets 2, hidden size 256,
vocabulary 2048), trained on English text for moeq's demo and tests. It completes text; it knows nothing.

    moeq eval demo/model --text demo/text.txt
"""


def main():
    tokenizer = LlamaTokenizerFast(tokenizer_file=str(MODEL / "tokenizer.json"),
                                   clean_up_tokenization_spaces=False)
    config = MixtralConfig.from_pretrained(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tokenizer.save_pretrained(folder)
        GenerationConfig.from_model_config(config).save_pretrained(folder)
        # The files belong to the tokenizer.json that is there.
        saved, ours = (json.loads((f / "tokenizer.json").read_text(encoding="utf-8")) for f in (folder, MODEL))
        assert saved == ours, "Transformers would write another tokenizer.json"
        for name in WRITTEN:
            shutil.copy(folder / name, MODEL / name)
    data = ModelCardData(language="en", license="mit", library_name="transformers",
                         pipeline_tag="text-generation", tags=["mixtral", "moe"])
    ModelCard.from_template(data, template_str=CARD).save(MODEL / "README.md")


if __name__ == "__main__":
    main()
