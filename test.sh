#!/usr/bin/env bash
# test.sh: builds moeq and runs every test: optimized, then under AddressSanitizer and UBSan, where
# the longest tests run a sample of their cases. ./test.sh --all: all cases there too, then static analysis
# (scripts/lint.sh), threads under ThreadSanitizer (scripts/tsan.sh) and the lines covered (scripts/coverage.sh).
set -euo pipefail
cd "$(dirname "$0")"
case "${1:-}" in
    "") ;;
    --all) export MOEQ_TEST_ALL=1 ;;
    *) echo "usage: ./test.sh [--all]" >&2; exit 2 ;;
esac
. scripts/setup.sh
moeq_setup tests
options=(-DMOEQ_TESTS=ON)
[ -z "${CI:-}" ] || options+=(-DMOEQ_WERROR=ON -DCMAKE_C_FLAGS_RELEASE=-O3) # nobody debugs what is thrown away
! command -v ld.gold > /dev/null || options+=(-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=gold) # takes half the time
! command -v mpicc > /dev/null || options+=(-DMOEQ_MPI=ON)

echo "== Release build"
moeq_build build "${options[@]}" | tail -n 1
echo "== AddressSanitizer and UndefinedBehaviorSanitizer build"
moeq_build build/asan "${options[@]}" -DMOEQ_BENCH=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DMOEQ_SANITIZE=address,undefined | tail -n 1

# Two tests at a time have more threads than there are cores: they should sleep, not spin.
export OMP_WAIT_POLICY=passive
status=0
ends=()

# step NAME COMMAND...: runs it, whatever failed before, and keeps how it ended for the summary. Exit code 77: tools are missing.
step() {
    local name=$1 code=0 begin=$SECONDS end=passed
    shift
    echo "== $name"
    "$@" || code=$?
    case $code in
        0) ;;
        77) end="not run: tools are missing, see above" ;;
        *) end=FAILED status=1 ;;
    esac
    ends+=("$(printf '  %-20s %5d s  %s' "$name" $((SECONDS - begin)) "$end")")
}

step "Tests, release" ctest --test-dir build --output-on-failure --parallel 3
step "Tests, sanitizers" env ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ctest --test-dir build/asan --output-on-failure --parallel 3

# What did not run, in the tests' own words.
for build in build build/asan; do
    lines=$(grep -hE '^([a-z0-9_]+: )?(skipped|left out): ' "$build/Testing/Temporary/LastTest.log" |
        sort | uniq -c | sed -E 's/^ *1 /  /; s/^ *([0-9]+) /  \1 times /') || continue
    echo "== Not run in $build:"
    echo "$lines"
done
if [ -n "${MOEQ_TEST_ALL:-}" ]; then
    step "Static analysis" scripts/lint.sh
    step "Threads" scripts/tsan.sh
    step "Lines covered" scripts/coverage.sh
else
    echo "== The sanitizers' build ran samples of its longest tests; ./test.sh --all runs all of them."
fi
echo "== Summary"
printf '%s\n' "${ends[@]}"
exit $status
