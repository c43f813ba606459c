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
usage generate "expected one of --prompt TEXT, --prompt-file FILE, --chat TEXT and --chat-file FILE" generate $model
usage generate "expected one of --prompt TEXT, --prompt-file FILE, --chat TEXT and --chat-file FILE" generate $model --prompt a --chat b
usage generate "--system goes with --chat" generate $model --prompt a --system b
usage generate "--count '0': expected a whole number above 0" generate $model --prompt a -n 0
usage generate "--temperature 'hot': expected a number from 0 to 100" generate $model --prompt a --temperature hot
usage generate "--temperature 'nan': expected a number from 0 to 100" generate $model --prompt a --temperature nan
usage generate "--top-p '2': expected a number from 0 to 1" generate $model --prompt a --temperature 1 --top-p 2
usage generate "--seed '-1': expected a whole number below 2^64" generate $model --prompt a --temperature 1 --seed=-1
usage generate "--top-k, --top-p and --seed go with --temperature T above 0: without it the most likely token is taken each time" \
    generate $model --prompt a --seed 1
expect 1 "moeq: $model: has no chat template: it may be no model for chats; give --prompt instead of --chat" \
    generate $model --chat Hi
expect 1 "moeq: $model: the prompt has 4 tokens, which leaves no room in --context: shorten the prompt, or ask for a longer context" \
    generate $model --prompt 'The tide' --context 4
expect 1 "moeq: $model: --context 40000 is beyond the model's 32768 positions (max_position_embeddings)" \
    generate $model --prompt 'The tide' --context 40000
"$moeq" generate $model --prompt 'The tide' -n 40000 --memory 32M --threads 1 2> "$work/stderr" && fail "little memory"
grep -Eq '^moeq: demo/model: 32768 tokens take 96 MiB for what is kept of them .* and [0-9]+ MiB for buffers, more than the 32 MiB of --memory: ask for fewer tokens \(-n, --context\) or allow more memory$' \
    "$work/stderr" || fail "little memory: $(cat "$work/stderr")"
head -c 200000 demo/text.txt > "$work/long"
while [ "$(stat -c %s "$work/long")" -lt 400000 ]; do cat demo/text.txt >> "$work/long"; done
"$moeq" generate $model --prompt-file "$work/long" 2> "$work/stderr" > "$work/stdout" && fail "a prompt of any length"
grep -q "leaves no room in the model's positions (max_position_embeddings)" "$work/stderr" || fail "long: $(cat "$work/stderr")"
printf 'a\377b' > "$work/bytes"
expect 1 "moeq: $work/bytes: is not UTF-8 at byte 1" generate $model --prompt-file "$work/bytes"
for option in --prompt "--chat hello --system"; do
    usage generate "--${option##*--} is not UTF-8 at byte 1" generate $model $option "$(printf 'a\377b')"
done
usage generate "--chat is not UTF-8 at byte 0" generate $model --chat "$(printf '\377b')"
"$moeq" generate --help | grep -q -- '--against BASE ' || fail "--against of generate takes no recording"

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
# a chat of several turns: as a list, in an object, a line each; what Jinja makes of it
printf '%s\n' '{"role": "system", "content": "Be brief."}' '{"role": "user", "content": "Hi"}' '' \
    '{"role": "assistant", "content": "Hello."}' '{"role": "user", "content": "Why?"}' > "$work/lines.jsonl"
python3 - "$work" <<'END'
import json, sys
w = sys.argv[1]
messages = [json.loads(line) for line in open(f"{w}/lines.jsonl") if line.strip()]
json.dump(messages, open(f"{w}/list.json", "w"), indent=1)
json.dump({"messages": messages}, open(f"{w}/object.json", "w"))
text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
open(f"{w}/talk.txt", "w").write(text + "<|im_start|>assistant\n.")
END
"$moeq" tokenize "$work/chat" --no-bos --json --text "$work/talk.txt" > "$work/ids"
for file in lines.jsonl list.json object.json; do
    "$moeq" generate "$work/chat" --chat-file "$work/$file" -n 3 --json > "$work/stdout" || fail "$file"
    python3 - "$work" <<'END' || fail "$file: ids"
