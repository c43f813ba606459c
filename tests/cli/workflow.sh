#!/bin/bash
# docs/github-actions.yml, step by step as a runner would: a first run that makes recording and gate, a second one
# that keeps them, and one whose model is worse.
. "$(dirname "$0")/helper.sh"
optimized_judges "the steps of the workflow"
workflow=docs/github-actions.yml

# Every action by commit; no value from a variable that a copy of the file does not have.
[ "$(grep -c 'uses:' $workflow)" = "$(grep -cE 'uses: [a-z/-]+@[0-9a-f]{40} # v[0-9.]+$' $workflow)" ] || fail "an action without commit"
! grep -qE '\$\{\{ *(vars|secrets)\.' $workflow || fail "a variable that nobody set"

# step NAME: the script of a step
step() {
    python3 - "$source/$workflow" "$1" << 'PYTHON'
import re, sys, textwrap
step = re.search(r"      - name: " + re.escape(sys.argv[2]) + r"\n(.*?)(?=\n\n|\Z)", open(sys.argv[1]).read(), re.S)
print(textwrap.dedent(re.search(r"run: \|[^\n]*\n((?:          .*\n?)*)", step[1])[1]))
PYTHON
}
# run LEVEL: all steps but that of packages
run() {
    step_of_model=$(step "Make the model")
    (
        cd "$work" || exit 1
        rm -f new.moeq moeq.xml moeq.md summary
        set -e
        bash -e <<< "$build"
        bash -e <<< "${step_of_model/q4_k/$1}"
        bash -e <<< "$first"
        bash -e <<< "$verify"
    ) > "$work/log" 2>&1
    code=$?
    (cd "$work" && bash -e <<< "$show") || fail "the report is not shown"
}
build=$(step "Build moeq") first=$(step "The first run makes what later ones compare with")
verify=$(step "Verify") show=$(step "Show the report on the job's page")
ln -s "$source" "$work/moeq-source"
mkdir "$work/moeq-build"
ln -s "$moeq" "$work/moeq-build/moeq"
head -c 4000 demo/text.txt > "$work/text"
export BASE=moeq-source/demo/model TEXT=text QUALITY=quality GITHUB_STEP_SUMMARY=summary
[[ $(grep -E '^  (BASE|QUALITY):' "$workflow") == *"BASE: $BASE "*"QUALITY: $QUALITY "* ]] || fail "other values than here"

run q4_k
[ $code = 0 ] && grep -q "::notice::no gate" "$work/log" || fail "the first run: $code"
run q4_k
[ $code = 0 ] && ! grep -q "::notice::" "$work/log" || fail "the second run: $code"
[ -s "$work/summary" ] && [ -s "$work/moeq.xml" ] || fail "report and judgement"
run q2_k
[ $code = 3 ] && [ -s "$work/summary" ] && grep -q "<failure" "$work/moeq.xml" || fail "a worse model: $code"
finish
