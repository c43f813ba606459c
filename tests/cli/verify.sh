#!/bin/bash
# record, verify and gates, as a user goes about them: a gate from q8_0 stops q3_k and lets q8_0 pass;
# against a recording or the original, the figures are the same; what cannot be compared is refused.
. "$(dirname "$0")/helper.sh"

ref=$work/demo.moeqref gate=$work/gate.json text=demo/text.txt tokens=2048
sampled && tokens=1024
for level in q8_0 q3_k; do
    "$moeq" convert $model -o "$work/$level.moeq" --level $level -q > /dev/null || fail "convert"
done

# run CODE ARGUMENTS...: the exit code; stdout and stderr are kept.
run() {
    local code=$1 found quiet=(--no-progress)
    shift
    [ "$1" != report ] || quiet=() # it takes no time
    "$moeq" "$@" "${quiet[@]}" > "$work/stdout" 2> "$work/stderr"
    found=$?
    [ $found = "$code" ] || fail "moeq $*: exit code $found, expected $code: $(cat "$work/stderr")"
}

# says 'regular expression' [stderr]: in what the last run printed, within 80 columns.
says() {
    grep -Eq -- "$1" "$work/${2:-stdout}" || fail "no line '$1' in: $(cat "$work/${2:-stdout}")"
}
fits() {
    # columns, not bytes: "±" has two bytes; paths are as long as they are
    sed "s/±/+/g; s|$work/||g" "$work/stdout" | awk 'length($0) > 80 {print; bad = 1}
        / $/ {print "trailing blank: " $0; bad = 1} END {exit bad}' >&2 || fail "beyond 80 columns"
}

# ---- record ----
run 0 record $model --text $text --tokens $tokens -o "$ref"
says '^wrote .*demo.moeqref: '
says "$((tokens / 512)) windows of 512 tokens; 1\.[0-9]+ KiB a token"
fits
run 0 check "$ref"
says 'every checksum right'
run 1 record $model --text $text --tokens $tokens -o "$ref"
says 'exists already; --force replaces it' stderr
run 0 record $model --text $text --tokens $tokens -o "$ref" --force
run 1 record $model --text $text -o $text --force
says 'would replace an input' stderr
usage record '--text FILE is missing' record $model -o x
usage record '-o REF is missing: the file to write' record $model --text $text

# ---- the table of figures ----
run 0 verify --list-metrics
says '^  routing\.exact_set  \(w\)$'
says '^    same experts: same set of experts; more is better\.'
fits

# ---- the gate's loop ----
run 0 verify "$work/q8_0.moeq" --against "$ref" --write-gate "$gate" -v
says '^wrote .*gate.json: limits 10 % further from perfect'
says '^Routing +experts +± se overlap '
says '^  q8_0 L2 '
says '  KLD max ' # a figure that only -v has
fits
run 0 verify "$work/q8_0.moeq" --against "$ref" --gate "$gate" --junit "$work/good.xml"
says '^gate .*gate.json: all 11 limits kept$'
grep -q 'failures="0"' "$work/good.xml" || fail "$(cat "$work/good.xml")"
run 3 verify "$work/q3_k.moeq" --against "$ref" --gate "$gate" --junit "$work/bad.xml"
says '^REGRESSION: [0-9]+ of 11 limits of .*gate.json broken$'
says '^  kld\.mean 0\.[0-9]+ > max [0-9.e-]+ by 0\.[0-9]+ \(se 0\.[0-9]+\)$'
says '^  routing\.exact_set 0\.[0-9]+ < min 0\.[0-9]+ by 0\.[0-9]+ \(se 0\.[0-9]+\)$'
says '^  routing\.layers\.2\.exact_set '
fits
broken=$(sed -n 's/^REGRESSION: \([0-9]*\) .*/\1/p' "$work/stdout")
[ "$(grep -c '<failure ' "$work/bad.xml")" = "$broken" ] || fail "failures in JUnit: not $broken"
if command -v python3 > /dev/null; then
    python3 -c "import sys, xml.dom.minidom as d
