#!/bin/bash
# Folders for other runtimes: what is planned, what is written, and what people type wrongly.
. "$(dirname "$0")/helper.sh"
dir=$work/dir

# ---- plans ----
for format in mlx:mlx4g64 compressed-tensors:w4g32 fp8-block:fp8b int8:w8c; do
    says 0 "experts and MLP ${format#*:} " export $model --format ${format%:*} --dry-run
    says 0 "OUT/config.json" export $model --format ${format%:*} --dry-run
done
says 0 "$dir/model.safetensors.index.json" export $model -o "$dir" --format mlx --dry-run
[ ! -e "$dir" ] || fail "the dry run wrote something"
says 0 '"format": "compressed-tensors"' export $model --format w4a16 --dry-run --json
usage export "--format 'vLLM' is a runtime, which reads compressed-tensors, fp8-block and int8: expected gguf, mlx, compressed-tensors, fp8-block or int8" \
    export $model -o "$dir" --format vLLM
usage export "--format 'mlq': expected gguf, mlx, compressed-tensors, fp8-block or int8" export $model -o "$dir" --format mlq
usage export "-o DIR is missing (or --dry-run, to see the plan)" export $model --format mlx
usage export "-o 'm.gguf' is the name of a gguf file, and --format mlx writes a folder; for a GGUF file leave --format out; for the folder: moeq export $model -o m-mlx --format mlx" \
    export $model -o m.gguf --format mlx
usage export "-o 'm.moeq' is the name of a moeq file, and --format int8 writes a folder; give it a name of its own: moeq export $model -o m-int8 --format int8" \
    export $model -o m.moeq --format int8
usage export "--level mlx4g64 is one of folders for another runtime, and export writes GGUF without --format: moeq export $model -o DIR --format mlx --level mlx4g64" \
    export $model -o m.gguf --level mlx4
usage export "-o '$work' is a folder, and export writes a GGUF file without --format; for a folder, one of mlx, compressed-tensors, fp8-block and int8: moeq export $model -o $work --format mlx" \
    export $model -o "$work"
usage export "--tp is about folders for vLLM and SGLang: --format compressed-tensors, fp8-block or int8" export $model -o m.gguf --tp 2
usage export "--shard-size is about folders and moeq files; GGUF files are split by --split-max-size" \
    export $model -o m.gguf --shard-size 1G
usage export "--gpu chooses among the levels of GGUF and moeq files; with --format mlx give --level" \
    export $model -o "$dir" --format mlx --gpu 4090
says 1 "rows of 256 weights, cut among 4 GPUs (--tp 4), which is no multiple of w4g128's groups of 128: w4g32 fits up to 8 GPUs, w4g64 fits up to 4 GPUs, w4g128 fits up to 2 GPUs, w4c fits up to 4 GPUs (--level)" \
    export $model -o "$dir" --format compressed-tensors --tp 4 --level w4g128
says 1 "--format mlx has no form" export $model -o "$dir" --format mlx --level q3_k
says 0 "mlx3g64" export $model -o "$dir" --format mlx --level q3_k --unify up --dry-run

# ---- folders ----
expect 0 "" export $model -o "$dir" --format compressed-tensors --tp 2
grep -q "^wrote $dir, 6 files: " "$work/stdout" || fail "$(cat "$work/stdout")"
grep -q "vllm serve $dir --tensor-parallel-size 2$" "$work/stdout" || fail "no command for vLLM"
grep -q "sglang.launch_server --model-path $dir --tp-size 2$" "$work/stdout" || fail "no command for SGLang"
[ "$(cd "$dir" && echo *)" = "config.json generation_config.json model.safetensors special_tokens_map.json tokenizer.json tokenizer_config.json" ] ||
    fail "the folder has $(ls "$dir")"
for file in tokenizer.json tokenizer_config.json special_tokens_map.json generation_config.json; do
    cmp "$model/$file" "$dir/$file" || fail "$file"
done
says 1 "$dir: exists already; give --force to replace it" export $model -o "$dir" --format mlx -q
expect 0 "" export $model -o "$dir" --format mlx --shard-size 1M --force -q
[ "$(cd "$dir" && echo model*)" = "model-00001-of-00005.safetensors model-00002-of-00005.safetensors model-00003-of-00005.safetensors model-00004-of-00005.safetensors model-00005-of-00005.safetensors model.safetensors.index.json" ] ||
    fail "shards: $(ls "$dir")"

# The blocks of a moeq file are cut; those of the original are the same.
for format in mlx:mlx4g64 compressed-tensors:w4g32 fp8-block:fp8b int8:w8c; do
    level=${format#*:} format=${format%:*}
    says 0 "wrote $work/$format, " export $model -o "$work/$format" --format $format
    expect 0 "" convert $model -o "$work/$level.moeq" --level $level -q
    says 0 "wrote $work/from-$format, " export "$work/$level.moeq" -o "$work/from-$format" --format $format
    cmp "$work/$format/model.safetensors" "$work/from-$format/model.safetensors" || fail "$format from $level.moeq"
    cmp "$work/$format/config.json" "$work/from-$format/config.json" || fail "config.json of $format from $level.moeq"
done

# Of a GGUF file, and of q4_k, blocks are copied for MLX.
expect 0 "" export $model -o "$work/q4.gguf" --level q4_k -q
says 0 "experts and MLP q4_k" export "$work/q4.gguf" -o "$work/repacked" --format mlx
says 0 "mlx_lm.generate --model $work/repacked2" export $model -o "$work/repacked2" --format mlx --level q4_k
grep -q '"quantization": {"group_size": 32, "bits": 4, "mode": "affine",' "$work/repacked/config.json" ||
    fail "$(cat "$work/repacked/config.json")"
says 1 "is stored at q8_0, of which --format int8 has no form (it has: w8c); export the original model" \
    export "$work/q4.gguf" -o "$work/no" --format int8
finish
