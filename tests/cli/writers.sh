#!/bin/bash
# Usage: writers.sh MOEQ SOURCE_DIR WORK_DIR SHIM
# Two commands that write one file: whatever they are, the second is refused at once, and the first is not disturbed.
# And what lies where an unfinished output would be, names of any length, permissions, signals.
shim=$4
. "$(dirname "$0")/helper.sh"
may_preload
[ -e /proc/self/task ] || { echo "skipped: no /proc"; exit 77; }
export GOMP_SPINCOUNT=3000 # or moeq begins anew, and what was preloaded with it
run=(--text demo/text.txt --tokens 128 --context 64 --no-progress -q)
ids=tests/fixtures/oracles/mixtral/golden.safetensors
"$moeq" calibrate $model "${run[@]}" -o "$work/b.cal" > /dev/null 2>&1 || fail "no calibration"

# write COMMAND FILE: has a command write FILE.
write() {
    case $1 in
        convert) "$moeq" convert $model -o "$2" --level q4_k -q --force ;;
        export) "$moeq" export $model -o "$2" --level q8_0 -q --force ;;
        record) "$moeq" record $model "${run[@]}" -o "$2" --force ;;
        dump) "$moeq" eval tests/fixtures/oracles/mixtral --ids $ids --dump "$2" -q ;;
        calibrate) "$moeq" calibrate $model "${run[@]}" -o "$2" --force ;;
        imatrix) "$moeq" calibrate $model "${run[@]}" -o "$2" --force ;;
        gate) "$moeq" verify $model --against $model "${run[@]}" --write-gate "$2" ;;
        report) "$moeq" sweep $model "${run[@]}" --levels q8_0 --report "$2" ;;
        card) "$moeq" sweep $model "${run[@]}" --levels q8_0 --card "$2" ;;
    esac > "$work/$1.out" 2> "$work/$1.err"
}

# What each may write to beside the others: names that all of them take.
name_of() {
    case $1 in
        report) echo t.html ;;
        card) echo t.md ;;
        imatrix) echo t.gguf ;;
        export) echo t.gguf ;;
        *) echo t ;;
    esac
}
takes() { # whether a command may write a file of this name
    case $1 in
        report) [[ $2 = *.html || $2 = *.md ]] ;;
        card) [[ $2 = *.md ]] ;;
        imatrix) [[ $2 = *.gguf ]] ;;
        calibrate) [[ $2 != *.gguf ]] ;;
        *) true ;;
    esac
}

# stopped PID: waits until the child of a background write has stopped; leaves it in $child.
stopped() {
    while kill -0 "$1" 2> /dev/null; do
        read -r child _ 2> /dev/null < "/proc/$1/task/$1/children" # a line without an end
        [ -n "$child" ] && grep -q '^State:.T' "/proc/$child/status" 2> /dev/null && return
        sleep 0.01
    done
}

commands=(convert export record dump calibrate imatrix gate report card)
pairs=0
sampled && commands=(convert record gate)
for holder in "${commands[@]}"; do
    target=$work/$(name_of $holder)
    rm -f "$target"
    CHANGE_STOP=1 CHANGE_AT=60 LD_PRELOAD="$shim" write $holder "$target" &
    pid=$!
    stopped $pid
    number=0
    for other in "${commands[@]}"; do
        takes $other "$target" || continue
        number=$((number + 1))
        # a sample
        [ -n "${MOEQ_TEST_ALL:-}" ] || [ $(((number + ${#holder}) % 4)) = 0 ] || continue
        pairs=$((pairs + 1))
        write $other "$target"
        code=$?
        [ $code = 1 ] && grep -q "another command is writing this" "$work/$other.err" ||
            fail "$other while $holder writes: exit code $code: $(cat "$work/$other.err")"
        [ ! -e "$target" ] || fail "$other while $holder writes: there is an output"
    done
    kill -CONT $child
    wait $pid || fail "$holder was disturbed: $(cat "$work/$holder.err")"
    [ -s "$target" ] || fail "$holder: no output"
    [ -z "$(find "$work" -name '*.part*')" ] || fail "$holder left $(find "$work" -name '*.part*')"
done

# a writer that was killed leaves nothing that the next one does not remove
mkdir "$work/killed"
if [ -e "$shim" ]; then
    CHANGE_STOP=1 CHANGE_AT=60 LD_PRELOAD="$shim" write record "$work/killed/r" &
    pid=$!
    stopped $pid
    kill -KILL $child
    wait $pid 2> /dev/null
    [ "$(ls "$work/killed" | wc -l)" = 2 ] || fail "killed: $(ls "$work/killed")"
    write record "$work/killed/r" || fail "after a kill: $(cat "$work/record.err")"
    [ "$(ls "$work/killed")" = r ] || fail "after a kill: $(ls "$work/killed")"
fi

# what is to be written at the end stays claimed until it is: no one comes between the gate and the report
if ! sanitized; then
    write_both() {
        "$moeq" verify $model --against $model "${run[@]}" --write-gate "$work/both.json" --report "$work/both.html" \
            > /dev/null 2> "$work/both.err"
    }
    CHANGE_STOP=1 CHANGE_AT=rename LD_PRELOAD="$shim" write_both &
    pid=$!
    stopped $pid
    for command in "gate both.json" "report both.html"; do
        set -- $command
        write $1 "$work/$2" && fail "$1 while a verification writes: no error"
        grep -q "another command is writing this" "$work/$1.err" ||
            fail "$1 while a verification writes: $(cat "$work/$1.err")"
    done
    kill -CONT $child
    wait $pid || fail "a verification was disturbed: $(cat "$work/both.err")"
    [ -s "$work/both.json" ] && [ -s "$work/both.html" ] || fail "a verification: no gate, or no report"
    [ -z "$(find "$work" -name '*.part*')" ] || fail "a verification left $(find "$work" -name '*.part*')"
fi

# names as long as they may be: what belongs to them is shorter, and found again
long=$(printf 'x%.0s' $(seq 250))
for command in convert export record calibrate gate; do
    case $command in
        convert) file=$long.con ;;
        export) file=$long.exp ;;
        record) file=$long.rec ;;
        calibrate) file=$long.cal ;;
        gate) file=$long.gat ;;
    esac
    write $command "$work/$file" || fail "$command to a name of 254 bytes: $(cat "$work/$command.err")"
    [ -s "$work/$file" ] || fail "$command: no output of a long name"
