#!/usr/bin/env bash
# moeq fit: cards of this machine, bandwidths, kinds of cache, runtimes, models without weights, lines to run.
. "$(dirname "$0")/helper.sh"
optimized_judges "the words"
configs=tests/fixtures/configs
model_folder=demo/model
head -c 4000 demo/text.txt > "$work/text"

# json EXPRESSION ARGUMENTS...: true of d, the document that the command prints
json() {
    local expression=$1
    shift
    expect 0 "" "$@"
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), sys.argv[2]' "$work/stdout" "$expression" || fail "moeq $*"
}

model=$configs/mixtral-8x7b.json

# --gpu auto: by a program of that name; without one and without AMD's files a message that says so
mkdir -p "$work/bin" "$work/none"
cat > "$work/bin/nvidia-smi" << 'SH'
#!/bin/sh
[ "$*" = "--query-gpu=name,memory.total --format=csv,noheader,nounits" ] || exit 1
echo "NVIDIA GeForce RTX 3090, 24576"
echo "NVIDIA GeForce RTX 3060, 12288"
SH
chmod +x "$work/bin/nvidia-smi"
PATH="$work/bin:$PATH" "$moeq" fit $model --gpu auto > "$work/auto" 2> /dev/null || fail "--gpu auto"
grep -q "^  card 1   GeForce RTX 3090: 24 GB" "$work/auto" || fail "--gpu auto: card 1"
grep -q "^  card 2   GeForce RTX 3060: 12 GB" "$work/auto" || fail "--gpu auto: card 2"
if ! ls /sys/class/drm/card*/device/mem_info_vram_total > /dev/null 2>&1; then
    printf '#!/bin/sh\nexit 9\n' > "$work/bin/nvidia-smi"
    PATH="$work/bin:$PATH" "$moeq" fit $model --gpu auto 2> "$work/stderr" && fail "--gpu auto without cards"
    grep -q "nvidia-smi lists no card" "$work/stderr" || fail "--gpu auto: what is missing"
fi
"$moeq" fit --gpu LIST > "$work/stdout" && grep -q "^  GeForce RTX 4090 " "$work/stdout" || fail "--gpu list"

# memory and bandwidth of cards that are in no list
"$moeq" fit $model --vram 24GiB,12GiB --bandwidth 936,360 --levels q3_k > "$work/stdout" || fail "--bandwidth"
grep -q "^  card 2   a card: 12.00 GiB usable, 360 GB/s" "$work/stdout" || fail "--bandwidth of the second"
usage fit "--bandwidth '1,2,3': expected GB/s, one figure or one for each of 2 cards, such as 936 or 936,360" \
    fit $model --vram 2x24GiB --bandwidth 1,2,3

# kinds of cache, and runtimes
json "d['kv_cache']['bytes_per_token'] == 36 * 1024 and d['kv_cache']['level'] == 'q4_0'" \
    fit $model --vram 24GiB --kv q4_0 --levels q3_k --json
usage fit "--kv 'q3_k': expected f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl or f32, as llama.cpp takes them" \
    fit $model --vram 24GiB --kv q3_k
usage fit "--kv 'q8_0': expected f16, bf16 or fp8, as vllm takes them" \
    fit $model --vram 24GiB --kv q8_0 --runtime vllm
usage fit "--runtime 'exllama': expected llama.cpp (ollama and lmstudio, which run it, too), vllm, sglang, mlx, or of fit moeq" \
    fit $model --vram 24GiB --runtime exllama
for name in ollama LMStudio "LM Studio" llamacpp; do
    json "d['target']['runtime'] == 'llama.cpp'" fit $model --vram 24GiB --runtime "$name" --json
done
"$moeq" fit $model --vram 24GiB --runtime ollama | tr '\n' ' ' | tr -s ' ' > "$work/stdout"
grep -q "memory as llama.cpp, Ollama and LM Studio take it (--runtime llama.cpp" "$work/stdout" || fail "--runtime ollama"
usage fit "--runtime moeq keeps no cache between tokens when it evaluates: leave out --kv" \
    fit $model --vram 24GiB --kv q8_0 --runtime moeq
