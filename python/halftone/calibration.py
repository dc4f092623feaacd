"""Calibration data as the file that the library reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from halftone.config import Dataset
from halftone.errors import UsageError

__all__ = ["calibration_file"]


@contextmanager
def calibration_file(dataset: Dataset | None, folder: Path) -> Iterator[Path | None]:
    """The file that holds `dataset`, in `folder` if it has to be written; None for None."""
    if dataset is None:
        yield None
    elif isinstance(dataset, str | os.PathLike):
        yield Path(dataset)
    else:
        path = folder / "calibration.jsonl"
        path.write_text("".join(_line(example) + "\n" for example in dataset), encoding="utf-8")
        yield path
        path.unlink()


def _line(example: object) -> str:
    if isinstance(example, str):
        return json.dumps({"text": example})
    if isinstance(example, list | tuple) and all(isinstance(m, dict) for m in example):
        return json.dumps({"messages": example})
    raise UsageError("calibration data are texts, or conversations: lists of messages")
