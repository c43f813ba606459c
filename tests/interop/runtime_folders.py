"""Quantized folders as their own packages make and decode them: what the readers of moeq are held against.

Each maker takes a folder of plain weights and gives a quantized one and, by the package's own decoder, what its matrices
then are: module -> f32 [rows, cols], by the names of Hugging Face. All linear layers are quantized but routers, embeddings
and head.
"""
import json
import os
import pathlib
import types
import warnings

import numpy as np
import torch

import folder_layouts as layouts
from folder_layouts import Tensor

os.environ.setdefault("ACCELERATE_DISABLE_RICH", "1")


def is_quantized(name, tensor):
    module = name.removesuffix(".weight")
    return (name.endswith(".weight") and tensor.array.ndim == 2 and not module.endswith((".gate", "lm_head")) and
            "embed" not in module)


def plain(tensor):
    return torch.from_numpy(tensor.f32())


def stored(value):
    """A tensor of torch as it stands in a file."""
    value = value.detach().contiguous()
    name = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32", torch.int64: "I64",
            torch.int8: "I8", torch.uint8: "U8", torch.float8_e4m3fn: "F8_E4M3"}[value.dtype]
    if name == "BF16":
        value = value.view(torch.int16)
    elif name == "F8_E4M3":
        value = value.view(torch.uint8)
    return Tensor(name, value.numpy().view(layouts.TYPES[name]))


def each_matrix(model, make):
    """The tensors of a folder, those of the matrices by make(module, weight) -> their tensors, f32."""
    tensors, decoded = {}, {}
    for name, t in layouts.read_folder(model).items():
        if not is_quantized(name, t):
            tensors[name] = t
            continue
        module = name.removesuffix(".weight")
        parts, weight = make(module, plain(t))
        tensors.update({f"{module}.{end}": part for end, part in parts.items()})
        decoded[module] = np.ascontiguousarray(weight, np.float32)
    return tensors, decoded


# ---- compressed-tensors ----

IGNORED = ["lm_head", "re:.*\\.gate$"]


def int_args(bits, group, symmetric=True, **more):
    how = {"strategy": "channel"} if group == 0 else {"strategy": "group", "group_size": group}
    return {"num_bits": bits, "type": "int", "symmetric": symmetric, "dynamic": False, **how, **more}


INT8_STATES = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
FP8_STATES = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": True}
COMPRESSED = {  # name -> format, arguments of the weights, of the states
    "w4g32": ("pack-quantized", int_args(4, 32), None),
    "w4g64": ("pack-quantized", int_args(4, 64), None),
    "w4g128": ("pack-quantized", int_args(4, 128, actorder="weight"), None),
    "w4 channel": ("pack-quantized", int_args(4, 0), None),
    "w8g32": ("pack-quantized", int_args(8, 32), None),
    "w8g128": ("pack-quantized", int_args(8, 128), None),
    "w8 channel": ("pack-quantized", int_args(8, 0), None),
    "w4g32 asymmetric": ("pack-quantized", int_args(4, 32, False), None),
    "w4g128 asymmetric": ("pack-quantized", int_args(4, 128, False), None),
    "w4 channel asymmetric": ("pack-quantized", int_args(4, 0, False), None),
    "w8g64 asymmetric": ("pack-quantized", int_args(8, 64, False), None),
    "int8": ("int-quantized", int_args(8, 0), INT8_STATES),
    "int8 asymmetric": ("int-quantized", int_args(8, 0, False), INT8_STATES),
    "fp8 channel": ("float-quantized", {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel",
                                        "dynamic": False}, {**FP8_STATES, "strategy": "token"}),
    "fp8 block": ("float-quantized", {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "block",
                                      "block_structure": [128, 128], "dynamic": False},
                  {**FP8_STATES, "strategy": "group", "group_size": 128}),
}


