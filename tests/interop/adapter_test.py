"""Adapters, of mixtures of experts too: unmodified peft and llama.cpp load what finetune writes,
and compute what halftone does.

Seen: logits 2e-6 of their range away from peft's, perplexities of llama.cpp within 2e-5.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import gguf_test
import numpy
import peft
import peers
import torch
import transformers

TOKENS = ",".join(map(str, peers.TOKENS))
TEXT = " ".join(f"line {i} of {i * i % 97} words" for i in range(400))


def make_mixture(folder, family, **own):
    """A small model whose feed-forward is a few of eight experts."""
    torch.manual_seed(20261127)
    config = getattr(transformers, family + "Config")(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=512, max_position_embeddings=256, bos_token_id=1,
        eos_token_id=2, pad_token_id=0, tie_word_embeddings=False, **own)
    model = getattr(transformers, family + "ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    model.to(torch.bfloat16).save_pretrained(folder)
    peers.make_tokenizer(folder)


MODELS = {
    "llama": peers.make_model,
    "mixtral": lambda folder: make_mixture(
        folder, "Mixtral", num_local_experts=8, num_experts_per_tok=2),
    "qwen3moe": lambda folder: make_mixture(
        folder, "Qwen3Moe", head_dim=16, num_experts=8, num_experts_per_tok=3,
        moe_intermediate_size=32, norm_topk_prob=True),
}


# What each is trained beside, its name, and the type of its values.
ADAPTERS = [("model", "adapter", "f32"), ("model", "bf16-adapter", "bf16"),
            ("model.gguf", "gguf-adapter", "f32")]


class AdapterTest(unittest.TestCase):
    """Of each model adapters trained beside its folder, and one beside its GGUF file."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.path = pathlib.Path(folder.name)
        cls.text = cls.path / "text.txt"
        cls.text.write_text(TEXT)
        for name, make in MODELS.items():
            path = cls.path / name
            make(path / "model")
            peers.halftone("convert", path / "model", "-o", path / "model.gguf")
            for base, adapter, values in ADAPTERS:
                peers.halftone("finetune", path / base, "--data", cls.text, "-o", path / adapter,
                               "--context", 64, "--steps", 8, "--batch", 2, "--lr", 0.01, "--rank",
                               4, "--adapter-type", values)

    def cases(self):
        """Each model's folder and adapter."""
        return [(self.path / name, self.path / name / adapter)
                for name in MODELS for _, adapter, _ in ADAPTERS]

    def ours(self, model, *options):
        peers.halftone("evaluate", model, "--tokens", TOKENS, "--npy", self.path / "logits.npy",
                       *options)
        return numpy.load(self.path / "logits.npy")

    def perplexity(self, *command):
        """After the eighth chunk. The program may end before its log has printed that."""
        for _ in range(30):
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = re.search(r"\[8\]([0-9.]+)|PPL = ([0-9.]+)", done.stdout + done.stderr)
            if found:
                return float(found.group(1) or found.group(2))
        self.fail(done.stderr)

    def test_peft_computes_the_same(self):
        for path, adapter in self.cases():
            with self.subTest(path.name, adapter=adapter.name):
                base = transformers.AutoModelForCausalLM.from_pretrained(
                    path / "model", dtype=torch.float32)
                model = peft.PeftModel.from_pretrained(base, adapter).eval()
                with torch.no_grad():
                    theirs = model(torch.tensor([peers.TOKENS])).logits[0].numpy()
                ours = self.ours(path / "model", "--adapter", adapter)
                span = theirs.max() - theirs.min()
                self.assertLess(numpy.abs(ours - theirs).max() / span, 1e-5)
                base.requires_grad_(False)
                with model.disable_adapter(), torch.no_grad():
                    without = model(torch.tensor([peers.TOKENS])).logits[0].numpy()
                self.assertGreater(numpy.abs(without - theirs).max() / span, 1e-2)

    def test_peft_saves_what_we_read(self):
        """The adapter as peft saves it again: of mixtures one pair for all experts."""
        for path, adapter in self.cases():
            with self.subTest(path.name, adapter=adapter.name):
                base = transformers.AutoModelForCausalLM.from_pretrained(
                    path / "model", dtype=torch.float32)
                saved = path / ("saved-" + adapter.name)
                peft.PeftModel.from_pretrained(base, adapter).save_pretrained(saved)
                ours, again = (self.ours(path / "model", "--adapter", a) for a in (adapter, saved))
                self.assertLess(numpy.abs(ours - again).max() / (ours.max() - ours.min()), 1e-5)

    def test_merged_models_compute_the_same_in_transformers(self):
        for path, adapter in self.cases():
            with self.subTest(path.name, adapter=adapter.name):
                merged = path / ("merged-" + adapter.name)
                peers.halftone("quantize", path / "model", "--adapter", adapter, "-o", merged,
                               "--grid", "f32", "--container", "safetensors")
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    merged, dtype=torch.float32)
                with torch.no_grad():
                    theirs = model(torch.tensor([peers.TOKENS])).logits[0].numpy()
                ours = self.ours(path / "model", "--adapter", adapter)
                self.assertLess(numpy.abs(ours - theirs).max() / (ours.max() - ours.min()), 1e-5)

    def test_llama_cpp_computes_the_same(self):
        program = gguf_test.llama_folder() / "llama-perplexity"
        for path, adapter in self.cases():
            with self.subTest(path.name, adapter=adapter.name):
                model = path / "model-f32.gguf"
                if not model.exists():
                    peers.halftone("quantize", path / "model", "-o", model, "--grid", "f32")
                theirs = self.perplexity(
                    program, "-m", model, "--lora", adapter / "adapter.gguf", "-f", self.text,
                    "-c", "64", "-b", "64", "--chunks", "8")
                ours = json.loads(subprocess.run(
                    [os.environ["HALFTONE"], "evaluate", model, "--adapter", adapter, "--text",
                     self.text, "--context", "64", "--chunks", "8", "--json"],
                    capture_output=True, text=True, check=True).stdout)["perplexity"]
                self.assertLess(abs(ours / theirs - 1), 1e-3)


if __name__ == "__main__":
    unittest.main()
