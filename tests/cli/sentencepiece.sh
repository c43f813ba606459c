#!/bin/bash
# A folder with a tokenizer.model and no tokenizer.json: every command that needs a tokenizer.
. "$(dirname "$0")/helper.sh"
folder=$work/folder data=tests/tokenizer/data/sentencepiece
mkdir "$folder"
for file in $model/*; do
    [ "$(basename "$file")" = tokenizer.json ] || ln -s "$source/$file" "$folder"
done
head -c 1500 demo/text.txt > "$work/text"

# prints 'text' ARGUMENTS...: exit code 0, and a line of stdout that matches.
prints() {
    local text=$1
    shift
    expect 0 "" "$@"
    grep -qE "$text" "$work/stdout" || fail "moeq $*: no line '$text' in: $(cat "$work/stdout")"
}

cp $data/bpe_bytes.model "$folder/tokenizer.model"
prints ', tokenizer included, of tokenizer.model$' inspect "$folder"
prints '"tokenizer_source":.*"tokenizer.model"' inspect "$folder" --json
prints '^1, 332, 260, 259, 441, 298, 363, 436, 352, 301, 437$' tokenize "$folder" --string 'The tide turns  twice'
cp "$work/stdout" "$work/ids"

# the same of everything that is made of it
prints '^perplexity|^  perplexity' eval "$folder" --text "$work/text" --context 64 --tokens 128 --no-progress
expect 0 "" convert "$folder" -o "$work/m.moeq" --level q8_0 -q
expect 0 "" export "$folder" -o "$work/a.gguf" -q
expect 0 "" export "$work/m.moeq" -o "$work/b.gguf" -q
for made in "$work/m.moeq" "$work/a.gguf" "$work/b.gguf" "$folder/tokenizer.model"; do
    expect 0 "" tokenize "$made" --string 'The tide turns  twice'
    cmp -s "$work/stdout" "$work/ids" || fail "$made: other ids: $(cat "$work/stdout")"
done
prints '^  m  ' verify "$work/m.moeq" --against "$folder" --text "$work/text" \
    --tokens 128 --context 64 --no-progress

# tokenizer.json comes first
cp $model/tokenizer.json "$folder"
prints ', tokenizer included$' inspect "$folder"
rm "$folder/tokenizer.json"

# a file of that name that is something else
printf 'IQ== 0\nIg== 1\n' > "$folder/tokenizer.model"
said="it has no tokenizer.json, and $folder/tokenizer.model: is a tiktoken vocabulary (lines of base64 and a rank, as Llama 3's original/tokenizer.model), which does not say how words are cut: get the model's tokenizer.json"
expect 1 "moeq: $folder: $said, so a text cannot be tokenized; give token ids (--ids) instead" \
    eval "$folder" --text "$work/text"
prints "^  note: the model is read without its tokenizer: it has no tokenizer.json, and" inspect "$folder"
expect 1 "moeq: $folder: $said" tokenize "$folder" --string x
mv "$folder/tokenizer.model" "$folder/spiece.model"
cp $data/unigram_rules.model "$folder/spiece.model"
prints ', tokenizer included, of spiece.model$' inspect "$folder"
prints '^[0-9, ]+$' tokenize "$folder" --string 'The tide turns  twice'

# nothing says whether BOS is put in front of a text
rm "$folder/tokenizer_config.json" # a link
prints 'says add_bos_token; Transformers 5 puts none' inspect "$folder" --json
printf '{"add_bos_token": true}' > "$folder/tokenizer_config.json"
"$moeq" inspect "$folder" --json | grep -q 'says add_bos_token' && fail "a note of what is said"
finish
