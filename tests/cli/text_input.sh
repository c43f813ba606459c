#!/bin/bash
# --text from files, pipes and standard input, one or several; what is no text is refused by its name.
. "$(dirname "$0")/helper.sh"

head -c 3000 demo/text.txt > "$work/a"
tail -c +3001 demo/text.txt | head -c 3001 > "$work/b"
cat "$work/a" "$work/b" > "$work/ab"

# same FILE: the last run printed what FILE holds
same() { cmp -s "$work/stdout" "$1" || fail "$2: differs: $(diff "$work/stdout" "$1" | head -n 4)"; }
expect 0 "" tokenize $model --text "$work/ab" -q
cp "$work/stdout" "$work/ids"
expect 0 "" tokenize $model --text "$work/a" --text "$work/b" -q
same "$work/ids" "two files"
expect 0 "" tokenize $model --text - -q < "$work/ab"
same "$work/ids" "standard input"
expect 0 "" tokenize $model --text /dev/stdin -q < <(cat "$work/ab")
same "$work/ids" "/dev/stdin, a pipe"
expect 0 "" tokenize $model --text <(cat "$work/a") --text - -q < "$work/b"
same "$work/ids" "a pipe and standard input"
mkfifo "$work/fifo"
cat "$work/ab" > "$work/fifo" &
expect 0 "" tokenize $model --text "$work/fifo" -q
same "$work/ids" "a FIFO"

window="--tokens 256 --context 128 --no-progress --json"
figures() { grep -v '"\(path\|text\|texts\|kind\)":' "$work/stdout"; }
expect 0 "" eval $model --text "$work/ab" $window
figures > "$work/one"
expect 0 "" eval $model --text "$work/a" --text - $window < "$work/b"
figures | cmp -s - "$work/one" || fail "eval of two texts differs from eval of one"
grep -q "\"text\":.*\"$work/a + standard input\"" "$work/stdout" && grep -q "\"texts\":.*\"$work/a\", \"standard input\"" "$work/stdout" ||
    fail "eval does not name both texts: $(grep text "$work/stdout")"
expect 0 "" record $model --text - -o "$work/r.moeqref" --tokens 256 --context 128 -q < "$work/ab"
expect 0 "" verify $model --against "$work/r.moeqref" --text "$work/a" --text "$work/b" --no-progress -q
expect 0 "" sweep $model --text - --levels q8_0 $window < "$work/ab"
grep -q '"standard input"' "$work/stdout" || fail "sweep does not name standard input"
expect 1 "moeq: $work/a: the output would replace an input; choose another name" \
    record $model --text "$work/b" --text "$work/a" -o "$work/a" --force -q
cmp -s <(head -c 3000 demo/text.txt) "$work/a" || fail "a text was written over"

# JSON lines: U+0000 is kept, blank lines are left out, the last line needs no end
printf '\357\273\277{"text": "a\\u0000b"}\r\n\r\n\n{"text": 1, "text": "c"}' > "$work/lines"
expect 0 "" tokenize $model --jsonl - < "$work/lines"
[ "$(wc -l < "$work/stdout")" = 2 ] || fail "--jsonl: not two lines: $(cat "$work/stdout")"
printf 'a\0b' > "$work/nul"
expect 0 "" tokenize $model --text "$work/nul" --json
ids=$(sed 's/.*"ids": \(\[[^]]*\]\).*/\1/' "$work/stdout")
expect 0 "" tokenize $model --jsonl "$work/lines"
grep -qF "\"ids\": $ids, \"decoded\": \"" "$work/stdout" || fail "--jsonl drops what follows U+0000"
grep -q 'a\\u0000b"' "$work/stdout" || fail "--jsonl does not escape U+0000: $(cat "$work/stdout")"
printf '{"text": "\\ud800"}' > "$work/surrogate"
expect 1 "moeq: $work/surrogate: JSON at byte 10: found half of a surrogate pair" tokenize $model --jsonl "$work/surrogate"

