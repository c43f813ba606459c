#!/bin/bash
# What a user may decide about how a model is read: where it is asked for, what it changes, and that
# it is remembered in what is made of the model.
. "$(dirname "$0")/helper.sh"
swa=tests/fixtures/oracles/mistral_swa
ids=$swa/golden.safetensors

# llama 'SED SCRIPT': the checkpoint of mistral_swa (window 21) as a Llama, its config changed.
llama() {
    rm -rf "$work/llama"
    mkdir "$work/llama"
    cp $swa/model.safetensors "$work/llama"
    sed -e 's/mistral/llama/;s/Mistral/Llama/' -e "$1" $swa/config.json > "$work/llama/config.json"
}

dump() { # OUT MODEL OPTIONS...
    local out=$work/$1.safetensors
    shift
    expect 0 "" eval "$@" --ids $ids --dump "$out" --no-progress
}
same() { cmp -s "$work/$1.safetensors" "$work/$2.safetensors"; }
# says TEXT: on stdout, wherever the lines are broken (which depends on the length of the paths).
says() { tr -s '\n ' ' ' < "$work/stdout" | grep -q "$1" || fail "no '$1' in: $(cat "$work/stdout")"; }
silent() { ! grep -q "note" "$work/stdout" || fail "a note in: $(cat "$work/stdout")"; }

# Transformers' Llama has no window, vLLM's has
dump window $swa
silent
dump no_window $swa --sliding-window ignore
says 'window of 21 in config.json is not used, as was asked for'
same window no_window && fail "the window changes nothing"
llama ''
dump default "$work/llama"
says 'sliding_window of 21, which is not used'
same default no_window || fail "a Llama's window acts"
dump applied "$work/llama" --sliding-window apply
same applied window || fail "--sliding-window apply does not apply it"
usage inspect "--sliding-window 'on': expected apply|ignore" inspect "$work/llama" --sliding-window on

# what was decided is remembered
expect 0 "" convert "$work/llama" -o "$work/applied.moeq" --level bf16 --sliding-window apply --no-progress
says 'is used, as was asked for'
dump remembered "$work/applied.moeq"
says 'is used, as was asked for'
same remembered window || fail "the choice is not remembered"
expect 0 "" inspect "$work/applied.moeq" --json
says 'is used, as was asked for'
says 'moeq.options'
dump undone "$work/applied.moeq" --sliding-window ignore
! grep -q 'is used' "$work/stdout" || fail "the note of the other choice is still there"
same undone no_window || fail "the remembered choice cannot be changed"

# a GGUF file has the notes too, and what is made of it
printf '{"model": {"type": "BPE", "merges": [], "vocab": {"\\u0120": 0, "a": 1}}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}}' > "$work/llama/tokenizer.json"
"$moeq" export "$work/llama" -o "$work/noted.gguf" -q 2> /dev/null || fail "export"
"$moeq" export "$work/noted.gguf" -o "$work/again.gguf" -q 2> /dev/null || fail "export of an export"
for file in noted again; do
    expect 0 "" inspect "$work/$file.gguf"
    says 'sliding_window of 21, which is not used'
done

# keys that moeq does not know: all in one error, and ignored if told
llama 's/"use_cache"/"clip_qkv": 8, "alibi": true, "use_cache"/'
expect 1 "moeq: $work/llama/config.json: \"clip_qkv\": 8, \"alibi\": true: keys that moeq does not know: they may change the maths. Where they were written by a tool and the model does without, --ignore-config clip_qkv goes on (repeat it for each)" \
    inspect "$work/llama"
dump ignored "$work/llama" --ignore-config clip_qkv --ignore-config alibi
same ignored no_window || fail "--ignore-config changes logits"
says '"alibi", which moeq does not know, is ignored'
expect 0 "" convert "$work/llama" -o "$work/ignored.moeq" --level bf16 --ignore-config clip_qkv --ignore-config alibi --no-progress
expect 0 "" inspect "$work/ignored.moeq"
says '"clip_qkv", which moeq does not know, is ignored'

# a recording and a verification of it
sed "s/\"vocab_size\": 2048/&, \"clip_qkv\": 8/" $model/config.json > "$work/config.json"
mkdir "$work/model"
cp $model/* "$work/model"
cp "$work/config.json" "$work/model"
cut=(--tokens 128 --context 64 --no-progress)
expect 0 "" record "$work/model" --text demo/text.txt -o "$work/ref" "${cut[@]}" --ignore-config clip_qkv
says '"clip_qkv", which moeq does not know, is ignored'
expect 0 "" verify $model --against "$work/ref" --no-progress
says "note: $work/ref: config.json's \"clip_qkv\""
expect 0 "" verify $model --against "$work/model" --text demo/text.txt "${cut[@]}" --report "$work/r.html" \
    --ignore-config clip_qkv --json
says '"clip_qkv\\", which moeq does not know, is ignored'
grep -q 'clip_qkv.*is ignored, as was asked for' "$work/r.html" || fail "the report does not say it"

# a rotary embedding that is exact only so far
llama 's/"rope_theta"/"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_theta"/;s/32768/96/'
"$moeq" eval "$work/llama" --ids $ids --dump "$work/d.safetensors" --no-progress > "$work/stdout" ||
    fail "dynamic RoPE is refused within its positions"
says 'RoPE type dynamic'
llama 's/"rope_theta"/"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_theta"/;s/32768/64/'
"$moeq" eval "$work/llama" --ids $ids --dump "$work/d.safetensors" --no-progress 2> "$work/stderr" &&
    fail "windows longer than the positions are evaluated"
grep -q 'longer than the 64 positions' "$work/stderr" || fail "stderr: $(cat "$work/stderr")"
finish
