#!/usr/bin/env python3
"""Writes tests/fixtures/tasks: small multiple choice of the demo's text, in both forms that --tasks reads, and
tests/verify/data/tasks_q3_k.json: the accuracies that `moeq sweep --tasks` must say of it, computed independently: the
numpy evaluator in float64 and the decoders of make_metric_goldens.py, and the package `tokenizers`; each choice is a
sequence of its own, without padding.

    pip install numpy gguf safetensors tokenizers
    tests/data/make_task_goldens.py --moeq BUILD/moeq
"""
import argparse
import json
import pathlib
import random
import re
import struct
import subprocess
import tempfile

import numpy as np
from tokenizers import Tokenizer

from make_metric_goldens import ROOT, estimate, evaluate, log_softmax, read_folder, read_moeq

OUT = ROOT / "tests/fixtures/tasks"
GOLDEN = ROOT / "tests/verify/data/tasks_q3_k.json"
NEAR = 2e-4  # log-likelihoods that f32 need not tell apart
POOL = {"continue": (30, 10), "words": (60, 30)}  # drawn, and kept: those whose choice is closest, which a level may change


# ---- the tasks ----

def continuations(text, rng):
    """How a sentence goes on: its own second half, or another's."""
    sentences = [s for s in re.findall(r"[A-Z][^.!?\n]{30,80}[.!?]", text)]
    halves = []
    for s in rng.sample(sentences, len(sentences)):
        words = s.split(" ")
        at = len(words) // 2
        halves.append((" ".join(words[:at]), " " + " ".join(words[at:])))
    for i in range(POOL["continue"][0]):
        choices = [halves[i][1]] + [h[1] for h in rng.sample(halves[:i] + halves[i + 1:], 3)]
        if i % 5 == 4:  # so that long and short ones meet
            choices[1] = choices[1][:12]
        order = rng.sample(range(4), 4)
        yield {"context": halves[i][0], "choices": [choices[k] for k in order], "answer": order.index(0)}


def words(text, rng):
    """A word of one token or few."""
    found = re.findall(r"([A-Z][^.\n]{20,70}) (\w{3,9})[ ,.]", text)
    pool = sorted({w for _, w in found})
    for i, (context, word) in enumerate(rng.sample(found, POOL["words"][0])):
        others = rng.sample([w for w in pool if w != word], 1 + i % 3)
        choices = [word] + others
        order = rng.sample(range(len(choices)), len(choices))
        yield {"context": context, "choices": [" " + choices[k] for k in order], "answer": order.index(0)}


def with_oddities(tasks):
    tasks[2] |= {"context": tasks[2]["context"] + " ", "choices": [c[1:] for c in tasks[2]["choices"]]}
    tasks[4]["context"] += " \n "
    tasks[6]["context"] = ""
    tasks[8]["context"] = "Ærø, 12 m – " + tasks[8]["context"]
    tasks[8]["choices"][0] += " naïve"
    return tasks


def binary(tasks):
    def text(s):
        raw = s.encode()
        return struct.pack("<I", len(raw)) + raw

    def answers(choices, answer):
        return (struct.pack("<I", len(choices)) + b"".join(text(c) for c in choices)
                + struct.pack(f"<{len(choices)}i", *(int(i == answer) for i in range(len(choices)))))
    bodies = [text(t["context"]) + answers([c[1:] for c in t["choices"]], t["answer"]) + struct.pack("<I", 0)
              for t in tasks]
    at, positions = 4 + 4 * len(bodies), []
    for body in bodies:
        positions.append(at)
        at += len(body)
    return struct.pack(f"<{1 + len(bodies)}I", len(bodies), *positions) + b"".join(bodies)


# ---- log-likelihoods ----

