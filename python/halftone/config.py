"""How weights are rounded when a model is loaded, in the words of transformers.

Each argument means what it means there. What this library has no way to do is refused by
UnsupportedError, and arguments that are not listed are no arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

from halftone._core import LoadIn, Precision
from halftone.errors import UnsupportedError, UsageError

__all__ = ["AwqConfig", "BitsAndBytesConfig", "Dataset", "GPTQConfig", "QuantizationConfig"]

# Texts, or conversations, each a list of messages; or a file of text or of JSON lines.
Dataset: TypeAlias = str | os.PathLike[str] | Sequence[str] | Sequence[Sequence[Mapping[str, Any]]]

# Data sets that transformers would fetch under these names.
_FETCHED_DATASETS = ("wikitext2", "c4", "c4-new", "ptb", "ptb-new")


@dataclass(kw_only=True)
class BitsAndBytesConfig:
    """Rounding to nearest while loading: 4 bits (NF4, FP4), or 8 bits (LLM.int8())."""

    load_in_8bit: bool = False
    load_in_4bit: bool = False
    llm_int8_threshold: float = 6.0
    llm_int8_skip_modules: Sequence[str] | None = None
    bnb_4bit_compute_dtype: object = None
    bnb_4bit_quant_type: str = "fp4"
    bnb_4bit_use_double_quant: bool = False

    def __post_init__(self) -> None:
        if self.load_in_4bit == self.load_in_8bit:
            raise UsageError("give one of load_in_4bit and load_in_8bit")
        if self.llm_int8_skip_modules not in (None, [], ["lm_head"]):
            raise UnsupportedError("llm_int8_skip_modules: all layers but lm_head are rounded")
        if str(self.bnb_4bit_compute_dtype) not in ("None", "float32", "torch.float32"):
            raise UnsupportedError(
                f"bnb_4bit_compute_dtype: sums are float32, not {self.bnb_4bit_compute_dtype}"
            )

    def precision(self) -> Precision:
        if self.load_in_8bit:
            return Precision(
                load_in=LoadIn.EIGHT_BIT, int8_threshold=float(self.llm_int8_threshold)
            )
        return Precision(
            load_in=LoadIn.FOUR_BIT,
            quant_type=self.bnb_4bit_quant_type,
            double_quant=self.bnb_4bit_use_double_quant,
        )


@dataclass
class GPTQConfig:
    """Error feedback on calibration text (Frantar et al. 2022).

    dataset: texts, conversations or a file; None: the text that comes with the library.
    """

    bits: int
    _: KW_ONLY
    tokenizer: object = None
    dataset: Dataset | None = None
    group_size: int = 128
    damp_percent: float | None = None
    desc_act: bool = False
    act_group_aware: bool | None = None
    sym: bool = True
    true_sequential: bool = True
    format: str | None = None
    model_seqlen: int | None = None

    method = "gptq"
    container = "gptq"

    def __post_init__(self) -> None:
        _check_bits("GPTQ", self.bits, (2, 3, 4, 8))
        _check_dataset(self.dataset)
        if self.tokenizer is not None:
            raise UnsupportedError("tokenizer: calibration text is read with the model's own")
        if self.damp_percent is not None:
            raise UnsupportedError("damp_percent: the damping is chosen for each matrix")
        if self.act_group_aware not in (None, not self.desc_act):
            raise UnsupportedError("act_group_aware: groups are ordered unless desc_act is set")
        if not self.true_sequential:
            raise UnsupportedError("true_sequential=False: layers meet what was rounded before")
        written = "gptq" if self.sym else "gptq_v2"
        if self.format not in (None, written):
            raise UnsupportedError(f"format: with sym={self.sym} it is {written}")

    @property
    def grid(self) -> str:
        return _grid_name(self.bits, self.group_size, asymmetric=not self.sym)

    @property
    def act_order(self) -> bool:
        return self.desc_act

    @property
    def context(self) -> int:
        return self.model_seqlen or 512


@dataclass
class AwqConfig:
    """Columns scaled by their activations on calibration text (Lin et al. 2023).

    dataset: texts, conversations or a file; None: the text that comes with the library.
    """

    bits: int = 4
    _: KW_ONLY
    group_size: int = 128
    zero_point: bool = True
    version: str = "gemm"
    modules_to_not_convert: Sequence[str] | None = None
    dataset: Dataset | None = None

    method = "awq"
    container = "awq"
    act_order = False
    context = 512

    def __post_init__(self) -> None:
        _check_bits("AWQ", self.bits, (4,))
        _check_dataset(self.dataset)
        if self.version.lower() != "gemm":
            raise UnsupportedError(f"version: gemm is written, not {self.version}")
        if self.modules_to_not_convert not in (None, [], ["lm_head"]):
            raise UnsupportedError("modules_to_not_convert: all layers but lm_head are rounded")

    @property
    def grid(self) -> str:
        return _grid_name(self.bits, self.group_size, asymmetric=self.zero_point)


QuantizationConfig: TypeAlias = BitsAndBytesConfig | GPTQConfig | AwqConfig


def _grid_name(bits: int, group_size: int, *, asymmetric: bool) -> str:
    group = "row" if group_size == -1 else f"g{group_size}"
    return f"int{bits}:{group}" + (":asym" if asymmetric else "")


def _check_bits(method: str, bits: int, known: tuple[int, ...]) -> None:
    if bits not in known:
        raise UnsupportedError(f"{method} has {' '.join(map(str, known))} bits, not {bits}")


def _check_dataset(dataset: Dataset | None) -> None:
    if isinstance(dataset, str) and dataset in _FETCHED_DATASETS:
        raise UnsupportedError(f"dataset: {dataset} is not fetched; give texts, or a file")
