"""GGUF files: an unmodified llama.cpp opens what halftone writes, and computes what it gives.

llama.cpp rounds the inputs of every product with quantized weights to 8 bits, in blocks of 32
numbers or, where the weights lie in super-blocks, of 256. Halftone does not. So llama.cpp runs each
file twice. With the same weights written as f32 it rounds nothing, and its predictions are
halftone's but for f32 sums, an f16 cache and the 16 bits that it stores them in: divergences of
1e-7 were seen, 1e-6 is allowed. With the file itself it may be away from halftone by what the
rounding costs, which is found without either of them: transformers runs the weights as they are
and with inputs so rounded. Single errors depend on the last bit of a sum, their mean hardly: seen
were 0.99 to 1.03 of that divergence, 0.8 to 1.25 are allowed.
"""

import json
import os
import pathlib
import subprocess
import unittest

import numpy
import peers
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT = 64
CHUNKS = 4
HEADS = {"attn_q": 4, "attn_k": 2}
PARTS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
         "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def llama_folder():
    if "PEER_BIN" in os.environ:
        return pathlib.Path(os.environ["PEER_BIN"])
    build = subprocess.run([ROOT / "bench" / "peers" / "build"], check=True, text=True,
                           stdout=subprocess.PIPE)
    return pathlib.Path(build.stdout.strip())


def llama_logprobs(program, model, text, file):
    """Tokens [chunks, context] and llama.cpp's log-probabilities of the scored positions of each.

    The file of --kl-divergence-base: "_logits_", three numbers and the tokens, all i32; then for
    each scored position (the second half but the last) f32 scale and minimum, and u16 codes.
    """
    done = subprocess.run([program, "-m", model, "-f", text, "-c", str(CONTEXT), "-b", str(CONTEXT), "--chunks",
                           str(CHUNKS), "--kl-divergence-base", file],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    data = file.read_bytes()
    assert data[:8] == b"_logits_"
    context, vocabulary, chunks = numpy.frombuffer(data, "<i4", 3, 8)
    assert (context, chunks) == (CONTEXT, CHUNKS)
    tokens = numpy.frombuffer(data, "<i4", context * chunks, 20).reshape(chunks, context)
    rows = numpy.frombuffer(data, "<u2", offset=20 + tokens.nbytes)
    rows = rows.reshape(chunks, context - 1 - context // 2, -1)
    scale, low = (rows[..., i:i + 2].copy().view("<f4") for i in (0, 2))
    codes = rows[..., 4:4 + vocabulary]
    return tokens, torch.from_numpy(low + scale * codes.astype("f4"))


def halftone_logprobs(model, tokens):
    """Halftone's log-probabilities of the same positions."""
    file = pathlib.Path(model).with_suffix(".npy")
    rows = []
    for chunk in tokens:
        peers.halftone("evaluate", model, "--tokens", ",".join(map(str, chunk)), "--npy", file)
        rows.append(torch.from_numpy(numpy.load(file)).reshape(len(chunk), -1))
    return scored(torch.stack(rows))


def scored(logits):
    return torch.log_softmax(logits[:, CONTEXT // 2:CONTEXT - 1].float(), -1)


def rounded(x, block):
    """x to 127 steps on both sides in blocks along its last dimension, as ggml does."""
    parts = x.reshape(-1, block)
    step = parts.abs().amax(-1, keepdim=True) / 127
    return (torch.round(parts / step.clamp(min=1e-30)) * step).reshape(x.shape)


def plain_weights(model):
    """The tensors as halftone decodes them, with transformers' names and rows; and their grids."""
    listed = subprocess.run([os.environ["HALFTONE"], "inspect", model, "--json"], check=True,
                            capture_output=True, text=True)
    weights, grids = {}, {}
    for tensor in json.loads(listed.stdout)["tensors"]:
        *layer, part = tensor["name"].removesuffix(".weight").rsplit(".", 1)
        name = f"model.layers.{layer[0][4:]}.{PARTS[part]}" if layer else PARTS[part]
        weight = peers.our_weight(model, tensor["name"])
        if part in ("attn_q", "attn_k"):  # pairs that rotate together are neighbours in GGUF
            rows = weight.reshape(HEADS[part], -1, 2, weight.shape[-1])
            weight = rows.transpose(1, 2).reshape(weight.shape)
        weights[name + ".weight"] = weight
        grids[name] = tensor["grid"]
    return weights, grids


def transformers_logprobs(folder, weights, grids, tokens):
    """Those of transformers in f32. With grids, the inputs of each product are rounded."""
    config = json.loads((folder / "config.json").read_text())
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name in grids:
            block = 256 if grids[name].endswith(("_K", "_XS")) else 32
            module.register_forward_pre_hook(lambda _, x, block=block: (rounded(x[0], block),))
    with torch.no_grad():
        return scored(model.eval()(torch.from_numpy(tokens.astype("i8"))).logits)


def divergence(p, q):
    """Mean KL divergence in nats of log-probabilities q from p."""
    return (p.exp() * (p - q)).sum(-1).mean().item()


class GgufTest(peers.ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.perplexity = llama_folder() / "llama-perplexity"
        cls.text = ROOT / "data" / "evaluation.txt"

    def check(self, name, *arguments):
        out, decoded = self.folder / (name + ".gguf"), self.folder / (name + "-f32.gguf")
        peers.halftone("quantize", self.model, "-o", out, *arguments, "--calibration",
                       ROOT / "data" / "calibration.txt", "--context", CONTEXT, "--chunks", 32)
        tokens, theirs = llama_logprobs(self.perplexity, out, self.text, self.folder / "base")
        ours = halftone_logprobs(out, tokens)

        peers.halftone("quantize", out, "-o", decoded, "--grid", "f32", "--method", "rtn")
        again, exact = llama_logprobs(self.perplexity, decoded, self.text, self.folder / "base")
        self.assertTrue(numpy.array_equal(tokens, again))
        self.assertLess(abs(divergence(ours, exact)), 1e-6)

        weights, grids = plain_weights(out)
        plain = transformers_logprobs(self.model, weights, {}, tokens)
        self.assertLess(abs(divergence(plain, ours)), 1e-6)
        rounding = divergence(plain, transformers_logprobs(self.model, weights, grids, tokens))
        ratio = divergence(ours, theirs) / rounding
        print(f"{name}: divergence {ratio * rounding:.2e}, {ratio:.2f} of what rounding costs")
        self.assertGreater(ratio, 0.8)
        self.assertLess(ratio, 1.25)

    def test_super_blocks_by_best(self):
        self.check("best", "--grid", "q4_k_m", "--method", "best")

    def test_super_blocks_by_awq_and_gptq(self):
        self.check("awq-gptq", "--grid", "q4_k_m", "--method", "awq+gptq")

    def test_eight_bits(self):
        self.check("q8_0", "--grid", "q8_0", "--method", "rtn")

    def test_blocks_of_32_by_gptq(self):
        self.check("q4_0", "--grid", "q4_0", "--method", "gptq")

    def test_grids_chosen_for_a_size(self):
        self.check("size", "--target-size", 800000)
        self.assertLessEqual((self.folder / "size.gguf").stat().st_size, 800000)


if __name__ == "__main__":
    unittest.main()
