#!/usr/bin/env python3
"""Makes the table of docs/FAMILIES.md: of each family of `moeq inspect --list-families --json` the models, what its
layers are made of (`made_of`, which `moeq fit` says of the configs in tests/fixtures), the oracle that proves it, and
what GGUF and left-out tensors there are. The table stands between <!-- families --> and <!-- end -->.

usage: make_families.py MOEQ            writes it
       make_families.py MOEQ --check    fails, with the difference, where it is not current
"""
import difflib
import json
import pathlib
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent
FIXTURES = DOCS.parent / "tests" / "fixtures"


def moeq(*arguments):
    found = subprocess.run([sys.argv[1], *map(str, arguments), "--json"], capture_output=True)
    return json.loads(found.stdout) if found.returncode == 0 else None


def configs_of_families():
    """By family: what its models are made of, and its oracles."""
    made, oracles = {}, {}
    for path in sorted(FIXTURES.glob("configs/*.json")) + sorted(FIXTURES.glob("oracles/*/config.json")) + sorted(
            FIXTURES.glob("families/*/config.json")):
        fit = moeq("fit", path, "--vram", "80GiB")
        if not fit:
            continue
        family, is_oracle = fit["model"]["family"], path.name == "config.json"
        if is_oracle:
            oracles.setdefault(family, []).append(path.parent.name)
        if not is_oracle or family not in made or made[family][1]:
            words = made.get(family, ([], is_oracle))[0]
            made[family] = (words + [w for w in fit["model"]["made_of"] if w not in words], is_oracle)
    return {family: words for family, (words, _) in made.items()}, oracles


def table(families):
    made, oracles = configs_of_families()
    rows = [["`model_type`", "models", "layers", "oracle", "GGUF", "left out"], ["---"] * 6]
    for f in sorted(families, key=lambda f: f["name"]):
        names = ", ".join(f"`{n}`" for n in [f["name"], *f["other_model_types"]])
        left_out = "; ".join(f"`{s['tensors']}`" for s in f["left_out"])
        rows.append([names, f["models"], ", ".join(made.get(f["name"], [])),
                     ", ".join(f"`{o}`" for o in oracles.get(f["name"], [])),
                     f"`{f['gguf_architecture']}`" if f["gguf_architecture"] else "", left_out])
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def main():
    path = DOCS / "FAMILIES.md"
    before = path.read_text("utf-8")
    head, rest = before.split("<!-- families -->\n")
    after = head + "<!-- families -->\n" + table(moeq("inspect", "--list-families")["families"]) + "<!-- end -->" + \
        rest.split("<!-- end -->")[1]
    if "--check" not in sys.argv:
        path.write_text(after, "utf-8")
        return
    diff = list(difflib.unified_diff(before.splitlines(1), after.splitlines(1), path.name, "made of the program"))
    sys.stdout.writelines(diff)
    sys.exit(bool(diff))


main()
