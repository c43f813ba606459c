#!/usr/bin/env python3
"""No cycles between files: a helper stands below its users, a dispatcher above what it chooses from.

    check_cycles.py SOURCE_DIR BUILD_DIR [NM]

Two graphs, of the sources that compile_commands.json names outside of tests/: a file uses another
where its object needs a symbol that the other's defines (nm says); and a header uses another where
it includes it. Each group of files that use each other round and round is printed with what ties it
together. A file compiled once per instruction set counts as one.

Exits with 0: no cycles; 1: cycles, or a known one that is none any more; 77: nothing to look at.
"""
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

# Groups that are still to be taken apart, as the files of each. The list may only become shorter: a
# group that is not found exactly so fails.
KNOWN = []


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def objects_of(source_dir, build_dir):
    """Object file -> source file, relative to source_dir: of the program and its library."""
    listing = build_dir / "compile_commands.json"
    if not listing.exists():
        skip(f"{listing} is missing (CMAKE_EXPORT_COMPILE_COMMANDS)")
    objects = {}
    for entry in json.loads(listing.read_text()):
        source = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if not source.is_relative_to(source_dir):
            continue
        source = source.relative_to(source_dir)
        command = entry.get("arguments") or shlex.split(entry["command"])
        if source.parts[0] != "tests" and "search" not in source.parts and "-o" in command:
            output = pathlib.Path(entry["directory"], command[command.index("-o") + 1])
            objects[str(output)] = str(source)
    if not objects:
        sys.exit(f"{listing} names no source in {source_dir}")
    return objects


def symbol_graph(objects, nm):
    """File -> file it uses -> the symbols it uses of it."""
    missing = [path for path in objects if not pathlib.Path(path).exists()]
    if missing:
        sys.exit(f"{missing[0]} is not built (nor {len(missing) - 1} others): build everything first")
    listing = subprocess.run([nm, "-P", "-A", "-g", *objects], check=True, capture_output=True,
                             text=True).stdout
    defined, needed = {}, {}
    for line in listing.splitlines():
        path, _, rest = line.partition(": ")
        name, kind = rest.split()[:2]
        side = needed if kind in "Uwv" else defined
        side.setdefault(name, set()).add(objects[path])
    graph = {source: {} for source in objects.values()}
    for name, users in needed.items():
        for user in users:
            for definer in defined.get(name, ()):
                graph[user].setdefault(definer, set()).add(name)
    return graph


def include_graph(source_dir, sources):
    """Header -> header it includes -> {"#include"}. Names of headers are unique in the tree."""
    folders = sorted({pathlib.Path(source).parts[0] for source in sources} | {"include"})
    headers = [path for folder in folders for path in (source_dir / folder).rglob("*.h")]
    by_name = {path.name: str(path.relative_to(source_dir)) for path in headers}
    if len(by_name) != len(headers):
        sys.exit("two headers have the same name")
    graph = {}
    for path in headers:
        included = re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', path.read_text(), re.M)
        used = {by_name[name.split("/")[-1]] for name in included if name.split("/")[-1] in by_name}
        graph[by_name[path.name]] = {header: {"#include"} for header in used}
    return graph


def reachable(graph, start):
    """The nodes that a way of at least one step leads to; `start` only if it is on a cycle."""
    found, left = set(), [start]
    while left:
        for node in graph[left.pop()]:
            if node not in found:
                found.add(node)
                left.append(node)
    return found


def cycles(graph):
    """The groups of nodes that can all reach each other, sorted; a node alone is no group."""
    reach = {node: reachable(graph, node) for node in graph}
    groups = {frozenset(other for other in reach[node] if node in reach[other]) for node in graph}
    return sorted((sorted(group) for group in groups if len(group) > 1))


def show(graph, group):
    print(f"a cycle of {len(group)} files:")
    for node in group:
        for other, why in sorted(graph[node].items()):
            if other in group and other != node:
                print(f"    {node} -> {other}: {', '.join(sorted(why))}")


def main():
    source_dir, build_dir = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
    nm = sys.argv[3] if len(sys.argv) > 3 else "nm"
    if not shutil.which(nm):
        skip(f"there is no {nm}")
    objects = objects_of(source_dir, build_dir)
    failed = False
    known = [sorted(group) for group in KNOWN]
    for graph in symbol_graph(objects, nm), include_graph(source_dir, objects.values()):
        for group in cycles(graph):
            if group in known:
                known.remove(group)
            else:
                show(graph, group)
                failed = True
    for group in known:
        print(f"no such cycle any more, take it off the list of known ones: {', '.join(group)}")
        failed = True
    sys.exit(1 if failed else 0)


main()
