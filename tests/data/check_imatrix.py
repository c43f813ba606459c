#!/usr/bin/env python3
"""Whether an imatrix says what the calibration does that it was made of: as the gguf and the safetensors package
read them.

usage: check_imatrix.py CALIBRATION IMATRIX.gguf        (a Mixtral's)
"""
import json
import sys

import numpy as np
from gguf import GGUFReader
from safetensors import safe_open

NAMES = {
    "attn_q": "attn_q", "attn_k": "attn_k", "attn_v": "attn_v", "attn_o": "attn_output",
    "expert_gate": "ffn_gate_exps", "expert_up": "ffn_up_exps", "expert_down": "ffn_down_exps",
}


def main():
    calibration = safe_open(sys.argv[1], "np")
    imatrix = GGUFReader(sys.argv[2])
    tensors = {t.name: t for t in imatrix.tensors}
    texts = json.loads(calibration.metadata()["moeqcal.texts"])
    field = {k: imatrix.fields[k].contents() for k in ("general.type", "imatrix.datasets",
                                                       "imatrix.chunk_count", "imatrix.chunk_size")}
    assert field["general.type"] == "imatrix", field
    assert field["imatrix.datasets"] == [t["name"] for t in texts], field
    assert field["imatrix.chunk_size"] == texts[0]["context"], field
    assert field["imatrix.chunk_count"] * field["imatrix.chunk_size"] == sum(t["tokens"] for t in texts)
    groups = 0
    for key in calibration.keys():
        if not key.endswith(".sums"):
            continue
        role, layer, _ = key.split(".")
        own = role.replace("_gate", "_up")  # a gate's inputs are up's
        pairs = calibration.get_tensor(f"{own}.{layer}.in_sum2").astype(np.float64)
        sums = pairs[:, ::2] / 2**8 + pairs[:, 1::2] / 2**44
        counts = calibration.get_tensor(key)[:, 0]
        name = f"blk.{layer}.{NAMES[role]}.weight"
        of = tensors.pop(name + ".in_sum2"), tensors.pop(name + ".counts")
        assert list(of[0].shape) == [sums.shape[1], len(counts)], name
        assert list(of[1].shape) == [1, len(counts)], name
        assert np.array_equal(of[0].data, sums.astype(np.float32)), name
        assert np.array_equal(of[1].data[:, 0], counts.astype(np.float32)), name
        groups += 1
    assert groups and not tensors, list(tensors)


if __name__ == "__main__":
    main()
