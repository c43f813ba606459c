#!/usr/bin/env bash
# coverage.sh [CTEST OPTIONS]: how much of each folder the tests run, in lines, by GCC's gcov; exit code 1 where a folder that
# must be covered is not. Builds build/coverage and runs every test there, or those that the options choose; what is below
# 90 % of the lines of its folder is listed in build/coverage/files.txt. ./test.sh --all runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
for tool in gcc gcov python3; do
    command -v $tool > /dev/null || { echo "skipped: coverage.sh needs gcc (with gcov) and python3"; exit 77; }
done
echo "== Build for coverage"
# counters of threads must not get lost, or lines that ran look as if they had not
moeq_build build/coverage -DMOEQ_TESTS=ON -DMOEQ_BENCH=OFF -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS_DEBUG="-O1 --coverage -fprofile-update=atomic" | tail -n 1
find build/coverage -name '*.gcda' -delete
echo "== Tests, for coverage"
export OMP_WAIT_POLICY=passive
env -u MOEQ_TEST_ALL ctest --test-dir build/coverage --parallel 3 "$@" > build/coverage/tests.log 2>&1 ||
    { echo "Some failed, which counts as what they covered:"; sed -n '/The following tests FAILED/,$p' build/coverage/tests.log; }
python3 scripts/coverage.py build/coverage
