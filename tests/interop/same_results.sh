#!/usr/bin/env bash
# same_results.sh OLD NEW [MODEL]: that two builds of moeq give the same: bytes of converted and exported
# files, logits, and every JSON document. For changes that are to leave behaviour alone:
#
#     git worktree add /tmp/before COMMIT && cmake -S /tmp/before -B /tmp/before/build ... && ninja ...
#     tests/interop/same_results.sh /tmp/before/build/moeq build/moeq
#
# Documents are compared as they are, fields that were added aside (they are listed): a field that is gone,
# or another value, is a difference.
set -u
cd "$(dirname "$0")/../.." || exit 1
old=$(realpath "$1") new=$(realpath "$2") model=${3:-demo/model}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
text=demo/text.txt
cut=(--tokens 1024 --context 256 --no-progress)
differences=0

# run NAME ARGUMENTS...: both builds, each in a folder of its own, so that paths in the output agree.
run() {
    local name=$1 which
    shift
    for which in old new; do
        mkdir -p "$work/$which"
        ln -sfn "$PWD/$model" "$work/$which/model"
        ln -sfn "$PWD/$text" "$work/$which/text.txt"
        (cd "$work/$which" && "${!which}" "$@" > "$name.out" 2> "$name.err"; echo "exit $?" >> "$name.err")
    done
}

# same FILE...: byte for byte.
same() {
    local file
    for file in "$@"; do
        if cmp -s "$work/old/$file" "$work/new/$file"; then
            echo "same bytes  $file"
        else
            echo "DIFFERENT   $file"
            [[ $file != *.err && $file != *.out ]] || diff "$work/old/$file" "$work/new/$file" | head -n 10
            differences=$((differences + 1))
        fi
    done
}

# json FILE: all that the old document says, the new one says.
json() {
    if python3 - "$work/old/$1" "$work/new/$1" << 'PYTHON'; then
import json, sys

def compare(old, new, path):
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new.keys() - old.keys():
            print(f"            added: {path}.{key}")
        return sum(compare(v, new[k], f"{path}.{k}") if k in new else print(f"            gone: {path}.{k}") or 1
                   for k, v in old.items())
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return sum(compare(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(old, new)))
    if type(old) is type(new) and old == new:
        return 0
    print(f"            {path}: {str(old)[:60]} became {str(new)[:60]}")
    return 1

sys.exit(compare(*(json.load(open(f)) for f in sys.argv[1:3]), "") != 0)
PYTHON
        echo "same values $1"
    else
        echo "DIFFERENT   $1"
        differences=$((differences + 1))
    fi
}

for level in q8_0 q6_k q5_k q4_k q3_k q2_k bf16; do
    run "convert_$level" convert model -o "$level.moeq" --level $level -q
    same "$level.moeq"
done
run best convert model -o best.moeq --level q4_k --effort best --tensor '*down_proj*=q6_k' --tensor '*.w2.*=q6_k' -q
same best.err
[ ! -e "$work/old/best.moeq" ] || same best.moeq
mkdir -p "$work/old/shards" "$work/new/shards"
run shards convert model -o shards/m.moeq --level q4_k --shard-size 2M -q
for file in "$work"/old/shards/*; do [ ! -f "$file" ] || same "shards/$(basename "$file")"; done
for level in q8_0 q4_k; do
    run "export_$level" export $level.moeq -o $level.gguf -q
    same $level.gguf
done
run export_source export model -o source.gguf -q
same source.gguf
for compute in f32 int8; do
    run "dump_$compute" eval q4_k.moeq --text text.txt "${cut[@]}" --compute $compute --json
    json "dump_$compute.out"
done
run record record model --text text.txt -o ref.moeqref "${cut[@]}"
same ref.moeqref
run sweep sweep model --text text.txt --levels q8_0,q4_k,q2_k "${cut[@]}" --swap --noise-floor --compute int8 --json --report sweep.html
json sweep.out
run verify verify q4_k.moeq q3_k.moeq --against model --text text.txt "${cut[@]}" --swap --noise-floor --json
json verify.out
run verify_ref verify q4_k.moeq --against ref.moeqref --json --write-gate gate.json
json verify_ref.out
same gate.json
run verify_table verify q4_k.moeq q3_k.moeq --against ref.moeqref --no-progress
run sweep_table sweep model --text text.txt --levels q8_0,q4_k "${cut[@]}"
same verify_table.out verify_table.err
for report in md html; do
    run "report_$report" report sweep.out -o sweep.$report
    run "report_v_$report" report verify.out -o verify.$report
    same sweep.$report verify.$report
done
for gpu in "RTX 4090" "2x RTX 3090" "M2 Max 64GB"; do
    name="fit_${gpu// /_}"
    run "$name" fit model --gpu "$gpu" --json
    json "$name.out"
done
run check check q4_k.moeq --json
json check.out
for file in q4_k.moeq q4_k.gguf model; do
    run "inspect_$file" inspect "$file" --json
    json "inspect_$file.out"
    run "tensors_$file" inspect "$file" --tensors
    same "tensors_$file.out"
done
run tokenize tokenize model --text text.txt --json
json tokenize.out
run dry convert model -o dry.moeq --level q4_k_m --dry-run
same dry.out
echo "$differences differences"
[ $differences = 0 ]
