"""What the tests here share: a small random model, the program under test, and comparisons."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy
import safetensors.torch
import tokenizers
import torch
import transformers

LINEAR = 14  # quantized layers of the small model
TOKENS = [1, 17, 300, 5, 5, 411, 88, 2, 260, 31, 499, 7, 0, 123, 64, 402]


def halftone(*arguments):
    """Runs the program; its output is shown only if it fails."""
    command = [os.environ["HALFTONE"], *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{command}: {result.returncode}\n{result.stdout}{result.stderr}")


def make_model(folder):
    """A llama of two layers with heavy-tailed weights and a tokenizer of 512 tokens, in bf16."""
    torch.manual_seed(20261126)
    config = transformers.LlamaConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=512, max_position_embeddings=256,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config)
    tails = torch.distributions.StudentT(5.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.copy_(tails.sample(parameter.shape) * 0.6 / parameter.shape[1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer(folder)


def make_tokenizer(folder):
    """A tokenizer of 512 tokens: bytes, and some pairs of them."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<s>", "</s>"] + alphabet
    merges = []
    for left in alphabet:
        for right in alphabet:
            if len(words) < 512:
                merges.append((left, right))
                words.append(left + right)
    bpe = tokenizers.models.BPE({word: i for i, word in enumerate(words)}, merges)
    tokenizer = tokenizers.Tokenizer(bpe)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>",
        pad_token="<pad>").save_pretrained(folder)


class ModelTest(unittest.TestCase):
    """Tests that share a folder, which goes away, with the small model in it."""

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.model = cls.folder / "model"
        make_model(cls.model)


def our_weights(folder):
    """All tensors as halftone decodes them, by name, in f32 (exact: they are f16 or bf16)."""
    folder = pathlib.Path(folder)
    plain = folder.with_name(folder.name + "-plain")
    if not plain.exists():
        halftone("quantize", folder, "-o", plain, "--grid", "f16", "--container", "safetensors")
    tensors = safetensors.torch.load_file(plain / "model.safetensors")
    return {name: tensor.float() for name, tensor in tensors.items()}


def our_weight(folder, name):
    """One tensor as halftone decodes it, in f32, exactly."""
    file = pathlib.Path(folder).with_name("weight.npy")
    halftone("inspect", folder, "--tensor", name, "--npy", file)
    return torch.from_numpy(numpy.load(file))


def our_logits(folder, *options, tokens=TOKENS):
    """f32 logits of the tokens, one row for each; `options` for the program."""
    file = pathlib.Path(folder).with_suffix(".npy")
    halftone("evaluate", folder, "--tokens", ",".join(map(str, tokens)), "--npy", file, *options)
    return torch.from_numpy(numpy.load(file)).reshape(len(tokens), -1)


def logits(model):
    """Logits of TOKENS of a model of transformers, as f32."""
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].float()


def logits_one_by_one(model):
    """The same, each token as a batch of its own."""
    rows, cache = [], None
    with torch.no_grad():
        for token in TOKENS:
            out = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            rows.append(out.logits[0, 0].float())
    return torch.stack(rows)


def in_float32(model):
    """The model, computing in f32: transformers leaves some quantized ones in the file's dtype."""
    for parameter in model.parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()
    return model


def reference_logits(folder, weights):
    """Logits of TOKENS in f32 by transformers with these weights in the folder's model."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    config.pop("quantization_config", None)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    return logits(model.eval())


def distance(actual, expected):
    """The largest difference, relative to the range of what was expected."""
    return distances(actual, expected).max().item()


def distances(actual, expected):
    """The same for each token."""
    return (actual - expected).abs().amax(-1) / (expected.max() - expected.min())
