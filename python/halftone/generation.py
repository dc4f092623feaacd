"""What generate() takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from halftone import _core
from halftone.errors import UsageError

__all__ = ["Generation", "Sampling", "TextStream"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, by transformers' defaults."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    @classmethod
    def of(
        cls,
        do_sample: bool | None,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        min_p: float | None,
    ) -> Sampling:
        """do_sample=None samples if any of the others is given."""
        given = any(value is not None for value in (temperature, top_k, top_p, min_p))
        if do_sample is False and given:
            raise UsageError("temperature, top_k, top_p and min_p need do_sample=True")
        if not do_sample and not given:
            return cls()
        return cls(
            temperature=1.0 if temperature is None else temperature,
            top_k=50 if top_k is None else top_k,
            top_p=1.0 if top_p is None else top_p,
            min_p=0.0 if min_p is None else min_p,
        )


@dataclass(frozen=True)
class Generation:
    """A continuation.

    token_ids: the generated ones, with the one that ended the turn, if one did. stop_reason: "end"
    (of the model's turn), "length", "text" (a stop text came) or "stopped" (by the streamer).
    """

    text: str
    token_ids: list[int]
    prompt_tokens: int
    stop_reason: str
    prompt_seconds: float
    seconds: float

    def __str__(self) -> str:
        return self.text


class TextStream(Iterator[str]):
    """Text as it is generated; `result` is what was made so far, all of it after the end."""

    def __init__(self, continuation: _core.Continuation) -> None:
        self._continuation = continuation
        self._stopped = False

    def __next__(self) -> str:
        while not self._stopped:
            text = self._continuation.next()
            if text is None:
                break
            if text:
                return text
        raise StopIteration

    def stop(self) -> None:
        """Ends the text here."""
        self._stopped = self._stopped or not self._continuation.made.stop

    @property
    def result(self) -> Generation:
        made = self._continuation.made
        return Generation(
            text=made.text,
            token_ids=made.ids,
            prompt_tokens=made.prompt_tokens,
            stop_reason="stopped" if self._stopped else made.stop,
            prompt_seconds=made.prompt_seconds,
            seconds=made.seconds,
        )


def stop_texts(stop: str | Sequence[str] | None) -> list[str]:
    if stop is None:
        return []
    return [stop] if isinstance(stop, str) else list(stop)
