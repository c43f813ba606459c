#!/usr/bin/env bash
# quality.sh: what do files lose at the same bytes, by moeq's quantizers and by those of llama.cpp?
#
# usage: tests/interop/quality.sh [OPTIONS] [MODEL...]     MODEL: Hugging Face folders (default demo/model)
#
#   --calibration-text FILE  may be repeated (default: three of four lines of demo/text.txt)
#   --calibration-bytes N    uses only about the first N bytes of each
#   --held-out FILE          by which files are judged (default: the other lines of demo/text.txt)
#   --levels A,B             (default: all that both have; none: only --budgets)
#   --quick                  three levels
#   --no-budgets             without --bpw at each level's bits, which takes most of the time
#   --budgets A,B            also files of so many bits per weight, against levels drawn by lot (--lots N, default 3)
#   --ggml FILE              libggml-base, instead of building it (or GGML_LIBRARY)
#   --source FOLDER          of llama.cpp, instead of fetching it (or LLAMA_CPP_SOURCE)
#   --cache FOLDER           keeps source, build, Python environment and results (default build/interop, or
#                            MOEQ_INTEROP_CACHE)
#   --python FILE            a Python that has numpy and gguf (or MOEQ_INTEROP_PYTHON)
#   --moeq FILE              the program (default: built in build)
#   --threads N
#
# Experts are at the level, all else is the same q8_0, but of a budget, which chooses levels for all that takes as many
# bytes together. "GGML" is ggml_quantize_chunk, as llama-quantize
# calls it: for each expert, without and with its part of the importance matrix, which `moeq calibrate` makes of the
# calibration text. Files are judged by `moeq verify --against` a recording of the held-out text, all of a level
# together: "difference" is the mean KLD minus that of the first row, with the standard error of a paired bootstrap
# over windows. It builds a part of llama.cpp, so it is not among the tests of CTest.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
. scripts/setup.sh
. tests/interop/arguments.sh

cache=${MOEQ_INTEROP_CACHE:-build/interop}
source=${LLAMA_CPP_SOURCE:-}
ggml=${GGML_LIBRARY:-}
python=${MOEQ_INTEROP_PYTHON:-}
moeq=
texts=()
held_out=
pass=()
models=()
while [ $# -gt 0 ]; do
    case $1 in
    --calibration-text) texts+=(--calibration-text "$(here "$2")"); shift ;;
    --held-out) held_out=$(here "$2"); shift ;;
    --calibration-bytes | --levels | --budgets | --lots | --threads) pass+=("$1" "$2"); shift ;;
    --quick | --no-budgets) pass+=("$1") ;;
    --ggml) ggml=$(here "$2"); shift ;;
    --source) source=$(here "$2"); shift ;;
    --cache) cache=$(here "$2"); shift ;;
    --python) python=$(here "$2"); shift ;;
    --moeq) moeq=$(here "$2"); shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    *) models+=("$(here "$1")") ;;
    esac
    shift
done
[ ${#models[@]} -gt 0 ] || models=(demo/model)
mkdir -p "$cache/quality"

# ---- what it needs ----

need_moeq
if [ -z "$python" ]; then
    python=$cache/venv-quality/bin/python
    if [ ! -e "$cache/venv-quality/complete" ]; then
        echo "Installing into $cache/venv-quality, through pip: numpy gguf"
        python3 -m venv "$cache/venv-quality"
        "$python" -m pip install -q numpy gguf
        touch "$cache/venv-quality/complete"
    fi
fi
if [ -z "$ggml" ]; then
    ggml=$cache/llama.cpp/bin/libggml-base.so # where llama_cpp.sh builds it too
    if [ ! -e "$ggml" ]; then
        if [ -z "$source" ]; then
            echo "Fetching the source of the package llama-cpp-python, which holds llama.cpp (80 MB)"
            source=$("$python" tests/interop/fetch_sdist.py llama-cpp-python "$cache")/vendor/llama.cpp
        fi
        need_tool c++ "builds a part of llama.cpp" g++
        install_missing
        echo "Building $ggml"
        if ! { cmake -S "$source" -B "$cache/llama.cpp" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF \
            -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
            -DLLAMA_BUILD_MTMD=OFF -DLLAMA_BUILD_UI=OFF &&
            cmake --build "$cache/llama.cpp" --target ggml-base; } >"$cache/llama.cpp.log" 2>&1; then
            tail -n 30 "$cache/llama.cpp.log" >&2
            exit 1
        fi
    fi
fi
if [ ${#texts[@]} -eq 0 ]; then
    awk 'NR % 4 != 0' demo/text.txt >"$cache/quality/three-quarters.txt"
    texts=(--calibration-text "$cache/quality/three-quarters.txt")
fi
if [ -z "$held_out" ]; then
    held_out=$cache/quality/one-quarter.txt
    awk 'NR % 4 == 0' demo/text.txt >"$held_out"
fi

exec "$python" tests/interop/quality.py --moeq "$moeq" --ggml "$ggml" --work "$cache/quality" "${texts[@]}" \
    --held-out "$held_out" "${pass[@]}" "${models[@]}"
