"""quantize, convert, evaluate, compare, plan, inspect, pull: figures by their definitions."""

import csv
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import halftone

EXACT = {"activations": "f32", "kv_grid": "f32"}


def test_inspect_and_decode_see_what_was_written(tiny):
    tensors = load_file(tiny / "model.safetensors")
    seen = halftone.inspect(tiny)
    assert seen.architecture == "LlamaForCausalLM"
    assert {t.name: tuple(t.shape) for t in seen.tensors} == {
        name: values.shape for name, values in tensors.items()
    }
    assert seen.parameters == sum(values.size for values in tensors.values())
    for name, values in tensors.items():
        decoded = halftone.decode_tensor(tiny, name)
        assert np.array_equal(decoded, values)
        assert not decoded.flags.owndata


def test_quantize_reports_what_it_did(tiny, tmp_path):
    output = tmp_path / "small.gguf"
    steps = []
    report = halftone.quantize(
        tiny, output, grid="q4_0", method="rtn", progress=lambda *step: steps.append(step)
    )
    assert report.output == str(output)
    assert report.file_bytes == output.stat().st_size
    assert (report.grid, report.method, report.container) == ("q4_0", "rtn", "gguf")
    down = next(t for t in report.tensors if t.name == "blk.1.ffn_down.weight")
    exact = load_file(tiny / "model.safetensors")["model.layers.1.mlp.down_proj.weight"]
    rounded = halftone.decode_tensor(output, down.name)
    error = np.sqrt(np.square(rounded - exact).sum() / np.square(exact).sum())
    assert down.grid == "Q4_0"
    assert down.relative_error == pytest.approx(error, rel=1e-4)
    assert steps[0][1] == 0
    assert steps[-1][1] == steps[-1][2] > 0
    assert "q4_0" in repr(report)
    planned = halftone.quantize(tiny, grid="q4_0", method="rtn", dry_run=True)
    assert planned.file_bytes == report.file_bytes


def test_plans_are_exact(tiny, tmp_path):
    plan = halftone.plan(tiny, memory=1 << 30)
    assert plan.exact
    row = next(row for row in plan.rows if row.grid == "q8_0")
    report = halftone.quantize(tiny, tmp_path / "q8.gguf", grid="q8_0", method="rtn")
    assert row.weight_bytes == report.file_bytes
    assert row.fits_ram
    assert halftone.plan("7B").parameters == 7_000_000_000


def test_converts_without_changing_a_value(tiny, tiny_gguf, tmp_path):
    report = halftone.convert(tiny_gguf, tmp_path / "back", container="safetensors")
    assert report.rounded == 0
    assert report.relative_change == 0
    back = load_file(tmp_path / "back" / "model.safetensors")
    for name, values in load_file(tiny / "model.safetensors").items():
        assert np.array_equal(back[name], values)


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_evaluate_measures_by_the_definition(tiny, tmp_path, text_file):
    small = tmp_path / "small.gguf"
    halftone.quantize(tiny, small, grid="q4_0", method="rtn")
    report = halftone.evaluate(small, text_file, reference=tiny, context=128, chunks=6)
    model, reference = (
        halftone.AutoModelForCausalLM.from_pretrained(p, **EXACT) for p in (small, tiny)
    )
    ids = model.tokenizer.encode(text_file.read_text())
    losses, divergences, same = [], [], []
    for chunk in np.array(ids[: 6 * 128]).reshape(6, 128):
        q = log_softmax(model.logits(chunk))[64:-1]
        p = log_softmax(reference.logits(chunk))[64:-1]
        losses += (-q[np.arange(63), chunk[65:]]).tolist()
        divergences += (np.exp(p) * (p - q)).sum(1).tolist()
        same += (p.argmax(1) == q.argmax(1)).tolist()
    assert report.tokens == len(losses)
    assert float(report.perplexity) == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
    assert report.kld_mean.value == pytest.approx(np.mean(divergences), rel=1e-3)
    assert report.kld_median == pytest.approx(np.median(divergences), rel=1e-2)
    assert report.same_top1.value == pytest.approx(np.mean(same), abs=1e-6)


def test_compare_shows_what_each_costs(tiny, tmp_path, text_file):
    report = halftone.compare(
        tiny,
        text_file,
        tmp_path / "report",
        grids=["q8_0", "q4_0"],
        context=64,
        chunks=2,
        sample_tokens=4,
    )
    names = [row.name for row in report.rows]
    assert report.rows[0].is_reference
    assert len(names) == 3
    eight, four = report.rows[1:]
    assert four.file_bytes < eight.file_bytes
    assert four.quality.kld_mean.value > eight.quality.kld_mean.value
    assert json.loads(report.json())["rows"][1]["file_bytes"] == eight.file_bytes
    assert len(list(csv.reader(report.csv().splitlines()))) == 4
    assert (tmp_path / "report" / "report.html").read_text() == report.html()
    for kind in ("html", "json", "csv"):
        report.save(tmp_path / f"copy.{kind}")
        assert (tmp_path / f"copy.{kind}").read_bytes().decode() == getattr(report, kind)()
    with pytest.raises(halftone.UsageError, match=r"\.html"):
        report.save(tmp_path / "copy.txt")


def test_imatrix_serves_quantize(tiny, tmp_path, text_file):
    report = halftone.imatrix(tiny, text_file, tmp_path / "i.gguf", context=64, chunks=2)
    assert report.tokens == 128
    made = halftone.quantize(tiny, tmp_path / "q.gguf", grid="q4_0", imatrix=tmp_path / "i.gguf")
    assert made.method == "imatrix"


def test_bench_measures(tiny):
    report = halftone.bench(tiny, prompt=16, generate=4, repeats=1)
    assert report.prompt_tps > 0
    assert report.generation_tps > 0


def test_models_of_the_hub_come_from_its_cache(tiny, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / commit).symlink_to(tiny)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = halftone.pull("someone/tiny")
    assert report.commit == commit
    assert report.fetched_bytes == 0
    model = halftone.AutoModelForCausalLM.from_pretrained("someone/tiny", revision="main")
    assert model.architecture == "llama"
    assert len(halftone.AutoTokenizer.from_pretrained("someone/tiny")) == 512
    with pytest.raises(halftone.IoError):
        halftone.pull("someone/else")
    with pytest.raises(halftone.UsageError, match="revision"):
        halftone.AutoTokenizer.from_pretrained(tiny, revision="main")


def test_tables_of_this_build():
    assert "q4_k" in {grid.name for grid in halftone.grids()}
    assert {"gptq", "awq", "rtn"} <= {method.name for method in halftone.methods()}
    assert {"gguf", "gptq", "bnb"} <= {c.name for c in halftone.containers()}
    assert "llama" in halftone.architectures()
    assert "f16" in halftone.kv_grids()
    assert "q4_k_m" in {preset.name for preset in halftone.presets()}
    assert halftone.__version__ == halftone.version()
