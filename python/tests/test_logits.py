"""Logits are those of transformers, and lie in the library's own memory."""

import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file

import halftone

EXACT = {"activations": "f32", "kv_grid": "f32"}


def load(path, **options):
    return halftone.AutoModelForCausalLM.from_pretrained(path, **EXACT, **options)


def difference(logits, expected):
    """The largest, relative to the range of the expected ones."""
    return np.abs(logits - expected).max() / (expected.max() - expected.min())


@pytest.mark.parametrize(
    "name",
    [
        "tiny-bf16",
        "small-bf16",
        "tiny-gptq-4bit-g128",
        "tiny-gptq-4bit-g128-actorder",
        "small-gptq-4bit-g64-asym-v2",
        "tiny-awq-gemm-4bit-g128",
        "tiny-bnb-nf4-dq",
        "tiny-bnb-fp4",
        "tiny-ct-pack-quantized",
        "small-ct-fp8-dynamic",
    ],
)
def test_containers_give_transformers_logits(shared, tiny_bf16, name):
    expected = load_file(shared(f"fixtures/{name}") / "expected.safetensors")
    model = load(tiny_bf16 if name == "tiny-bf16" else shared(f"fixtures/{name}"))
    ids = expected["input_ids"]
    assert difference(model.logits(ids), expected["logits"]) < 1e-3
    assert difference(model(ids[np.newaxis]).logits[0], expected["logits"]) < 1e-3


BNB = halftone.BitsAndBytesConfig


@pytest.mark.parametrize(
    ("base", "name", "options", "bound"),
    [
        ("tiny-bf16", "tiny-bnb-nf4", {"load_in_4bit": True}, 1e-3),
        (
            "tiny-bf16",
            "tiny-bnb-nf4-dq",
            {
                "quantization_config": BNB(
                    load_in_4bit=True,
                    bnb_4bit_quant_type="nf4",
                    bnb_4bit_use_double_quant=True,
                )
            },
            5e-3,  # the mean of the scales is another float
        ),
        ("small-bf16", "tiny-bnb-fp4", {"quantization_config": BNB(load_in_4bit=True)}, 1e-3),
        # The expected ones are without rounded activations.
        ("tiny-bf16", "tiny-bnb-int8", {"load_in_8bit": True}, 5e-2),
        (
            "tiny-bf16",
            "tiny-bnb-int8",
            {"quantization_config": BNB(load_in_8bit=True, llm_int8_threshold=1e-9)},
            1e-3,
        ),
    ],
)
def test_rounding_while_loading_gives_bitsandbytes_logits(
    shared, tiny_bf16, base, name, options, bound
):
    expected = load_file(shared(f"fixtures/{name}") / "expected.safetensors")
    model = load(tiny_bf16 if base == "tiny-bf16" else shared(f"fixtures/{base}"), **options)
    assert difference(model.logits(expected["input_ids"]), expected["logits"]) < bound


def test_the_array_is_the_librarys_memory(tiny):
    model = load(tiny)
    ids = [int(i) for i in np.random.default_rng(0).integers(3, 512, 1000)]
    tracemalloc.start()
    logits = model.logits(ids)
    batch = model([ids]).logits
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert logits.shape == (1000, 512)
    assert batch.shape == (1, 1000, 512)
    assert logits.dtype == np.float32
    assert not logits.flags.owndata
    assert logits.flags.c_contiguous
    # numpy tells tracemalloc of each array that it allocates.
    assert peak < logits.nbytes / 10
    assert np.array_equal(logits, batch[0])
    # The array keeps what it needs, and is its caller's.
    copy = logits.copy()
    del model, batch
    assert np.array_equal(logits, copy)
    logits += 1
    assert np.array_equal(logits, copy + 1)


def test_ids_may_come_as_anything(tiny):
    model = load(tiny)
    expected = model.logits([5, 6, 7])
    for ids in ((5, 6, 7), np.array([5, 6, 7], np.int32), [[5, 6, 7]], np.array([[5, 6, 7]])):
        assert np.array_equal(model.logits(ids), expected)
    with pytest.raises(halftone.UnsupportedError, match="one sequence"):
        model.logits([[1, 2], [3, 4]])
    with pytest.raises(halftone.UsageError, match="integers"):
        model.logits([0.5])
    with pytest.raises(halftone.UsageError, match="outside the vocabulary"):
        model.logits([512])
    with pytest.raises(halftone.UnsupportedError, match="attention_mask"):
        model([5, 6], attention_mask=[1, 0])
