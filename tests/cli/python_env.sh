#!/bin/bash
# Usage: python_env.sh BUILD_DIR; prints the path of a Python that has the packages below. The
# environment is made once and shared by all tests that need it. Exit code 77, with the reason on
# stderr, where it cannot be made: no venv module, or no package index within reach.
set -u
venv=$1/venv
packages="safetensors numpy gguf tokenizers"
exec 9> "$1/venv.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" > "$1/venv.log" 2>&1 || {
        echo "skipped: no Python environment (python3-venv missing?): $(tail -n 1 "$1/venv.log")" >&2
        exit 77
    }
    "$venv/bin/pip" install -q $packages >> "$1/venv.log" 2>&1 || {
        echo "skipped: pip cannot install $packages: $(tail -n 1 "$1/venv.log")" >&2
        exit 77
    }
    touch "$venv/complete"
fi
echo "$venv/bin/python"
