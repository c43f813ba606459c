# helper.sh: sourced by the tests here, which are called as: test.sh MOEQ SOURCE_DIR WORK_DIR
set -u
moeq=$1 source=$2 work=$3
model=demo/model
failures=0
. "$source/tests/sampled.sh"
rm -rf "$work"
mkdir -p "$work"
cd "$source" || exit 1 # so that messages name short paths

fail() {
    echo "FAIL: $*" >&2
    failures=$((failures + 1))
}

# expect CODE 'stderr text' ARGUMENTS...: exit code and the whole of stderr.
expect() {
    local code=$1 text=$2 found
    shift 2
    "$moeq" "$@" > "$work/stdout" 2> "$work/stderr"
    found=$?
    [ $found = "$code" ] || fail "moeq $*: exit code $found, expected $code"
    [ "$(cat "$work/stderr")" = "$text" ] ||
        fail "moeq $*: stderr is: $(cat "$work/stderr")"$'\n'"expected: $text"
}

# says CODE 'text' ARGUMENTS...: exit code, and a text in what is printed.
says() {
    local code=$1 text=$2 found
    shift 2
    "$moeq" "$@" > "$work/stdout" 2> "$work/stderr"
    found=$?
    [ $found = "$code" ] || fail "moeq $*: exit code $found, expected $code: $(cat "$work/stderr")"
    cat "$work/stdout" "$work/stderr" > "$work/said"
    tr -s ' \n\t' ' ' < "$work/said" > "$work/said.flat" # notes break where the folder's name makes them long
    grep -qF -- "$text" "$work/said" "$work/said.flat" ||
        fail "moeq $*: no '$text' in: $(cat "$work/stdout" "$work/stderr")"
}

# usage COMMAND 'text' ARGUMENTS...: a mistake in the call of COMMAND ("" for moeq itself).
usage() {
    local prefix="moeq${1:+ $1}" text=$2
    shift 2
    expect 2 "$prefix: $text"$'\n'"$prefix --help explains." "$@"
    [ ! -s "$work/stdout" ] || fail "moeq $*: misuse printed to stdout"
}

# The levels that can be asked for, as --help lists them, one a line.
# The levels; of families, the first.
levels_of_help() {
    "$moeq" convert --help | awk '/^levels:/ {on = 1; next} on && NF == 0 {exit}
        on && /^  [a-z]/ {sub(",", "", $1); print $1}'
}

# All: families are lines of names with their bits in parentheses.
all_levels_of_help() {
    "$moeq" convert --help | awk '/^levels:/ {on = 1; next} on && NF == 0 {exit}
        on && /^  [a-z].* bits  / {sub(",", "", $1); print $1; next}
        on && /^  (  )?[a-z(]/ {for (i = 1; i <= NF; i++) if ($i !~ /^\(/) {split($i, name, "/"); print name[1]}}'
}

finish() {
    rm -rf "$work"
    [ $failures = 0 ] || { echo "$failures failures" >&2; exit 1; }
    echo "good"
}