def encode(tokenizer, bos, context, choice):
    """Ids, and how many are the context's; as lm-evaluation-harness cuts them, BOS in front."""
    stripped = context.rstrip()
    before = tokenizer.encode(stripped, add_special_tokens=False).ids
    whole = tokenizer.encode(context + choice, add_special_tokens=False).ids
    return [bos] + before + whole[len(before):], 1 + len(before)


def likelihoods(weights, config, sequences):
    found = []
    for ids, context in sequences:
        logits, _ = evaluate(weights, config, np.array([ids]))
        p = log_softmax(logits[0])
        found.append(sum(p[i - 1, ids[i]] for i in range(context, len(ids))))
    return np.array(found)


def choices_of(tasks, sums):
    """[plain, by length] -> the chosen of each task."""
    plain, norm, at = [], [], 0
    for t in tasks:
        own = sums[at:at + len(t["choices"])]
        at += len(own)
        size = np.array([len(c.lstrip().encode()) for c in t["choices"]])
        for chosen, score in ((plain, own), (norm, own / size)):
            best = np.sort(score)[-2:]
            assert best[1] - best[0] > NEAR, f"a near tie: {t}"
            chosen.append(int(score.argmax()))
    return np.array(plain), np.array(norm)


def closest(tasks, sums, kept):
    """The tasks whose two likeliest choices are closest."""
    gaps, at = [], 0
    for task in tasks:
        best = np.sort(sums[at:at + len(task["choices"])])[-2:]
        at += len(task["choices"])
        gaps.append(best[1] - best[0])
    return [tasks[i] for i in sorted(np.argsort(gaps)[:kept])]


def figures(tasks, chosen, base, part):
    answer = np.array([t["answer"] for t in tasks])[part]
    o = {"count": len(answer), "accuracy": estimate(chosen[0][part] == answer),
         "accuracy_norm": estimate(chosen[1][part] == answer)}
    if base is not None:
        o["agreement"] = estimate(chosen[0][part] == base[0][part])
        o["agreement_norm"] = estimate(chosen[1][part] == base[1][part])
    return o


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--moeq", required=True, help="the built program")
    options = p.parse_args()
    model, rng = ROOT / "demo/model", random.Random(15)
    text = (ROOT / "demo/text.txt").read_text()
    config = json.loads((model / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    weights = read_folder(model)

    def sequences_of(tasks):
        return [encode(tokenizer, config["bos_token_id"], t["context"], c) for t in tasks for c in t["choices"]]
    files = {}
    for name, draw in (("continue", continuations), ("words", words)):
        drawn = list(draw(text, rng))
        files[name] = closest(drawn, likelihoods(weights, config, sequences_of(drawn)), POOL[name][1])
    with_oddities(files["words"])
    OUT.mkdir(exist_ok=True)
    for name, tasks in files.items():
        lines = (json.dumps(t, ensure_ascii=False) + "\n" for t in tasks)
        (OUT / f"{name}.jsonl").write_text("".join(lines))
    (OUT / "continue.bin").write_bytes(binary(files["continue"]))

    tasks = sum(files.values(), [])
    sequences = sequences_of(tasks)
    base = choices_of(tasks, likelihoods(weights, config, sequences))
    with tempfile.TemporaryDirectory() as folder:
        moeq = pathlib.Path(folder) / "q3_k.moeq"
        subprocess.run([options.moeq, "convert", model, "-o", moeq, "--level", "q3_k", "-q"], check=True)
        arm = choices_of(tasks, likelihoods(read_moeq(moeq), config, sequences))

    parts, at = {}, 0
    for name, own in files.items():
        parts[name] = slice(at, at + len(own))
        at += len(own)

    def row(chosen, against):
        o = figures(tasks, chosen, against, slice(None))
        o["files"] = [{"name": name} | figures(tasks, chosen, against, part) for name, part in parts.items()]
        return o
    document = {"made_by": "tests/data/make_task_goldens.py", "rows": [row(base, None), row(arm, base)]}
    GOLDEN.write_text(json.dumps(document, indent=1, default=float) + "\n")


main()
