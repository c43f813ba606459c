#!/bin/bash
# Usage: folders.sh MOEQ SOURCE_DIR WORK_DIR
# Folders as the tools of the field leave them (tests/fixtures/folders, by tests/data/make_folders.py):
# each is inspected, converted, evaluated and exported without a word on stderr, and since all hold the
# same model, ids, logits and perplexity are the same for all, and so are those of what is made of them.
. "$(dirname "$0")/helper.sh"
folders=tests/fixtures/folders
expected_failures="" # names, while a kind of folder is not read yet
export HF_HOME=$source/$folders/hub-cache

# what NAME: what a user gives for this folder. The cache is asked by the repository's name.
what() {
    [ "$1" = hub-cache ] && echo example/tiny-mixtral || echo "$folders/$1"
}

# note NAME: what should be said of this folder, as a pattern. Only one has something that is left out.
note() {
    [ "$1" = deepspeed ] && echo '"2 tensors (32 bytes) are left out: rotary frequencies[^"]*"' || true
}

# same NAME MODEL [KIND]: the ids and logits of MODEL are those of the first of this kind.
same() {
    local name=$1 model=$2 first=$work/first.${3:-original}
    "$moeq" tokenize "$model" --text $folders/text.txt > "$work/stdout" 2> "$work/stderr" ||
        fail "$name: tokenize: $(cat "$work/stderr")" # else notes of the model
    head -n 1 "$work/stdout" | cmp -s - $folders/ids.txt || fail "$name: other token ids"
    expect 0 "" eval "$model" --ids $folders/ids.safetensors --dump "$work/logits" --threads 1
    [ -e "$first" ] || cp "$work/logits" "$first"
    cmp -s "$work/logits" "$first" || fail "$name: other logits"
}

# everything NAME: the commands that a new model meets.
everything() {
    local name=$1 model
    model=$(what "$name")
    expect 0 "" inspect "$model"
    [ ! -s "$work/stderr" ] || return # one reason is enough
    expect 0 "" inspect "$model" --json
    grep -q '"notes":.*\['"$(note "$name")"'\]' "$work/stdout" ||
        fail "$name: notes: $(grep -A 3 '"notes"' "$work/stdout")"
    same "$name" "$model"
    expect 0 "" eval "$model" --text $folders/text.txt --context 64 --threads 1
    grep perplexity "$work/stdout" > "$work/perplexity"
    [ -e "$work/first.perplexity" ] || cp "$work/perplexity" "$work/first.perplexity"
    cmp -s "$work/perplexity" "$work/first.perplexity" || fail "$name: $(cat "$work/perplexity")"
    expect 0 "" convert "$model" -o "$work/$name.moeq" --level q8_0 --threads 1
    expect 0 "" export "$work/$name.moeq" -o "$work/$name.q8_0.gguf" --threads 1
    [ ! -s "$work/stderr" ] || return
    same "$name.moeq" "$work/$name.moeq" quantized
    expect 0 "" export "$model" -o "$work/$name.gguf" --threads 1
    same "$name.gguf" "$work/$name.gguf"
    grep -aq tokenizer.chat_template "$work/$name.gguf" || fail "$name: the chat template is lost"
    expect 0 "" tokenize "$model" --string '<|im_start|>user<|im_end|>'
    grep -q '^1, 320, .*, 321$' "$work/stdout" || fail "$name: added tokens: $(head -n 1 "$work/stdout")"
}

for folder in "$folders"/*/; do
    name=$(basename "$folder")
    [ "$name" = weights ] && continue
    case " $expected_failures " in
    *" $name "*)
        (failures=0; everything "$name" 2> "$work/why"; [ $failures = 0 ]) &&
            fail "$name: passes; take it off expected_failures"
        ;;
    *) everything "$name" ;;
    esac
done
finish
