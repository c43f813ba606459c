#!/usr/bin/env bash
# test.sh: builds moeq and runs every test: optimized, then under AddressSanitizer and UBSan.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/setup.sh
moeq_setup tests
warnings=()
[ -n "${CI:-}" ] && warnings=(-DMOEQ_WERROR=ON)

echo "== Release build"
moeq_build build -DMOEQ_TESTS=ON "${warnings[@]}" | tail -n 1
echo "== AddressSanitizer and UndefinedBehaviorSanitizer build"
moeq_build build/asan -DMOEQ_TESTS=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMOEQ_SANITIZE=address,undefined \
    "${warnings[@]}" | tail -n 1

# Two tests at a time have more threads than there are cores: they should sleep, not spin.
export OMP_WAIT_POLICY=passive
status=0
echo "== Tests, release"
ctest --test-dir build --output-on-failure --parallel 2 || status=1
echo "== Tests, sanitizers"
ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ctest --test-dir build/asan --output-on-failure --parallel 2 || status=1
exit $status
