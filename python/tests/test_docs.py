"""The examples run, and so does what docs/python.md shows."""

import re
import runpy

import pytest

import halftone
from conftest import ROOT

DOCUMENT = ROOT / "docs" / "python.md"
EXAMPLES = sorted((ROOT / "python" / "examples").glob("*.py"))


@pytest.fixture
def folder(tiny, tiny_gguf, text_file, tmp_path, monkeypatch):
    """What the examples find where they run."""
    (tmp_path / "hf-folder").symlink_to(tiny)
    (tmp_path / "model.gguf").symlink_to(tiny_gguf)
    # Text for two chunks and more, but not for long.
    (tmp_path / "text.txt").write_text(text_file.read_text()[:6000])
    (tmp_path / "test.txt").write_text(text_file.read_text()[6000:12000])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("document", "least"), [(DOCUMENT, 5), (ROOT / "README.md", 1)])
def test_documents_are_true(folder, document, least):
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    assert len(blocks) >= least
    names = {}
    for block in blocks:
        exec(compile(block, str(document), "exec"), names)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(folder, path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [path.name, "hf-folder", "text.txt", "test.txt"])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


def test_what_is_public_is_documented():
    text = DOCUMENT.read_text()
    for name in halftone.__all__:
        if callable(getattr(halftone, name)) and name[0].islower():
            assert f"{name}(" in text, name
