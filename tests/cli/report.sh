#!/bin/bash
# moeq sweep --report: refusals before any work, what the files hold, equal bytes for equal runs.
. "$(dirname "$0")/helper.sh"
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
finish
