"""The byte tokenizer: one token for each UTF-8 byte, and a start token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from generative.tokenizers.text import StreamDecoder, check_ids, join, utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

START_ID = 256
SINGLE_BYTES: tuple[bytes, ...] = (*(bytes([value]) for value in range(256)), b"")


class ByteTokenizer:
    """Id b is byte b; id 256 is the start token.

    Example:
        ByteTokenizer().encode("né")    # [110, 195, 169]
    """

    name = "byte"
    start_id = START_ID
    vocab_size = 257
    token_bytes = SINGLE_BYTES

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None = None) -> ByteTokenizer:  # noqa: ARG003
        """The same for every corpus: there is nothing to learn."""
        return cls()

    def encode(self, text: str) -> list[int]:
        """The bytes of the text. -> as many ids as UTF-8 bytes."""
        return list(utf8(text))

    def encode_array(self, text: str) -> NDArray[np.int32]:
        """The ids of `encode` as an array. -> (T,)"""
        return np.frombuffer(utf8(text), dtype=np.uint8).astype(np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """The inverse of `encode`; start tokens give nothing, invalid UTF-8 gives U+FFFD."""
        check_ids(ids, self.vocab_size)
        return join(SINGLE_BYTES, ids)

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""
        return StreamDecoder(SINGLE_BYTES)

    def describe(self, token: int) -> str:
        """A token in readable form."""
        return "<start>" if token == START_ID else f"<0x{token:02X}>"

    def to_config(self) -> dict[str, Any]:
        """The contents of `tokenizer.json`."""
        return {"type": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], files: dict[str, bytes]) -> ByteTokenizer:  # noqa: ARG003
        """The inverse of `to_config`."""
        return cls()

    def files(self) -> dict[str, bytes]:
        """The further files of the tokenizer: none."""
        return {}
