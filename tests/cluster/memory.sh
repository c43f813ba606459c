#!/bin/bash
# Ranks under valgrind, which sees what the MPI library does with their buffers (MOEQ_TEST_ALL=1).
. "$(dirname "$0")/helper.sh"
[ -n "${MOEQ_TEST_ALL:-}" ] || { echo "skipped: ranks under valgrind (MOEQ_TEST_ALL=1)"; exit 77; }
command -v valgrind > /dev/null || { echo "skipped: valgrind is missing"; exit 77; }
sanitized && { echo "skipped: a sanitized program does not run under valgrind"; exit 77; }
export MOEQ_ISA=generic     # valgrind 3.19 stumbles over the wider kernels
export GOMP_SPINCOUNT=3000  # with which the program does not start itself anew, as which it would be valgrind
checked=(valgrind -q --error-exitcode=9 --suppressions=tests/cluster/valgrind.supp)
theirs=/usr/share/openmpi/openmpi-valgrind.supp
[ ! -e $theirs ] || checked+=(--suppressions=$theirs)
launch+=(-n 2 "${checked[@]}")

# clean ARGUMENTS...
clean() {
    "${launch[@]}" "$moeq_mpi" "$@" --threads 1 -q > "$work/stdout" 2> "$work/stderr" < /dev/null || fail "$*: $(cat "$work/stderr")"
    ! grep '^==' "$work/stderr" || fail "$*: valgrind found something"
}
text=(--text demo/text.txt --tokens 32 --context 16)
clean convert $model -o "$work/m.moeq" --level q8_0
clean sweep $model "${text[@]}" --levels q8_0
clean calibrate $model "${text[@]}" -o "$work/m.cal"
finish
