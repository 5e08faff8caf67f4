"""Every text tokenizer gives every string back, whole and in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative import tokenizers
from generative.tokenizers.char import CharTokenizer
from generative.tokenizers.subword import SentencePieceTokenizer
from tests.conftest import data

CORPUS = ["the cat sat on the mat. né né ёлка ёлка\r\n\tthe end\n" * 40]
TOKENIZERS: dict[str, Any] = {
    name: tokenizers.tokenizer_class(name).train(CORPUS, vocab_size=300)
    for name in tokenizers.TOKENIZERS
    if tokenizers.kind_of(name) == "text"
}
AWKWARD = [
    "",
    " ",
    "  two  spaces  ",
    "\r\n\r\n",
    "\ttab\0nul",
    "e\u0301 combining",
    "👩‍👩‍👧‍👦 🇩🇪",
    "안녕 日本語 हिन्दी العَرَبِيَّة",
    "\u2581 sentencepiece's own \u2581\u2581 mark \u2585",
    "<unk><s></s><0x41>",
    "\ufeffmark",
    "\u2028\u00a0\u200b",
    "\U0010ffff",
]
every = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


@every
@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_awkward_text_comes_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_array(text).tolist() == ids
    assert all(0 <= i < tokenizer.vocab_size and i != tokenizer.start_id for i in ids)


@every
@given(text=st.text())
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@every
@given(text=st.text())
def test_streaming_never_shows_half_a_character(tokenizer: Any, text: str) -> None:
    decoder = tokenizer.decoder()
    chunks = [decoder.feed(token) for token in tokenizer.encode(text)]
    assert "".join(chunks) == text
    assert decoder.finish() == ""


@every
@given(ids=st.lists(st.integers(0, 299)))
def test_any_ids_decode_the_same_way_streamed_and_whole(tokenizer: Any, ids: list[int]) -> None:
    ids = [i % tokenizer.vocab_size for i in ids]
    decoder = tokenizer.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.finish() == tokenizer.decode(ids)


def test_half_a_character_is_held_back_then_replaced() -> None:
    decoder = TOKENIZERS["byte"].decoder()
    assert [decoder.feed(b) for b in "é".encode()] == ["", "é"]
    assert decoder.feed(0xC3) == ""
    assert decoder.finish() == "\ufffd"


@every
def test_config_and_files_describe_the_tokenizer(tokenizer: Any) -> None:
    again: Any = tokenizers.from_config(tokenizer.to_config(), tokenizer.files())
    assert type(again) is type(tokenizer)
    for text in AWKWARD + CORPUS:
        assert again.encode(text) == tokenizer.encode(text)


@every
def test_ids_outside_the_vocabulary_are_named(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="token -1 at position 1"):
        tokenizer.decode([0, -1])
    with pytest.raises(ValueError, match=f"token {tokenizer.vocab_size} at position 0"):
        tokenizer.decode([tokenizer.vocab_size])


@every
def test_a_lone_surrogate_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"character 2 is the lone surrogate U\+D800"):
        tokenizer.encode("ab\ud800")


def test_char_ids_are_bytes_then_characters_by_frequency() -> None:
    tokenizer = CharTokenizer.train(["éé", "èèè", "once: ñ"])
    assert tokenizer.chars == "èé"
    assert tokenizer.encode("aèéñ") == [97, 257, 258, 0xC3, 0xB1]


def test_char_vocabulary_can_be_capped() -> None:
    assert CharTokenizer.train(["ééèèè"], vocab_size=258).chars == "è"
    with pytest.raises(ValueError, match="at least 257, not 256"):
        CharTokenizer.train(["a"], vocab_size=256)


def test_sentencepiece_merges_what_is_frequent() -> None:
    tokenizer = TOKENIZERS["sentencepiece"]
    assert tokenizer.vocab_size == 300
    assert len(tokenizer.encode(CORPUS[0])) < 0.7 * len(CORPUS[0])


def test_sentencepiece_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="another vocab_size"):
        SentencePieceTokenizer.train(CORPUS, vocab_size=100)
    with pytest.raises(ValueError, match="not a sentencepiece model"):
        SentencePieceTokenizer(b"nonsense")


def test_a_space_is_kept_by_subwords_of_a_corpus_without_one() -> None:
    tokenizer = SentencePieceTokenizer.train(["漢字漢字海山" * 50, "山海" * 40])
    for text in ("漢 字", " 海", "  ▁ 山"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_tokenizer_is_named() -> None:
    with pytest.raises(ValueError, match="unknown tokenizer 'mystery'; known: char, byte"):
        tokenizers.tokenizer_class("mystery")


@every
def test_real_texts_come_back_byte_for_byte(tokenizer: Any) -> None:
    files = [*sorted(data("text/udhr2").glob("*.txt"))[::12], data("text/emoji/gemoji_emoji.json")]
    assert files
    for file in files:
        raw = file.read_bytes()
        assert tokenizer.decode(tokenizer.encode(raw.decode("utf-8"))).encode("utf-8") == raw
