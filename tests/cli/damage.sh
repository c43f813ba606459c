#!/bin/bash
# Usage: damage.sh MOEQ SOURCE_DIR WORK_DIR
# Damage of a moeq file is an error of every command that reads the tensor, which names it; and what a level cannot hold is one.
. "$(dirname "$0")/helper.sh"
run=(--text demo/text.txt --tokens 128 --context 64 --no-progress -q)
tensor=model.layers.2.block_sparse_moe.experts.0.w1.weight

"$moeq" convert $model -o "$work/d.moeq" --level q4_k -q || fail "no moeq file"
offset=$("$moeq" check "$work/d.moeq" -q > /dev/null && python3 - "$work/d.moeq" $tensor << 'P'
import json, struct, sys
data = open(sys.argv[1], 'rb').read(1 << 24)
n = struct.unpack('<Q', data[:8])[0]
print(8 + n + json.loads(data[8:8 + n])[sys.argv[2]]['data_offsets'][0])
P
) || fail "no offset"
printf 'ZZZZ' | dd of="$work/d.moeq" bs=1 seek=$((offset + 2000)) conv=notrunc 2> /dev/null

# damaged ARGUMENTS...: exit code 1, the message, and nothing is left.
damaged() {
    "$moeq" "$@" > "$work/stdout" 2> "$work/stderr"
    [ $? = 1 ] && grep -q "d.moeq: tensor '$tensor' at byte $offset: layer 2, expert 0, expert_gate: its 36864 bytes have CRC-32" \
        "$work/stderr" || fail "moeq $*: $(cat "$work/stderr")"
    [ ! -e "$work/out" ] || fail "moeq $*: left a file"
}
d=$work/d.moeq out=$work/out
damaged check "$d"
damaged convert "$d" -o "$out" --level q3_k -q
damaged convert "$d" -o "$out" --level q4_k -q
damaged export "$d" -o "$out" -q
damaged eval "$d" "${run[@]}"
damaged record "$d" "${run[@]}" -o "$out"
damaged sweep "$d" "${run[@]}" --levels q3_k
damaged verify "$d" --against $model "${run[@]}"
damaged verify $model --against "$d" "${run[@]}"
damaged calibrate "$d" "${run[@]}" -o "$out"
damaged generate "$d" --prompt Once -n 4 -q
"$moeq" eval "$d" "${run[@]}" --no-check > /dev/null || fail "eval --no-check"
rm -f "$out".*
"$moeq" export "$d" -o "$out" -q --no-check || fail "export --no-check"

# An expert whose weights are beyond the range of half floats.
cp -r $model "$work/huge"
python3 - "$work/huge" $tensor << 'P'
import glob, json, struct, sys
for path in glob.glob(sys.argv[1] + '/*.safetensors'):
    data = bytearray(open(path, 'rb').read())
    n = struct.unpack('<Q', data[:8])[0]
    t = json.loads(data[8:8 + n]).get(sys.argv[2])
    if t:
        a, b = (8 + n + x for x in t['data_offsets'])
        assert t['dtype'] == 'BF16'
        for i in range(a, b, 2): # times 2^64, unless it is 0
            x = data[i] | data[i + 1] << 8
            if x & 0x7fff:
                x += 64 << 7
            data[i], data[i + 1] = x & 255, x >> 8
        open(path, 'wb').write(data)
P
lossy=$work/lossy.moeq
for level in q8_0 q4_k iq2_xxs; do
    rm -f "$lossy"*
    "$moeq" convert "$work/huge" -o "$lossy" --level $level -q 2> "$work/stderr"
    [ $? = 1 ] && grep -q "'$tensor' at byte .*: layer 2, expert 0, expert_gate: at $level its weights (.*) lose .*, expected " \
        "$work/stderr" && [ ! -e "$lossy" ] || fail "$level of huge weights: $(cat "$work/stderr")"
done
"$moeq" convert "$work/huge" -o "$lossy" --level q4_k --tensor "$tensor=bf16" -q 2> "$work/stderr" || fail "a level that holds them"
[ ! -s "$work/stderr" ] || fail "a level that holds them: $(cat "$work/stderr")"
"$moeq" convert "$work/huge" -o "$lossy" --level q4_k --allow-loss --json --force > "$work/stdout" || fail "--allow-loss"
python3 - "$work/stdout" $tensor << 'P' || fail "--json has no losses"
import json, sys
(loss,) = json.load(open(sys.argv[1]))['losses']
assert loss['tensor'] == sys.argv[2] and loss['level'] == 'q4_k' and loss['beyond_range'] and loss['error'] > 0.9, loss
P
"$moeq" sweep "$work/huge" "${run[@]}" --levels q4_k > "$work/stdout" 2> "$work/stderr"
[ $? = 1 ] && grep -q "'$tensor' at byte .*: at q4_k its weights" "$work/stderr" || fail "sweep of huge weights: $(cat "$work/stderr")"
"$moeq" check "$lossy" -q > /dev/null || fail "check of a file that notes losses"
"$moeq" inspect "$lossy" > "$work/stdout"
tr -s '\n ' ' ' < "$work/stdout" | grep -q "1 matrix lost more than usual at its level: '$tensor' q4_k" ||
    fail "inspect says nothing of losses"
finish
