#!/bin/bash
# moeq calibrate: texts, merging, what is held out, imatrix files; mistakes. (What the gguf package reads: gguf_opens.sh.)
. "$(dirname "$0")/helper.sh"

head -c 9000 demo/text.txt | awk 'NR % 2' > "$work/a.txt"
head -c 9000 demo/text.txt | awk 'NR % 2 == 0' > "$work/b.txt"
cp "$work/a.txt" "$work/same.txt"
echo "a b" > "$work/few.txt"
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

# token ids, for models without a tokenizer
options=(--no-progress)
calibrate tests/fixtures/oracles/mixtral --ids tests/fixtures/oracles/mixtral/golden.safetensors --tokens 96 -o "$work/ids.cal"
grep -q "^  golden.safetensors: 96 tokens in windows of 96" "$work/stdout" || fail "--ids: $(cat "$work/stdout")"
options=(--context 64 --no-progress)
usage calibrate "--ids and --text exclude each other" \
    calibrate $model --ids tests/fixtures/folders/ids.safetensors --text "$work/a.txt" -o "$work/x.cal"

# what is held out is in no sum
calibrate $model --text two="$work/b.txt" --text one="$work/a.txt" --holdout two -o "$work/rest.cal"
cmp "$work/rest.cal" "$work/a.cal" || fail "with a text held out: other bytes than without it"
cp "$work/stdout" "$work/held"
grep -q "held out: two, [0-9]* tokens" "$work/stdout" || fail "held out: $(cat "$work/stdout")"

# experts of few tokens are named
calibrate $model --text "$work/a.txt" --tokens 64 -o "$work/few.cal" -q
grep -q "^moeq: note: of 24 experts [0-9]* met fewer than 128 tokens, .* (layer 0: 0, 1, " "$work/stderr" ||
    fail "few tokens: $(cat "$work/stderr")"

calibrate $model --text one="$work/a.txt" -o "$work/a.gguf"
options=()
calibrate --merge "$work/a.cal" -o "$work/same.gguf"
cmp "$work/a.gguf" "$work/same.gguf" || fail "an imatrix of a calibration, and of the text: other bytes"

# what is made with it: other blocks than without, the same by a calibration of one text and by its imatrix
"$moeq" convert $model -o "$work/plain.moeq" --level q3_k -q || fail "plain"
"$moeq" convert $model -o "$work/cal.moeq" --level q3_k --calibration "$work/a.cal" > "$work/stdout" || fail "--calibration"
grep -q "columns count by their importance in a.cal (84 matrices)\|importance in .*/a.cal (84 matrices)" "$work/stdout" ||
    fail "the plan does not say by what: $(cat "$work/stdout")"
"$moeq" export $model -o "$work/cal.gguf" --level q3_k --calibration "$work/a.cal" -q || fail "export --calibration"
"$moeq" export "$work/cal.moeq" -o "$work/copied.gguf" -q || fail "export"
judge() { "$moeq" "$@" --text "$work/b.txt" --context 64 --tokens 256 --no-progress --json > "$work/$out.json" || fail "$*"; }
out=files judge verify "$work/plain.moeq" "$work/cal.moeq" "$work/cal.gguf" "$work/copied.gguf" --against $model
out=cal judge sweep $model --levels q3_k --calibration "$work/a.cal"
out=imatrix judge sweep $model --levels q3_k --calibration "$work/a.gguf"
python3 - "$work" << 'PYTHON' || fail "figures"
import json, sys
kld = {}
for name in ("files", "cal", "imatrix"):
    rows = json.load(open(f"{sys.argv[1]}/{name}.json"))["rows"]
    kld[name] = [row["kld_nats"]["mean"]["value"] for row in rows if not row["is_baseline"]]
    assert name == "files" or rows[1]["recipe"]["importance"]["matrices"] == 84, rows[1]["recipe"]
plain, cal, gguf, copied = kld["files"]
assert plain != cal and cal == gguf == copied == kld["cal"][0], kld
assert abs(kld["imatrix"][0] - cal) < 0.01 * cal, kld
PYTHON
expect 1 "moeq: $work/a.cal: is of another model (model): expected attn_q of layer 0 in 1 matrices of 64 columns, as in tests/fixtures/oracles/mixtral, found attn_q of layer 0 in 1 of 256" \
    convert tests/fixtures/oracles/mixtral --level q4_k --calibration "$work/a.cal" --dry-run
