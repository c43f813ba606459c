#!/bproseash
# verify: limits on a figure of one named text: written when asked for, kept and broken, and refused before anything is run.
. "$(dirname "$0")/helper.sh"

head -c 6000 demo/text.txt > "$work/a.txt"
tail -c 6000 demo/text.txt > "$work/b.txt"
texts=(--text "chat=$work/a.txt" --text "prose=$work/b.txt" --tokens 128 --context 64)
"$moeq" convert $model -o "$work/q3.moeq" --level q3_k -q || fail "convert"
"$moeq" record $model "${texts[@]}" -o "$work/ref" -q || fail "record"
judge() { "$moeq" verify "$work/q3.moeq" --against "$work/ref" --no-progress "$@" > "$work/stdout" 2> "$work/stderr"; }

judge --json --write-gate "$work/gate.json" --gate-texts > "$work/stdout" || fail "--gate-texts: $(cat "$work/stderr")"
cp "$work/stdout" "$work/verify.json"
judge --write-gate "$work/plain.json" || fail "--write-gate"
grep -q "chat/" "$work/plain.json" && fail "limits of texts that were not asked for"
python3 - "$work/gate.json" "$work/verify.json" "$work" << 'PYTHON' || fail "the gate"
import json, sys
limits = json.load(open(sys.argv[1]))["limits"]
row = json.load(open(sys.argv[2]))["rows"][1]
of = {d["name"]: d for d in row["domains"]}
assert set(of) == {"chat", "prose"}, of
for name, domain in of.items():
    value = domain["kld_nats"]["mean"]["value"]
    assert abs(limits[name + "/kld.mean"]["max"] - (value * 1.1 + 1e-6)) < 1e-7, (limits, value)
    assert name + "/routing.exact_set" in limits
    assert not any(key.startswith(name + "/routing.layers") for key in limits)
bound = of["prose"]["kld_nats"]["mean"]["value"]
gate = {"moeq_gate": 1, "limits": {"prose/kld.mean": {"max": bound * 1.001}, "chat/kld.mean": {"max": bound / 1000}}}
json.dump(gate, open(sys.argv[3] + "/one.json", "w"))
for name, key in ("none", "code/kld.mean"), ("layer", "chat/routing.layers.0.exact_set"), ("size", "chat/file_bytes"), \
                 ("unknown", "chat/kld.man"):
    json.dump({"moeq_gate": 1, "limits": {key: {"max": 1}}}, open("%s/%s.json" % (sys.argv[3], name), "w"))
PYTHON
judge --gate "$work/gate.json" || fail "the gate's own model: $(cat "$work/stdout")"
judge --gate "$work/one.json" --junit "$work/junit.xml"
[ $? = 3 ] || fail "a broken limit on a text"
grep -q "REGRESSION: 1 of 2 limits" "$work/stdout" || fail "$(cat "$work/stdout")"
grep -q "^  chat/kld.mean .* > max" "$work/stdout" || fail "$(cat "$work/stdout")"
grep -q 'name="prose/kld.mean max' "$work/junit.xml" || fail "JUnit"
refuse() {
    judge --gate "$work/$1.json"
    [ $? = 1 ] && grep -q "$1.json: $2" "$work/stderr" || fail "$1: $(cat "$work/stderr")"
}
refuse none "limit 'code/kld.mean': no text is named 'code' (--text NAME=FILE); there are: chat, prose$"
refuse layer "limit 'chat/routing.layers.0.exact_set': there is no 'routing.layers.0.exact_set' of one text; leave 'chat/' out"
refuse size "limit 'chat/file_bytes': there is no"
refuse unknown "unknown metric 'kld.man'; did you mean 'kld.mean'?"
usage verify "--gate-texts needs --write-gate GATE.json" verify "$work/q3.moeq" --against "$work/ref" --gate-texts
finish
