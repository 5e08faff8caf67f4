"""The character tokenizer: one token for each character of the corpus, bytes for all others.

The byte tokenizer's 257 ids come first, so an ASCII character is its own byte. Each further
character that the corpus has more than once gets an id of its own. A character that occurs only
once is encoded as bytes, so that the model learns the encoding that unseen characters (a new emoji,
another script) will have.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.tokenizers.byte import SINGLE_BYTES, START_ID
from generative.tokenizers.text import StreamDecoder, check_ids, join, utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

NUM_CODE_POINTS = 0x110000
FIRST_CHAR_ID = len(SINGLE_BYTES)  # 257
FIRST_NON_ASCII = 128  # Code points below it are encoded as their bytes.
MIN_COUNT = 2  # A character with fewer occurrences gets no id.


class CharTokenizer:
    """Ids 0..255 are bytes, 256 is the start token, 257.. the characters beyond ASCII.

    Example:
        tokenizer = CharTokenizer("éè")
        tokenizer.encode("né🎵")    # [110, 257, 240, 159, 142, 181]
    """

    name = "char"
    start_id = START_ID

    def __init__(self, chars: str) -> None:
        """`chars`: the characters beyond ASCII that have an id, in the order of their ids.

        Raises:
            ValueError: a character that is ASCII, a surrogate, or there twice.
        """
        utf8(chars)
        if len(set(chars)) != len(chars) or any(char.isascii() for char in chars):
            raise ValueError("chars must be distinct characters beyond ASCII")
        self.chars = chars
        self.vocab_size = FIRST_CHAR_ID + len(chars)
        self.token_bytes = (*SINGLE_BYTES, *(char.encode("utf-8") for char in chars))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None = None) -> CharTokenizer:
        """The vocabulary of a corpus, the most frequent first where `vocab_size` sets a limit.

        Raises:
            ValueError: a `vocab_size` below 257, which is what bytes and start token take.
        """
        if vocab_size is not None and vocab_size < FIRST_CHAR_ID:
            raise ValueError(f"vocab_size must be at least {FIRST_CHAR_ID}, not {vocab_size}")
        counts: Counter[int] = Counter()
        for text in texts:
            if text.isascii():  # This check is fifty times as fast as counting.
                continue
            points = _code_points(text)
            values, occurrences = np.unique(points[points >= FIRST_NON_ASCII], return_counts=True)
            counts.update(dict(zip(values.tolist(), occurrences.tolist(), strict=True)))
        kept = [point for point, count in counts.items() if count >= MIN_COUNT]
        kept.sort(key=lambda point: (-counts[point], point))
        if vocab_size is not None:
            kept = kept[: vocab_size - FIRST_CHAR_ID]
        return cls("".join(map(chr, kept)))

    @cached_property
    def _id_of(self) -> NDArray[np.int32]:
        """The id of each code point; -1 if it is encoded as bytes. (0x110000,)"""
        table = np.full(NUM_CODE_POINTS, -1, dtype=np.int32)
        table[:128] = np.arange(128)
        table[_code_points(self.chars)] = np.arange(FIRST_CHAR_ID, self.vocab_size)
        return table

    def encode(self, text: str) -> list[int]:
        """One id a known character, two to four a character the corpus did not have."""
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def encode_array(self, text: str) -> NDArray[np.int32]:
        """The ids of `encode` as an array. -> (T,)"""
        if text.isascii():
            return np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int32)
        points = _code_points(text)
        ids = self._id_of.take(points, mode="clip")  # Every code point is in the table.
        if ids.min() >= 0:
            return ids
        unknown = np.flatnonzero(ids < 0)
        parts: list[NDArray[np.int32]] = []
        begin = 0
        for at in unknown.tolist():
            encoded = chr(points[at]).encode("utf-8")
            parts += [ids[begin:at], np.frombuffer(encoded, dtype=np.uint8).astype(np.int32)]
            begin = at + 1
        return np.concatenate([*parts, ids[begin:]])

    def decode(self, ids: Sequence[int]) -> str:
        """The inverse of `encode`; start tokens give nothing, invalid UTF-8 gives U+FFFD."""
        check_ids(ids, self.vocab_size)
        return join(self.token_bytes, ids)

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""
        return StreamDecoder(self.token_bytes)

    def describe(self, token: int) -> str:
        """A token in readable form."""
        if token == START_ID:
            return "<start>"
        if 128 <= token < START_ID:
            return f"<0x{token:02X}>"
        return self.token_bytes[token].decode("utf-8")

    def to_config(self) -> dict[str, Any]:
        """The contents of `tokenizer.json`."""
        return {"type": self.name, "chars": self.chars}

    @classmethod
    def from_config(cls, config: dict[str, Any], files: dict[str, bytes]) -> CharTokenizer:  # noqa: ARG003
        """The inverse of `to_config`.

        Raises:
            ValueError: `chars` is no text, or one that cannot be a vocabulary.
        """
        chars = config["chars"]
        if not isinstance(chars, str):
            raise ValueError(f"chars must be a text, not {chars!r:.30}")
        return cls(chars)

    def files(self) -> dict[str, bytes]:
        """The further files of the tokenizer: none."""
        return {}


def _code_points(text: str) -> NDArray[np.uint32]:
    """The code point of each character. -> (len(text),)

    Raises:
        ValueError: a lone surrogate.
    """
    try:
        return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    except UnicodeEncodeError:
        utf8(text)  # raises the error that names the character
        raise
