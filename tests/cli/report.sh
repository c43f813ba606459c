#!/bin/bash
# moeq sweep --report: refusals before any work, what the files hold, equal bytes for equal runs.
. "$(dirname "$0")/helper.sh"
optimized_judges "the pages"
cp demo/text.txt "$work/text.md"
run=(sweep $model --text "$work/text.md" --levels q4_k,q3_k --tokens 1024 --no-progress)

for name in report.pdf report .html; do
    usage sweep "--report '$work/$name': expected a name that ends in .html, .md, .csv or .svg" \
        "${run[@]}" --report "$work/$name"
done
usage sweep "--report '$work/no/such/report.html': cannot write there" \
    "${run[@]}" --report "$work/no/such/report.html"
usage sweep "--report '$work/text.md' is an input of this run" \
    "${run[@]}" --report "$work/a.html" --report "$work/text.md"
cmp -s demo/text.txt "$work/text.md" || fail "the text was changed"
[ ! -e "$work/a.html" ] || fail "a refused run wrote a report"

reports=(--report "$work/a.html" --report "$work/a.md")
"$moeq" "${run[@]}" "${reports[@]}" > "$work/table" || fail "exit code $?"
grep -q "^report: $work/a.html" "$work/table" || fail "the table does not name the report"
for part in 'Take q' 'id="kld-t"' 'id="ppl-t"' 'id="layers-t"' 'id="margins-t"' 'id="load-1-t"' \
    'KL divergence per token' 'CRC-32 of the token ids' 'model-00001-of-00003.safetensors' \
    'moeq sweep '; do
    grep -q "$part" "$work/a.html" || fail "a.html lacks '$part'"
done
grep -q '^| q3_k |' "$work/a.md" || fail "a.md lacks the row of q3_k"
! grep -q -i '<script\|https\?:\|src=' "$work/a.html" || fail "a.html refers to something outside of it"

# The same run gives the same report; --json keeps standard output to its document.
cp "$work/a.html" "$work/first.html"
cp "$work/a.md" "$work/first.md"
"$moeq" "${run[@]}" "${reports[@]}" > /dev/null || fail "exit code $?"
cmp "$work/first.html" "$work/a.html" || fail "another run gave another page"
cmp "$work/first.md" "$work/a.md" || fail "another run gave other Markdown"
"$moeq" "${run[@]}" --json --report "$work/b.html" > "$work/b.json" || fail "exit code $?"
[ "$(head -c 1 "$work/b.json")" = "{" ] || fail "--json: no document on standard output"
! grep -q '^report:' "$work/b.json" || fail "--json: more than the document on standard output"
# what no run gives is refused, by report and by fit: file, key, expected and found
"$moeq" "${run[@]}" --json > "$work/good.json" || fail "a result"
python3 - "$work" << 'PYTHON'
import json, sys
work = sys.argv[1]
text = open(work + "/good.json").read()
def write(name, *path_and_value):
    document = json.loads(text)
    *path, last, value = path_and_value
    at = document
    for key in path:
        at = at[key]
    at[last] = value
    open("%s/bad_%s.json" % (work, name), "w").write(json.dumps(document))