usage fit "--runtime moeq takes the same memory for every level: leave out --levels" \
    fit $model --vram 24GiB --levels q4_k --runtime moeq
json "[r['name'] for r in d['rows']][:2] == ['bf16', 'w4g32'] and d['target']['runtime'] == 'vllm' and \
    d['run'][0]['vllm'].startswith('vllm serve ') and d['run'][0]['llama_cpp'] is None" \
    fit $model --vram 200GiB --runtime vllm --json

# levels of runtimes that load folders, the lines that make and run them, and MLX for Macs alone
json "'w4g32' in [r['name'] for r in d['rows']] and ' --format ' in d['run'][0]['make'] and \
    d['run'][0]['sglang'].startswith('python3 -m sglang.launch_server --model-path mixtral-8x7b-')" \
    fit $model --gpu 2x4090 --runtime sglang --json
json "d['run'][0]['mlx'].startswith('mlx_lm.server --model mixtral-8x7b-mlx') and d['run'][0]['vllm'] is None" \
    fit $model --gpu "M2 Max 64GB" --runtime mlx --json
usage fit "--runtime mlx runs on one Mac: expected --gpu \"M2 Max 32GB\" or --vram SIZE, not GeForce RTX 4090" \
    fit $model --gpu 4090 --runtime mlx

# moeq's own evaluator: the same for every level, and more for longer windows
json "d['target']['runtime'] == 'moeq' and not d['fits'] and d['needed_bytes'] == d['buffer_bytes'] + d['window_bytes']" \
    fit $model --runtime moeq --vram 16M --context 4096 --threads 1 --json
grep -q 'moeq_result.*fit' "$work/stdout" || fail "--runtime moeq --json"
"$moeq" fit $model --runtime moeq --vram 16GiB | tr '\n' ' ' | grep -q "for each window of 512 tokens, .* at least: fits" ||
    fail "--runtime moeq"

# the host's memory: what it cannot hold is not offered
big=tests/fixtures/configs/gpt-oss-120b.json
json "'q4_k' in d['run'][0]['llama_cpp'] and '--n-cpu-moe' in d['run'][0]['llama_cpp'] and d['target']['host_usable_bytes'] == 56 * 2**30" \
    fit $big --gpu 4090 --context 8k --json
json "'bf16' in d['run'][0]['llama_cpp'] and d['kv_cache']['context_tokens'] == 8192" fit $big --gpu 4090 --ram 512G --context 8K --json
"$moeq" fit $big --gpu 4090 --ram 8G | tr '\n' ' ' | tr -s ' ' > "$work/stdout"
grep -q "no level fits GeForce RTX 4090 with 8192 tokens, nor that and a host of 8 GiB: iq2_xxs needs least, 1[0-9.]* GiB on the host" \
    "$work/stdout" || fail "--ram 8G: $(grep -o 'Best.*' "$work/stdout")"
usage fit "--ram 'much': expected a size such as 64GiB" fit $big --gpu 4090 --ram much
usage fit "--context '8kk': expected a whole number above 0, such as 8192 or 8k" fit $big --gpu 4090 --context 8kk

# vLLM has no host for the rest: what is too much, and how many such cards it takes; the sign for "x"
"$moeq" fit $model --gpu 2×4090 --runtime vllm --levels bf16 | tr '\n' ' ' | tr -s ' ' > "$work/stdout"
grep -q "no level fits 2 x GeForce RTX 4090 with 8192 tokens: the weights of bf16 alone are 86.99 GiB, [0-9.]* GiB more than the cards have for them; it takes 8 such cards (a number that divides the heads)\." \
    "$work/stdout" || fail "weights alone: $(grep -o 'Best.*' "$work/stdout")"
