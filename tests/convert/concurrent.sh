#!/bin/bash
# Usage: concurrent.sh MOEQ SOURCE_DIR WORK_DIR
# Two conversions to one output: the second is refused and the first is not disturbed.
set -u
moeq=$1 source=$2 work=$3
model=$source/demo/model
fail() { echo "FAIL: $*" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"
"$moeq" convert "$model" -o "$work/alone.moeq" --level q4_k -q || fail "alone"
# The first one is stopped while it holds the lock.
MOEQ_ISA=generic "$moeq" convert "$model" -o "$work/m.moeq" --level q4_k --effort best --threads 1 -q &
first=$!
until [ -s "$work/m.moeq.part.journal" ]; do
    kill -0 $first 2> /dev/null || fail "the first one is too fast for this test"
done
kill -STOP $first
"$moeq" convert "$model" -o "$work/m.moeq" --level q4_k -q 2> "$work/stderr"
code=$?
kill -CONT $first
[ $code = 1 ] || fail "exit code $code"
[ "$(cat "$work/stderr")" = "moeq: $work/m.moeq.part: another conversion is writing this output" ] ||
    fail "message: $(cat "$work/stderr")"
wait $first || fail "the first one"
MOEQ_ISA=generic "$moeq" convert "$model" -o "$work/best.moeq" --level q4_k --effort best -q || fail "best"
cmp "$work/m.moeq" "$work/best.moeq" || fail "the first one was disturbed"
rm -rf "$work"
echo "good"
