#!/usr/bin/env python3
"""Lists every key that Transformers itself writes into a config.json, whatever the model.

usage: make_config_keys.py WHEEL... > tests/formats/data/config_keys.txt

WHEEL: transformers-*.whl files (pip download --no-deps transformers==4.0.0, and so on). Their
sources are read, not run: arguments, attributes and popped keywords of the classes PretrainedConfig
(PreTrainedConfig in 5.x) and GenerationConfig. Each line: the key, and the first and last of the
given versions that have it.
"""
import ast
import re
import sys
import zipfile

FILES = {
    "transformers/configuration_utils.py": ("PretrainedConfig", "PreTrainedConfig"),
    "transformers/generation/configuration_utils.py": ("GenerationConfig",),
}
# What is the class's machinery and never in a file.
NOT_KEYS = {"self", "attribute_map", "kwargs", "parameters_to_ignore"}


def keys_of(source, names):
    keys = set()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or node.name not in names:
            continue
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                keys.add(member.target.id)
            if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                text = ast.get_source_segment(source, member)
                keys |= {a.arg for a in member.args.args + member.args.kwonlyargs}
                keys |= set(re.findall(r'kwargs\.(?:pop|get)\(\s*"([A-Za-z0-9_.]+)"', text))
                keys |= set(re.findall(r"^\s+self\.([A-Za-z0-9_]+)\s*(?::[^=\n]+)?=", text, re.M))
    return keys - NOT_KEYS


def version_key(version):
    return [int(x) for x in re.findall(r"\d+", version)]


def main():
    found = {}
    for wheel in sys.argv[1:]:
        version = re.search(r"transformers-([0-9.]+)-", wheel).group(1)
        with zipfile.ZipFile(wheel) as z:
            for path, names in FILES.items():
                if path in z.namelist():
                    for key in keys_of(z.read(path).decode(), names):
                        found.setdefault(key, []).append(version)
    for key in sorted(found):
        versions = sorted(found[key], key=version_key)
        print(key, versions[0], versions[-1])


if __name__ == "__main__":
    main()
