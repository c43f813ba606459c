#!/bin/bash
# The program with one allocation, one read or one opening failing: the exit code is good only where
# the result is; otherwise what failed is named for what it is, memory as memory and a read as a read
# of its file, and no output has its final name. Every call with MOEQ_TEST_ALL, otherwise the first,
# the second, the fourth...
shim=$4
. "$(dirname "$0")/helper.sh"
sanitized && { echo "skipped: sanitizers want to be loaded first"; exit 77; }
[ -e "$shim" ] || { echo "skipped: $shim was not built"; exit 77; }
export GOMP_SPINCOUNT=3000 # or the program begins anew, and counts anew
small=tests/fixtures/oracles/mixtral
head -c 1500 demo/text.txt > "$work/text"
"$moeq" convert $small -o "$work/small.moeq" --level bf16 -q || fail "convert"
"$moeq" record $model --text "$work/text" --context 64 -o "$work/ref" -q || fail "record"

run() { # CALL NUMBER ARGUMENTS...
    local call=$1 number=$2
    shift 2
    rm -f "$work/mark" "$work/out"
    LD_PRELOAD=$shim FAULT_CALL=$call FAULT_NUMBER=$number FAULT_MARK=$work/mark \
        "$moeq" "$@" > "$work/stdout" 2> "$work/stderr"
}

# fault CALL 'what the message says' ARGUMENTS...
fault() {
    local call=$1 says=$2 number=1 code
    shift 2
    run "$call" 0 "$@" || fail "$*: $(cat "$work/stderr")"
    cp "$work/stdout" "$work/good.stdout"
    [ ! -e "$work/out" ] || cp "$work/out" "$work/good"
    while :; do
        run "$call" $number "$@"
        code=$?
        [ -e "$work/mark" ] || break
        if [ $code = 0 ]; then
            cmp -s "$work/stdout" "$work/good.stdout" || fail "$call $number of $*: another result"
            [ ! -e "$work/good" ] || cmp -s "$work/out" "$work/good" ||
                fail "$call $number of $*: exit code 0 and another file"
        else
            [ $code = 1 ] || fail "$call $number of $*: exit code $code"
            grep -q "$says" "$work/stderr" || fail "$call $number of $*: $(cat "$work/stderr")"
            [ ! -e "$work/out" ] || fail "$call $number of $*: there is an output"
        fi
        [ "${MOEQ_TEST_ALL:-}" ] || [ $number -lt ${every:-1} ] && number=$((number + 1)) || number=$((number * 2))
    done
    [ $number -gt 4 ] || fail "$call: nothing of $* was reached"
    rm -f "$work/good"
}

memory='out of memory'
fault malloc "$memory" inspect $small
fault malloc "$memory" convert $small -o "$work/out" --level q8_0 -q --threads 1
fault malloc "$memory" export $model -o "$work/out" -q --threads 1
fault malloc "$memory" check "$work/small.moeq"
fault malloc "$memory" fit $small --vram 8G
every=12 fault malloc "$memory" sweep $small --text "$work/text" --levels q8_0,q4_k --tensor '*=q8_0' --files "$work/small.moeq" \
    --tokens 32 --context 16 --threads 1
every=12 fault malloc "$memory" fit $small --vram 8G --levels q8_0,q4_k --tensor '*.w1.*=q8_0'
fault malloc "$memory" tokenize $model --string "hello"
fault malloc "$memory" verify $model --against "$work/ref" -q --threads 1
fault pread 'Input/output error' inspect $small
fault pread 'Input/output error' convert $small -o "$work/out" --level q8_0 -q --threads 1
fault pread 'Input/output error' check "$work/small.moeq"
fault pread 'Input/output error' verify $model --against "$work/ref" -q --threads 1
fault open 'Input/output error' inspect $small
"$moeq" verify $model --against "$work/ref" --json > "$work/a.json" && "$moeq" verify "$work/small.moeq" --against $small \
    --text "$work/text" --tokens 32 --context 16 --json > "$work/b.json" || fail "no results"
fault pread 'Input/output error' report "$work/a.json" -o "$work/out.html"
fault open 'Input/output error' report "$work/a.json" -o "$work/out.html"
fault open 'Input/output error' verify $model --against "$work/ref" -q --threads 1
finish