class Scheme:
    """One way to quantize, by the package's compressor."""

    def __init__(self, how, observer="memoryless_minmax"):
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationScheme
        self.format, weights, states = COMPRESSED[how]
        self.group = {"targets": ["Linear"], "weights": weights, "input_activations": states,
                      "output_activations": None}
        self.scheme = QuantizationScheme.model_validate(self.group)
        self.compressor = BaseCompressor.get_value_from_registry(self.format)
        self.observer = observer

    def scales(self, weight):
        """Of llm-compressor's observer, as bf16, in which it keeps those of bf16 models."""
        from llmcompressor.observers import Observer
        observer = Observer.load_from_registry(self.observer, base_name="weight", args=self.scheme.weights)
        observer(weight.to(torch.bfloat16))
        found = observer.get_qparams()
        return found["scale"], found["zero_point"]

    def make(self, _module, weight):
        scale, zero = self.scales(weight)
        state = {"weight": weight.to(torch.bfloat16), "weight_scale": scale.to(torch.bfloat16)}
        if not self.scheme.weights.symmetric:
            state["weight_zero_point"] = zero.to(torch.int8)
        packed = self.compressor.compress(state, self.scheme)
        parts = {end: stored(value) for end, value in packed.items()}
        exact = dict(packed, weight_scale=packed["weight_scale"].float()) # with bf16 scales it gives bf16
        return parts, self.compressor.decompress(exact, self.scheme)["weight"].numpy()


def compressed(model, folder, how, observer="memoryless_minmax"):
    scheme = Scheme(how, observer)
    tensors, decoded = each_matrix(model, scheme.make)
    config = {"quant_method": "compressed-tensors", "format": scheme.format, "quantization_status": "compressed",
              "config_groups": {"group_0": scheme.group}, "ignore": IGNORED, "kv_cache_scheme": None,
              "version": "0.20.1"}
    layouts.write_folder(folder, model, tensors, {"quantization_config": config})
    return decoded


# ---- GPTQ, AWQ ----

GPTQ = {  # name -> bits, group, symmetric, columns in order of activations, version
    "gptq 4 g128": (4, 128, True, False, 1),
    "gptq 4 g32 asymmetric": (4, 32, False, False, 1),
    "gptq 4 g64 act-order": (4, 64, True, True, 1),
    "gptq 8 g128": (8, 128, True, False, 1),
    "gptq_v2 4 g32": (4, 32, True, False, 2),
    "gptq_v2 4 g128 asymmetric": (4, 128, False, False, 2),
    "gptq_v2 8 g64 act-order": (8, 64, False, True, 2),
    "gptq 2 g64": (2, 64, True, False, 1),
    "gptq 3 g64": (3, 64, True, False, 1),
}


def round_to_nearest(weight, bits, group, symmetric, order=None):
    """Scales and zero points [rows, groups] of groups of columns; of those that `order` puts together."""
    weight = weight if order is None else weight[:, torch.argsort(order, stable=True)]
    parts, most = weight.reshape(weight.shape[0], -1, group), (1 << bits) - 1
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    scale = ((high - low) / most).half().float()
    zero = torch.full_like(scale, 1 << bits - 1) if symmetric else torch.round(-low / scale).clamp(0, most)
    return scale, zero


def gptq(model, folder, how):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
    bits, group, symmetric, by_order, version = GPTQ[how]

    def make(_module, weight):
        rows, cols = weight.shape
        order = torch.arange(cols) // group
        if by_order:
            order = order[torch.randperm(cols, generator=torch.Generator().manual_seed(cols))]
        scale, zero = round_to_nearest(weight, bits, group, symmetric, order)
        if version == 1:
            zero = zero.clamp(min=1) # what is one less must be there
        linear = torch.nn.Linear(cols, rows, bias=False)
        linear.weight.data = weight
        layer = TorchLinear(bits=bits, group_size=group, sym=symmetric, desc_act=by_order, in_features=cols,
                            out_features=rows, bias=False, register_buffers=True)
        layer.pack_original(linear, scale, zero, order.to(torch.int32))
        layer.post_init()
        layer.dequant_dtype = torch.int16
        layer.scales, half = layer.scales.float(), layer.scales
        decoded = layer.dequantize_weight().T.float().numpy()
        layer.scales = half
        if version == 1:
            convert_gptq_v2_to_v1_format_module(layer, types.SimpleNamespace(bits=bits, pack_dtype=torch.int32))
        return {end: stored(getattr(layer, end)) for end in ("qweight", "qzeros", "scales", "g_idx")}, decoded

    tensors, decoded = each_matrix(model, make)
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": by_order, "sym": symmetric,
              "lm_head": False, "checkpoint_format": "gptq" if version == 1 else "gptq_v2", "pack_dtype": "int32"}
    layouts.write_folder(folder, model, tensors, {"quantization_config": config})
    return decoded


AWQ = {"awq g128": 128, "awq g64": 64, "awq g32": 32}