assert len(d.parse(sys.argv[1]).getElementsByTagName('testcase')) == 11" "$work/bad.xml" ||
        fail "JUnit is not valid XML"
fi
# --json: one document on stdout, the lines on stderr, the same exit code
run 3 verify "$work/q3_k.moeq" --against "$ref" --gate "$gate" --json
says '^REGRESSION: ' stderr
says '"broken":'
run 0 verify "$work/q3_k.moeq" --against "$ref" --write-gate "$work/loose.json" --margin 50%
run 0 verify "$work/q8_0.moeq" --against "$ref" --gate "$work/loose.json"

# ---- the original gives the same ----
run 0 verify "$work/q3_k.moeq" --against "$ref" --json
sed '/"source_card":/,/}/d' "$work/stdout" | grep -v '"\(path\|model\|text\|texts\|kind\|text_bytes\|text_byte_entropy_bits\)":' | sed 's|,$||' > "$work/recorded"
run 0 verify "$work/q3_k.moeq" --against $model --text $text --tokens $tokens --json
sed '/"source_card":/,/}/d' "$work/stdout" | grep -v '"\(path\|model\|text\|texts\|kind\|text_bytes\|text_byte_entropy_bits\)":' | sed 's|,$||' > "$work/direct"
cmp "$work/recorded" "$work/direct" || fail "recording and original differ"

# ---- wrong routes or coarse weights ----
# Both arms against the original, the first one against a recording of it, with the same figures;
# and the original gives what a sweep to that level does.
run 0 verify "$work/q3_k.moeq" --against $model --text $text --tokens $tokens --swap --noise-floor -v
fits
sed -n 's/^  \(q3_k\|baseline\) *\(q3_k\|baseline\) *\(.*%\)$/\3/p' "$work/stdout" > "$work/direct"
[ "$(wc -l < "$work/direct")" = 3 ] || fail "not three arms: $(cat "$work/stdout")"
says '^  bf16 act '
says '^  q3_k L2 '
run 0 sweep $model --text $text --levels q3_k --tokens $tokens --swap
sed -n 's/^  \(q3_k\|source\) *\(q3_k\|source\) *\(.*%\)$/\3/p' "$work/stdout" |
    diff - "$work/direct" >&2 ||
    fail "verify --swap differs from sweep --swap"
run 0 verify "$work/q3_k.moeq" --against "$ref" --swap
fits
says "^  q3_k +baseline +$(sed -n 's/ .*//;1p' "$work/direct")"
says '^  baseline +q3_k +- +- +- +- +- +-$'
says 'a recording has no weights'
run 0 verify "$work/q3_k.moeq" --against "$ref" --swap --json
says '"baseline_weights_own_routes":[[:space:]]*null'
usage verify "--noise-floor runs the original, of which $ref is a recording" \
    verify "$work/q3_k.moeq" --against "$ref" --noise-floor

