#!/usr/bin/env python3
"""Writes tests/fixtures/families: a tiny checkpoint of every family in the form that its publisher
gives it (names, types, config keys, quantized forms, parts to leave out), with what it must give.

    pip install numpy
    tests/data/make_family_oracles.py [--from FOLDER] [--only NAME,NAME]

Names, types and config keys come from the folder that is there already (or from --from, a folder of
larger checkpoints in the same forms), sizes from families/sizes.py, weights from a seed, outputs
from the evaluator in families/ (float64), which agrees with Transformers on larger checkpoints.
A seed is taken if every expert is used and no choice is closer than MARGIN.
"""

import argparse
import json
import pathlib
import re
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from families import check, encode, forms, sizes, variants, weights  # noqa: E402
from families.checkpoint import from_native  # noqa: E402
from families.model import KINDS, Model  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/fixtures/families"
OLDER = ROOT / "tests/fixtures/oracles"
TOKENS, MARGIN, SEED = 48, 2e-4, 7000
PACKED = re.compile(r"(_scale_inv|\.weight_scale|_scales|\.weight_shape)$")


def read_header(folder):
    """Names and types of the tensors, packed ones by the name of what they hold."""
    names = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.startswith("golden"):
            continue
        with open(path, "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            if PACKED.search(name):
                continue
            dtype = tensor["dtype"]
            if name.endswith("_blocks"):
                name, dtype = name[: -len("_blocks")], "MXFP4"
            elif name.endswith("_packed"):
                name, dtype = name[: -len("_packed")], "INT4"
            scale = next((s for s in ("_scale_inv", "_scale") if name + s in header), None)
            names[name] = (dtype, tensor["shape"], scale and (scale, header[name + scale]["dtype"]))
    return names


def text_part(config):
    if "dim" in config:
        config = from_native(config, {})[0]
    config = config.get("text_config", config)
    return config, KINDS.get(config.get("model_type"), config.get("model_type", "grok-1"))


def layers_in(config):
    c = text_part(config)[0]
    return forms.pick(c, "num_hidden_layers", "n_layers")


def rename(names, before, config, keep):
    """The names of the layers and experts that are left, by their new numbers."""
    c, kind = text_part(config)
    old, new, out = layers_in(before), layers_in(config), {}
    experts = forms.Sizes(c, kind, 0).E
    keep = list(range(old)) if old == new else keep
    for name, form in names.items():
        layer, expert = forms.layer_of(name), forms.EXPERT.search(name)
        if expert and int(expert.group(1)) >= experts:
            continue
        if layer is not None and layer < old and layer not in keep:
            continue
        if layer is not None:
            number = keep.index(layer) if layer < old else new + layer - old
            name = forms.LAYER.sub(rf"\1.{number}.", name, count=1)
        out[name] = form
    return out


def change_names(names, row):
    if "without" in row:
        names = {n: form for n, form in names.items() if not re.search(row["without"], n)}
    for name, beside, dtype in row.get("with", []):
        if beside is None:
            names[name] = (dtype, None, None)
        for other in [n for n in names if beside and n.endswith("." + beside)]:
            if not forms.OTHER_PARTS.match(other):
                names[other[: -len(beside)] + name] = (dtype, None, None)
    return names


def switch(config, edits):
    """With what a variant has otherwise, wherever the key stands."""
    return {
        key: (
            edits[key]
            if key in edits
            else switch(value, edits) if isinstance(value, dict) else value
        )
        for key, value in config.items()
    }


def store(name, form, values, tensors):
    dtype, _, scale = form
    if dtype == "F8_E4M3":
        power = scale[0] == "_scale_inv" and store.powers_of_two
        codes, scales = encode.fp8_blocks(values, scale[1], power)
        tensors[name], tensors[name + scale[0]] = (codes, dtype), (scales, scale[1])
    elif dtype == "MXFP4":
        blocks, exponents = encode.mxfp4(values.transpose(0, 2, 1))
        tensors[name + "_blocks"], tensors[name + "_scales"] = (blocks, "U8"), (exponents, "U8")
    elif dtype == "INT4":
        words, scales = encode.int4(values)
        tensors[name + "_packed"], tensors[name + "_scale"] = (words, "I32"), (scales, "BF16")
        tensors[name + "_shape"] = (np.array(values.shape), "I64")
    else:
        tensors[name] = (values, dtype)


def make_tensors(names, config, seed):
    c, kind = text_part(config)
    store.powers_of_two = "ue8m0" in json.dumps(config.get("quantization_config", {}))
    tensors = {}
    for name, form in names.items():
        shape = forms.shape_of(name, c, kind)
        if shape is None:  # of another part: small, and not zero
            shape = [min(n, 8) for n in form[1]]
        store(name, form, weights.draw(name, shape, kind, seed), tensors)
    return tensors


def make_golden(folder, ids):
    """What the folder gives in all its readings, and the smallest margin."""
    golden, margin = check.evaluate(Model(str(folder)), ids)
    golden["input_ids"] = ids
    has = {
        "_no_mscale2": (
            text_part(json.loads((folder / "config.json").read_text()))[1] == "mistral4"
            if (folder / "config.json").exists()
            else False
        ),
        "_mscale2": (folder / "params.json").exists(),
    }
    for suffix, model in check.READINGS.items():
        if not has.get(suffix, (folder / f"config{suffix}.json").exists()):
            continue
        other, m = check.evaluate(model(str(folder)), ids)
        margin = min(margin, m)
        whole = suffix == "_no_mscale2"  # the reading that is right for published models
        golden.update({k + suffix: v for k, v in other.items() if whole or k == "logits"})
    return golden, margin


def fault(golden, margin, experts):
    if not margin >= MARGIN:
        return f"margin {margin:.1e}"
    for name, values in golden.items():
        if not np.isfinite(values).all():
            return f"{name} is not finite"
        if re.fullmatch(r"router\.\d+\.experts", name) and len(np.unique(values)) < experts:
            return f"{name}: an expert is not used"
    return None if golden["logits"].std() > 0.3 else f"logits of {golden['logits'].std():.2f}"


def write_golden(path, golden, seed):
    stored = {
        k: (v, "I32" if ".experts" in k or k == "input_ids" else "F32") for k, v in golden.items()
    }
    encode.write_st(path, stored, {"seed": str(seed)})


def write_json(path, config):
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def configs_of(base, name, row):
    """Every config of the folder, small; the one that the model is read by comes first."""
    small = {**sizes.SMALL, **(sizes.FAMILIES | sizes.OLDER)[name]}
    extra, main = small.pop("tf5", {}), None
    out, before = {}, None
    for path in sorted(
        base.glob("*.json"), key=lambda p: (p.name not in ("config.json", "params.json"), p.name)
    ):
        if path.name.startswith("hf_equivalent"):
            continue
        config = json.loads(path.read_text())
        before = before or config
        more = extra if path.name == "config_tf5.json" else sizes.READINGS.get(path.name, {})
        out[path.name] = switch(
            sizes.resize(sizes.fewer_layers(config, small.get("keep")), {**small, **more}),
            row.get("config", {}),
        )
        main = main or path.name
    return out, before, main


def make(name, base, row):
    """One folder; `row` is a variant's."""
    family, folder = name.split("-")[0], OUT / name
    names = read_header(base)
    configs, before, main = configs_of(base, family, row)
    config = configs[main]
    names = rename(names, before, config, (sizes.FAMILIES | sizes.OLDER)[family].get("keep"))
    names = change_names(names, row)
    file = "consolidated.safetensors" if main == "params.json" else "model.safetensors"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, value in configs.items():
        write_json(folder / path, value)
    c, kind = text_part(config)
    ids = np.random.Generator(np.random.PCG64(list(family.encode()))).integers(
        0, c["vocab_size"], (1, TOKENS)
    )
    for seed in range(SEED, SEED + 400):
        encode.write_st(folder / file, make_tensors(names, config, seed))
        golden, margin = make_golden(folder, ids)
        why = fault(golden, margin, forms.Sizes(c, kind, 0).E)
        if why is None:
            break
    else:
        raise SystemExit(f"{name}: no seed will do: {why}")
    if row:  # (what differs shows in these)
        golden = {
            k: v for k, v in golden.items() if k.startswith(("logits", "router", "input_ids"))
        }
    write_golden(folder / "golden.safetensors", golden, seed)
    kib = sum(path.stat().st_size for path in folder.iterdir()) / 1024
    logits = golden["logits"]
    print(
        f"{name:34} {kib:4.0f} KiB, seed {seed}, margin {margin:.1e}, logits {logits.std():.2f}, {abs(logits).max():.1f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="base", type=pathlib.Path, default=OUT)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    rows = {name: {} for name in sizes.FAMILIES} | variants.VARIANTS
    for name, row in rows.items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        family = name.split("-")[0]
        base = OLDER if family in sizes.OLDER else OUT if row else arguments.base
        make(name, base / family, row)


if __name__ == "__main__":
    main()
