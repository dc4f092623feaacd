"""Adapters: unmodified peft and llama.cpp load what finetune writes, and compute what halftone does.

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

TEXT = " ".join(f"line {i} of {i * i % 97} words" for i in range(400))


class AdapterTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        peers.make_model(cls.path / "model")
        (cls.path / "text.txt").write_text(TEXT)
        peers.halftone("convert", cls.path / "model", "-o", cls.path / "model.gguf")
        peers.halftone("finetune", cls.path / "model", "--data", cls.path / "text.txt", "-o",
                       cls.path / "adapter", "--context", 64, "--steps", 8, "--batch", 2, "--lr",
                       0.01, "--rank", 4)
        peers.halftone("finetune", cls.path / "model", "--data", cls.path / "text.txt", "-o",
                       cls.path / "bf16-adapter", "--context", 64, "--steps", 8, "--batch", 2,
                       "--lr", 0.01, "--rank", 4, "--adapter-type", "bf16")
        # The same, trained beside the GGUF file.
        peers.halftone("finetune", cls.path / "model.gguf", "--data", cls.path / "text.txt", "-o",
                       cls.path / "gguf-adapter", "--context", 64, "--steps", 8, "--batch", 2,
                       "--lr", 0.01, "--rank", 4)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_peft_computes_the_same(self):
        for adapter in ("adapter", "bf16-adapter", "gguf-adapter"):
            base = transformers.AutoModelForCausalLM.from_pretrained(
                self.path / "model", dtype=torch.float32)
            model = peft.PeftModel.from_pretrained(base, self.path / adapter).eval()
            with torch.no_grad():
                theirs = model(torch.tensor([peers.TOKENS])).logits[0].numpy()
            peers.halftone("evaluate", self.path / "model", "--adapter", self.path / adapter,
                           "--tokens", ",".join(map(str, peers.TOKENS)), "--npy",
                           self.path / "logits.npy")
            ours = numpy.load(self.path / "logits.npy")
            span = theirs.max() - theirs.min()
            self.assertLess(numpy.abs(ours - theirs).max() / span, 1e-5)
            base.requires_grad_(False)
            with model.disable_adapter(), torch.no_grad():
                without = model(torch.tensor([peers.TOKENS])).logits[0].numpy()
            self.assertGreater(numpy.abs(without - theirs).max() / span, 1e-2)

    def test_llama_cpp_computes_the_same(self):
        program = gguf_test.llama_folder() / "llama-perplexity"
        model = self.path / "model-f32.gguf"
        peers.halftone("quantize", self.path / "model", "-o", model, "--grid", "f32")
        for adapter in ("adapter", "bf16-adapter", "gguf-adapter"):
            done = subprocess.run(
                [program, "-m", model, "--lora", self.path / adapter / "adapter.gguf", "-f",
                 self.path / "text.txt", "-c", "64", "-b", "64", "--chunks", "8"],
                capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            # After the last chunk; of the final line its log loses some on a busy machine.
            theirs = float(re.search(r"\[8\]([0-9.]+)", done.stdout).group(1))
            ours = json.loads(subprocess.run(
                [os.environ["HALFTONE"], "evaluate", model, "--adapter", self.path / adapter,
                 "--text", self.path / "text.txt", "--context", "64", "--chunks", "8", "--json"],
                capture_output=True, text=True, check=True).stdout)["perplexity"]
            self.assertLess(abs(ours / theirs - 1), 1e-3)


if __name__ == "__main__":
    unittest.main()
