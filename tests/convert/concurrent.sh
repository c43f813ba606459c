#!/bin/bash
# Usage: concurrent.sh MOEQ SOURCE_DIR WORK_DIR
# Two conversions to one output: the second is refused and the first is not disturbed.
set -u
moeq=$1 source=$2 work=$3
model=$source/demo/model
. "$source/tests/sampled.sh"
fail() { echo "FAIL: $*" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"
"$moeq" convert "$model" -o "$work/alone.moeq" --level q4_k -q || fail "alone"
# Slow enough to be met at work; a sanitized program is in any case.
effort=best
sampled && effort=default
# The first one is stopped while it holds the lock.
MOEQ_ISA=generic "$moeq" convert "$model" -o "$work/m.moeq" --level q4_k --effort $effort --threads 1 -q &
first=$!
until [ -s "$work/m.moeq.part.journal" ]; do
    kill -0 $first 2> /dev/null || fail "the first one is too fast for this test"
    sleep 0.01
done
kill -STOP $first
"$moeq" convert "$model" -o "$work/m.moeq" --level q4_k -q 2> "$work/stderr"
code=$?
kill -CONT $first
[ $code = 1 ] || fail "exit code $code"
[ "$(cat "$work/stderr")" = "moeq: $work/m.moeq.part: another command is writing this output" ] ||
    fail "message: $(cat "$work/stderr")"
wait $first || fail "the first one"
"$moeq" convert "$model" -o "$work/again.moeq" --level q4_k --effort $effort -q || fail "again"
cmp "$work/m.moeq" "$work/again.moeq" || fail "the first one was disturbed"
rm -rf "$work"
echo "good"