# --ids from a pipe and from standard input
ids=$work/ids.safetensors tiny=tests/fixtures/oracles/mixtral
header='{"input_ids":{"dtype":"I32","shape":[1,3],"data_offsets":[0,12]}}       '
printf '\110\0\0\0\0\0\0\0%s\1\0\0\0\5\0\0\0\7\0\0\0' "$header" > "$ids"
expect 0 "" eval $tiny --ids "$ids" --threads 1 --dump "$work/dump" --no-progress -q
expect 0 "" eval $tiny --ids <(cat "$ids") --threads 1 --dump "$work/piped" --no-progress -q
cmp -s "$work/dump" "$work/piped" || fail "--ids of a pipe: another dump"
expect 0 "" eval $tiny --ids - --threads 1 --dump "$work/piped" --no-progress -q < "$ids"
cmp -s "$work/dump" "$work/piped" || fail "--ids - < FILE: another dump"
expect 1 "moeq: $ids: the output would replace an input; choose another name" \
    eval $tiny --ids - --threads 1 --dump "$ids" --no-progress -q < "$ids"
expect 1 "moeq: standard input: is empty (a download or copy that did not begin, or ran out of disk), no safetensors file: fetch it again (hf download OWNER/NAME FILE, which checks what came)" \
    eval $tiny --ids - --threads 1 --dump "$work/piped" --no-progress -q < /dev/null
expect 1 "moeq: $work: expected a file, found a folder" eval $tiny --ids "$work" --threads 1 --dump "$work/piped" -q
expect 1 "moeq: $work/none: cannot open: No such file or directory" \
    eval $tiny --ids "$work/none" --threads 1 --dump "$work/piped" -q

# what is no text
expect 1 "moeq: $work/none: cannot open: No such file or directory" tokenize $model --text "$work/none"
expect 1 "moeq: $work: expected a file, found a folder" tokenize $model --text "$work"
expect 1 "moeq: standard input: is given twice; it can be read once" tokenize $model --text - --text - < /dev/null
western=" (of Western text in one byte a letter iconv -f WINDOWS-1252 -t UTF-8 makes it)"
printf 'ab\377' > "$work/bad"
expect 1 "moeq: $work/bad: text at byte 2: invalid UTF-8$western" tokenize $model --text "$work/a" --text "$work/bad"
printf '\303' > "$work/first" && printf '\251' > "$work/second" # of one character
expect 0 "" tokenize $model --text "$work/first" --text "$work/second" -q
for encoding in '\377\376a\0' '\376\377\0a' 't\0e\0x\0t\0.\0'; do
    printf "$encoding" > "$work/wide"
    expect 1 "moeq: $work/wide: is UTF-16 text; expected UTF-8 (iconv -f UTF-16 -t UTF-8 makes it)" \
        tokenize $model --text "$work/wide"
done
for encoding in '\377\376\0\0a\0\0\0' '\0\0\376\377\0\0\0a' 'U\0\0\0T\0\0\0F\0\0\0-\0\0\0003\0\0\0002\0\0\0.\0\0\0.\0\0\0'; do
    printf "$encoding" > "$work/wide"
    expect 1 "moeq: $work/wide: is UTF-32 text; expected UTF-8 (iconv -f UTF-32 -t UTF-8 makes it)" \
        tokenize $model --text "$work/wide"
done
gzip < "$work/a" > "$work/a.gz"
reads="moeq reads Hugging Face folders (safetensors), moeq and GGUF files"
expect 1 "moeq: $work/a.gz: is a gzip archive, no text: unpack it, and give what is inside; $reads" \
    tokenize $model --text "$work/a.gz"
expect 1 "moeq: $ids: is a safetensors file, no text: for a Hugging Face model give its folder" \
    tokenize $model --text "$ids"
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n' > "$work/pointer"
what="is a Git LFS pointer, which stands for a file of 5 bytes"
pull="git lfs pull in its clone fetches the file itself, or hf download OWNER/NAME"
expect 1 "moeq: $work/pointer: $what, no text: $pull" eval $model --text "$work/pointer"
expect 1 "moeq: $work/pointer: $what, no model: $pull" verify $model --against "$work/pointer"
mv "$work/pointer" "$work/tokenizer.json"
expect 1 "moeq: $work/tokenizer.json: $what, no JSON file: $pull" \
    tokenize "$work/tokenizer.json" --string x
