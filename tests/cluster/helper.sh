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
    *"Open MPI"*)
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
        fail "$n ranks, $*: exit code $?: $(cat "$work/stderr")"
}

finish() {
    rm -rf "$work"
    [ $failures = 0 ] || { echo "$failures failures" >&2; exit 1; }
    echo "good"
}
