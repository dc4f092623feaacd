"""Model folders made from GGUF files: transformers and tokenizers see the model that it was."""

import json
import os
import pathlib
import random
import unittest

import peers
import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "src" / "tokenizer" / "testdata"
# What another version of transformers may write otherwise, and what only names a file.
UNLIKE = {"transformers_version", "_name_or_path", "torch_dtype", "pretraining_tp"}


def texts():
    """Some hundred texts: pieces of English, and what tokenizers are known to trip over."""
    written = (ROOT / "data" / "calibration.txt").read_text()
    chosen = random.Random(20261126)
    pieces = []
    for _ in range(300):
        begin = chosen.randrange(len(written))
        pieces.append(written[begin:begin + chosen.randrange(1, 200)])
    return pieces + json.loads((GOLDEN / "folder_golden.json").read_text())["texts"] + [
        "", " ", "  ", "   a", "a   ", "\n", "\r\n\t", "a  b   c    d     e", "\u2581", "a\u2581b"]


def back(folder):
    """The folder, by way of a GGUF file."""
    gguf, again = folder.with_suffix(".gguf"), folder.with_name(folder.name + "-again")
    peers.halftone("convert", folder, "-o", gguf)
    peers.halftone("convert", gguf, "-o", again, "--container", "safetensors")
    return again


def config_of(folder):
    config = transformers.AutoConfig.from_pretrained(folder).to_dict()
    return {key: value for key, value in config.items() if key not in UNLIKE}


class DocumentsTest(peers.ModelTest):
    def check_weights(self, folder, again):
        before = safetensors.torch.load_file(folder / "model.safetensors")
        after = safetensors.torch.load_file(again / "model.safetensors")
        self.assertEqual(before.keys(), after.keys())
        for name, tensor in before.items():
            self.assertEqual(tensor.dtype, after[name].dtype, name)
            self.assertTrue(torch.equal(tensor, after[name]), name)

    def test_model(self):
        again = back(self.model)
        self.check_weights(self.model, again)
        self.assertEqual(config_of(self.model), config_of(again))
        before, after = (transformers.AutoModelForCausalLM.from_pretrained(f).float()
                         for f in (self.model, again))
        self.assertTrue(torch.equal(peers.logits(before), peers.logits(after)))

    def test_settings(self):
        """Rope's scalings, head sizes, biases, tied embeddings."""
        variants = {
            "llama3": {"rope_parameters": {
                "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192}, "max_position_embeddings": 131072},
            "linear": {"rope_parameters": {
                "rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
            "wide heads": {"head_dim": 48},
            "biases": {"attention_bias": True, "mlp_bias": True},
            "tied": {"tie_word_embeddings": True, "rms_norm_eps": 3e-6},
        }
        for name, settings in variants.items():
            with self.subTest(name):
                folder = self.folder / name.replace(" ", "-")
                make(folder, 384, settings)
                again = back(folder)
                self.check_weights(folder, again)
                self.assertEqual(config_of(folder), config_of(again))
                model = transformers.AutoModelForCausalLM.from_pretrained(again).float()
                tokens = [t % 384 for t in peers.TOKENS]
                with torch.no_grad():
                    theirs = model(torch.tensor([tokens])).logits[0]
                ours = peers.our_logits(self.folder / f"{folder.name}.gguf", tokens=tokens)
                self.assertLess(peers.distance(ours, theirs), 1e-3)

    def test_tokenizers(self):
        strings = texts()
        for kind in json.loads((GOLDEN / "tokenizer_golden.json").read_text())["kinds"]:
            with self.subTest(kind["name"]):
                folder = self.folder / "".join(c for c in kind["name"] if c.isalnum())
                make(folder, kind["vocab_size"], {})
                (folder / "tokenizer.json").write_text(json.dumps(kind["tokenizer"]))
                (folder / "tokenizer_config.json").write_text(json.dumps(kind["tokenizer_config"]))
                again = back(folder)
                self.check_tokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")), again,
                                     strings)

    def check_tokenizer(self, expected, again, strings):
        actual = Tokenizer.from_file(str(again / "tokenizer.json"))
        auto = transformers.AutoTokenizer.from_pretrained(again)
        for text in strings:
            ids = expected.encode(text).ids
            self.assertEqual(actual.encode(text).ids, ids, repr(text))
            self.assertEqual(auto(text)["input_ids"], ids, repr(text))
        for own in (expected, actual):
            own.encode_special_tokens = True
        for text in strings:
            ids = expected.encode(text, add_special_tokens=False).ids
            self.assertEqual(actual.encode(text, add_special_tokens=False).ids, ids, repr(text))

    def test_the_demonstrations_model(self):
        """What scripts/fetch-model brings is a GGUF file that neither program here made."""
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
        gguf = cache / "halftone" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        if not gguf.exists():
            self.skipTest("needs the model that scripts/fetch-model brings")
        again = self.folder / "smollm2"
        peers.halftone("convert", gguf, "-o", again, "--container", "safetensors")
        tokenizer = transformers.AutoTokenizer.from_pretrained(again)
        golden = json.loads((GOLDEN / "folder_golden.json").read_text())
        for text, ids in zip(golden["texts"], golden["folders"]["ref-75m"]["special"]):
            self.assertEqual(tokenizer(text)["input_ids"], [int(i) for i in ids.split()], text)
        model = transformers.AutoModelForCausalLM.from_pretrained(again, dtype=torch.float32)
        tokens = tokenizer("The three primary colours are red, green and")["input_ids"]
        with torch.no_grad():
            theirs = model(torch.tensor([tokens])).logits[0]
        link = self.folder / "smollm2.gguf"
        link.symlink_to(gguf)
        self.assertLess(peers.distance(peers.our_logits(link, tokens=tokens), theirs), 1e-4)

    def test_quantized_source(self):
        """A GGUF file of few bits goes on to the formats of the others, and their owners' config."""
        gguf = self.folder / "quantized.gguf"
        peers.halftone("quantize", self.model, "-o", gguf, "--grid", "q4_0")
        again = self.folder / "q4-gptq"
        peers.halftone("convert", gguf, "-o", again, "--container", "gptq")
        settings = json.loads((again / "config.json").read_text())["quantization_config"]
        self.assertEqual((settings["bits"], settings["group_size"]), (4, 32))
        before, after = peers.our_logits(gguf), peers.our_logits(again)
        self.assertLess(peers.distance(after, before), 1e-3)
        expected = peers.reference_logits(again, peers.our_weights(again))
        self.assertLess(peers.distance(after, expected), 1e-3)


def make(folder, vocabulary, settings):
    """A small model that says nothing of special tokens."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(**{
        "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": vocabulary,
        "max_position_embeddings": 256, "tie_word_embeddings": False,
        "bos_token_id": None, "eos_token_id": None, **settings})
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0, 0.02)
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    unittest.main()