printf '<html><p>a text of its own</p></html>' > "$work/page" # pages and JSON are texts too
expect 0 "" tokenize $model --text "$work/page" -q
: > "$work/empty"
expect 1 "moeq: $work/empty: holds no text" eval $model --text "$work/empty"
# a byte order mark is text, as for other programs
printf '\357\273\277a' > "$work/mark"
expect 0 "" tokenize $model --text "$work/mark" --decode --json
grep -q "$(printf '\357\273\277a')" "$work/stdout" || fail "a byte order mark is dropped"
marked="$work/mark begins with a byte order mark (EF BB BF), which is tokenized as text, as by Transformers and llama.cpp: take it out if it is not meant"
grep -qF "\"notes\": [\"$marked\"]" "$work/stdout" || fail "tokenize --json: no note of the mark"
expect 0 "moeq: $model: note: $marked" tokenize $model --text "$work/a" --text "$work/mark" -q
{ cat "$work/mark"; cat demo/text.txt; } > "$work/mark2"
expect 0 "moeq: note: ${marked/mark begins/mark2 begins}" eval $model --text "$work/mark2" -q ${window% --json}
"$moeq" eval $model --text "$work/mark2" $window | grep -q 'byte order mark' ||
    fail "eval --json: no note of the mark"

# side files may begin with one; a name with U+0000 is no name
mkdir "$work/model"
cp $model/* "$work/model" && chmod u+w "$work/model"/*
for file in config.json tokenizer.json model.safetensors.index.json; do
    [ -e "$work/model/$file" ] && { printf '\357\273\277'; cat "$model/$file"; } > "$work/model/$file"
done
expect 0 "" tokenize "$work/model" --text "$work/ab" -q
same "$work/ids" "side files with a byte order mark"
expect 0 "" eval "$work/model" --text "$work/ab" $window
figures | cmp -s - "$work/one" || fail "eval with byte order marks in side files differs"
sed 's/"hidden_size"/"x\\u0000y": 1, "hidden_size"/' $model/config.json > "$work/model/config.json"
"$moeq" inspect "$work/model" > "$work/stdout" 2>&1 && fail "a key with U+0000 is accepted"
grep -q 'found the character U+0000 in a name$' "$work/stdout" || fail "U+0000: $(cat "$work/stdout")"

# weights that are no numbers: an error, unless they are copied and may be
mkdir "$work/nan" && cp $model/* "$work/nan" && chmod u+w "$work/nan"/*
python3 - "$work/nan/model-00001-of-00003.safetensors" <<'PY' || { fail "python3"; finish; }
import json, struct, sys
with open(sys.argv[1], "r+b") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    header = json.loads(f.read(size))
    name = next(n for n in header if n.endswith("block_sparse_moe.gate.weight"))
    f.seek(8 + size + header[name]["data_offsets"][0] + 2 * 5)
    f.write(b"\xc0\x7f")
PY
said="weight is NaN; --allow-nonfinite copies such weights as they are"
for command in "convert --level q4_k" "export"; do
    "$moeq" $command "$work/nan" -o "$work/nan.out" -q > "$work/stdout" 2>&1 && fail "$command copies NaN"
    grep -q "gate.weight' at byte .*row 0, column 5: $said\$" "$work/stdout" || fail "$command: $(cat "$work/stdout")"
    ls "$work"/nan.out* > "$work/stdout" 2>&1 && fail "$command leaves $(cat "$work/stdout")"
    "$moeq" $command "$work/nan" -o "$work/nan.out" --json --allow-nonfinite > "$work/stdout" 2>&1 ||
        fail "$command --allow-nonfinite"
    for line in '"copied although NaN or infinite: 1 weight in .*gate.weight.* at row 0, column 5"' '"nonfinite_weights":.1,'; do
        grep -q "$line" "$work/stdout" || fail "$command --allow-nonfinite: no $line: $(cat "$work/stdout")"
    done
    note="moeq: note: copied although NaN or infinite: 1 weight in '.*gate.weight' at row 0, column 5"
    "$moeq" $command "$work/nan" -o "$work/nan.out" --force -q --allow-nonfinite > "$work/stdout" 2>&1 &&
        grep -q "$note" "$work/stdout" || fail "$command -q --allow-nonfinite: $(cat "$work/stdout")"
    [ "$command" = export ] || "$moeq" inspect "$work/nan.out" | grep -q "note: copied although NaN or infinite: 1 weight in" ||
        fail "inspect does not tell of NaN"
    rm "$work/nan.out"
done
finish