done
[ -z "$(find "$work" -name '*.part*')" ] || fail "long names left $(find "$work" -name '*.part*')"

expect 1 "moeq: $work/xx$long.moeq: path is too long" convert $model -o "$work/xx$long.moeq" --level q8_0 -q

# a journal of someone else is not emptied, nor is a link followed
echo precious > "$work/victim"
cp "$work/victim" "$work/j.moeq.part.journal"
expect 1 "moeq: $work/j.moeq.part.journal: exists already and is no conversion that was interrupted; remove it, or give --force to replace it" \
    convert $model -o "$work/j.moeq" --level q8_0 -q
cmp -s "$work/victim" "$work/j.moeq.part.journal" || fail "a foreign journal was touched"
for name in l.moeq.part.journal r.ref.part g.json.part h.html.part; do
    ln -s victim "$work/$name"
done
expect 1 "moeq: $work/l.moeq.part.journal: is a symbolic link, where the journal would be: remove it" \
    convert $model -o "$work/l.moeq" --level q8_0 -q --force
for command in "record r.ref" "gate g.json" "report h.html"; do
    set -- $command
    write $1 "$work/$2" && fail "$command succeeds over a link"
    grep -q "$2.part: is a symbolic link, where the unfinished output would be: remove it" "$work/$1.err" ||
        fail "$command: $(cat "$work/$1.err")"
    [ ! -e "$work/$2" ] || fail "$command: there is an output"
done
[ "$(cat "$work/victim")" = precious ] || fail "a link was followed"

# what stands at the name of an output: a link is replaced by the file, and what it leads to is left alone
ln -s victim "$work/link"
write record "$work/link" || fail "record over a link: $(cat "$work/record.err")"
[ ! -h "$work/link" ] && [ "$(cat "$work/victim")" = precious ] || fail "record wrote through a link"
ln -s nowhere "$work/dangling.moeq"
expect 1 "moeq: $work/dangling.moeq: exists already; give --force to replace it" \
    convert $model -o "$work/dangling.moeq" --level q8_0 -q

# before the work: what is no file, and folders that are not there
mkfifo "$work/fifo.html"
usage sweep "--report '$work/fifo.html': cannot write there" sweep $model "${run[@]}" --levels q8_0 --report "$work/fifo.html"
usage sweep "--charts '$work/no/charts': cannot write there" sweep $model "${run[@]}" --levels q8_0 --charts "$work/no/charts"
usage sweep "--card '$work/no/c.md': cannot write there" sweep $model "${run[@]}" --levels q8_0 --card "$work/no/c.md"

# what is made of a model that others may not read is not for others
cp -r $model "$work/private"
chmod 600 "$work"/private/*.safetensors
umask 022
for command in convert export record; do
    rm -f "$work/p"
    model=$work/private write $command "$work/p" || fail "$command of a private model: $(cat "$work/$command.err")"
    [ "$(stat -c %a "$work/p")" = 600 ] || fail "$command of a private model: $(stat -c %a "$work/p")"
    rm -f "$work/p"
    write $command "$work/p" || fail "$command"
    [ "$(stat -c %a "$work/p")" = 644 ] || fail "$command of a public model: $(stat -c %a "$work/p")"
done

# a hangup is an interruption: what is unfinished is removed, or gone on with
if [ -e "$shim" ]; then
    CHANGE_STOP=1 CHANGE_AT=60 LD_PRELOAD="$shim" write record "$work/hangup" &
    pid=$!
    stopped $pid
    kill -HUP $child
    kill -CONT $child
    wait $pid
    code=$?
    [ $code = 130 ] || fail "SIGHUP: exit code $code"
    [ -z "$(ls "$work" | grep hangup)" ] || fail "SIGHUP left $(ls "$work" | grep hangup)"
fi
echo "$pairs pairs"
finish
