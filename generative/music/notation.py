"""A piece as notation, written as MusicXML through music21.

Notes are moved to the nearest position that can be written simply: a 32nd or a triplet 16th, or a
64th or 128th if a meter counts in them. Bar lines are exactly where the meter puts them.
"""

from __future__ import annotations

import importlib.util
from bisect import bisect_right
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from generative.files import write_bytes
from generative.music.general_midi import printable, track_names
from generative.music.midi import DRUM_CHANNEL
from generative.music.piece import BEATS_PER_WHOLE_NOTE, Key, Meter, Tempo, bar_ticks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from generative.music.piece import Note, Piece, Track

BEAT_PARTS = (8, 6)  # a beat is a quarter note: 32nds, and triplets of 16ths
EXTRA = "notation"

# the begin and the end of a chord, in quarter notes
Span = tuple[Fraction, Fraction]
Sign: TypeAlias = Meter | Key | Tempo


def check() -> None:
    """Raise unless music21 is installed.

    Raises:
        RuntimeError: It is not.
    """
    if importlib.util.find_spec("music21") is None:
        raise RuntimeError(
            f"MusicXML needs music21: in a checkout, pip install '.[{EXTRA}]' has it"
        )


def write(piece: Piece, path: Path) -> None:
    """Write MusicXML in one move.

    Raises:
        RuntimeError: Music21 is not installed.
        FileError: The file cannot be written.
    """
    check()
    from music21 import metadata
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    score = as_score(piece)
    score.insert(0, metadata.Metadata(title=printable(path.stem)))
    write_bytes(path, GeneralObjectExporter(score).parse())


def as_score(piece: Piece) -> Any:
    """The piece as a `music21.stream.Score` with a part for each track, in measures and voices."""
    from music21 import stream

    lines, signs = bar_lines(piece), _signs_of(piece, bar_lines(piece))
    score = stream.Score()
    for i, (track, name) in enumerate(zip(piece.tracks, track_names(piece.tracks), strict=True)):
        part = stream.Part(id=f"P{i + 1}")
        part.partName = name
        part.insert(0, _instrument(track, name))
        chords = _chords(track, piece.ticks_per_beat, beat_parts(piece))
        voices = [_measured(voice, lines) for voice in _voices(chords)]
        length = Fraction(0)  # the length of a full bar
        for number, (begin, end) in enumerate(pairwise(lines)):
            measure = stream.Measure(number=number + 1)
            here = signs.get(number, [])
            _sign(measure, here, first_part=i == 0)
            length = next((bar_ticks(s, 1) for _, s in here[::-1] if isinstance(s, Meter)), length)
            measure.paddingRight = length - (
                end - begin
            )  # A shortened bar is not filled with rests.
            sounding = {i: voice[number] for i, voice in enumerate(voices, 1) if number in voice}
            _fill(measure, sounding, end - begin)
            part.insert(begin, measure)
        score.insert(0, part)
    return score


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


def _chords(track: Track, ticks_per_beat: int, parts: Sequence[int]) -> dict[Span, list[Note]]:
    """The notes grouped into chords, whose notes begin and end together, in order."""
    chords: defaultdict[Span, list[Note]] = defaultdict(list)
    for note in track.notes:
        chords[written_span(note, ticks_per_beat, parts)].append(note)
    return dict(sorted(chords.items()))


def _voices(chords: dict[Span, list[Note]]) -> list[dict[Span, list[Note]]]:
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


def _measured(
    voice: dict[Span, list[Note]], lines: list[Fraction]
) -> dict[int, list[tuple[Span, list[Note], str | None]]]:
    """Bar -> the chords of a voice in it, with times from its begin and ties across bar lines."""
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
    """Insert voices by number into a measure, with rests between their chords."""
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


def _signs_of(piece: Piece, lines: Sequence[Fraction]) -> dict[int, list[tuple[Fraction, Sign]]]:
    """Bar -> the meters, keys and tempos that begin in it, with their times in the bar."""
    parts = beat_parts(piece)
    by_bar: defaultdict[int, list[tuple[Fraction, Sign]]] = defaultdict(list)
    signs: tuple[Sign, ...] = (*piece.meters, *piece.keys, *piece.tempos)
    for sign in signs:
        at = written(sign.at_ticks, piece.ticks_per_beat, parts)
        if at < lines[-1]:
            bar = bisect_right(lines, at) - 1
            by_bar[bar].append((at - lines[bar], sign))
    return by_bar


def _sign(measure: Any, signs: Iterable[tuple[Fraction, Sign]], *, first_part: bool) -> None:
    """Insert meters and keys into a measure, and tempos if it is of the first part."""
    from music21 import key, meter, tempo

    for at, sign in signs:
        match sign:
            case Meter():
                measure.timeSignature = meter.TimeSignature(f"{sign.numerator}/{sign.denominator}")
            case Key():
                mode = "minor" if sign.is_minor else "major"
                measure.keySignature = key.KeySignature(sign.sharps).asKey(mode)
            case Tempo() if first_part:
                mark = tempo.MetronomeMark(number=round(sign.beats_per_minute, 2))
                measure.insert(at, mark)


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
