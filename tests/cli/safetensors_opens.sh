#!/bin/bash
# Usage: safetensors_opens.sh MOEQ SOURCE_DIR WORK_DIR BUILD_DIR
# The safetensors library for Python opens what convert writes, at every level.
build=$4
. "$(dirname "$0")/helper.sh"
if sampled; then
    echo "skipped: other programs open what the optimized build writes (MOEQ_TEST_ALL=1: this one's too)"
    exit 77
fi
python=$(bash tests/cli/python_env.sh "$build") || exit $?
for level in $(levels_of_help); do
    expect 0 "" convert $model -o "$work/$level.moeq" --level $level -q
    "$python" tests/data/check_safetensors_opens.py "$work/$level.moeq" || fail "$level"
done
# Each shard is a file of its own; together they hold what one does.
expect 0 "" convert $model -o "$work/s.moeq" --level q4_k --shard-size 1M -q
for shard in "$work"/s-0000?-of-00005.moeq; do
    "$python" tests/data/check_safetensors_opens.py "$shard" || fail "$shard"
done
"$python" tests/data/check_shards.py "$work/s.moeq.index.json" "$work/q4_k.moeq" || fail "index"
finish
