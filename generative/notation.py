"""A piece of music as notation: MusicXML through music21; knows bars and voices, no models.

Notes are set where they can be written: on 32nds or triplet 16ths of a beat, whichever is nearer.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from generative.files import write_bytes
from generative.midi import DRUM_CHANNEL
from generative.pianoroll import track_names

if TYPE_CHECKING:
    from pathlib import Path

    from generative.piece import Note, Piece, Track

BEAT_PARTS = (8, 6)  # a beat is a quarter note: 32nds, and triplets of 16ths
EXTRA = "notation"

# when a chord begins and ends, in quarter notes
Span = tuple[Fraction, Fraction]


def check() -> None:
    """Refuse where music21 is missing.

    Raises:
        RuntimeError: it is not installed.
    """
    if importlib.util.find_spec("music21") is None:
        raise RuntimeError(
            f"MusicXML needs music21: install it with pip install 'generative[{EXTRA}]'"
        )


def write(piece: Piece, path: Path) -> None:
    """Write MusicXML, in one move.

    Raises:
        RuntimeError: music21 is not installed.
    """
    check()
    from music21 import metadata
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    score = as_score(piece)
    score.insert(0, metadata.Metadata(title=path.stem))
    write_bytes(path, GeneralObjectExporter(score).parse())


def as_score(piece: Piece) -> Any:
    """The piece as a `music21.stream.Score`: a part a track, in measures and voices."""
    from music21 import stream

    lines = [written(line, piece.ticks_per_beat) for line in _bars(piece)]
    score = stream.Score()
    for i, (track, name) in enumerate(zip(piece.tracks, track_names(piece.tracks), strict=True)):
        part = stream.Part(id=f"P{i + 1}")
        part.partName = name
        part.insert(0, _instrument(track, name))
        voices = [
            _measured(voice, lines) for voice in _voices(_chords(track, piece.ticks_per_beat))
        ]
        for number, (begin, end) in enumerate(pairwise(lines)):
            measure = stream.Measure(number=number + 1)
            _signs(measure, piece, begin, end, first_part=i == 0)
            here = {i: voice[number] for i, voice in enumerate(voices, 1) if number in voice}
            _fill(measure, here, end - begin)
            part.insert(begin, measure)
        score.insert(0, part)
    return score


def written(ticks: int, ticks_per_beat: int) -> Fraction:
    """The nearest time that is written simply, in quarter notes.

    Example:
        written(161, 480)    # Fraction(1, 3)
    """
    exact = Fraction(ticks, ticks_per_beat)
    candidates = (Fraction(round(exact * parts), parts) for parts in BEAT_PARTS)
    return min(candidates, key=lambda time: abs(time - exact))


def written_span(note: Note, ticks_per_beat: int) -> Span:
    """When a note begins and ends as it is written; it lasts at least a 32nd."""
    begin = written(note.onset_ticks, ticks_per_beat)
    end = written(note.end_ticks, ticks_per_beat)
    return begin, max(end, begin + Fraction(1, BEAT_PARTS[0]))


def _bars(piece: Piece) -> list[int]:
    """Bar lines, with more bars of the last meter where a note outlasts the last one."""
    lines = list(piece.bar_lines)
    if len(lines) == 1:
        return [0, 4 * piece.ticks_per_beat]
    meter = piece.meters[-1]
    length = 4 * piece.ticks_per_beat * meter.numerator // meter.denominator
    while lines[-1] < piece.duration_ticks:
        lines.append(lines[-1] + max(length, 1))
    return lines


def _chords(track: Track, ticks_per_beat: int) -> dict[Span, list[Note]]:
    """Notes that begin and end together are one chord."""
    chords: defaultdict[Span, list[Note]] = defaultdict(list)
    for note in track.notes:
        chords[written_span(note, ticks_per_beat)].append(note)
    return dict(sorted(chords.items()))


def _voices(chords: dict[Span, list[Note]]) -> list[dict[Span, list[Note]]]:
    """Chords in as few voices as hold them, none overlapping another in its voice."""
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


def _measured(
    voice: dict[Span, list[Note]], lines: list[Fraction]
) -> dict[int, list[tuple[Span, list[Note], str | None]]]:
    """A voice's chords by bar, in times of the bar, tied where a bar line cuts them."""
    by_bar: defaultdict[int, list[tuple[Span, list[Note], str | None]]] = defaultdict(list)
    bar = 0
    for (begin, end), notes in voice.items():
        while lines[bar + 1] <= begin:
            bar += 1
        at, here = begin, bar
        while at < end:
            cut = min(end, lines[here + 1])
            tie = {
                (True, True): None, (True, False): "start", (False, False): "continue",
                (False, True): "stop",
            }[at == begin, cut == end]  # fmt: skip
            by_bar[here].append(((at - lines[here], cut - lines[here]), notes, tie))
            at, here = cut, here + 1
    return by_bar


def _fill(
    measure: Any,
    voices: dict[int, list[tuple[Span, list[Note], str | None]]],
    length: Fraction,
) -> None:
    """Put voices into a measure, each under its number, with rests between their chords."""
    from music21 import note, stream

    if not voices:
        measure.append(note.Rest(quarterLength=length))
    for number, chords in voices.items():
        voice = stream.Voice(id=str(number))
        at = Fraction(0)
        for (begin, end), notes, tie in chords:
            if begin > at:
                voice.insert(at, note.Rest(quarterLength=begin - at))
            voice.insert(begin, _chord(notes, end - begin, tie))
            at = end
        if at < length:
            voice.insert(at, note.Rest(quarterLength=length - at))
        measure.insert(0, voice)


def _chord(notes: list[Note], length: Fraction, tie: str | None) -> Any:
    from music21 import chord, note
    from music21.tie import Tie

    singles = []
    for sound in sorted(notes, key=lambda n: n.pitch):
        single = note.Note(midi=sound.pitch, quarterLength=length)
        single.volume.velocity = sound.velocity
        single.tie = Tie(tie) if tie else None
        singles.append(single)
    return singles[0] if len(singles) == 1 else chord.Chord(singles, quarterLength=length)


def _signs(measure: Any, piece: Piece, begin: Fraction, end: Fraction, *, first_part: bool) -> None:
    """Meters and keys where they begin, and tempos, which stand above the first part only."""
    from music21 import key, meter, tempo

    for sign in piece.meters:
        if begin <= written(sign.at_ticks, piece.ticks_per_beat) < end:
            measure.timeSignature = meter.TimeSignature(f"{sign.numerator}/{sign.denominator}")
    for signature in piece.keys:
        if begin <= written(signature.at_ticks, piece.ticks_per_beat) < end:
            measure.keySignature = key.KeySignature(signature.sharps)
    for mark in piece.tempos if first_part else ():
        at = written(mark.at_ticks, piece.ticks_per_beat)
        if begin <= at < end:
            measure.insert(at - begin, tempo.MetronomeMark(number=round(mark.beats_per_minute, 2)))


def _instrument(track: Track, name: str) -> Any:
    from music21 import instrument

    made: Any
    if track.is_drum:
        made = instrument.Percussion()
        made.midiChannel = DRUM_CHANNEL
    else:
        made = instrument.instrumentFromMidiProgram(track.program)
    made.midiProgram = track.program
    made.instrumentName = name
    return made
