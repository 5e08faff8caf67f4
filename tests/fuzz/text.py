"""UTF-8 and text tokenizers: every text comes back, streamed as at once, and any ids can be read.

The first byte chooses what the rest is: text in some encoding, or ids.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from generative.errors import CorpusError
from generative.files.decoding import decode_text
from generative.tokenizers.byte import ByteTokenizer
from generative.tokenizers.char import CharTokenizer
from generative.tokenizers.subword import SentencePieceTokenizer
from tests.fuzz.entropy import Entropy

if TYPE_CHECKING:
    from generative.tokenizers import TextTokenizer

ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift-jis", "utf-7")
SAMPLE = "The quick brown fox, naïve café: 𝄞 ♯ ▁ –日本.\n\tfox fox quick brown\r\n"


@cache
def tokenizers() -> tuple[TextTokenizer, ...]:
    """One of each kind."""
    return (
        ByteTokenizer(),
        CharTokenizer.train([SAMPLE * 2]),
        SentencePieceTokenizer.train([SAMPLE * 40], vocab_size=320),
    )


def seeds() -> list[bytes]:
    """Texts in each encoding, and ids."""
    texts = (SAMPLE, "", "\ufeffa", "e\u0301", "🎵\x00")
    encoded = [
        bytes([2 * number]) + text.encode(encoding, "ignore")
        for number, encoding in enumerate(ENCODINGS)
        for text in texts
    ]
    return [*encoded, bytes([1]) + bytes(range(0, 256, 5)), b"\x03\x01\x00\x00\xe2\x00\x97"]


def run(data: bytes) -> None:
    """Decode and tokenize there and back."""
    entropy = Entropy(data)
    choice = entropy.byte()
    if choice % 2:
        _read_ids(entropy)
        return
    try:
        text = decode_text(entropy.rest(), ENCODINGS[choice // 2 % len(ENCODINGS)], "input")
    except CorpusError:
        return
    for tokenizer in tokenizers():
        try:
            ids = tokenizer.encode(text)
        except ValueError as error:
            assert "surrogate" in str(error) and any("\ud800" <= c <= "\udfff" for c in text)
            continue
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode_array(text).tolist() == ids
        assert all(0 <= token < tokenizer.vocab_size for token in ids)
        assert b"".join(tokenizer.token_bytes[token] for token in ids) == text.encode()


def _read_ids(entropy: Entropy) -> None:
    tokenizer = entropy.pick(tokenizers())
    data = entropy.rest()
    ids = [
        int.from_bytes(data[at : at + 2], "big") % tokenizer.vocab_size
        for at in range(0, len(data), 2)
    ]
    text = tokenizer.decode(ids)
    decoder = tokenizer.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.finish() == text
    assert tokenizer.decode(tokenizer.encode(text)) == text
    for token in ids[:4]:
        assert tokenizer.describe(token)
