#!/bin/bash
# The largest level or recipe that a card or so many bytes hold, without a text; and outputs whose names say the format.
. "$(dirname "$0")/helper.sh"
optimized_judges "the choices"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }

# For a card: of all that fit says fits, the one of most bytes; the next does not fit.
levels=bf16,q8_0,q6_k,q5_k,q4_k,q3_k,q2_k,mix2,mix3,mix4,mix5,q4_k_m
for name in q3_k mix4 q6_k; do
    card=$("$moeq" fit $model --vram 8GiB --context 512 --json --levels $name |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["rows"][0]["needed_bytes"])')
    "$moeq" fit $model --vram "$card" --context 512 --json --levels $levels > "$work/fit.json" || fail "fit"
    "$moeq" convert $model --vram "$card" --context 512 --dry-run --json --levels ${levels/bf16/BF16} \
        > "$work/plan.json" || fail "choice"
    python3 - "$work/fit.json" "$work/plan.json" << 'END' || fail "a card for $name"
import json, sys
fit, plan = (json.load(open(path)) for path in sys.argv[1:])
rows = {r["name"]: r for r in fit["rows"]}
fits = [r for r in fit["rows"] if r["verdict"] == "fits"]
choice = plan["choice"]
assert fits and len(fits) < len(rows), [r["verdict"] for r in fit["rows"]]
assert rows[choice["name"]]["verdict"] == "fits", choice
assert rows[choice["name"]]["weight_bytes"] == max(r["weight_bytes"] for r in fits), choice
assert choice["needed_bytes"] == rows[choice["name"]]["needed_bytes"], choice
assert rows[choice["next"]["name"]]["verdict"] != "fits" and choice["by"] == "card", choice
assert plan["plan"]["bytes"] == choice["weight_bytes"] and choice["tried"] == len(rows), choice
END
done

# For a file: the same bytes as when the level is given by name.
for format in moeq gguf; do
    expect 0 "" convert $model -o "$work/size.$format" --size 5M --no-progress
    tr -s '\n ' ' ' < "$work/stdout" | grep -q 'chosen: .*, the largest of .* that fits in 5.00 MiB: it needs .*; .* would need' ||
        fail "$format: does not say what it chose: $(cat "$work/stdout")"
    name=$(sed -n 's/^  chosen: \([a-z0-9_]*\),.*/\1/p' "$work/stdout")
    expect 0 "" convert $model -o "$work/named.$format" --level "$name" -q
    cmp "$work/size.$format" "$work/named.$format" || fail "$format: not that of $name"
    [ "$(stat -c %s "$work/size.$format")" -le $((5 << 20)) ] || fail "$format: too large"
done
expect 0 "" export $model -o "$work/exported.gguf" --size 5M -q
cmp "$work/size.gguf" "$work/exported.gguf" || fail "convert -o x.gguf is not export"
expect 0 "" export $model --gpu "RTX 4090" --dry-run
grep -q '  chosen: as stored, ' "$work/stdout" || fail "a large card: $(cat "$work/stdout")"
# What fits as it is stays so with a text too, which is not read; named levels and less room are another matter.
head -c 2000 demo/text.txt > "$work/text"
expect 0 "" export $model -o "$work/stored.gguf" --gpu "RTX 4090" -q
for where in "--gpu 4090" "--size 100M"; do
    expect 0 "" export $model -o "$work/by_text.gguf" $where --text "$work/text" --effort calibrated --force --no-progress
    tr -s '\n ' ' ' < "$work/stdout" | grep -q 'chosen: as stored fits in .* to spare; so there is nothing to choose by the text, which is not read' ||
        fail "$where, a text and room for all: $(cat "$work/stdout")"
    cmp "$work/stored.gguf" "$work/by_text.gguf" || fail "$where: another file with a text than without"
