"""Errors are exceptions with the library's message; remarks are warnings."""

import pickle

import pytest

import halftone


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (halftone.UsageError, ValueError),
        (halftone.FormatError, ValueError),
        (halftone.UnsupportedError, NotImplementedError),
        (halftone.IoError, OSError),
        (halftone.CancelledError, Exception),
    ],
)
def test_kinds_are_pythons_too(kind, base):
    assert issubclass(kind, halftone.Error)
    assert issubclass(kind, base)
    assert str(pickle.loads(pickle.dumps(kind("a message")))) == "a message"


def test_each_kind_is_raised(tiny, tmp_path):
    missing = tmp_path / "missing.gguf"
    with pytest.raises(halftone.IoError, match=r"missing\.gguf"):
        halftone.inspect(missing)
    with pytest.raises(OSError, match=r"missing\.gguf"):
        halftone.AutoModelForCausalLM.from_pretrained(missing)
    with pytest.raises(halftone.UsageError, match="no_such_grid"):
        halftone.quantize(tiny, tmp_path / "out.gguf", grid="no_such_grid")
    with pytest.raises(halftone.UsageError, match="give an output"):
        halftone.quantize(tiny, grid="q4_0")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 16)
    with pytest.raises(halftone.FormatError, match=r"damaged\.gguf"):
        halftone.inspect(damaged)
    with pytest.raises(TypeError):
        halftone.inspect(3)
    assert not (tmp_path / "out.gguf").exists()


def test_a_callback_that_raises_ends_the_work(tiny, tmp_path):
    calls = []

    def progress(task, done, total):
        calls.append(task)
        if len(calls) == 3:
            raise LookupError("from the callback")

    with pytest.raises(LookupError, match="from the callback"):
        halftone.quantize(tiny, tmp_path / "out.gguf", grid="q4_0", progress=progress)
    assert len(calls) == 3
    assert not (tmp_path / "out.gguf").exists()


def test_remarks_are_warnings(tiny, tmp_path, text_file):
    """That the evaluation text was calibrated on is one."""
    report = halftone.quantize(
        tiny, tmp_path / "q.gguf", grid="q4_0", method="imatrix", calibration=text_file, context=64
    )
    with pytest.warns(halftone.HalftoneWarning):
        halftone.evaluate(report.output, text_file, context=64, chunks=2)
