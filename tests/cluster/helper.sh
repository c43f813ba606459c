# helper.sh: sourced by the tests here, which are called as: test.sh MOEQ MOEQ_MPI MPIRUN SOURCE_DIR WORK_DIR
set -u
moeq=$1 moeq_mpi=$2 mpirun=$3 source=$4 work=$5
model=demo/model
failures=0
. "$source/tests/sampled.sh"
[ -x "$moeq_mpi" ] || { echo "skipped: moeq-mpi is not built (MOEQ_MPI; apt-get install libopenmpi-dev openmpi-bin)"; exit 77; }
rm -rf "$work"
mkdir -p "$work"
cd "$source" || exit 1 # so that messages name short paths

# More ranks than cores are asked for, as root where the tests run as root. Open MPI's options; MPICH's launcher needs none.
launch=("$mpirun")
case $("$mpirun" --version 2> /dev/null) in
    *"Open MPI"* | *OpenRTE*)
        launch+=(--oversubscribe --bind-to none)
        [ "$(id -u)" != 0 ] || launch+=(--allow-run-as-root)
        # waiting ranks leave the cores to the others
        export OMPI_MCA_mpi_yield_when_idle=1
        ;;
esac

if sanitized; then # its libraries are without frame pointers, and some are gone when leaks are looked for
    export LSAN_OPTIONS="suppressions=$source/tests/cluster/lsan.supp:print_suppressions=0"
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}:fast_unwind_on_malloc=0"
fi

fail() {
    echo "FAIL: $*" >&2
    failures=$((failures + 1))
}

# alone ARGUMENTS...: the oracle, one process.
alone() {
    "$moeq" "$@" 2> "$work/stderr" || fail "moeq $*: exit code $?: $(cat "$work/stderr")"
}

# ranks N ARGUMENTS...: the same as N ranks.
ranks() {
    local n=$1
    shift
    "${launch[@]}" -n "$n" "$moeq_mpi" "$@" 2> "$work/stderr" < /dev/null ||
        fail "$n ranks, $*: exit code $?: $(grep -v '^-\|^mpirun\|^Primary\|^a non-zero\|^the job\|^$\|^ *Process name\|^ *Exit code' "$work/stderr")"
}

# slow_model FOLDER: weights that keep ranks busy for some seconds, in plain C.
slow_model() {
    export MOEQ_ISA=generic
    python3 tests/data/make_full_width.py "$1" --config tests/fixtures/configs/mixtral-8x7b.json --moeq "$moeq" --layers 3 \
        --experts 12 --vocab 512 --set hidden_size=512 --set intermediate_size=1024 --set num_attention_heads=4 \
        --set num_key_value_heads=2 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }
}

# start N ARGUMENTS...: N ranks in the background; $job is the launcher.
start() {
    local n=$1
    shift
    "${launch[@]}" -n "$n" "$moeq_mpi" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null &
    job=$!
}

# at_work OUT: when several chunks of OUT are written; fails if the job ends before.
at_work() {
    while kill -0 $job 2> /dev/null; do
        [ "$(cat "$1".part.journal* 2> /dev/null | wc -l)" -lt 8 ] || return 0
        sleep 0.02
    done
    fail "$what: it ended before: $(cat "$work/stderr")"
    return 1
}

# kill_rank N: of the job's processes on this machine.
kill_rank() {
    local pid
    for pid in $(pgrep -P $job); do
        ! tr '\0' '\n' < /proc/$pid/environ | grep -qx "OMPI_COMM_WORLD_RANK=$1" || kill -KILL $pid
    done
}

# wait_for_job: until the launcher ends; its exit code is $code, and it took $took seconds.
wait_for_job() {
    local begin=$SECONDS
    wait $job
    code=$?
    took=$((SECONDS - begin))
}

# ended: as a job does that was broken off: within $seconds, with words, and without an output.
ended() {
    wait_for_job
    echo "$what: ended after $took s with exit code $code: $(grep -m 1 moeq-mpi: "$work/stderr" || grep -v '^-*$' "$work/stderr" | head -n 12)"
    [ $code != 0 ] || fail "$what: exit code 0"
    [ $took -le $seconds ] || fail "$what: it took $took s"
    grep -q 'moeq-mpi: \|mpi[a-z]* noticed\|lost communication' "$work/stderr" || fail "$what: not a word"
    [ -z "${out:-}" ] || [ ! -e "$out" ] || fail "$what: there is an output"
}

finish() {
    rm -rf "$work"
    [ $failures = 0 ] || { echo "$failures failures" >&2; exit 1; }
    echo "good"
}
