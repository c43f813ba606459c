"""Runs the programs of docs/python.md, as a reader would, on a file.

usage: check_python_page.py PAGE MOEQ_FILE
"""
import re
import sys

page, path = sys.argv[1:]
blocks = re.findall(r"```python\n(.*?)```", open(page, encoding="utf-8").read(), re.S)
assert blocks, "no programs"
assert sum(1 for line in blocks[0].splitlines() if line.strip()) <= 10, "the first has ten lines"
scope = {}
for block in blocks:
    exec(block.replace("model.moeq", path), scope)
for name in scope["levels"]:
    assert scope["weights"](name).dtype == "float32", name
