#!/usr/bin/env bash
# fuzz.sh: builds the fuzz targets with clang and runs them; see usage below.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<END
usage: ./fuzz.sh SECONDS [TARGET...]

Builds the fuzz targets (clang: libFuzzer, AddressSanitizer, UBSan) in build/fuzz and runs them for
SECONDS in all, on all cores; without TARGET all of them:

$(targets | paste -sd' ' | fold -sw 90 | sed 's/^/  /')

Each starts from tests/fuzz/corpus/TARGET and from what it has found in earlier runs, which is kept
in build/fuzz/corpus/TARGET. An input that fails is kept in build/fuzz/found/TARGET and run again
the next time: when it no longer fails, it moves to that corpus. What a run printed is in
build/fuzz/logs/TARGET.

Exit code: 0, 1 if there is an input that fails or something could not be done, 2 for a mistake in
the call, 130 after Ctrl-C, which ends the run early with its table.
Environment: JOBS, processes at a time (all cores).
END
}

targets() {
    grep -l LLVMFuzzerTestOneInput tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||'
}

misuse() {
    echo "fuzz.sh: $1" >&2
    echo "./fuzz.sh --help explains." >&2
    exit 2
}

# ---- the call ----

case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    "") misuse "expected: ./fuzz.sh SECONDS [TARGET...]" ;;
esac
total=$1
shift
[[ $total =~ ^[1-9][0-9]{0,6}$ ]] || misuse "'$total': expected a number of seconds, such as 600"
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
[[ $jobs =~ ^[1-9][0-9]{0,3}$ ]] || misuse "JOBS='$jobs': expected a number of processes"
mapfile -t known < <(targets)
names=("$@")
[ $# -gt 0 ] || names=("${known[@]}")
for name in "${names[@]}"; do
    [[ " ${known[*]} " == *" $name "* ]] ||
        misuse "there is no target '$name'; there are: ${known[*]}"
done

# ---- building ----

build=build/fuzz
. scripts/setup.sh
need_tool clang "compiler of the fuzz targets" clang
command -v clang >/dev/null || need "libFuzzer and the sanitizers" libclang-rt-dev
moeq_setup tests
command -v clang >/dev/null ||
    { echo "fuzz.sh: clang is not there; install it with libFuzzer (Debian: clang, Fedora: clang compiler-rt)" >&2; exit 1; }
mkdir -p $build/logs
echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return p && n < 0; }' > $build/probe.c
clang -fsanitize=fuzzer,address,undefined $build/probe.c -o $build/probe 2> $build/probe.log || {
    cat $build/probe.log >&2
    echo "fuzz.sh: $(clang --version | head -n 1) has no libFuzzer; install its runtime (Debian: libclang-rt-*-dev, Fedora: compiler-rt)" >&2
    exit 1
}
moeq_configure $build -DMOEQ_FUZZ=ON -DMOEQ_TESTS=ON -DMOEQ_BENCH=OFF -DCMAKE_C_COMPILER=clang \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMOEQ_SANITIZE=address,undefined
cmake --build $build --parallel --target "${names[@]/#/fuzz_}" > $build/build.log 2>&1 ||
    { tail -n 40 $build/build.log >&2; echo "fuzz.sh: the build failed: $build/build.log" >&2; exit 1; }

# ---- running ----

# A small quarantine: fresh memory for every input costs half of the time. Your own options win.
export ASAN_OPTIONS=quarantine_size_mb=4:thread_local_quarantine_size_kb=256:malloc_context_size=8:allocator_may_return_null=1:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
most=3 # failing inputs of a target before it is left

found_count() {
    find "$build/found/$1" -type f | wc -l
}

# Inputs that failed before: those that no longer do become part of the corpus.
run_found_again() {
    local name=$1 input
    for input in "$build/found/$name"/*; do
        [ -f "$input" ] || continue
        if "$build/tests/fuzz/fuzz_$name" -timeout=30 "$input" > "$build/logs/$name.again" 2>&1; then
            echo "$name: $(basename "$input") no longer fails: moved to $build/corpus/$name"
            mv "$input" "$build/corpus/$name/"
        else
            echo "$name: $input still fails"
        fi
    done
}

# The words that a target's parser knows: they stand in its sources.
make_dictionary() {
    local name=$1 sources
    case $name in
        tokenizer | side_files | sentencepiece) sources=(formats/tokenizer/*.c formats/sentencepiece/*.c) ;;
        config | hf_*) sources=(formats/config*.[ch] formats/hf*.c formats/arch/*.c) ;;
        gguf*) sources=(formats/gguf/*.[ch]) ;;
        safetensors | moeq_*) sources=(formats/safetensors.c formats/dtype.h formats/moeq*.[ch] quantize/levels.c) ;;
        *) sources=(*/"$name"*.c) ;;
    esac
    grep -ohsE '"[A-Za-z_][A-Za-z0-9_.]{1,40}"' "${sources[@]}" | sort -u > "$build/$name.dict" || true
}

