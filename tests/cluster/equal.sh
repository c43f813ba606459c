#!/bin/bash
# What several ranks write and print is what one process does, to the last byte: two ranks; MOEQ_TEST_ALL=1: up to six, more
# options, families of models, a layer as wide as Mixtral's.
. "$(dirname "$0")/helper.sh"
made=$work/made
counts=2
[ -z "${MOEQ_TEST_ALL:-}" ] || counts="1 2 3 4 6"

# same ARGUMENTS...: of every number of ranks, what is printed, and all files in $made, are those of one process. The last
# run's stay.
same() {
    local n
    rm -rf "$work/alone" "$made"
    mkdir "$made"
    alone "$@" > "$work/alone.out"
    sed -i '/^\t"\(seconds\|source_bytes_read_again\)":/d' "$work/alone.out"
    mv "$made" "$work/alone"
    for n in $counts; do
        rm -rf "$made"
        mkdir "$made"
        ranks "$n" "$@" > "$work/ranks.out"
        sed -i '/^\t"\(seconds\|source_bytes_read_again\)":/d' "$work/ranks.out"
        cmp "$work/alone.out" "$work/ranks.out" ||
            fail "$n ranks, $*: print something else: $(diff "$work/alone.out" "$work/ranks.out" | head -n 20)"
        [ ! -e "$made/r.md" ] || sed -i 's/| moeq-mpi /| moeq /' "$made/r.md" # which says by which command
        diff -r "$work/alone" "$made" || fail "$n ranks, $*: write something else"
    done
}

# every_command MODEL OPTION...: all that is divided among ranks, on the text that the options name.
every_command() {
    local model=$1
    shift
    same convert "$model" -o "$made/m.moeq" --level q3_k --json
    mv "$made/m.moeq" "$work/q3.moeq"
    same convert "$model" -o "$made/m.moeq" --level q3_k --effort calibrated "$@" --json
    same record "$model" "$@" -o "$made/m.moeqref" --json
    mv "$made/m.moeqref" "$work/m.moeqref"
    same verify "$work/q3.moeq" --against "$work/m.moeqref" --json
    same calibrate "$model" "$@" -o "$made/m.cal" --json
    mv "$made/m.cal" "$work/m.cal"
    same eval "$model" "$@" --json
    same sweep "$model" "$@" --levels q8_0,q3_k --json
}

text=(--text demo/text.txt --context 64 --tokens 320)
if sampled; then
    same convert $model -o "$made/m.moeq" --level q8_0 --json
    same sweep $model --text demo/text.txt --context 32 --tokens 64 --levels q3_k --json
    finish
    exit
fi
every_command $model "${text[@]}"
same convert $model -o "$made/m.moeq" --level q3_k --shard-size 1M --json
same export $model -o "$made/m.gguf" --level q4_k_m --json
[ -n "${MOEQ_TEST_ALL:-}" ] || { finish; exit; }

# Files: split, of other runtimes, with importance and checksums, by a budget, of a file, in little memory.
same export $model -o "$made/m.gguf" --level q4_k --split-max-size 1M --json
for format in mlx compressed-tensors fp8-block int8; do
    same export $model -o "$made/m" --format $format --shard-size 1M --json
