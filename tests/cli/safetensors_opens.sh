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
    echo "$work/$level.moeq" >> "$work/files"
done
# Each shard is a file of its own; together they hold what one does.
expect 0 "" convert $model -o "$work/s.moeq" --level q4_k --shard-size 1M -q
printf '%s\n' "$work"/s-0000?-of-00005.moeq >> "$work/files"
"$python" tests/data/run_each.py tests/data/check_safetensors_opens.py < "$work/files" || fail "a file does not open"
"$python" tests/data/check_shards.py "$work/s.moeq.index.json" "$work/q4_k.moeq" || fail "index"
# Folders for other runtimes hold what their definitions make the original's weights of.
for folder in "mlx mlx4g64 0.1" "mlx mlx3g32 0.18" "mlx q4_k 0.075" "compressed-tensors w4g32 0.1" \
    "compressed-tensors w4c 0.12" "fp8-block fp8b 0.03" "int8 w8c 0.01"; do
    set -- $folder
    "$moeq" export $model -o "$work/$1-$2" --format $1 --level $2 -q 2> "$work/notes" || fail "$folder"
    "$python" tests/data/check_folder.py $model "$work/$1-$2" $3 || fail "$folder"
done
finish
