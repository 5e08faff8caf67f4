"""A piece laid out in bars, for notation: written times, bar lines, voices and signs.

Notes are moved to the nearest position that can be written simply: a 32nd or a triplet 16th, or a
64th or 128th if a meter counts in them. Bar lines are exactly where the meter puts them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from generative.music.piece import BEATS_PER_WHOLE_NOTE, Key, Meter, Tempo, bar_ticks
from generative.music.spelling import keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.music.piece import Note, Piece, Track

BEAT_PARTS = (8, 6)  # a beat is a quarter note: 32nds, and triplets of 16ths

# the begin and the end of a chord, in quarter notes
Span = tuple[Fraction, Fraction]
Sign: TypeAlias = Meter | Key | Tempo


class Placed(NamedTuple):
    """A chord, or a rest, in a bar.

    Attributes:
        begin, end: Its times in quarter notes from the begin of the bar.
        notes: The notes of the chord; none for a rest.
        tied_before, tied_after: Whether it is tied to the chord before and after it.
    """

    begin: Fraction
    end: Fraction
    notes: tuple[Note, ...] = ()
    tied_before: bool = False
    tied_after: bool = False


def written(ticks: int, ticks_per_beat: int, parts: Sequence[int] = BEAT_PARTS) -> Fraction:
    """The nearest time that can be written simply, in quarter notes.

    Example:
        written(161, 480)    # Fraction(1, 3)
    """
    exact = Fraction(ticks, ticks_per_beat)
    candidates = (Fraction(round(exact * part), part) for part in parts)
    return min(candidates, key=lambda time: abs(time - exact))


def written_span(note: Note, ticks_per_beat: int, parts: Sequence[int] = BEAT_PARTS) -> Span:
    """The written begin and end of a note, which lasts at least the shortest part of a beat."""
    begin = written(note.onset_ticks, ticks_per_beat, parts)
    end = written(note.end_ticks, ticks_per_beat, parts)
    return begin, max(end, begin + Fraction(1, max(parts)))


def beat_parts(piece: Piece) -> tuple[int, ...]:
    """The numbers of parts into which a beat is divided; they include the unit of each meter."""
    finest = max(meter.denominator // BEATS_PER_WHOLE_NOTE for meter in piece.meters)
    return max(BEAT_PARTS[0], finest), *BEAT_PARTS[1:]


def bar_lines(piece: Piece) -> list[Fraction]:
    """The begin of each bar and the end of the last, in quarter notes.

    A meter begins at the nearest position that can be written, and its bars are counted from there.
    A change of meter shortens the bar before it. The last note ends within the last bar.
    """
    parts = beat_parts(piece)
    starts = [written(m.at_ticks, piece.ticks_per_beat, parts) for m in piece.meters]
    last = max(
        (written_span(n, piece.ticks_per_beat, parts)[1] for t in piece.tracks for n in t.notes),
        default=Fraction(1, max(parts)),  # A piece without notes has one bar.
    )
    lines: list[Fraction] = []
    close = Fraction(0)
    for meter, begin, end in zip(piece.meters, starts, [*starts[1:], None], strict=True):
        line = begin
        while line < last and (end is None or line < end):
            lines.append(line)
            line += bar_ticks(meter, 1)
            close = line if end is None else min(line, end)
    return [*lines, close]


def chords_of(track: Track, ticks_per_beat: int, parts: Sequence[int]) -> dict[Span, list[Note]]:
    """The notes grouped into chords, whose notes begin and end together, in order."""
    chords: defaultdict[Span, list[Note]] = defaultdict(list)
    for note in track.notes:
        chords[written_span(note, ticks_per_beat, parts)].append(note)
    return dict(sorted(chords.items()))


def voices_of(chords: dict[Span, list[Note]]) -> list[dict[Span, list[Note]]]:
    """Chords distributed to as few voices as possible, without overlap within a voice."""
    voices: list[dict[Span, list[Note]]] = []
    ends: list[Fraction] = []
    for span, notes in chords.items():
        free = next((i for i, end in enumerate(ends) if end <= span[0]), len(voices))
        if free == len(voices):
            voices.append({})
            ends.append(span[1])
        voices[free][span] = notes
        ends[free] = span[1]
    return voices


def measured(voice: dict[Span, list[Note]], lines: Sequence[Fraction]) -> dict[int, list[Placed]]:
    """Bar -> the chords of a voice in it, with times from its begin and ties across bar lines."""
    by_bar: defaultdict[int, list[Placed]] = defaultdict(list)
    bar = 0
    for (begin, end), notes in voice.items():
        while lines[bar + 1] <= begin:
            bar += 1
        at, here = begin, bar
        while at < end:
            cut = min(end, lines[here + 1])
            begin_here, end_here = at - lines[here], cut - lines[here]
            by_bar[here].append(Placed(begin_here, end_here, tuple(notes), at > begin, cut < end))
            at, here = cut, here + 1
    return by_bar


def signs_of(piece: Piece, lines: Sequence[Fraction]) -> dict[int, list[tuple[Fraction, Sign]]]:
    """Bar -> the meters, keys and tempos that begin in it, with their times in the bar."""
    parts = beat_parts(piece)
    by_bar: defaultdict[int, list[tuple[Fraction, Sign]]] = defaultdict(list)
    signs: tuple[Sign, ...] = (*piece.meters, *keys_of(piece), *piece.tempos)
    for sign in signs:
        at = written(sign.at_ticks, piece.ticks_per_beat, parts)
        if at < lines[-1]:
            bar = bisect_right(lines, at) - 1
            by_bar[bar].append((at - lines[bar], sign))
    return by_bar


def with_rests(chords: Sequence[Placed], length: Fraction) -> list[Placed]:
    """The chords of a voice in a bar of a length, in order, with rests where nothing sounds."""
    filled: list[Placed] = []
    at = Fraction(0)
    for chord in chords:
        if chord.begin > at:
            filled.append(Placed(at, chord.begin))
        filled.append(chord)
        at = chord.end
    return [*filled, Placed(at, length)] if at < length else filled
