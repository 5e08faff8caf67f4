"""Music that is given to a model: files and pieces, tracks and bars of them, and primers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from generative.errors import OptionError
from generative.music import midi
from generative.music.keys import detect_key
from generative.music.piece import Piece
from generative.music.quantise import SCORE
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.vocabulary import (
    is_measured_exactly,
    program_number,
)

if TYPE_CHECKING:
    import os

    from generative.tokenizers.music.tokenizer import MusicTokenizer

MusicSource: TypeAlias = "str | os.PathLike[str] | Piece"  # a MIDI file or a piece


@dataclass(frozen=True)
class Primer:
    """The music that new music continues.

    Attributes:
        tokenizer: what encoded it.
        piece: the primer as it was given, cut to the bars that are asked for; None where new music
            continues nothing.
        ids: its tokens, up to where new music begins.
        ends_at_bar_line: whether new music begins with a new bar.
    """

    tokenizer: MusicTokenizer
    piece: Piece | None = None
    ids: tuple[int, ...] = ()
    ends_at_bar_line: bool = False

    @classmethod
    def of(
        cls,
        tokenizer: MusicTokenizer,
        music: MusicSource | None,
        bars: str | tuple[int, int] | None = None,
    ) -> Primer:
        """The primer in a MIDI file or a piece.

        Args:
            tokenizer: the model's tokenizer.
            music: None is no primer.
            bars: the bars to continue, as "5-8" or (5, 8); None is all of them.

        Raises:
            MidiError: the file cannot be read.
            OptionError: bars in another form, or bars without a primer.
            ValueError: there are no such bars, or no notes in them.
        """
        if music is None:
            if bars is not None:
                raise OptionError("primer_bars says which bars of a primer: give one")
            return cls(tokenizer)
        piece = as_piece(music)
        if bars is None:
            return cls(tokenizer, piece, tuple(tokenizer.encode(piece)))
        first, last = _bar_span(bars, piece.bars)
        piece = piece.excerpt(first, last)
        if not piece.note_count:
            raise ValueError(f"bars {first}-{last} of the primer hold no notes")
        ids = tokenizer.with_bars(tokenizer.encode(piece), last - first + 1)
        return cls(tokenizer, piece, tuple(ids), ends_at_bar_line=True)

    @cached_property
    def decoded(self) -> Piece:
        """The piece that the tokens stand for."""
        return self.tokenizer.decode(self.ids)

    @property
    def seconds(self) -> float:
        """How long the tokens of the primer last."""
        return self.decoded.seconds

    @property
    def key(self) -> str:
        """The primer's key as `key_of` names it.

        Raises:
            OptionError: there is no primer.
        """
        if self.piece is None:
            raise OptionError("key 'primer' is the key of a primer: give one")
        return key_of(self.piece)

    def completed(self, limits: MusicLimits | None) -> MusicLimits | None:
        """The limits, with the primer's tempo, meter and instruments where they leave them open.

        On the performance grid there are no beats, and the limits stay as they are.
        """
        if not self.ids or self.tokenizer.grid != SCORE:
            return limits
        limits = limits or MusicLimits()
        last_meter = self.decoded.meters[-1]
        meter = last_meter.numerator, last_meter.denominator
        programs = tuple(sorted(map(program_number, self.decoded.tracks)))
        return replace(
            limits,
            tempo=limits.tempo or int(self.decoded.tempos[-1].beats_per_minute),
            meter=limits.meter or (meter if is_measured_exactly(*meter) else None),
            instruments=limits.instruments or programs,
        )


def as_piece(music: MusicSource) -> Piece:
    """The piece, read from a MIDI file where a path is given."""
    return music if isinstance(music, Piece) else midi.read(Path(music))


def key_of(piece: Piece) -> str:
    """A piece's key as a limit: a minor key with the sixths and sevenths of both directions."""
    return detect_key(piece).replace("minor", "melodic minor")


def single_track(piece: Piece, number: int) -> Piece:
    """One track of a piece, counted from 1 among those with notes, with its meters and tempos.

    Raises:
        ValueError: there is no such track.
    """
    tracks = [track for track in piece.tracks if track.notes]
    if not 1 <= number <= len(tracks):
        raise ValueError(f"the melody has {len(tracks)} tracks with notes, and none is {number}")
    return replace(piece, tracks=(tracks[number - 1],)).normalised()


def _bar_span(bars: str | tuple[int, int], count: int) -> tuple[int, int]:
    """The first and last bar of "5-8", "-8" or "5-" in a piece with `count` bars.

    Raises:
        OptionError: another form.
    """
    if not isinstance(bars, str):
        return bars
    match = re.fullmatch(r"(\d*)-(\d*)", bars.strip())
    if match is None or not any(match.groups()):
        raise OptionError(f"primer bars must be like 5-8, -8 or 5-, not {bars!r}")
    return int(match[1] or 1), int(match[2] or count)
