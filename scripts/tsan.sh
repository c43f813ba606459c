#!/usr/bin/env bash
# tsan.sh: the commands that work in threads, on the model in demo/, under ThreadSanitizer; exit code 1 on a race. Clang's:
# GCC's OpenMP is not instrumented, so that all that its barriers order looks like a race. Of clang's, libarcher tells
# ThreadSanitizer what waits for what; the library itself is left out (ignore_noninstrumented_modules).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
archer=$(clang -print-file-name=libarcher.so 2> /dev/null) || true
[ -e "${archer:-}" ] || archer=$(ls /usr/lib/llvm-*/lib/libarcher.so 2> /dev/null | tail -n 1) || true
[ -n "$archer" ] || { echo "skipped: tsan.sh needs clang and its OpenMP: apt-get install clang libomp-dev"; exit 77; }
echo "== Build for ThreadSanitizer"
moeq_build build/tsan -DMOEQ_TESTS=OFF -DMOEQ_BENCH=OFF -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DMOEQ_SANITIZE=thread -DMOEQ_WERROR=ON | tail -n 1
export OMP_TOOL_LIBRARIES=$archer OMP_WAIT_POLICY=passive
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# run COMMAND...: four threads, whatever the machine has.
run() {
    local code=0
    build/tsan/moeq "$@" --threads 4 -q --no-progress > "$work/out" 2>&1 || code=$?
    [ $code = 0 ] && return
    echo "tsan: moeq $*: exit code $code"
    head -n 60 "$work/out"
    status=1
}

echo "== Commands under ThreadSanitizer"
model=demo/model
text=(--text demo/text.txt --tokens 128 --context 64)
run convert $model -o "$work/q4.moeq" --level q4_k
run convert $model -o "$work/iq.moeq" --level iq3_s
run convert "$work/q4.moeq" -o "$work/sharded.moeq" --level q3_k --shard-size 1M
run export $model -o "$work/q4.gguf" --level q4_k
run check "$work/q4.moeq"
run calibrate $model "${text[@]}" -o "$work/text.cal"
run convert $model -o "$work/calibrated.moeq" --level q3_k --effort calibrated "${text[@]}"
run eval $model "${text[@]}"
run eval "$work/q4.moeq" "${text[@]}" --compute int8
run record $model "${text[@]}" -o "$work/r.moeqref"
run verify "$work/q4.moeq" "$work/q4.gguf" --against "$work/r.moeqref"
run sweep $model "${text[@]}" --levels q8_0,q3_k --report "$work/r.html"
run generate $model --prompt "The experts" -n 4
[ $status != 0 ] || echo "no races"
exit $status
