#!/bin/bash
# What several ranks write and print is what one process does, to the last byte: two ranks; MOEQ_TEST_ALL=1: up to six, more
# options, and models beside demo/model.
. "$(dirname "$0")/helper.sh"
sampled && { echo "skipped: ranks are compared in the optimized build (MOEQ_TEST_ALL=1: here too)"; exit 77; }
counts=2 tokens=320 context=64
[ -z "${MOEQ_TEST_ALL:-}" ] || counts="1 2 3 4 6"

# same WHAT ARGUMENTS...: what is printed, and the file OUT that the arguments may name as "$work/OUT", the same of every
# number of ranks as of one process; the last runs' files stay, under alone/ and ranks/.
same() {
    local what=$1 n argument given made
    shift
    given=("${@//"$work/OUT"/"$work/alone/OUT"}")
    made=("${@//"$work/OUT"/"$work/ranks/OUT"}")
    rm -rf "$work/alone"
    mkdir "$work/alone"
    alone "${given[@]}" > "$work/alone.out"
    sed '/^\t"seconds":/d' "$work/alone.out" > "$work/alone.json"
    for n in $counts; do
        rm -rf "$work/ranks"
        mkdir "$work/ranks"
        ranks "$n" "${made[@]}" > "$work/ranks.out"
        sed "/^\t\"seconds\":/d; s,$work/ranks/,$work/alone/,g" "$work/ranks.out" > "$work/ranks.json"
        cmp "$work/alone.json" "$work/ranks.json" ||
            fail "$what: $n ranks print something else: $(diff "$work/alone.json" "$work/ranks.json" | head -n 20)"
        diff -r "$work/alone" "$work/ranks" || fail "$what: $n ranks write something else"
    done
}

text=(--text demo/text.txt --tokens $tokens --context $context)
same "convert" convert $model -o "$work/OUT.moeq" --level q3_k --json
mv "$work/ranks/OUT.moeq" "$work/q3.moeq"
same "convert, files of some size" convert $model -o "$work/OUT.moeq" --level q3_k --shard-size 1M --json
same "export" export $model -o "$work/OUT.gguf" --level q4_k_m --json
same "eval" eval $model "${text[@]}" --json
same "sweep" sweep $model "${text[@]}" --levels q8_0,q3_k --json
same "record" record $model "${text[@]}" -o "$work/OUT.moeqref" --json
mv "$work/ranks/OUT.moeqref" "$work/recorded.moeqref"
same "verify" verify "$work/q3.moeq" --against "$work/recorded.moeqref" --json
same "calibrate" calibrate $model "${text[@]}" -o "$work/OUT.cal" --json
mv "$work/ranks/OUT.cal" "$work/sums.cal"
same "calibrated" convert $model -o "$work/OUT.moeq" --level q3_k --effort calibrated "${text[@]}" --json
finish
