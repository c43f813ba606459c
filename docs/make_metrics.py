#!/usr/bin/env python3
"""Makes the tables of docs/metrics.md and docs/gates.md from `moeq verify --list-metrics --json`, so that they list
what the program measures. A table stands between <!-- figures: NAME --> and <!-- end -->.

usage: make_metrics.py MOEQ            writes them
       make_metrics.py MOEQ --check    fails, with the difference, where they are not current
"""
import difflib
import json
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def definitions(figures, section):
    return table(["figure", "JSON", "better", "what it is", "formula", "source"],
                 [[f"**{f['title']}**" + (f" ({f['unit']})" if f["unit"] in ("nats", "bits", "bytes") else ""),
                   f"`{f['place']}`", f["better"], f["means"], f["formula"], f["source"]]
                  for f in figures if f["section"] == section])


def gates(figures):
    scopes = ("model", "changed_layers", "margin", "layer", "b_minus_a")
    rows = [(scopes.index(m["of"]), [f"`{m['name']}`", f["better"], "w" * m["written"], f["title"]])
            for f in figures for m in f["metrics"]]
    rows = [row for _, row in sorted(rows, key=lambda r: max(r[0], 2))]
    return table(["metric", "better", "w", "figure"], rows)


def glossary(figures):
    return table(["figure", "what it is"], [[f"**{f['title']}**", f["means"]] for f in figures])


def renewed(text, tables):
    """The text with its tables made anew, and which those are."""
    used = set()

    def replace(match):
        used.add(match[2])
        return match[1] + tables[match[2]] + match[3]
    return re.sub(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", replace, text, flags=re.S), used


def main():
    listed = subprocess.run([sys.argv[1], "verify", "--list-metrics", "--json"], check=True, capture_output=True)
    figures = json.loads(listed.stdout)["figures"]
    tables = {section: definitions(figures, section) for section in sorted({f["section"] for f in figures})}
    tables["gates"] = gates(figures)
    tables["glossary"] = glossary(figures)
    missing, bad = set(tables), False
    for path in (DOCS / "metrics.md", DOCS / "gates.md", DOCS / "glossary.md"):
        before = path.read_text("utf-8")
        after, used = renewed(before, tables)
        missing -= used
        if "--check" in sys.argv:
            diff = difflib.unified_diff(before.splitlines(1), after.splitlines(1), path.name, "made of the program")
            for line in diff:
                bad = True
                sys.stdout.write(line)
        else:
            path.write_text(after, "utf-8")
    if missing:
        sys.exit(f"the documentation has no place for: {', '.join(sorted(missing))}")
    sys.exit(bad)


main()
