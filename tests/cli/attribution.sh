#!/bin/bash
# sweep --attribute: the loss part by part, each as a file with only that part quantized has it.
. "$(dirname "$0")/helper.sh"
optimized_judges "the figures"

head -c 30000 demo/text.txt > "$work/text.txt"
text=(--text "$work/text.txt" --tokens 2048 --context 256)
layers=$("$moeq" inspect $model --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"])')
last=$((layers - 1))
"$moeq" sweep $model "${text[@]}" --levels q3_k --attribute layer --json > "$work/layer.json" 2> /dev/null || fail "by layer"
"$moeq" sweep $model "${text[@]}" --levels q3_k --attribute role --report "$work/role.html" --report "$work/role.md" \
    > "$work/role.txt" 2> /dev/null || fail "by role"
"$moeq" convert $model -o "$work/last.moeq" --level bf16 --tensor "*.layers.$last.*experts.*=q3_k" \
    --tensor "*.layers.$last.self_attn.*=q8_0" -q || fail "a file of the last layer"
"$moeq" verify "$work/last.moeq" --against $model "${text[@]}" --json > "$work/last.json" 2> /dev/null || fail "verify"
python3 - "$work/layer.json" "$work/last.json" $layers << 'PYTHON' || fail "figures"
import json, sys
a = json.load(open(sys.argv[1]))
parts = a["attribution"]["parts"]
file = json.load(open(sys.argv[2]))["rows"][1]
layers = int(sys.argv[3])
assert [p.get("layer", -1) for p in parts] == list(range(layers)) + [-1], parts
last = parts[layers - 1]
assert last["kld_mean"] == file["kld_nats"]["mean"], (last, file["kld_nats"]) # to the last bit
assert last["ln_ppl_ratio"] == file["ln_ppl_ratio"]
assert last["exact_set_rate"] == file["routing"]["overall"]["exact_set_rate"], (last, file["routing"])
whole = a["rows"][1]["kld_nats"]["mean"]["value"]
total = sum(p["kld_mean"]["value"] for p in parts)
assert abs(total - a["attribution"]["kld_mean_sum"]) < 1e-12
assert abs(total / whole - a["attribution"]["sum_to_whole"]) < 1e-9
assert 0.5 < total / whole < 2, total / whole
PYTHON
grep -q "where the loss of q3_k comes from" "$work/role.txt" || fail "table: $(cat "$work/role.txt")"
python3 -c 'import sys; sys.exit(max(map(len, open(sys.argv[1], encoding="utf-8").read().split("\n"))) > 80)' "$work/role.txt" ||
    fail "lines of more than 80 columns"
grep -q "Where the loss comes from" "$work/role.html" && grep -q "expert_down" "$work/role.html" || fail "page"
grep -q "| expert_down |" "$work/role.md" || fail "Markdown"

usage sweep "--attribute 'tensor': expected layer, role or layer,role" \
    sweep $model "${text[@]}" --levels q3_k --attribute tensor
usage sweep "--attribute takes one level apart: give one in --levels, and no --files" \
    sweep $model "${text[@]}" --levels q3_k,q4_k --attribute layer
finish