write("kld", "rows", 1, "kld_nats", "mean", "value", -1)
write("infinite", "rows", 1, "kld_nats", "mean", "value", "1e999") # a number without its quotes, below
write("share", "rows", 1, "same_top_rate", "value", 1.5)
write("route", "rows", 1, "routing", "overall", "exact_set_rate", "value", 86)
write("text", "rows", 1, "kld_nats", "mean", "value", "NaN")
write("error", "rows", 1, "ppl_ratio", "se", -1)
write("size", "rows", 1, "file_bytes", -5)
write("count", "protocol", "scored_tokens", 10 ** 9)
write("version", "result_version", 7)
overall, layer = ["rows", 1, "routing"], ["rows", 1, "routing", "layers", 1]
write("layer", *layer, "overlap_at_k", "value", 1.5)
write("layer_se", *layer, "router_mass_kept", "se", 2)
write("share_se", "rows", 1, "same_top_rate", "se", 9)
write("bits", "rows", 1, "bits_per_weight", 400)
write("median", "rows", 1, "kld_nats", "median", 5)
write("ratio", "rows", 1, "ppl_ratio", "value", 0)
write("no_base", "rows", 0, "is_baseline", False)
write("two_bases", "rows", 1, "is_baseline", True)
write("twice", "rows", 2, "name", "q4_k")
write("group", *overall, "kld_by_changed_layers", 0, "scored_tokens", -3)
write("group_kld", *overall, "kld_by_changed_layers", 1, "kld_mean_nats", "value", -1)
write("margin", *overall, "baseline_margins", 0, "changed", -3)
write("tasks", "rows", 1, "tasks", {"count": 1, "accuracy": {"value": 2, "se": 0}})
write("task_file", "rows", 1, "tasks", {"count": 1, "files": [{"name": "x", "count": 1, "agreement": {"value": 2, "se": 0}}]})
write("nll", "rows", 0, "nll_nats", "value", 1e308)
write("int8", "rows", 1, "int8", {"routing": {"layers": [{"overlap_at_k": {"value": 2, "se": 0}}]}})
write("nul", "rows", 1, "name", "q4_k\0")
PYTHON
sed -i 's/"1e999"/1e999/' "$work/bad_infinite.json"
while IFS='|' read -r name says in_fit; do
    "$moeq" report "$work/bad_$name.json" -o "$work/bad.html" 2> "$work/stderr" && fail "$name: a page of it"
    grep -qF -- "bad_$name.json: $says" "$work/stderr" || fail "$name: $(cat "$work/stderr")"
    [ "$in_fit" ] || continue
    "$moeq" fit $model --vram 24GiB --levels q4_k,q3_k --quality "$work/bad_$name.json" > /dev/null 2> "$work/stderr" && fail "$name: fit takes it"
    grep -qF -- "bad_$name.json: $in_fit" "$work/stderr" || fail "fit, $name: $(cat "$work/stderr")"
done << 'END'
kld|row 'q4_k': "kld_nats.mean.value": expected 0 or more, found -1|row q4_k: "kld_nats": expected 0 or more, found -1
infinite|row 'q4_k': "kld_nats.mean.value": expected 0 or more, found inf|row q4_k: "kld_nats": expected 0 or more, found inf
share|row 'q4_k': "same_top_rate.value": expected 0 to 1, found 1.5
route|row 'q4_k': "routing.overall.exact_set_rate.value": expected 0 to 1, found 86|row q4_k: "routing": expected 0 to 1, found 86
text|row 'q4_k': "kld_nats.mean.value": expected 0 or more, found "NaN"|row q4_k: "kld_nats" has no mean
error|row 'q4_k': "ppl_ratio.se": expected 0 or more, found -1
layer|row 'q4_k': "routing.layers[1].overlap_at_k.value": expected 0 to 1, found 1.5
layer_se|row 'q4_k': "routing.layers[1].router_mass_kept.se": expected 0 to 1, found 2
share_se|row 'q4_k': "same_top_rate.se": expected 0 to 1, found 9
bits|row 'q4_k': "bits_per_weight": expected 0 to 64, found 400
median|row 'q4_k': "kld_nats.p90": expected at least "kld_nats.median", 5, found 0.
ratio|row 'q4_k': "ppl_ratio.value": expected more than 0, found 0
no_base|"rows": expected one row whose "is_baseline" is true, found 0
two_bases|"rows": expected one row whose "is_baseline" is true, found 2
twice|row 'q4_k': "name": expected a name that no other row has, found "q4_k"
group|row 'q4_k': "routing.kld_by_changed_layers[0].scored_tokens": expected a count, found -3
group_kld|row 'q4_k': "routing.kld_by_changed_layers[1].kld_mean_nats.value": expected 0 or more, found -1
margin|row 'q4_k': "routing.baseline_margins[0].changed": expected a count, found -3
tasks|row 'q4_k': "tasks.accuracy.value": expected 0 to 1, found 2
task_file|row 'q4_k': "tasks.files[0].agreement.value": expected 0 to 1, found 2
nll|row 'source': "nll_nats.value": expected 4.
int8|row 'q4_k': "int8.routing.layers[0].overlap_at_k.value": expected 0 to 1, found 2
size|row 'q4_k': "file_bytes": expected 0 or more, found -5
count|"protocol.scored_tokens": expected at most the 
version|"result_version": expected 1, which this program reads, found 7|"result_version": expected 1, which this program reads, found 7
nul||
END
[ ! -e "$work/bad.html" ] || fail "a refused result left a page"
grep -q . "$work/stderr" || fail "U+0000 in a name"
finish
