#!/usr/bin/env python3
"""Writes kquant_golden.txt: what ggml's own quantizer and dequantizer give for made-up rows.

  make_kquant_golden.py .../libggml-base.so > kquant_golden.txt

Every line is `encode <case> <grid> <plain> <weighted>` or `decode <grid> <values>`; the last fields
are 64-bit FNV-1a hashes of the bytes. The rows are made from integers with IEEE operations alone,
so that kquant_test.cc makes the same bits.
"""
import ctypes
import sys

import numpy as np

GRIDS = {"q2_k": (10, 84, (80, 82)), "q3_k": (11, 110, (108,)), "q4_k": (12, 144, (0, 2)),
         "q5_k": (13, 176, (0, 2)), "q6_k": (14, 210, (208,))}
ROWS, COLUMNS = 4, 2304  # nine super-blocks: an odd number
F = np.float32


def bits(seed, count):
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed, count):
    return (bits(seed, count) >> np.uint64(40)).astype(F) * F(2.0**-24)


def cases():
    n = ROWS * COLUMNS
    u = uniform(1, 4 * n).reshape(n, 4)
    g = ((u[:, 0] + u[:, 1]) + u[:, 2]) + u[:, 3] - F(2)
    v = uniform(2, n)
    i = np.arange(n)
    yield "normal", g * F(0.03)
    yield "heavy", g * F(0.03) / (v + F(0.02))
    yield "sparse", np.where(v < F(0.9), F(0), g)
    yield "tiny", g * F(1e-6)
    yield "fading", np.ldexp(g, (-(i // 256)).astype(np.int32))
    yield "positive", np.abs(g) + F(0.001)
    yield "negative", -np.abs(g)
    yield "constant", np.full(n, 0.37, F)
    yield "zeros", np.zeros(n, F)
    yield "large", g * F(3e4)
    yield "integers", np.floor(v * F(9)) - F(4)
    yield "denormal", g * F(1e-39)
    yield "offset", g * F(0.01) + F(5)
    kind = i // 16 % 4
    yield "mixed", np.where(kind == 0, F(0), np.where(kind == 1, F(0.7), np.where(
        kind == 2, np.where(i % 2 == 0, F(0.5), F(-0.5)), g * F(1e-7))))


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def main():
    ggml = ctypes.CDLL(sys.argv[1])
    quantize = ggml.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + 3 * [ctypes.c_int64] + [
        ctypes.c_void_p]
    t = uniform(3, COLUMNS)
    importance = np.where(t < F(0.1), F(0), t * t).astype(F)
    for case, x in cases():
        x = np.ascontiguousarray(x, dtype=F)
        for grid, (ggml_type, size, _) in GRIDS.items():
            hashes = []
            for pointer in (None, importance.ctypes.data):
                out = np.zeros(x.size // 256 * size, np.uint8)
                quantize(ggml_type, x.ctypes.data, out.ctypes.data, 0, ROWS, COLUMNS, pointer)
                hashes.append(fnv(out.tobytes()))
            print("encode", case, grid, *hashes)
    for grid, (_, size, scales) in GRIDS.items():
        blocks = (bits(4, 16 * size) >> np.uint64(56)).astype(np.uint8).reshape(16, size)
        for at in scales:
            blocks[:, at + 1] &= 0xBF  # an f16 below 2: neither infinite nor NaN
        values = np.zeros(16 * 256, F)
        dequantize = getattr(ggml, "dequantize_row_" + grid.replace("_k", "_K"))
        dequantize.restype = None
        dequantize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        dequantize(blocks.ctypes.data, values.ctypes.data, values.size)
        print("decode", grid, fnv(values.tobytes()))


main()
