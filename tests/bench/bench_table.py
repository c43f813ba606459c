#!/usr/bin/env python3
"""Makes a Markdown table of a benchmark, and puts it into a page between two marks.

    bench.sh --json > bench.json
    tests/bench/bench_table.py bench.json                 prints it
    tests/bench/bench_table.py bench.json PAGE NAME       replaces what stands between
                                                          <!-- bench NAME --> and <!-- /bench NAME -->
Of each measurement the best variant is shown, on one thread and on all of them.
"""
import json
import sys


def number(x):
    return f"{x:,.0f}" if x >= 99.5 else f"{x:.3g}"


def rate(row):
    spread = row["relative_spread"]
    return number(row["rate"]) + (f" ± {100 * spread:.0f} %" if spread else "")


def table(report):
    threads = report["threads"]
    lines = [f"| | unit | 1 thread | {threads} threads | share of peak | times the scalar reference |",
             "|---|---|---|---|---|---|"]
    rows = {}  # the last variant of a name is the best one
    for row in report["rows"]:
        key = (row["group"], row["name"])
        if row["group"] == "machine":
            key += (row.get("variant"),)
        rows.setdefault(key, {})[row["threads"] == 1] = row
    for key, of in rows.items():
        one, many = of.get(True), of.get(False)
        row = one or many
        name = " ".join([row["name"], f"({row['variant']})" if row.get("variant") else ""]).strip()
        share, times = (many or one).get("share_of_peak"), row.get("times_scalar_reference")
        lines.append("| " + " | ".join([
            name, row["unit"], rate(one) if one else "", rate(many) if many else "",
            f"{100 * share:.0f} % of {(many or one)['peak']}" if share else "",
            f"{times:.1f}" if times and times != 1 else ""]) + " |")
    return "\n".join(lines)


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__.strip())
    with open(sys.argv[1], encoding="utf-8") as f:
        text = table(json.load(f))
    if len(sys.argv) == 2:
        print(text)
        return
    path, begin, end = sys.argv[2], f"<!-- bench {sys.argv[3]} -->", f"<!-- /bench {sys.argv[3]} -->"
    with open(path, encoding="utf-8") as f:
        page = f.read()
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        sys.exit(f"{path}: expected one {begin} and one {end} behind it")
    before, rest = page.split(begin)
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + begin + "\n" + text + "\n" + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
