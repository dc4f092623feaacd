"""Architectures: what halftone makes of a folder of transformers, an unmodified llama.cpp computes.

Each model is small, of random weights, and runs as transformers has it, as halftone does and, gone
to GGUF as f32, in llama.cpp. Divergences of 1e-7 to 8e-7 were seen, 2e-6 are allowed (gguf_test.py
says where they come from). Left out is what llama.cpp does not have: windows of llama, qwen and phi3, experts of qwen3moe
whose weights do not sum to 1.
"""

import pathlib
import unittest

import peers
import torch
import transformers
from gguf_test import CONTEXT, ROOT, halftone_logprobs, llama_folder, llama_logprobs, scored

COMMON = dict(vocab_size=512, hidden_size=128, intermediate_size=192, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
              bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
LINEAR = dict(rope_type="linear", factor=4.0)
LONG = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + i / 20 for i in range(16)],
            long_factor=[1.0 + i / 3 for i in range(16)])
GEMMA = dict(head_dim=40, query_pre_attn_scalar=40, sliding_window=16, tie_word_embeddings=True)

# Class by class; CONTEXT is longer than the windows and than phi3's original context.
MODELS = {
    "llama": ("Llama", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "mistral": ("Mistral", dict(head_dim=80, sliding_window=None)),
    "mixtral": ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2)),
    "qwen2": ("Qwen2", dict(hidden_size=160, tie_word_embeddings=True,
                            rope_parameters=dict(LINEAR, rope_theta=500000.0))),
    "qwen3": ("Qwen3", dict(head_dim=80)),
    "qwen3moe": ("Qwen3Moe", dict(head_dim=32, num_experts=8, num_experts_per_tok=3,
                                  moe_intermediate_size=64, norm_topk_prob=True)),
    "gemma2": ("Gemma2", dict(GEMMA, num_hidden_layers=3, attn_logit_softcapping=5.0,
                              final_logit_softcapping=4.0)),
    "gemma3": ("Gemma3", dict(GEMMA, num_hidden_layers=7, rope_parameters=dict(
        sliding_attention=dict(rope_type="default", rope_theta=10000.0),
        full_attention=dict(LINEAR, rope_theta=1000000.0)))),
    "phi3": ("Phi3", dict(max_position_embeddings=128, original_max_position_embeddings=32,
                          rope_parameters=LONG)),
    # llama.cpp makes every context one of 256 tokens at least.
    "phi3-short": ("Phi3", dict(max_position_embeddings=512, original_max_position_embeddings=256,
                                rope_parameters=LONG)),
}


def make_model(family, own, folder):
    """Numbers with which no part of the model is lost beside another, in bf16."""
    torch.manual_seed(20261126)
    gemma = family.startswith("Gemma")
    kind = "Gemma3TextConfig" if family == "Gemma3" else family + "Config"
    config = getattr(transformers, kind)(**{**COMMON, **own})
    model = getattr(transformers, family + "ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape)
            if "norm" in name:
                values = values * 0.2 + (0 if gemma else 1)
            elif "embed_tokens" in name:
                values = values * (0.1 if gemma else 1)
            else:
                values = values * (0.3 if name.endswith("bias") else 1.2 / parameter.shape[-1] ** 0.5)
            parameter.copy_(values)
    model.to(torch.bfloat16).save_pretrained(folder)
    peers.make_tokenizer(folder)


def divergences(p, q):
    """Of each token, the largest first."""
    return (p.exp() * (p - q)).sum(-1).flatten().sort(descending=True).values


class ArchitecturesTest(unittest.TestCase):
    def test_all(self):
        perplexity = llama_folder() / "llama-perplexity"
        for name, (family, own) in MODELS.items():
            with self.subTest(name), peers.tempfile.TemporaryDirectory() as temporary:
                folder = pathlib.Path(temporary)
                make_model(family, own, folder / "model")
                gguf = folder / "model.gguf"
                peers.halftone("quantize", folder / "model", "-o", gguf, "--grid", "f32",
                               "--method", "rtn")
                tokens, theirs = llama_logprobs(perplexity, gguf, ROOT / "data" / "evaluation.txt",
                                                folder / "base")
                ours = halftone_logprobs(gguf, tokens)
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    folder / "model", dtype=torch.float32, attn_implementation="eager")
                with torch.no_grad():
                    plain = scored(model.eval()(torch.from_numpy(tokens.astype("i8"))).logits)
                # An f16 cache may send a token to another expert that a router likes as much.
                set_aside = 2 if "moe" in name or name == "mixtral" else 0
                of_llama = divergences(ours, theirs)[set_aside:].mean().item()
                of_transformers = divergences(plain, ours).mean().item()
                print(f"{name}: {of_llama:.1e} from llama.cpp, {of_transformers:.1e} from "
                      f"transformers, {CONTEXT} tokens")
                self.assertLess(abs(of_llama), 2e-6)
                self.assertLess(abs(of_transformers), 1e-7)


if __name__ == "__main__":
    unittest.main()