done
(cd $model && sha256sum ./*.safetensors) > "$work/sums"
same convert $model -o "$made/m.moeq" --level iq3_s --calibration "$work/m.cal" --sha256 "$work/sums" --json
same convert $model -o "$made/m.moeq" --bpw 4 "${text[@]}" --json
same convert "$work/q3.moeq" -o "$made/m.moeq" --level q4_k --effort best --json
same convert $model -o "$made/m.moeq" --level q3_k --memory 24M --json
same convert $model -o "$made/m.moeq" --level q3_k --effort calibrated --attention q4_k "${text[@]}" --memory 40M --json
same export $model -o "$made/m.gguf" --level iq4_xs --effort calibrated --calibration "$work/m.cal" "${text[@]}" --json
same check "$work/q3.moeq" --against $model --json

# Figures: tasks, texts with names, arms, arithmetic, little memory, reports.
head -c 20000 demo/text.txt > "$work/tide.txt"
tail -c 20000 demo/text.txt > "$work/rest.txt"
texts=(--text tide="$work/tide.txt" --text rest="$work/rest.txt" --context 64 --tokens 192)
tasks=(--tasks tests/fixtures/tasks/words.jsonl)
same eval $model "${texts[@]}" "${tasks[@]}" --json
same sweep $model "${texts[@]}" "${tasks[@]}" --levels q3_k --swap --noise-floor --json
same sweep $model "${text[@]}" --levels q4_k,iq2_xs --compute int8 --json --memory 60M
same sweep $model "${text[@]}" --levels q3_k --effort calibrated --calibration-text "$work/tide.txt" --json
same verify "$work/q3.moeq" --levels mix3,q4_k --against $model "${texts[@]}" "${tasks[@]}" --swap -v --json --threads 1 \
    --report "$made/r.md" --report "$made/r.csv" --charts "$made/charts" --write-gate "$made/gate.json" --gate-texts
same record $model "${texts[@]}" "${tasks[@]}" -o "$made/m.moeqref" --json
mv "$made/m.moeqref" "$work/texts.moeqref"
same verify "$work/q3.moeq" --against "$work/texts.moeqref" -v --json
same calibrate $model "${texts[@]}" --holdout rest -o "$made/m.cal" -v --json
same calibrate $model "${texts[@]}" -o "$made/m.gguf" --json
same generate $model --prompt "The experts" -n 4

# However the pipeline is laid out. One process has no such options.
alone sweep $model "${text[@]}" --levels q3_k --json > "$work/alone.out"
for layout in "--pipelines 1" "--pipelines 2" "--pipelines 3" "--batch 64" "--batch 128 --pipelines 2" "--batch 100000"; do
    for n in 2 3 4 6; do
        [ "$n" -ge "$(grep -oP '(?<=--pipelines )\d+' <<< "$layout" || echo 1)" ] || continue
        # shellcheck disable=SC2086
        ranks $n sweep $model "${text[@]}" --levels q3_k --json $layout > "$work/ranks.out"
        cmp "$work/alone.out" "$work/ranks.out" || fail "$n ranks, $layout: other figures"
    done
done

# Families: experts of all kinds, recurrent layers, states that several layers share.
counts="2 3"
for family in deepseek_v3 deepseek_v3_fp8 gemma4_moe gpt_oss_mxfp4 granitemoehybrid kimi_k2_int4 llama4 nemotron_h qwen3_next; do
    folder=tests/fixtures/families/$family ids=(--ids tests/fixtures/families/$family/golden.safetensors)
    same convert $folder -o "$made/m.moeq" --level q4_k --json
    same convert $folder -o "$made/m.moeq" --level q4_k --effort calibrated "${ids[@]}" --json
    same calibrate $folder "${ids[@]}" -o "$made/m.cal" --json
    same eval $folder "${ids[@]}" --dump "$made/m.out" --dump-hidden --json
done

# Larger models, where they are.
if [ -d ../shared/models/small ]; then
    counts="1 2 3 4"
    every_command ../shared/models/small --text ../shared/models/text.txt --tokens 2048 --context 256
else
    echo "left out: a larger model (../shared/models is not there)"
fi
python3 tests/data/make_full_width.py "$work/wide" --config tests/fixtures/configs/mixtral-8x7b.json --moeq "$moeq" --layers 2 \
    --experts 2 --vocab 512 > /dev/null || fail "a wide model"
python3 - "$work/ids.safetensors" << 'PYTHON'
import json, struct, sys
ids = struct.pack("<128i", *range(3, 131))
header = json.dumps({"input_ids": {"dtype": "I32", "shape": [2, 64], "data_offsets": [0, 512]}}).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + ids)
PYTHON
counts=2
same convert "$work/wide" -o "$made/m.moeq" --level q4_k --json
same calibrate "$work/wide" --ids "$work/ids.safetensors" -o "$made/m.cal" --json
same eval "$work/wide" --ids "$work/ids.safetensors" --dump "$made/m.out" --json
same convert "$work/wide" -o "$made/m.moeq" --level q3_k --effort calibrated --ids "$work/ids.safetensors" --json
finish
