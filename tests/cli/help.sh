#!/bin/bash
# Help: exit code 0, on stdout, at most 80 columns, no trailing blanks, every command.
. "$(dirname "$0")/helper.sh"

check_text() {
    [ -s "$work/stdout" ] || fail "$1 prints nothing"
    awk -v what="$1" 'length($0) > 80 {print what ": " length($0) " columns: " $0; bad = 1}
        / $/ {print what ": trailing blank: " $0; bad = 1} END {exit bad}' "$work/stdout" >&2 ||
        fail "$1"
}

expect 0 "" --help
check_text "moeq --help"
commands=$(awk '/^commands:/ {on = 1; next} on && NF == 0 {exit} on {print $1}' "$work/stdout")
[ "$(echo "$commands" | wc -l)" -ge 6 ] || fail "commands: $commands"
for c in $commands; do
    expect 0 "" "$c" --help
    check_text "moeq $c --help"
    cp "$work/stdout" "$work/first"
    grep -q "^usage: moeq $c " "$work/stdout" || fail "moeq $c --help: no usage line"
    grep -q -- "--json " "$work/stdout" || fail "moeq $c --help: no --json"
    awk '/^examples:/ {e = NR} /^options:/ {o = NR} END {exit !(e && o && e < o)}' "$work/stdout" ||
        fail "moeq $c --help: examples do not stand before the options"
    [ "$c" = verify ] || ! grep -q '^exit codes:.* 3 ' "$work/stdout" || fail "moeq $c --help: exit code 3"
    expect 0 "" help "$c"
    cmp -s "$work/stdout" "$work/first" || fail "moeq help $c differs from moeq $c --help"
    expect 0 "" "$c" -h
done
for level in $(levels_of_help); do
    grep -q "\`$level\`" README.md || fail "README.md does not name the level $level"
done
expect 0 "" --version
grep -Eq '^moeq [0-9]+\.[0-9]+\.[0-9]+$' "$work/stdout" || fail "--version: $(cat "$work/stdout")"
finish
