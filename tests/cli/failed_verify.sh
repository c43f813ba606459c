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
finish
