"""A model's tokenizer, with the calls of transformers' tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from halftone import _core
from halftone.errors import UnsupportedError, UsageError

__all__ = ["Encoding", "Message", "Tokenizer"]

Message: TypeAlias = Mapping[str, Any]
Ids: TypeAlias = npt.NDArray[np.int64]


class Encoding(dict[str, Any]):
    """Token ids as `input_ids`, and `attention_mask`, which is all ones: nothing is padded."""

    @property
    def input_ids(self) -> Any:  # noqa: ANN401  (lists or an array, as asked for)
        return self["input_ids"]

    @property
    def attention_mask(self) -> Any:  # noqa: ANN401
        return self["attention_mask"]


class Tokenizer:
    """Text to token ids and back, and conversations through the model's chat template."""

    def __init__(self, core: _core.Tokenizer, name_or_path: str) -> None:
        self._core = core
        self.name_or_path = name_or_path

    def __repr__(self) -> str:
        return f"Tokenizer({self.name_or_path!r}, vocab_size={self.vocab_size})"

    def __len__(self) -> int:
        return self._core.vocabulary

    @property
    def vocab_size(self) -> int:
        """Rows of the model's embedding: tokens, and what it is padded with."""
        return self._core.vocabulary

    @property
    def bos_token_id(self) -> int | None:
        return self._core.bos if self._core.bos >= 0 else None

    @property
    def eos_token_id(self) -> int | None:
        return self._core.eos if self._core.eos >= 0 else None

    @property
    def bos_token(self) -> str | None:
        return None if self.bos_token_id is None else self.decode(self.bos_token_id)

    @property
    def eos_token(self) -> str | None:
        return None if self.eos_token_id is None else self.decode(self.eos_token_id)

    @property
    def chat_template(self) -> str | None:
        return self._core.chat_template or None

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        return_tensors: Literal["np"] | None = None,
    ) -> Encoding:
        """Token ids of a text, or of each of several.

        return_tensors="np" gives arrays [texts, tokens]; the texts then must have equally many.
        """
        texts = [text] if isinstance(text, str) else list(text)
        rows = [self._core.encode(one, frame=add_special_tokens) for one in texts]
        masks = [[1] * len(row) for row in rows]
        if return_tensors is not None:
            return Encoding(
                input_ids=_stack(rows, return_tensors), attention_mask=_stack(masks, return_tensors)
            )
        if isinstance(text, str):
            return Encoding(input_ids=rows[0], attention_mask=masks[0])
        return Encoding(input_ids=rows, attention_mask=masks)

    @overload
    def encode(
        self, text: str, *, add_special_tokens: bool = True, return_tensors: None = None
    ) -> list[int]: ...

    @overload
    def encode(
        self, text: str, *, add_special_tokens: bool = True, return_tensors: Literal["np"]
    ) -> Ids: ...

    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        return_tensors: Literal["np"] | None = None,
    ) -> list[int] | Ids:
        """Token ids of a text; the texts of special tokens in it become those tokens."""
        ids = self._core.encode(text, frame=add_special_tokens)
        return ids if return_tensors is None else _stack([ids], return_tensors)

    def decode(self, token_ids: int | Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        ids = [token_ids] if isinstance(token_ids, int | np.integer) else list(token_ids)
        return self._core.decode([int(i) for i in ids], skip_special=skip_special_tokens)

    def batch_decode(
        self, sequences: Iterable[Iterable[int]], *, skip_special_tokens: bool = False
    ) -> list[str]:
        return [self.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    @overload
    def apply_chat_template(
        self,
        conversation: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: Literal[False],
        return_tensors: None = None,
        **variables: object,
    ) -> str: ...

    @overload
    def apply_chat_template(
        self,
        conversation: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: Literal[True] = True,
        return_tensors: None = None,
        **variables: object,
    ) -> list[int]: ...

    @overload
    def apply_chat_template(
        self,
        conversation: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: Literal[True] = True,
        return_tensors: Literal["np"],
        **variables: object,
    ) -> Ids: ...

    def apply_chat_template(
        self,
        conversation: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        return_tensors: Literal["np"] | None = None,
        **variables: object,
    ) -> str | list[int] | Ids:
        """A conversation as the model reads it: its text, or with `tokenize` its token ids.

        Further keywords are variables of the template, enable_thinking for example.
        """
        context: dict[str, object] = dict(variables)
        context["messages"] = list(conversation)
        context["add_generation_prompt"] = add_generation_prompt
        if tools is not None:
            context["tools"] = list(tools)
        if documents is not None:
            context["documents"] = list(documents)
        try:
            text = self._core.apply_chat_template(json.dumps(context))
        except TypeError as error:
            raise UsageError(f"a chat template sees what JSON can say: {error}") from None
        if not tokenize:
            return text
        # The template writes what stands around a text itself.
        ids = self._core.encode(text, frame=False)
        return ids if return_tensors is None else _stack([ids], return_tensors)


def _stack(rows: Sequence[Sequence[int]], return_tensors: str) -> Ids:
    if return_tensors != "np":
        raise UnsupportedError(f"return_tensors: 'np' or None, not {return_tensors!r}")
    if len({len(row) for row in rows}) > 1:
        raise UnsupportedError("texts of different lengths are no array: nothing is padded")
    return np.array(rows, dtype=np.int64)
