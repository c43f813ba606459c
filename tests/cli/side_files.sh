#!/bin/bash
# Folders whose tokens and chat templates stand in several files: what every command makes of them.
. "$(dirname "$0")/helper.sh"
oracle=tests/fixtures/oracles/llama3_tied # 256 tokens
folder=$work/model

# A tokenizer of lower-case words: ids 0 to 26, and as many pieces "x1", ... as make $1 in all.
write_tokenizer() {
    printf '{"added_tokens": [], "model": {"type": "BPE", "merges": [], "vocab": {"\\u0120": 0'
    local i=0 c
    for c in a b c d e f g h i j k l m n o p q r s t u v w x y z; do
        i=$((i + 1))
        printf ', "%s": %d' $c $i
    done
    for ((i = 27; i < $1; i++)); do printf ', "x%d": %d' $i $i; done
    printf '}}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}'
    printf ', "decoder": {"type": "ByteLevel"}}'
}

fresh() {
    rm -rf "$folder"
    mkdir -p "$folder"
    cp $oracle/config.json $oracle/model.safetensors "$folder"
    write_tokenizer "$1" > "$folder/tokenizer.json"
}

# prints 'text' ARGUMENTS...: exit code 0, and stdout has the text.
prints() {
    local text=$1
    shift
    "$moeq" "$@" > "$work/stdout" 2> "$work/stderr" || fail "moeq $*: $(cat "$work/stderr")"
    grep -qF -- "$text" "$work/stdout" || fail "moeq $*: no '$text' in: $(cat "$work/stdout")"
}

# exports_alike: by way of a moeq file, and directly.
exports_alike() {
    "$moeq" convert "$folder" -o "$work/model.moeq" --level f32 --force -q 2> "$work/stderr" ||
        fail "convert: $(cat "$work/stderr")"
    "$moeq" export "$work/model.moeq" -o "$work/a.gguf" --force -q 2> "$work/stderr" ||
        fail "export of the moeq file: $(cat "$work/stderr")"
    "$moeq" export "$folder" -o "$work/b.gguf" --level f32 --force -q 2> "$work/stderr" ||
        fail "export of the folder: $(cat "$work/stderr")"
    cmp "$work/a.gguf" "$work/b.gguf" || fail "$1: the moeq file's GGUF file is another"
}

head -c 4000 demo/text.txt | tr 'A-Z\n' 'a-z ' | tr -dc 'a-z ' > "$work/text"

# Tokens of added_tokens.json, special by special_tokens_map.json.
fresh 254
printf '{"<|im_start|>": 254, "<|im_end|>": 255}' > "$folder/added_tokens.json"
printf '{"eos_token": "<|im_end|>"}' > "$folder/special_tokens_map.json"
prints '254, 21, 19' tokenize "$folder" --string '<|im_start|>us'
prints '"<|im_start|>" = 254' inspect "$folder"
prints '\"<|im_start|>\" = 254' inspect "$folder" --json
exports_alike "added_tokens.json"
prints '254, 21, 19' tokenize "$work/model.moeq" --string '<|im_start|>us'
grep -qF '<|im_end|>' "$work/a.gguf" || fail "<|im_end|> is not in the GGUF file"

# The evaluation sees it, too: a text with the token.
{ cat "$work/text"; printf '<|im_end|>'; } > "$work/text2"
prints 'perplexity' eval "$folder" --text "$work/text2" --context 64 --tokens 256 --no-progress

# A token behind the model's last row: left out of GGUF files, an error in a text.
fresh 256
printf '{"pad_token": "<pad>", "model_max_length": 1000000000000000019884624838656}' \
    > "$folder/tokenizer_config.json"
exports_alike "a pad token"
# (the notes name it)
sed 's/"<pad>"//g;s/\\"<pad>\\"//g' "$work/a.gguf" | grep -qaF '<pad>' && fail "<pad> is a token of the GGUF file"
prints "1 added token" export "$folder" -o "$work/b.gguf" --force --no-progress
prints 'perplexity' eval "$folder" --text "$work/text" --context 64 --tokens 256 --no-progress
printf '<pad>' | cat - "$work/text" > "$work/text2"
expect 1 "moeq: $work/text2: token 0 is '<pad>', whose id 256 is beyond $folder's vocabulary of 256: the model has no such token, take it out of the text" \
    eval "$folder" --text "$work/text2" --context 64 -q

# Chat templates: a file, a folder of named ones, a list.
fresh 256
mkdir "$folder/additional_chat_templates"
printf 'the default' > "$folder/chat_template.jinja"
printf 'for tools' > "$folder/additional_chat_templates/tool_use.jinja"
printf '{"chat_template": [{"name": "rag", "template": "not this"}]}' > "$folder/tokenizer_config.json"
exports_alike "chat templates in files"
for text in tokenizer.chat_template.tool_use tokenizer.chat_templates 'the default' 'for tools'; do
    grep -qF "$text" "$work/a.gguf" || fail "'$text' is not in the GGUF file"
done
grep -qF 'not this' "$work/a.gguf" && fail "a template that does not count is in the GGUF file"
prints 'which differ' inspect "$folder"
prints 'every checksum right' check "$work/model.moeq"
rm -r "$folder/additional_chat_templates" "$folder/chat_template.jinja"
exports_alike "a list of chat templates"
grep -qF 'not this' "$work/a.gguf" || fail "the list's template is not in the GGUF file"

# A side file that is wrong: named; what needs no tokens goes on.
printf '{"<a>": "x"}' > "$folder/added_tokens.json"
problem="added_tokens.json: token '<a>' has no id that is a whole number"
expect 1 "moeq: $folder: $problem" tokenize "$folder" --string x
expect 1 "moeq: $folder: $problem, so a text cannot be tokenized; give token ids (--ids) instead" \
    eval "$folder" --text "$work/text" -q
prints 'read without its tokenizer' inspect "$folder"

# A tokenizer.json that is cut: a moeq file has none, and still says why.
rm "$folder/added_tokens.json"
write_tokenizer 256 | head -c 2000 > "$folder/tokenizer.json"
problem="tokenizer.json: JSON at byte 1995: found a string without an end"
prints "without its tokenizer" convert "$folder" -o "$work/model.moeq" --level f32 --force --no-progress
prints 'tokenizer not readable' inspect "$work/model.moeq"
for model in "$folder" "$work/model.moeq"; do
    expect 1 "moeq: $model: $problem; llama.cpp loads no model without a tokenizer" \
        export "$model" -o "$work/a.gguf" --force -q
    expect 1 "moeq: $model: $problem" tokenize "$model" --string x
done

# One of a kind that is not read here is kept.
printf '{"model": {"type": "WordPiece", "vocab": {"a": 0}}}' > "$folder/tokenizer.json"
prints 'no text can be tokenized' convert "$folder" -o "$work/model.moeq" --level f32 --force \
    --no-progress
prints 'tokenizer included' inspect "$work/model.moeq"
expect 1 "moeq: $work/model.moeq: model 'WordPiece' is not supported" \
    tokenize "$work/model.moeq" --string x
finish
