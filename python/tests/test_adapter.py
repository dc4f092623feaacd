"""Adapters run beside the weights, with the logits that unmodified peft has for them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import halftone

AUTO = halftone.AutoModelForCausalLM
EXACT = {"activations": "f32", "kv_grid": "f32"}


def difference(logits, expected):
    """The largest, relative to the range of the expected ones."""
    return np.abs(logits - expected).max() / (expected.max() - expected.min())


def rename_base(folder, name):
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = name
    path.write_text(json.dumps(config))


@pytest.fixture
def adapter(shared, tiny_bf16, tmp_path) -> Path:
    """peft's own folder, whose base is where the fixture lies here."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    for file in shared("fixtures/tiny-lora-adapter").iterdir():
        shutil.copyfile(file, folder / file.name)
    rename_base(folder, str(tiny_bf16))
    return folder


@pytest.mark.parametrize(
    ("name", "bound"),
    [("tiny-lora-adapter", 1e-3), ("tiny-lora-gguf/adapter.gguf", 2e-3)],  # the latter in f16
)
def test_logits_are_pefts(shared, tiny_bf16, name, bound):
    expected = load_file(shared("fixtures/tiny-lora-adapter") / "expected.safetensors")
    model = AUTO.from_pretrained(tiny_bf16, adapter=shared(f"fixtures/{name}"), **EXACT)
    assert difference(model.logits(expected["input_ids"]), expected["logits"]) < bound
    without = AUTO.from_pretrained(tiny_bf16, **EXACT)
    assert difference(without.logits(expected["input_ids"]), expected["logits"]) > 1e-2


def test_an_adapters_folder_names_its_model(adapter):
    expected = load_file(adapter / "expected.safetensors")
    model = AUTO.from_pretrained(adapter, **EXACT)
    assert difference(model.logits(expected["input_ids"]), expected["logits"]) < 1e-3
    assert model.name_or_path == str(adapter)


def test_a_path_is_relative_to_where_one_is(adapter, tiny_bf16, monkeypatch):
    rename_base(adapter, tiny_bf16.name)
    expected = load_file(adapter / "expected.safetensors")
    monkeypatch.chdir(tiny_bf16.parent)
    model = AUTO.from_pretrained(adapter, **EXACT)
    assert difference(model.logits(expected["input_ids"]), expected["logits"]) < 1e-3


def test_the_weights_may_be_rounded(adapter, tiny_bf16):
    expected = load_file(adapter / "expected.safetensors")
    ids = expected["input_ids"]
    model = AUTO.from_pretrained(adapter, load_in_8bit=True, **EXACT)
    assert difference(model.logits(ids), expected["logits"]) < 0.1
    bare = AUTO.from_pretrained(tiny_bf16, load_in_8bit=True, **EXACT)
    assert difference(model.logits(ids), bare.logits(ids)) > 1e-2


def test_what_is_refused(adapter, tiny_bf16, tmp_path):
    model = AUTO.from_pretrained(adapter)
    with pytest.raises(halftone.UnsupportedError, match="merge"):
        model.save_pretrained(tmp_path / "saved")
    with pytest.raises(halftone.Error, match="missing"):
        AUTO.from_pretrained(tiny_bf16, adapter=tmp_path / "missing")
    for name in (None, ""):
        rename_base(adapter, name)
        with pytest.raises(halftone.FormatError, match="base_model_name_or_path"):
            AUTO.from_pretrained(adapter)
        AUTO.from_pretrained(tiny_bf16, adapter=adapter)
    rename_base(adapter, str(adapter))
    with pytest.raises(halftone.UnsupportedError, match="adapter itself"):
        AUTO.from_pretrained(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(halftone.FormatError, match=r"adapter_config\.json: is no JSON"):
        AUTO.from_pretrained(adapter)


def test_quantize_evaluate_and_imatrix_take_it(adapter, tiny_bf16, text_file, tmp_path):
    merged = tmp_path / "merged.gguf"
    halftone.quantize(tiny_bf16, merged, grid="f32", adapter=adapter)
    beside = {"adapter": adapter, "context": 64, "chunks": 2}
    report = halftone.evaluate(tiny_bf16, text_file, reference=merged, **beside)
    assert report.kld_mean.value < 1e-6
    report = halftone.evaluate(
        merged, text_file, reference=tiny_bf16, reference_adapter=adapter, context=64, chunks=2
    )
    assert report.kld_mean.value < 1e-6
    ours = tmp_path / "ours.gguf"
    theirs = tmp_path / "theirs.gguf"
    halftone.imatrix(tiny_bf16, text_file, ours, **beside)
    halftone.imatrix(tiny_bf16, text_file, theirs, context=64, chunks=2)
    assert ours.read_bytes() != theirs.read_bytes()
