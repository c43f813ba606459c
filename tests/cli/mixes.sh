#!/bin/bash
# Mixes that have llama.cpp's names, at the shapes of published models, dense and with experts.
. "$(dirname "$0")/helper.sh"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }
python3 tests/data/check_mixes.py "$moeq" "$work" || fail "mixes"
finish
