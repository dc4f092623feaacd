#!/usr/bin/env python3
"""Writes ct_golden_<version>.safetensors: small weights that compressed-tensors itself compressed, in
all the layouts that were ever written, and what it decompresses them to.

  make_ct_golden.py ct_golden_new.safetensors   with compressed-tensors 0.20.0
  make_ct_golden.py ct_golden_old.safetensors   with compressed-tensors 0.12.2 (or 0.9.4)

Tensors of case C are "C.weight_packed" and so on, its values "C.expected"; the metadata hold the
arguments of its scheme under "C", as in config_groups.*.weights of a configuration.
"""
import json
import sys

import compressed_tensors
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file

ROWS, COLS = 12, 64
NEW = int(compressed_tensors.__version__.split(".")[1]) >= 20
if NEW:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    from compressed_tensors.quantization import QuantizationScheme
else:
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import pack_to_int32

tensors, metadata = {}, {}


def weight(dtype):
    torch.manual_seed(len(metadata))
    x = torch.randn(ROWS, COLS) * torch.rand(ROWS, 1)
    x[2] = x[2].abs()
    x[5] = -x[5].abs()
    return x.to(dtype)


def qparams(x, args, g_idx=None):
    if g_idx is not None:
        x = x[:, torch.argsort(g_idx, stable=True)]
    if args.strategy == "block":
        h, w = args.block_structure
        pads = (0, -COLS % w, 0, -ROWS % h)
        blocks = torch.nn.functional.pad(x, pads)
        blocks = blocks.reshape(blocks.shape[0] // h, h, -1, w).transpose(1, 2).flatten(2)
    elif args.strategy == "tensor":
        blocks = x.reshape(1, -1)
    elif args.strategy == "channel":
        blocks = x.unsqueeze(1)
    else:
        blocks = x.reshape(ROWS, -1, args.group_size)
    scale, zero = calculate_qparams(blocks.amin(-1), blocks.amax(-1), args)
    return scale, zero


def store(case, args, parts, expected):
    for name, tensor in parts.items():
        tensors[f"{case}.{name}"] = tensor.clone().contiguous()
    tensors[f"{case}.expected"] = expected.contiguous()
    metadata[case] = json.dumps(args.model_dump(mode="json", exclude_none=True,
                                                include=set(args.model_fields_set)))


def compressed(case, format, dtype=torch.bfloat16, **settings):
    """As the current version's compressor of a format does it."""
    args = QuantizationArgs(**settings)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    x = weight(dtype)
    scale, zero = qparams(x, args)
    compressor = BaseCompressor.get_value_from_registry(format)
    state = {"weight": x, "weight_scale": scale}
    if not args.symmetric:
        state["weight_zero_point"] = zero
    parts = compressor.compress(state, scheme)
    expected = compressor.decompress(dict(parts), scheme)["weight"]
    store(case, args, parts, expected)


def packed(case, dtype=torch.bfloat16, g_idx=None, **settings):
    """By the functions that the older versions' compressor consisted of."""
    args = QuantizationArgs(**settings)
    x = weight(dtype)
    scale, zero = qparams(x, args, g_idx)
    q = quantize(x=x, scale=scale, zero_point=zero, args=args, g_idx=g_idx, dtype=torch.int8)
    parts = {"weight_packed": pack_to_int32(q, args.num_bits), "weight_scale": scale,
             "weight_shape": torch.tensor(x.shape, dtype=torch.int32 if g_idx is not None else None)}
    if not args.symmetric:
        parts["weight_zero_point"] = pack_to_int32(zero.to(torch.int8), args.num_bits, packed_dim=0)
    if g_idx is not None:
        parts["weight_g_idx"] = g_idx
    store(case, args, parts, dequantize(x_q=q, scale=scale, zero_point=zero, args=args, g_idx=g_idx))


def main():
    group = {"strategy": "group", "group_size": 32}
    if NEW:
        for bits in range(1, 9):
            compressed(f"dense{bits}", "pack-quantized", num_bits=bits, **group)
            compressed(f"dense{bits}asym", "pack-quantized", num_bits=bits, symmetric=False, **group)
        compressed("channel4asym", "pack-quantized", num_bits=4, symmetric=False, strategy="channel")
        compressed("tensor4asym", "pack-quantized", num_bits=4, symmetric=False, strategy="tensor")
        compressed("half4", "pack-quantized", torch.float16, num_bits=4, **group)
        compressed("float4", "pack-quantized", torch.float32, num_bits=4, **group)
        compressed("group4of4", "pack-quantized", num_bits=4, strategy="group", group_size=4)
        compressed("int8asym", "int-quantized", num_bits=8, symmetric=False, strategy="channel")
        compressed("int8tensor", "int-quantized", num_bits=8, strategy="tensor")
        compressed("int4bytes", "naive-quantized", num_bits=4, **group)
        compressed("fp8tensor", "float-quantized", num_bits=8, type="float", strategy="tensor")
        compressed("fp8block", "float-quantized", num_bits=8, type="float", strategy="block",
                   block_structure=[5, 48])
        compressed("fp8oddblock", "float-quantized", num_bits=8, type="float", strategy="block",
                   block_structure=[5, 25])
        compressed("mxfp8", "mxfp8-quantized", num_bits=8, type="float", strategy="group",
                   group_size=32, scale_dtype=torch.uint8)
    else:
        for bits in (2, 3, 4, 5, 6, 7, 8):
            packed(f"words{bits}", num_bits=bits, **group)
            packed(f"words{bits}asym", num_bits=bits, symmetric=False, **group)
        torch.manual_seed(99)
        order = torch.randperm(COLS).to(torch.int32) // 32
        packed("actorder", g_idx=order.to(torch.int32), num_bits=4, **group)
        packed("actorder3asym", g_idx=order, num_bits=3, symmetric=False, **group)
        packed("noorder", g_idx=torch.full((COLS,), -1, dtype=torch.int32), num_bits=4, **group)
    save_file(tensors, sys.argv[1], metadata)


if __name__ == "__main__":
    main()
