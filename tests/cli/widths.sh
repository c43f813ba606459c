#!/bin/bash
# What is printed is no wider than the terminal: 40 columns, and 80 without one. Not wrapped: lines to copy, and names
# that are longer than a line.
. "$(dirname "$0")/helper.sh"
command -v python3 > /dev/null || { echo "skipped: no python3" >&2; exit 77; }
cat > "$work/wide.py" << 'EOT'
import sys
columns = int(sys.argv[1])
to_copy = ("    make ", "    llama.cpp ", "    Ollama ", "    LM Studio ", "run it with ")
for line in sys.stdin.buffer.read().decode().split("\n"):
    if len(line) > columns and not line.startswith(to_copy) and " " in line.strip():
        print(line)
EOT
# fits ARGUMENTS...: exit code 0 or 3
fits() {
    local columns wide
    for columns in 40 80; do
        if [ $columns = 80 ]; then
            env -u COLUMNS "$moeq" "$@" > "$work/out" 2> "$work/err"
        else
            COLUMNS=40 "$moeq" "$@" > "$work/out" 2> "$work/err"
        fi
        [ $? = 0 ] || [ $? = 3 ] || fail "moeq $*: $(cat "$work/err")"
        [ -s "$work/out" ] || fail "moeq $*: prints nothing"
        wide=$(python3 "$work/wide.py" $columns < "$work/out")
        [ -z "$wide" ] || fail "moeq $*: wider than $columns columns:"$'\n'"$wide"
    done
}
head -c 6000 demo/text.txt > "$work/a.txt"
tail -c 6000 demo/text.txt > "$work/b.txt"
echo '{"context": "The capital of", "choices": [" France", " a dog"], "answer": 0}' > "$work/tasks.jsonl"
echo 'The history of' > "$work/prompts.txt"
"$moeq" convert $model -o "$work/q4_k.moeq" --level q4_k -q
"$moeq" convert $model -o "$work/q3_k.moeq" --level q3_k -q
fits sweep $model --text "$work/a.txt" --levels q4_k --swap --noise-floor --gpu 4090 --tokens 512
fits sweep $model --text a="$work/a.txt" --text b="$work/b.txt" --levels q2_k --tokens 512 --tasks "$work/tasks.jsonl" \
    --samples "$work/prompts.txt"
fits sweep $model --text "$work/a.txt" --levels q4_k --attribute role --tokens 512
fits verify "$work/q4_k.moeq" "$work/q3_k.moeq" --against $model --text "$work/a.txt" --tokens 512
fits fit $model --gpu 4090
fits fit --list-gpus
fits inspect $model
fits eval $model --text "$work/a.txt" --tokens 512
fits check "$work/q4_k.moeq"
fits convert $model -o "$work/x.moeq" --level q3_k --dry-run
fits calibrate $model --text "$work/a.txt" -o "$work/c.safetensors" --force --tokens 512
# what is counted by one has no plural
"$moeq" sweep $model --text "$work/a.txt" --levels q4_k --tokens 512 --progress > "$work/out" 2>&1
! grep -E '(^|[ (])1 (windows|tokens|texts|tasks|threads|passes|layers|limits|tensors|predictions)\b' "$work/out" ||
    fail "a plural of 1"
# the names of files stand in every table
"$moeq" sweep $model --files "$work/q4_k.moeq","$work/q3_k.moeq" --text a="$work/a.txt" --text b="$work/b.txt" \
    --tokens 512 --tasks "$work/tasks.jsonl" > "$work/out" || fail "files"
[ "$(grep -c '^  A q4_k ' "$work/out")" -ge 5 ] || fail "tables without names of files: $(cat "$work/out")"
! grep -E '^  [AB]  ' "$work/out" || fail "a letter without its file"
finish