# ---- arithmetic ----
# A recording stores its own; verify takes it over, and says so where it is told to use another. A gate
# is about one arithmetic.
ref8=$work/int8.moeqref
run 0 record "$work/q8_0.moeq" --text $text --tokens 512 --compute int8 -o "$ref8"
says '^  arithmetic: int8$'
run 0 verify "$work/q8_0.moeq" --against "$ref8" --write-gate "$work/int8.json"
says '^  arithmetic: int8$'
says '^  q8_0 +[0-9.]+ +[0-9.]+ +1\.00000 '
grep -q '"compute": "int8"' "$work/int8.json" || fail "$(cat "$work/int8.json")"
run 0 verify "$work/q8_0.moeq" --against "$ref8" --gate "$work/int8.json" --compute int8
run 1 verify "$work/q8_0.moeq" --against "$ref8" --gate "$work/int8.json" --compute f32
says 'int8.json: was made with --compute int8 and a baseline of int8, this is f32' stderr
[ ! -s "$work/stdout" ] || fail "an evaluation before the refusal"
run 0 verify "$work/q8_0.moeq" --against "$ref8" --compute f32 --report "$work/mixed.md"
says '^  arithmetic: f32$'
says '^  the recording was made with int8: the figures hold that difference, too$'
fits
grep -q 'Arithmetic: f32. The recording was made with int8:' "$work/mixed.md" || fail "$(cat "$work/mixed.md")"
run 0 verify "$work/q8_0.moeq" --against "$ref8" --compute f32 --json
says '"same_compute":[[:space:]]*false'
run 1 verify "$work/q8_0.moeq" --against "$ref" --gate "$gate" --compute int8
says 'gate.json: was made with --compute f32 and a baseline of f32, this is int8' stderr
run 0 eval "$work/q8_0.moeq" --text $text --tokens 512 --compute int8
says '^  arithmetic: int8$'
run 0 sweep $model --text $text --tokens 512 --levels q4_k --compute int8 --report "$work/int8.md"
says '^  arithmetic: f32; rows named int8: the level above with --compute int8$'
fits
grep -q '^| q4_k int8 | ' "$work/int8.md" || fail "$(cat "$work/int8.md")"
usage verify "--compute 'int4': expected f32 or int8" \
    verify "$work/q8_0.moeq" --against "$ref" --compute int4

# ---- two models ----
run 0 verify "$work/q8_0.moeq" "$work/q3_k.moeq" --against "$ref"
says '^B minus A +mean +± se +95 % from +to$'
says '^  KLD mean +\+0\.[0-9]+ +0\.[0-9]+ +\+0\.[0-9]+ +\+0\.[0-9]+ \*$'
says 'splitmix64 seed [0-9]+'
fits
run 3 verify "$work/q8_0.moeq" "$work/q3_k.moeq" --against "$ref" --gate "$gate"
run 0 verify "$work/q3_k.moeq" "$work/q8_0.moeq" --against "$ref" --gate "$gate"

# ---- columns by name, classes, colour ----
usage verify "--columns: unknown column 'kld.men'; did you mean kld.mean?" \
    verify "$work/q3_k.moeq" --against "$ref" --columns kld.men
run 0 verify "$work/q3_k.moeq" --against "$ref" --columns kld.mean,exact_set --color always
says '^Output +KLD mean +± se$'
says '^Routing +experts +± se$'
says "^  q3_k +$(printf '\033')\\[3[0-9;]+m[a-z-]+$(printf '\033')\\[0m"
NO_COLOR=1 run 3 verify "$work/q3_k.moeq" --against "$ref" --gate "$gate"
! grep -q "$(printf '\033')" "$work/stdout" || fail "colour where there is no terminal"

# ---- any number of models, and files beside levels ----
# Each against the first; a gate about all of them. A sweep says of a file what verify says of it, and of
# a level what it says of that level's file.
few=(--tokens 512 --text $text)
run 0 verify "$work/q8_0.moeq" "$work/q3_k.moeq" $model --against $model "${few[@]}" --json
cp "$work/stdout" "$work/three.json"
run 3 verify "$work/q3_k.moeq" $model "$work/q8_0.moeq" --against "$ref" --gate "$gate" --gate-all \
    --junit "$work/all.xml" --report "$work/all.md"
says '^B minus A  '
says '^C minus A  '
fits
says '^REGRESSION: [0-9]+ of 33 limits'
says '^  A: kld\.mean 0'
grep -Eq '^  [BC]: ' "$work/stdout" && fail "a good model is called broken"
grep -q 'classname="moeq.verify.model" name="kld.mean max [^"]*"/>' "$work/all.xml" || fail "$(cat "$work/all.xml")"
grep -q '^\*\*❌ Not every file passes the gate: ' "$work/all.md" || fail "$(cat "$work/all.md")"
grep -q '^| A: kld.mean | ' "$work/all.md" || fail "$(cat "$work/all.md")"
usage verify '--gate-all needs --gate GATE.json' verify "$work/q8_0.moeq" --against "$ref" --gate-all
run 0 sweep $model "${few[@]}" --levels q3_k --files "$work/q8_0.moeq,$work/q3_k.moeq" --json
cp "$work/stdout" "$work/files.json"
if command -v python3 > /dev/null; then
    python3 - "$work/three.json" "$work/files.json" << 'PYTHON' || fail "a file's figures differ"