"$moeq" convert tests/fixtures/oracles/mixtral --level q4_k --calibration "$work/a.gguf" --dry-run 2> "$work/stderr" &&
    fail "another model's imatrix"
grep -q "tensor 'blk.0.attn_q.weight.in_sum2' at byte [0-9]*: the model has 64 columns in 1 matrices, found 256 numbers" "$work/stderr" ||
    fail "another model's imatrix: $(cat "$work/stderr")"
expect 1 "moeq: $work/plain.moeq: is no calibration: expected a file of moeq calibrate or, for --calibration, an imatrix" \
    convert $model --level q4_k --calibration "$work/plain.moeq" --dry-run
usage export "--calibration is about quantizing: it goes with a level, a recipe or a budget" \
    export "$work/plain.moeq" -o "$work/x.gguf" --calibration "$work/a.cal"
usage sweep "--calibration is about --levels, of which there are none" \
    sweep $model --files "$work/plain.moeq" --text "$work/b.txt" --calibration "$work/a.cal"

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
# what would count twice, and options that would be overheard
expect 1 "moeq: --text: 'same.txt' has the same 3136 tokens as 'a.txt': they would count twice" \
    calibrate $model --text "$work/a.txt" --text "$work/same.txt" "${options[@]}" --context 64 -o "$work/x.cal"
expect 1 "moeq: --text: 'same.txt' has the same 3136 tokens as 'a.txt': what is held out must be another text" \
    calibrate $model --text "$work/a.txt" --text "$work/same.txt" --holdout same.txt --context 64 -o "$work/x.cal"
expect 1 "moeq: --text: '$work/a.txt' and '$work/same.txt' are the same: they would count twice" \
    calibrate $model --text one="$work/a.txt" --text one="$work/same.txt" --context 64 -o "$work/x.cal"
usage calibrate "--holdout is given twice: 'one' and 'two'" \
    calibrate $model --text one="$work/a.txt" --text two="$work/b.txt" --holdout one --holdout two -o "$work/x.cal"
usage convert "--calibration is given twice: 'a.cal' and 'b.cal'" \
    convert $model --level q3_k --calibration a.cal --calibration b.cal -o "$work/x.moeq"
usage calibrate "--merge reads no model: leave --lm-head out" \
    calibrate --merge "$work/a.cal" --lm-head tied -o "$work/x.cal"
expect 1 "moeq: $work/a.gguf: is an importance matrix, whose rounded means are not added up: --merge takes files of moeq calibrate" \
    calibrate --merge "$work/a.gguf" -o "$work/x.cal"
usage calibrate "-o -: what is written is no stream; name a file (./- for one of that name)" \
    calibrate $model --text "$work/a.txt" -o -
"$moeq" calibrate $model --text "$work/a.txt" --context 64 --memory 20K -o "$work/x.cal" 2> "$work/stderr" && fail "20 KB suffice"
grep -q "the sums of one layer need 0.[0-9]* MiB; there are 0.02 MiB (--memory)" "$work/stderr" || fail "memory: $(cat "$work/stderr")"
expect 1 "moeq: $work/few.txt: one window needs 64 tokens (--context), found 4" \
    calibrate $model --text "$work/few.txt" --context 64 -o "$work/x.cal"
expect 1 "moeq: --calibration: nothing to calibrate: no tensor is quantized at f16" \
    convert $model --level f16 --calibration "$work/a.cal" -o "$work/x.moeq"
sed "s|$work/||g" "$work/held" > "$work/lines"
[ "$(awk 'length > 80' "$work/lines" | wc -l)" = 0 ] || fail "lines of more than 80 columns: $(awk 'length > 80' "$work/lines")"
# what comes from outside is for people, whatever it is
cp "$work/a.txt" "$work/$(printf 'red\033[31m')"
calibrate $model --text "$work/$(printf 'red\033[31m')" -o "$work/red.cal"
grep -q "^  red?\[31m: [0-9]* tokens" "$work/stdout" || fail "control characters: $(cat -v "$work/stdout")"
usage calibrate "--holdout 'one': it is the only text, so nothing would be left" \
    calibrate $model --text one="$work/a.txt" --holdout one -o "$work/x.cal"
usage calibrate "--text 'one=': expected FILE or NAME=FILE" calibrate $model --text one= -o "$work/x.cal"
finish
