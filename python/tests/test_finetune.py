"""finetune and merge; that peft and llama.cpp read what they write is tests/interop's to say."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import halftone


def test_finetune_learns_and_merge_tells_what_it_costs(tiny, text_file, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(text_file.read_text()[:6000])
    steps = []
    report = halftone.finetune(
        tiny,
        text,
        tmp_path / "adapter",
        context=64,
        batch=2,
        steps=8,
        rank=4,
        dropout=0.05,
        learning_rate=0.02,
        held_out_share=0.1,
        progress=lambda *step: steps.append(step),
    )
    assert len(report.points) == 8
    assert report.held_out[-1].loss < report.held_out[0].loss
    assert steps[-1][1] == steps[-1][2] == 8
    assert json.loads(report.json())["trained"] == report.trained
    assert report.svg().startswith("<svg")
    matrices = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert sum(m.size for m in matrices.values()) == report.trained
    assert all(np.isfinite(m).all() for m in matrices.values())

    merged = halftone.merge(
        tiny,
        tmp_path / "adapter",
        tmp_path / "merged.gguf",
        text=text,
        context=64,
        compare=["q8_0"],
    )
    assert [choice.kept for choice in merged.choices] == [True, False]
    assert (
        merged.choices[0].quality.kld_mean.value < 1e-4 < merged.choices[1].quality.kld_mean.value
    )
    assert (tmp_path / "merged.gguf").exists()


def test_errors_name_file_and_line(tiny, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "fine"}\nnot json\n')
    with pytest.raises(halftone.FormatError, match=r"data\.jsonl: line 2"):
        halftone.finetune(tiny, data, tmp_path / "adapter")
    with pytest.raises(halftone.UsageError, match="checkpointing"):
        halftone.finetune(tiny, data, tmp_path / "adapter", checkpointing="maybe")
    text = tmp_path / "data.txt"
    text.write_text("fine")
    with pytest.raises(halftone.UsageError, match="dropout"):
        halftone.finetune(tiny, text, tmp_path / "adapter", dropout=1.0)


def test_mergeable_adapters_move_offsets(tiny, text_file, tmp_path):
    halftone.quantize(tiny, tmp_path / "base.gguf", grid="q4_1")
    text = tmp_path / "text.txt"
    text.write_text(text_file.read_text()[:6000])
    for name in ("usual", "mergeable"):
        halftone.finetune(
            tmp_path / "base.gguf",
            text,
            tmp_path / name,
            context=64,
            batch=2,
            steps=8,
            rank=4,
            learning_rate=0.005,
            mergeable=name == "mergeable",
        )
    usual, moved = (
        halftone.merge(
            tmp_path / "base.gguf",
            tmp_path / name,
            tmp_path / f"{name}.gguf",
            grid="same",
            text=text,
            context=64,
            compare=[],
        ).choices[0]
        for name in ("usual", "mergeable")
    )
    assert usual.moved == 0 < moved.moved
    assert moved.file_bytes == usual.file_bytes
    assert 20 * moved.quality.kld_mean.value < usual.quality.kld_mean.value
