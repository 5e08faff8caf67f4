"""Lengths of music: the default, limits of tokens, and where a piece is cut."""

from __future__ import annotations

from typing import Any

import pytest

from generative.api.music_length import MusicLength
from generative.music.quantise import PERFORMANCE, SCORE
from tests.pieces import note, piece_of


def test_the_length_that_is_used_where_none_is_asked_for() -> None:
    assert MusicLength.of({}, SCORE) == MusicLength(bars=8)
    assert MusicLength.of({}, PERFORMANCE) == MusicLength(seconds=20.0)
    for request in ({"bars": 3}, {"seconds": 2.5}, {"max_new_tokens": 0}):
        asked: Any = request
        for grid in (SCORE, PERFORMANCE):
            assert MusicLength.of(asked, grid) == MusicLength(**asked)


@pytest.mark.parametrize(
    ("length", "is_exact", "token_limit", "usual_tokens"),
    [
        (MusicLength(bars=4), True, 4 * 512, 4 * 40),
        (MusicLength(seconds=10), True, 10 * 256, 10 * 20),
        (MusicLength(seconds=0.5), True, 512, 10),  # at least as many as a bar may have
        (MusicLength(bars=4, seconds=10), True, 4 * 512, 4 * 40 + 10 * 20),
        (MusicLength(bars=4, max_new_tokens=7), True, 7, 7),
        (MusicLength(max_new_tokens=7), False, 7, 7),
    ],
)
def test_tokens_of_a_length(
    length: MusicLength, is_exact: bool, token_limit: int, usual_tokens: int
) -> None:
    assert length.is_exact == is_exact
    assert (length.token_limit, length.usual_tokens) == (token_limit, usual_tokens)


def test_a_piece_is_cut_where_its_length_ends() -> None:
    piece = piece_of(note(0, 24), note(90, 24))  # 120 quarter notes a minute, bars of 96 ticks
    assert piece.bars == 1
    assert MusicLength(max_new_tokens=9).clipped(piece, 0.0) == piece
    assert MusicLength(bars=1).clipped(piece, 0.0).duration_ticks == 96
    # 1 second after a primer of 0.9 seconds is tick 91.2
    assert MusicLength(seconds=1).clipped(piece, 0.9).duration_ticks == 92
