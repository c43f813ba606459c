#!/usr/bin/env python3
"""Writes tests/verify/data/metrics_<level>.json: what `moeq sweep --swap --noise-floor` must say of
a Mixtral model, computed independently: a numpy evaluator in float64, the decoders of the package
`gguf` for the blocks of a moeq file, the package `tokenizers` for the text.

    pip install numpy gguf safetensors tokenizers
    tests/data/make_metric_goldens.py --moeq BUILD/moeq

The document has the shape of a part of the sweep's, so that every number in it can be looked up
there. With --sweep it is compared with the output of `moeq sweep --json` instead of being written.
"""
import argparse
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from safetensors import deserialize
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
# bytes and weights of a block
TYPES = {"q8_0": (GGMLQuantizationType.Q8_0, 34, 32), "q4_k": (GGMLQuantizationType.Q4_K, 144, 256),
         "q3_k": (GGMLQuantizationType.Q3_K, 110, 256)}
NEAR_TIE = 4e-6  # differences that f32 need not resolve
# Where figures nearly vanish, f32 resolves no relative 1e-4: logits that differ by 1e-2 (a KL
# divergence of about 1e-4) carry noise of 1e-6, which is 2e-4 of their difference.
TOLERANCE, RESOLUTION = 1e-4, 2e-8
# What counts tokens or choices is exactly the same unless some are near ties.
COUNTED = re.compile(r"(_rate|overlap_at_k|load_shift|expert_load\.\w+\[\d+\]|\.choices|\.changed|"
                     r"scored_tokens|\.layer|\.changed_layers)(\.value|\.se)?$")
MARGIN_EDGES = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]


# ---- weights ----

