"""Opens a moeq file with the safetensors library and checks it against FORMAT.md."""
import struct
import sys
import zlib

import numpy
from safetensors import safe_open

path = sys.argv[1]
raw = open(path, "rb").read()
header_bytes = 8 + struct.unpack("<Q", raw[:8])[0]
assert header_bytes % 4096 == 0
with safe_open(path, framework="numpy") as f:
    metadata = f.metadata()
    assert metadata["format"] == "moeq" and metadata["moeq.version"] == "1"
    names = list(f.keys())
    for name in names:
        s = f.get_slice(name)
        if "moeq.tensor." + name in metadata:
            level, rows, columns = metadata["moeq.tensor." + name].split()
            assert s.get_dtype() == "U8" and s.get_shape()[0] == int(rows), name
            assert f.get_tensor(name).shape == tuple(s.get_shape())
        elif name.startswith("moeq.pad."):
            assert not f.get_tensor(name).any()
    number, of, count = metadata.get("moeq.shard", "1 of 1").split()
    if number == count:  # side files stand last
        config = zlib.decompress(f.get_tensor("moeq.config.json").tobytes())
        assert b'"model_type"' in config
    crcs = f.get_tensor("moeq.crc32")
assert len(crcs) == len(names) + 1
assert crcs[-2] == zlib.crc32(raw[:header_bytes])
assert crcs[-1] == zlib.crc32(numpy.asarray(crcs[:-1], "<u4").tobytes())
print(f"{path}: {len(names)} tensors")
