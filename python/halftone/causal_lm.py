"""A model that was opened: logits, text, and saving it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, overload

import numpy as np
import numpy.typing as npt

from halftone import _core
from halftone.errors import UnsupportedError, UsageError
from halftone.generation import Generation, Sampling, TextStream, stop_texts
from halftone.source import Source
from halftone.tokenization import Message, Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["CausalLM", "CausalLMOutput", "Streamer", "TokenIds"]

TokenIds: TypeAlias = Sequence[int] | Sequence[Sequence[int]] | npt.NDArray[np.integer[Any]]
# Gets each piece of text; False ends the text.
Streamer: TypeAlias = Callable[[str], bool | None]


class GenerateOptions(TypedDict, total=False):
    """The keywords that generate() takes for any input."""

    attention_mask: TokenIds | None
    max_new_tokens: int
    do_sample: bool | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int
    stop: str | Sequence[str] | None
    streamer: Streamer | None


@dataclass(frozen=True)
class CausalLMOutput:
    """logits: f32 [tokens, vocabulary], or [1, tokens, vocabulary] for ids [1, tokens]."""

    logits: npt.NDArray[np.float32]


class CausalLM:
    """One sequence at a time; several threads may share it and take turns."""

    def __init__(self, core: _core.Model, *, name_or_path: str, source: Source) -> None:
        self._core = core
        self._source = source
        self.name_or_path = name_or_path

    def __repr__(self) -> str:
        return (
            f"CausalLM({self.name_or_path!r}, architecture={self.architecture!r}, "
            f"context={self.context}, weight_bytes={self.weight_bytes})"
        )

    @property
    def architecture(self) -> str:
        return self._core.architecture

    @property
    def vocab_size(self) -> int:
        return self._core.vocabulary

    @property
    def context(self) -> int:
        """Tokens that a prompt and its continuation may have."""
        return self._core.context

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors as they are kept in memory."""
        return self._core.weight_bytes

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self._core.tokenizer, self.name_or_path)

    def get_memory_footprint(self) -> int:
        """weight_bytes, by transformers' name."""
        return self.weight_bytes

    def logits(self, input_ids: TokenIds) -> npt.NDArray[np.float32]:
        """The logits after each token, f32 [tokens, vocabulary], in the library's own memory."""
        return self._core.logits(_sequence(input_ids))

    def __call__(
        self, input_ids: TokenIds, attention_mask: TokenIds | None = None
    ) -> CausalLMOutput:
        _check_mask(attention_mask)
        logits = self.logits(input_ids)
        return CausalLMOutput(logits[np.newaxis] if _is_batch(input_ids) else logits)

    @overload
    def generate(
        self,
        inputs: str | Sequence[Message],
        *,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> Generation: ...

    @overload
    def generate(
        self,
        inputs: TokenIds,
        *,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> npt.NDArray[np.int64]: ...

    @overload
    def generate(
        self,
        *,
        input_ids: TokenIds,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> npt.NDArray[np.int64]: ...

    @overload
    def generate(
        self,
        inputs: str | Sequence[Message] | TokenIds | None = None,
        *,
        stream: Literal[True],
        **options: Unpack[GenerateOptions],
    ) -> TextStream: ...

    def generate(
        self,
        inputs: str | Sequence[Message] | TokenIds | None = None,
        *,
        input_ids: TokenIds | None = None,
        attention_mask: TokenIds | None = None,
        max_new_tokens: int = 256,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
        stop: str | Sequence[str] | None = None,
        stream: bool = False,
        streamer: Streamer | None = None,
    ) -> Generation | npt.NDArray[np.int64] | TextStream:
        """Continues a text, a conversation (a list of messages) or token ids.

        Without sampling options the likeliest token is always taken; with any of them, or
        do_sample=True, the others are transformers': temperature 1, top_k 50, top_p 1. The same
        seed gives the same text. `stop` ends the text in front of any of these texts. stream=True
        gives an iterator over text, `streamer` is called with each piece.

        Token ids give token ids [1, tokens], the prompt's first, as in transformers; the others a
        Generation.
        """
        if (inputs is None) == (input_ids is None):
            raise UsageError("give a text, a conversation or token ids")
        if stream and streamer is not None:
            raise UsageError(
                "stream=True gives an iterator; a streamer is called: give one of them"
            )
        _check_mask(attention_mask)
        prompt = self._prompt(inputs if inputs is not None else input_ids)
        sampling = Sampling.of(do_sample, temperature, top_k, top_p, min_p)
        text = TextStream(
            self._core.continuation(
                prompt,
                max_tokens=max_new_tokens,
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                min_p=sampling.min_p,
                seed=seed,
                stop_texts=stop_texts(stop),
            )
        )
        if stream:
            return text
        for piece in text:
            if streamer is not None and streamer(piece) is False:
                text.stop()
        result = text.result
        if _is_words(inputs):
            return result
        return np.array([prompt + result.token_ids], dtype=np.int64)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, container: str | None = None
    ) -> None:
        """Writes the model as it is loaded: rounded, if it was rounded while loading.

        container: one of halftone.containers(); None: the one that it came in, or the one of what
        it was rounded by.
        """
        self._source.save(folder, container)

    def _prompt(self, inputs: object) -> list[int]:
        tokenizer = self._core.tokenizer if _is_words(inputs) else None
        if tokenizer is None:
            return _sequence(inputs)
        if isinstance(inputs, str):
            return tokenizer.encode(inputs)
        return self.tokenizer.apply_chat_template(list(inputs), add_generation_prompt=True)  # type: ignore[call-overload]


def _is_words(inputs: object) -> bool:
    """A text, or a conversation."""
    if isinstance(inputs, str):
        return True
    return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], Mapping)


def _is_batch(ids: object) -> bool:
    return np.ndim(ids) == 2  # type: ignore[arg-type]


def _sequence(ids: object) -> list[int]:
    array = np.asarray(ids)
    if array.ndim == 2:
        if len(array) != 1:
            raise UnsupportedError(f"one sequence at a time, not {len(array)}")
        array = array[0]
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise UsageError("token ids are integers, [tokens] or [1, tokens]")
    sequence: list[int] = array.tolist()
    return sequence


def _check_mask(mask: object) -> None:
    if mask is not None and not np.all(np.asarray(mask) == 1):
        raise UnsupportedError("attention_mask: nothing is padded or hidden")
