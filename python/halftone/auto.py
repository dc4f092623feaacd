"""Opening models and tokenizers by the names that transformers has for it."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeAlias

from halftone import _core
from halftone._core import LoadIn, Precision
from halftone.calibration import calibration_file
from halftone.causal_lm import CausalLM
from halftone.config import AwqConfig, BitsAndBytesConfig, GPTQConfig, QuantizationConfig
from halftone.errors import FormatError, UnsupportedError, UsageError
from halftone.source import Source
from halftone.tokenization import Tokenizer

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "ProgressCallback"]

# Called with the task, what is done and the total.
ProgressCallback: TypeAlias = Callable[[str, int, int], object]

# Containers whose weights are quantized already.
_QUANTIZED = ("gptq", "awq", "bnb", "compressed-tensors")

# What makes a folder one of peft's.
_ADAPTER_CONFIG = "adapter_config.json"


class AutoModelForCausalLM:
    """Opens models: from_pretrained()."""

    @staticmethod
    def from_pretrained(
        path: str | os.PathLike[str],
        *,
        load_in_4bit: bool = False,
        load_in_8bit: bool = False,
        quantization_config: QuantizationConfig | None = None,
        adapter: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        device_map: str | None = None,
        dtype: str | None = None,
        context: int = 0,
        threads: int = 0,
        activations: str = "int8",
        kv_grid: str = "f16",
        progress: ProgressCallback | None = None,
    ) -> CausalLM:
        """Opens a .gguf file, a folder in any container, or a model of the hub.

        load_in_4bit rounds to NF4 while loading and load_in_8bit to LLM.int8(), as `halftone run`
        does; quantization_config says it in transformers' words, and GPTQConfig and AwqConfig
        quantize to a temporary folder first.

        adapter: a LoRA adapter that runs beside the weights, peft's folder or llama.cpp's .gguf. A
        path that is peft's folder itself opens the model that its adapter_config.json names.

        context: tokens of memory; 0: the model's own limit, at most 4096. threads: 0: one for each
        processor. activations: what weights are multiplied by, "int8" (rounded, fast) or "f32".
        kv_grid: one of kv_grids(). dtype: "auto": weights stay on their grid. device_map: "auto" or
        "cpu".
        """
        if dtype not in (None, "auto"):
            raise UnsupportedError(f"dtype: weights run as they are stored, not as {dtype}")
        if device_map not in (None, "auto", "cpu"):
            raise UnsupportedError(f"device_map: models run on the CPU, not on {device_map}")
        base = path
        if adapter is None and (Path(path) / _ADAPTER_CONFIG).is_file():
            base, adapter = _base_of(Path(path)), path
        name = _with_revision(base, revision)
        config = _config(load_in_4bit, load_in_8bit, quantization_config)
        if isinstance(config, GPTQConfig | AwqConfig):
            source = _quantized(name, config, threads, progress)
        else:
            source = Source(name, config)
        source.adapter = None if adapter is None else os.fspath(adapter)
        core = _core.Model.open(
            source.path,
            precision=source.precision,
            adapter=source.adapter,
            context=context,
            threads=threads,
            activations=activations,
            kv_grid=kv_grid,
            progress=progress,
        )
        return CausalLM(core, name_or_path=os.fspath(path), source=source)


class AutoTokenizer:
    """Opens tokenizers: from_pretrained()."""

    @staticmethod
    def from_pretrained(path: str | os.PathLike[str], *, revision: str | None = None) -> Tokenizer:
        """The tokenizer of a .gguf file, a folder in any container, or a model of the hub."""
        return Tokenizer(_core.Tokenizer.open(_with_revision(path, revision)), os.fspath(path))


def _base_of(adapter: Path) -> str:
    """The name or path of the model that peft's folder was trained beside."""
    config = adapter / _ADAPTER_CONFIG
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{config}: is no JSON: {error}") from error
    name = described.get("base_model_name_or_path") if isinstance(described, dict) else None
    if not isinstance(name, str) or not name:
        raise FormatError(
            f"{config}: names no model (base_model_name_or_path); open that model with adapter="
        )
    if (Path(name) / _ADAPTER_CONFIG).is_file():
        raise UnsupportedError(f"{config}: {name} is an adapter itself")
    return name


def _with_revision(path: str | os.PathLike[str], revision: str | None) -> str:
    name = os.fspath(path)
    if revision is None:
        return name
    if "@" in name or not _core.is_hub_model(name):
        raise UsageError(f"revision: {name} is no model of the hub, or names one itself")
    return f"{name}@{revision}"


def _config(
    load_in_4bit: bool, load_in_8bit: bool, config: QuantizationConfig | None
) -> Precision | GPTQConfig | AwqConfig:
    if load_in_4bit + load_in_8bit + (config is not None) > 1:
        raise UsageError("give one of load_in_4bit, load_in_8bit and quantization_config")
    if load_in_4bit:
        return Precision(load_in=LoadIn.FOUR_BIT)
    if load_in_8bit:
        return Precision(load_in=LoadIn.EIGHT_BIT)
    if config is None:
        return Precision()
    if isinstance(config, BitsAndBytesConfig):
        return config.precision()
    if isinstance(config, GPTQConfig | AwqConfig):
        return config
    raise UsageError(
        "quantization_config is a BitsAndBytesConfig, a GPTQConfig or an AwqConfig, "
        f"not {type(config).__name__}"
    )


def _quantized(
    name: str,
    config: GPTQConfig | AwqConfig,
    threads: int,
    progress: ProgressCallback | None,
) -> Source:
    path = _core.local_model(name, progress=progress)
    container = _core.inspect(path).container
    if container in _QUANTIZED:
        raise UsageError(f"{name}: is quantized already ({container}); open it as it is")
    folder = Path(mkdtemp(prefix="halftone-"))
    source = Source(str(folder / "model"), Precision())
    # It goes with the model, which holds its source; or now, if this fails.
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    with calibration_file(config.dataset, folder) as calibration:
        _core.quantize(
            path,
            source.path,
            grid=config.grid,
            method=config.method,
            container=config.container,
            calibration=calibration,
            context=config.context,
            act_order=config.act_order,
            threads=threads,
            progress=progress,
        )
    return source
