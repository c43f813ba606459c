#!/bin/bash
# Mistakes are said once, whatever the number of ranks. With MOEQ_TEST_ALL=1 also: what is stopped by a signal to the launcher,
# or loses a rank to SIGKILL, ends soon, and goes on, with any number of ranks, to the same bytes.
. "$(dirname "$0")/helper.sh"
optimized_judges "the instants"

# mistake CODE 'text' ARGUMENTS...: the exit code, and the text, once.
mistake() {
    local code=$1 text=$2 found
    shift 2
    "${launch[@]}" -n 2 "$moeq_mpi" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null
    found=$?
    [ $found = "$code" ] || fail "$*: exit code $found, expected $code: $(cat "$work/stderr")"
    [ "$(cat "$work/stdout" "$work/stderr" | grep -cF -- "$text")" = 1 ] ||
        fail "$*: not once '$text': $(cat "$work/stdout" "$work/stderr")"
}
mistake 2 "unknown level 'q9'" convert $model -o "$work/m.moeq" --level q9
mistake 1 "$work/none" eval "$work/none" --text demo/text.txt
[ -n "${MOEQ_TEST_ALL:-}" ] || { finish; exit; }

# differs 'text' ARGUMENTS...: two ranks with arguments of their own (mpirun's a : b); the text is said.
differs() {
    local text=$1 found
    shift
    timeout 30 "${launch[@]}" -n 1 "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null
    found=$?
    [ $found = 1 ] || [ $found = 2 ] || fail "$*: exit code $found"
    grep -qF -- "$text" "$work/stderr" || fail "$*: not '$text': $(cat "$work/stderr")"
}
mkdir "$work/there"
cp -rp $model "$work/model"
cp -rp $model "$work/there/model" # of which a weight is another one
shard=$(ls "$work"/there/model/*.safetensors | tail -n 1)
printf '\1\2' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") - 2)) conv=notrunc 2> /dev/null
cp demo/text.txt "$work/text.txt"
cp demo/text.txt "$work/there/text.txt"
eval=("$(realpath "$moeq_mpi")" eval model --text text.txt --context 32 --tokens 64)
differs "other arguments" -wdir "$work" "${eval[@]}" : -n 1 -wdir "$work" "${eval[@]}" --no-check
differs "other files of a model" -wdir "$work" "${eval[@]}" : -n 1 -wdir "$work/there" "${eval[@]}"
rm -r "$work/there/model"
cp -rp $model "$work/there/model"
tail -c 9000 demo/text.txt > "$work/there/text.txt"
differs "another text" -wdir "$work" "${eval[@]}" : -n 1 -wdir "$work/there" "${eval[@]}"
rm -r "$work/model" "$work/there"

slow_model "$work/model"
seconds=30 # to end in
out=$work/m.moeq
convert=(convert "$work/model" -o "$out" --level q4_k --threads 1 -q)
alone "${convert[@]}"
mv "$out" "$work/whole.moeq"

# goes_on N: with N ranks (0: alone), to the same bytes.
goes_on() {
    if [ "$1" = 0 ]; then alone "${convert[@]}"; else ranks "$1" "${convert[@]}"; fi
    cmp "$out" "$work/whole.moeq" || fail "$what: other bytes when $1 ranks went on"
    [ -z "$(find "$work" -name 'm.moeq.*')" ] || fail "$what: left behind: $(find "$work" -name 'm.moeq.*')"
    rm -f "$out"
}

for next in 0 3; do
    for signal in TERM USR1; do
        what="SIG$signal to mpirun"
        start 2 "${convert[@]}"
        at_work "$out" && kill -$signal $job
        ended
        goes_on $next
    done
    for rank in 0 1; do
        what="SIGKILL of rank $rank"
        start 2 "${convert[@]}"
        at_work "$out" && kill_rank $rank
        ended
        goes_on $next
    done
done

# Many times, at any instant, with any number of ranks.
RANDOM=18
for i in $(seq 8); do
    what="kill $i"
    n=$((2 + RANDOM % 3))
    start $n "${convert[@]}"
    sleep "$((RANDOM % 4)).$((RANDOM % 10))"
    kill_rank $((RANDOM % n))
    wait_for_job
    [ $code != 0 ] || { cmp "$out" "$work/whole.moeq" || fail "$what: other bytes"; rm -f "$out"; }
done
what="kills"
goes_on 2

# Where states flow, others wait for who is gone.
for rank in 0 1 2; do
    what="SIGKILL of rank $rank of a sweep"
    start 3 sweep $model --text demo/text.txt --levels iq2_xs,iq3_s --effort best --threads 1 -q
    sleep 3
    kill_rank $rank
    ended
done
finish
