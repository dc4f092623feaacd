"""Writes int8_golden.txt: LLM.int8() products by bitsandbytes on a CPU, for int8_test.cc.

    python -m venv venv && venv/bin/pip install torch bitsandbytes==0.50.2
    venv/bin/python make_int8_golden.py > int8_golden.txt

Weights and activations are sums of their indices' hashes, as in the test, and exact in half
precision. Each token is a batch of its own: bitsandbytes takes columns out for a whole batch. A line
has the threshold, the token, and the products with all rows.
"""

import bitsandbytes
import torch

ROWS, COLS, TOKENS = 5, 150, 4


def hashed(index):
    return (index * 2654435761 >> 7) % 4096


def main():
    codes = torch.tensor([[hashed(r * COLS + c) % 255 - 127 for c in range(COLS)]
                          for r in range(ROWS)], dtype=torch.int8)
    scales = torch.tensor([0.5 + r / 8 for r in range(ROWS)])
    for threshold in (0.0, 6.0, 2.5):
        for t in range(TOKENS):
            x = torch.tensor([[(hashed(70000 + t * COLS + c) - 2048) / 256 for c in range(COLS)]])
            if t == 3:
                x[:, ::2] = 0
            rounded, row_scales, columns = bitsandbytes.functional.int8_vectorwise_quant(
                x.half(), threshold=threshold)
            y, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(
                x, rounded, codes, row_scales, scales, columns)
            print(threshold, t, *(f"{v:.9g}" for v in y[0].tolist()))


main()
