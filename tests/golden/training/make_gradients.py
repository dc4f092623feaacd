"""Writes what peft and torch compute in one step of training, for the small models of
../architectures: an adapter with random A and B, the loss of two sequences and its derivatives.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2
    python make_gradients.py [NAME ...]

<model>/adapter_config.json and adapter_model.safetensors are what peft's save_pretrained writes;
<model>/step.safetensors holds the derivatives under the same names, and in its metadata the mean
loss, and the losses of five steps with them by torch's AdamW and transformers' cosine schedule. The
sequences are those of training_test.cc: token i of n is (7 i^2 + 3 i + n) mod vocabulary, n = 40 and
n = 9; in the first the targets of tokens 0 to 4 are not scored.

llama-dropout is llama with a quarter of what meets A left out: which, is what kernel/ops.h says of
Dropout, with model/forward.h's key of each layer, 77 being that of the pass.

Run with transformers 4.51.3 and the same peft it writes the folders of mixtures that end with -4: there
each matrix of each expert has a pair of its own, in transformers 5 those of all experts have one.
"""

import json
import pathlib
import re
import shutil
import sys
import tempfile

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

MODELS = pathlib.Path(__file__).parent.parent / "architectures"
MIXTURES = ["mixtral", "qwen3moe", "qwen3moe-plain"]
DENSE = ["llama", "mistral", "qwen2", "qwen2-window", "qwen3", "gemma2", "gemma3", "phi3"]
FOUR = transformers.__version__.startswith("4.")
RANK, ALPHA = 2, 6
STEPS = 5


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


class Dropout(torch.nn.Module):
    """Of one layer, through sequences that lie one behind the other."""

    NAMES = dict(q_proj="attn_q", k_proj="attn_k", v_proj="attn_v", o_proj="attn_output",
                 gate_proj="ffn_gate", up_proj="ffn_up", down_proj="ffn_down")
    RATE, PASS = 0.25, 77

    def __init__(self, module):
        super().__init__()
        layer, name = re.search(r"layers\.(\d+)\.\w+\.(\w+)$", module).groups()
        key = 0xCBF29CE484222325
        for byte in f"blk.{layer}.{self.NAMES[name]}.weight\0".encode():
            key = (key ^ byte) * 0x100000001B3 % 2**64
        self.key = mix(self.PASS ^ mix(key))
        self.seen = 0

    def forward(self, x):
        kept = []
        for i in range(self.seen, self.seen + x.numel()):
            bits = mix((self.key + (i // 2 + 1) * 0x9E3779B97F4A7C15) % 2**64)
            kept.append((bits >> (32 * (i % 2))) % 2**32 >= self.RATE * 2**32)
        self.seen += x.numel()
        return x * torch.tensor(kept).reshape(x.shape) / (1 - self.RATE)


def sequence(length, vocabulary):
    return torch.tensor([[(7 * i * i + 3 * i + length) % vocabulary for i in range(length)]])


def mean_loss(model, vocabulary):
    total, scored = 0, 0
    for length, skipped in ((40, 5), (9, 0)):
        tokens = sequence(length, vocabulary)
        logits = model(input_ids=tokens).logits[0, skipped:-1]
        targets = tokens[0, skipped + 1 :]
        total = total + torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        scored += len(targets)
    return total / scored


def train(model, parameters, vocabulary):
    """The loss before each step."""
    optimizer = torch.optim.AdamW(parameters, lr=0.02, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = get_cosine_schedule_with_warmup(optimizer, 2, STEPS)
    losses = []
    for _ in range(STEPS):
        # transformers' schedule begins at 0, ours with the first step's share.
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, (len(losses) + 1) / 2)
        if len(losses) >= 2:
            optimizer.param_groups[0]["lr"] = schedule.get_last_lr()[0]
        loss = mean_loss(model, vocabulary)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        schedule.step()
    return losses


def load(name):
    name = name.removesuffix("-dropout")
    if not FOUR:
        own = {"experts_implementation": "eager"} if name in MIXTURES else {}
        return AutoModelForCausalLM.from_pretrained(
            MODELS / name, dtype=torch.float32, attn_implementation="eager", **own
        )
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MODELS / name / "model.safetensors", folder)
        shutil.copy(MODELS / name / "config-4.json", pathlib.Path(folder) / "config.json")
        return AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=torch.float32, attn_implementation="eager"
        )


def main():
    for name in sys.argv[1:] or (MIXTURES if FOUR else DENSE + MIXTURES + ["llama-dropout"]):
        torch.manual_seed(len(name))
        base = load(name)
        model = get_peft_model(
            base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
        )
        parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        for parameter in parameters.values():
            torch.nn.init.normal_(parameter, std=0.2)
        if name.endswith("-dropout"):
            for module, layer in model.named_modules():
                if hasattr(layer, "lora_dropout"):
                    layer.lora_dropout["default"] = Dropout(module)
        vocabulary = base.config.vocab_size
        loss = mean_loss(model, vocabulary)
        loss.backward()
        folder = pathlib.Path(__file__).parent / (name + "-4" if FOUR else name)
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = name.removesuffix("-dropout")
        config["target_modules"].sort()
        if config.get("target_parameters"):
            config["target_parameters"].sort()
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        gradients = {
            n.replace(".default", ""): p.grad.contiguous() for n, p in parameters.items()
        }
        metadata = {"loss": repr(loss.item())}
        if not name.endswith("-dropout"):
            losses = train(model, list(parameters.values()), vocabulary)
            metadata["losses"] = " ".join(map(repr, losses))
        save_file(gradients, folder / "step.safetensors", metadata=metadata)
        print(name, metadata)


if __name__ == "__main__":
    main()
