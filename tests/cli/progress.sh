#!/bin/bash
# Progress: a bar that fits narrow terminals, plain lines with TERM=dumb and with --progress, nothing otherwise.
. "$(dirname "$0")/helper.sh"
optimized_judges "the lines"
run=(sweep $model --text demo/text.txt --levels q8_0,q4_k --tokens 2048)
"$moeq" "${run[@]}" > "$work/table" 2> "$work/stderr" || fail "exit code $?"
[ ! -s "$work/stderr" ] || fail "progress in a short run without a terminal: $(cat "$work/stderr")"
"$moeq" "${run[@]}" --progress > "$work/again" 2> "$work/stderr" || fail "exit code $?"
cmp -s "$work/table" "$work/again" || fail "--progress changed the table"
head -1 "$work/stderr" | grep -q '^moeq: 2048 tokens in 4 windows, the original (12.2 MiB) and 2 beside it' ||
    fail "--progress does not begin with what will be done: $(head -1 "$work/stderr")"
head -1 "$work/stderr" | grep -qE 'in 1 pass on [0-9]+ threads?; memory: .* of at most .*; roughly [0-9.]+ (s|min)' ||
    fail "--progress: passes, memory and time: $(head -1 "$work/stderr")"
[ "$(grep -c '^moeq: pass 1/1 layer [123]/3: [0-9]* %, .* left$' "$work/stderr")" -ge 5 ] || fail "few lines: $(cat "$work/stderr")"
! grep -q $'[\r\033]' "$work/stderr" || fail "--progress: control characters"

command -v python3 > /dev/null || { finish; exit; }
sampled && { finish; exit; } # widths are those of the optimized build
cat > "$work/terminal.py" << 'EOT'
import os, pty, sys
columns, term, command = sys.argv[1], sys.argv[2], sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(COLUMNS=columns, TERM=term)
    os.execv(command[0], command)
out = b""
try:
    while part := os.read(fd, 65536):
        out += part
except OSError:
    pass
os.waitpid(pid, 0)
text = out.decode().split("{\r\n")[0].replace("\r\n", "\n")
drawn = [line for line in text.replace("\r\x1b[K", "\n").split("\n") if line]
print(max(map(len, drawn)) if term != "dumb" else "\x1b" in text or "\r" in text, len(drawn) > 2)
EOT
for columns in 20 40 80; do
    found=$(python3 "$work/terminal.py" $columns xterm "$moeq" "${run[@]}" --json)
    [ "${found% *}" -lt $columns ] || fail "$columns columns: a line of ${found% *}"
    [ "${found#* }" = True ] || fail "$columns columns: no progress"
done
[ "$(python3 "$work/terminal.py" 40 dumb "$moeq" "${run[@]}" --json)" = "False True" ] || fail "TERM=dumb draws a bar"
finish
