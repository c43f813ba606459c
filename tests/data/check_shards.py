"""Reads a sharded moeq model by its index, as readers of the Hub do, and compares it with one file.

usage: check_shards.py INDEX MOEQ_FILE
"""
import json
import os
import sys

from safetensors import safe_open

index_path, whole_path = sys.argv[1:]
index = json.load(open(index_path))
folder = os.path.dirname(index_path)
weight_map = index["weight_map"]
shards = {name: safe_open(os.path.join(folder, name), framework="numpy")
          for name in set(weight_map.values())}
whole = safe_open(whole_path, framework="numpy")


def own(name):
    """What every file has of its own."""
    return name == "moeq.crc32" or name.startswith("moeq.pad.")


assert set(weight_map) == {name for name in whole.keys() if not own(name)}
for name, shard in shards.items():
    assert {t for t in shard.keys() if not own(t)} == {t for t, s in weight_map.items() if s == name}
assert {s["name"]: s["bytes"] for s in index["metadata"]["moeq.shards"]} == {
    name: os.path.getsize(os.path.join(folder, name)) for name in shards}
total = 0
for name, shard in weight_map.items():
    key = "moeq.tensor." + name
    assert shards[shard].metadata().get(key) == whole.metadata().get(key), name
    a, b = shards[shard].get_slice(name), whole.get_slice(name)
    assert a.get_dtype() == b.get_dtype() and a.get_shape() == b.get_shape(), name
    size = {"U8": 1, "BF16": 2, "F16": 2, "F32": 4}[a.get_dtype()]
    for n in a.get_shape():
        size *= n
    total += size
    if a.get_dtype() != "BF16":  # which numpy has not
        assert (shards[shard].get_tensor(name) == whole.get_tensor(name)).all(), name
assert total == index["metadata"]["total_size"]
print(f"{index_path}: {len(weight_map)} tensors in {len(shards)} files")
