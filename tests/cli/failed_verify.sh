#!/bin/bash
# A verification that could not be done leaves its report and JUnit behind, with the reason, and no input harmed.
. "$(dirname "$0")/helper.sh"
head -c 100000 demo/model/model-00001-of-00003.safetensors > "$work/cut.moeq"
cp demo/text.txt "$work/text.md"
"$moeq" verify "$work/cut.moeq" --against $model --text "$work/text.md" --tokens 1024 --gate "$work/none.json" \
    --junit "$work/out.xml" --report "$work/out.html" --report "$work/out.md" --no-progress > "$work/stdout" 2> "$work/stderr"
[ $? = 1 ] || fail "exit code of a damaged file"
for file in out.xml out.html out.md; do
    grep -q 'cut.moeq' "$work/$file" || fail "$file lacks the reason"
done
grep -q '<testsuites name="moeq verify" tests="1" failures="0" errors="1">' "$work/out.xml" || fail "JUnit"
grep -q 'class="headline broken"><svg class="icon"' "$work/out.html" || fail "HTML: not red"
grep -q '^\*\*❌ The verification could not be done' "$work/out.md" || fail "Markdown"
! grep -q 'excellent' "$work/out.md" || fail "Markdown praises"

# A damaged recording; and outputs that are inputs stay what they are.
head -c 5000 "$work/cut.moeq" > "$work/ref.moeqref"
cp "$work/cut.moeq" "$work/before"
"$moeq" verify "$work/cut.moeq" --against "$work/ref.moeqref" --text demo/text.txt --gate "$work/none.json" --junit "$work/cut.moeq" \
    --report "$work/ref.html" --no-progress > "$work/stdout" 2> "$work/stderr"
[ $? = 1 ] || fail "exit code of a damaged recording"
cmp -s "$work/before" "$work/cut.moeq" || fail "an input was replaced"
grep -q 'could not be done' "$work/ref.html" || fail "ref.html lacks the reason"
mkdir "$work/folder"
echo '{}' > "$work/folder/config.json"
"$moeq" verify "$work/folder" --against $model --text demo/text.txt --gate "$work/none.json" \
    --junit "$work/folder/config.json" --no-progress > "$work/stdout" 2> "$work/stderr"
[ "$(cat "$work/folder/config.json")" = '{}' ] || fail "a file of the model's folder was replaced"
mkfifo "$work/fifo"
for output in --junit --report; do
    ln -sf fifo "$work/fifo.md"
    "$moeq" verify "$work/none.moeq" --against $model --text demo/text.txt --gate "$work/none.json" $output "$work/fifo.md" \
        --no-progress > "$work/stdout" 2> "$work/stderr"
    [ $? != 0 ] && [ -p "$work/fifo" ] && [ -L "$work/fifo.md" ] || fail "$output: a pipe was replaced"
done

# What moeq did not write is not replaced; a verification that is interrupted leaves no earlier run's files.
"$moeq" convert $model -o "$work/x.moeq" --level q4_k -q || fail "convert"
"$moeq" convert $model -o "$work/y.moeq" --level q3_k -q || fail "convert"
"$moeq" record $model --text demo/text.txt --tokens 1024 -o "$work/r.moeqref" -q || fail "record"
verify() { "$moeq" verify "$work/x.moeq" --against "$work/r.moeqref" --no-progress "$@" > "$work/stdout" 2> "$work/stderr"; }
cp "$work/y.moeq" "$work/theirs.gguf"
echo '# Mine' > "$work/theirs.md"
cp "$work/theirs.md" "$work/before.md"
verify --json || fail "verify"
cp "$work/stdout" "$work/x.json"
verify --write-gate "$work/gate.json" -q || fail "a gate"
verify --write-gate "$work/gate.json" -q || fail "a gate of moeq is replaced"
verify --write-gate "$work/theirs.gguf" && fail "a model became a gate"
verify --gate "$work/gate.json" --junit "$work/theirs.md" && fail "JUnit in the place of a text"
verify --report "$work/theirs.md" && fail "a page in the place of a text"
verify --card "$work/theirs.md" && fail "a card in the place of a text"
"$moeq" report "$work/x.json" -o "$work/theirs.md" > "$work/stdout" 2> "$work/stderr" && fail "report in the place of a text"
grep -q 'there is a file that moeq did not write' "$work/stderr" || fail "$(cat "$work/stderr")"
cmp "$work/y.moeq" "$work/theirs.gguf" && cmp "$work/before.md" "$work/theirs.md" || fail "replaced"
verify --gate "$work/gate.json" --junit "$work/o.xml" --report "$work/o.html" -q || fail "the gate"
echo '{"moeq_gate": 1, "limits": {"kld.mean": {"max": 1}}}' > "$work/any.json"
for _ in 1 2 3; do cat demo/text.txt; done > "$work/long.txt"
"$moeq" verify "$work/x.moeq" --against $model --text "$work/long.txt" --gate "$work/any.json" --junit "$work/o.xml" \
    --report "$work/o.html" --no-progress > "$work/stdout" 2> "$work/stderr" &
sleep 0.3
kill -INT $!
wait $!
[ $? = 130 ] && grep -q '<error ' "$work/o.xml" && grep -q 'could not be done' "$work/o.html" || fail "interrupted: an earlier run's files"

# results of verifications are joined
"$moeq" verify "$work/y.moeq" --against "$work/r.moeqref" --json > "$work/y.json" 2> /dev/null || fail "verify"
"$moeq" report "$work/x.json" "$work/y.json" -o "$work/both.md" > "$work/stdout" || fail "joining"
grep -q '^- \*\*A: x.moeq' "$work/both.md" && grep -q '^- \*\*B: y.moeq' "$work/both.md" || fail "joined: $(head -8 "$work/both.md")"
finish
