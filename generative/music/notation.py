"""A piece as notation, written as MusicXML through music21.

Clefs and accidentals are chosen here; `bars`, `glyphs` and `spelling` say where notes are written,
how they are split into notes and rests with one head, and what pitches are called.
"""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from generative.files import write_bytes
from generative.music import bars
from generative.music.general_midi import printable, track_names
from generative.music.glyphs import beat_of, glyphs
from generative.music.midi import DRUM_CHANNEL
from generative.music.percussion import write_without_pitch
from generative.music.piece import Key, Meter, Tempo, bar_ticks
from generative.music.spelling import spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from generative.music.bars import Placed, Sign
    from generative.music.glyphs import Glyph
    from generative.music.piece import Piece, Track

EXTRA = "notation"
LOWEST_IN_TREBLE = 57  # A part whose median pitch is lower than A3 has a bass clef.
STAFF_SPACES = 15  # from one staff to the next, in the distance of the lines of a staff
PAGE_MILLIMETRES = 250  # height of a system that fits a page
USUAL_SPACE_MILLIMETRES = 1.75
TENTHS_PER_SPACE = 10


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
    from music21.musicxml.m21ToXml import GeneralObjectExporter, ScoreExporter

    score = as_score(piece)
    score.insert(0, metadata.Metadata(title=printable(path.stem)))
    general = GeneralObjectExporter()
    exporter = ScoreExporter(general.fromGeneralObject(score), makeNotation=general.makeNotation)
    root = exporter.parse()
    for identification in root.findall("identification"):
        for creator in identification.findall("creator"):  # Music21 names itself as the composer.
            identification.remove(creator)
    write_without_pitch(root, (i for i, track in enumerate(piece.tracks) if track.is_drum))
    write_bytes(path, exporter.asBytes())


def as_score(piece: Piece) -> Any:
    """The piece as a `music21.stream.Score` with a part for each track, in measures and voices."""
    from music21 import clef, layout, stream

    lines = bars.bar_lines(piece)
    signs = bars.signs_of(piece, lines)
    score = stream.Score()
    score.insert(0, _page(layout, len(piece.tracks)))
    for i, (track, name) in enumerate(zip(piece.tracks, track_names(piece.tracks), strict=True)):
        part: Any = stream.Part(id=f"P{i + 1}")
        made = _instrument(track, name)
        part.partName, part.partAbbreviation = name, _abbreviation(made, name)
        part.insert(0, made)
        chords = bars.chords_of(track, piece.ticks_per_beat, bars.beat_parts(piece))
        voices = [bars.measured(voice, lines) for voice in bars.voices_of(chords)]
        length = beat = Fraction(0)  # the length of a full bar and of its beat
        key = Key(at_ticks=0, sharps=0)
        for number, (begin, end) in enumerate(pairwise(lines)):
            measure: Any = stream.Measure(number=number + 1)
            if number == 0:
                measure.clef = getattr(clef, _clef_of(track))()
            here = signs.get(number, [])
            if track.is_drum:
                here = [(at, sign) for at, sign in here if not isinstance(sign, Key)]
            _sign(measure, here, first_part=i == 0)
            for _, sign in here:
                if isinstance(sign, Meter):
                    length, beat = bar_ticks(sign, 1), beat_of(sign)
                elif isinstance(sign, Key):
                    key = sign
            # A shortened bar is not filled with rests.
            measure.paddingRight = length - (end - begin)
            sounding = [
                glyphs(bars.with_rests(voice[number], end - begin), end - begin, beat)
                for voice in voices
                if number in voice
            ]
            _fill(measure, sounding, end - begin, key)
            part.insert(begin, measure)
            if end == lines[-1]:
                measure.rightBarline = "final"
        score.insert(0, part)
    return score


def _page(layout: Any, staves: int) -> Any:
    """A layout in which a system of so many staves fits a page."""
    space = min(USUAL_SPACE_MILLIMETRES, PAGE_MILLIMETRES / (STAFF_SPACES * max(staves, 1)))
    return layout.ScoreLayout(
        scalingMillimeters=round(4 * space, 2), scalingTenths=4 * TENTHS_PER_SPACE
    )


def _clef_of(track: Track) -> str:
    """The name of music21's class of the clef that suits most notes of a track."""
    if track.is_drum:
        return "PercussionClef"
    middle = median(note.pitch for note in track.notes) if track.notes else LOWEST_IN_TREBLE
    return "TrebleClef" if middle >= LOWEST_IN_TREBLE else "BassClef"


def _fill(measure: Any, voices: Sequence[Sequence[Glyph]], length: Fraction, key: Key) -> None:
    """Insert voices into a measure."""
    from music21 import note, stream

    if not voices:
        rest = note.Rest(quarterLength=length)
        rest.fullMeasure = True
        measure.append(rest)
    for number, written in enumerate(voices, 1):
        voice = stream.Voice(id=str(number))
        for glyph in written:
            placed = glyph.placed
            made = (
                _chord(placed, key)
                if placed.notes
                else note.Rest(quarterLength=placed.end - placed.begin)
            )
            voice.insert(placed.begin, made)
        measure.insert(0, voice)


def _chord(placed: Placed, key: Key) -> Any:
    from music21 import chord, note, pitch
    from music21.tie import Tie

    length = placed.end - placed.begin
    tie = {(False, True): "start", (True, True): "continue", (True, False): "stop"}.get(
        (placed.tied_before, placed.tied_after)
    )
    singles = []
    for sound in sorted(placed.notes, key=lambda n: n.pitch):
        name = spelled(sound.pitch, key)
        named = pitch.Pitch(name.letter)
        named.octave = name.octave
        if name.alteration:
            named.accidental = pitch.Accidental(name.alteration)
        single = note.Note(named, quarterLength=length)
        single.volume.velocity = sound.velocity
        single.tie = Tie(tie) if tie else None
        singles.append(single)
    return singles[0] if len(singles) == 1 else chord.Chord(singles, quarterLength=length)


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
                mark: Any = tempo.MetronomeMark(number=round(sign.beats_per_minute, 2))
                mark.placement = "above"
                measure.insert(at, mark)


def _abbreviation(instrument: Any, name: str) -> str:
    """Music21's abbreviation of an instrument, with the number that its name ends with."""
    number = name.rpartition(" ")[2]
    short = instrument.instrumentAbbreviation or ""
    return f"{short} {number}" if number.isdecimal() else short


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
