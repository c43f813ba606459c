#!/bin/bash
# Folders that other tools have quantized: the same weights in each of their forms give the same logits, to the last
# bit, as a folder that has them as numbers; and what can be done with them besides.
. "$(dirname "$0")/helper.sh"
command -v python3 > /dev/null || { echo "skipped: python3 is missing"; exit 77; }
python3 tests/data/make_quantized_folders.py "$work/models" || fail "make_quantized_folders.py"

# logits MODEL NAME
logits() {
    "$moeq" eval "$1" --ids "$work/models/ids.safetensors" --dump "$work/$2.logits" --threads 1 --no-progress \
        > /dev/null 2> "$work/stderr" || fail "$2: $(cat "$work/stderr")"
}
logits "$work/models/plain" plain
for folder in gptq gptq_v2 awq ct4 ct8 ct_mixed mlx mlx8 mlx_plain; do
    logits "$work/models/$folder" $folder
    cmp -s "$work/plain.logits" "$work/$folder.logits" || fail "$folder: other logits than plain"
done

# The other forms of MLX's folders: of norms, of latent attention, of experts.
for folder in qwen3_next deepseek_v3 gpt_oss; do
    logits tests/fixtures/families/$folder $folder
    python3 tests/data/make_mlx_folder.py tests/fixtures/families/$folder "$work/models/$folder" ||
        fail "make_mlx_folder.py $folder"
    logits "$work/models/$folder" mlx_$folder
    cmp -s "$work/$folder.logits" "$work/mlx_$folder.logits" || fail "$folder: other logits in MLX's form"
done
# once more from a moeq file, whose norms are the official ones again
"$moeq" convert "$work/models/qwen3_next" -o "$work/next.moeq" --level f32 --attention f32 --embeddings f32 \
    --no-progress > "$work/stdout" 2>&1 || fail "convert qwen3_next: $(cat "$work/stdout")"
logits "$work/next.moeq" next
cmp -s "$work/qwen3_next.logits" "$work/next.logits" || fail "qwen3_next: other logits of its moeq file"

# told FOLDER 'line of inspect'
told() {
    "$moeq" inspect "$work/models/$1" > "$work/stdout" 2>&1
    grep -q "^  weights: $2\$" "$work/stdout" || fail "inspect $1: $(cat "$work/stdout")"
}
told gptq "GPTQ, 4 bits in groups of 32"
grep -q "4 tensors .* are left out: biases of zeros" "$work/stdout" || fail "inspect gptq: no word of biases"
told gptq_v2 "GPTQ, 4 bits in groups of 32, columns in any order (desc_act)"
told awq "AWQ, 4 bits in groups of 32"
told ct4 "compressed-tensors, 4 bits in groups of 32, asymmetric"
told ct_mixed "compressed-tensors, 4 bits in groups of 32, asymmetric; 8 bits in groups of 32"
told mlx "MLX, 4 bits in groups of 32"
tr -s ' \n' ' ' < "$work/stdout" | grep -q "1 router tensor is quantized, such as .*block_sparse_moe.gate.weight (a8_32)" ||
    fail "inspect mlx: no word of routers"
"$moeq" inspect "$work/models/mlx" --json | tr -d '\n' | grep -q '"weights_stored_as":.*"MLX, 4 bits in groups of 32"' ||
    fail "inspect --json"
"$moeq" inspect "$work/models/plain" | grep -q "^  weights:" && fail "inspect plain"
# as they are stored on disk: 4 bits, and 16 of a scale and a bias for each 32 weights
"$moeq" inspect "$work/models/mlx" | grep -q "^  experts and MLP  *a8_32 .* 5.0000$" || fail "sizes of mlx"

# To moeq files, as they are and quantized again, of which it is said.
for folder in gptq_v2 awq mlx; do
    "$moeq" convert "$work/models/$folder" -o "$work/$folder.moeq" --level q8_0 --no-progress > "$work/stdout" 2>&1 ||
        fail "convert $folder: $(cat "$work/stdout")"
    "$moeq" check "$work/$folder.moeq" > "$work/stdout" 2>&1 || fail "check $folder"
done
for folder in gptq_v2 mlx; do
    "$moeq" convert "$work/models/$folder" --level q8_0 --dry-run 2>&1 | tr -s ' \n' ' ' |
        grep -q "tensors are quantized already: converting them again adds to their error" ||
        fail "convert $folder --dry-run"
done
finish
