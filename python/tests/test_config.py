"""Configurations in transformers' words: what is asked for is done, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import halftone
from halftone import AutoModelForCausalLM, AwqConfig, BitsAndBytesConfig, GPTQConfig

EXACT = {"activations": "f32", "kv_grid": "f32"}
DATASET = ["Once upon a time there was a fox.", "The three primary colours are red and blue."] * 40


def settings(folder):
    return json.loads((Path(folder) / "config.json").read_text())["quantization_config"]


def test_gptq_beats_rounding_to_nearest(tiny, tmp_path):
    exact = AutoModelForCausalLM.from_pretrained(tiny, **EXACT)
    gptq = AutoModelForCausalLM.from_pretrained(
        tiny,
        quantization_config=GPTQConfig(
            bits=4, group_size=64, dataset=DATASET, desc_act=True, model_seqlen=128
        ),
        **EXACT,
    )
    gptq.save_pretrained(tmp_path / "gptq")
    written = settings(tmp_path / "gptq")
    assert written["quant_method"] == "gptq"
    assert (written["bits"], written["group_size"]) == (4, 64)
    assert written["desc_act"]
    assert written["sym"]
    halftone.quantize(tiny, tmp_path / "rtn", grid="int4:g64", method="rtn", container="gptq")
    rtn = AutoModelForCausalLM.from_pretrained(tmp_path / "rtn", **EXACT)
    ids = exact.tokenizer.encode("".join(DATASET[:2]))
    truth = exact.logits(ids)
    errors = [np.square(m.logits(ids) - truth).mean() for m in (gptq, rtn)]
    assert 0 < errors[0] < 0.8 * errors[1]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "gptq", **EXACT)
    assert np.array_equal(again.logits(ids), gptq.logits(ids))


def test_the_temporary_folder_goes_with_the_model(tiny):
    model = AutoModelForCausalLM.from_pretrained(
        tiny, quantization_config=GPTQConfig(bits=8, sym=False, dataset=DATASET)
    )
    folder = Path(model._source.path).parent
    assert settings(folder / "model")["checkpoint_format"] == "gptq_v2"
    assert {p.name for p in folder.iterdir()} == {"model"}
    del model
    assert not folder.exists()


def test_the_temporary_folder_goes_when_quantizing_fails(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(halftone.UsageError, match="groups of 48"):
        AutoModelForCausalLM.from_pretrained(
            tiny, quantization_config=GPTQConfig(4, group_size=48, dataset=DATASET)
        )
    assert not list(tmp_path.iterdir())


def test_awq_on_conversations(tiny, tmp_path):
    chats = [[{"role": "user", "content": text}] for text in DATASET]
    model = AutoModelForCausalLM.from_pretrained(
        tiny, quantization_config=AwqConfig(bits=4, group_size=64, dataset=chats)
    )
    model.save_pretrained(tmp_path / "awq")
    written = settings(tmp_path / "awq")
    assert written["quant_method"] == "awq"
    assert written["zero_point"]
    assert written["version"].lower() == "gemm"
    assert model.generate([5, 6, 7], max_new_tokens=2).shape == (1, 5)


def test_calibration_may_be_a_file(tiny, text_file):
    model = AutoModelForCausalLM.from_pretrained(
        tiny, quantization_config=GPTQConfig(bits=4, dataset=text_file, model_seqlen=128)
    )
    assert model.architecture == "llama"


@pytest.mark.parametrize("double_quant", [False, True])
def test_what_was_rounded_while_loading_can_be_saved(tiny, tmp_path, double_quant):
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double_quant
    )
    model = AutoModelForCausalLM.from_pretrained(tiny, quantization_config=config, **EXACT)
    model.save_pretrained(tmp_path / "bnb")
    assert settings(tmp_path / "bnb")["bnb_4bit_use_double_quant"] == double_quant
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "bnb", **EXACT)
    assert np.array_equal(again.logits([5, 6, 7]), model.logits([5, 6, 7]))
    assert model.get_memory_footprint() < 0.8 * tiny.joinpath("model.safetensors").stat().st_size


def test_saves_in_any_container(tiny, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny, **EXACT)
    model.save_pretrained(tmp_path / "copy")
    model.save_pretrained(tmp_path / "copy.gguf", container="gguf")
    logits = model.logits([5, 6, 7])
    copy = AutoModelForCausalLM.from_pretrained(tmp_path / "copy", **EXACT)
    assert np.array_equal(copy.logits([5, 6, 7]), logits)
    # Queries and keys have their rows in another order there, and sums theirs.
    copy = AutoModelForCausalLM.from_pretrained(tmp_path / "copy.gguf", **EXACT)
    assert np.allclose(copy.logits([5, 6, 7]), logits, atol=1e-4)
    with pytest.raises(halftone.UsageError, match="no_such"):
        model.save_pretrained(tmp_path / "other", container="no_such")
    rounded = AutoModelForCausalLM.from_pretrained(tiny, load_in_4bit=True)
    with pytest.raises(halftone.Error, match="nf4"):
        rounded.save_pretrained(tmp_path / "other.gguf", container="gguf")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GPTQConfig(bits=5), "2 3 4 8 bits"),
        (lambda: GPTQConfig(bits=4, dataset="wikitext2"), "not fetched"),
        (lambda: GPTQConfig(bits=4, damp_percent=0.05), "damp_percent"),
        (lambda: GPTQConfig(bits=4, true_sequential=False), "true_sequential"),
        (lambda: GPTQConfig(bits=4, tokenizer="gpt2"), "tokenizer"),
        (lambda: GPTQConfig(4, act_group_aware=False), "act_group_aware"),
        (lambda: GPTQConfig(bits=4, format="gptq_v2"), "format"),
        (lambda: AwqConfig(bits=3), "4 bits"),
        (lambda: AwqConfig(version="gemv"), "gemm"),
        (lambda: AwqConfig(modules_to_not_convert=["q_proj"]), "modules_to_not_convert"),
        (lambda: BitsAndBytesConfig(), "one of"),
        (lambda: BitsAndBytesConfig(load_in_4bit=True, load_in_8bit=True), "one of"),
        (
            lambda: BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype="bfloat16"),
            "compute_dtype",
        ),
        (
            lambda: BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["q_proj"]),
            "skip_modules",
        ),
        (lambda: GPTQConfig(bits=4, exllama_config={}), "exllama_config"),
    ],
)
def test_what_cannot_be_honoured_is_refused(make, message):
    with pytest.raises((halftone.Error, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype"),
        ({"device_map": "cuda"}, "device_map"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "one of"),
        ({"quantization_config": {"bits": 4}}, "not dict"),
        ({"kv_grid": "q3_k"}, "q3_k"),
        ({"activations": "f64"}, "activations"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        (
            {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="x")},
            "nf4 or fp4",
        ),
    ],
)
def test_options_of_from_pretrained_are_honoured_or_refused(tiny, options, message):
    with pytest.raises((halftone.Error, TypeError), match=message):
        AutoModelForCausalLM.from_pretrained(tiny, **options)


def test_nothing_is_rounded_twice(tiny, tmp_path):
    halftone.quantize(tiny, tmp_path / "q", grid="int4:g64", method="rtn", container="gptq")
    with pytest.raises(halftone.UsageError, match="quantized already"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "q", quantization_config=GPTQConfig(bits=4))
    with pytest.raises(halftone.UsageError, match="no linear layer holds plain numbers"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "q", load_in_4bit=True)
