"""Quantizes a Hugging Face folder by the programs that invented its formats, on the CPU.

  rounders.py TOOL MODEL TOKENS OUT

TOOL is a name of TOOLS below, TOKENS a JSON file with one list of token ids for each calibration
sequence, OUT the folder to write. Only public interfaces are used; whatever is not named here has
its default. Runs in the environment of tests/interop.
"""

import json
import os
import sys
import warnings

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # fails with the 1 of a small machine
os.environ.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1")
warnings.filterwarnings("ignore")

import torch
import transformers


def gptqmodel(model, tokens, out, **settings):
    from gptqmodel import GPTQModel, QuantizeConfig
    texts = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}
             for ids in torch.tensor(tokens).unsqueeze(1)]
    loaded = GPTQModel.load(model, QuantizeConfig(bits=4, group_size=128, **settings), device="cpu")
    loaded.quantize(texts, batch_size=1)
    loaded.save(out)


def gptq(model, tokens, out):
    gptqmodel(model, tokens, out, sym=True)


def gptq_act_order(model, tokens, out):
    gptqmodel(model, tokens, out, sym=True, desc_act=True, act_group_aware=False)


def autoawq(model, tokens, out):
    from awq import AutoAWQForCausalLM
    # It keeps copies of weights by Tensor.cpu(), which for weights that are there already are no
    # copies: what it tries would stay in them, and divergence be 8 nats.
    cpu = torch.Tensor.cpu
    torch.Tensor.cpu = lambda tensor, *args, **kwargs: cpu(tensor, *args, **kwargs).clone()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    # Its default of f16 is emulated on most processors, ten times as slow.
    loaded = AutoAWQForCausalLM.from_pretrained(model, device_map="cpu", safetensors=True,
                                                torch_dtype=torch.float32)
    config = {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}
    loaded.quantize(tokenizer, quant_config=config, calib_data=tokens,
                    max_calib_samples=len(tokens), max_calib_seq_len=len(tokens[0]))
    loaded.save_quantized(out)
    tokenizer.save_pretrained(out)


TOOLS = {"gptq": gptq, "gptq-act-order": gptq_act_order, "autoawq": autoawq}

if __name__ == "__main__":
    tool, model, tokens, out = sys.argv[1:]
    with open(tokens) as file:
        TOOLS[tool](model, json.load(file), out)
