"""A tune of one voice in ABC notation, version 2.1.

Source: The ABC Music Standard 2.1, abcnotation.com/wiki/abc:standard:v2.1; its sections are cited.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby, pairwise, zip_longest
from typing import TYPE_CHECKING, TypeVar

from generative.files import write_bytes
from generative.music import bars
from generative.music.general_midi import printable
from generative.music.glyphs import beat_of, glyphs
from generative.music.piece import (
    DEFAULT_METER,
    DEFAULT_TEMPO,
    MAX_SHARPS,
    Key,
    Meter,
    Tempo,
    bar_ticks,
)
from generative.music.spelling import NO_KEY, alteration_in, spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from generative.music.bars import Sign, Span
    from generative.music.glyphs import Glyph
    from generative.music.piece import Note, Piece

UNIT = Fraction(1, 2)  # L:1/8, in quarter notes
ACCIDENTALS = {-2: "__", -1: "_", 0: "=", 1: "^", 2: "^^"}  # section 4.2
# The tonics of the major and of the minor keys from seven flats to seven sharps.
MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
MINOR = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")
SMALL_OCTAVE = 5  # C4 is C, C5 is c (section 4.1).
BARS_PER_LINE = 4
INSTEAD = "write MusicXML (.musicxml) instead"

SomeSign = TypeVar("SomeSign", Meter, Key, Tempo)


def check_piece(piece: Piece) -> None:
    """Refuse a piece that is not of one voice.

    Raises:
        ValueError: It has several instruments, drums, or several notes at once; the message says
            what to write instead.
    """
    _voice(piece)


def write(piece: Piece, path: Path) -> None:
    """Write ABC in one move; the title is the name of the file.

    Raises:
        ValueError: See `check_piece`.
        FileError: The file cannot be written.
    """
    write_bytes(path, text_of(piece, path.stem).encode())


def text_of(piece: Piece, title: str) -> str:
    """The tune as ABC, with four bars a line.

    Tempos are whole quarter notes a minute, and they and keys change at bar lines. A first bar
    after which a longer meter begins is a pickup in that meter.

    Raises:
        ValueError: See `check_piece`.
    """
    voice = {span: [note] for span, note in _voice(piece).items()}
    lines = bars.bar_lines(piece)
    by_bar = bars.measured(voice, lines)
    signs = {bar: [sign for _, sign in found] for bar, found in bars.signs_of(piece, lines).items()}
    meter = _last(Meter, signs[0]) or DEFAULT_METER
    key = _last(Key, signs[0]) or NO_KEY
    tempo = _last(Tempo, signs[0]) or DEFAULT_TEMPO
    full = _last(Meter, signs.get(1, []))
    has_pickup = full is not None and bar_ticks(full, 1) > lines[1]
    if full is not None and has_pickup:
        meter = full
        signs[1].remove(full)
    signs[0] = []
    title = _escaped(printable(title))
    fields = ["%abc-2.1", "X:1", f"T:{title}", _field(meter), "L:1/8", _field(tempo), _field(key)]
    written = []
    for number, (begin, end) in enumerate(pairwise(lines)):
        here = signs.get(number, [])
        meter, key = _last(Meter, here) or meter, _last(Key, here) or key
        changes = (_last(Meter, here), _last(Key, here), _last(Tempo, here))
        inline = "".join(f"[{_field(sign)}]" for sign in changes if sign)
        placed = bars.with_rests(by_bar.get(number, []), end - begin)
        written.append(inline + _bar(glyphs(placed, end - begin, beat_of(meter)), key, meter))
    return "\n".join([*fields, *_rows(written, BARS_PER_LINE + has_pickup)]) + "\n"


def _voice(piece: Piece) -> dict[Span, Note]:
    """The notes by their written times, which do not overlap.

    A note that is shorter than what can be written ends where the next one begins.

    Raises:
        ValueError: See `check_piece`.
    """
    tracks = [track for track in piece.tracks if track.notes]
    if len(tracks) > 1:
        raise ValueError(
            f"ABC is written of one voice, not of {len(tracks)} instruments: {INSTEAD}, or choose "
            "one instrument"
        )
    if any(track.is_drum for track in tracks):
        raise ValueError(f"ABC is written of notes with a pitch, not of drums: {INSTEAD}")
    parts = bars.beat_parts(piece)
    voice: dict[Span, Note] = {}
    notes = [note for track in tracks for note in track.notes]
    for note, after in zip_longest(notes, notes[1:]):
        begin, end = bars.written_span(note, piece.ticks_per_beat, parts)
        if after is not None:
            next_begin = bars.written(after.onset_ticks, piece.ticks_per_beat, parts)
            if next_begin < end and note.end_ticks <= after.onset_ticks:
                end = next_begin
            if next_begin < end or end == begin:
                bar = sum(line <= begin for line in bars.bar_lines(piece))
                raise ValueError(
                    f"ABC is written of one voice, but in bar {bar} several notes sound at once or "
                    f"are too short to write: {INSTEAD}"
                )
        voice[begin, end] = note
    return voice


def _last(kind: type[SomeSign], signs: Iterable[Sign]) -> SomeSign | None:
    return next((sign for sign in reversed([*signs]) if isinstance(sign, kind)), None)


def _field(sign: Sign) -> str:
    """A sign as a field of the header or of a line of music (section 3)."""
    match sign:
        case Meter():
            return f"M:{sign.numerator}/{sign.denominator}"
        case Key():
            tonics = MINOR if sign.is_minor else MAJOR
            return f"K:{tonics[sign.sharps + MAX_SHARPS]}{'m' * sign.is_minor}"
        case Tempo():
            return f"Q:1/4={max(round(sign.beats_per_minute), 1)}"


def _bar(written: Sequence[Glyph], key: Key, meter: Meter) -> str:
    """The notes of a bar; a space ends a beam (section 4.7)."""
    group = _beam_length(meter)
    altered: dict[str | tuple[str, int], int] = {}
    text = ""
    for window, run in groupby(written, key=lambda glyph: glyph.window):
        part = list(run)
        for i, glyph in enumerate(part):
            placed = glyph.placed
            if placed.begin % group == 0 and placed.begin:
                text += " "
            if window.is_triplet and i == 0:
                text += "(3" if len(part) == 3 else f"(3:2:{len(part)}"  # section 4.13
            name = "".join(_name(note, key, altered) for note in placed.notes) or "z"
            text += name + _length(glyph.written_length / UNIT) + "-" * placed.tied_after
    return text


def _beam_length(meter: Meter) -> Fraction:
    """How much of a bar is beamed together, in quarter notes: a beat, or half of a 4/4 bar."""
    if bar_ticks(meter, 1) == 4 and meter.numerator in {2, 4}:
        return Fraction(2)
    return max(beat_of(meter), Fraction(1))


def _name(note: Note, key: Key, altered: dict[str | tuple[str, int], int]) -> str:
    """A pitch with its accidental.

    Programs differ on whether an accidental holds in all octaves up to the bar line or in its own
    (section 11.3), so it is left out only where both give the pitch. Double accidentals are always
    written: music21 carries half of them.

    Args:
        note: The note.
        key: The key signature.
        altered: The alterations in this bar so far, by letter and by letter and octave; the note
            adds its own.
    """
    letter, alteration, octave = spelled(note.pitch, key)
    usual = alteration_in(letter, key.sharps)
    places = letter, (letter, octave)
    needed = abs(alteration) == 2 or any(
        altered.get(place, usual) != alteration for place in places
    )
    altered.update(dict.fromkeys(places, alteration))
    high = octave >= SMALL_OCTAVE
    name = (
        letter.lower() + "'" * (octave - SMALL_OCTAVE)
        if high
        else letter + "," * (SMALL_OCTAVE - 1 - octave)
    )
    return (ACCIDENTALS[alteration] if needed else "") + name


def _length(units: Fraction) -> str:
    """A length in units as a factor after a note: "", "2", "/2" or "3/2" (section 4.3)."""
    above = "" if units.numerator == 1 else str(units.numerator)
    return above if units.denominator == 1 else f"{above}/{units.denominator}"


def _rows(written: Sequence[str], first: int) -> Iterator[str]:
    """Lines of music of four bars, the first of `first` bars; the last ends with a double bar."""
    begins = [0, *range(first, len(written), BARS_PER_LINE), len(written)]
    for begin, end in pairwise(begins):
        close = "|]" if end == len(written) else "|"
        yield " | ".join(written[begin:end]) + " " + close


def _escaped(text: str) -> str:
    """Text in which no character has a meaning of its own (sections 2.2.3 and 8.2)."""
    return "".join("\\" + character if character in "\\%&" else character for character in text)
