"""bitsandbytes checkpoints: transformers opens what halftone writes, and the reverse."""

import unittest

import bitsandbytes
import peers
import torch
import transformers



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


def load(folder):
    """The model with its linear layers computed in f32 (but for activations of 8 bits)."""
    model = peers.in_float32(
        transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cpu"))
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.compute_dtype, module.compute_type_is_set = torch.float32, True
            module.support_avx512bf16_for_cpu = False  # a packing that computes in bf16
    return model


def set_threshold(model, threshold):
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            module.state.threshold = threshold


def exact_dequantization(sums, row_stats, col_stats, dtype=None, bias=None):
    scales = row_stats.reshape(-1, 1) * col_stats.reshape(1, -1)
    out = sums.reshape(-1, sums.shape[-1]) * scales * (1 / 127**2)
    return (out if bias is None else out + bias).to(dtype or torch.float16)


class BnbTest(peers.ModelTest):
    def check(self, folder, limit=4e-3):
        """That bitsandbytes sees the weights that halftone sees, and computes what it computes.

        The limit is for weights of 4 bits, which bitsandbytes multiplies in f32 before they are
        rounded to the dtype that it dequantizes them to."""
        model = load(folder)
        theirs = dequantized(model)
        self.assertEqual(len(theirs), peers.LINEAR)
        for name, weight in theirs.items():
            self.assertTrue(torch.equal(weight, peers.our_weight(folder, name)), name)
        ours = peers.our_logits(folder)
        if "int8" in folder.name:
            self.assertLess(peers.distance(ours, peers.logits(model)), 1e-2)
            return
        expected = peers.reference_logits(folder, {**peers.our_weights(folder), **theirs})
        self.assertLess(peers.distance(ours, expected), 1e-5)
        self.assertLess(peers.distance(ours, peers.logits(model)), limit)

    def test_transformers_opens_every_kind(self):
        for grid in ("nf4:g64", "nf4:g128", "nf4:g64:dq", "fp4:g64", "fp4:g64:dq",
                     "int8:row:absmax"):
            with self.subTest(grid):
                out = self.folder / grid.replace(":", "-")
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "bnb")
                self.check(out)

    def test_values_in_float32_agree_to_its_last_bits(self):
        for grid in ("nf4:g64:f32", "fp4:g128:f32", "nf4:g64:dq:f32"):
            with self.subTest(grid):
                out = self.folder / grid.replace(":", "-")
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "bnb")
                self.check(out, 1e-5)

    def test_int8_agrees_to_the_last_bits_of_float32(self):
        """With the exact 1 / 127^2 of bitsandbytes' CUDA kernels instead of the 6.200124e-05 of its
        CPU code. Its 2e-5 too much moves some activations over the border between two codes, behind
        which all later layers differ by the error of 8 bits; rounding to f32 could, too, on another
        machine. Small thresholds take columns out: those of the whole batch there, of each token
        here, so they are compared token by token."""
        out = self.folder / "int8-thresholds"
        peers.halftone("quantize", self.model, "-o", out, "--grid", "int8:row:absmax",
                       "--container", "bnb")
        model = load(out)
        library = torch.library.Library("bitsandbytes", "IMPL")
        library.impl("int8_mm_dequant", exact_dequantization, "CPU")
        try:
            for threshold in (0.0, 6.0, 3.0, 1.5):
                with self.subTest(threshold):
                    set_threshold(model, threshold)
                    ours = peers.our_logits(out, "--llm-int8-threshold", threshold)
                    distances = peers.distances(ours, peers.logits_one_by_one(model))
                    self.assertLess(distances.min().item(), 1e-6)
                    self.assertLess(distances.max().item(), 1e-2)
        finally:
            library._destroy()
        self.assertTrue(torch.equal(peers.our_logits(out),
                                    peers.our_logits(out, "--llm-int8-threshold", 6)))

    def test_loading_in_fewer_bits_is_transformers_own(self):
        for name, settings, options in (
                ("nf4", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, ["--load-in-4bit"]),
                ("fp4", {"load_in_4bit": True},
                 ["--load-in-4bit", "--bnb-4bit-quant-type", "fp4"]),
                ("int8", {"load_in_8bit": True}, ["--load-in-8bit"])):
            with self.subTest(name):
                saved = self.folder / ("loaded-" + name)
                transformers.AutoModelForCausalLM.from_pretrained(
                    self.model, device_map="cpu", dtype=torch.bfloat16,
                    quantization_config=transformers.BitsAndBytesConfig(**settings)
                ).save_pretrained(saved)
                ours = peers.our_logits(self.model, *options)
                self.assertTrue(torch.equal(ours, peers.our_logits(saved)))

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