import json, sys
three, files = (json.load(open(f)) for f in sys.argv[1:])
def figures(row):
    return {k: v for k, v in row.items() if k not in ("name", "kind", "path", "recipe", "expert_relative_rmse",
                                                      "expert_tensors_quantized")}
v, s = three["rows"], files["rows"]
assert [r["name"] for r in v] == ["baseline", "A", "B", "C"], [r["name"] for r in v]
assert [(r["name"], r["kind"]) for r in s[1:]] == [("q3_k", "level"), ("A", "file"), ("B", "file")]
assert figures(s[2]) == figures(v[1]) and figures(s[3]) == figures(v[2])  # the same files
assert figures(s[1]) == figures(s[3])  # a level and its file
assert v[3]["kld_nats"]["mean"]["value"] == 0  # the original itself
assert files["models"] == three["models"][:2] and files["model_files"] == three["model_files"][:2]
assert [(d["model"], d["minus"]) for d in three["differences"]] == [("B", "A"), ("C", "A")]
assert [(d["model"], d["minus"]) for d in files["differences"]] == [("A", "q3_k"), ("B", "q3_k")]
assert "b_minus_a" not in three and "against" not in files
assert three["metrics"]["b_minus_a.kld.mean"]["value"] == three["differences"][1]["figures"]["kld_nats"]["mean"]
PYTHON
fi
run 0 sweep $model "${few[@]}" --files "$work/q3_k.moeq" --files "$work/q8_0.moeq" --context 64
says "^A: $work/q3_k.moeq$"
fits
sweep=(sweep $model "${few[@]}" --levels q8_0 --files)
run 1 "${sweep[@]}" tests/fixtures/oracles/mixtral
says 'demo/model and tests/fixtures/oracles/mixtral are different architectures' stderr
run 1 "${sweep[@]}" "$work/q3_k.moeq,$model/../model"
says 'demo/model/../model is the original itself, .*: leave it out of --files$' stderr
ln -s q3_k.moeq "$work/link.moeq"
run 1 "${sweep[@]}" "$work/q3_k.moeq,$work/link.moeq"
says 'q3_k.moeq and .*/link.moeq are the same model: give each once$' stderr
run 1 "${sweep[@]}" "$work/none.moeq"
says 'none.moeq' stderr
usage sweep "--files '$work/q3_k.moeq,': a name is missing" "${sweep[@]}" "$work/q3_k.moeq,"
many=$(printf 'a,%.0s' {1..64})
usage sweep '--levels and --files: at most 64 together' "${sweep[@]}" "${many%,}"
usage verify '65 models: expected at most 64' verify x ${many//,/ } --against "$ref"
usage sweep '--effort is about --levels, of which there are none' sweep $model "${few[@]}" --files "$work/q3_k.moeq" --effort best
usage sweep '--levels or --files is missing, such as --levels q8_0,q4_k,q3_k' sweep $model "${few[@]}"

# ---- reports, also of a regression, and from saved results ----
run 3 verify "$work/q8_0.moeq" "$work/q3_k.moeq" --against "$ref" --gate "$gate" \
    --report "$work/report.html" --report "$work/report.md"
says '^report: .*report.html$'
grep -q '^\*\*❌ B (q3_k.moeq) fails the gate: [0-9]* of 11 limits broken' "$work/report.md" || fail "$(cat "$work/report.md")"
grep -q '^| KLD mean | +0' "$work/report.md" || fail "report.md lacks B minus A"
grep -q '<b>Broken limits' "$work/report.html" || fail "report.html lacks the broken limits"
run 3 verify "$work/q8_0.moeq" "$work/q3_k.moeq" --against "$ref" --gate "$gate" --json
cp "$work/stdout" "$work/saved.json"
run 0 report "$work/saved.json" -o "$work/saved.md"
says '^report: .*saved.md$'
grep -v '^| \(Command\|Processor\|Instruction\|Threads\|System\)' "$work/report.md" |
    diff "$work/saved.md" - >&2 || fail "the saved result's report differs"
usage report '-o FILE is missing, such as -o report.html' report "$work/saved.json"
usage report "-o 'x.pdf': expected a name that ends in .html, .md, .csv or .svg" report "$work/saved.json" -o x.pdf
echo '{"moeq_result": "check"}' > "$work/other.json"
run 1 report "$work/other.json" -o "$work/other.html"
says 'other.json: report: expected the result of a sweep or a verification' stderr
head -c 2000 "$work/saved.json" > "$work/cut.json"
run 1 report "$work/cut.json" -o "$work/other.html"
says 'cut.json: ' stderr
[ ! -e "$work/other.html" ] || fail "a report of nothing"
usage verify "--report '$work/no/such/r.html': cannot write there" \
    verify "$work/q8_0.moeq" --against "$ref" --report "$work/no/such/r.html"
usage verify "--write-gate 'x.html' and --report 'x.html' are the same file: give each a name of its own" \
    verify "$work/q8_0.moeq" --against "$ref" --write-gate x.html --report x.html

# ---- what is refused ----
# refused 'text' GATE: a gate that is not understood
refused() {
    echo "$2" > "$work/wrong.json"
    run 1 verify "$work/q8_0.moeq" --against "$ref" --gate "$work/wrong.json"
    says "wrong.json: $1" stderr
    [ ! -s "$work/stdout" ] || fail "$2: printed to stdout"
}
refused "unknown metric 'kld.maen'; did you mean 'kld.mean'\?" \
    '{"moeq_gate": 1, "limits": {"kld.maen": {"max": 1}}}'
refused 'JSON' '{"moeq_gate": 1, "limits": {"kld.mean": {"max": 1}}'
refused 'has no "limits"' '{"moeq_gate": 1, "limits": {}}'
for output in "$work/q8_0.moeq" "$ref"; do
    run 1 verify "$work/q8_0.moeq" --against "$ref" --write-gate "$output"
    says 'would replace an input' stderr
done
run 1 verify "$ref" --against "$ref"
says 'is a recording of moeq record: it has no weights' stderr
refused 'was made for other tokens' \
    '{"moeq_gate": 1, "token_ids_crc32": "00000000", "limits": {"kld.mean": {"max": 1}}}'
run 1 verify "$work/q8_0.moeq" --against "$ref" --gate "$work/absent.json"
says 'absent.json: ' stderr

head -c 1000000 "$ref" > "$work/cut.moeqref"
run 1 verify "$work/q8_0.moeq" --against "$work/cut.moeqref"
says "cut.moeqref: .*bytes of the file are missing" stderr
cp "$ref" "$work/flipped.moeqref"
printf '\377' | dd of="$work/flipped.moeqref" bs=1 seek=1100003 conv=notrunc 2> /dev/null
run 1 verify "$work/q8_0.moeq" --against "$work/flipped.moeqref"
says "flipped.moeqref: tensor 'hidden' .* CRC-32 [0-9a-f]+, expected" stderr

mkdir "$work/tokenizer" "$work/architecture"
cp $model/* "$work/tokenizer"
chmod u+w "$work/tokenizer"/*
echo >> "$work/tokenizer/tokenizer.json"
# the same tokens are enough: the recording has the text
run 0 verify "$work/tokenizer" --against "$ref"
run 0 export "$work/q8_0.moeq" -o "$work/q8_0.gguf" # its tokenizer.json is made of GGUF's keys
run 0 verify "$work/q8_0.gguf" --against "$ref"
run 0 verify "$work/tokenizer" --against $model --text $text --tokens 512
sed -i '/"merges": \[/{n;N;N;N;N;N;N;N;d}' "$work/tokenizer/tokenizer.json"
run 1 verify "$work/tokenizer" --against $model --text $text --tokens 512
says 'has another tokenizer than .*: token [0-9]+ of .*, at byte [0-9]+ of the text, is [0-9]+, expected [0-9]+: ' stderr
for given in "" "--text $text"; do
    run 1 verify "$work/tokenizer" --against "$ref" $given
    says 'has another tokenizer than .*: token [0-9]+ of ' stderr
done
cp $model/* "$work/architecture"
chmod u+w "$work/architecture"/*
sed -i 's/"rms_norm_eps": 1e-05/"rms_norm_eps": 1e-06/' "$work/architecture/config.json"
run 1 verify "$work/architecture" --against "$ref"
says "different architectures: 'rms_eps' differs" stderr
run 1 verify tests/fixtures/oracles/mixtral --against "$ref"
says 'different architectures' stderr

run 0 verify "$work/q8_0.moeq" --against "$ref" --text $text
run 2 verify "$work/q8_0.moeq" --against "$ref" --text README.md
says 'its tokens are not those of the recording .*leave --text out' stderr
usage verify "$ref is a recording and has its own protocol: leave --tokens out" \
    verify "$work/q8_0.moeq" --against "$ref" --tokens 512
usage verify "--text FILE is missing ($model is no recording)" verify "$work/q8_0.moeq" --against $model
usage verify '--against BASE or REF is missing' verify "$work/q8_0.moeq"
usage verify '--junit needs --gate GATE.json, whose limits it reports' \
    verify "$work/q8_0.moeq" --against "$ref" --junit x
usage verify "--margin '10': expected a percentage such as 10%" \
    verify "$work/q8_0.moeq" --against "$ref" --write-gate x --margin 10
# ---- levels and recipes, alone and beside files; a gate is about what stands last ----
levels=(--against $model "${few[@]}" --levels q4_k,mix4)
run 0 verify "${levels[@]}" --write-gate "$work/levels.json" --report "$work/levels.md"
grep -q "wrote $work/levels.json: limits 10 % further from perfect than mix4" "$work/stdout" || fail "a level's gate: $(cat "$work/stdout")"
grep -q "^## Against the original: q4_k and mix4$" "$work/levels.md" || fail "the title: $(head -1 "$work/levels.md")"
grep -q "Of 2 levels, mix4 is the closest to the original: " "$work/levels.md" || fail "levels' headline: $(sed -n 3p "$work/levels.md")"
run 3 verify "$work/q3_k.moeq" "${levels[@]}" --gate "$work/levels.json" --gate-all --report "$work/levels.md" --json
python3 - "$work/stdout" << 'PYTHON' || fail "levels beside a file"
import json, sys
document = json.load(open(sys.argv[1]))
assert [row["name"] for row in document["rows"]] == ["baseline", "q4_k", "mix4", "A"], document["rows"]
assert {limit["model"] for limit in document["gate"]["limits"] if not limit["kept"]} == {"q4_k", "A"}
assert [row.get("path") is not None for row in document["rows"]] == [False, False, False, True]
PYTHON
grep -q "^## Against the original: q4_k, mix4 and q3_k.moeq$" "$work/levels.md" || fail "the title: $(head -1 "$work/levels.md")"
grep -q "Not every level or file passes the gate: .*Of 3 levels and files, mix4 is the closest" "$work/levels.md" || fail "$(sed -n 3p "$work/levels.md")"
"$moeq" verify --against "$ref" --levels q4_k > /dev/null 2> "$work/stderr" && fail "a recording has no weights"
grep -q "is a recording: it has no weights to quantize to 'q4_k'" "$work/stderr" || fail "$(cat "$work/stderr")"
finish
