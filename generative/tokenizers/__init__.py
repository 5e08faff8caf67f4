"""The registry of tokenizers, and how a stored tokenizer is read back.

A text tokenizer turns str into ids and back, the music tokenizer a `Piece`. A new tokenizer is one
file and one row in `TOKENIZERS`. The registry can be read without importing any of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.tokenizers.music.tokenizer import MusicTokenizer
    from generative.tokenizers.text import StreamDecoder

# The module, the class and the input of each tokenizer, by name; modules are imported on demand.
TOKENIZERS: dict[str, tuple[str, str, str]] = {
    "char": ("generative.tokenizers.char", "CharTokenizer", "text"),
    "byte": ("generative.tokenizers.byte", "ByteTokenizer", "text"),
    "sentencepiece": ("generative.tokenizers.subword", "SentencePieceTokenizer", "text"),
    "music": ("generative.tokenizers.music.tokenizer", "MusicTokenizer", "music"),
}
DEFAULT_TOKENIZER = {"text": "char", "music": "music"}


class TextTokenizer(Protocol):
    """The interface of a text tokenizer: `decode(encode(text)) == text` for every text."""

    name: str
    vocab_size: int
    start_id: int  # This id comes before a document's first token, and ends the document.
    token_bytes: tuple[bytes, ...]  # The bytes of each id. (V,)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None = None) -> Self:
        """The tokenizer for a corpus."""
        ...

    def encode(self, text: str) -> list[int]:
        """Text to ids."""
        ...

    def encode_array(self, text: str) -> NDArray[np.int32]:
        """The ids of `encode` as an array. -> (T,)"""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text."""
        ...

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""
        ...

    def describe(self, token: int) -> str:
        """A token in readable form."""
        ...

    def to_config(self) -> dict[str, Any]:
        """The contents of `tokenizer.json`."""
        ...

    def files(self) -> dict[str, bytes]:
        """The contents of the further files of the tokenizer, by name."""
        ...


Tokenizer: TypeAlias = "TextTokenizer | MusicTokenizer"


def tokenizer_class(name: str) -> Any:
    """The class of a tokenizer.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in TOKENIZERS:
        raise ValueError(f"unknown tokenizer {name!r:.30}; known: {', '.join(TOKENIZERS)}")
    module, cls, _ = TOKENIZERS[name]
    return getattr(importlib.import_module(module), cls)


def kind_of(name: str) -> str:
    """The input of a tokenizer: "text" or "music"."""
    tokenizer_class(name)
    return TOKENIZERS[name][2]


def from_config(config: dict[str, Any], files: dict[str, bytes]) -> Tokenizer:
    """The tokenizer that `to_config()` and `files()` describe.

    Raises:
        ValueError: an unknown type, or contents that do not fit it.
    """
    cls = tokenizer_class(str(config.get("type")))
    try:
        return cast("Tokenizer", cls.from_config(config, files))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the tokenizer's description is incomplete: {error}") from error
