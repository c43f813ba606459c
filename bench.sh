#!/usr/bin/env bash
# bench.sh: builds moeq and measures its speed on this machine. Options are those of
# build/moeq-bench (--help). With --full-width DIR, makes the checkpoint if DIR is not there.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/setup.sh
moeq_setup build
moeq_build build -DMOEQ_TESTS=OFF -DMOEQ_BENCH=ON | tail -n 1 >&2
for ((i = 1; i < $#; i++)); do
    if [ "${!i}" = --full-width ]; then
        next=$((i + 1))
        [ -e "${!next}/config.json" ] || python3 tests/data/make_full_width.py "${!next}"
    fi
done
exec build/moeq-bench "$@"
