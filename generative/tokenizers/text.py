"""UTF-8 for all text tokenizers: ids stand for byte strings, which are decoded to text.

The module does not know how a particular tokenizer divides text into tokens.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def utf8(text: str) -> bytes:
    """The text as UTF-8.

    Raises:
        ValueError: a lone surrogate, which is no character and has no UTF-8 form.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} is the lone surrogate U+{ord(text[error.start]):04X}, "
            "which is not text; was the input decoded with the wrong encoding?"
        ) from error


def check_ids(ids: Iterable[int], vocab_size: int) -> None:
    """Refuse ids outside the vocabulary.

    Raises:
        ValueError: naming the first id that is out of range.
    """
    for position, token in enumerate(ids):
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} at position {position} is not in 0..{vocab_size - 1}")


def join(token_bytes: Sequence[bytes], ids: Iterable[int]) -> str:
    """The text of ids that stand for `token_bytes[id]`; bytes that are not UTF-8 become U+FFFD."""
    return b"".join(token_bytes[i] for i in ids).decode("utf-8", errors="replace")


class StreamDecoder:
    """Decodes ids one at a time, holding back bytes until they complete a character.

    Example:
        decoder = StreamDecoder(token_bytes)
        text = "".join(decoder.feed(i) for i in ids) + decoder.finish()   # == decode(ids)
    """

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._token_bytes = token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """The characters that `token` completes; often one, sometimes none."""
        return self._utf8.decode(self._token_bytes[token])

    def finish(self) -> str:
        """The end of the text: U+FFFD if a character is incomplete, else nothing."""
        return self._utf8.decode(b"", final=True)
