#!/bin/bash
# Usage: greedy.sh SOURCE_DIR BUILD_DIR
# The script that finds the encoders' lists of starting points runs, and finds none that is better.
cd "$1" || exit 1
python=$(bash tests/cli/python_env.sh "$2") || exit $?
"$python" quantize/search/greedy.py q3_k q6_k "q3_k weighted" "q2_k weighted"
