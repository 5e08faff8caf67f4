"""Matches: the longest earlier run of tokens that equals the end, found as by brute force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from generative.context import matches, records
from generative.context.matches import make_advance
from generative.context.records import (
    COUNT,
    EMPTY,
    KINDS,
    LEVEL_BOUNDS,
    LONGEST_SEARCHED,
    MATCH_LENGTH,
    MATCH_PLACE,
    NOTHING,
    TOKENS,
    WINDOW,
)
from tests.context.test_features import after, first_note, reader_of
from tests.tokenizers.music.test_tokenizer import OPENING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import pytest

NAMES = ("match_kind", "match_value", "match_length")


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def longest(tokens: Sequence[int], window: int) -> tuple[int, int]:
    """(length, place of the token that follows) of the latest of the longest matches."""
    best, end = (0, NOTHING), len(tokens)
    first = max(0, end - window)
    for place in range(first, end - 1):
        length = 0
        while place - length >= first and tokens[place - length] == tokens[end - 1 - length]:
            length += 1
        if length and length >= best[0]:
            best = (length, place + 1)
    return best


def follow(tokens: Sequence[int]) -> list[tuple[int, int]]:
    """The length and the place of the match after each token."""
    tables = records.NO_CONTEXT._replace(
        kinds=np.zeros(99, np.int8), values=np.arange(99, dtype=np.int32)
    )
    advance, m, found = make_advance(plain), EMPTY.copy(), []
    for token in tokens:
        advance(tables, m, token)
        found.append((int(m[MATCH_LENGTH]), int(m[MATCH_PLACE]) if m[MATCH_LENGTH] else NOTHING))
    return found


@given(st.lists(st.integers(0, 2), min_size=1, max_size=LONGEST_SEARCHED))
def test_the_longest_match_is_that_of_brute_force(tokens: list[int]) -> None:
    assert follow(tokens) == [longest(tokens[: n + 1], 1 << 20) for n in range(len(tokens))]


def test_tokens_before_the_window_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matches, "WINDOW", 8)
    again = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert [length for length, _ in follow(again)] == [0, 0, 0, 0, 0, 0, 1, 2, 3]
    late = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]
    assert [length for length, _ in follow(late)] == [0] * 11


def test_a_match_that_goes_on_counts_beyond_what_is_searched() -> None:
    once = list(range(2 * LONGEST_SEARCHED))
    assert follow([*once, *once])[-1] == (len(once), len(once))


def test_only_features_of_matches_need_their_memory() -> None:
    assert reader_of("voice_0", "class_age_3").start(2).shape == (2, COUNT)
    assert reader_of("voice_0", "match_kind").start(2).shape == (2, TOKENS + WINDOW)


def test_a_repeated_bar_is_foretold() -> None:
    bar = [
        "position 12", "pitch 60", "duration 24", "position 24", "pitch 64", "duration 24",
        "position 60", "pitch 67", "duration 24",
    ]  # fmt: skip
    words = [*OPENING, *first_note(0, 72, 24), *bar, "bar"]
    assert after([*words, *bar[:7]], *NAMES) == [0, 0, 0]  # Seven tokens are too few.
    level = LEVEL_BOUNDS.index(8) + 1
    assert after([*words, *bar[:8]], *NAMES) == [1 + KINDS["duration"], 1 + 24, level]
    assert after([*words, *bar], *NAMES) == [1 + KINDS["bar"], 1, level]
    assert after([*words, *bar[:8], "duration 36"], *NAMES) == [0, 0, 0]
