"""How long new music is to be: in bars, in seconds or in tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generative.errors import check_at_least, check_positive
from generative.music.quantise import PERFORMANCE

if TYPE_CHECKING:
    from generative.api.request import MusicRequest
    from generative.music.piece import Piece

DEFAULT_BARS = 8  # of a score for which no length is given
DEFAULT_SECONDS = 20.0  # of a performance for which no length is given; it has no bars to count
# Upper limits of the tokens that the densest music needs.
MAX_TOKENS_PER_BAR = 512
MAX_TOKENS_PER_SECOND = 256
# Rough guesses, not measured, of the tokens that usual music has.
USUAL_TOKENS_PER_BAR = 40
USUAL_TOKENS_PER_SECOND = 20


@dataclass(frozen=True, kw_only=True)
class MusicLength:
    """The length of new music; None where a measure does not limit it.

    Attributes:
        bars: the exact number of new bars.
        seconds: the duration of what is new.
        max_new_tokens: the largest number of tokens.
    """

    bars: int | None = None
    seconds: float | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse lengths out of range.

        Raises:
            OptionError: bars below 1, or seconds that are not positive and finite.
        """
        check_at_least("bars", self.bars, 1)
        check_positive("seconds", self.seconds)

    @classmethod
    def of(cls, request: MusicRequest, grid: str) -> MusicLength:
        """The length that is asked for, or the default on the tokenizer's grid.

        Raises:
            OptionError: a length out of range.
        """
        length = cls(
            bars=request.get("bars"),
            seconds=request.get("seconds"),
            max_new_tokens=request.get("max_new_tokens"),
        )
        if length != cls():
            return length
        return cls(seconds=DEFAULT_SECONDS) if grid == PERFORMANCE else cls(bars=DEFAULT_BARS)

    @property
    def is_exact(self) -> bool:
        """Whether bars or seconds are given, so that the model cannot end where it likes."""
        return self.bars is not None or self.seconds is not None

    @property
    def token_limit(self) -> int:
        """`max_new_tokens`, or else enough tokens for the densest music of this length."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        needed: list[float] = []
        if self.bars is not None:
            needed.append(self.bars * MAX_TOKENS_PER_BAR)
        if self.seconds is not None:
            needed.append(self.seconds * MAX_TOKENS_PER_SECOND)
        return max(MAX_TOKENS_PER_BAR, math.ceil(min(needed)))

    @property
    def usual_tokens(self) -> int:
        """`max_new_tokens`, or else about as many tokens as usual music of this length has."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        return math.ceil(
            (self.bars or 0) * USUAL_TOKENS_PER_BAR + (self.seconds or 0) * USUAL_TOKENS_PER_SECOND
        )

    def clipped(self, piece: Piece, begin_seconds: float) -> Piece:
        """A piece cut where the length ends, if new music begins after `begin_seconds`."""
        if self.bars is not None:
            piece = piece.clipped(piece.bar_lines[-1])
        if self.seconds is not None:
            end_ticks = math.ceil(piece.tempo_map.ticks_at(begin_seconds + self.seconds))
            piece = piece.clipped(end_ticks)
        return piece
