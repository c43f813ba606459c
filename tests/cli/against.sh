#!/bin/bash
# Usage: against.sh MOEQ SOURCE_DIR WORK_DIR
# check --against: what was made of a model is told from what was not, by tensor, expert, row and key.
. "$(dirname "$0")/helper.sh"

make() { "$moeq" "$@" -q > /dev/null 2>&1 || fail "moeq $*"; }
is=': is what demo/model gives: '

usage check '--text, --ids, --tokens, --context, --calibration and --effort go with --against' \
    check $model --text demo/text.txt
# Whatever levels, mixes, files and guides made it.
make convert $model -o "$work/a.moeq" --level q4_k --tensor '*.layers.1.*w2*=q6_k'
make convert $model -o "$work/s.moeq" --level q3_k_m --effort best --shard-size 1M
make export $model -o "$work/a.gguf" --level q4_k
make export $model -o "$work/m.gguf" --recipe q4_k_m --split-max-size 2M
make export "$work/a.moeq" -o "$work/b.gguf" --unify up
for file in a.moeq s.moeq.index.json a.gguf m-00001-of-0000*.gguf; do
    says 0 "$is" check "$(echo "$work"/$file)" --against $model
done
says 0 ": is what $work/a.moeq gives: " check "$work/b.gguf" --against "$work/a.moeq"
says 0 '"ok": true' check "$work/a.moeq" --against $model --json
says 0 "$is" check "$work/a.moeq" --against $model --threads 3 --memory 32M

# What is not recorded whole must be given, and be the same.
text=(--text demo/text.txt --context 64)
make convert $model -o "$work/c.moeq" --level q3_k --effort calibrated "${text[@]}" --tokens 256
says 2 'was calibrated by error feedback on 256 tokens' check "$work/c.moeq" --against $model
says 2 'what is given is error feedback on 128 tokens' check "$work/c.moeq" --against $model "${text[@]}" --tokens 128
says 0 "$is" check "$work/c.moeq" --against $model "${text[@]}" --tokens 256
make calibrate $model "${text[@]}" --tokens 256 -o "$work/calibration"
make calibrate $model "${text[@]}" --tokens 128 -o "$work/other"
make convert $model -o "$work/i.moeq" --level q3_k --calibration "$work/calibration"
says 2 'was made with the calibration calibration' check "$work/i.moeq" --against $model
says 2 'was made with the calibration calibration' check "$work/i.moeq" --against $model --calibration "$work/other"
says 0 "$is" check "$work/i.moeq" --against $model --calibration "$work/calibration"
says 2 'is a Hugging Face folder: expected what moeq has made' check $model --against $model

# change FILE OFFSET: one byte becomes another.
change() {
    python3 - "$1" "$2" << 'P'
import sys
with open(sys.argv[1], 'r+b') as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([b ^ 1]))
P
}
# at FILE NAME: where a tensor begins, by inspect.
at() {
    "$moeq" inspect "$1" --tensors --json | python3 -c 'import json, sys
print(next(t["offset"] for t in json.load(sys.stdin)["tensors"] if sys.argv[1] in (t["name"], t.get("stored_name"))))' "$2"
}
tensor=model.layers.2.block_sparse_moe.experts.5.w3.weight
place=$(($(at "$work/a.moeq" $tensor) + 144 * 3 + 7))
cp "$work/a.moeq" "$work/x.moeq"
change "$work/x.moeq" $place
says 1 "different: $tensor (row 3): 1 of 36864 bytes, the first at byte $place of $work/x.moeq" \
    check "$work/x.moeq" --against $model --no-check
place=$(($(at "$work/a.gguf" "blk.2.ffn_up_exps.weight expert 5") + 144 * 9))
cp "$work/a.gguf" "$work/x.gguf"
change "$work/x.gguf" $place
change "$work/x.gguf" $((place + 144))
says 1 "different: blk.2.ffn_up_exps.weight (expert 5, row 9): 2 of 36864 bytes, the first at byte $place" \
    check "$work/x.gguf" --against $model
says 1 '"different_bytes": 2' check "$work/x.gguf" --against $model --json

# Keys: a tokenizer of other tokens, another epsilon.
sed 's/"rms_norm_eps": 1e-05/"rms_norm_eps": 2e-05/' $model/config.json > "$work/config.json"
cmp -s $model/config.json "$work/config.json" && fail "no epsilon in config.json"
cp -r $model "$work/model" && cp "$work/config.json" "$work/model"
says 1 'different: key llama.attention.layer_norm_rms_epsilon: expected 2e-05, found 1e-05' check "$work/a.gguf" --against "$work/model"
says 1 'different: moeq.config.json' check "$work/a.moeq" --against "$work/model"
cp $model/config.json "$work/model"

# Another source; and one whose sums are recorded.
(cd "$work/model" && sha256sum *.*) > "$work/sums"
make convert "$work/model" -o "$work/h.moeq" --level q4_k --sha256 "$work/sums"
says 0 "$is" check "$work/h.moeq" --against $model
change "$work/model/model-00003-of-00003.safetensors" 4000000
says 2 'model-00003-of-00003.safetensors: is not the file that the list of sums means' \
    check "$work/h.moeq" --against "$work/model"
says 1 'different: model.' check "$work/a.moeq" --against "$work/model"
finish
