"""compressed-tensors checkpoints: transformers opens what halftone writes, and the reverse."""

import json
import unittest

import peers
import safetensors.torch
import torch
import transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.format import infer_module_format
from compressed_tensors.quantization import QuantizationConfig, preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams



def decompressed(folder):
    """compressed-tensors' own values of all quantized layers, [out, in] in f32."""
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    groups = QuantizationConfig(**config).config_groups.values()
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    modules = {}
    for name, tensor in tensors.items():
        prefix, part = name.rsplit(".", 1)
        modules.setdefault(prefix, {})[part] = tensor
    weights = {}
    for prefix, parts in modules.items():
        if "weight_scale" not in parts:
            continue
        named = [g for g in groups if prefix in g.targets]
        scheme = (named or [g for g in groups if "Linear" in g.targets])[0]
        compressor = BaseCompressor.get_value_from_registry(scheme.format)
        weights[f"{prefix}.weight"] = compressor.decompress(parts, scheme)["weight"].float()
    return weights


def compress(model, folder, preset):
    """The model as compressed-tensors quantizes it, scales from the smallest to the largest."""
    scheme = preset_name_to_scheme(preset, ["Linear"])
    scheme.format = infer_module_format(torch.nn.Linear, scheme).value
    compressor = BaseCompressor.get_value_from_registry(scheme.format)
    tensors = {}
    for name, tensor in safetensors.torch.load_file(model / "model.safetensors").items():
        if "_proj." not in name:
            tensors[name] = tensor
            continue
        size = scheme.weights.group_size or tensor.shape[1]
        groups = tensor.reshape(tensor.shape[0], -1, size)
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), scheme.weights)
        parts = compressor.compress(
            {"weight": tensor, "weight_scale": scale, "weight_zero_point": zero}, scheme)
        for part, value in parts.items():
            tensors[name.removesuffix("weight") + part] = value.contiguous()
    folder.mkdir()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    config["quantization_config"] = QuantizationConfig(
        config_groups={"group_0": scheme}, format=scheme.format, ignore=["lm_head"],
        quantization_status="compressed").model_dump(mode="json")
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((model / name).read_text())


class CompressedTensorsTest(peers.ModelTest):
    def check(self, folder, loads=True):
        """That its owner sees the weights that halftone sees, and computes what they give."""
        ours = peers.our_weights(folder)
        theirs = decompressed(folder)
        self.assertEqual(len(theirs), peers.LINEAR)
        for name, weight in theirs.items():
            self.assertTrue(torch.equal(weight, peers.our_weight(folder, name)), name)
        expected = peers.reference_logits(folder, ours)
        ours = peers.our_logits(folder)
        self.assertLess(peers.distance(ours, expected), 1e-5)
        if loads:
            # In f32 it does not round weights to the file's bf16. Of MXFP4 its scales are bf16, and
            # whatever it computes with them must be.
            mx = "MXFP4" in folder.name
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, device_map="cpu", dtype=torch.bfloat16 if mx else torch.float32)
            self.assertLess(peers.distance(ours, peers.logits(model)), 1e-2 if mx else 4e-3)

    def test_transformers_opens_every_kind(self):
        for grid in ("int4:g128:bf16", "int4:g32:bf16", "int8:g64:bf16", "int8:row:bf16",
                     "int4:row:bf16", "int3:g64:bf16", "int2:g32:bf16", "fp8:row:bf16"):
            with self.subTest(grid):
                out = self.folder / grid.replace(":", "-")
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "compressed-tensors")
                self.check(out)

    def test_zero_points(self):
        """transformers cannot load packed zero points (it expects them unpacked), not even those of
        compressed-tensors itself, whose decompression reads them."""
        for grid in ("int4:g32:asym:bf16", "int8:g64:asym:bf16", "int4:row:asym:bf16",
                     "int3:g64:asym:bf16"):
            with self.subTest(grid):
                out = self.folder / grid.replace(":", "-")
                peers.halftone("quantize", self.model, "-o", out, "--grid", grid,
                               "--container", "compressed-tensors")
                self.check(out, loads=False)

    def test_its_own_checkpoints_come_back(self):
        for preset in ("W4A16", "W8A16", "W4A16_ASYM", "W8A8", "FP8_DYNAMIC", "MXFP4A16"):
            with self.subTest(preset):
                theirs, again = self.folder / preset, self.folder / (preset + "-again")
                compress(self.model, theirs, preset)
                self.check(theirs, loads=False)
                peers.halftone("convert", theirs, "-o", again, "--container", "compressed-tensors")
                self.check(again, loads="ASYM" not in preset)
                before, after = peers.our_weights(theirs), peers.our_weights(again)
                self.assertEqual(before.keys(), after.keys())
                for tensor in before:
                    self.assertTrue(torch.equal(before[tensor], after[tensor]), tensor)


if __name__ == "__main__":
    unittest.main()
