#!/bin/bash
# Usage: gguf_opens.sh MOEQ SOURCE_DIR WORK_DIR BUILD_DIR
# The gguf package for Python opens what export writes; every tensor is the moeq file's. And the
# programs of docs/python.md run.
build=$4
. "$(dirname "$0")/helper.sh"
if sampled; then
    echo "skipped: other programs open what the optimized build writes (MOEQ_TEST_ALL=1: this one's too)"
    exit 77
fi
python=$(bash tests/cli/python_env.sh "$build") || exit $?

# same NAME CONVERT_OPTIONS...: a moeq file, exported
same() {
    local name=$1
    shift
    expect 0 "" convert $model -o "$work/$name.moeq" "$@" -q
    expect 0 "" export "$work/$name.moeq" -o "$work/$name.gguf" -q
    echo "$work/$name.moeq $work/$name.gguf" >> "$work/pairs"
}
levels=$("$moeq" export --help | awk '/^levels:/ {on = 1; next} NF == 0 {on = 0} on && /[0-9] bits  / {print $1}')
for level in $levels; do
    level=${level%,}
    [ "$level" = fp8b ] && continue # GGUF has no FP8
    same $level --level $level
done
for recipe in mix4 q2_k_mix q4_k_m iq3_m early3; do
    same $recipe --recipe $recipe
done
# Straight from the folder, and in splits.
expect 0 "" export $model -o "$work/direct.gguf" --recipe mix4 -q
echo "$work/mix4.moeq $work/direct.gguf" >> "$work/pairs"
expect 0 "" export "$work/q4_k.moeq" -o "$work/s.gguf" -q --split-max-size 1M
echo "$work/q4_k.moeq" "$work"/s-0000?-of-00005.gguf >> "$work/pairs"
"$python" tests/data/run_each.py tests/data/check_gguf_export.py < "$work/pairs" || fail "a file is not what moeq's is"
for file in "$work"/s-*.gguf; do
    [ "$(stat -c %s "$file")" -le $((1 << 20)) ] || fail "$file is larger than asked for"
done
"$moeq" calibrate $model --text demo/text.txt --tokens 2048 -o "$work/m.cal" -q || fail "calibrate"
expect 0 "" calibrate --merge "$work/m.cal" -o "$work/imatrix.gguf" -q
"$python" tests/data/check_imatrix.py "$work/m.cal" "$work/imatrix.gguf" || fail "imatrix"
"$python" tests/data/check_python_page.py docs/python.md "$work/q4_k.moeq" || fail "docs/python.md"
finish
