#!/bin/bash
# --bpw and --size: levels by matrix within a budget, that lose less than one level of as many bytes, and less than where
# only experts' levels are chosen.
. "$(dirname "$0")/helper.sh"
optimized_judges "the choices"

awk 'NR % 4 != 0' demo/text.txt > "$work/calibration.txt"
awk 'NR % 4 == 0' demo/text.txt > "$work/judge.txt"
tokens=1024
[ -z "${MOEQ_TEST_ALL:-}" ] || tokens=2048
text=(--text "$work/calibration.txt" --tokens $tokens)
some=(--levels q3_k,q4_k,q6_k,iq4_xs "${text[@]}") # fewer than all: measured sooner
text=(--text "$work/calibration.txt" --tokens 128 --context 128) # where nothing is judged by what is lost
few=(--levels q3_k,q4_k,q6_k,iq4_xs "${text[@]}")
sampled && some=("${few[@]}")

"$moeq" convert $model -o "$work/q4.moeq" --level q4_k -q || fail "q4_k"
"$moeq" convert $model -o "$work/mix.moeq" --bpw 4.25 "${some[@]}" --json > "$work/mix.json" 2> /dev/null || fail "--bpw"
"$moeq" convert $model -o "$work/one.moeq" --bpw 4.25 "${some[@]}" --threads 1 -q 2> /dev/null || fail "one thread"
"$moeq" convert $model -o "$work/experts.moeq" --bpw 4.25 "${some[@]}" --attention q8_0 --embeddings q8_0 --json \
    > "$work/experts.json" 2> /dev/null || fail "--bpw of experts alone"
cmp "$work/mix.moeq" "$work/one.moeq" || fail "one thread and two: other levels"
"$moeq" check "$work/mix.moeq" -q || fail "check"
"$moeq" inspect "$work/mix.moeq" | grep -q "experts and MLP=a level each for 4.25 bits per weight" || fail "the file does not say its budget"
"$moeq" inspect "$work/mix.moeq" | grep -q "embeddings and head=a level each for 4.25 bits" || fail "embeddings' budget is not said"
"$moeq" inspect "$work/experts.moeq" | grep -q "attention=q8_0; embeddings and head=q8_0" || fail "pinned levels are not said"

size=$(($(stat -c %s "$work/q4.moeq") - 50000))
"$moeq" convert $model -o "$work/size.moeq" --size $size "${few[@]}" -q 2> /dev/null || fail "--size"
"$moeq" export $model -o "$work/size.gguf" --size $size "${few[@]}" -q 2> /dev/null || fail "export --size"
grep -aq "=a level each for $size bytes in all" "$work/size.gguf" || fail "the GGUF file does not say its budget"
for file in size.moeq size.gguf; do
    [ "$(stat -c %s "$work/$file")" -le $size ] || fail "$file is larger than its budget"
    [ "$(stat -c %s "$work/$file")" -ge $((size * 97 / 100)) ] || fail "$file leaves much of its budget"
done
sampled && { finish; exit; } # figures are judged where the program is optimized
"$moeq" verify "$work/mix.moeq" "$work/q4.moeq" "$work/experts.moeq" --against $model --text "$work/judge.txt" \
    --json 2> /dev/null > "$work/verify.json" || fail "verify"
python3 - "$work/verify.json" "$work/mix.json" "$work/experts.json" << 'PYTHON' || fail "figures"
import json, sys
rows = [row for row in json.load(open(sys.argv[1]))["rows"] if not row["is_baseline"]]
kld = [row["kld_nats"]["mean"]["value"] for row in rows]
assert rows[0]["weight_bytes"] < rows[1]["weight_bytes"]
assert kld[0] < 0.9 * kld[1], kld # fewer bytes than q4_k, and it loses less
assert kld[0] < 0.9 * kld[2], kld # as many bytes, and it loses less
budget, experts = [json.load(open(name))["budget"] for name in sys.argv[2:]]
for b in budget, experts:
    assert 4.245 < b["bits_per_weight_beside_q8_0"] <= 4.25, b
    assert b["expected_loss_bound"] <= b["expected_loss"]
    assert sum(role["bytes"] for role in b["roles"]) == b["bytes"], b
    assert sum(role["weights"] for role in b["roles"]) == b["weights"], b
    assert abs(sum(role["expected_loss"] for role in b["roles"]) - b["expected_loss"]) < 1e-9, b
    q4 = next(level for level in b["uniform"] if level["level"] == "q4_k")
    assert b["expected_loss"] < q4["expected_loss"]
