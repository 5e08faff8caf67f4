"""Chords and rests of a bar split into what one note or rest can be written for.

A note has a length of 1, 1/2, 1/4 ... or half as much again (dotted); in a triplet it lasts two
thirds of that. Longer or odd lengths are tied notes, and rests in a row.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from generative.music.piece import BEATS_PER_WHOLE_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.music.bars import Placed, Span
    from generative.music.piece import Meter

LONGEST = 8  # quarter notes of a breve
LONGEST_TRIPLET = 2  # quarter notes that three notes of equal length fill: a triplet of quarters
IN_TRIPLET = Fraction(3, 2)  # what a note in a triplet is written as, over what it lasts


class Window(NamedTuple):
    """A part of a bar in which all is in triplets or nothing is."""

    begin: Fraction
    end: Fraction
    is_triplet: bool


class Glyph(NamedTuple):
    """What one note, chord or rest is written for.

    Attributes:
        placed: Its times, notes and ties.
        window: The part of the bar that it is in.
    """

    placed: Placed
    window: Window

    @property
    def written_length(self) -> Fraction:
        """The length of the note that is written, in quarter notes."""
        length = self.placed.end - self.placed.begin
        return length * IN_TRIPLET if self.window.is_triplet else length


def beat_of(meter: Meter) -> Fraction:
    """The beat in quarter notes: three units in a compound meter as 6/8, otherwise one."""
    compound = meter.denominator >= 8 and meter.numerator > 3 and meter.numerator % 3 == 0
    return Fraction(BEATS_PER_WHOLE_NOTE * (3 if compound else 1), meter.denominator)


def glyphs(bar: Sequence[Placed], length: Fraction, beat: Fraction) -> list[Glyph]:
    """What is written for a voice in a bar.

    Args:
        bar: The chords and rests, in order and without gaps.
        length: The length of the bar in quarter notes.
        beat: The beat of the meter in quarter notes.
    """
    edges = sorted({edge for placed in bar for edge in (placed.begin, placed.end)})
    windows = windows_of(edges, length)
    return [
        Glyph(part, window)
        for placed in bar
        for window in windows
        if placed.begin < window.end and window.begin < placed.end
        for part in _parts(placed, window, beat)
    ]


def windows_of(edges: Sequence[Fraction], length: Fraction) -> list[Window]:
    """A bar divided so that no triplet is longer than needed; `edges` are where notes meet."""

    def divided(begin: Fraction, size: Fraction) -> Iterator[Window]:
        end = min(begin + size, length)
        inside = [edge - begin for edge in edges if begin < edge < end]
        if all(map(is_binary, inside)):
            yield Window(begin, end, is_triplet=False)
        elif end - begin == size <= LONGEST_TRIPLET and all(e % (size / 3) == 0 for e in inside):
            yield Window(begin, end, is_triplet=True)
        elif size > 1 or size / 2 in inside:
            yield from divided(begin, size / 2)
            if begin + size / 2 < length:
                yield from divided(begin + size / 2, size / 2)
        else:
            yield Window(begin, end, is_triplet=True)

    size = Fraction(1)
    while size < length:
        size *= 2
    merged: list[Window] = []
    for window in divided(Fraction(0), size):
        if merged and not (window.is_triplet or merged[-1].is_triplet):
            merged[-1] = merged[-1]._replace(end=window.end)
        else:
            merged.append(window)
    return merged


def _parts(placed: Placed, window: Window, beat: Fraction) -> Iterator[Placed]:
    """The part of a chord or rest in a window, split into what one note or rest can stand for."""
    begin, end = max(placed.begin, window.begin), min(placed.end, window.end)
    if window.is_triplet:
        written = ((begin - window.begin) * IN_TRIPLET, (end - window.begin) * IN_TRIPLET)
        spans = [
            (window.begin + first / IN_TRIPLET, window.begin + last / IN_TRIPLET)
            for first, last in note_spans(*written, beat=Fraction(1))
        ]
    else:
        spans = rest_spans(begin, end, beat) if not placed.notes else note_spans(begin, end, beat)
    for first, last in spans:
        sounds = bool(placed.notes)
        yield placed._replace(
            begin=first,
            end=last,
            tied_before=placed.tied_before or (sounds and first > placed.begin),
            tied_after=placed.tied_after or (sounds and last < placed.end),
        )


def is_binary(time: Fraction) -> bool:
    """Whether a time can be written without triplets."""
    return time.denominator & (time.denominator - 1) == 0


def is_single(length: Fraction) -> bool:
    """Whether one note, dotted or not, has a length."""
    top = length.numerator // (length.numerator & -length.numerator)
    return is_binary(length) and top in {1, 3} and length <= LONGEST


def note_spans(begin: Fraction, end: Fraction, beat: Fraction) -> list[Span]:
    """The times of notes that are tied to last from `begin` to `end`, as few as two cuts allow."""
    if is_single(end - begin):
        return [(begin, end)]
    cuts = _cuts(begin, end)
    halves = [cut for cut in cuts if is_single(cut - begin) and is_single(end - cut)]
    cut = max(halves or cuts, key=lambda cut: (cut % beat == 0, _alignment(cut)))
    return [*note_spans(begin, cut, beat), *note_spans(cut, end, beat)]


def rest_spans(begin: Fraction, end: Fraction, beat: Fraction) -> list[Span]:
    """The times of rests from `begin` to `end`: up to the next beat, whole beats, and what is left.

    Example:
        rest_spans(Fraction(1, 2), Fraction(4), Fraction(1))    # 1/2..1, 1..2, 2..4
    """
    spans: list[Span] = []
    at = begin
    while at < end:
        count = (end - at) // beat  # whole beats
        if at % beat or not count:
            until = min(end, at - at % beat + beat)
            spans += note_spans(at, until, beat)
        else:
            beats = 1
            while 2 * beats <= count and (at / beat) % (2 * beats) == 0 and beat * beats < LONGEST:
                beats *= 2
            until = at + beat * beats
            spans += note_spans(at, until, beat)
        at = until
    return spans


def _cuts(begin: Fraction, end: Fraction) -> list[Fraction]:
    """The multiples of the finest unit of two times that lie between them."""
    unit = Fraction(1, max(begin.denominator, end.denominator))
    if end - begin == unit:
        unit /= 2
    return [begin + i * unit for i in range(1, int((end - begin) / unit))]


def _alignment(time: Fraction) -> Fraction:
    """The largest power of two of which a binary time above 0 is a multiple."""
    return Fraction(time.numerator & -time.numerator, time.denominator)
