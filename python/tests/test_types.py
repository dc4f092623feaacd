"""The package's types hold, seen by a type checker and by a linter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import halftone
from conftest import ROOT

USE = """
import numpy as np
import halftone

model = halftone.AutoModelForCausalLM.from_pretrained("x", load_in_4bit=True)
reveal_type(model.generate("a", max_new_tokens=3))
reveal_type(model.generate([{"role": "user", "content": "a"}]))
reveal_type(model.generate([1, 2]))
reveal_type(model.generate("a", stream=True))
reveal_type(model.logits([1, 2]))
reveal_type(halftone.quantize("a", "b", grid="q4_0"))
reveal_type(halftone.evaluate("a", "b").perplexity.value)
model.generate("a", num_beams=3)
halftone.quantize("a", "b", grid=3)
"""


PACKAGE = Path(halftone.__file__).parent


def run(*command):
    environment = dict(os.environ)
    if PACKAGE.parent.name != "site-packages":
        environment["MYPYPATH"] = str(PACKAGE.parent)
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_the_package_is_typed(tmp_path):
    pytest.importorskip("mypy")
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_core.pyi").exists()
    checked = run("mypy", "--strict", "--cache-dir", str(tmp_path), "-p", "halftone")
    assert checked.returncode == 0, checked.stdout
    (tmp_path / "use.py").write_text(USE)
    seen = run("mypy", "--strict", "--cache-dir", str(tmp_path), str(tmp_path / "use.py")).stdout
    for line, expected in (
        (6, "Generation"),
        (7, "Generation"),
        (8, "signedinteger"),
        (9, "TextStream"),
        (10, "float"),
        (11, "QuantizeReport"),
        (12, "float"),
        (13, "error"),
        (14, "error"),
    ):
        found = [text for text in seen.splitlines() if f"use.py:{line}: " in text]
        assert any(expected in text for text in found), seen


def test_the_code_is_clean():
    pytest.importorskip("ruff")
    for command in ("check", "format --check"):
        checked = run("ruff", *command.split(), str(ROOT / "python"))
        assert checked.returncode == 0, checked.stdout
