#!/usr/bin/env bash
# runtimes_quality.sh: what do models lose at the same bytes, by moeq's levels and by the rounding of llm-compressor and
# mlx-lm?
#
# usage: tests/interop/runtimes_quality.sh [OPTIONS] [MODEL...]     MODEL: Hugging Face folders (default demo/model)
#
#   --held-out FILE          by which they are judged (default demo/text.txt)
#   --calibration-text FILE  also a row of --effort calibrated, by this text
#   --levels A,B             (default: all that both have, and others of moeq's beside them)
#   --cache FOLDER           keeps the Python environment and results (default build/interop, or MOEQ_INTEROP_CACHE)
#   --python FILE            a Python with the packages of runtimes_python.sh (or MOEQ_INTEROP_PYTHON)
#   --moeq FILE              the program (default: built in build)
#
# Of each level two tables: experts at it and all else as in the source; attention at it too. Embeddings, head, routers and
# norms are the source's in both. Theirs are folders of what the packages' own functions make of each matrix: the
# observers "memoryless_minmax" and "memoryless_mse" of llm-compressor, its default and its better one, with
# compressed-tensors' rounding; mlx.core.quantize. All scales are bf16. `moeq verify` judges them: "difference" is the mean KLD
# minus that of the level's first row, with the standard error of a paired bootstrap over windows. Exit code 1 if moeq is
# not below all others at a level. Not among the tests of CTest, since the packages take 5 GB.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
. scripts/setup.sh
. tests/interop/arguments.sh
. tests/interop/runtimes_python.sh

cache=${MOEQ_INTEROP_CACHE:-build/interop}
python=${MOEQ_INTEROP_PYTHON:-}
moeq=
held_out=demo/text.txt
pass=()
models=()
while [ $# -gt 0 ]; do
    case $1 in
    --held-out) held_out=$(here "$2"); shift ;;
    --calibration-text) pass+=(--calibration-text "$(here "$2")"); shift ;;
    --levels) pass+=(--levels "$2"); shift ;;
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
mkdir -p "$cache/runtimes-quality"

need_moeq
need_runtimes_python

exec "$python" -W ignore tests/interop/runtimes_quality.py --moeq "$moeq" --work "$cache/runtimes-quality" \
    --held-out "$held_out" "${pass[@]}" "${models[@]}"
