#!/bin/bash
# --effort calibrated: lower loss on other text, the same bytes whatever the threads and interruptions, GGUF too.
. "$(dirname "$0")/helper.sh"
optimized_judges "the figures"

awk 'NR % 4 != 0' demo/text.txt > "$work/calibration.txt"
awk 'NR % 4 == 0' demo/text.txt > "$work/judge.txt"
tokens=5120
[ -z "${MOEQ_TEST_ALL:-}" ] || tokens=8192
sampled && tokens=512
calibrated=(--level q3_k --effort calibrated --text "$work/calibration.txt" --tokens $tokens)

"$moeq" convert $model -o "$work/plain.moeq" --level q3_k -q || fail "plain"
"$moeq" convert $model -o "$work/two.moeq" "${calibrated[@]}" --threads 2 > "$work/out" || fail "calibrated"
grep -q "error feedback on $tokens tokens" "$work/out" || fail "the plan does not say by what: $(cat "$work/out")"
"$moeq" convert $model -o "$work/one.moeq" "${calibrated[@]}" --threads 1 -q 2> /dev/null || fail "one thread"
cmp "$work/one.moeq" "$work/two.moeq" || fail "one thread and two: other bytes"
"$moeq" check "$work/two.moeq" -q || fail "check"

# attention too: its matrices are other bytes than without a text
"$moeq" convert $model -o "$work/three.moeq" "${calibrated[@]}" --attention q4_k --json > "$work/done.json" 2> /dev/null || fail "attention"
"$moeq" convert $model -o "$work/three-plain.moeq" --level q3_k --attention q4_k -q || fail "attention, plain"

# of several texts each is cut for itself: as many tokens of either
"$moeq" convert $model --dry-run --level q3_k --effort calibrated --text "$work/calibration.txt" --text "$work/judge.txt" \
    --tokens 1024 > "$work/out" 2> "$work/stderr" || fail "two texts: $(cat "$work/stderr")"
grep -q "error feedback on 2048 tokens" "$work/out" || fail "two texts: $(cat "$work/out")"

# stopped in the middle, it goes on and ends with the same bytes
"$moeq" convert $model -o "$work/again.moeq" "${calibrated[@]}" -q 2> /dev/null &
for _ in $(seq 200); do
    [ -e "$work/again.moeq.part" ] && break
    sleep 0.02
done
sleep 0.3
kill -INT $! 2> /dev/null
wait $!
"$moeq" convert $model -o "$work/again.moeq" "${calibrated[@]}" -q --force 2> /dev/null || fail "going on"
cmp "$work/again.moeq" "$work/two.moeq" || fail "interrupted: other bytes"

# the same matrices in GGUF
"$moeq" export $model -o "$work/two.gguf" "${calibrated[@]}" -q 2> /dev/null || fail "export"
"$moeq" verify "$work/two.moeq" "$work/plain.moeq" "$work/two.gguf" --against $model --text "$work/judge.txt" \
    --json 2> /dev/null > "$work/verify.json" || fail "verify"
