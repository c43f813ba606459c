#!/usr/bin/env python3
"""Does llama.cpp compute of the GGUF files that moeq writes what moeq computes of the folders?

usage: llama_logits.py --moeq FILE FOLDER...

FOLDERS are small checkpoints with a golden.safetensors, whose ids are given to both: of each a file in f32
is written, and perplexities and the largest difference of logits are printed.
Sums in other orders, and tables of GELU in half precision, differ by less than 1e-2; a key or a tensor that is
read otherwise by more. Exit code 1 where one differs that is not listed. Quantized folders are left out: their
bf16 is multiplied with bf16 there. Of models with an indexer, which must have a length that the fixtures'
do not, another of random numbers is given to both: it has no effect on so few tokens, but it is computed. Needs llama_cpp (the package
llama-cpp-python, with LLAMA_CPP_LIB_PATH where libllama is another's), numpy, safetensors, gguf.
"""
import argparse
import ctypes
import importlib.util
import json
import os
import pathlib
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

import gguf_families

os.environ.setdefault("GGML_NO_BACKTRACE", "1")
if not importlib.util.find_spec("torch"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parent / "numpy_torch"))
sys.path.remove(str(pathlib.Path(__file__).resolve().parent))  # whose llama_cpp.py is not the package

TOLERANCE = 0.01
# How moeq refuses what the architecture has no place for.
REFUSED = ("cannot say", "has one number for both")
# What llama.cpp computes otherwise, whatever the file says.
OTHERWISE = {
    "phimoe": "chooses experts by a softmax",
    "nemotron_h": "has no least time step",
    "mistral_swa": "has no window in this architecture",
    "afmoe": "has positions but in every fourth layer, and this folder but in every third",
    "gpt_oss": "cuts YaRN's ramp to whole dimensions",
    "deepseek_v2": "knows models without q_lora_rank by their number of layers, 26 or 27",
    "deepseek_v2-greedy": "the same",
    "deepseek_v3-no_q_lora": "the same",
    "deepseek_v2-q_lora": "takes the sum of two for the score of a group of experts, as of V3",
    "ernie4_5_moe-every_second_layer": "loads experts of all layers behind the first",
    "qwen3_next": "has keys as long as values in a DeltaNet, and this folder has not",
    "qwen3_5_moe": "the same",
}