def awq(model, folder, how):
    with warnings.catch_warnings(record=True): # that AutoAWQ is no longer maintained
        from awq.modules.linear.gemm import WQLinear_GEMM
        from awq.utils.packing_utils import dequantize_gemm
    group = AWQ[how]

    def make(_module, weight):
        rows, cols = weight.shape
        scale, zero = round_to_nearest(weight, 4, group, False)
        linear = torch.nn.Linear(cols, rows, bias=False)
        linear.weight.data = weight
        layer = WQLinear_GEMM.from_linear(linear, 4, group, False, scale.T.contiguous(), zero.T.contiguous())
        decoded = dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.float(), 4, group)
        return ({end: stored(getattr(layer, end)) for end in ("qweight", "qzeros", "scales")},
                decoded.T.float().numpy())

    tensors, decoded = each_matrix(model, make)
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm",
              "modules_to_not_convert": ["gate"]}
    layouts.write_folder(folder, model, tensors, {"quantization_config": config})
    return decoded


# ---- MLX ----

MLX = {f"mlx{bits}g{group}": (bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)}


def mlx(model, folder, how):
    """As mlx_lm.convert, but without a tokenizer."""
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model
    bits, group = MLX[how]
    loaded, config = load_model(pathlib.Path(model))
    quantized, config = quantize_model(loaded, config, group, bits)
    folder = pathlib.Path(folder)
    layouts.write_folder(folder, model, {}, {}) # the other files
    (folder / "model.safetensors").unlink()
    save_model(folder, quantized)
    save_config(config, config_path=folder / "config.json")
    return mlx_weights(folder)


def mlx_weights(folder):
    """All matrices of a folder, as mlx.core decodes them."""
    import mlx.core as mx
    config = json.loads((pathlib.Path(folder) / "config.json").read_text(encoding="utf-8"))
    found = {}
    for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        found.update(mx.load(str(path)))
    decoded = {}
    for name, scales in found.items():
        if not name.endswith(".scales"):
            continue
        module = name.removesuffix(".scales")
        how = config["quantization"].get(module)
        how = how if isinstance(how, dict) else config["quantization"]
        weight = mx.dequantize(found[module + ".weight"], scales.astype(mx.float32),
                               found[module + ".biases"].astype(mx.float32), how["group_size"], how["bits"])
        decoded[module] = np.array(weight, np.float32)
    return by_hugging_face(decoded, config)


def by_hugging_face(decoded, config):
    """Stacked experts as one matrix each; the two halves of kv_b_proj as one."""
    names = {}
    for module, weight in decoded.items():
        if ".switch_mlp." in module:
            block, part = module.split(".switch_mlp.")
            if block.endswith("block_sparse_moe"):
                part = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[part]
            names.update({f"{block}.experts.{e}.{part}": w for e, w in enumerate(weight)})
        elif module.endswith(".embed_q"):
            v = decoded[module.removesuffix("embed_q") + "unembed_out"]
            both = np.concatenate([weight.swapaxes(1, 2), v], axis=1)
            names[module.removesuffix("embed_q") + "kv_b_proj"] = both.reshape(-1, both.shape[-1])
        elif not module.endswith(".unembed_out"):
            names[module] = weight
    return names


# ---- all ----


def by_formula(kind, how, get, cols):
    """A matrix by folder_layouts, from a function that gives the module's tensors; None: stored otherwise."""
    if kind == "gptq":
        bits, _, _, _, version = GPTQ[how]
        return layouts.decode_gptq(get, bits, version)
    if kind == "awq":
        return layouts.decode_awq(get)
    if kind == "mlx":
        if not get("scales") or get("scales").array.ndim != 2:
            return None
        bits = get("weight").array.shape[1] * 32 // cols # routers have their own
        return layouts.decode_mlx(get, bits, cols // get("scales").array.shape[1])
    form, weights, _ = COMPRESSED[how]
    if form == "pack-quantized":
        return layouts.decode_packed(get, weights["num_bits"])
    if weights["strategy"] == "block":
        return layouts.decode_fp8(get, "weight_scale", weights["block_structure"])
    return layouts.decode_rows(get)


MAKERS = {"compressed-tensors": (compressed, COMPRESSED), "gptq": (gptq, GPTQ), "awq": (awq, AWQ), "mlx": (mlx, MLX)}


def dense(model, folder, decoded):
    """The folder of what a quantized one decodes to, in f32."""
    tensors = {}
    for name, t in layouts.read_folder(model).items():
        module = name.removesuffix(".weight")
        tensors[name] = Tensor("F32", decoded[module]) if name.endswith(".weight") and module in decoded else t
    return layouts.write_folder(folder, model, tensors, {})
