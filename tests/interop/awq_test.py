"""AWQ checkpoints: AutoAWQ's unpacking, GPTQModel and transformers open what halftone writes."""

import importlib.util
import os
import pathlib
import unittest

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # fails with the 1 of a small machine

import peers
import safetensors.torch
import torch
import transformers
from gptqmodel import BACKEND, GPTQModel
from gptqmodel.nn_modules.qlinear import AWQuantLinear

GRIDS = {"int4:g128:asym": 128, "int4:g64:asym": 64, "int4:g32:asym": 32}


def autoawq_packing():
    """AutoAWQ's module alone: the package no longer imports beside transformers 5."""
    package = importlib.util.find_spec("awq").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(
        "packing_utils", pathlib.Path(package) / "utils" / "packing_utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class AwqTest(peers.ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for grid in GRIDS:
            peers.halftone("quantize", cls.model, "-o", cls.out(grid), "--grid", grid,
                           "--container", "awq")

    @classmethod
    def out(cls, grid):
        return cls.folder / grid.replace(":", "-")

    def test_autoawq_unpacks_the_same_weights(self):
        packing = autoawq_packing()
        for grid, group in GRIDS.items():
            ours = peers.our_weights(self.out(grid))
            parts = safetensors.torch.load_file(self.out(grid) / "model.safetensors")
            layers = [name[:-len(".qweight")] for name in parts if name.endswith(".qweight")]
            self.assertEqual(len(layers), peers.LINEAR)
            for layer in layers:
                theirs = packing.dequantize_gemm(
                    parts[layer + ".qweight"], parts[layer + ".qzeros"], parts[layer + ".scales"],
                    4, group)
                self.assertTrue(torch.equal(theirs.T.float(), ours[layer + ".weight"]), layer)

    def check_logits(self, grid, model):
        expected = peers.reference_logits(self.out(grid), peers.our_weights(self.out(grid)))
        found = [m for m in model.modules() if isinstance(m, AWQuantLinear)]
        self.assertEqual(len(found), peers.LINEAR)
        self.assertLess(peers.distance(peers.our_logits(self.out(grid)), expected), 1e-3)
        self.assertLess(peers.distance(peers.logits(model), expected), 1e-2)

    def test_gptqmodel_opens_them(self):
        for grid in GRIDS:
            with self.subTest(grid):
                model = GPTQModel.load(str(self.out(grid)), backend=BACKEND.AWQ_TORCH,
                                       device="cpu", dtype=torch.float16)
                self.check_logits(grid, model.model)

    def test_transformers_opens_them(self):
        for grid, group in GRIDS.items():
            with self.subTest(grid):
                # The kernel that needs no compiler; everything else is out's own configuration.
                backend = transformers.AwqConfig(group_size=group, backend="torch_awq")
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    self.out(grid), device_map="cpu", dtype=torch.float16,
                    quantization_config=backend)
                self.check_logits(grid, model)


if __name__ == "__main__":
    unittest.main()
