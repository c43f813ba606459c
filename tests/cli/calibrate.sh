#!/bin/bash
# moeq calibrate: texts, merging, what is held out, imatrix files; mistakes. (What the gguf package reads: gguf_opens.sh.)
. "$(dirname "$0")/helper.sh"

head -c 9000 demo/text.txt | awk 'NR % 2' > "$work/a.txt"
head -c 9000 demo/text.txt | awk 'NR % 2 == 0' > "$work/b.txt"
options=(--context 64 --no-progress)
calibrate() { "$moeq" calibrate "$@" "${options[@]}" > "$work/stdout" 2> "$work/stderr" || fail "$*: $(cat "$work/stderr")"; }

calibrate $model --text one="$work/a.txt" --text two="$work/b.txt" -o "$work/all.cal"
grep -q "^  one: [0-9]* tokens in windows of 64" "$work/stdout" || fail "texts: $(cat "$work/stdout")"
grep -q "^  layer 2 " "$work/stdout" || fail "no table of experts: $(cat "$work/stdout")"
"$moeq" check "$work/all.cal" -q || fail "check"

# one run over both texts, in whatever order, is the sum of two
calibrate $model --text one="$work/a.txt" -o "$work/a.cal" --threads 1
calibrate $model --text two="$work/b.txt" -o "$work/b.cal" --memory 12M
options=()
calibrate --merge "$work/b.cal" "$work/a.cal" -o "$work/merged.cal"
cmp "$work/merged.cal" "$work/all.cal" || fail "merged, and of both texts: other bytes"
options=(--context 64 --no-progress)

# what is held out is in no sum
calibrate $model --text two="$work/b.txt" --text one="$work/a.txt" --holdout two -o "$work/rest.cal"
cmp "$work/rest.cal" "$work/a.cal" || fail "with a text held out: other bytes than without it"
grep -q "held out: two, [0-9]* tokens" "$work/stdout" || fail "held out: $(cat "$work/stdout")"

# experts of few tokens are named
calibrate $model --text "$work/a.txt" --tokens 64 -o "$work/few.cal" -q
grep -q "^moeq: note: of 24 experts [0-9]* met fewer than 128 tokens, .* (layer 0: 0, 1, " "$work/stderr" ||
    fail "few tokens: $(cat "$work/stderr")"

calibrate $model --text one="$work/a.txt" -o "$work/a.gguf"
options=()
calibrate --merge "$work/a.cal" -o "$work/same.gguf"
cmp "$work/a.gguf" "$work/same.gguf" || fail "an imatrix of a calibration, and of the text: other bytes"

# interrupted, nothing is left behind
"$moeq" calibrate $model --text "$work/a.txt" --text "$work/b.txt" --context 32 -o "$work/stopped.cal" -q 2> /dev/null &
pid=$!
for _ in $(seq 100); do
    ls "$work"/stopped.cal.*.part > /dev/null 2>&1 && break
    sleep 0.01
done
kill -INT $pid 2> /dev/null
wait $pid
case $? in 130) [ -z "$(ls "$work" | grep stopped)" ] || fail "left behind: $(ls "$work" | grep stopped)" ;;
    0) ;; # it was faster
    *) fail "interrupted: exit code $?" ;;
esac

expect 1 "moeq: $work/a.cal: exists already; --force replaces it" \
    calibrate $model --text "$work/b.txt" -o "$work/a.cal"
expect 1 "moeq: $work/a.txt: the output would replace an input; choose another name" \
    calibrate $model --text "$work/a.txt" -o "$work/a.txt" --force
expect 1 "moeq: $work/a.cal: the output would replace an input; choose another name" \
    calibrate --merge "$work/a.cal" "$work/b.cal" -o "$work/a.cal" --force
"$moeq" calibrate --merge "$work/a.cal" "$work/all.cal" -o "$work/x.cal" 2> "$work/stderr" && fail "a text twice"
grep -q "all.cal: has the same [0-9]* tokens of 'one' as .*a.cal: they would count twice" "$work/stderr" ||
    fail "a text twice: $(cat "$work/stderr")"
expect 1 "moeq: $work/a.cal: is a calibration of moeq calibrate: it has no weights; give the model that it was made of" \
    calibrate "$work/a.cal" --text "$work/a.txt" -o "$work/x.cal"
expect 1 "moeq: $work/a.gguf: is an importance matrix, no model: it has no weights: give the model that it was made of" \
    calibrate "$work/a.gguf" --text "$work/a.txt" -o "$work/x.cal"
usage calibrate "-o FILE is missing: the file to write" calibrate $model --text "$work/a.txt"
usage calibrate "--text FILE is missing: text like that which the model is for" calibrate $model -o "$work/x.cal"
usage calibrate "--merge takes calibrations, and no text" \
    calibrate --merge "$work/a.cal" --text "$work/a.txt" -o "$work/x.cal"
usage calibrate "unexpected argument '$work/b.cal' (--merge adds calibrations up)" \
    calibrate "$work/a.cal" "$work/b.cal" --text "$work/a.txt" -o "$work/x.cal"
usage calibrate "--holdout 'tow': no text has that name; did you mean two?" \
    calibrate $model --text one="$work/a.txt" --text two="$work/b.txt" --holdout tow -o "$work/x.cal"
usage calibrate "--holdout 'one': it is the only text, so nothing would be left" \
    calibrate $model --text one="$work/a.txt" --holdout one -o "$work/x.cal"
usage calibrate "--text 'one=': expected FILE or NAME=FILE" calibrate $model --text one= -o "$work/x.cal"
finish