python3 - "$work/verify.json" $tokens << 'PYTHON' || fail "figures"
import json, sys
rows = [row for row in json.load(open(sys.argv[1]))["rows"] if not row["is_baseline"]]
kld = [row["kld_nats"]["mean"]["value"] for row in rows]
assert kld[0] < (0.75 if int(sys.argv[2]) > 4096 else 0.95) * kld[1], kld # few tokens teach less
assert kld[0] == kld[2], kld
PYTHON
python3 - "$work/three.moeq" "$work/three-plain.moeq" "$work/done.json" << 'PYTHON' || fail "attention"
import json, struct, sys
def tensors(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    return {name: data[8 + size:][slice(*t["data_offsets"])] for name, t in header.items()
            if name != "__metadata__" and ".layers." in name and "norm" not in name and "gate.weight" not in name}
feedback, plain = tensors(sys.argv[1]), tensors(sys.argv[2])
assert all(feedback[name] != plain[name] for name in plain), [n for n in plain if feedback[n] == plain[n]]
assert json.load(open(sys.argv[3]))["calibrated"]["matrices"] == len(plain)
PYTHON

# a sweep makes the same and leaves nothing behind
export TMPDIR="$work/tmp"
mkdir "$TMPDIR"
lines=80
sampled && lines=40
head -n $lines "$work/calibration.txt" > "$work/some.txt"
if ! sampled; then
"$moeq" sweep $model --text "$work/judge.txt" --levels q3_k --effort calibrated --json \
    --calibration-text "$work/some.txt" --tokens 2048 > "$work/sweep.json" 2> "$work/stderr" || fail "sweep: $(cat "$work/stderr")"
"$moeq" convert $model -o "$work/all.moeq" --level q3_k --effort calibrated --text "$work/some.txt" -q 2> /dev/null ||
    fail "with the same text"
"$moeq" verify "$work/all.moeq" --against $model --text "$work/judge.txt" --tokens 2048 --json 2> /dev/null > "$work/verify.json" || fail "verify"
python3 - "$work/sweep.json" "$work/verify.json" << 'PYTHON' || fail "sweep and file differ"
import json, sys
swept, file = (json.load(open(path))["rows"][1] for path in sys.argv[1:])
assert swept["kld_nats"] == file["kld_nats"], (swept["kld_nats"], file["kld_nats"])
assert swept["file_bytes"] == file["file_bytes"] and swept["expert_relative_rmse"] is None
PYTHON
[ -z "$(ls "$TMPDIR")" ] || fail "left behind: $(ls "$TMPDIR")"
fi
unset TMPDIR
"$moeq" calibrate $model --text "$work/some.txt" -o "$work/c.cal" -q 2> /dev/null || fail "calibrate"
if ! sampled; then
"$moeq" sweep $model --text "$work/judge.txt" --levels q3_k,q4_k --effort calibrated --calibration "$work/c.cal" \
    --calibration-text "$work/some.txt" --tokens 512 --json 2> /dev/null > "$work/sweep.json" || fail "with importance too"
grep -q '"effort":	"calibrated"' "$work/sweep.json" || fail "the document does not say how its levels were made"
fi
usage convert "-o '$work/some.txt' is an input of this run" \
    convert $model -o "$work/some.txt" --force --level q3_k --effort calibrated --text "$work/some.txt"
usage convert "-o '$work/c.cal' is an input of this run" \
    convert $model -o "$work/c.cal" --force --level q3_k --calibration "$work/c.cal"
echo moeq > "$work/c.md" # as if of an earlier run
usage sweep "--report '$work/c.md' is an input of this run" \
    sweep $model --text demo/text.txt --levels q3_k --effort calibrated --calibration-text "$work/c.md" --report "$work/c.md"
cp "$work/some.txt" "$work/copy.txt"
expect 1 "moeq: '$work/copy.txt' calibrates and '$work/some.txt' judges, and they are the same text: a file is judged on what it was not made for" \
    sweep $model --text "$work/some.txt" --levels q3_k --effort calibrated --calibration-text "$work/copy.txt"
expect 1 "moeq: '$work/copy.txt' has the same tokens as a text before it: they would count twice" \
    convert $model -o "$work/x.moeq" --level q3_k --effort calibrated --text "$work/some.txt" --text "$work/copy.txt"
expect 1 "moeq: --effort calibrated: nothing to calibrate: no tensor is quantized at f16" \
    convert $model -o "$work/x.moeq" --level f16 --effort calibrated --text "$work/some.txt"
usage export "--effort calibrated is about quantizing: it goes with a level, a recipe or a budget" \
    export $model -o "$work/x.gguf" --effort calibrated --text demo/text.txt
usage sweep "--effort calibrated needs --calibration-text FILE, another text than --text" \
    sweep $model --text demo/text.txt --levels q3_k --effort calibrated
usage sweep "--calibration-text goes with --effort calibrated" \
    sweep $model --text demo/text.txt --levels q3_k --calibration-text demo/text.txt

# little memory: runs of columns, as wide whatever the threads; without --memory whole rows
python3 tests/data/make_full_width.py "$work/wide" --config tests/fixtures/configs/mixtral-8x7b.json --moeq "$moeq" --layers 1 \
    --experts 2 --vocab 512 --set hidden_size=512 --set intermediate_size=3072 --set num_attention_heads=4 \
    --set num_key_value_heads=2 > /dev/null || fail "a wide layer"
python3 - "$work/ids.safetensors" << 'PYTHON'
import json, struct, sys
ids = struct.pack("<128i", *range(3, 131))
header = json.dumps({"input_ids": {"dtype": "I32", "shape": [1, 128], "data_offsets": [0, 512]}}).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + ids)
PYTHON
narrow() {
    "$moeq" convert "$work/wide" --dry-run --level q3_k --effort calibrated --ids "$work/ids.safetensors" "$@" 2> /dev/null |
        grep -o "error feedback.*"
}
one=$(narrow --memory 200M --threads 1) two=$(narrow --memory 200M --threads 2) all=$(narrow)
case $one in "error feedback within "*" columns (--memory) on 128 tokens"*) ;; *) fail "little memory: $one" ;; esac
[ "$one" = "$two" ] || fail "one thread and two: $one, $two"
case $all in "error feedback on 128 tokens"*) ;; *) fail "enough memory: $all" ;; esac

