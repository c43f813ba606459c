#!/bin/bash
# Usage: python_env.sh BUILD_DIR; prints the path of a Python that has the packages below. The
# environment is made once and shared by all tests that need it. Exit code 77, with the reason on
# stderr, where it cannot be made: no venv module, or no package index that answers within 10 s; all
# tests of the next ten minutes then know without asking.
set -u
venv=$1/venv
packages="safetensors numpy gguf tokenizers"
exec 9> "$1/venv.lock"
flock 9
none=$1/no-package-index
if [ ! -e "$venv/complete" ]; then
    if [ -n "$(find "$none" -mmin -10 2> /dev/null)" ]; then
        cat "$none" >&2
        exit 77
    fi
    rm -rf "$venv"
    python3 -m venv "$venv" > "$1/venv.log" 2>&1 || {
        echo "skipped: no Python environment (python3-venv missing?): $(tail -n 1 "$1/venv.log")" >&2
        exit 77
    }
    timeout 10 "$venv/bin/pip" download -q --no-deps --retries 0 --timeout 5 -d "$venv/first" \
        "${packages%% *}" >> "$1/venv.log" 2>&1 &&
        "$venv/bin/pip" install -q --retries 1 --timeout 5 $packages >> "$1/venv.log" 2>&1 || {
        echo "skipped: pip cannot install $packages: $(tail -n 1 "$1/venv.log")" | tee "$none" >&2
        exit 77
    }
    touch "$venv/complete"
fi
echo "$venv/bin/python"
