#!/bin/bash
# What is written: found out before the work whether it can be, into no one else's file, with the
# permissions of what it replaces.
. "$(dirname "$0")/helper.sh"
run=(--text demo/text.txt --tokens 128 --context 64 --no-progress -q)

# before the evaluation, not after it
nowhere=$work/nowhere
for option in --write-gate --junit; do
    extra=()
    [ $option = --junit ] && echo '{"moeq_gate": 1}' > "$work/gate.json" && extra=(--gate "$work/gate.json")
    "$moeq" verify $model --against $model "${run[@]}" $option "$nowhere/g.json" "${extra[@]}" \
        > "$work/stdout" 2> "$work/stderr" && fail "$option into no folder succeeds"
    grep -q "there is no folder $nowhere to write it to" "$work/stderr" || [ $option = --junit ] ||
        fail "$option: $(cat "$work/stderr")"
done
expect 1 "moeq: $nowhere/r: there is no folder $nowhere to write it to" record $model "${run[@]}" -o "$nowhere/r"
"$moeq" record $model "${run[@]}" -o '' 2> "$work/stderr" && fail "-o '' succeeds"
grep -q 'no usable file name' "$work/stderr" || fail "-o '': $(cat "$work/stderr")"

# foreign files where an unfinished output would be
echo precious > "$work/victim"
cp "$work/victim" "$work/o.moeq.part"
expect 1 "moeq: $work/o.moeq.part: exists already and is no conversion that was interrupted; remove it, or give --force to replace it" \
    convert $model -o "$work/o.moeq" --level q8_0 -q
cmp -s "$work/victim" "$work/o.moeq.part" || fail "a foreign part was touched"
[ ! -e "$work/o.moeq" ] && [ ! -e "$work/o.moeq.part.journal" ] || fail "leftovers"
expect 0 "" convert $model -o "$work/o.moeq" --level q8_0 -q --force
ln -s victim "$work/l.moeq.part"
expect 1 "moeq: $work/l.moeq.part: is a symbolic link, where the unfinished output would be: remove it" \
    convert $model -o "$work/l.moeq" --level q8_0 -q --force
[ "$(cat "$work/victim")" = precious ] || fail "a link was followed"
for name in r.ref gate.json.x; do
    cp "$work/victim" "$work/$name.part"
done
expect 0 "" record $model "${run[@]}" -o "$work/r.ref"
"$moeq" verify $model --against "$work/r.ref" -q --write-gate "$work/gate.json.x" --no-progress > /dev/null ||
    fail "no gate"
for name in r.ref gate.json.x; do
    cmp -s "$work/victim" "$work/$name.part" || fail "$name.part was touched"
done

# two writers of one file: one of their files is there, whole
"$moeq" record $model "${run[@]}" -o "$work/race" --force &
"$moeq" record $model --text demo/text.txt --tokens 192 --context 64 --no-progress -q -o "$work/race" --force &
wait
expect 0 "" check "$work/race" -q
ls "$work" | grep -q 'race\..*part' && fail "a temporary is left"

# permissions are those of what is replaced
for file in p.moeq p.ref; do
    echo > "$work/$file"
    chmod 600 "$work/$file"
done
expect 0 "" convert $model -o "$work/p.moeq" --level q8_0 -q --force
expect 0 "" record $model "${run[@]}" -o "$work/p.ref" --force
for file in p.moeq p.ref; do
    [ "$(stat -c %a "$work/$file")" = 600 ] || fail "$file has the permissions $(stat -c %a "$work/$file")"
done
finish
