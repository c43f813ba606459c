#!/bin/bash
# Usage: kill_and_resume.sh MOEQ SOURCE_DIR WORK_DIR
# Kills conversions at eight random instants (MOEQ_TEST_ALL: twenty), half of them with SIGKILL and half with SIGINT, then
# four of one in several files, and resumes each: the final bytes must be those of an uninterrupted run.
set -u
moeq=$1 source=$2 work=$3
model=$work/model
. "$source/tests/sampled.sh"
optimized_judges "the instants"
fail() { echo "FAIL: $*" >&2; exit 1; }
# Sanitized programs are slow, and what they are to find does not hang on the instant.
kills=8 experts=4
[ -z "${MOEQ_TEST_ALL:-}" ] || kills=20 experts=8
sampled && kills=6 experts=3

rm -rf "$work"
mkdir -p "$model"
# A medium model: 2 layers of 8 experts (of a sample, 3), written by the demo model's rules with random weights.
python3 - "$model" $experts <<'PY' || { echo "skipped: python3 is missing"; exit 77; }
import json, os, random, struct, sys
folder = sys.argv[1]
hidden, ffn, layers, experts, vocab, heads, kv = 512, 1024, 2, int(sys.argv[2]), 1024, 8, 4
shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,),
          "lm_head.weight": (vocab, hidden)}
for i in range(layers):
    p = f"model.layers.{i}."
    shapes[p + "input_layernorm.weight"] = shapes[p + "post_attention_layernorm.weight"] = (hidden,)
    for x, rows in (("q", hidden), ("k", hidden * kv // heads), ("v", hidden * kv // heads), ("o", hidden)):
        shapes[p + f"self_attn.{x}_proj.weight"] = (rows, hidden)
    shapes[p + "block_sparse_moe.gate.weight"] = (experts, hidden)
    for e in range(experts):
        q = p + f"block_sparse_moe.experts.{e}."
        shapes[q + "w1.weight"] = shapes[q + "w3.weight"] = (ffn, hidden)
        shapes[q + "w2.weight"] = (hidden, ffn)
header, at = {}, 0
for name, shape in shapes.items():
    n = 2
    for d in shape:
        n *= d
    header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + n]}
    at += n
text = json.dumps(header).encode()
random.seed(1)
# bf16 of about 2^-7 to 2^-5 with random signs: the high byte is 0x3c, 0x3d, 0xbc or 0xbd
table = bytes((0x3c, 0x3d, 0xbc, 0xbd)[b & 3] for b in range(256))
with open(os.path.join(folder, "model.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text)
    while at:
        n = min(at, 1 << 20)
        block = bytearray(random.randbytes(n))
        block[1::2] = block[1::2].translate(table)
        f.write(block)
        at -= n
json.dump({"model_type": "mixtral", "hidden_size": hidden, "intermediate_size": ffn,
           "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv,
           "num_local_experts": experts, "num_experts_per_tok": 2, "vocab_size": vocab},
          open(os.path.join(folder, "config.json"), "w"))
PY

# Slow on purpose (one thread, plain C), so that a random instant is in the middle of the work.
export MOEQ_ISA=generic
start=$(date +%s%N)
"$moeq" convert "$model" -o "$work/whole.moeq" --level q4_k --threads 1 -q || fail "an undisturbed run"
ms=$((($(date +%s%N) - start) / 1000000))

# stop PID PART I: the I-th signal, at a random instant of the first PART-th of the time of a whole run;
# leaves its name in $signal and the program's exit code in $code.
stop() {
    local pause=$((RANDOM % (ms / $2 + 1)))
    sleep "$((pause / 1000)).$(printf %03d $((pause % 1000)))"
    signal=KILL
    [ $(($3 % 2)) = 0 ] && signal=INT
    kill -"$signal" "$1" 2> /dev/null
    wait "$1" 2> /dev/null
    code=$?
}

RANDOM=20
resumed=0
for i in $(seq $kills); do
    out=$work/killed.moeq
    "$moeq" convert "$model" -o "$out" --level q4_k --threads 1 -q 2> "$work/stderr" &
    stop $! 5 $i
    if [ $code = 0 ]; then # it was faster
        cmp "$out" "$work/whole.moeq" || fail "run $i finished with other bytes"
        rm -f "$out"
        continue
    fi
    [ ! -e "$out" ] || fail "run $i was stopped and there is an output"
    if [ $signal = INT ]; then
        [ $code = 130 ] || fail "run $i: exit code $code after SIGINT"
        # Silent only if the signal came before the program had begun.
        [ ! -s "$work/stderr" ] ||
            grep -q "interrupted; the same command goes on where this one stopped" "$work/stderr" ||
            fail "run $i: message: $(cat "$work/stderr")"
    fi
    [ -s "$out.part.journal" ] && [ "$(wc -l < "$out.part.journal")" -gt 1 ] && resumed=$((resumed + 1))
done
MOEQ_ISA=avx512 "$moeq" convert "$model" -o "$work/killed.moeq" --level q4_k --json > "$work/result.json" ||
    fail "the last run"
cmp "$work/killed.moeq" "$work/whole.moeq" || fail "other bytes after $kills kills"
[ ! -e "$work/killed.moeq.part" ] && [ ! -e "$work/killed.moeq.part.journal" ] || fail "leftovers"
[ $resumed -gt 0 ] || fail "no run had anything to resume"

# In several files: four kills, SIGKILL and SIGINT in turn; never an index before all is done.
mkdir "$work/whole" "$work/killed"
MOEQ_ISA=avx512 "$moeq" convert "$model" -o "$work/whole/m.moeq" --level q4_k --shard-size 3M -q ||
    fail "undisturbed shards"
sharded=0
for i in $(seq 4); do
    out=$work/killed/m.moeq
    "$moeq" convert "$model" -o "$out" --level q4_k --shard-size 3M --threads 1 -q 2> "$work/stderr" &
    stop $! 4 $i
    [ $code = 0 ] && break # it was faster
    [ ! -e "$out.index.json" ] || fail "shards, run $i was stopped and there is an index"
    "$moeq" inspect "$work/killed" > /dev/null 2>&1 && fail "shards, run $i was stopped and opens"
    [ -s "$out.index.json.part.journal" ] &&
        [ "$(wc -l < "$out.index.json.part.journal")" -gt 1 ] && sharded=$((sharded + 1))
done
[ -e "$work/killed/m.moeq.index.json" ] ||
    MOEQ_ISA=avx512 "$moeq" convert "$model" -o "$work/killed/m.moeq" --level q4_k --shard-size 3M -q ||
    fail "the last run of shards"
diff -r "$work/killed" "$work/whole" || fail "other shards after the kills, or leftovers"
[ $sharded -gt 0 ] || fail "no run of shards had anything to resume"
"$moeq" check "$work/killed" -q || fail "the shards are damaged"

# Peak memory does not follow the model: the same model within a limit below its size.
MOEQ_ISA=generic "$moeq" convert "$model" -o "$work/small.moeq" --level q8_0 --memory 32M -q &
pid=$! peak=0
while kill -0 $pid 2> /dev/null; do
    now=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2> /dev/null)
    [ -n "$now" ] && peak=$now
    sleep 0.05
done
wait $pid || fail "--memory 32M"
# the sanitizer's own memory is counted too
sanitized || [ "$peak" -lt $((32 * 1024)) ] || fail "peak of $peak KiB with --memory 32M"
echo "$kills kills, $resumed with something to resume; of shards 4, $sharded; whole run $ms ms; peak $peak KiB of 32 MiB"
rm -rf "$work"
