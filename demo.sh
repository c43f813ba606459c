#!/usr/bin/env bash
# demo.sh: builds moeq and runs the main job on the small real model in demo/.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -eq 0 ] || { echo "usage: ./demo.sh" >&2; exit 2; }
. scripts/setup.sh
moeq_setup build
moeq_build build -DMOEQ_TESTS=OFF | tail -n 1
moeq=build/moeq
out=build/demo
mkdir -p "$out"

echo
echo "== The model: a trained Mixtral-architecture model of 6.4 million parameters"
$moeq inspect demo/model

for level in q8_0 q4_k q3_k; do
    echo
    echo "== Converting to $level, then checking the file"
    $moeq convert demo/model -o "$out/$level.moeq" --level $level --force
    $moeq check "$out/$level.moeq"
done

echo
echo "== The q4_k file as GGUF, for llama.cpp and Ollama: the same blocks"
$moeq export "$out/q4_k.moeq" -o "$out/q4_k.gguf" --force

# What is judged must not have been calibrated on: every other line of the text is for one of them.
awk 'NR % 2' demo/text.txt > "$out/calibration.txt"
awk 'NR % 2 == 0' demo/text.txt > "$out/judge.txt"

echo
echo "== q3_k again, with the errors of what a text's tokens give fed back"
$moeq convert demo/model -o "$out/q3_k-calibrated.moeq" --level q3_k --effort calibrated \
    --text "$out/calibration.txt" --force

echo
echo "== A budget: a level for every matrix, 4.25 bits a weight in all"
$moeq convert demo/model -o "$out/4.25-bits.moeq" --bpw 4.25 --effort calibrated \
    --text "$out/calibration.txt" --force

echo
echo "== What each costs on text that it has not seen: memory, perplexity, KL divergence, routing fidelity"
$moeq sweep demo/model --text "$out/judge.txt" --levels q8_0,q4_k,q3_k \
    --files "$out/q3_k-calibrated.moeq,$out/4.25-bits.moeq" --report "$out/report.html" |
    sed '/ minus /,$d' # differences in pairs, with intervals: on the page

echo
echo "The converted files are in $out, the same results and more as a page in $out/report.html."
echo "Next: build/moeq --help"
