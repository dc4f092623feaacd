"""Functions of the library that need a word of Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from halftone import _core
from halftone.auto import ProgressCallback

__all__ = ["compare"]


def compare(
    model: str | os.PathLike[str],
    text_file: str | os.PathLike[str],
    output_dir: str | os.PathLike[str] | None = None,
    *,
    grids: Sequence[str] = (),
    methods: Sequence[str] = (),
    calibration: str | os.PathLike[str] | None = None,
    keep_files: bool = False,
    context: int = 512,
    chunks: int = 8,
    prompts: Sequence[str] = (),
    sample_tokens: int = 48,
    note: str = "",
    threads: int = 0,
    progress: ProgressCallback | None = None,
) -> _core.CompareReport:
    """Quantizes a model in several ways, runs each and shows what each costs.

    output_dir: gets report.html, report.json and report.csv, and with keep_files the quantized
    models; None: nothing is kept but what is returned. grids: grids and presets; empty: a selection
    from 8 to 2 bits. methods: empty: rtn, and imatrix if there is calibration text. prompts: for
    sample completions; empty: a few built in.
    """
    with TemporaryDirectory(prefix="halftone-") as folder:
        return _core.compare(
            model,
            text_file,
            Path(folder if output_dir is None else output_dir),
            grids=list(grids),
            methods=list(methods),
            calibration=calibration,
            keep_files=keep_files and output_dir is not None,
            context=context,
            chunks=chunks,
            prompts=list(prompts),
            sample_tokens=sample_tokens,
            note=note,
            threads=threads,
            progress=progress,
        )