def array_of(info):
    if info["dtype"] == "BF16":
        bits = np.frombuffer(info["data"], "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(info["shape"])
    kinds = {"F32": "<f4", "F16": "<f2", "U8": "u1", "U32": "<u4"}
    return np.frombuffer(info["data"], kinds[info["dtype"]]).reshape(info["shape"])


def read_folder(folder):
    files = sorted(folder.glob("model*.safetensors"))
    return {name: array_of(info).astype(np.float64)
            for path in files for name, info in deserialize(path.read_bytes())}


def decode(raw, level, columns):
    """A row: whole blocks of its level, then q8_0 blocks of 32, then halves (formats/FORMAT.md)."""
    kind, size, weights = TYPES[level]
    whole = columns // weights * size
    parts = [dequantize(raw[:, :whole], kind)] if whole else []
    left, at = columns % weights, whole
    if left >= 32:
        end = at + left // 32 * 34
        parts.append(dequantize(raw[:, at:end], TYPES["q8_0"][0]))
        left, at = left % 32, end
    if left:
        parts.append(np.ascontiguousarray(raw[:, at:]).view("<f2").astype(np.float32))
    return np.concatenate(parts, axis=1)


def read_moeq(path):
    data = path.read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    weights = {}
    for name, info in deserialize(data):
        if name.startswith("moeq."):
            continue
        weights[name] = array_of(info)
        said = header["__metadata__"].get("moeq.tensor." + name)
        if said:
            level, _, columns = said.split()
            weights[name] = decode(weights[name], level, int(columns))
        weights[name] = weights[name].astype(np.float64)
    return weights


# ---- the model ----

def round_bf16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def exact(x):
    return x


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x, theta):
    """x [windows, tokens, heads, d]: the pairs (i, i + d/2) by token * theta^(-2i/d)."""
    d = x.shape[-1]
    angle = np.outer(np.arange(x.shape[1]), theta ** (-np.arange(0, d, 2) / d))[None, :, None]
    a, b = x[..., :d // 2], x[..., d // 2:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                           b * np.cos(angle) + a * np.sin(angle)], -1)


def attend(q, k, v):
    tokens, d, group = q.shape[1], q.shape[-1], q.shape[2] // k.shape[2]
    k, v = np.repeat(k, group, 2), np.repeat(v, group, 2)
    scores = np.einsum("wqhd,wkhd->whqk", q, k, optimize=True) / np.sqrt(d)
    scores[..., ~np.tri(tokens, dtype=bool)] = -np.inf
    return np.einsum("whqk,wkhd->wqhd", softmax(scores), v, optimize=True).reshape(*q.shape[:2], -1)


def choose(logits, k):
    """Experts ascending, of equal ones the lower; weights sum to 1."""
    p = softmax(logits)
    experts = np.sort(np.argsort(-p, axis=-1, kind="stable")[..., :k], axis=-1)
    weights = np.take_along_axis(p, experts, -1)
    return experts, weights / weights.sum(-1, keepdims=True)


def evaluate(w, config, ids, routes=None, r=exact):
    """Returns logits, and per layer (router logits, experts, weights). `routes`: of another run, to
    be taken instead of this one's own. `r` rounds what passes between operations."""
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    theta, eps = config["rope_theta"], config["rms_norm_eps"]
    top_k = config["num_experts_per_tok"]

    def norm(x, name):
        return r(x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w[name])

    def linear(x, name):
        return r(x @ w[name].T)

    def split(x, n):
        return x.reshape(*x.shape[:2], n, -1)

    h, own = r(w["model.embed_tokens.weight"][ids]), []
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        x = norm(h, p + "input_layernorm.weight")
        q, k, v = (split(linear(x, f"{p}self_attn.{m}_proj.weight"), n)
                   for m, n in (("q", heads), ("k", kv), ("v", kv)))
        a = r(attend(rotate(q, theta), rotate(k, theta), v))
        h = r(h + linear(a, p + "self_attn.o_proj.weight"))
        x = norm(h, p + "post_attention_layernorm.weight")
        logits = linear(x, p + "block_sparse_moe.gate.weight")
        experts, weights = choose(logits, top_k) if routes is None else routes[layer][1:]
        own.append((logits, experts, weights))
        total = np.zeros_like(h)
        for e in range(config["num_local_experts"]):
            *token, slot = np.nonzero(experts == e)
            token, m = tuple(token), f"{p}block_sparse_moe.experts.{e}."
            gate, up = linear(x[token], m + "w1.weight"), linear(x[token], m + "w3.weight")
            y = linear(r(gate / (1 + np.exp(-gate)) * up), m + "w2.weight")
            total[token] += weights[(*token, slot)][:, None] * y
        h = r(h + r(total))
    return linear(norm(h, "model.norm.weight"), "lm_head.weight"), own


# ---- the figures ----

def estimate(x, scale=1.0):
    x = np.asarray(x, np.float64).ravel()
    return {"value": x.mean(), "se": scale * x.std(ddof=1) / np.sqrt(x.size)}


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def kl(a, b):
    """Of the softmax of logits a from that of logits b, in nats."""
    p, q = log_softmax(a), log_softmax(b)
    return (np.exp(p) * (p - q)).sum(-1)


def exponential(e):
    value = float(np.exp(e["value"]))
    return {"value": value, "se": value * e["se"]}


class Output:
    """Scored logits of an arm, [tokens, vocabulary], against the baseline's."""

    def __init__(self, logits, targets, base=None):
        self.logits = logits
        self.nll = -np.take_along_axis(log_softmax(logits), targets[:, None], -1)[:, 0]
        self.base = base
        if base:
            self.difference = self.nll - base.nll
            self.kld = kl(base.logits, logits)
            self.same = logits.argmax(-1) == base.logits.argmax(-1)

    def near_ties(self):
        top = np.sort(self.logits, -1)[:, -2:]
        return int((top[:, 1] - top[:, 0] < NEAR_TIE).sum())

    def document(self):
        nll = estimate(self.nll)
        o = {"perplexity": exponential(nll), "nll_nats": nll}
        if not self.base:
            return o
        p = np.percentile(self.kld, [50, 90, 99, 99.9])
        log_ratio = estimate(self.difference)
        squares = estimate((np.exp(-self.nll) - np.exp(-self.base.nll)) ** 2)
        rms = np.sqrt(squares["value"])
        return o | {
            "ppl_ratio": exponential(log_ratio), "ln_ppl_ratio": log_ratio,
            "kld_nats": {"mean": estimate(self.kld), "median": p[0], "p90": p[1], "p99": p[2],
                         "p99_9": p[3], "max": self.kld.max()},
            "same_top_rate": estimate(self.same),
            "delta_p_rms": {"value": rms, "se": squares["se"] / (2 * rms)}}


def dense_weights(experts, weights, n):
    w = np.zeros((len(experts), n))
    np.put_along_axis(w, experts, weights, -1)
    return w


def layer_figures(base, arm, n, k):
    """Figures of each token in one layer, [tokens]; by definition, over all n experts."""
    w, v = dense_weights(*base[1:], n), dense_weights(*arm[1:], n)
    common = ((w > 0) & (v > 0)).sum(-1)
    r = softmax(base[0])
    return {
        "exact_set_rate": common == k, "overlap_at_k": common / k,
        "top1_expert_rate": w.argmax(-1) == v.argmax(-1),
        "weighted_agreement": np.minimum(w, v).sum(-1),
        "router_mass_kept": np.minimum(1, (r * (v > 0)).sum(-1) / (r * (w > 0)).sum(-1)),
        "cr1_all_changed_rate": common == 0, "cr2_any_changed_rate": common < k,
        "cr3_half_changed_rate": 2 * (k - common) >= k,
        "router_kl_nats": kl(base[0], arm[0])}


def margin_of(route):
    logits, experts, _ = route
    chosen = np.zeros(logits.shape, bool)
    np.put_along_axis(chosen, experts, True, -1)
    return (np.where(chosen, logits, np.inf).min(-1) -
            np.where(chosen, -np.inf, logits).max(-1))


def routing_document(base, arm, config, scored, kld):
    n, k = config["num_local_experts"], config["num_experts_per_tok"]
    layers, figures, margins = [], [], []
    for layer, (b, a) in enumerate(zip(base, arm)):
        f = layer_figures(b, a, n, k)
        load = [np.bincount(route[1].ravel(), minlength=n) / route[1].size for route in (b, a)]
        layers.append({"layer": layer} | {name: estimate(x) for name, x in f.items()} |
                      {"expert_load": {"baseline": list(load[0]), "arm": list(load[1])},
                       "load_shift": abs(load[0] - load[1]).sum() / 2})
        figures.append(f)
        margins.append(margin_of(b))
    overall = {name: estimate(np.mean([f[name] for f in figures], 0)) for name in figures[0]}
    overall["load_shift"] = np.mean([layer["load_shift"] for layer in layers])
    changed = np.array([f["cr2_any_changed_rate"] for f in figures])  # [layers, tokens]
    groups = []
    for count in range(len(layers) + 1):
        of = kld[changed.sum(0)[scored] == count]
        groups.append({"changed_layers": count, "scored_tokens": len(of)} |
                      ({"kld_mean_nats": estimate(of)} if len(of) > 1 else {}))
    bins = np.maximum(np.digitize(np.array(margins), MARGIN_EDGES) - 1, 0)
    histogram = [{"from_logits": edge, "choices": int((bins == i).sum()),
                  "changed": int((changed & (bins == i)).sum())}
                 for i, edge in enumerate(MARGIN_EDGES)]
    return {"overall": overall, "layers": layers, "kld_by_changed_layers": groups,
            "baseline_margins": histogram}


def ratio(x, y):
    value = x.sum() / y.sum()
    return {"value": value, "se": estimate(x - value * y)["se"] / abs(y.mean())}


def shares(whole, weights, routes):
    mean = estimate(whole)
    if not (mean["value"] > 0 and mean["value"] > 2 * mean["se"]):
        return None
    return {"weights": ratio(weights, whole), "routes": ratio(routes, whole),
            "interaction": ratio(whole - weights - routes, whole)}


def floor_document(output, routing):
    """Rounding is chaotic: what depends on few tokens, as the mean does, is no more alike than two
    implementations are. Only robust figures can be compared."""
    kld, overall = output.document()["kld_nats"], routing["overall"]
    return {"kld_nats": {name: kld[name] for name in ("median", "p90")},
            "same_top_rate": {"value": output.same.mean()},
            "routing": {"overall": {name: {"value": overall[name]["value"]}
                                    for name in ("exact_set_rate", "router_kl_nats")}}}


# ---- the run ----

def windows_of(model, text, context, count):
    """Protocol `half`: BOS replaces the first token of each window, the second half is scored."""
    ids = Tokenizer.from_file(str(model / "tokenizer.json")).encode(text.read_text("utf-8")).ids
    windows = np.array(ids[:context * count], np.int32).reshape(count, context)
    windows[:, 0] = ids[0]
    return windows


def compute(options):
    config = json.loads((options.model / "config.json").read_text())
    ids = windows_of(options.model, options.text, options.context, options.windows)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "arm.moeq"
        subprocess.run([options.moeq, "convert", options.model, "-o", path, "--level",
                        options.level, "--quiet", "--no-progress"], check=True,
                       stdout=subprocess.DEVNULL)
        quantized = read_moeq(path)
    source = read_folder(options.model)
    position = np.tile(np.arange(options.context), options.windows)
    scored = (position >= options.context // 2) & (position < options.context - 1)
    targets = np.roll(ids.ravel(), -1)[scored]

    def run(w, base=None, **how):
        logits, routes = evaluate(w, config, ids, **how)
        output = Output(logits.reshape(len(scored), -1)[scored], targets, base)
        return output, routes, [tuple(x.reshape(len(scored), -1) for x in r) for r in routes]

    def row(output, routes):
        return output.document() | {
            "routing": routing_document(base_flat, routes, config, scored, output.kld)}

    base, base_routes, base_flat = run(source)
    arm, arm_routes, arm_flat = run(quantized, base)
    weights = run(quantized, base, routes=base_routes)[0]
    routes = run(source, base, routes=arm_routes)[0]
    floor, _, floor_flat = run(source, base, r=round_bf16)
    swap = {"own_weights_baseline_routes": weights.document(),
            "baseline_weights_own_routes": routes.document(),
            "shares_of_ln_ppl_ratio": shares(arm.difference, weights.difference, routes.difference),
            "shares_of_kld_mean": shares(arm.kld, weights.kld, routes.kld)}
    ties = {"routes": int(sum((margin_of(r) < NEAR_TIE).sum() for r in base_flat + arm_flat)),
            "tops": sum(x.near_ties() for x in (base, arm, weights, routes))}
    return {
        "made_by": "tests/data/make_metric_goldens.py, numpy float64", "model": options.model.name,
        "packages": {p: importlib.metadata.version(p)
                     for p in ("numpy", "gguf", "safetensors", "tokenizers")},
        "level": options.level, "context": options.context, "windows": options.windows,
        "token_ids_crc32": f"{zlib.crc32(ids.astype('<i4').tobytes()):08x}",
        "near_ties_below": NEAR_TIE, "tolerance": TOLERANCE,
        "resolution": RESOLUTION, "near_ties": ties,
        "baseline": base.document(), "row": row(arm, arm_flat) | {"swap": swap},
        "noise_floor": floor_document(floor, routing_document(base_flat, floor_flat, config, scored,
                                                              floor.kld))}


def tolerance(path, expected, ties):
    if COUNTED.search(path):
        return 1e-9 if ties == 0 else TOLERANCE
    scale = 1.0 if "shares" in path else abs(expected)  # shares of the whole, which is 1
    return TOLERANCE * scale + RESOLUTION


def differences(expected, found, ties, path=""):
    """(difference in tolerances, path, expected, found) of every number."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            yield from differences(value, (found or {}).get(key), ties, f"{path}.{key}")
    elif isinstance(expected, list):
        for i, value in enumerate(expected):
            yield from differences(value, found[i], ties, f"{path}[{i}]")
    elif isinstance(expected, (int, float, np.number)) and found is not None:
        yield (abs(expected - found) / tolerance(path, expected, ties), path, float(expected),
               found)
    elif expected != found:
        yield np.inf, path, expected, found


def compare(document, sweep):
    assert sweep["protocol"]["token_ids_crc32"] == document["token_ids_crc32"], "other tokens"
    row = next(r for r in sweep["rows"] if r["name"] == document["level"])
    ties = sum(document["near_ties"].values())
    found = list(differences(document["baseline"], sweep["rows"][0], ties, "baseline"))
    found += differences(document["row"], row, ties, "row")
    print(f"{len(found)} numbers; near ties: {document['near_ties']}; the largest differences, as "
          f"multiples of what is tolerable ({TOLERANCE} relative):")
    for d, path, expected, value in sorted(found, key=lambda d: -d[0])[:8]:
        print(f"  {d:.2e}  {path}: {expected} here, {value} in the sweep")
    print("noise floor (rounding is chaotic: alike, not equal):")
    floors = document["noise_floor"], sweep["noise_floor"]
    for _, path, expected, value in differences(*floors, ties):
        print(f"  {path}: {expected} here, {value} in the sweep")
    return max(d[0] for d in found) <= 1


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--moeq", required=True, help="the built program")
    p.add_argument("--model", type=pathlib.Path, default=ROOT / "demo/model")
    p.add_argument("--text", type=pathlib.Path, default=ROOT / "demo/text.txt")
    p.add_argument("--level", default="q3_k", choices=TYPES)
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--windows", type=int, default=8)
    p.add_argument("--sweep", action="store_true", help="compare with moeq sweep, write nothing")
    options = p.parse_args()
    document = compute(options)
    if options.sweep:
        out = subprocess.run(
            [options.moeq, "sweep", options.model, "--text", options.text, "--levels",
             options.level, "--context", str(options.context), "--tokens",
             str(options.context * options.windows), "--swap", "--noise-floor", "--json",
             "--no-progress"], check=True, capture_output=True).stdout
        sys.exit(not compare(document, json.loads(out)))
    path = ROOT / f"tests/verify/data/metrics_{options.level}.json"
    path.write_text(json.dumps(document, indent=1, default=float) + "\n")
    print(f"{path.name}: near ties {document['near_ties']}")


if __name__ == "__main__":
    main()