assert [level["level"] for level in budget["uniform"]] == ["q3_k", "q4_k", "q6_k", "iq4_xs"], budget
of_experts = {"expert_gate", "expert_up", "expert_down"}
assert {role["role"] for role in experts["roles"]} == of_experts, experts
assert {role["role"] for role in budget["roles"]} == of_experts | {
    "embedding", "attn_q", "attn_k", "attn_v", "attn_o", "head"}, budget
PYTHON

# what a card holds beside a cache, as fit counts it: one with a little less than q4_k needs
needs=$("$moeq" fit $model --vram 4GiB --context 8192 --levels q4_k --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["rows"][0]["needed_bytes"])')
card=(--vram $((needs - 100000)) --context 8192)
# (--context is the card's there; windows have the protocol's length)
"$moeq" convert $model -o "$work/card.moeq" "${card[@]}" --levels q3_k,q4_k,q6_k,iq4_xs --text "$work/calibration.txt" --tokens 512 -q 2> /dev/null || fail "--vram"
"$moeq" fit "$work/card.moeq" "${card[@]}" --json > "$work/fit.json" || fail "fit"
python3 - "$work/fit.json" << 'PYTHON' || fail "--vram"
import json, sys
row = json.load(open(sys.argv[1]))["rows"][0]
assert row["verdict"] == "fits" and 0 <= row["spare_bytes"] < 20000, row
PYTHON

# of two levels only
"$moeq" convert $model --dry-run --json --bpw 4 --levels q3_k,q8_0 --granularity matrix "${text[@]}" 2> /dev/null > "$work/plan.json"
python3 - "$work/plan.json" << 'PYTHON' || fail "--levels"
import json, sys
levels, others = {}, set()
for tensor in json.load(open(sys.argv[1]))["tensors"]:
    if ".experts." in tensor["name"]:
        kind = (tensor["name"].split(".")[2], tensor["name"].split(".")[-2])
        levels.setdefault(kind, set()).add(tensor["level"])
    else:
        others.add(tensor["level"])
assert {level for of in levels.values() for level in of} == {"q3_k", "q8_0"}, levels
assert all(len(of) == 1 for of in levels.values()), levels
assert others - {"bf16"} <= {"q3_k", "q4_k", "q5_k", "q6_k", "q8_0"} and len(others) > 2, others
PYTHON

# what --tensor chose is no part of the budget
"$moeq" convert $model --dry-run --json --bpw 4 --levels q3_k,q8_0 --tensor '*.w2.*=q8_0' "${text[@]}" 2> /dev/null > "$work/plan.json"
python3 - "$work/plan.json" << 'PYTHON' || fail "--tensor"
import json, sys
plan = json.load(open(sys.argv[1]))
down = [t["level"] for t in plan["tensors"] if ".w2." in t["name"]]
assert down and set(down) == {"q8_0"}
assert 3.9 < plan["budget"]["bits_per_weight_beside_q8_0"] <= 4, plan["budget"]
others = [t for t in plan["tensors"] if ".w2." not in t["name"] and t["level"] != "bf16"]
assert plan["budget"]["bytes"] == sum(t["bytes"] for t in others), (plan["budget"], others[0])
PYTHON
expect 1 "moeq: --bpw: --tensor leaves no matrix to choose a level for" \
    convert $model --dry-run --bpw 4 --tensor '*.experts.*=q8_0' "${text[@]}" --levels q3_k

usage convert "--bpw needs --text FILE: by it is found out what each matrix loses" \
    convert $model --dry-run --bpw 4
usage convert "--bpw '0.2': expected bits per weight of experts, such as 4.25" \
    convert $model --dry-run --bpw 0.2 "${text[@]}"
usage convert "--bpw and --size exclude each other" \
    convert $model --dry-run --bpw 4 --size 1GiB "${text[@]}"