json "d['rows'][0]['verdict'] == 'fits'" fit $model --gpu 8x4090 --runtime vllm --json
json "d['rows'][0]['verdict'] == 'does_not_fit' and d['rows'][0]['cards_needed'] == 8" fit $model --gpu 4x4090 --runtime vllm --json
"$moeq" fit $model --vram 99GiB --runtime vllm --levels bf16 --context 32768 | tr '\n' ' ' | tr -s ' ' > "$work/stdout"
grep -q "; see above for shorter contexts\." "$work/stdout" || fail "shorter contexts: $(grep -o 'Best.*' "$work/stdout")"

# lines to run, of what fits and of what does with some experts on the host
"$moeq" fit $model --gpu 4090 --levels q4_k,q3_k --attention q4_k > "$work/stdout" || fail "fit"
grep -q "^  q3_k, all of it on the card: at most [0-9]* tokens/s$" "$work/stdout" || fail "title"
grep -q "make *moeq export MODEL -o mixtral-8x7b-q3_k.gguf --level q3_k --attention q4_k$" "$work/stdout" ||
    fail "the command that makes the file"
grep -q "llama.cpp llama-server -m mixtral-8x7b-q3_k.gguf -ngl 99 -c 8192 -np 1$" "$work/stdout" || fail "llama.cpp"
grep -q "llama-server -m mixtral-8x7b-q4_k.gguf -ngl 99 --n-cpu-moe [1-9] -c 8192 -np 1$" "$work/stdout" ||
    fail "with experts on the host"
json "d['best'] == 'q3_k' and d['choice'] == {'take': 'q3_k', 'on_card': 'q3_k', 'with_offload': 'q4_k'} and \
    d['run'][1]['offload'] == 'experts' and 0 < d['run'][1]['tokens_per_second_bound'] < \
    d['run'][0]['tokens_per_second_bound']" fit $model --gpu 4090 --levels q4_k,q3_k --json

# a folder, and a repository in the Hub's cache, that have no more than a config.json
mkdir -p "$work/My Model" "$work/hub/models--an--owner/snapshots/1"
cp $model "$work/My Model/config.json"
cp $model "$work/hub/models--an--owner/snapshots/1/config.json"
"$moeq" fit "$work/My Model" --gpu 4090 --levels q3_k > "$work/stdout" || fail "a folder without weights"
grep -q "^$work/My Model/config.json (config alone)" "$work/stdout" || fail "a folder without weights: what it says"
grep -qF "moeq export '$work/My Model' -o 'My Model-q3_k.gguf'" "$work/stdout" || fail "names with spaces"
HF_HUB_CACHE="$work/hub" "$moeq" fit an/owner --gpu 4090 --levels q3_k > "$work/stdout" || fail "owner/name"
grep -q "llama-server -m owner-q3_k.gguf" "$work/stdout" || fail "the name of a repository"
"$moeq" fit "$work/none" --gpu 4090 2> "$work/stderr" && fail "an empty folder"
grep -q "holds no config.json" "$work/stderr" || fail "an empty folder: what is missing"

# which of a sweep's rows fit a card, in the document, on the page and on the terminal
card=(--vram 1036MiB --bandwidth 100 --kv q8_0 --gpu-context 512)
"$moeq" sweep $model_folder --text "$work/text" --levels q8_0,q4_k "${card[@]}" --tokens 512 --no-progress \
    --report "$work/card.md" --json > "$work/sweep.json" || fail "sweep --vram"
python3 - "$work/sweep.json" << 'PYTHON' || fail "sweep --vram --json"
import json, sys
d = json.load(open(sys.argv[1]))
rows = {r["name"]: r["card"] for r in d["rows"]}
assert d["card"]["context_tokens"] == 512 and d["card"]["runtime"] == "llama.cpp" and d["card"]["kv"] == "q8_0", d["card"]
assert d["card"]["usable_bytes"] == 1036 << 20
assert not rows["q8_0"]["fits"] and rows["q4_k"]["fits"], rows
four = rows["q4_k"]
assert four["spare_bytes"] == d["card"]["usable_bytes"] - four["needed_bytes"] >= 0
assert four["spare_context_tokens"] == four["max_context_tokens"] - 512 and four["tokens_per_second_bound"] > 0
PYTHON
grep -q '^\*\*Take q4_k: 4\.[0-9]*.*MiB, fits a card with 1.01 GiB with a context of up to [0-9,]* tokens, at most ' \
    "$work/card.md" || fail "the headline of a card: $(sed -n 3p "$work/card.md")"
