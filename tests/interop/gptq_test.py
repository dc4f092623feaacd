"""GPTQ checkpoints: GPTQModel and transformers open what halftone writes, and the reverse."""

import os
import pathlib
import unittest

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # fails with the 1 of a small machine

import peers
import safetensors.torch
import torch
import transformers
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from gptqmodel.nn_modules.qlinear import BaseQuantLinear

CALIBRATION = pathlib.Path(__file__).resolve().parents[2] / "data" / "calibration.txt"


def load(folder):
    return GPTQModel.load(str(folder), backend=BACKEND.GPTQ_TORCH, device="cpu",
                          dtype=torch.float16)


def transformers_model(folder, bits):
    """By the kernel that needs no compiler; everything else is the folder's own configuration."""
    backend = transformers.GPTQConfig(bits=bits, backend="gptq_torch")
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", dtype=torch.float16, quantization_config=backend)


def dequantized(model):
    """GPTQModel's own values of all quantized layers, [out, in] in f32."""
    return {f"{name}.weight": module.dequantize_weight().T.float()
            for name, module in model.model.named_modules() if isinstance(module, BaseQuantLinear)}


class GptqTest(peers.ModelTest):
    def check(self, folder, layers=peers.LINEAR):
        """That GPTQModel sees the weights that halftone sees, and computes what they give."""
        ours = peers.our_weights(folder)
        model = load(folder)
        theirs = dequantized(model)
        self.assertEqual(len(theirs), layers)
        for name, weight in theirs.items():
            self.assertTrue(torch.equal(weight, ours[name]), name)
        expected = peers.reference_logits(folder, ours)
        self.assertLess(peers.distance(peers.our_logits(folder), expected), 1e-3)
        self.assertLess(peers.distance(peers.logits(model.model), expected), 1e-2)

    def test_gptqmodel_opens_every_width(self):
        for grid in ("int4:g128", "int4:g32", "int4:g64:asym", "int8:g128", "int8:g64:asym",
                     "int3:g64", "int3:g128:asym", "int2:g32", "int2:g64:asym", "int4:row"):
            with self.subTest(grid):
                out = self.folder / grid.replace(":", "-")
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "gptq")
                self.check(out)

    def test_transformers_opens_them(self):
        for grid in ("int4:g128", "int4:g64:asym", "int8:g128"):
            with self.subTest(grid):
                out = self.folder / ("transformers-" + grid.replace(":", "-"))
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "gptq")
                model = transformers_model(out, int(grid[3]))
                found = [m for m in model.modules() if isinstance(m, BaseQuantLinear)]
                self.assertEqual(len(found), peers.LINEAR)
                expected = peers.reference_logits(out, peers.our_weights(out))
                self.assertLess(peers.distance(peers.logits(model), expected), 1e-2)

    def test_both_open_act_order(self):
        for grid, method in (("int4:g128", "gptq"), ("int4:g64:asym", "best")):
            with self.subTest(grid):
                out = self.folder / ("act-order-" + grid.replace(":", "-"))
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid, "--container",
                               "gptq", "--method", method, "--act-order", "--calibration",
                               CALIBRATION, "--context", 64, "--chunks", 32)
                groups = safetensors.torch.load_file(out / "model.safetensors")
                orders = [t for name, t in groups.items() if name.endswith(".g_idx")]
                self.assertEqual(len(orders), peers.LINEAR)
                for order in orders:
                    self.assertFalse(torch.equal(order, order.sort().values))
                self.check(out)
                model = transformers_model(out, 4)
                expected = peers.reference_logits(out, peers.our_weights(out))
                self.assertLess(peers.distance(peers.logits(model), expected), 1e-2)

    def test_gptqmodels_own_checkpoints_come_back(self):
        generator = torch.Generator().manual_seed(1)
        texts = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                 for ids in torch.randint(3, 512, (16, 1, 64), generator=generator)]
        for name, settings in {
                "act-order": {"bits": 4, "group_size": 128, "desc_act": True},
                "asymmetric": {"bits": 4, "group_size": 32, "sym": False, "desc_act": False},
        }.items():
            with self.subTest(name):
                theirs, again = self.folder / name, self.folder / (name + "-again")
                if settings["desc_act"]:
                    settings["act_group_aware"] = False
                model = GPTQModel.load(str(self.model), QuantizeConfig(**settings), device="cpu")
                model.quantize(texts, batch_size=1)
                model.save(str(theirs))
                self.check(theirs)
                peers.halftone("convert", theirs, "-o", again, "--container", "gptq")
                self.check(again)
                before, after = peers.our_weights(theirs), peers.our_weights(again)
                self.assertEqual(before.keys(), after.keys())
                for tensor in before:
                    self.assertTrue(torch.equal(before[tensor], after[tensor]), tensor)


if __name__ == "__main__":
    unittest.main()