usage convert "--levels, --granularity and --kv go with a budget: --bpw, --size, --gpu or --vram" \
    convert $model --dry-run --level q4_k --levels q3_k
usage convert "--bpw and --level exclude each other: a budget chooses levels (--attention, --shared, --embeddings and --tensor set those of what is no part of it)" \
    convert $model --dry-run --level q4_k --bpw 4 "${text[@]}"
pinned=(--attention q8_0 --embeddings q8_0)
"$moeq" convert $model --dry-run --bpw 1.5 --levels iq2_xxs,q8_0 "${text[@]}" "${pinned[@]}" 2> "$work/stderr" && fail "1.5 bits suffice"
grep -q -- "--bpw 1.5 is too small: the smallest of the levels take --bpw 2.0[0-9]*$" "$work/stderr" ||
    fail "too small: $(cat "$work/stderr")"
# the size that is said to be the least is so: also with an index beside
less=(--levels q3_k,q4_k "${text[@]}" -q)
for shards in "" "--shard-size 1M"; do
    "$moeq" convert $model -o "$work/small.moeq" --size 1M "${less[@]}" $shards 2> "$work/stderr" && fail "1 MB suffice"
    least=$(grep -o "the files take [0-9]* bytes" "$work/stderr" | grep -o "[0-9]*")
    [ "$least" ] || fail "no least size: $(cat "$work/stderr")"
    printed=$(grep -o "(--size [0-9.]*M)" "$work/stderr" | grep -o "[0-9.]*M") || fail "no size to type: $(cat "$work/stderr")"
    "$moeq" convert $model --dry-run --size "$printed" "${less[@]}" $shards > /dev/null 2> "$work/stderr" ||
        fail "--size $printed does not suffice: $(cat "$work/stderr")"
    # the same, whatever was asked for
    "$moeq" convert $model -o "$work/small.moeq" --size 1 "${less[@]}" $shards 2>&1 | grep -q "take $least bytes" ||
        fail "another least size for --size 1"
    "$moeq" convert $model -o "$work/small.moeq" --size $((least - 1)) "${less[@]}" $shards 2> /dev/null && fail "less than the least suffices"
    "$moeq" convert $model -o "$work/small.moeq" --size $least "${less[@]}" $shards 2> "$work/stderr" ||
        fail "the least does not suffice: $(cat "$work/stderr")"
    [ "$(cat "$work"/small*.moeq "$work"/small*.json 2> /dev/null | wc -c)" = "$least" ] || fail "$shards: other bytes than $least"
    rm -f "$work"/small*
done
"$moeq" convert $model --dry-run --vram 1M --levels q3_k,q4_k --text "$work/calibration.txt" --tokens 512 -q 2> "$work/stderr" && fail "a card of 1 MB suffices"
grep -q -- "--vram: too small: with the smallest of the levels ([0-9.]* bits per weight) .*iB are missing" "$work/stderr" ||
    fail "a small card: $(cat "$work/stderr")"
# what no measuring changes is refused first: of this text it takes minutes
for i in $(seq 20); do cat demo/text.txt; done > "$work/long.txt"
before() {
    local text=$1
    shift
    timeout 20 "$moeq" convert $model --bpw 4 --text "$work/long.txt" -q "$@" 2> "$work/stderr"
    [ $? = 1 ] && grep -q "$text" "$work/stderr" || fail "$*: not refused before it measures: $(cat "$work/stderr")"
}
before "size.moeq: exists already; give --force to replace it" -o "$work/size.moeq"
before "there is no folder $work/none to write it to" -o "$work/none/x.moeq"
before "one thread needs .* for its buffers; --memory gives" -o "$work/x.moeq" --memory 17M
for small in "--bpw 1.5 --levels q3_k" "--size 1M" "--vram 1M"; do
    timeout 20 "$moeq" convert $model -o "$work/x.moeq" $small --text "$work/long.txt" -q 2> "$work/stderr"
    [ $? = 1 ] && grep -q "too small" "$work/stderr" || fail "$small: not refused before it measures: $(cat "$work/stderr")"
done
usage convert "--kv is of a card's budget (--gpu, --vram), --bpw has no KV cache" \
    convert $model --dry-run --bpw 4 --kv q8_0 "${text[@]}"
finish
