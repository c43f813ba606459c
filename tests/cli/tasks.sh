#!/bin/bash
# Texts with names and tasks, as a user goes about them: tables, pages, recordings; mistakes by their line; and the
# scripts of docs/tasks.md on a record of each data set.
. "$(dirname "$0")/helper.sh"
optimized_judges "the figures"

words=tests/fixtures/tasks/words.jsonl
small=(--context 64 --tokens 128 --no-progress)

# says 'regular expression' FILE
says() {
    grep -Eq -- "$1" "$2" || fail "no line '$1' in $2: $(cat "$2")"
}

# ---- texts ----
cp demo/text.txt "$work/a=b.txt"
head -c 20000 demo/text.txt > "$work/tide.txt"
tail -c 20000 demo/text.txt > "$work/rest.txt"
"$moeq" sweep $model --text tide="$work/tide.txt" --text "$work/rest.txt" --levels q3_k --tasks $words "${small[@]}" \
    --report "$work/r.html" --report "$work/r.md" > "$work/out" || fail "sweep"
says '4 windows of 64 tokens' "$work/out"
says '^  2 texts, each cut by itself' "$work/out"
says '^  q3_k +tide +0\.[0-9]+ ' "$work/out"
says '^ +rest\.txt +0\.[0-9]+ ' "$work/out"
says '^Tasks +accuracy' "$work/out"
sed "s/±/+/g; s|$work/||g" "$work/out" | awk 'length($0) > 80 {print; bad = 1} END {exit bad}' >&2 || fail "beyond 80 columns"
says '<h2 id="texts">Text by text</h2>' "$work/r.html"
says '<h2 id="tasks">Tasks</h2>' "$work/r.html"
says '^\| q3_k, tide \|' "$work/r.md"
says '^\| q3_k \| [0-9.]+ ± ' "$work/r.md"
# a file whose name has '=' is a file; texts without names are joined
"$moeq" eval $model --text "$work/a=b.txt" "${small[@]}" --json > "$work/one.json" || fail "a=b.txt"
grep -q '"text_domains"' "$work/one.json" && fail "a=b.txt became a name"
"$moeq" eval $model --text "$work/tide.txt" --text "$work/rest.txt" "${small[@]}" --json > "$work/joined.json" || fail "joined"
grep -q '"text_domains"' "$work/joined.json" && fail "texts without names became domains"
expect 1 "moeq: --text 'code=': expected FILE or NAME=FILE, with a name in UTF-8 and on one line" \
    eval $model --text code= --no-progress
"$moeq" eval $model --text $'a\e[31m'=demo/text.txt > "$work/out" 2>&1 && fail "an escape in a name"
head -n 1 "$work/words.jsonl" > "$work/one.jsonl" 2> /dev/null || head -n 1 $words > "$work/one.jsonl"
"$moeq" eval $model --text demo/text.txt "${small[@]}" --tasks "$work/one.jsonl" > "$work/out" || fail "one task"
grep -q "(1 task)" "$work/out" && ! grep -q nan "$work/out" || fail "one task: $(cat "$work/out")"
echo short > "$work/short.txt"
"$moeq" eval $model --text a=demo/text.txt --text b="$work/short.txt" "${small[@]}" 2> "$work/err" && fail "a short text"
says 'short.txt: one window needs 64 tokens [(]--context[)], found 3' "$work/err"

# ---- a recording gives the same, to the last digit ----
texts=(--text tide="$work/tide.txt" --text rest="$work/rest.txt")
"$moeq" convert $model -o "$work/m.moeq" --level q3_k -q > /dev/null || fail "convert"
"$moeq" record $model "${texts[@]}" --tasks $words "${small[@]}" -o "$work/ref" > "$work/out" || fail "record"
"$moeq" verify "$work/m.moeq" --against "$work/ref" --no-progress --json > "$work/a.json" || fail "verify a recording"
"$moeq" verify "$work/m.moeq" --against $model "${texts[@]}" --tasks $words "${small[@]}" --json > "$work/b.json" || fail "verify"
same() { # what a recording has as well: not the text's bytes, nor what the original's folder says of itself
    grep -v '"path"\|"model":	"\|"kind"\|"text"\|tide.txt\|rest.txt\|"text_byte\|"license"\|"pipeline_tag"\|"language"' "$1" | sed 's/,$//'
}
diff <(same "$work/a.json") <(same "$work/b.json") > "$work/diff" || fail "other figures: $(cat "$work/diff")"
usage verify "$work/ref is a recording and has its own tasks, if any: leave --tasks out" \
    verify "$work/m.moeq" --against "$work/ref" --tasks $words
echo '{"moeq_gate": 1, "limits": {"tasks.agreement": {"min": 1.01}}}' > "$work/gate.json"
"$moeq" verify "$work/m.moeq" --against "$work/ref" --gate "$work/gate.json" --no-progress > "$work/out"
[ $? = 3 ] || fail "a gate on tasks"
says 'tasks\.agreement .* < min 1\.01' "$work/out"

# ---- mistakes ----
printf '%s\n' '{"context": "a", "choices": [" b", " c"], "answer": 0}' '{"context": "a", "choices": [" b"], "answer": 0}' > "$work/bad.jsonl"
expect 1 "moeq: $work/bad.jsonl: line 2: 1 choices: expected from 2 to 100" \
    eval $model --text demo/text.txt --tasks "$work/bad.jsonl" "${small[@]}"
"$moeq" eval $model --text demo/text.txt --tasks tests/fixtures/tasks/continue.jsonl --context 16 --tokens 64 --no-progress \
    > "$work/out" || fail "tasks that are longer than the text's windows"
says '^    continue +[0-9.]+ ± [0-9.]+ %, by length [0-9.]+ ± [0-9.]+ % \(10 tasks\)' "$work/out"
usage eval '--tasks needs --text FILE, beside which they are evaluated' eval $model --ids x --dump y --tasks $words

# ---- the documented scripts ----
if command -v python3 > /dev/null; then
    awk -v out="$work" '/^```python/ {on = 1; next} /^```/ {on = 0} on && /^# .*\.py$/ {file = out "/" $2} on {print > file}' docs/tasks.md
    # convert NAME 'a record' 'what it makes'
    convert() {
        local made
        made=$(printf '%s\n' "$2" | python3 "$work/$1.py") || fail "$1.py"
        [ "$made" = "$3" ] || fail "$1.py made: $made"
    }
    convert hellaswag '{"activity_label": "Sailing", "ctx_a": "A man [title] sits.", "ctx_b": "he", "endings": ["rows [step] on.", "sings."], "label": "1"}' \
        '{"context": "Sailing: A man. sits. He", "choices": [" rows on.", " sings."], "answer": 1}'
    convert arc '{"question": "Which?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}' \
        '{"context": "Question: Which?\nAnswer:", "choices": [" x", " y"], "answer": 1}'
    convert winogrande '{"sentence": "The cup fell because _ was loose.", "option1": "it", "option2": "she", "answer": "1"}' \
        '{"context": "The cup fell because", "choices": [" it was loose.", " she was loose."], "answer": 0}'
    convert mmlu '{"question": " Two and two? ", "subject": "high_school", "choices": ["1", "2", "3", "4"], "answer": 3}' \
        '{"context": "The following are multiple choice questions (with answers) about high school.\n\nTwo and two?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:", "choices": [" A", " B", " C", " D"], "answer": 3}'
fi
finish
