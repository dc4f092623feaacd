"""Makes the small models that tests/golden/architectures_test.cc runs, and what transformers computes.

    python make_models.py [NAME ...]

Written with transformers 5.24 and torch 2.15: for each model a folder with config.json,
model.safetensors (bf16 numbers, drawn with a fixed seed) and logits.npy, f32 [tokens, vocabulary],
of the tokens (7 * i * i + 3 * i + 1) % vocabulary for i < 48, computed in f32. Run with transformers 4.51 it
writes config-4.json alone: the same model as that version describes it.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy
import torch
import transformers

HERE = pathlib.Path(__file__).parent
FOUR = transformers.__version__.startswith("4.")
TOKENS = 48
VOCABULARY = 96
COMMON = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=72, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
              bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.05, 1.1, 1.3],
            long_factor=[1.0, 1.9, 3.1, 5.7])
GEMMA = dict(head_dim=20, query_pre_attn_scalar=14, sliding_window=10, tie_word_embeddings=True)

# By folder: the classes of model and configuration, and what is not COMMON in it.
MODELS = {
    # Biases everywhere, no head_dim, tied.
    "llama": ("Llama", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    # Heads of 20, of which two share their keys, and 10 tokens in sight.
    "mistral": ("Mistral", dict(head_dim=20, sliding_window=10)),
    # Biases on query, key and value; heads of 40; tied.
    "qwen2": ("Qwen2", dict(hidden_size=80, num_attention_heads=2, num_key_value_heads=1,
                            intermediate_size=64, tie_word_embeddings=True)),
    # The second layer looks back by 10 tokens only.
    "qwen2-window": ("Qwen2", dict(use_sliding_window=True, sliding_window=10,
                                   max_window_layers=1)),
    # Norms of queries and keys; heads whose size is not that of the width's share.
    "qwen3": ("Qwen3", dict(head_dim=24)),
    "gemma2": ("Gemma2", dict(GEMMA, num_hidden_layers=3, attn_logit_softcapping=5.0,
                              final_logit_softcapping=4.0)),
    # Layer 5 is the first that sees everything, and its positions are stretched.
    "gemma3": ("Gemma3", dict(GEMMA, hidden_size=32, num_hidden_layers=7, intermediate_size=48)),
    # More tokens than the original context: the long factors apply. Part of a head turns.
    "phi3": ("Phi3", dict(hidden_size=64, partial_rotary_factor=0.5)),
    "phi3-window": ("Phi3", dict(sliding_window=10)),
    "mixtral": ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2, intermediate_size=40)),
    "qwen3moe": ("Qwen3Moe", dict(head_dim=16, num_experts=8, num_experts_per_tok=3,
                                  moe_intermediate_size=24, norm_topk_prob=True)),
    "qwen3moe-plain": ("Qwen3Moe", dict(head_dim=16, num_experts=8, num_experts_per_tok=3,
                                        moe_intermediate_size=24, norm_topk_prob=False)),
}


def rope_of(name):
    """The settings of rope, which the two versions call by different names."""
    linear = dict(rope_type="linear", factor=4.0)
    if name == "gemma3":
        local, everywhere = dict(rope_type="default", rope_theta=10000.0), 1000000.0
        if FOUR:
            return dict(rope_theta=everywhere, rope_local_base_freq=10000.0, rope_scaling=linear)
        return dict(rope_parameters=dict(sliding_attention=local,
                                         full_attention=dict(linear, rope_theta=everywhere)))
    if name == "phi3":
        if FOUR:
            long = {"type" if k == "rope_type" else k: v for k, v in LONG.items()}
            return dict(rope_theta=10000.0, rope_scaling=long, max_position_embeddings=64,
                        original_max_position_embeddings=32)
        return dict(rope_parameters=dict(LONG, rope_theta=10000.0, partial_rotary_factor=0.5),
                    max_position_embeddings=64, original_max_position_embeddings=32)
    if name == "qwen2":
        if FOUR:
            return dict(rope_theta=500000.0, rope_scaling=linear)
        return dict(rope_parameters=dict(linear, rope_theta=500000.0))
    return {}


def config_of(name):
    family, own = MODELS[name]
    kind = "Gemma3TextConfig" if family == "Gemma3" else family + "Config"
    return getattr(transformers, kind)(**{**COMMON, **own, **rope_of(name)}), family


def fill(model, gemma):
    """Numbers with which no part of the model is lost beside another."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape)
            if "norm" in name:
                values = values * 0.2 + (0.0 if gemma else 1.0)
            elif "embed_tokens" in name:
                values = values * (0.15 if gemma else 1.0)
            elif name.endswith("bias"):
                values = values * 0.3
            else:
                values = values * 1.4 / parameter.shape[-1] ** 0.5
            parameter.copy_(values.to(torch.bfloat16))


def main():
    for name in sys.argv[1:] or MODELS:
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        config, family = config_of(name)
        config.architectures = [family + "ForCausalLM"]
        if FOUR:
            config.torch_dtype = "bfloat16"
            (folder / "config-4.json").write_text(config.to_json_string())
            continue
        torch.manual_seed(20261126)
        model = getattr(transformers, family + "ForCausalLM")(config).float().eval()
        fill(model, family.startswith("Gemma"))
        model.set_attn_implementation("eager")
        tokens = torch.tensor([[(7 * i * i + 3 * i + 1) % VOCABULARY for i in range(TOKENS)]])
        with torch.no_grad():
            logits = model(tokens).logits[0]
            if name == "phi3":  # few enough for the short factors
                short = model(tokens[:, :24]).logits[0]
                numpy.save(folder / "logits-24.npy", short.float().numpy())
        numpy.save(folder / "logits.npy", logits.float().numpy())
        with tempfile.TemporaryDirectory() as saved:
            model.to(torch.bfloat16).save_pretrained(saved)
            for file in ("config.json", "model.safetensors"):
                shutil.copy(pathlib.Path(saved) / file, folder / file)
        spread = logits.max() - logits.min()
        print(f"{name}: logits of {logits.min():.2f} to {logits.max():.2f}, "
              f"{sum(p.numel() for p in model.parameters())} weights, range {spread:.2f}")


if __name__ == "__main__":
    main()
