#!/bin/bash
# What is made of results beside pages: model cards, tables, charts as files; and several results as one.
. "$(dirname "$0")/helper.sh"
optimized_judges "the cards"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }

# An original with a hostile name and card.
base="$work/a|b \`c\` <i>x \$(touch owned) ''' *d* # [e](f)"
mkdir "$base"
cp $model/*.json "$base"
for f in $model/*.safetensors; do ln -s "$PWD/$f" "$base"; done
cat > "$base/README.md" << 'END'
---
license: other
license_name: "evil: \"x\" # [y]"
license_link: 'https://example.com/a: b'
language: [en, "no"]
pipeline_tag: text-generation
base_model: someone/else
---
# Nothing of this
END
text=(--text demo/text.txt --tokens 512 --no-progress)
"$moeq" convert $model -o "$work/-x|y \`z\`.moeq" --level q3_k -q || fail "convert"
"$moeq" convert $model -o "$work/q4.gguf" --level Q4_K_M -q || fail "export"

# moeq and GGUF files, a level and a recipe in one run
"$moeq" sweep "$base" "${text[@]}" --levels Q5_K,mix3 --files "$work/-x|y \`z\`.moeq" --files "$work/q4.gguf" \
    --report "$work/r.csv" --report "$work/r.svg" --card "$work/cards/README.md" > /dev/null 2> "$work/stderr" &&
    fail "a card in a folder that is not there"
grep -q "cannot write there" "$work/stderr" || fail "$(cat "$work/stderr")"
mkdir "$work/cards"
"$moeq" sweep "$base" "${text[@]}" --levels q5_k,mix3 --files "$work/-x|y \`z\`.moeq" --files "$work/q4.gguf" \
    --report "$work/r.csv" --report "$work/r.svg" --card "$work/cards/README.md" --charts "$work/charts" \
    --json > "$work/r.json" || fail "sweep"
python3 - "$work" << 'END' || fail "card, table or charts"
import csv, json, re, sys
from pathlib import Path
from xml.etree import ElementTree
work = Path(sys.argv[1])
result = json.load(open(work / "r.json"))
card = (work / "cards/README.md").read_text()
_, front, body = card.split("---\n", 2)
want = {"license": "other", "license_name": 'evil: "x" # [y]', "license_link": "https://example.com/a: b",
        "language": ["en", "no"], "pipeline_tag": "text-generation", "base_model_relation": "quantized",
        "library_name": "gguf", "tags": ["gguf", "quantized", "moeq", "mixture-of-experts"]}
try:
    import yaml
    assert yaml.safe_load(front) == want, yaml.safe_load(front)
except ImportError:
    print("without PyYAML: the front matter is not parsed")
for row in result["rows"][1:]:
    kld = row["kld_nats"]["mean"]["value"]
    assert any(l.startswith("| ") and f"{kld:.3g}"[:5] in l for l in body.splitlines()), kld
assert "![Size against KL divergence](README.svg)" in body
table = [l for l in body.splitlines() if l.startswith("| ")]
assert len({len(re.findall(r"(?<!\\)\|", l)) for l in table if "±" in l}) == 1, table
outside = re.sub(r"```.*?```", "", body, flags=re.S)
assert "<i>" not in outside and "](f)" not in outside.replace("\\]", "") , outside
assert not re.search(r"(?<!\\)`", re.sub("`moeq (fit|export --level [a-z0-9_]+)`", "", outside))
commands = re.findall(r"```sh\n(.*?)```", body, flags=re.S)
assert len(commands) >= 3 and not any("\n`" in c for c in commands)
Path(work / "commands.sh").write_text("\n".join(commands))

rows = list(csv.DictReader(open(work / "r.csv", newline="")))
assert [r["what"] for r in rows] == ["baseline", "level", "level", "file", "file"], rows
assert rows[3]["file"] == "'-x|y `z`.moeq", rows[3]["file"]
for found, expected in zip(rows[1:], result["rows"][1:]):
    mean = expected["kld_nats"]["mean"]
    for key, value in (("kld.mean", mean["value"]), ("kld.mean.se", mean["se"]),
                       ("routing.exact_set", expected["routing"]["overall"]["exact_set_rate"]["value"])):
        assert abs(float(found[key]) - value) <= 1e-12 * value, (key, found[key], value)
    assert int(float(found["file_bytes"])) == expected["file_bytes"]
assert rows[0]["kld.mean"] == "" and float(rows[0]["ppl"]) > 1

names = {p.stem for p in (work / "charts").iterdir()}
assert {"kld", "ppl", "layers", "margins", "changed", "load-1"} <= names, names
for path in [*(work / "charts").iterdir(), work / "r.svg", work / "cards/README.svg"]:
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.find("{*}style") is not None, path
    assert not root.findall(".//{*}figure") and float(root.get("width")) > 100
assert (work / "charts/kld.svg").read_bytes() == (work / "r.svg").read_bytes()
END
# what stands in the card's commands are words, whatever files are called
mkdir "$work/bin" "$work/run"
for name in llama-server ollama lms moeq; do
    printf '#!/bin/bash\nprintf "%%s|" "$@" >> "%s/words"\n' "$work" > "$work/bin/$name"
    chmod +x "$work/bin/$name"
done
(cd "$work/run" && PATH="$work/bin:$PATH" bash ../commands.sh) || fail "the card's commands"
[ ! -e "$work/run/owned" ] || fail "a file's name was run as a command"
ls "$work/run" | grep -qv '^Modelfile$' && fail "the commands made: $(ls "$work/run")"

# saved, it gives the same card; --base-model goes before what the folder says
"$moeq" report "$work/r.json" --card "$work/again.md" -q || fail "report --card"
sed 's/README\.svg/again.svg/' "$work/cards/README.md" | cmp - "$work/again.md" || fail "another card of the saved result"
"$moeq" report "$work/r.json" --card "$work/again.md" --base-model me/My-Model -q || fail "--base-model"
grep -q '^base_model: "me/My-Model"$' "$work/again.md" || fail "--base-model is not there"
usage report "--base-model 'me': expected OWNER/NAME, as on the Hugging Face Hub" \
    report "$work/r.json" --card "$work/again.md" --base-model me
usage report "--card '$work/x.html': expected a name that ends in .md" report "$work/r.json" --card "$work/x.html"
usage report "-o FILE is missing, such as -o report.html" report "$work/r.json"

# two outputs of one name, however it is spelled: the card's chart is one too
same() { # 'the one' 'the other' ARGUMENTS...
    local text="$1 and $2 are the same file: give each a name of its own"
    shift 2
    usage "$1" "$text" "$@"
    [ ! -e "$work/z.svg" ] && [ ! -e "$work/z.md" ] && [ ! -e "$work/z.html" ] || fail "moeq $*: was written"
}
same "-o '$work/z.svg'" "the chart of --card '$work/z.svg'" report "$work/r.json" --card "$work/z.md" -o "$work/z.svg"
same "-o '$work/./z.md'" "--card '$work/z.md'" report "$work/r.json" --card "$work/z.md" -o "$work/./z.md"
same "--report '$work/z.html'" "--report '$work//z.html'" sweep $model "${text[@]}" --levels q4_k --report "$work/z.html" --report "$work//z.html"
same "the chart of --card 'z.svg'" "--report './z.svg'" sweep $model "${text[@]}" --levels q4_k --card z.md --report ./z.svg
"$moeq" report "$work/r.json" --card "$work/z.md" -o "$work/z.html" -q || fail "a page beside a card"

# a broken gate is said first, and nothing is recommended
ln -s "$PWD/$model" "$work/My-Original"
"$moeq" record "$work/My-Original/" "${text[@]}" -o "$work/ref.moeqref" -q || fail "record"
echo '{"moeq_gate": 1, "limits": {"kld.mean": {"max": 0.0001}}}' > "$work/gate.json"
"$moeq" verify "$work/q4.gguf" --against "$work/ref.moeqref" --gate "$work/gate.json" --card "$work/broken.md" --json > "$work/broken.json" 2> /dev/null
[ $? = 3 ] || fail "a gate that is broken"
grep -v '^$' "$work/broken.md" | grep -A 2 '^# My-Original, quantized$' | tail -1 | grep -q '^\*\*❌ The gate is broken: 1 limit' || fail "the card does not begin with its broken gate"
grep -q '^| kld.mean | .* | max 0.0001 |' "$work/broken.md" || fail "the card does not say which limit"
grep -q '^None: the gate is broken' "$work/broken.md" || fail "the card recommends what breaks its gate"
grep -q 'from [0-9]* GB\|llama-server' "$work/broken.md" && fail "the card recommends what breaks its gate"

# of a recording, the card has the original's name; of one that does not say it, none
"$moeq" verify "$work/q4.gguf" --against "$work/ref.moeqref" --card "$work/kept.md" --json > "$work/kept.json" || fail "verify"
grep -q '^ollama create My-Original -f Modelfile$' "$work/kept.md" && grep -q '^Quantized files of My-Original, ' "$work/kept.md" ||
    fail "the original's name: $(grep '^# ' "$work/kept.md")"
sed '/"model":.*"My-Original"/d' "$work/kept.json" > "$work/old.json"
"$moeq" report "$work/old.json" --card "$work/old.md" -q || fail "a result of an older recording"
grep -q '^# the original, quantized$' "$work/old.md" && grep -q '^ollama create model -f' "$work/old.md" || fail "no name: $(grep '^# ' "$work/old.md")"
grep -q 'moeqref' "$work/kept.md" "$work/old.md" && fail "a recording in a card"

# a level is no file yet, and of equals the file is taken
"$moeq" convert $model -o "$work/x.moeq" --level q4_k -q || fail "convert"
"$moeq" sweep $model "${text[@]}" --levels q4_k --card "$work/level.md" -q > /dev/null || fail "a level's card"
[ "$(grep -cF 'model-Q4_K.gguf (not made yet: `moeq export --level q4_k`) |' "$work/level.md")" = 2 ] ||
    fail "a level stands as a file: $(grep Q4_K.gguf "$work/level.md")"
"$moeq" sweep $model "${text[@]}" --levels q4_k --files "$work/x.moeq" --card "$work/file.md" -q > /dev/null || fail "a file's card"
grep -q '^| from 2 GB | x.moeq | ' "$work/file.md" && grep -q '^moeq export x.moeq -o ' "$work/file.md" || fail "not the file: $(grep 'from 2' "$work/file.md")"

# several results as one
"$moeq" sweep $model "${text[@]}" --levels q4_k,q5_k --json > "$work/a.json" || fail "a"
"$moeq" verify "$work/q4.gguf" "$work/-x|y \`z\`.moeq" --against $model "${text[@]}" --json > "$work/b.json" || fail "b"
"$moeq" sweep $model "${text[@]}" --levels q5_k,mix4 --files "$work/q4.gguf" --json > "$work/c.json" || fail "c"
"$moeq" report "$work/a.json" "$work/b.json" "$work/c.json" -o "$work/joined.csv" -q || fail "join"
"$moeq" report "$work/a.json" "$work/b.json" "$work/c.json" -o "$work/joined.html" -q || fail "join"
python3 - "$work/joined.csv" << 'END' || fail "joined rows"
import csv, sys
rows = [(r["name"], r["file"]) for r in csv.DictReader(open(sys.argv[1], newline=""))]
assert rows == [("original", ""), ("q4_k", ""), ("q5_k", ""), ("A", "q4.gguf"), ("B", "'-x|y `z`.moeq"), ("mix4", "")], rows
END
"$moeq" sweep $model --text README.md --tokens 512 --no-progress --levels q4_k --json > "$work/d.json" || fail "d"
"$moeq" sweep $model "${text[@]}" --context 128 --levels q4_k --json > "$work/e.json" || fail "e"
"$moeq" sweep "$work/q4.gguf" "${text[@]}" --levels q3_k --json > "$work/f.json" || fail "f"
sed 's/"kld_nats":/"kld_nats":{"mean":{"value":1,"se":1}},"other":/' "$work/a.json" > "$work/g.json"
refuses() {
    "$moeq" report "$work/a.json" "$work/$1.json" -o "$work/no.html" 2> "$work/stderr"
    [ $? = 1 ] && grep -q "$work/$1.json: $2" "$work/stderr" || fail "$1: $(cat "$work/stderr")"
    [ ! -e "$work/no.html" ] || fail "$1: was joined"
}
refuses d 'is about another text .* than .*a.json: "protocol.token_ids_crc32" is'
refuses e 'is about other windows than .*a.json: "protocol.context_tokens" is 128, and 512 there'
refuses f 'is about another original'
refuses g "has 'q4_k', which an earlier result has with other figures"
echo '{"moeq_result": "fit"}' > "$work/h.json"
refuses h 'is no result of a sweep or a verification'
finish
