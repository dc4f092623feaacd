"""bitsandbytes checkpoints: transformers opens what halftone writes, and the reverse."""

import pathlib
import tempfile
import unittest

import bitsandbytes
import peers
import torch
import transformers

LINEAR = 14  # layers of the small model


def dequantized(model):
    """bitsandbytes' own values of all quantized layers, [out, in] in f32."""
    weights = {}
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            value = bitsandbytes.functional.dequantize_4bit(module.weight.data,
                                                            module.weight.quant_state)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            value = bitsandbytes.functional.int8_vectorwise_dequant(module.weight.data,
                                                                    module.weight.SCB)
        else:
            continue
        weights[f"{name}.weight"] = value.float()
    return weights


def load(folder, dtype=torch.bfloat16):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", dtype=dtype)


class BnbTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.model = cls.folder / "model"
        peers.make_model(cls.model)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def check(self, folder):
        """That bitsandbytes sees the weights that halftone sees, and computes what they give."""
        ours = peers.our_weights(folder)
        model = load(folder)
        theirs = dequantized(model)
        self.assertEqual(len(theirs), LINEAR)
        for name, weight in theirs.items():
            self.assertTrue(torch.equal(weight, peers.our_weight(folder, name)), name)
        expected = peers.reference_logits(folder, ours)
        self.assertLess(peers.distance(peers.our_logits(folder), expected), 1e-3)
        # Theirs is computed in bf16, and with activations of 8 bits where weights have 8.
        limit = 2e-2 if "int8" in folder.name else 1e-2
        self.assertLess(peers.distance(peers.logits(model), expected), limit)

    def test_transformers_opens_every_kind(self):
        for grid in ("nf4:g64", "nf4:g128", "nf4:g64:dq", "fp4:g64", "fp4:g64:dq",
                     "int8:row:absmax"):
            with self.subTest(grid):
                out = self.folder / grid.replace(":", "-")
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "bnb")
                self.check(out)

    def test_transformers_own_checkpoints_come_back(self):
        for name, settings in {
                "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
                        "bnb_4bit_compute_dtype": torch.bfloat16},
                "fp4-nested": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4",
                               "bnb_4bit_use_double_quant": True,
                               "bnb_4bit_compute_dtype": torch.bfloat16},
                "int8": {"load_in_8bit": True},
        }.items():
            with self.subTest(name):
                theirs, again = self.folder / name, self.folder / (name + "-again")
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    self.model, device_map="cpu", dtype=torch.bfloat16,
                    quantization_config=transformers.BitsAndBytesConfig(**settings))
                model.save_pretrained(theirs)
                self.check(theirs)
                peers.halftone("convert", theirs, "-o", again, "--container", "bnb")
                self.check(again)
                if "nested" in name:
                    continue  # scales are quantized once more
                before, after = peers.our_weights(theirs), peers.our_weights(again)
                self.assertEqual(before.keys(), after.keys())
                for tensor in before:
                    self.assertTrue(torch.equal(before[tensor], after[tensor]), tensor)


if __name__ == "__main__":
    unittest.main()
