#!/usr/bin/env bash
# llama_cpp.sh: are the GGUF files that moeq writes what llama.cpp writes and reads?
#
# usage: tests/interop/llama_cpp.sh [OPTIONS] [MODEL...]     MODEL: Hugging Face folders (default demo/model)
#
#   --cache FOLDER   keeps source, builds, Python environment and results (default build/interop,
#                    or MOEQ_INTEROP_CACHE)
#   --source FOLDER  of llama.cpp, instead of fetching it (or LLAMA_CPP_SOURCE)
#   --tools FOLDER   with llama-quantize and the others, instead of building them (or LLAMA_CPP_TOOLS)
#   --python FILE    a Python that has numpy, gguf, safetensors, and for check b torch, transformers and
#                    sentencepiece, instead of an environment of its own (or MOEQ_INTEROP_PYTHON)
#   --moeq FILE      the program (default: built in build)
#   --text FILE      what is tokenized and scored (default demo/text.txt)
#   --levels A,B     (default q8_0,q6_k,q5_k,q4_k,q3_k)
#   --checks LETTERS of these (default abcdefg, without b where there is no torch):
#
#   a  the `gguf` package opens each export, and every tensor decodes to what the moeq file of the
#      same levels has, experts joined and rows of q and k in GGUF's order
#   b  llama.cpp's converter makes the same tensors and keys of the folder
#   c  llama-tokenize gives the ids that `moeq tokenize` gives
#   d  llama-perplexity gives the perplexity that `moeq eval` gives, within its error and 0.3 %
#   e  moeq's levels beside llama-quantize's at the same bytes: KL divergence and routing
#   f  of every family a small folder: the converter makes the same tensors and keys (gguf_families.py; torch
#      is not needed)
#   g  of every family: llama.cpp computes the logits that moeq computes (llama_logits.py, by way of the package
#      llama-cpp-python whose source --source is in, and the libraries beside the tools)
#
# Prints a line for each; exit code 1 if one fails. A second run goes on where the first stopped, and
# does again only what depends on something newer. It builds llama.cpp and wants some gigabytes for
# torch, so it is not among the tests of CTest.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
. scripts/setup.sh
. tests/interop/arguments.sh

cache=${MOEQ_INTEROP_CACHE:-build/interop}
source=${LLAMA_CPP_SOURCE:-}
tools=${LLAMA_CPP_TOOLS:-}
python=${MOEQ_INTEROP_PYTHON:-}
moeq=
checks=
pass=()
models=()

while [ $# -gt 0 ]; do
    case $1 in
    --cache) cache=$(here "$2"); shift ;;
    --source) source=$(here "$2"); shift ;;
    --tools) tools=$(here "$2"); shift ;;
    --python) python=$(here "$2"); shift ;;
    --moeq) moeq=$(here "$2"); shift ;;
    --checks) checks=$2; shift ;;
    --text) pass+=(--text "$(here "$2")"); shift ;;
    --levels) pass+=(--levels "$2"); shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    *) models+=("$(here "$1")") ;;
    esac
    shift
done
[ ${#models[@]} -gt 0 ] || models=(demo/model)
mkdir -p "$cache"

# ---- what it needs ----

need_moeq

if [ -z "$python" ]; then
    python=$cache/venv/bin/python
    packages=(numpy gguf safetensors sentencepiece)
    case ${checks:-b} in *b*) packages+=(torch transformers) ;; *f*) packages+=(transformers) ;; esac
    case ${checks:-g} in *g*) packages+=(diskcache jinja2 typing_extensions) ;; esac
    complete=$cache/venv/complete # which packages are there
    if [ ! -e "$complete" ] || ! grep -q "^${packages[*]}" "$complete"; then
        echo "Installing into $cache/venv, through pip: ${packages[*]}"
        python3 -m venv "$cache/venv"
        "$python" -m pip install -q "${packages[@]}"
        echo "${packages[*]}" >"$complete"
    fi
fi
if [ -z "$checks" ]; then
    checks=abcdefg
    "$python" -c 'import torch, transformers' 2>/dev/null || checks=acdefg
    [ $checks = abcdefg ] || echo "Without torch and transformers check b is left out."
fi

if [ -z "$source" ]; then
    echo "Fetching the source of the package llama-cpp-python, which holds llama.cpp (80 MB)"
    source=$("$python" tests/interop/fetch_sdist.py llama-cpp-python "$cache")/vendor/llama.cpp
fi

build_tools() {
    cmake -S "$source" -B "$cache/llama.cpp" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
        -DLLAMA_BUILD_MTMD=OFF -DLLAMA_BUILD_UI=OFF &&
        cmake --build "$cache/llama.cpp" --target llama-quantize llama-perplexity llama-tokenize \
            llama-imatrix
}

if [ -z "$tools" ]; then
    tools=$cache/llama.cpp/bin
    need_tool c++ "builds llama.cpp" g++
    install_missing
    echo "Building llama.cpp in $cache/llama.cpp"
    if ! build_tools >"$cache/llama.cpp.log" 2>&1; then
        tail -n 30 "$cache/llama.cpp.log" >&2
        exit 1
    fi
fi

failed=0
of_models=${checks//[fg]/}
if [ -n "$of_models" ]; then
    "$python" tests/interop/llama_cpp.py --moeq "$moeq" --tools "$tools" --source "$source" \
        --work "$cache/results" --checks "$of_models" "${pass[@]}" "${models[@]}" || failed=1
fi
families=(tests/fixtures/oracles/* tests/fixtures/families/*)
case $checks in
*f*)
    echo "files of all families against the converter:"
    "$python" tests/interop/gguf_families.py --moeq "$moeq" --source "$source" "${families[@]}" || failed=1
    ;;
esac
case $checks in
*g*)
    echo "logits of all families against llama.cpp:"
    PYTHONPATH=$(cd "$source/../.." && pwd) LLAMA_CPP_LIB_PATH=${LLAMA_CPP_LIB_PATH:-$tools} \
        "$python" tests/interop/llama_logits.py --moeq "$moeq" "${families[@]}" || failed=1
    ;;
esac
exit $failed
