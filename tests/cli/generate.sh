#!/bin/bash
# generate: text as it comes, refusals, ends, chance, two models, Ctrl-C, and what terminals are spared.
. "$(dirname "$0")/helper.sh"

says=' of the site of the site of the site of the body.'
# out 'text' ARGUMENTS...: stdout of a good run that is quiet
out() {
    local text=$1
    shift
    expect 0 "" generate "$@" -q
    [ "$(cat "$work/stdout")" = "$text" ] || fail "generate $*: $(cat "$work/stdout")"
}
out "$says" $model --prompt 'The tide' -n 17
out "The tide$says" $model --prompt 'The tide' -n 17 --echo
out "$says" $model --prompt 'The tide' -n 17 --threads 2
printf 'The tide' > "$work/prompt"
out "$says" $model --prompt-file "$work/prompt" -n 17
out "$says" $model --prompt-file - -n 17 < "$work/prompt"
"$moeq" generate $model --prompt 'The tide' -n 17 2> "$work/stderr" > /dev/null
grep -Eq '^moeq: prompt 4 tokens, .* tokens/s; continuation 17 tokens, .* tokens/s; ended by length$' "$work/stderr" ||
    fail "numbers: $(cat "$work/stderr")"
grep -q '^moeq: memory: ' "$work/stderr" || fail "memory: $(cat "$work/stderr")"

# chance: one seed, one text, whatever the threads; another seed, another text
chance="--prompt 'The tide' -n 30 --temperature 0.8 --top-k 50 --top-p 0.95 -q"
for how in "--seed 7 --threads 1" "--seed 7 --threads 2" "--seed 8"; do
    eval "'$moeq' generate $model $chance $how" > "$work/chance.${how//[^0-9]/}"
done
cmp -s "$work/chance.71" "$work/chance.72" || fail "chance hangs on threads"
cmp -s "$work/chance.71" "$work/chance.8" && fail "chance does not hang on the seed"

# other files and arithmetic; two models
"$moeq" convert $model -o "$work/q8.moeq" --level q8_0 -q > /dev/null || fail convert
"$moeq" convert $model -o "$work/q2.moeq" --level q2_k -q > /dev/null || fail convert
"$moeq" export "$work/q8.moeq" -o "$work/q8.gguf" -q > /dev/null || fail export
"$moeq" generate "$work/q8.moeq" --prompt 'The tide' -n 12 -q > "$work/moeq.txt" || fail moeq
"$moeq" generate "$work/q8.gguf" --prompt 'The tide' -n 12 -q > "$work/gguf.txt" || fail gguf
cmp -s "$work/moeq.txt" "$work/gguf.txt" || fail "a GGUF file says something else: $(cat "$work"/*.txt)"
"$moeq" generate "$work/q8.moeq" --prompt 'The tide' -n 12 -q --compute int8 > /dev/null || fail int8
expect 0 "" generate "$work/q2.moeq" --against $model --prompt 'The tide' -n 30 -q
grep -Eq '^they part at token [0-9]+ of 30:$' "$work/stdout" || fail "against: $(cat "$work/stdout")"
grep -Eq "^  base  '.*' \(id [0-9]+\): probability 0\.[0-9]{4}, in model 0\.[0-9]{4}$" "$work/stdout" ||
    fail "against: $(cat "$work/stdout")"
expect 0 "" generate $model --against $model --prompt 'The tide' -n 5 -q
grep -q '^both say the same, as far as both go: 5 tokens$' "$work/stdout" || fail "against itself"

# refusals
usage generate "expected one of --prompt TEXT, --prompt-file FILE and --chat TEXT" generate $model
usage generate "expected one of --prompt TEXT, --prompt-file FILE and --chat TEXT" generate $model --prompt a --chat b
usage generate "--system goes with --chat" generate $model --prompt a --system b
usage generate "--count '0': expected a whole number above 0" generate $model --prompt a -n 0
usage generate "--temperature 'hot': expected a number from 0 to 100" generate $model --prompt a --temperature hot
usage generate "--temperature 'nan': expected a number from 0 to 100" generate $model --prompt a --temperature nan
usage generate "--top-p '2': expected a number from 0 to 1" generate $model --prompt a --temperature 1 --top-p 2
usage generate "--seed '-1': expected a whole number" generate $model --prompt a --temperature 1 --seed=-1
usage generate "--top-k, --top-p and --seed go with --temperature T above 0: without it the most likely token is taken each time" \
    generate $model --prompt a --seed 1