"$moeq" sweep $model_folder --text "$work/text" --levels q8_0,q4_k --vram 2GiB --tokens 512 --no-progress > "$work/stdout" ||
    fail "sweep --vram 2GiB"
grep -q "^Take q8_0: 6\.[0-9]* MiB, fits a card with 2.00 GiB" "$work/stdout" || fail "what fits best: $(tail -3 "$work/stdout")"
usage sweep "--kv, --runtime, --bandwidth, --ram and --gpu-context are about a card: --gpu or --vram" \
    sweep $model_folder --text "$work/text" --levels q4_k --kv q8_0

# Files that lack a tensor are broken; where files are not there, sizes are config.json's, which is said.
cp -r demo/model "$work/part" && chmod -R u+w "$work/part"
sed -i 's/experts\.7\.w1/experts.7.wX/' "$work"/part/*.safetensors "$work/part/model.safetensors.index.json"
for command in inspect "fit --vram 24GiB"; do
    "$moeq" $command "$work/part" > "$work/stdout" 2> "$work/stderr"
    [ $? = 1 ] && grep -q "experts.7.w1.weight' is missing" "$work/stderr" || fail "$command without a tensor: $(cat "$work/stderr")"
done
rm "$work"/part/model-00003-of-00003.safetensors
for command in inspect "fit --vram 24GiB"; do
    "$moeq" $command "$work/part" | tr -s ' \n' '  ' | grep -q "note: no weights were read: .*model-00003-of-00003.safetensors" ||
        fail "$command without a file says nothing"
    "$moeq" $command "$work/part" --json | grep -q '"notes":.*no weights were read' || fail "$command --json without a file"
done
# what its makers quantized, by config.json alone and of a folder: first the row of that
quantized=tests/fixtures/families
mkdir -p "$work/fp8" && cp $quantized/deepseek_v3_fp8/config.json "$work/fp8"
for folder in $quantized/deepseek_v3_fp8 "$work/fp8"; do
    json "d['rows'][0]['name'] == 'as stored' and d['rows'][0]['as_stored'] and d['choice']['take'] == 'as stored' and \
        d['run'][0]['vllm'].startswith('vllm serve $folder ')" fit "$folder" --vram 24GiB --runtime vllm --json
    json "d['rows'][0]['name'] == 'bf16' and any('f8_e4m3, of which GGUF has no type' in a for a in d['assumptions']) and \
        ' && moeq export made.moeq -o ' in d['run'][0]['make']" fit "$folder" --vram 24GiB --json
done
json "d['rows'][0]['name'] == 'as stored' and 'bf16' not in [r['name'] for r in d['rows']] and d['best'] == 'as stored' and \
    d['run'][0]['make'] == 'moeq export $quantized/gpt_oss_mxfp4 -o gpt_oss_mxfp4-original.gguf' and len(d['run']) == 1" \
    fit $quantized/gpt_oss_mxfp4/config.json --vram 24GiB --json
"$moeq" fit $quantized/gpt_oss_mxfp4 --vram 24GiB | tr '\n' ' ' | tr -s ' ' | grep -q 'Best as stored, which fits .*: nothing is lost\.' ||
    fail "as stored"

# a few bytes that ask for much work: 196,000 tensors, and 8,000 layers
python3 - "$work" << 'PYTHON'
import json, sys
small = dict(hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=2048, model_type="mixtral", num_experts_per_tok=2, max_position_embeddings=1 << 20)
json.dump(dict(small, num_hidden_layers=1, num_local_experts=65535), open(sys.argv[1] + "/wide.json", "w"))
json.dump(dict(small, num_hidden_layers=8000, num_local_experts=8), open(sys.argv[1] + "/deep.json", "w"))
PYTHON
for name in wide deep; do
    "$moeq" fit "$work/$name.json" --vram 8G > "$work/stdout" || fail "$name"
done
finish
