#!/usr/bin/env bash
# demo.sh: builds moeq and runs the main job on the small real model in demo/.
set -euo pipefail
cd "$(dirname "$0")"
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

echo
echo "== What each level costs: memory, perplexity, KL divergence, routing fidelity"
$moeq sweep demo/model --text demo/text.txt --levels q8_0,q4_k,q3_k --report "$out/report.html"

echo
echo "The converted files are in $out, the same results as a page in $out/report.html."
echo "Next: build/moeq --help"
