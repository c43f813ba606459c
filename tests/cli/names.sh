#!/bin/bash
# Checkpoints whose tensors stand under a wrapper's names or none give the logits of the original to
# the last bit, and so does all that is made of them. A stored head goes before tie_word_embeddings,
# in evaluations, conversions, exports and recordings.
. "$(dirname "$0")/helper.sh"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }
llama=tests/fixtures/oracles/llama2 mixtral=tests/fixtures/oracles/mixtral
tied=tests/fixtures/oracles/llama3_tied

# rename IN OUT 'python expression of n': a safetensors file with other names, "" for left out.
rename() {
    python3 - "$@" << 'END'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
header = {eval(sys.argv[3], {"n": n}) if n != "__metadata__" else n: e for n, e in header.items()}
text = json.dumps(header).encode()
open(sys.argv[2], "wb").write(struct.pack("<Q", len(text)) + text + data[8 + size:])
END
}

# copy NAME FIXTURE EXPRESSION: a folder of renamed tensors, shards without an index.
copy() {
    mkdir "$work/$1"
    cp "$2/config.json" "$work/$1"
    for f in "$2"/model*.safetensors; do
        rename "$f" "$work/$1/${f##*/}" "$3"
    done
}

# same NAME MODEL IDS.safetensors 'note' OPTIONS...: the logits are those in $work/NAME.logits; a line has the note.
same() {
    local name=$1 model=$2 ids=$3 note=$4
    shift 4
    expect 0 "" eval "$model" --ids "$ids" --dump "$work/logits" --threads 1 --no-progress "$@"
    tr -s ' \n' ' ' < "$work/stdout" | grep -q -- "$note" || fail "$model: no note: $(cat "$work/stdout")"
    [ -e "$work/$name.logits" ] || cp "$work/logits" "$work/$name.logits"
    cmp -s "$work/logits" "$work/$name.logits" || fail "$model: other logits"
}

# ---- names ----
same llama $llama $llama/golden.safetensors ''
copy base $llama 'n.removeprefix("model.")'
same llama "$work/base" $llama/golden.safetensors "lack the official 'model.'"
copy peft $llama '"base_model.model." + n'
same llama "$work/peft" $llama/golden.safetensors "begin with 'base_model.model.model.'"
same mixtral $mixtral $mixtral/golden.safetensors ''
copy sees $mixtral 'n.replace("model.", "model.language_model.")'
same mixtral "$work/sees" $mixtral/golden.safetensors "begin with 'model.language_model.'"
same tied $tied $tied/golden.safetensors ''
copy base_tied $tied 'n.removeprefix("model.")'
same tied "$work/base_tied" $tied/golden.safetensors "lack the official"
copy head_alone $tied 'n.replace("model.embed_tokens", "lm_head")'
same tied "$work/head_alone" $tied/golden.safetensors "lm_head.weight serves for both"
expect 0 "" convert "$work/peft" -o "$work/peft.moeq" --level bf16 --no-progress
same llama "$work/peft.moeq" $llama/golden.safetensors "begin with 'base_model.model.model.'"

# ---- heads ----
full=tests/fixtures/folders/transformers-4.36-full ids=tests/fixtures/folders/ids.safetensors
cp -rL $full "$work/differs"
sed 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' $full/config.json > "$work/differs/config.json"
differs='lm_head.weight is stored and differs from them: it is the head'
same stored $full $ids ''
same stored "$work/differs" $ids "$differs"
expect 0 "" convert "$work/differs" -o "$work/differs.moeq" --level bf16 --no-progress
same stored "$work/differs.moeq" $ids "$differs"
expect 0 "" export "$work/differs" -o "$work/differs.gguf" --no-progress
same stored "$work/differs.gguf" $ids ''
same tied_full "$work/differs.gguf" $ids 'output.weight is left out' --lm-head tied
# tied, as asked: remembered in what is made of it
same tied_full "$work/differs" $ids 'lm_head.weight is left out' --lm-head tied
cmp -s "$work/stored.logits" "$work/tied_full.logits" && fail "--lm-head tied changes nothing"
expect 0 "" convert "$work/differs" -o "$work/tied.moeq" --level bf16 --lm-head tied --no-progress
same tied_full "$work/tied.moeq" $ids 'lm_head.weight is left out'
expect 0 "" export "$work/differs" -o "$work/tied.gguf" --lm-head tied --no-progress
same tied_full "$work/tied.gguf" $ids ''
expect 1 "moeq: $work/tied.gguf: --lm-head stored, but no tensor 'output.weight' is stored" \
    inspect "$work/tied.gguf" --lm-head stored

# a recording of such a model is that of the original
mkdir "$work/demo"
cp $model/* "$work/demo"
sed 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' $model/config.json > "$work/demo/config.json"
grep -q '"tie_word_embeddings": true' "$work/demo/config.json" || fail "the demo's config is another"
cut=(--tokens 128 --context 64 --no-progress)
expect 0 "" record "$work/demo" --text demo/text.txt -o "$work/ref" "${cut[@]}"
grep -q 'lm_head.weight is stored' "$work/stdout" || fail "record: no note"
expect 0 "" verify $model --against "$work/ref" --json --no-progress
python3 - "$work/stdout" << 'END' || fail "the original differs from the recording"
import json, sys
assert [r["kld_nats"]["max"] for r in json.load(open(sys.argv[1]))["rows"][1:]] == [0]
END
expect 0 "" fit "$work/demo" --vram 1GiB --json
finish
