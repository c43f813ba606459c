#!/bin/bash
# fuzz.sh's calls: its help names every target, and mistakes are told before anything is built.
set -u
cd "$1" || exit 1
failures=0

# misuse 'text' ARGUMENTS...
misuse() {
    local text=$1 found code
    shift
    found=$(./fuzz.sh "$@" 2>&1)
    code=$?
    [ $code = 2 ] && [ "$found" = "fuzz.sh: $text"$'\n'"./fuzz.sh --help explains." ] ||
        { echo "FAIL: fuzz.sh $*: exit code $code: $found"; failures=$((failures + 1)); }
}

help=$(./fuzz.sh --help) || failures=$((failures + 1))
names=$(sed -n 's/^moeq_fuzz[a-z_]*(\([a-z0-9_]*\) .*/\1/p' tests/fuzz/CMakeLists.txt)
[ "$(wc -w <<< "$names")" -gt 10 ] || { echo "FAIL: no targets"; failures=$((failures + 1)); }
for name in $names; do
    grep -qw -- "$name" <<< "$help" ||
        { echo "FAIL: --help does not list $name"; failures=$((failures + 1)); }
    [ -d "tests/fuzz/corpus/$name" ] || { echo "FAIL: $name has no corpus"; failures=$((failures + 1)); }
done
misuse "expected: ./fuzz.sh SECONDS [TARGET...]"
misuse "'ten': expected a number of seconds, such as 600" ten
misuse "'0': expected a number of seconds, such as 600" 0
misuse "'-5': expected a number of seconds, such as 600" -5
there=$(paste -sd' ' <<< "$(grep -l LLVMFuzzerTestOneInput tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||')")
misuse "there is no target 'gguff'; there are: $there" 10 gguff
JOBS=many misuse "JOBS='many': expected a number of processes" 10 gguf
exit $((failures != 0))
