#!/bin/bash
# Usage: disk_full.sh MOEQ SOURCE_DIR WORK_DIR
# Too little room: a clear message, nothing under the final name, nothing left over.
set -u
# Mounts of our own, which nobody else sees and which go with us.
[ -n "${OWN_MOUNTS:-}" ] || ! unshare -m true 2> /dev/null || OWN_MOUNTS=1 exec unshare -m bash "$0" "$@"
moeq=$1 source=$2 work=$3
model=$source/demo/model
fail() { echo "FAIL: $*" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"
trap '[ -z "${OWN_MOUNTS:-}" ] || umount "$work/disk" 2> /dev/null; rm -rf "$work"' EXIT

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
if [ -z "${OWN_MOUNTS:-}" ] || ! mount -t tmpfs -o size=2M none "$work/disk" 2> /dev/null; then
    echo "the part with a small disk was skipped: cannot mount a tmpfs"
    exit 77
fi
"$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k -q 2> "$work/stderr"
[ $? = 1 ] || fail "exit code on a small disk"
grep -Eq "^moeq: $work/disk/m.moeq: needs 0.00 GiB \([0-9]+ bytes\), the disk has 0.00 GiB \([0-9]+\) free; make room there, or write to another place$" \
    "$work/stderr" || fail "message: $(cat "$work/stderr")"
[ -z "$(ls "$work/disk")" ] || fail "leftovers: $(ls "$work/disk")"
"$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k --shard-size 1M -q 2> "$work/stderr"
[ $? = 1 ] || fail "exit code of shards on a small disk"
grep -Eq "^moeq: $work/disk/m.moeq.index.json: needs 0.00 GiB \([0-9]+ bytes\), the disk has 0.00 GiB \([0-9]+\) free; make room there, or write to another place$" \
    "$work/stderr" || fail "message: $(cat "$work/stderr")"
[ -z "$(ls "$work/disk")" ] || fail "leftovers of shards: $(ls "$work/disk")"
# The others, beside earlier files, which stay as they are.
ln -s "$model" "$work/model"
ln -s "$source/demo/text.txt" "$work/text"
run=(--text ../text --tokens 256 --context 64 --no-progress -q)
head -c 1900000 /dev/zero > "$work/disk/filler"
for command in "export ../model -o o.gguf --level q4_k --force -q" "convert ../model -o o.moeq --level q8_0 --force -q" \
    "record ../model -o o.ref --force ${run[*]}" "calibrate ../model -o o.cal --force ${run[*]}"; do
    set -- $command
    echo "an earlier file" > "$work/disk/$4"
    (cd "$work/disk" && "$moeq" $command) > /dev/null 2> "$work/stderr"
    [ $? = 1 ] || fail "exit code of $1 on a small disk"
    grep -Eq "^moeq: (\./)?$4: needs [0-9.]+ GiB \([0-9]+ bytes\), the disk has 0.00 GiB \([0-9]+\) free; make room there, or write to another place$" "$work/stderr" ||
        fail "message of $1: $(cat "$work/stderr")"
    [ "$(cat "$work/disk/$4")" = "an earlier file" ] || fail "$1 on a small disk: the earlier file is another"
    rm "$work/disk/$4"
    [ "$(ls "$work/disk")" = filler ] || fail "leftovers of $1: $(ls "$work/disk")"
done
# Small files: a gate and a report, with no room at all.
(cd "$work/disk" && "$moeq" verify ../model --against ../model --write-gate ../gate.json "${run[@]}") > /dev/null || fail "a gate"
cp "$work/gate.json" "$work/disk/gate.json"
head -c 4000000 /dev/zero > "$work/disk/filler" 2> /dev/null
(cd "$work/disk" && "$moeq" verify ../model --against ../model --write-gate gate.json "${run[@]}") > /dev/null 2> "$work/stderr"
[ $? = 1 ] || fail "exit code of verify on a full disk"
grep -q "gate.json.*: No space left on device; make room there, or write to another place$" "$work/stderr" ||
    fail "message of verify: $(cat "$work/stderr")"
cmp -s "$work/disk/gate.json" "$work/gate.json" || fail "verify on a full disk: the earlier gate is another"
[ "$(ls "$work/disk" | wc -l)" = 2 ] || fail "leftovers of verify: $(ls "$work/disk")"
rm "$work/disk/gate.json" "$work/disk/filler"
mount -o remount,size=20M none "$work/disk" && "$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k -q ||
    fail "with room again"
"$moeq" convert "$model" -o "$work/disk/m.moeq" --level q4_k --shard-size 1M -q || fail "shards with room again"
"$moeq" check "$work/disk/m.moeq.index.json" -q || fail "shards with room again are damaged"
echo "good"