def with_indexer(model):
    """The same folder in f32, with indexers of heads of 64, a power of 2."""
    import torch
    path, head = model / "model.safetensors", 64
    config = model / "config.json"
    config = json.loads(config.read_text()) if config.exists() else {}
    if "index_head_dim" not in config:
        return
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    tensors, random = {}, np.random.default_rng(1)
    for name, t in json.loads(raw[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        bits = np.frombuffer(raw[8 + size + begin:8 + size + end], types[t["dtype"]].numpy)
        tensors[name] = torch.Tensor(bits.reshape(t["shape"]), types[t["dtype"]]).float().array
    for name in [n for n in tensors if n.endswith("_scale_inv")]:
        scale, weight = tensors.pop(name), tensors[name[:-len("_scale_inv")]]
        weight *= np.kron(scale, np.ones((128, 128), np.float32))[:weight.shape[0], :weight.shape[1]]
    heads = config["index_n_heads"] = 4
    for name, t in tensors.items():
        rows = {"wq_b.weight": heads * head, "wk.weight": head, "weights_proj.weight": heads,
                "k_norm.weight": head, "k_norm.bias": head}.get(name.split("indexer.")[-1])
        if rows:
            tensors[name] = random.normal(0, 0.1, (rows, *t.shape[1:])).astype(np.float32)
    config["index_head_dim"] = head
    config.pop("quantization_config", None)
    for f in (path, model / "config.json"):
        f.unlink()
    save_file(tensors, path)
    (model / "config.json").write_text(json.dumps(config))


class Llama:
    def __init__(self, path):
        from llama_cpp import llama_cpp
        self.api = api = llama_cpp
        self.quiet = api.llama_log_callback(lambda level, text, user: None)
        api.llama_log_set(self.quiet, None)
        api.llama_backend_init()
        params = api.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = api.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RuntimeError("llama.cpp does not load it")

    def logits(self, ids):
        """[tokens, vocabulary] of one sequence."""
        api, n = self.api, len(ids)
        params = api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(n, 32)
        params.n_threads = params.n_threads_batch = 2
        params.type_k = params.type_v = api.GGML_TYPE_F32
        params.flash_attn_type = 0
        context = api.llama_init_from_model(self.model, params)
        if not context:
            raise RuntimeError("llama.cpp makes no context")
        batch = api.llama_batch_init(n, 0, 1)
        batch.n_tokens = n
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = int(token), i, 1
            batch.seq_id[i][0], batch.logits[i] = 0, 1
        if api.llama_decode(context, batch):
            raise RuntimeError("llama_decode fails")
        vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        rows = [np.ctypeslib.as_array(ctypes.cast(api.llama_get_logits_ith(context, i),
                                                  ctypes.POINTER(ctypes.c_float)), (vocab,)).copy()
                for i in range(n)]
        api.llama_batch_free(batch)
        api.llama_free(context)
        return np.stack(rows)


def perplexity(logits, ids):
    logits = logits.astype(np.float64)
    top = logits.max(-1, keepdims=True)
    log_sum = (top + np.log(np.exp(logits - top).sum(-1, keepdims=True)))[:, 0]
    own = logits[np.arange(len(ids) - 1), ids[1:]]
    return float(np.exp(np.mean(log_sum[:-1] - own)))


def compare(options, folder, work):
    """A line to print; and whether it is as it should be."""
    model, path = gguf_families.prepare(folder, work), work / "model.gguf"
    with_indexer(model)
    if gguf_families.is_quantized(model):
        return "quantized: left out", True
    failed = gguf_families.export(options.moeq, model, path, "f32", model)
    if failed:
        return f"refused: {failed}", any(text in failed for text in REFUSED)
    tokens = next(v for v in load_file(folder / "golden.safetensors").values() if v.dtype.kind == "i")
    ids = np.atleast_2d(tokens).astype(np.int64)[:1]
    save_file({"input_ids": ids}, work / "ids.safetensors")
    ours = gguf_families.logits(options.moeq, path, work / "ids.safetensors", work / "ours")
    if isinstance(ours, str):
        return ours, False
    ours = ours.reshape(-1, ours.shape[-1])[:ids.shape[1]]
    theirs = Llama(path).logits(ids[0])
    away = float(np.abs(ours - theirs).max())
    why = OTHERWISE.get(folder.name)
    line = (f"{ids.shape[1]:>4} ids   PPL moeq {perplexity(ours, ids[0]):>10.4f}   llama.cpp "
            f"{perplexity(theirs, ids[0]):>10.4f}   logits within {away:.1e}{f': {why}' if why else ''}")
    return line, away <= TOLERANCE or bool(why)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folders", type=pathlib.Path, nargs="+")
    p.add_argument("--moeq", type=pathlib.Path, required=True)
    options = p.parse_args()
    if len(options.folders) > 1:  # one process each: llama.cpp ends its process where it asserts
        import subprocess
        results = [subprocess.run([sys.executable, __file__, "--moeq", options.moeq, f], check=False)
                   for f in options.folders]
        for folder, result in zip(options.folders, results):
            if result.returncode not in (0, 1):
                print(f"  FAIL  {folder.name}: llama.cpp ended the process ({result.returncode})")
        sys.exit(any(r.returncode for r in results))
    folder = options.folders[0]
    with tempfile.TemporaryDirectory(prefix="moeq-llama-") as work:
        try:
            line, good = compare(options, folder, pathlib.Path(work))
        except RuntimeError as failure:
            why = OTHERWISE.get(folder.name)
            line, good = f"{failure}{f': {why}' if why else ''}", bool(why)
    print(f"  {'ok  ' if good else 'FAIL'}  {folder.name:<20} {line}", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
