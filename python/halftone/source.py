"""Where an opened model lies, and how it is written again."""

from __future__ import annotations

import os
from dataclasses import dataclass

from halftone import _core
from halftone._core import LoadIn, Precision
from halftone.errors import UnsupportedError

__all__ = ["Source"]


@dataclass
class Source:
    """path: what was opened. adapter: what runs beside it."""

    path: str
    precision: Precision
    adapter: str | None = None

    def save(self, output: str | os.PathLike[str], container: str | None) -> None:
        if self.adapter is not None:
            raise UnsupportedError(
                "adapter: halftone.merge() writes a model with one in its weights"
            )
        if self.precision.load_in == LoadIn.AS_STORED:
            name = container or _core.inspect(self.path).container
            _core.convert(self.path, output, container=name)
            return
        if self.precision.int8_threshold not in (None, 6.0):
            raise UnsupportedError("llm_int8_threshold: only 6.0 can be written")
        _core.quantize(
            self.path,
            output,
            grid=self._grid(),
            method="rtn",
            container=container or "bnb",
        )

    def _grid(self) -> str:
        """What the weights were rounded to while loading."""
        precision = self.precision
        if precision.load_in == LoadIn.EIGHT_BIT:
            return "int8:row:absmax"
        nested = ":dq" if precision.double_quant else ""
        return f"{precision.quant_type}:g{precision.block}{nested}"
