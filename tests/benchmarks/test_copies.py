"""What the benchmark of copies measures, on samples that are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from copies import (
    SAMPLE_CHARS,
    Measures,
    TextSide,
    distinct_passages,
    draw,
    invented,
    mean_distinct,
    measured,
    parts_of,
    whole_words,
    words,
)

from generative.scoring.copies import of_text
from tests.conftest import TUNES

if TYPE_CHECKING:
    from generative.api.text_model import TextModel


def test_distinct_passages() -> None:
    assert distinct_passages(of_text("abcdefghij")) == 1.0
    assert distinct_passages(of_text("a" * 17)) == 0.1
    assert distinct_passages(of_text("abc" * 6)) == 3 / 11
    assert math.isnan(distinct_passages(of_text("short")))
    assert mean_distinct(map(of_text, ["abcdefghij", "a" * 17, "short"])) == pytest.approx(0.55)


def test_words_are_letters_and_apostrophes() -> None:
    assert words("Don't 'stop', '' O’Neil: 3rd été_né") == [
        "don't",
        "stop",
        "o'neil",
        "rd",
        "été",
        "né",
    ]
    assert whole_words("one two thr") == ["one", "two"]
    assert whole_words("one two thr.") == ["one", "two", "thr"]
    assert invented(["to", "bee", "to", "to"], {"to", "be"}) == 0.25
    assert math.isnan(invented([], {"to"}))


def test_parts_are_as_long_as_samples() -> None:
    text = "x" * (2 * SAMPLE_CHARS + 1)
    assert list(map(len, parts_of(text))) == [SAMPLE_CHARS, SAMPLE_CHARS]
    assert parts_of("x" * (SAMPLE_CHARS - 1)) == []


def test_measures_of_known_samples() -> None:
    corpus = "".join(chr(0x4E00 + number) for number in range(200))
    samples = [corpus[20:80], corpus[:59] + "!", "nothing"]
    found = measured(list(map(of_text, samples)), [of_text(corpus)], "text", 0.25)
    assert found == Measures(longest=60, median=59, copying=1 / 3, distinct=1.0, invented=0.25)
    assert found.line("x").split() == ["x", "60", "59", "33.33%", "1.0000", "25.00%"]
    assert Measures(distinct=1.0).line("x").split() == ["x", "-", "-", "-", "1.0000", "-"]


def test_a_model_and_its_corpus(model: TextModel) -> None:
    side = TextSide(model, str(TUNES.parent / "harbour.txt"), set())
    assert 0 < side.corpus.distinct <= 1
    found = side.measures(model, 0.8, 3)
    assert found.longest >= found.median >= 1
    assert 0 <= found.invented <= 1


def test_batches_differ(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copies.BATCH", 2)
    texts = {one.text for one in draw(model, {"max_new_tokens": 40}, 5)}
    assert len(texts) == 5
