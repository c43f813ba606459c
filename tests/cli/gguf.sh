#!/bin/bash
# GGUF files given where a model is expected: inspect, check, eval, convert, verify.
. "$(dirname "$0")/helper.sh"
fixtures=tests/fixtures/gguf
mixtral=$fixtures/mixtral-00001-of-00002.gguf
oracle=tests/fixtures/oracles/llama3_tied

# prints 'text' ARGUMENTS...: exit code 0, and a line of stdout that matches.
prints() {
    local text=$1
    shift
    expect 0 "" "$@"
    grep -qE "$text" "$work/stdout" || fail "moeq $*: no line '$text' in: $(cat "$work/stdout")"
}

prints '^tests/.*: GGUF file, mixtral$' inspect $mixtral
prints '^  in 2 files$' inspect $mixtral
prints '^  attention +q8_0 +8 ' inspect $mixtral
prints '^  general.name +mixtral$' inspect $mixtral
prints '"format":.*"gguf"' inspect $mixtral --json
prints ': the header is valid, and all 550208 weights are finite: 65 tensors, ' check $mixtral
prints '^GGUF files have no checksums' check $mixtral
prints '"has_checksums":.*false' check $mixtral --json

# a scale that is no number: found where it stands
cp $fixtures/types.gguf "$work/nan.gguf"
chmod u+w "$work/nan.gguf"
at=$("$moeq" inspect "$work/nan.gguf" --tensors --json | tr -d '\n\t' |
    sed 's/.*"model.layers.0.self_attn.v_proj.weight"[^}]*"offset":\([0-9]*\)}.*/\1/')
printf '\377\177' | dd of="$work/nan.gguf" bs=1 seek=$((at + 2 * 272 + 34)) conv=notrunc 2> /dev/null
expect 1 "moeq: $work/nan.gguf: tensor 'blk.0.attn_v.weight' at byte $((at + 2 * 272)): row 2, column 32: the weight is not finite" \
    check "$work/nan.gguf"

head -c 300000 $fixtures/llama3_tied.gguf > "$work/cut.gguf"
expect 1 "moeq: $work/cut.gguf: tensor 'blk.1.attn_k.weight' at byte 298752: needs 12288 bytes, but the file ends at byte 300000: 195360 bytes of the file are missing (truncated?)" \
    check "$work/cut.gguf"
expect 1 "moeq: $work/none.gguf: no such file or folder" inspect "$work/none.gguf"

# what becomes of it, and how it compares with the folder that it was made of
prints 'tensors are quantized already' convert $mixtral -o "$work/m.moeq" --level q4_k --no-progress
prints 'every checksum right' check "$work/m.moeq"
mkdir "$work/base"
cp $oracle/config.json $oracle/model.safetensors "$work/base"
{
    printf '{"model": {"type": "BPE", "merges": [], "vocab": {"\\u0120": 0'
    i=0
    for c in a b c d e f g h i j k l m n o p q r s t u v w x y z; do
        i=$((i + 1))
        printf ', "%s": %d' $c $i
    done
    printf '}}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}}'
} > "$work/base/tokenizer.json"
head -c 4000 demo/text.txt | tr 'A-Z\n' 'a-z ' | tr -dc 'a-z ' > "$work/text"
prints '^  llama3_tied .* 100.00% ' verify $fixtures/llama3_tied.gguf --against "$work/base" \
    --text "$work/text" --tokens 256 --context 64 --no-progress
unchecked='note: not checked: whether both cut the text into the same tokens, since there is no tokenizer to be read in the original or in tests/[^ ]*llama3_tied.gguf'
tr -s '\n ' '  ' < "$work/stdout" | grep -q " $unchecked" ||
    fail "nothing is said of the tokens that were not compared"
"$moeq" verify $fixtures/llama3_tied.gguf --against "$work/base" --text "$work/text" --tokens 256 \
    --context 64 -q > "$work/stdout" 2> "$work/stderr" || fail "verify -q"
