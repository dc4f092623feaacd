"""Hashes of what ggml's own library does with the weights of block_golden_test.cc.

  python3 make_block_golden.py <libggml-base.so> > block_golden.txt

Lines:
  decode <grid> <hash>          dequantization of 64 blocks of random bytes, every NaN as 0x7FC00000
  encode <grid> <case> <plain|importance> <hash>   quantized bytes of two rows of 512 weights
Hashes are FNV-1a, 64 bits, of the little-endian bytes.
"""

import ctypes
import sys

import numpy as np

# name: (ggml type, weights in a block, bytes in a block, encoded plain, encoded with importances)
GRIDS = {
    "q4_0": (2, 32, 18, True, True),
    "q4_1": (3, 32, 20, True, True),
    "q5_0": (6, 32, 22, True, True),
    "q5_1": (7, 32, 24, True, True),
    "q8_0": (8, 32, 34, True, False),
    "iq4_nl": (20, 32, 18, True, True),
    "iq4_xs": (23, 256, 136, True, True),
    "iq3_s": (21, 256, 110, False, False),
    "iq3_xxs": (18, 256, 98, False, False),
    "iq2_s": (22, 256, 82, False, False),
    "iq2_xs": (17, 256, 74, False, False),
    "iq2_xxs": (16, 256, 66, False, False),
    "iq1_m": (29, 256, 56, False, False),
    "iq1_s": (19, 256, 50, False, False),
    "tq2_0": (35, 256, 66, True, False),
    "tq1_0": (34, 256, 54, True, False),
    "mxfp4": (39, 32, 17, True, False),
    "nvfp4": (40, 64, 36, True, False),
    "q2_0": (42, 64, 18, True, False),
    "q1_0": (41, 128, 18, True, False),
}
ROWS, COLUMNS = 2, 512
F32 = np.float32


def bits(seed, index):
    """splitmix64, by position."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed, index):
    return (bits(seed, index) >> np.uint64(40)).astype(F32) * F32(2.0**-24)


def cases():
    i = np.arange(ROWS * COLUMNS)
    u = [uniform(1, 4 * i + k) for k in range(4)]
    g = ((u[0] + u[1]) + u[2]) + u[3] - F32(2)
    v = uniform(2, i)
    return {
        "normal": g * F32(0.03),
        "heavy": g * F32(0.03) / (v + F32(0.02)),
        "sparse": np.where(v < F32(0.9), F32(0), g),
        "signed_zeros": np.where(v < F32(0.9), F32(-0.0), np.abs(g)),
        "positive": np.abs(g) + F32(0.001),
        "negative": -np.abs(g),
        "constant": np.full(ROWS * COLUMNS, 0.37, F32),
        "zeros": np.zeros(ROWS * COLUMNS, F32),
        "tiny": g * F32(1e-6),
        "large": g * F32(3e4),
        "integers": np.floor(v * F32(9)) - F32(4),
    }


def importance():
    t = uniform(3, np.arange(COLUMNS))
    return np.where(t < F32(0.1), F32(0), t * t)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def main():
    ggml = ctypes.CDLL(sys.argv[1])
    quantize = ggml.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    column_importance = np.ascontiguousarray(importance(), F32)
    for name, (type_id, block, size, plain, weighted) in GRIDS.items():
        count = 64
        blocks = (bits(4, np.arange(count * size)) >> np.uint64(56)).astype(np.uint8)
        out = np.zeros(count * block, F32)
        decode = getattr(ggml, f"dequantize_row_{name}")
        decode(blocks.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(out.size))
        out[np.isnan(out)] = np.array([0x7FC00000], np.uint32).view(F32)[0]
        print("decode", name, fnv(out.tobytes()))
        for case, x in cases().items():
            x = np.ascontiguousarray(x, F32)
            for kind, wanted in (("plain", plain), ("importance", weighted)):
                if not wanted:
                    continue
                encoded = np.zeros(x.size // block * size, np.uint8)
                quantize(type_id, x.ctypes.data, encoded.ctypes.data, 0, ROWS, COLUMNS,
                         column_importance.ctypes.data if kind == "importance" else None)
                print("encode", name, case, kind, fnv(encoded.tobytes()))


main()
