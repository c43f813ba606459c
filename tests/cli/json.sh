#!/bin/bash
# --json: of every command one valid JSON document on stdout and nothing else, nothing on stderr. Each
# says what it is, and all name a model's sizes alike (docs/json.md).
. "$(dirname "$0")/helper.sh"
optimized_judges "the documents"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }

cat > "$work/check.py" <<'END'
import json, re, sys
d = json.load(open(sys.argv[1]))
kinds = {"--dump": "dump", "--list-families": "families", "--list-metrics": "metrics"}
kind = next((kinds[a] for a in sys.argv[4:] if a in kinds), sys.argv[3])
assert d["moeq_result"] == kind and d["result_version"] == 1, d
assert d["producer"].startswith("moeq "), d
for o in (d, d.get("model")):
    if isinstance(o, dict) and "layers" in o:
        keys = ("path", "family", "layers", "experts", "experts_per_token", "vocabulary", "notes")
        assert all(k in o for k in keys), o
assert eval(sys.argv[2]), d
page = open("docs/json.md").read()
words = {w for code in re.findall("`([^`]+)`", page) for w in re.findall("[a-z0-9_]+", code)}
maps = ("metadata", "metrics", "levels", "figures")  # of names from elsewhere: files, gates, levels, metrics.md
def keys(o, inside=None):
    for v in o if isinstance(o, list) else []:
        yield from keys(v)
    for k, v in o.items() if isinstance(o, dict) else []:
        if inside not in maps:
            yield k
        yield from keys(v, k)
missing = {k for k in keys(d) if k not in words}
assert not missing, "not on docs/json.md: " + " ".join(sorted(missing))
END

# json 'python expression about d' ARGUMENTS...
json() {
    local test=$1
    shift
    expect 0 "${stderr-}" "$@"
    echo "$1" >> "$work/commands"
    python3 "$work/check.py" "$work/stdout" "$test" "$@" || fail "moeq $*: $test"
}

out=$work/m.moeq
head -c 6000 demo/text.txt > "$work/text"
tail -c 6000 demo/text.txt > "$work/end"
json "d['family'] == 'mixtral' and d['format'] == 'huggingface' and 'tensors' not in d" inspect $model --json
json "len(d['tensors']) == d['sizes']['tensors']" inspect $model --tensors --json
json "d['dry_run'] is True and sum(t['bytes'] for t in d['tensors']) == d['plan']['bytes']" \
    convert $model --level q4_k --dry-run --json
json "d['tensors_resumed'] == 0 and d['output'].endswith('m.moeq')" convert $model -o "$out" --level q4_k --json
json "d['format'] == 'moeq' and d['metadata']['moeq.version'] == '1'" inspect "$out" --json
json "d['output'].endswith('/s.moeq.index.json') and d['output'] == d['files'][0]['name'] \
    and d['file_bytes'] == sum(f.get('bytes', 0) for f in d['files'])" \
    convert $model -o "$work/s.moeq" --level q4_k --shard-size 2M --json
json "d['format'] == 'moeq' and len(d['files']) == 3 and 'moeq.shard' not in d['metadata']" \
    inspect "$work/s.moeq.index.json" --json
json "d['ok'] and d['problem'] is None and [f['ok'] for f in d['files']] == 3 * [True]" \
    check "$work/s.moeq.index.json" --json
[ "$(stat -c %s "$out")" = "$("$moeq" convert $model --level q4_k --dry-run --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["file_bytes"])')" ] ||
    fail "the dry run's file_bytes are not the file's size"
json "len(d['prompt_ids']) == 4 and len(d['continuation']['ids']) == len(d['continuation']['logprobs']) == 5 \
    and d['continuation']['end'] == 'length' and 'base' not in d" generate $model --prompt 'The tide' -n 5 --json
json "d['parting'] is None and d['base']['ids'] == d['continuation']['ids']" \
    generate $model --against $model --prompt 'The tide' -n 5 --json --no-progress
json "d['count'] == len(d['ids']) > 0" tokenize $model --string 'Hello world' --json
json "d['decoded'].endswith('Hello world')" tokenize $model --string 'Hello world' --decode --json
json "True" check "$out" --json
json "d['compute'] == 'f32'" eval "$out" --text "$work/text" --tokens 256 --context 128 --json --no-progress
json "d['compute'] == 'int8'" eval "$out" --text "$work/text" --tokens 256 --context 128 --json --no-progress --compute int8
json "d['compute'] == 'f32' and all(r['compute'] == 'f32' for r in d['rows'])" \
    sweep $model --text "$work/text" --levels q8_0,q4_k --tokens 256 --context 128 --json --no-progress
