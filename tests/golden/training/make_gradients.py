"""Writes what peft and torch compute in one step of training, for the small models of
../architectures: an adapter with random A and B, the loss of two sequences and its derivatives.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2
    python make_gradients.py

<model>/adapter_config.json and adapter_model.safetensors are what peft's save_pretrained writes;
<model>/step.safetensors holds the derivatives under the same names, and in its metadata the mean
loss. The sequences are those of training_test.cc: token i of n is (7 i^2 + 3 i + n) mod vocabulary,
n = 40 and n = 9; in the first the targets of tokens 0 to 4 are not scored.
"""

import json
import pathlib

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

MODELS = pathlib.Path(__file__).parent.parent / "architectures"
NAMES = ["llama", "mistral", "qwen2", "qwen2-window", "qwen3", "gemma2", "gemma3", "phi3"]
RANK, ALPHA = 2, 6


def sequence(length, vocabulary):
    return torch.tensor([[(7 * i * i + 3 * i + length) % vocabulary for i in range(length)]])


def main():
    for name in NAMES:
        torch.manual_seed(len(name))
        base = AutoModelForCausalLM.from_pretrained(
            MODELS / name, dtype=torch.float32, attn_implementation="eager"
        )
        model = get_peft_model(
            base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
        )
        parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        for parameter in parameters.values():
            torch.nn.init.normal_(parameter, std=0.2)
        vocabulary = base.config.vocab_size
        total, scored = 0, 0
        for length, skipped in ((40, 5), (9, 0)):
            tokens = sequence(length, vocabulary)
            logits = model(input_ids=tokens).logits[0, skipped:-1]
            targets = tokens[0, skipped + 1 :]
            total = total + torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
            scored += len(targets)
        loss = total / scored
        loss.backward()
        folder = pathlib.Path(__file__).parent / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = name
        config["target_modules"].sort()
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        gradients = {
            n.replace(".default", ""): p.grad.contiguous() for n, p in parameters.items()
        }
        save_file(gradients, folder / "step.safetensors", metadata={"loss": repr(loss.item())})
        print(name, loss.item(), sum(p.numel() for p in parameters.values()))


if __name__ == "__main__":
    main()
