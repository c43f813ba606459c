#!/bin/bash
# Usage: disk_full.sh MOEQ SOURCE_DIR WORK_DIR
# Too little room: a clear message, nothing under the final name, nothing left over.
set -u
moeq=$1 source=$2 work=$3
model=$source/demo/model
fail() { echo "FAIL: $*" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"
trap 'umount "$work/disk" 2> /dev/null; rm -rf "$work"' EXIT

# A file size limit: the reservation fails, whoever runs this.
(ulimit -f 1000; "$moeq" convert "$model" -o "$work/m.moeq" --level q4_k -q) 2> "$work/stderr"
[ $? = 1 ] || fail "exit code with ulimit -f"
grep -q "^moeq: $work/m.moeq.part: cannot reserve the output's size: File too large$" "$work/stderr" ||
    fail "message: $(cat "$work/stderr")"
[ -z "$(ls "$work" | grep -v stderr)" ] || fail "leftovers: $(ls "$work")"

# A folder that may not be written to (root may write everywhere).
mkdir "$work/readonly"
chmod a-w "$work/readonly"
if [ ! -w "$work/readonly" ]; then
    "$moeq" convert "$model" -o "$work/readonly/m.moeq" --level q4_k -q 2> "$work/stderr"
    [ $? = 1 ] || fail "exit code in a read-only folder"
    grep -q "cannot create: Permission denied$" "$work/stderr" || fail "message: $(cat "$work/stderr")"
fi

# A full standard output is a failure too.
"$moeq" inspect "$model" > /dev/full 2> "$work/stderr"
[ $? = 1 ] || fail "exit code with a full standard output"
grep -q "^moeq: cannot write to standard output: No space left on device$" "$work/stderr" ||
    fail "message: $(cat "$work/stderr")"

mkdir "$work/disk"
if ! mount -t tmpfs -o size=2M none "$work/disk" 2> /dev/null; then
    echo "the part with a small disk was skipped: cannot mount a tmpfs"
    exit 77
fi
"$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k -q 2> "$work/stderr"
[ $? = 1 ] || fail "exit code on a small disk"
grep -Eq "^moeq: $work/disk/m.moeq: needs 0.00 GiB \([0-9]+ bytes\), the disk has 0.00 GiB \([0-9]+\) free$" \
    "$work/stderr" || fail "message: $(cat "$work/stderr")"
[ -z "$(ls "$work/disk")" ] || fail "leftovers: $(ls "$work/disk")"
"$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k --shard-size 1M -q 2> "$work/stderr"
[ $? = 1 ] || fail "exit code of shards on a small disk"
grep -Eq "^moeq: $work/disk/m.moeq.index.json: needs 0.00 GiB \([0-9]+ bytes\), the disk has 0.00 GiB \([0-9]+\) free$" \
    "$work/stderr" || fail "message: $(cat "$work/stderr")"
[ -z "$(ls "$work/disk")" ] || fail "leftovers of shards: $(ls "$work/disk")"
mount -o remount,size=20M none "$work/disk" && "$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k -q ||
    fail "with room again"
"$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k --shard-size 1M -q || fail "shards with room again"
"$moeq" check "$work/disk/m.moeq.index.json" -q || fail "shards with room again are damaged"
echo "good"