json "[r.get('int8', {}).get('compute') for r in d['rows']] == [None, 'int8']" \
    sweep $model --text "$work/text" --levels q4_k --tokens 256 --context 128 --json --no-progress --compute int8
json "d['compute'] == 'int8'" record "$out" --text "$work/text" --tokens 256 --context 128 -o "$work/r.moeqref" --json --no-progress --compute int8
json "d['held_out'] is None and d['tokens'] == 256 == d['texts'][0]['tokens'] \
    and sum(d['experts']['layers'][0]['tokens']) == 512" \
    calibrate $model --text "$work/text" --tokens 256 --context 128 -o "$work/c.cal" --json --no-progress
json "d['held_out']['name'] == 'b' and all(0 < r['mean'] < 1 for r in d['held_out']['distances'])" \
    calibrate $model --text "a=$work/text" --text "b=$work/end" --holdout b --tokens 256 --context 128 \
    -o "$work/h.cal" --json --no-progress
json "d['merged'][0].endswith('c.cal') and d['model_name'] == 'model'" \
    calibrate --merge "$work/c.cal" -o "$work/m.gguf" --json
"$moeq" sweep $model --text "$work/text" --levels q8_0 --tokens 256 --context 128 --json --no-progress > "$work/s.json"
json "d['report'].endswith('s.md')" report "$work/s.json" -o "$work/s.md" --json
json "d['sequences'] > 0" eval "$out" --ids tests/fixtures/folders/ids.safetensors \
    --dump "$work/d.safetensors" --json --no-progress
json "len(d['rows']) == 2" verify "$out" --against "$work/r.moeqref" --json --no-progress
echo '{"moeq_gate": 1, "limits": {"kld.mean": {"max": 1}}}' > "$work/gate.json"
stderr="gate $work/gate.json: 1 limit kept"
json "d['gate']['broken'] == 0 and d['verdict']['sentence'].startswith('B (m.moeq) passes the gate: 1 of 1 limit kept.')" \
    verify "$work/s.moeq.index.json" "$out" --against $model --text "$work/text" --tokens 256 --context 128 \
    --gate "$work/gate.json" --json --no-progress
unset stderr
if ! sampled; then # figures of long runs: the optimized build has the same documents
    echo 'The tide' > "$work/prompts"
    echo '{"context": "The", "choices": [" sea", " a"], "answer": 0}' > "$work/tasks.jsonl"
    json "d['rows'][1]['class']['name'] == d['rows'][1]['class']['best'] == 'near-lossless' and d['verdict']['take'] == 'q8_0' \
        and d['verdict']['least_damage'] is None and d['rows'][0].get('class') is None" \
        sweep $model --text "a=$work/text" --text "b=$work/end" --levels q8_0 --swap --noise-floor --compute int8 --gpu 4090 \
        --samples "$work/prompts" --tasks "$work/tasks.jsonl" --calibration "$work/c.cal" --tokens 256 --context 128 --json \
        --no-progress
    json "d['attribution']['parts'] and d['verdict']['take'] is None and d['verdict']['least_damage'] == 'iq2_xxs'" \
        sweep $model --text "$work/text" --levels iq2_xxs --attribute role --tokens 256 --context 128 --json --no-progress
    json "d['budget']['roles'] and d['calibrated']['matrices']" convert $model -o "$work/b.moeq" --bpw 4.5 \
        --effort calibrated --text "$work/text" --tokens 512 --json -v --no-progress
fi
json "d['choice']['kind'] == 'source'" export $model -o "$work/x.gguf" --gpu 4090 --dry-run --json
json "d['has_checksums'] is False" check $model --json
json "d['families']" inspect --list-families --json
json "d['figures']" verify --list-metrics --json
json "d['fits']" fit $model --runtime moeq --json
json "d['rows'][0]['kld_mean_nats'] is not None" fit $model --vram 24GiB --levels q8_0 --quality "$work/s.json" --json
json "d['dry_run'] is True" export "$out" --dry-run --json
json "d['model']['max_context_tokens'] == 32768" fit $model --vram 24GiB --json
expect 0 "" fit --list-gpus --json # a list, and the only one
python3 -c 'import json, sys
assert json.load(open(sys.argv[1]))[0]["name"]' "$work/stdout" || fail "fit --list-gpus --json"
diff <(sort -u "$work/commands") <("$moeq" --help | awk '/^commands:/ {on = 1; next} on && NF == 0 {exit} on {print $1}' | sort) ||
    fail "commands whose --json is not tried here"
finish
