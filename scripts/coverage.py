"""coverage.py BUILD: the table of coverage.sh, from gcov's JSON (GCC 9 and later).

A line counts as run if it ran in any of the objects that its file was compiled to: kernels are compiled once for each
instruction set, of which a machine has one.
"""
import json
import os
import subprocess
import sys

SHIPPED = ("formats", "quantize", "convert", "verify", "runtime", "calibrate", "fit", "report", "cli", "api")
LEAST = {"formats": 90, "quantize": 90, "convert": 90, "verify": 90}  # per cent of lines


def objects(build):
    for folder, _, names in os.walk(build):
        if os.sep + "tests" + os.sep not in folder + os.sep:
            yield from (os.path.join(folder, n) for n in names if n.endswith(".gcno"))


def lines_run(build):
    """{file: {line: whether it ran}}, of what is shipped."""
    run, root, every = {}, os.getcwd(), sorted(objects(build))
    for at in range(0, len(every), 50):
        out = subprocess.run(["gcov", "--json-format", "--stdout", *every[at:at + 50]],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        for document in map(json.loads, out.splitlines()):
            for f in document["files"]:
                name = os.path.relpath(os.path.join(document["current_working_directory"], f["file"]), root)
                if name.split(os.sep)[0] not in SHIPPED:
                    continue
                lines = run.setdefault(name, {})
                for line in f["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, False) or line["count"] > 0
    return run


def main():
    build, total, low = sys.argv[1], {}, []
    for name, lines in lines_run(build).items():
        ran, all_of = sum(lines.values()), len(lines)
        sums = total.setdefault(name.split(os.sep)[0], [0, 0])
        sums[0] += ran
        sums[1] += all_of
        if ran < 0.9 * all_of:
            low.append((all_of - ran, 100 * ran / all_of, name, [n for n in sorted(lines) if not lines[n]]))
    with open(os.path.join(build, "files.txt"), "w") as out:
        for missing, percent, name, numbers in sorted(low, reverse=True):
            print(f"{percent:5.1f} %  {missing:4} lines  {name}: {' '.join(map(str, numbers))}", file=out)
    print(f"{'folder':<10} {'lines':>7} {'run':>7}  %")
    status = 0
    for folder in SHIPPED:
        ran, all_of = total.get(folder, (0, 0))
        percent = 100 * ran / max(all_of, 1)
        short = percent < LEAST.get(folder, 0)
        print(f"{folder:<10} {all_of:>7} {ran:>7}  {percent:.1f}" + (f"   below {LEAST[folder]} %" if short else ""))
        status = status or short
    return int(status)


sys.exit(main())
