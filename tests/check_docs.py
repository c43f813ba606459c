#!/usr/bin/env python3
"""What the documents for newcomers name is there: files and folders, functions and macros, links.

    check_docs.py SOURCE_DIR

Looked at: every README.md but that of the demo's model, docs/ARCHITECTURE.md and CONTRIBUTING.md. A file or folder is named by its
path from the top or any end of it: formats/gguf/gguf_names.h, gguf/gguf_names.h, gguf_names.h. Taken for names:

    in `code` and in drawings   words that end as sources do: x.c, x.h, x.def, x.py, x.sh, x.cmake; * stands for anything
    in `code`                   paths that begin with a folder of the top; words that begin with mq_ or MQ_
    anywhere                    [links](path)

Placeholders are in capitals: cmd_NAME.c, MQ_ROUTING_X. Besides, every folder of the top with sources has a README.md.
"""
import fnmatch
import pathlib
import re
import sys

FOLDERS = "api calibrate cli cluster cmake convert demo docs fit formats include quantize report runtime scripts tests verify".split()
SOURCE = re.compile(r"(?<![\w/.])[A-Za-z0-9*][\w./*{}-]*\.(?:c|h|def|py|sh|cmake)\b")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:\s]+)\)")
WORD = re.compile(r"\b(?:mq|MQ)_\w+(?![\w*])")
PLACEHOLDER = re.compile(r"NAME\w*(\.\w+)?$|_X$|[A-Z]{3,}\.(c|h|py|sh)$")


def paths_of(source):
    inside = [p for folder in FOLDERS for p in (source / folder).rglob("*") if "__pycache__" not in p.parts]
    top = [p for p in source.iterdir() if p.is_file() or p.name in FOLDERS]
    return [str(p.relative_to(source)) for p in inside + top]


def is_own(path):
    return not path.startswith(("demo/", "tests/fixtures/"))


def words_of_sources(source, paths):
    texts = [(source / p).read_text(encoding="utf-8", errors="replace")
             for p in paths if is_own(p) and p.endswith((".c", ".h", ".def"))]
    return set(re.findall(r"\w+", "\n".join(texts)))


def names_in(line):
    """The paths and the words that a line of a document names."""
    codes = CODE.findall(line)
    paths = [name for text in ([line] if line.startswith("    ") else codes) for name in SOURCE.findall(text)]
    paths += [code.rstrip("/") for code in codes
              if re.fullmatch(r"[\w./*-]+", code) and "/" in code and code.split("/")[0] in FOLDERS]
    return dict.fromkeys(paths), dict.fromkeys(word for code in codes for word in WORD.findall(code))


def check(document, source, ends, words):
    """What is wrong in it, as messages."""
    for number, line in enumerate((source / document).read_text(encoding="utf-8").splitlines(), 1):
        paths, names = names_in(line)
        for path in paths:
            if path.startswith(("build/", "tmp/")) or "{" in path or PLACEHOLDER.search(path):
                continue
            if path not in ends and not ("*" in path and fnmatch.filter(ends, path)):
                yield f"{document}:{number}: there is no {path}"
        for name in names:
            if name not in words and not PLACEHOLDER.search(name):
                yield f"{document}:{number}: no source has {name}"
        for link in LINK.findall(line):
            if not (source / document).parent.joinpath(link).exists():
                yield f"{document}:{number}: the link {link} leads nowhere"


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    paths = paths_of(source)
    ends = {"/".join(parts[i:]) for parts in (path.split("/") for path in paths) for i in range(len(parts))}
    words = words_of_sources(source, paths)
    documents = [p for p in paths if is_own(p) and p.split("/")[-1] == "README.md"]
    documents += ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"]
    wrong = [f"{folder}/ has no README.md" for folder in FOLDERS if f"{folder}/README.md" not in documents
             and any(p.startswith(folder + "/") and p.endswith(".c") for p in paths)]
    for document in sorted(documents):
        wrong += check(document, source, ends, words)
    print("\n".join(wrong) or f"good: {len(documents)} documents")
    sys.exit(1 if wrong else 0)


main()
