#!/usr/bin/env python3
"""Writes grouped_golden.txt: what bitsandbytes and compressed-tensors do with made-up weights.

  make_grouped_golden.py > grouped_golden.txt
  (bitsandbytes 0.50.2, compressed-tensors 0.20.0, torch 2.15.0, on the CPU)

Lines: `<grid> <case> <codes> <scales> <zeros> <values>`, all but the first two 64-bit FNV-1a hashes:
codes one byte each in the order of the weights, scales as f32, zeros one byte each (of nothing where
there are none), dequantized values as f32. The weights are made from integers with IEEE operations
alone, so that grouped_golden_test.cc makes the same bits.
"""
import sys

import bitsandbytes.functional as bnb
import numpy as np
import torch
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams

ROWS, COLUMNS = 2, 512
F = np.float32


def bits(seed, count):
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed, count):
    return (bits(seed, count) >> np.uint64(40)).astype(F) * F(2.0**-24)


def weights():
    n = ROWS * COLUMNS
    u = uniform(1, 4 * n).reshape(n, 4)
    g = u[:, 0] + u[:, 1] + u[:, 2] + u[:, 3] - F(2)
    v = uniform(2, n)
    integers = ((bits(3, n) % np.uint64(63)).astype(np.int64) - 31).astype(F)
    return {
        "normal": g * F(0.03),
        "heavy": g * F(0.03) / (v + F(0.02)),
        "sparse": np.where(v < F(0.9), F(0), g),
        "ties": integers * F(0.25),
        "positive": np.abs(g) + F(0.001),
        "negative": -np.abs(g),
        "constant": np.full(n, F(0.37)),
        "zeros": np.zeros(n, F),
        "tiny": g * F(2.0**-13),
        "large": g * F(1024),
    }


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def line(grid, case, codes, scales, zeros, values):
    values = values.to(torch.float32).numpy().astype("<f4")
    print(grid, case, fnv(codes.astype(np.uint8).tobytes()),
          fnv(scales.to(torch.float32).numpy().astype("<f4").tobytes()),
          fnv(zeros.astype(np.uint8).tobytes()), fnv(values.tobytes()))


NO_ZEROS = np.zeros(0, np.uint8)


def four_bits(kind, group, case, x):
    packed, state = bnb.quantize_4bit(torch.from_numpy(x), blocksize=group, quant_type=kind)
    state.dtype = torch.bfloat16
    packed_bytes = packed.flatten().numpy()
    codes = np.stack([packed_bytes >> 4, packed_bytes & 15], axis=1)
    line(f"{kind}:g{group}", case, codes, state.absmax, NO_ZEROS,
         bnb.dequantize_4bit(packed, state, quant_type=kind))


def int8(case, x):
    codes, scales, _ = bnb.int8_vectorwise_quant(torch.from_numpy(x).to(torch.float16))
    line("int8:row:absmax", case, codes.numpy().astype(np.int16) + 128, scales, NO_ZEROS,
         bnb.int8_vectorwise_dequant(codes, scales))


def compressed(grid, case, x, dtype, **settings):
    args = QuantizationArgs(**settings)
    t = torch.from_numpy(x).to(dtype)
    groups = t.reshape(ROWS, -1, args.group_size or COLUMNS)
    scales, zeros = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    stored = torch.int8 if args.type == "int" else torch.float8_e4m3fn if args.num_bits == 8 else None
    q = quantize(t, scales, zeros, args, dtype=stored)
    half = 2**(args.num_bits - 1)
    if args.type == "int":
        codes = q.numpy().astype(np.int16) + half
    elif args.num_bits == 8:
        codes = q.view(torch.uint8).numpy()
    else:
        packed = pack_fp4_to_uint8(q).numpy()
        codes = np.stack([packed & 15, packed >> 4], axis=-1)
    asymmetric = args.type == "int" and not args.symmetric
    line(grid, case, codes, scales, zeros.numpy().astype(np.int16) + half if asymmetric else NO_ZEROS,
         dequantize(q, scales, zeros, args))


def main():
    torch.set_num_threads(1)
    for case, x in weights().items():
        x = x.astype(F).reshape(ROWS, COLUMNS)
        for kind in ("nf4", "fp4"):
            for group in (64, 128):
                four_bits(kind, group, case, x)
        int8(case, x)
        for name, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32)):
            for symmetric, suffix in ((True, ""), (False, ":asym")):
                compressed(f"int4:g32{suffix}:{name}", case, x, dtype, num_bits=4, group_size=32,
                           symmetric=symmetric, strategy="group")
                compressed(f"int8:row{suffix}:{name}", case, x, dtype, num_bits=8,
                           symmetric=symmetric, strategy="channel")
            compressed(f"fp8:row:{name}", case, x, dtype, num_bits=8, type="float",
                       strategy="channel")
            compressed(f"e2m1:g16:{name}", case, x, dtype, num_bits=4, type="float", group_size=16,
                       strategy="group")
        compressed("fp8:row", case, x, torch.float16, num_bits=8, type="float", strategy="channel")


if __name__ == "__main__":
    sys.exit(main())
