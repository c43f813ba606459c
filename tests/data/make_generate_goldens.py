#!/usr/bin/env python3
"""Makes tests/verify/data/generate_demo.json: greedy continuations of demo/model; and chat_demo.json: the ids
of a chat by a template of tests/formats/data/chat_templates.json.

    pip install numpy tokenizers==0.23.3
    python3 tests/data/make_generate_goldens.py

Tokens are those of the `tokenizers` library; logits those of the evaluator in families/ (float64, which
agrees with Transformers in f32), of the whole sequence anew for every token. A continuation is kept where
the two most likely tokens are never closer than MARGIN, so that f32 must choose the same.
"""
import json
import pathlib

import numpy as np
from tokenizers import Tokenizer

from families.model import Model

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "verify" / "data" / "generate_demo.json"
TOKENS, MARGIN = 40, 1e-3
PROMPTS = ["The tide", "def area(w, h):\n", "Once upon a time there was", "", "Déjà vu: 你好"]


def chats(tokenizer):
    """BOS once, as the template writes it; special tokens are special."""
    templates = json.loads((ROOT / "tests/formats/data/chat_templates.json").read_text(encoding="utf-8"))
    template = next(t for t in templates if t["name"] == "mistralai/Mixtral-8x7B-Instruct-v0.1")
    cases = [{"system": c["system"], "user": c["user"],
              "ids": tokenizer.encode(c["text"].replace("<BOS>", "<s>"), add_special_tokens=False).ids}
             for c in template["cases"] if c["text"]]
    (OUT.parent / "chat_demo.json").write_text(json.dumps(
        {"template": template["template"], "cases": cases}, ensure_ascii=False, indent=1) + "\n",
        encoding="utf-8")


def main():
    chats(Tokenizer.from_file(str(ROOT / "demo" / "model" / "tokenizer.json")))
    model = Model(str(ROOT / "demo" / "model"))
    tokenizer = Tokenizer.from_file(str(ROOT / "demo" / "model" / "tokenizer.json"))
    ends = {json.loads((ROOT / "demo/model/generation_config.json").read_text())["eos_token_id"]}
    out = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        made, logprobs, margin = [], [], np.inf
        while len(made) < TOKENS:
            logits = model.forward(np.array(ids + made))["logits"][-1]
            order = np.argsort(-logits, kind="stable")
            margin = min(margin, logits[order[0]] - logits[order[1]])
            if int(order[0]) in ends:
                break
            made.append(int(order[0]))
            top = logits.max()
            logprobs.append(float(logits[order[0]] - top - np.log(np.exp(logits - top).sum())))
        text = tokenizer.decode(ids + made)[len(tokenizer.decode(ids)):]
        print(f"{prompt!r}: {text!r}, margin {margin:.1e}")
        if margin > MARGIN:
            out.append({"prompt": prompt, "prompt_ids": ids, "ids": made, "text": text,
                        "logprobs": logprobs, "ended": len(made) < TOKENS})
    OUT.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


main()