import json, sys
a, b = (json.load(open(f"{sys.argv[1]}/{n}")) for n in ("stdout", "ids"))
sys.exit(a["prompt_ids"] != b["ids"][:len(a["prompt_ids"])] or len(b["ids"]) - len(a["prompt_ids"]) > 2)
END
done
# chat 'CONTENT' 'MESSAGE': a file that is refused
chat() {
    printf '%s' "$1" > "$work/talk"
    expect 1 "moeq: $work/talk: $2" generate "$work/chat" --chat-file "$work/talk"
}
user='{"role": "user", "content": "a"}' answer='{"role": "assistant", "content": "b"}'
chat "[$user, $user]" 'message 2: "role": expected "assistant" behind a user'"'"'s message'
chat "[$answer]" 'message 1: "role": expected "user": user and assistant take turns, and the user begins'
chat "$user
$answer" "the last message is the assistant's: expected the user's, which is to be answered"
chat "$user
{\"role\": \"system\", \"content\": \"b\"}" 'line 2: "role": a system message comes first, and once'
chat '[{"role": "tool", "content": "b"}]' 'message 1: "role": "tool": expected system, user or assistant'
chat '[{"role": "user", "content": ["b"]}]' 'message 1: "content": expected a text, as in {"role": "user", "content": "Hi"}'
chat "$user
7" 'line 2: expected a message, as in {"role": "user", "content": "Hi"}'
chat '{"a": 1}' '"messages": expected a list of messages, as in {"role": "user", "content": "Hi"}'
chat '[]' "holds no user's message, which is to be answered"
printf '%s' "[$user, {\"role\": \"assistant\", \"content\": \"<think>x</think>b\"}, $user]" > "$work/talk"
expect 1 'moeq: answer 1 holds thoughts ("</think>"), which chat templates leave out of what was said before: leave them out of the message' \
    generate "$work/chat" --chat-file "$work/talk"
usage generate '--system goes with --chat: in --chat-file it is a message, {"role": "system", "content": TEXT}' \
    generate $model --chat-file "$work/list.json" --system a
echo '{{ messages[0].content }}' > "$work/chat/chat_template.jinja"
"$moeq" generate "$work/chat" --chat Hi 2> "$work/stderr" && fail "any template"
grep -q "is of none of the known forms (.*llama3.*): write the whole prompt yourself and give it by --prompt$" "$work/stderr" ||
    fail "unknown: $(cat "$work/stderr")"

# Ctrl-C: what there is, and 130
"$moeq" generate $model --prompt 'The tide' -n 30000 --ignore-eos > "$work/stdout" 2> "$work/stderr" &
for _ in $(seq 200); do
    [ "$(stat -c %s "$work/stdout")" -ge 12 ] && break
    sleep 0.1
done
kill -INT $! && wait $!
found=$?
[ $found = 130 ] || fail "interrupted: exit code $found"
grep -q 'ended by interrupted$' "$work/stderr" || fail "interrupted: $(cat "$work/stderr")"
[ "$(head -c 12 "$work/stdout")" = " of the site" ] || fail "interrupted: $(head -c 100 "$work/stdout")"

# samples of a sweep: in the document, on the page and in Markdown; refusals before anything is run
printf 'The tide\n\n{"prompt": "Once upon <a> time"}\n' > "$work/samples"
head -c 6000 demo/text.txt > "$work/text"
sweep() { "$moeq" sweep $model --text "$work/text" --levels q2_k --tokens 128 --context 128 --no-progress "$@"; }
sweep --samples "$work/samples" --json --report "$work/page.html" --report "$work/page.md" > "$work/sweep.json" || fail "samples"
python3 - "$work/sweep.json" <<'END' || fail "samples in the document"
import json, sys
d = json.load(open(sys.argv[1]))["samples"]
one = d["prompts"][0]
assert len(d["prompts"]) == 2 and one["prompt"] == "The tide" and len(one["baseline"]["ids"]) == d["tokens"] == 64
row = one["rows"][0]
at = row["parting"]["token"]
assert row["name"] == "q2_k" and row["ids"][:at] == one["baseline"]["ids"][:at]
assert row["parting"]["base"]["id"] == one["baseline"]["ids"][at] != row["ids"][at] == row["parting"]["other"]["id"]
assert row["parting"]["base"]["probability_in_base"] >= row["parting"]["other"]["probability_in_base"]
END
grep -q '<h2 id="samples">What they say</h2>' "$work/page.html" || fail "samples on the page"
grep -q '<b>Once upon &lt;a&gt; time</b>' "$work/page.html" || fail "a prompt on the page"
grep -q '^| Once upon &lt;a&gt; time … | goes on | parts at token |$' "$work/page.md" || fail "samples in Markdown"
# the level that is quantized on the fly says what its file says
"$moeq" generate "$work/q2.moeq" --prompt 'The tide' --json > "$work/file.json" || fail "the file of a level"
python3 - "$work/sweep.json" "$work/file.json" <<'END' || fail "on the fly and from a file"
import json, sys
a, b = (json.load(open(p)) for p in sys.argv[1:])
assert a["samples"]["prompts"][0]["rows"][0]["ids"] == b["continuation"]["ids"]
END
echo '{"question": 1}' > "$work/samples"
sweep --samples "$work/samples" 2> "$work/stderr" && fail "a sample without a prompt"
grep -q 'samples: line 1: expected {"prompt": TEXT} or {"chat": TEXT, "system": TEXT}$' "$work/stderr" || fail "samples: $(cat "$work/stderr")"
# each error names the line
while IFS='|' read -r line text says; do
    { for ((i = 1; i < line; i++)); do echo good; done; printf "$text\n"; } > "$work/samples"
    sweep --samples "$work/samples" 2> "$work/stderr" && fail "samples: $text"
    grep -q "samples: line $line$says" "$work/stderr" || fail "samples, line $line: $(cat "$work/stderr")"
done << 'END'
2|{"prompt": |: JSON at byte
3|{"prompt": "a"} b|: JSON at byte
2|{"prompt": "a\\u0000"}|.*U+0000
3|a\377b| is not UTF-8, at byte 11 of the file
2|{"chat": "a", "system": 1, "question": {}}|: 
END
: > "$work/samples"
sweep --samples "$work/samples" 2> "$work/stderr" && fail "no samples"
grep -q 'samples: holds no prompt$' "$work/stderr" || fail "samples: $(cat "$work/stderr")"
finish