expect 1 "moeq: $model: has no chat template: it may be no model for chats; give --prompt instead of --chat" \
    generate $model --chat Hi
expect 1 "moeq: $model: the prompt has 4 tokens, which leaves no room in --context: shorten the prompt, or ask for a longer context" \
    generate $model --prompt 'The tide' --context 4
expect 1 "moeq: $model: --context 40000 is beyond the model's 32768 positions (max_position_embeddings)" \
    generate $model --prompt 'The tide' --context 40000
expect 1 "moeq: $model: 32768 tokens take 96 MiB for what is kept of them (keys, values, states) and 31 MiB for buffers, more than the 32 MiB of --memory: ask for fewer tokens (-n, --context) or allow more memory" \
    generate $model --prompt 'The tide' -n 40000 --memory 32M --threads 1
head -c 200000 demo/text.txt > "$work/long"
while [ "$(stat -c %s "$work/long")" -lt 400000 ]; do cat demo/text.txt >> "$work/long"; done
"$moeq" generate $model --prompt-file "$work/long" 2> "$work/stderr" > "$work/stdout" && fail "a prompt of any length"
grep -q "leaves no room in the model's positions (max_position_embeddings)" "$work/stderr" || fail "long: $(cat "$work/stderr")"
printf 'a\377b' > "$work/bytes"
expect 1 "moeq: $work/bytes: is not UTF-8 at byte 1" generate $model --prompt-file "$work/bytes"
expect 1 "moeq: text is not UTF-8 at byte 1" generate $model --prompt "$(printf 'a\377b')"

# a chat: BOS once, and another end
mkdir "$work/chat"
ln -s "$source/$model"/* "$work/chat"
python='{% for m in messages %}<|im_start|>{{m.role}}
{{m.content}}<|im_end|>
{% endfor %}<|im_start|>assistant
'
printf '%s' "$python" > "$work/chat/chat_template.jinja"
"$moeq" generate "$work/chat" --chat 'Hi' --system 'Be brief.' -n 3 --json > "$work/stdout" || fail chat
"$moeq" tokenize "$work/chat" --no-bos --json --string "$(printf '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n.')" \
    > "$work/ids"
python3 - "$work" <<'END' || fail "a chat's ids"
import json, sys
a, b = (json.load(open(f"{sys.argv[1]}/{n}")) for n in ("stdout", "ids"))
sys.exit(a["prompt_ids"] != b["ids"][:len(a["prompt_ids"])] or len(b["ids"]) - len(a["prompt_ids"]) > 2)
END
echo '{{ messages[0].content }}' > "$work/chat/chat_template.jinja"
"$moeq" generate "$work/chat" --chat Hi 2> "$work/stderr" && fail "any template"
grep -q "is of none of the known forms (.*llama3.*): write the whole prompt yourself and give it by --prompt$" "$work/stderr" ||
    fail "unknown: $(cat "$work/stderr")"

# Ctrl-C: what there is, and 130
timeout -s INT 2 "$moeq" generate $model --prompt 'The tide' -n 30000 --ignore-eos > "$work/stdout" 2> "$work/stderr"
found=$?
[ $found = 124 ] || fail "timeout: $found"
"$moeq" generate $model --prompt 'The tide' -n 30000 --ignore-eos > "$work/stdout" 2> "$work/stderr" &
sleep 1
kill -INT $! && wait $!
found=$?
[ $found = 130 ] || fail "interrupted: exit code $found"
grep -q 'ended by interrupted$' "$work/stderr" || fail "interrupted: $(cat "$work/stderr")"
[ "$(head -c 12 "$work/stdout")" = " of the site" ] || fail "interrupted: $(head -c 100 "$work/stdout")"
finish