# every family's experts, shared experts and MLPs
families=(tests/fixtures/families/*/)
[ "${MOEQ_TEST_ALL:-}" ] ||
    families=(tests/fixtures/families/{deepseek_v3,deepseek_v3_fp8,gpt_oss_mxfp4,granitemoehybrid,llama4,ministral3,nemotron_h,qwen3_moe-weights_as_scored}/)
sampled && families=(tests/fixtures/families/{deepseek_v3_fp8,gpt_oss_mxfp4,nemotron_h}/)
for folder in "${families[@]}"; do
    ids=$folder/golden.safetensors
    options=("$folder" --level q4_k --effort calibrated --ids "$ids" --json)
    [ -e "$ids" ] || fail "$folder has no token ids"
    "$moeq" convert "${options[@]}" --dry-run > "$work/plan.json" 2> /dev/null || fail "$folder: plan"
    "$moeq" convert "${options[@]}" -o "$work/family.moeq" --force > "$work/done.json" 2> /dev/null || fail "$folder"
    "$moeq" eval "$work/family.moeq" --ids "$ids" --dump "$work/family.out" -q || fail "$folder: evaluation"
    python3 - "$work/plan.json" "$work/done.json" << 'PYTHON' || fail "$folder: matrices"
import json, sys
plan, done = (json.load(open(path)) for path in sys.argv[1:])
assert done["calibrated"]["matrices"] >= sum(t["level"] == "q4_k" for t in plan["tensors"]) > 0
PYTHON
done

usage convert "--effort calibrated needs --text FILE: text like that which the model is for" \
    convert $model -o "$work/x.moeq" --level q3_k --effort calibrated
usage convert "--text, --ids, --tokens and --context go with --effort calibrated or a budget (--bpw, --size, --gpu)" \
    convert $model -o "$work/x.moeq" --level q3_k --text demo/text.txt
usage convert "--effort 'hard': expected default, best or calibrated" \
    convert $model -o "$work/x.moeq" --level q3_k --effort hard
"$moeq" convert $model -o "$work/x.moeq" "${calibrated[@]}" --memory 20M -q 2> "$work/stderr" && fail "20 MB suffice"
grep -q "error feedback needs .* --tokens [0-9]\|error feedback needs .* one window" "$work/stderr" ||
    fail "little memory: $(cat "$work/stderr")"
finish
