#!/bin/bash
# What people type for levels and recipes, wherever one is asked for.
. "$(dirname "$0")/helper.sh"
optimized_judges "the words"
end="moeq convert --help explains."

# plan NAME EXPECTED 'note' OPTIONS...: the dry run is that of EXPECTED.
plan() {
    local name=$1 expected=$2 note=$3
    shift 3
    "$moeq" convert $model --dry-run --level "$expected" > "$work/expected" || fail "$expected"
    expect 0 "$note" convert $model --dry-run "$@"
    cmp -s "$work/stdout" "$work/expected" || fail "$name is not $expected"
}
for pair in Q4_K_M=q4_k_m q3_K_l=q3_k_l Q4_K_S=q4_k_s Q8_0=q8_0 q5-k-m=q5_k_m fp16=f16 FP16=f16 BF16=bf16 \
    int8=q8_0 4bit=q4_k IQ3_M=iq3_m MIX4=mix4 Q4=q4_k "Q4 K M"=q4_k_m q2_k=q2_k \
    Q4KM=q4_k_m q4km=q4_k_m Q4-K-M=q4_k_m Q4_K-M=q4_k_m Q4K_M=q4_k_m IQ3XXS=iq3_xxs q80=q8_0 Q3KL=q3_k_l Q5.K.S=q5_k_s \
    fp_16=f16 FP8=fp8b MLX-4bit=mlx4g64 W4A16=w4g128; do
    plan "${pair%=*}" "${pair#*=}" "" --level "${pair%=*}"
    plan "${pair%=*}" "${pair#*=}" "" --recipe "${pair%=*}"
done
is_level="the experts' level, all else q8_0; llama.cpp's file type of that name is the recipe"
plan Q2_K q2_k "moeq: note: --level Q2_K: $is_level q2_k_mix" --level Q2_K
plan Q6K q6_k "moeq: note: --level Q6K: $is_level q6_k_mix" --level Q6K
plan IQ4_XS iq4_xs "moeq: note: --recipe IQ4_XS: $is_level iq4_xs_mix" --recipe IQ4_XS

usage convert "--level: 'UD-Q4_K_XL' has levels for each tensor that its publisher chose by measurements of their own; take as many bits measured on a text of yours, --bpw 4.6 --text FILE, or the recipe mix4" \
    convert $model --dry-run --level UD-Q4_K_XL
usage fit "--levels: 'Q40' is read, but never written; q4_k is as large, and closer" \
    fit $model --vram 1GiB --levels Q40
usage fit "--levels: 'Q4_0' is read, but never written; q4_k is as large, and closer" \
    fit $model --vram 1GiB --levels Q4_0
usage convert "--level: 'GPTQ' is another program's format: moeq reads it; w4g128 is what it writes for the same runtimes" \
    convert $model --dry-run --level GPTQ
usage convert "--attention: 'q4_k_m' is a recipe, a mix of levels; here one level is expected" \
    convert $model --dry-run --level q4_k --attention Q4_K_M
usage convert "--levels: 'mix4' is a recipe, a mix of levels; here one level is expected" \
    convert $model --dry-run --bpw 4 --text demo/text.txt --levels q8_0,MIX4
usage sweep "--levels: unknown level 'Q9_K_M'; did you mean q3_k_m?" sweep $model --text demo/text.txt --levels Q9_K_M

usage verify "'Q4_K_M' is a recipe, and verify takes files here; levels and recipes: moeq verify [FILE...] --against BASE --text FILE --levels Q4_K_M" \
    verify Q4_K_M --against $model --text demo/text.txt

expect 0 "" fit $model --vram 1GiB --levels Q8_0,Q4_K_M,4bit --json
grep -q '"q4_k_m"' "$work/stdout" || fail "fit: Q4_K_M"
expect 0 "" sweep $model --text demo/text.txt --tokens 512 --levels Q8_0,Mix4 --json
grep -q '"mix4"' "$work/stdout" || fail "sweep: Mix4"

# The file type of an export is the mix's own, and that of the experts' level; embeddings do not decide.
type_of() {
    expect 0 "" export $model -o "$work/t.gguf" --force -q --level "$1"
    python3 - "$work/t.gguf" "$2" << 'END' || fail "$1: another file type"
import sys
data = open(sys.argv[1], "rb").read(1 << 16)
key = b"general.file_type" + (4).to_bytes(4, "little")
at = data.index(key) + len(key)
found = int.from_bytes(data[at:at + 4], "little")
assert found == int(sys.argv[2]), found
END
}
if command -v python3 > /dev/null; then
    for pair in Q4_K_M=15 Q4_K_S=14 Q3_K_M=12 Q5_K_M=17 q2_k_mix=10 q6_k_mix=18 q3_k=11 q6_k=18 q8_0=7; do
        type_of "${pair%=*}" "${pair#*=}"
    done
fi
finish
