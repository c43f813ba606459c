#!/bin/bash
# verify and sweep: a note where what judges is of another kind than what it was calibrated on, and none where it is not.
. "$(dirname "$0")/helper.sh"
optimized_judges "the notes"

awk 'NR % 2' demo/text.txt > "$work/articles.txt"
awk 'NR % 2 == 0' demo/text.txt > "$work/others.txt"
tail -c 60000 demo/model/tokenizer.json > "$work/sources.txt" # pairs of pieces of words
files="m.moeq m.gguf copied.gguf"
tokens=20000
note="calibrated on articles.txt: of its kinds of tokens this text's windows have [0-9]* % in common"
far() { grep -q "$note" "$1" || fail "no note: $(head -c 300 "$1")"; }
near() { ! grep -q "of another domain" "$1" || fail "a note: $(head -c 600 "$1")"; }
# of lines that are wrapped one is made
judge() { "$moeq" "$@" --tokens 1024 --no-progress 2> "$work/stderr" | tr -s ' \n' ' ' > "$work/out"; }

"$moeq" calibrate $model --text "$work/articles.txt" --tokens $tokens -o "$work/articles.cal" -q || fail "calibrate"
"$moeq" convert $model -o "$work/m.moeq" --level q3_k --calibration "$work/articles.cal" -q || fail "convert"
"$moeq" export $model -o "$work/m.gguf" --level q3_k --calibration "$work/articles.cal" -q || fail "export"
"$moeq" export "$work/m.moeq" -o "$work/copied.gguf" -q || fail "a copy"
for file in $files; do
    judge verify "$work/$file" --against $model --text "$work/sources.txt"
    far "$work/out"
    judge verify "$work/$file" --against $model --text "$work/others.txt"
    near "$work/out"
done
# pages and documents have it too; a recording knows its text's tokens
"$moeq" record $model --text "$work/sources.txt" --tokens 1024 -o "$work/ref" -q || fail "record"
"$moeq" verify "$work/m.moeq" --against "$work/ref" --report "$work/r.html" --report "$work/r.md" --json 2> /dev/null \
    > "$work/r.json" || fail "against a recording"
for page in r.html r.md r.json; do
    sed "s/&#39;/'/g" "$work/$page" > "$work/page"
    far "$work/page"
done
judge sweep $model --levels q3_k,q4_k --calibration "$work/articles.cal" --text "$work/sources.txt" --json
far "$work/out"
[ "$(grep -o "$note" "$work/out" | wc -l)" = 1 ] || fail "said of each level: $(cat "$work/out")"

# of texts that calibrate, together: what one lacks the other has; of error feedback, in a file and in a sweep
"$moeq" calibrate $model --text "$work/sources.txt" --tokens $tokens -o "$work/sources.cal" -q || fail "calibrate"
"$moeq" calibrate --merge "$work/sources.cal" "$work/articles.cal" -o "$work/both.cal" -q || fail "merge"
for text in sources others; do
    judge sweep $model --levels q3_k --calibration "$work/both.cal" --text "$work/$text.txt"
    near "$work/out"
done
head -c 9000 "$work/articles.txt" > "$work/some.txt"
note=${note/articles/some}
judge sweep $model --levels q3_k --effort calibrated --calibration-text "$work/some.txt" --text "$work/sources.txt"
far "$work/out"
"$moeq" convert $model -o "$work/f.moeq" --level q3_k --effort calibrated --text "$work/some.txt" -q || fail "error feedback"
judge verify "$work/f.moeq" --against $model --text "$work/sources.txt"
far "$work/out"
"$moeq" inspect "$work/f.moeq" > "$work/out"
! grep -q calibrated_on "$work/out" || fail "inspect shows what is not for people"

# what is no such list is named
python3 - "$work/f.moeq" "$work/bad.moeq" << 'PYTHON'
import re, sys
data = open(sys.argv[1], "rb").read()
changed = re.sub(rb'(profile\\":\\")..', rb"\1##", data, count=1)
assert changed != data
open(sys.argv[2], "wb").write(changed)
PYTHON
judge verify "$work/bad.moeq" --against $model --text "$work/sources.txt" --no-check
grep -q "moeq.calibrated_on is no list of texts with name, tokens, common and profile, of a vocabulary of 2048" "$work/stderr" ||
    fail "a bad list: $(cat "$work/stderr")"
finish