grep -q "$unchecked" "$work/stderr" || fail "with -q nothing is said of the tokens"
"$moeq" verify $fixtures/llama3_tied.gguf --against "$work/base" --text "$work/text" --tokens 256 \
    --context 64 -q --json | tr -d '\n' | grep -q '"model_notes":[^]]*"not checked: whether' ||
    fail "with --json nothing is said of the tokens"
expect 1 "moeq: $fixtures/llama3_tied.gguf: has no tokenizer (no key 'tokenizer.ggml.model'), so a text cannot be tokenized; give token ids (--ids) instead" \
    eval $fixtures/llama3_tied.gguf --text "$work/text"

# a pre-tokenizer of no known name: what is said of it everywhere, and never that there is none
"$moeq" export "$work/base" -o "$work/named.gguf" -q || fail "export"
LC_ALL=C sed 's/gpt-2/gpt-x/' "$work/named.gguf" > "$work/unnamed.gguf"
unread="its tokenizer cannot be read: \"gpt-x\" in 'tokenizer.ggml.pre', which names how words are cut, is not known (known: llama-bpe, "
prints '^  vocabulary .* tokenizer included' inspect "$work/named.gguf"
prints '^  vocabulary .* tokenizer not readable' inspect "$work/unnamed.gguf"
prints '^  note: its tokenizer cannot be read: "gpt-x" in' inspect "$work/unnamed.gguf"
"$moeq" eval "$work/unnamed.gguf" --text "$work/text" > /dev/null 2> "$work/stderr" && fail "eval: no error"
grep -qF "moeq: $work/unnamed.gguf: $unread" "$work/stderr" || fail "eval: $(cat "$work/stderr")"
# another GGUF file has the same tokenizer, read or not
"$moeq" export "$work/unnamed.gguf" -o "$work/again.gguf" -q 2> "$work/stderr" || fail "export of an unread tokenizer"
grep -qF "moeq: note: $unread" "$work/stderr" || fail "export: $(cat "$work/stderr")"
LC_ALL=C grep -q 'gpt-x' "$work/again.gguf" || fail "the tokenizer is not carried"

# files of a split model, joined by cat
cat "$mixtral" "${mixtral/00001-of/00002-of}" > "$work/cat.gguf"
"$moeq" inspect "$work/cat.gguf" 2> "$work/stderr" > /dev/null && fail "cat.gguf: no error"
grep -q 'stand behind them (it is one of several files of a split model: were they joined by cat?' \
    "$work/stderr" || fail "cat.gguf: $(cat "$work/stderr")"

# A model's name is its folder's, directly and by way of a moeq file, whatever that is called.
ln -s "$(cd $model && pwd)" "$work/Some.Name-8x7B"
expect 0 "" export "$work/Some.Name-8x7B/" --level q4_k -o "$work/direct.gguf" -q
expect 0 "" convert "$work/Some.Name-8x7B" --level q4_k -o "$work/x.moeq" -q
expect 0 "" export "$work/x.moeq" -o "$work/by_way.gguf" -q
expect 0 "" convert "$work/x.moeq" --level q4_k -o "$work/again.moeq" --shard-size 1M -q
expect 0 "" export "$work/again.moeq.index.json" -o "$work/shards.gguf" -q
(cd "$work/Some.Name-8x7B" && "$moeq" export . --level q4_k -o "$work/dot.gguf" -q) || fail "export ."
for file in direct by_way shards; do
    prints '^  general.name +Some.Name-8x7B$' inspect "$work/$file.gguf"
done
prints "^  general.name +$(basename "$(cd $model && pwd -P)")$" inspect "$work/dot.gguf"

# A level of a file that is quantized already is not to be had from it.
prints 'Make it from the original model|model: this one is quantized already' \
    fit "$work/direct.gguf" --levels q2_k --vram 24GiB
"$moeq" fit "$work/direct.gguf" --vram 24GiB | grep -q 'quantized already' && fail "fit as stored"
finish
