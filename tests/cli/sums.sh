#!/bin/bash
# Usage: sums.sh MOEQ SOURCE_DIR WORK_DIR
# SHA-256 sums of files: lists that are written and checked, by moeq and by sha256sum.
. "$(dirname "$0")/helper.sh"
m=$work/m list=$work/m/SHA256SUMS
cp -r $model "$m"
shard=$m/model-00002-of-00003.safetensors

# A list of ours is sha256sum's; and the other way round, in its other forms and from another folder.
says 0 "wrote $list: SHA-256 of" check "$m" --write-manifest "$list"
(cd "$m" && sha256sum -- *.* | LC_ALL=C sort -k 2) | cmp - "$list" || fail "not what sha256sum writes"
(cd "$m" && sha256sum --quiet -c SHA256SUMS) || fail "sha256sum -c"
says 0 'every SHA-256 as in' check "$m" --manifest "$list"
(cd "$work" && sha256sum -b m/*.* | sed 's/$/\r/' > binary && sha256sum --tag m/*.* > tagged)
says 0 'every SHA-256 as in' check "$m" --manifest "$work/binary"
says 0 'every SHA-256 as in' check "$m" --manifest "$work/tagged"
says 0 'every SHA-256 as in' check "$shard" --manifest "$work/binary"
says 0 '"sha256_expected"' check "$m" --manifest "$list" --json
says 0 "wrote $list" check "$m" --write-manifest "$list" # a list may be replaced
says 1 'exists and is no list of SHA-256 sums' check "$m" --write-manifest "$m/config.json"
cmp -s $model/config.json "$m/config.json" || fail "config.json was touched"
usage check "--manifest compares with a list, --write-manifest writes one: give one of them" \
    check "$m" --manifest a --write-manifest b

usage check "--write-manifest '-': name a file" check "$m" --write-manifest -
usage check "--manifest '': name a file" check "$m" --manifest ''
says 1 "/proc/self/list: is no place for a file" check "$m" --write-manifest /proc/self/list
says 1 "config.json: is a file of a model, and sums are of all its files" check "$m/config.json" --write-manifest "$work/other"
cp "$list" "$work/input"
usage convert "-o '$work/input' is an input of this run" \
    convert "$m" -o "$work/input" --level q4_k --sha256 "$work/input" --force
cmp -s "$list" "$work/input" || fail "the list was replaced"

# In the Hub's cache.
hub=$work/hub/models--owner--name
mkdir -p "$hub/refs" "$hub/snapshots"
echo -n c0ffee > "$hub/refs/main"
ln -s "$m" "$hub/snapshots/c0ffee"
HF_HUB_CACHE=$work/hub says 0 wrote check owner/name --write-manifest "$work/other"
says 0 'every SHA-256 as in' check "$hub" --manifest "$work/other"
HF_HUB_CACHE=$work/hub says 0 'all 6364928 weights are finite' check owner/name

# Weights that are not listed, what is not there, what was changed.
grep -v 00002 "$list" > "$work/fewer"
says 1 "has no line for 'model-00002-of-00003.safetensors'" check "$m" --manifest "$work/fewer"
grep -v README "$list" > "$work/fewer"
says 0 'README.md: not in the list,' check "$m" --manifest "$work/fewer"
sed 's/README/README2/' "$list" > "$work/other"
says 1 "line 1: 'README2.md' is not there" check "$m" --manifest "$work/other"
printf '%064d  ../m/config.json\n' 0 > "$work/out"
says 1 'line 1: the name leads out of the folder' check "$m" --manifest "$work/out"
expected=$(sha256sum "$shard" | cut -d ' ' -f 1)
printf x | dd of="$shard" bs=1 seek=5000 conv=notrunc 2> /dev/null
found=$(sha256sum "$shard" | cut -d ' ' -f 1)
says 1 "$shard: is not the file that the list of sums means: SHA-256 expected $expected, found $found" \
    check "$m" --manifest "$list"
says 1 "\"ok\":	false" check "$m" --manifest "$list" --json

# Of a model in several files: all of them, by whichever is named.
"$moeq" convert $model -o "$work/s.moeq" --level q4_k --shard-size 1M -q || fail "no shards"
says 0 wrote check "$work/s.moeq.index.json" --write-manifest "$work/s.sums"
(cd "$work" && sha256sum --quiet -c s.sums && [ "$(wc -l < s.sums)" = "$(ls s*.moeq* | wc -l)" ]) ||
    fail "shards: $(cat "$work/s.sums")"
"$moeq" export $model -o "$work/g.gguf" --level q8_0 --split-max-size 1M -q > /dev/null || fail "no splits"
says 0 wrote check "$(ls "$work"/g-00002*)" --write-manifest "$work/g.sums"
(cd "$work" && sha256sum --quiet -c g.sums && [ "$(wc -l < g.sums)" = "$(ls g-*.gguf | wc -l)" ]) ||
    fail "splits: $(cat "$work/g.sums")"

# Sources: converted and hashed in one pass, whatever order threads work in, and recorded.
(cd $model && sha256sum *.*) > "$work/source"
"$moeq" convert $model -o "$work/plain.moeq" --level q4_k -q || fail "convert"
for threads in 1 5; do
    says 0 "(11.2 KiB read for that alone)" convert $model -o "$work/c$threads.moeq" --level q4_k \
        --sha256 "$work/source" --threads $threads
done
cmp "$work/c1.moeq" "$work/c5.moeq" || fail "threads make a difference"
# sums_in FILE: what it says of its source, as a list.
sums_in() {
    "$moeq" inspect "$1" --json | python3 -c 'import json, sys
print(json.load(sys.stdin)["metadata"]["moeq.source.sha256"], end="")'
}
sums_in "$work/c1.moeq" > "$work/recorded"
(cd $model && sha256sum --quiet -c "$work/recorded") || fail "not recorded: $(cat "$work/recorded")"
[ "$(wc -l < "$work/recorded")" = 9 ] || fail "recorded: $(cat "$work/recorded")"
says 0 "    $(sed -n 1p "$work/recorded")" inspect "$work/c1.moeq"
python3 - "$work/plain.moeq" "$work/c1.moeq" << 'P' || fail "sums change weights"
import json, struct, sys
def tensors(path):
    data = open(path, 'rb').read()
    n = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + n])
    return {k: data[8 + n + t['data_offsets'][0]:8 + n + t['data_offsets'][1]]
            for k, t in header.items() if k not in ('__metadata__', 'moeq.crc32')}
a, b = map(tensors, sys.argv[1:])
assert a == b and len(a) > 90
P

# Another source: nothing is left, not even something to go on from; side files are found out at once.
says 1 "$shard: is not the file that the list of sums means: SHA-256 expected $expected, found $found" \
    convert "$m" -o "$work/bad.moeq" --level q4_k --sha256 "$work/source"
says 1 "$shard: is not the file" export "$m" -o "$work/bad.gguf" --sha256 "$work/source"
cp "$source/$model/model-00002-of-00003.safetensors" "$m"
echo >> "$m/tokenizer_config.json"
says 1 "tokenizer_config.json: is not the file" convert "$m" -o "$work/bad.moeq" --level q4_k --sha256 "$work/source"
ls "$work"/bad* 2> /dev/null && fail "something is left"
grep -v tokenizer_config "$work/source" > "$work/fewer"
"$moeq" convert "$m" -o "$work/noted.moeq" --level q4_k --sha256 "$work/fewer" > "$work/stdout" || fail "an unlisted side file"
tr -s ' \n' ' ' < "$work/stdout" | grep -q 'tokenizer_config.json is not in the list of SHA-256 sums: it was not verified' ||
    fail "no note: $(cat "$work/stdout")"
grep -v model-00003 "$work/source" > "$work/fewer"
says 1 "has no line for 'model-00003-of-00003.safetensors', which would go unverified" \
    convert $model -o "$work/bad.moeq" --level q4_k --sha256 "$work/fewer"

# A run that is killed goes on, and hashes all.
for after in 0.01 0.03; do
    timeout -s KILL $after "$moeq" convert $model -o "$work/k.moeq" --level q4_k --sha256 "$work/source" -q --threads 1
done > /dev/null 2>&1
[ -e "$work/k.moeq" ] || says 0 "every SHA-256 of the source's 9 files" \
    convert $model -o "$work/k.moeq" --level q4_k --sha256 "$work/source"
cmp "$work/k.moeq" "$work/c1.moeq" || fail "killed and resumed"

# GGUF: its matrices do not stand as they are read, and are read twice.
"$moeq" export $model -o "$work/o.gguf" -q > /dev/null && (cd "$work" && sha256sum o.gguf s*.moeq* > o.sums)
says 0 "the source's 1 file is as in" convert "$work/o.gguf" -o "$work/o.moeq" --level q4_k --sha256 "$work/o.sums"
says 0 "the source's $(ls "$work"/s*.moeq* | wc -l) files is as in" export "$work/s.moeq.index.json" -o "$work/s.gguf" --sha256 "$work/o.sums"
sums_in "$work/s.gguf" > "$work/recorded"
(cd "$work" && sha256sum --quiet -c recorded) || fail "not in the GGUF file"

# What is made of a file that has them says the same of the first source, however often; a list says more.
"$moeq" export "$work/c1.moeq" -o "$work/e.gguf" -q > /dev/null || fail "export"
"$moeq" convert "$work/e.gguf" -o "$work/e.moeq" --level q8_0 -q || fail "convert back"
"$moeq" convert "$work/e.moeq" -o "$work/t.moeq" --level q2_k --shard-size 1M -q || fail "shards of it"
for made in e.gguf e.moeq t.moeq.index.json; do
    sums_in "$work/$made" > "$work/carried"
    (cd $model && sha256sum --quiet -c "$work/carried") || fail "$made: not carried on: $(cat "$work/carried")"
done
says 0 "every byte the same" check "$work/e.gguf" --against "$work/c1.moeq"
"$moeq" check "$work/e.gguf" --against "$work/c1.moeq" | grep "sums of other files" && fail "sums carried on are no others"
cp "$work/o.gguf" "$work/p.gguf"
says 0 "it has SHA-256 sums of other files than these, which are not compared" check "$work/o.moeq" --against "$work/p.gguf"
(cd "$work" && sha256sum e.gguf > e.sums)
"$moeq" convert "$work/e.gguf" -o "$work/f.moeq" --level q8_0 -q --sha256 "$work/e.sums" || fail "a list of a GGUF file"
sums_in "$work/f.moeq" | cmp - "$work/e.sums" || fail "the list's sums are not those"
finish
