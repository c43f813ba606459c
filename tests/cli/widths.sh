#!/bin/bash
# What is printed is no wider than the terminal: 40 columns, and 80 without one. Not wrapped: lines to copy, and names
# that are longer than a line.
. "$(dirname "$0")/helper.sh"
optimized_judges "the lines"
cd "$work" || exit 1 # short names: lines that programs look for are whole in a pipe
ln -s "$source/demo/model" m
model=m
command -v python3 > /dev/null || { echo "skipped: no python3" >&2; exit 77; }
cat > "$work/wide.py" << 'EOT'
import sys
columns = int(sys.argv[1])
to_copy = ("    make ", "    llama.cpp ", "    Ollama ", "    LM Studio ", "run it with ")
for line in sys.stdin.buffer.read().decode().split("\n"):
    if len(line) > columns and not line.startswith(to_copy) and " " in line.strip():
        print(line)
EOT
# fits 'COLUMNS...' ARGUMENTS...
fits() {
    local columns wide all=$1
    shift
    for columns in $all; do
        if [ $columns = 80 ]; then
            env -u COLUMNS "$moeq" "$@" > "$work/out" 2> "$work/err"
        else
            COLUMNS=40 "$moeq" "$@" > "$work/out" 2> "$work/err"
        fi
        [ $? = 0 ] || fail "moeq $*: $(cat "$work/err")"
        [ -s "$work/out" ] || fail "moeq $*: prints nothing"
        wide=$(python3 "$work/wide.py" $columns < "$work/out")
        [ -z "$wide" ] || fail "moeq $*: wider than $columns columns:"$'\n'"$wide"
    done
}
head -c 6000 "$source/demo/text.txt" > "a.txt"
tail -c 6000 "$source/demo/text.txt" > "b.txt"
echo '{"context": "The capital of", "choices": [" France", " a dog"], "answer": 0}' > "tasks.jsonl"
echo 'The history of' > "prompts.txt"
"$moeq" convert $model -o "q4_k.moeq" --level q4_k -q
"$moeq" convert $model -o "q3_k.moeq" --level q3_k -q
fits '40' sweep $model --text "a.txt" --levels q4_k --swap --noise-floor --gpu 4090 --tokens 128 --context 128
fits '40' sweep $model --text a=a.txt --text b="b.txt" --levels q2_k --tokens 128 --context 128 --tasks "tasks.jsonl" \
    --samples "prompts.txt"
fits '40' sweep $model --text "a.txt" --levels q4_k --attribute role --tokens 128 --context 128
fits '40 80' verify "q4_k.moeq" "q3_k.moeq" --against $model --text "a.txt" --tokens 128 --context 128
fits '40 80' fit $model --gpu 4090
fits '40 80' fit --list-gpus
fits '40 80' inspect $model
fits '40' eval $model --text "a.txt" --tokens 128 --context 128
fits '40 80' check "q4_k.moeq"
fits '40' convert $model -o "x.moeq" --level q3_k --dry-run
fits '40' calibrate $model --text "a.txt" -o "c.safetensors" --force --tokens 128 --context 128
# what is counted by one has no plural
"$moeq" sweep $model --text "a.txt" --levels q4_k --tokens 128 --context 128 --progress > "out" 2>&1
! grep -E '(^|[ (])1 (windows|tokens|texts|tasks|threads|passes|layers|limits|tensors|predictions)\b' "out" ||
    fail "a plural of 1"
# the names of files stand in every table
"$moeq" sweep $model --files "q4_k.moeq","q3_k.moeq" --text a=a.txt --text b="b.txt" \
    --tokens 128 --context 128 --tasks "tasks.jsonl" > "out" || fail "files"
[ "$(grep -c '^  A q4_k ' "out")" -ge 5 ] || fail "tables without names of files: $(cat "out")"
! grep -E '^  [AB]  ' "out" || fail "a letter without its file"
finish
