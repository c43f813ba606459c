"""Small random models of three families, by Transformers: with widths that the formats of other runtimes can cut (hidden
256, experts 128), weights that bf16 holds, and no tokenizer."""
import json
import pathlib

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

COMMON = {"hidden_size": 256, "num_hidden_layers": 3, "vocab_size": 512, "num_attention_heads": 4, "rms_norm_eps": 1e-5,
          "tie_word_embeddings": False, "max_position_embeddings": 4096, "hidden_act": "silu", "rope_theta": 10000.0,
          "dtype": "bfloat16"}
FAMILIES = {
    "qwen3_moe": {"num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 512, "moe_intermediate_size": 128,
                  "num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": True, "mlp_only_layers": [1],
                  "decoder_sparse_step": 1},
    "deepseek_v3": {"num_key_value_heads": 4, "intermediate_size": 512, "moe_intermediate_size": 128,
                    "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 4,
                    "topk_group": 2, "first_k_dense_replace": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
                    "q_lora_rank": 128, "kv_lora_rank": 512, "qk_nope_head_dim": 64, "qk_rope_head_dim": 64,
                    "v_head_dim": 64, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1},
    "glm4_moe": {"num_key_value_heads": 2, "head_dim": 64, "partial_rotary_factor": 0.5, "intermediate_size": 512,
                 "moe_intermediate_size": 128, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3,
                 "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "norm_topk_prob": True,
                 "routed_scaling_factor": 2.5, "use_qk_norm": True, "attention_bias": True, "rope_scaling": None},
}
TOKENS = (2, 64)


def make(family, folder):
    """The folder of a model, made if it is not there, with the ids that it is asked about."""
    folder = pathlib.Path(folder)
    if (folder / "ids.npy").exists():
        return folder
    torch.manual_seed(17)
    config = AutoConfig.for_model(family, **COMMON, **FAMILIES[family])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 1 if "embed" in name else 1.5 * weight.shape[-1] ** -0.5)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
            else:
                weight.normal_(1, 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.normal_(0, 0.05)
    model.to(torch.bfloat16).save_pretrained(folder)
    # not as Transformers 5 writes it, but by the keys of the makers' own files, which mlx-lm asks for
    config = {"architectures": [type(model).__name__], "model_type": family, **COMMON, **FAMILIES[family]}
    config["torch_dtype"] = config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_ids(folder, config["vocab_size"])
    return folder


def save_ids(folder, vocabulary):
    np.save(folder / "ids.npy", np.random.default_rng(17).integers(3, vocabulary, TOKENS))


def logits(folder, ids, dtype=torch.float32):
    """What Transformers computes, on the processor."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model.eval()
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.float().numpy()