done
"$moeq" export $model --size 100M --text "$work/text" --dry-run --json --no-progress > "$work/plan.json" || fail "by a text"
python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert d["choice"]["kind"] == "source" and "budget" not in d, d["choice"]' "$work/plan.json" || fail "by a text: the document"
expect 0 "" export $model --size 100M --text "$work/text" --levels q8_0,q4_k --dry-run --no-progress
grep -q '^  budget: ' "$work/stdout" || fail "levels that were named: $(cat "$work/stdout")"
expect 1 "moeq: none of 2 levels and recipes fits in 1.00 MiB: the smallest, q2_k needs 3.23 MiB, 2.23 MiB too many; it takes --size 3.234875M" \
    convert $model --size 1M --levels q4_k,q2_k --dry-run
expect 0 "" convert $model -o "$work/q4.moeq" --level q4_k -q
expect 0 "" export "$work/q4.moeq" --size 5M --dry-run
"$moeq" convert $model --size 3.234875M --levels q4_k,q2_k --dry-run > /dev/null || fail "the least size that is said does not suffice"
"$moeq" convert $model --size 3.234874M --levels q4_k,q2_k --dry-run > /dev/null 2>&1 && fail "less than the least size suffices"
grep -q '  chosen: as stored fits in 5.00 MiB: it needs 4.27 MiB, ' "$work/stdout" || fail "stored: $(cat "$work/stdout")"
expect 1 "moeq: what was asked for does not fit in 1.00 MiB: as stored needs 4.27 MiB, 3.27 MiB too many; it is quantized already: levels are for the original model; it takes --size 4.265931M" \
    export "$work/q4.moeq" --size 1M --dry-run
usage convert "--granularity needs --text FILE: by it is found out what each matrix loses" \
    convert $model --size 5M --granularity matrix --dry-run

# the index of several files is part of their size
"$moeq" convert $model -o "$work/shards.moeq" --level q4_k --shard-size 1M -q || fail "shards"
all=$(cat "$work"/shards*.moeq "$work"/shards*.json | wc -c)
for spare in 0 1; do
    "$moeq" convert $model --size $((all - spare)) --shard-size 1M --levels q4_k,q3_k -o "$work/shards.moeq" --dry-run > "$work/stdout" ||
        fail "a size for shards"
    grep -q "  chosen: q$((4 - spare))_k," "$work/stdout" || fail "$spare less than q4_k's shards and index: $(cat "$work/stdout")"
done

# names that say another format
usage export "-o 'x.safetensors' is the name of a safetensors file, and export writes GGUF; for a moeq file: moeq convert $model -o x.safetensors --level q4_k" \
    export $model -o x.safetensors --level q4_k
"$moeq" convert $model -o "$work/named.safetensors" --level q4_k > "$work/stdout" || fail "a .safetensors name"
grep -q "^  a moeq file is a safetensors file: " "$work/stdout" || fail "it is not said what was written: $(cat "$work/stdout")"
"$moeq" inspect "$work/named.safetensors" > /dev/null || fail "a moeq file under a .safetensors name"
usage export "-o 'x.moeq' is the name of a moeq file, and export writes GGUF; for a moeq file: moeq convert $model -o x.moeq --level q4_k" \
    export $model -o x.moeq
usage convert "--shard-size is about moeq files; for GGUF files of a largest size: moeq export $model -o x.gguf --split-max-size SIZE" \
    convert $model -o x.gguf --level q4_k --shard-size 1M
# a command that is suggested can be pasted, whatever names there are
usage export "-o 'sp ace/a.moeq' is the name of a moeq file, and export writes GGUF; for a moeq file: moeq convert 'sp ace/mo'\\''del' -o 'sp ace/a.moeq' --level q4_k" \
    export "sp ace/mo'del" -o "sp ace/a.moeq"
usage convert "--shard-size is about moeq files; for GGUF files of a largest size: moeq export ./-x -o 'a\$b.gguf' --split-max-size SIZE" \
    convert -o 'a$b.gguf' --level q4_k --shard-size 1M -- -x
"$moeq" fit $model --gpu 4090 --levels q4_k --tensor '*.w2.*=q8_0' > "$work/stdout" || fail "fit"
grep -qF -- "--level q4_k --tensor '*.w2.*=q8_0'" "$work/stdout" || fail "fit, a pattern: $(cat "$work/stdout")"
finish
