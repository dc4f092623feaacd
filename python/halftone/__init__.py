"""Puts the weights of language models onto few levels, runs what comes out, shows what it cost.

    model = halftone.AutoModelForCausalLM.from_pretrained("model.gguf")
    print(model.generate("Once upon a time"))

docs/python.md has more.
"""

from halftone._core import (
    BenchReport,
    CompareReport,
    CompareRow,
    ConvertReport,
    Estimate,
    EvaluateReport,
    ImatrixReport,
    Inspection,
    LoadIn,
    PlanReport,
    Precision,
    PullReport,
    QuantizedTensor,
    QuantizeReport,
    architectures,
    bench,
    containers,
    convert,
    decode_tensor,
    evaluate,
    grids,
    imatrix,
    inspect,
    kv_grids,
    methods,
    plan,
    presets,
    pull,
    quantize,
    version,
)
from halftone.auto import AutoModelForCausalLM, AutoTokenizer
from halftone.causal_lm import CausalLM, CausalLMOutput
from halftone.config import AwqConfig, BitsAndBytesConfig, GPTQConfig
from halftone.errors import (
    CancelledError,
    Error,
    FormatError,
    HalftoneWarning,
    IoError,
    UnsupportedError,
    UsageError,
)
from halftone.functions import compare
from halftone.generation import Generation, TextStream
from halftone.tokenization import Encoding, Tokenizer

__version__ = version()

__all__ = [
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "AwqConfig",
    "BenchReport",
    "BitsAndBytesConfig",
    "CancelledError",
    "CausalLM",
    "CausalLMOutput",
    "CompareReport",
    "CompareRow",
    "ConvertReport",
    "Encoding",
    "Error",
    "Estimate",
    "EvaluateReport",
    "FormatError",
    "GPTQConfig",
    "Generation",
    "HalftoneWarning",
    "ImatrixReport",
    "Inspection",
    "IoError",
    "LoadIn",
    "PlanReport",
    "Precision",
    "PullReport",
    "QuantizeReport",
    "QuantizedTensor",
    "TextStream",
    "Tokenizer",
    "UnsupportedError",
    "UsageError",
    "architectures",
    "bench",
    "compare",
    "containers",
    "convert",
    "decode_tensor",
    "evaluate",
    "grids",
    "imatrix",
    "inspect",
    "kv_grids",
    "methods",
    "plan",
    "presets",
    "pull",
    "quantize",
    "version",
]
