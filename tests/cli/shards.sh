#!/bin/bash
# Models in several files: every command takes the index, or the folder, and gives what it gives for
# one file.
. "$(dirname "$0")/helper.sh"

mkdir "$work/one" "$work/shards" "$work/moved"
one=$work/one/m.moeq index=$work/shards/m.moeq.index.json
head -c 6000 demo/text.txt > "$work/text"
expect 0 "" convert $model --level q4_k --shard-size 1M --dry-run -o "$work/shards/m.moeq"
[ "$(grep -c "^    $work/shards/m-0000[1-5]-of-00005.moeq [0-9]* KiB ([0-9]* bytes)$" "$work/stdout")" = 5 ] ||
    fail "the dry run does not name the files: $(cat "$work/stdout")"
grep -q "^    $index$" "$work/stdout" || fail "the dry run does not name the index"
[ -z "$(ls "$work/shards")" ] || fail "the dry run wrote something"
expect 0 "" convert $model --level q4_k -o "$one" -q
expect 0 "" convert $model --level q4_k --shard-size 1M -o "$work/shards/m.moeq" --no-progress
grep -q "^wrote $index and 5 files: 4.28 MiB in " "$work/stdout" || fail "$(tail -n 1 "$work/stdout")"
for file in "$work"/shards/*; do
    [ "$(stat -c %s "$file")" -le $((1 << 20)) ] || fail "$file is larger than asked for"
done
# What fits in one file is one, the same as without the option.
expect 0 "" convert $model --level q4_k --shard-size 1G -o "$work/moved/m.moeq" -q
cmp "$one" "$work/moved/m.moeq" || fail "a large size makes another file"
[ "$(ls "$work/moved")" = m.moeq ] || fail "one file has an index"
rm "$work/moved/m.moeq"
usage convert "--shard-size '0': expected a size such as 256M or 4G" convert $model --level q4_k --shard-size 0 -o x
expect 1 "moeq: $index: exists already; give --force to replace it" \
    convert $model --level q4_k --shard-size 1M -o "$work/shards/m.moeq" -q

# same ARGUMENTS...: MODEL in them is the file, the index, the folder; the output is the same but for
# names, times and sizes of files.
same() {
    local path
    for path in "$one" "$index" "$work/shards"; do
        expect 0 "" "${@//MODEL/$path}"
        sed -e "s|$path|MODEL|g" -e '/^  in [0-9]* files$/d' -e 's/, [0-9.]* MiB, every/, every/' \
            -e 's/[0-9]* tensors\( in 5 files\)\?,/tensors,/' -e 's/[0-9.]* s\b.*//' \
            -e '/^  \(m\|shards\)  *44[0-9]* .* 5.5440 /d' -e 's/^  \(m\|shards\)  */  NAME /' -e 's/\(m\|shards\)-q4_k\.gguf/FILE/g' \
            "$work/stdout" > "$work/now"
        [ "$path" = "$one" ] && cp "$work/now" "$work/first"
        cmp -s "$work/now" "$work/first" ||
            fail "moeq $*: for $path: $(diff "$work/first" "$work/now")"
    done
}
same inspect MODEL
same inspect MODEL --tensors
same tokenize MODEL --string 'Hello world' --decode
same eval MODEL --text "$work/text" --tokens 256 --context 128 --no-progress
same eval MODEL --text "$work/text" --tokens 256 --context 128 --no-progress --compute int8
same fit MODEL --vram 24G
same verify MODEL --against $model --text "$work/text" --tokens 256 --context 128 --no-progress
same convert MODEL --level q3_k --dry-run
same check MODEL
expect 0 "" export "$one" -o "$work/one/m.gguf" -q
expect 0 "" export "$index" -o "$work/moved/m.gguf" -q
cmp "$work/one/m.gguf" "$work/moved/m.gguf" || fail "export differs"
expect 0 "" record "$index" --text "$work/text" --tokens 256 --context 128 -o "$work/r.moeqref" -q
expect 0 "" verify "$one" --against "$work/r.moeqref" --no-progress
grep -q '100.00%' "$work/stdout" || fail "a model is not itself against its recording"
expect 1 "moeq: $index: the output would replace an input; choose another name" \
    record "$index" --text "$work/text" --tokens 256 --context 128 -o "$index" --force -q
(cd "$work/shards" && "$moeq" check m.moeq.index.json -q && "$moeq" check . -q) || fail "relative paths"

# A repository in the local Hugging Face cache.
snapshot=$work/hf/hub/models--me--small/snapshots/1
mkdir -p "$snapshot" "$work/hf/blobs"
for file in "$work"/shards/*; do
    cp "$file" "$work/hf/blobs"
    ln -s "$work/hf/blobs/$(basename "$file")" "$snapshot"
done
HF_HOME=$work/hf expect 0 "" inspect me/small

# What is missing or damaged is named.
cp "$work"/shards/* "$work/moved"
bad=$work/moved/m-00002-of-00005.moeq
printf x | dd of="$bad" bs=1 seek=500000 conv=notrunc 2> /dev/null
rm "$work/moved/m-00004-of-00005.moeq"
expect 1 "moeq: $bad: tensor 'model.layers.0.block_sparse_moe.experts.6.w3.weight' at byte 487424: layer 0, expert 6, expert_up: its 36864 bytes have CRC-32 3a96687e, expected efae256e
moeq: $work/moved/m-00004-of-00005.moeq: is missing: $work/moved/m.moeq.index.json lists it as shard 4 of 5" \
    check "$work/moved"
grep -q "^damaged: $bad: model.layers.0.block_sparse_moe.experts.6.w3.weight (layer 0, expert 6, expert_up), bytes 487424 to 524288$" \
    "$work/stdout" || fail "check: $(cat "$work/stdout")"
expect 1 "moeq: $work/moved/m-00004-of-00005.moeq: is missing: $work/moved/m.moeq.index.json lists it as shard 4 of 5" \
    eval "$work/moved" --text "$work/text"
expect 1 "moeq: $bad: is shard 2 of 5 of a model: give the model's index (*.index.json) instead" inspect "$bad"
expect 1 "moeq: $model/model.safetensors.index.json: is the index of no moeq model; for a Hugging Face model give its folder" \
    inspect $model/model.safetensors.index.json
finish
