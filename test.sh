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
warnings=()
[ -n "${CI:-}" ] && warnings=(-DMOEQ_WERROR=ON)

echo "== Release build"
moeq_build build -DMOEQ_TESTS=ON "${warnings[@]}" | tail -n 1
echo "== AddressSanitizer and UndefinedBehaviorSanitizer build"
moeq_build build/asan -DMOEQ_TESTS=ON -DMOEQ_BENCH=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DMOEQ_SANITIZE=address,undefined "${warnings[@]}" | tail -n 1

# Two tests at a time have more threads than there are cores: they should sleep, not spin.
export OMP_WAIT_POLICY=passive
status=0
echo "== Tests, release"
ctest --test-dir build --output-on-failure --parallel 3 || status=1
echo "== Tests, sanitizers"
ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ctest --test-dir build/asan --output-on-failure --parallel 3 || status=1

# What did not run, in the tests' own words.
for build in build build/asan; do
    lines=$(grep -hE '^([a-z0-9_]+: )?(skipped|left out): ' "$build/Testing/Temporary/LastTest.log" |
        sort | uniq -c | sed -E 's/^ *1 /  /; s/^ *([0-9]+) /  \1 times /') || continue
    echo "== Not run in $build:"
    echo "$lines"
done
if [ -n "${MOEQ_TEST_ALL:-}" ]; then
    for check in lint tsan coverage; do
        scripts/$check.sh || [ $? = 77 ] || status=1
    done
fi
[ -n "${MOEQ_TEST_ALL:-}" ] ||
    echo "== The sanitizers' build ran samples of its longest tests; ./test.sh --all runs all of them."
exit $status
