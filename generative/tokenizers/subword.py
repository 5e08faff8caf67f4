"""The sentencepiece tokenizer: subwords that give every string back exactly.

Sentencepiece usually normalises text. Here it does not: no space is added or removed, and what the
vocabulary lacks is encoded as bytes. Inside its pieces a space is written as U+2581, so a U+2581 of
the text itself is cut out first and encoded as bytes.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import sentencepiece

from generative.tokenizers import sentencepiece_model
from generative.tokenizers.text import StreamDecoder, check_ids, join, utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

SPACE = "\u2581"  # sentencepiece's spelling of a space
DEFAULT_VOCAB_SIZE = 1000
SENTENCE_CHARS = 1000  # the trainer skips sentences of more than 4192 bytes
# A sentence that holds one of these (tab, NUL, its own marks) is skipped by the trainer.
_UNTRAINABLE = re.compile("[\t\0\u2581\u2585]")
MODEL_FILE = "tokenizer.model"


class SentencePieceTokenizer:
    """Byte-pair encoding with byte fallback (Sennrich et al. 2016; Kudo & Richardson 2018).

    Example:
        tokenizer = SentencePieceTokenizer.train(["a corpus " * 1000], vocab_size=300)
        tokenizer.decode(tokenizer.encode("  any\ttext ▁🎵")) == "  any\ttext ▁🎵"
    """

    name = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        """`model`: a serialised sentencepiece model.

        Raises:
            ValueError: not such a model, or not one that `train` could have made.
        """
        self._processor = sentencepiece.SentencePieceProcessor(
            model_proto=sentencepiece_model.rebuilt(model)
        )
        self._model = model
        self.vocab_size: int = self._processor.vocab_size()
        self.start_id: int = self._processor.bos_id()
        self.token_bytes = tuple(self._piece(i) for i in range(self.vocab_size))
        byte_ids = {
            self.token_bytes[i][0]: i for i in range(self.vocab_size) if self._processor.is_byte(i)
        }
        # These characters are spelled in bytes: sentencepiece reads its mark of a space as a space,
        # and spells a space that is not in the vocabulary in the bytes of the mark.
        self._spelled = {SPACE: [byte_ids[value] for value in SPACE.encode("utf-8")]}
        if self._processor.is_unknown(self._processor.piece_to_id(SPACE)):
            self._spelled[" "] = [byte_ids[ord(" ")]]
        self._spelled_split = re.compile(f"([{''.join(self._spelled)}])")

    def _piece(self, token: int) -> bytes:
        """The bytes that a token stands for; none for the start and unknown tokens."""
        piece: str = self._processor.id_to_piece(token)
        if self._processor.is_control(token) or self._processor.is_unknown(token):
            return b""
        if self._processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])  # "<0x41>"
        return piece.replace(SPACE, " ").encode("utf-8")

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None = None) -> SentencePieceTokenizer:
        """Learn the subwords of a corpus; fewer than asked for when the corpus has no more.

        By default 1,000 tokens, or more where the corpus has many characters.

        Raises:
            ValueError: no text, or a `vocab_size` too small for bytes and the corpus's characters.
        """
        texts = list(texts)
        if vocab_size is None:  # room for every character, and as many pieces again
            vocab_size = max(DEFAULT_VOCAB_SIZE, 300 + 2 * len(set().union(*texts)))
        out = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_sentences(texts),
                model_writer=out,
                model_type="bpe",
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                byte_fallback=True,
                character_coverage=0.9995,  # rare characters are spelled in bytes
                bos_id=1,
                unk_id=0,
                eos_id=-1,
                pad_id=-1,
                num_threads=1,  # the same corpus gives the same vocabulary
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ValueError(
                f"sentencepiece could not learn {vocab_size} tokens from "
                f"this corpus; try another vocab_size ({str(error).splitlines()[0]})"
            ) from error
        return cls(out.getvalue())

    def encode(self, text: str) -> list[int]:
        """The tokens of the text."""
        utf8(text)
        ids: list[int] = []
        for part in self._spelled_split.split(text):
            ids += self._spelled.get(part) or self._processor.encode(part)
        return ids

    def encode_array(self, text: str) -> NDArray[np.int32]:
        """The ids of `encode` as an array. -> (T,)"""
        return np.array(self.encode(text), dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """The inverse of `encode`; start tokens give nothing, invalid UTF-8 gives U+FFFD."""
        check_ids(ids, self.vocab_size)
        return join(self.token_bytes, ids)

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""
        return StreamDecoder(self.token_bytes)

    def describe(self, token: int) -> str:
        """A token in readable form."""
        return "<start>" if token == self.start_id else str(self._processor.id_to_piece(token))

    def to_config(self) -> dict[str, Any]:
        """The contents of `tokenizer.json`."""
        return {"type": self.name, "model_file": MODEL_FILE}

    @classmethod
    def from_config(cls, config: dict[str, Any], files: dict[str, bytes]) -> SentencePieceTokenizer:
        """The inverse of `to_config` and `files`.

        Raises:
            ValueError: there is no model file, or another one is named, or its model is refused.
        """
        if config["model_file"] != MODEL_FILE or MODEL_FILE not in files:
            raise ValueError(f"model_file must be {MODEL_FILE} and lie beside it")
        return cls(files[MODEL_FILE])

    def files(self) -> dict[str, bytes]:
        """The further files of the tokenizer: the sentencepiece model."""
        return {MODEL_FILE: self._model}


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Stretches that the sentencepiece trainer can use."""
    for text in texts:
        utf8(text)
        for part in _UNTRAINABLE.split(text):
            for begin in range(0, len(part), SENTENCE_CHARS):
                yield part[begin : begin + SENTENCE_CHARS]
