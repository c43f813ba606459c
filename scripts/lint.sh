#!/usr/bin/env bash
# lint.sh [--analyzer] [FOLDER...]: clang-tidy (.clang-tidy) and cppcheck (scripts/cppcheck.txt) over what is shipped, or over some
# of its folders; exit code 1 on findings. Needs build/compile_commands.json, which cmake -S . -B build -G Ninja makes. All of it
# takes minutes: ./test.sh --all runs it. --analyzer: with clang's static analyzer, whose findings are to be read
# (.clang-tidy says why); that takes ten times as long.
set -euo pipefail
cd "$(dirname "$0")/.."
shipped=(formats quantize convert runtime calibrate verify fit report cli api)
grep -q '/cluster/' build/compile_commands.json 2> /dev/null && shipped+=(cluster)
for tool in clang-tidy cppcheck python3; do
    command -v $tool > /dev/null ||
        { echo "skipped: lint.sh needs clang-tidy, cppcheck and python3: apt-get install $tool"; exit 77; }
done
[ -f build/compile_commands.json ] ||
    { echo "lint.sh: no build/compile_commands.json: run cmake -S . -B build -G Ninja" >&2; exit 1; }
checks=
if [ "${1:-}" = --analyzer ]; then # the last two: Annex K, which no libc here has; the order of fields is the reader's
    checks=clang-analyzer-*,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling
    checks+=,-clang-analyzer-optin.performance.Padding
    shift
fi
[ $# -gt 0 ] || set -- "${shipped[@]}"

# Each file once: kernels as the plainest machine has them. iq_grids.c is one table made by macros, over which clang-tidy
# sits for minutes.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" "$@" << 'END'
import json, os, sys
work, folders, root = sys.argv[1], sys.argv[2:], os.getcwd()
first = {}
for entry in json.load(open("build/compile_commands.json")):
    name = os.path.relpath(os.path.join(entry["directory"], entry["file"]), root)
    if name.startswith(tuple(f.rstrip("/") + "/" for f in folders)) and not name.endswith("/iq_grids.c"):
        first.setdefault(name, entry)
json.dump(list(first.values()), open(work + "/compile_commands.json", "w"))
open(work + "/files", "w").write("".join(name + "\n" for name in first))
END

status=0
echo "== clang-tidy, $(wc -l < "$work/files") files"
xargs -a "$work/files" -P "$(nproc)" -I{} sh -c \
    'clang-tidy -p "$0" --quiet --checks="$1" --extra-arg=-Wno-sign-conversion "$2" 2> /dev/null' "$work" "$checks" {} \
    > "$work/found" || status=1
awk '!seen[$0]++' "$work/found" # what is in a header is found by all who include it
echo "== cppcheck"
cppcheck --project="$work/compile_commands.json" --enable=warning,performance,portability --inline-suppr -q \
    -j "$(nproc)" --suppressions-list=scripts/cppcheck.txt --error-exitcode=1 \
    --template='{file}:{line}: {message} [{id}]' || status=1
exit $status