# fuzz NAME LOG SECONDS: until the time is over or `most` inputs fail.
fuzz() {
    local name=$1 log=$2 end=$(($(date +%s) + $3)) left
    make_dictionary "$name"
    : > "$log"
    while left=$((end - $(date +%s))) && [ $left -gt 0 ] && [ "$(found_count "$name")" -lt $most ]; do
        "$build/tests/fuzz/fuzz_$name" -max_total_time=$left -timeout=30 -rss_limit_mb=3000 \
            -print_final_stats=1 -dict="$build/$name.dict" -artifact_prefix="$build/found/$name/" \
            "$build/corpus/$name" "tests/fuzz/corpus/$name" >> "$log" 2>&1 &
        child=$!
        wait $child && break # the time is over
        [ -z "$stopped" ] || break
        # whatever ended it left an input or said why
        [ "$(found_count "$name")" -gt 0 ] ||
            { echo "$name: ended without an input: $log" > "$build/found/$name/ended"; break; }
    done
}

# A process of its own for each, which passes Ctrl-C on: libFuzzer then prints its table and ends.
child='' stopped=''
start() {
    (
        trap 'stopped=1; [ -z "$child" ] || kill -INT $child 2>/dev/null; wait $child || true' INT TERM
        fuzz "$@"
    ) &
    pids+=($!)
}

# A row of the table, of all the logs of a target.
row() {
    local name=$1
    awk -v name="$name" -v found="$(found_count "$name")" \
        -v kept="$(find "$build/corpus/$name" -type f | wc -l)" '
        / cov: / {
            for (i = 1; i < NF; i++) {
                if ($i == "cov:" && $(i + 1) > cov) cov = $(i + 1)
                if ($i == "ft:" && $(i + 1) > ft) ft = $(i + 1)
            }
        }
        /^stat::number_of_executed_units:/ { runs += last = $2 }
        /^stat::average_exec_per_sec:/ && $2 { seconds += last / $2 }
        END {
            printf "%-16s %12d %9.0f %8d %9d %8d %9s\n", name, runs, runs / (seconds ? seconds : 1),
                cov, ft, kept, found ? found : "-"
        }' "$build/logs/$name".[0-9]*
}

for name in "${names[@]}"; do
    mkdir -p "$build/corpus/$name" "$build/found/$name"
    rm -f "$build/logs/$name".* "$build/found/$name/ended"
    run_found_again "$name"
done

# With fewer targets than cores, several processes for each; with more, one after the other.
count=${#names[@]}
workers=$((jobs > count ? jobs / count : 1))
share=$((workers > 1 ? total : (total * jobs + count - 1) / count))
[ $share -le "$total" ] || share=$total
echo "$count targets, $workers process(es) each, $share s each, $jobs at a time"
pids=()
interrupted=''
trap 'interrupted=1; [ ${#pids[@]} -eq 0 ] || kill -TERM "${pids[@]}" 2>/dev/null || true' INT TERM
for name in "${names[@]}"; do
    for ((w = 0; w < workers; w++)); do
        while [ -z "$interrupted" ] && [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
            wait -n || true
        done
        [ -n "$interrupted" ] || start "$name" "$build/logs/$name.$w" "$share"
    done
done
while [ -n "$(jobs -pr)" ]; do
    wait || true
done

# ---- what came of it ----

status=0
printf '\n%-16s %12s %9s %8s %9s %8s %9s\n' target executions exec/s edges features corpus findings
for name in "${names[@]}"; do
    ls "$build/logs/$name".[0-9]* >/dev/null 2>&1 || { printf '%-16s not run\n' "$name"; continue; }
    row "$name"
    [ "$(found_count "$name")" -eq 0 ] || status=1
done
for name in "${names[@]}"; do
    for input in "$build/found/$name"/*; do
        [ ! -f "$input" ] || echo "fails: $build/tests/fuzz/fuzz_$name $input"
    done
    grep -hE '^(SUMMARY|==[0-9]+== ERROR): ' "$build/logs/$name".[0-9]* 2>/dev/null | sed -E "s/^(==[0-9]+== )?/  $name: /" | sort -u || true
done
[ -z "$interrupted" ] || { echo "interrupted"; exit 130; }
exit $status
