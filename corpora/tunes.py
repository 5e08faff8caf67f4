"""Writes the tunes in corpora/tunes/ as MIDI: knows a short notation, and the tunes themselves.

    python corpora/tunes.py

A melody is bars between `|`. A note is a letter (C D E F G A B from middle C up, c d e ... the
octave above, with , and ' for an octave down and up), after `^` or `_` for sharp and flat, and
then its length in eighths (none means 1). `z` rests. Each part is played twice, with one chord
name a bar for the accompaniment. All tunes are the project's own, under its licence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from generative.music import midi
from generative.music.piece import Meter, Note, Piece, Tempo, Track

HERE = Path(__file__).resolve().parent
TICKS_PER_BEAT = 24
TICKS_PER_EIGHTH = TICKS_PER_BEAT // 2
SCALE = {"C": 60, "D": 62, "E": 64, "F": 65, "G": 67, "A": 69, "B": 71}
TOKEN = re.compile(r"([_^]?)([A-Ga-gz])([,']*)(\d*)")
FLUTE, FIDDLE, GUITAR, ACCORDION, BASS = 73, 40, 24, 21, 32
MELODY_VELOCITY, CHORD_VELOCITY = 95, 63
# meter -> eighths a bar, and at which eighths bass and chord are struck
METERS = {
    (4, 4): (8, (0, 4), (2, 6)),
    (3, 4): (6, (0,), (2, 4)),
    (6, 8): (6, (0,), (3, 5)),
    (2, 4): (4, (0,), (2,)),
}


@dataclass(frozen=True, kw_only=True)
class Tune:
    """A tune in notation: parts of (melody, chords), each played twice."""

    name: str
    meter: tuple[int, int]
    beats_per_minute: float
    parts: tuple[tuple[str, str], ...]
    melody_program: int = FLUTE
    chord_program: int = GUITAR
    bass: bool = False


def parse_bar(text: str) -> list[tuple[int | None, int]]:
    """A bar as (pitch or None for a rest, eighths).

    Raises:
        ValueError: a sign that is not notation.
    """
    notes: list[tuple[int | None, int]] = []
    at, strange = 0, ""
    for match in TOKEN.finditer(text):
        strange += text[at : match.start()].strip()
        accidental, letter, octaves, length = match.groups()
        pitch = None
        if letter != "z":
            pitch = SCALE[letter.upper()] + (12 if letter.islower() else 0)
            pitch += 12 * (octaves.count("'") - octaves.count(","))
            pitch += {"^": 1, "_": -1, "": 0}[accidental]
        notes.append((pitch, int(length or 1)))
        at = match.end()
    if strange := strange + text[at:].strip():
        raise ValueError(f"{text!r}: cannot read {strange!r}")
    return notes


def chord_pitches(name: str) -> list[int]:
    """A triad by name, such as C, Am or B_; its root lies between C3 and B3."""
    root = SCALE[name[0]] - 12 + (-1 if "_" in name else 1 if "^" in name else 0)
    return [root, root + (3 if name.endswith("m") else 4), root + 7]


def compose(tune: Tune) -> Piece:
    """The piece that a tune stands for.

    Raises:
        ValueError: a bar that does not fill its meter, or a part without a chord for each bar.
    """
    eighths, bass_beats, chord_beats = METERS[tune.meter]
    melody: list[Note] = []
    chords: list[Note] = []
    basses: list[Note] = []
    bar_start = 0
    for bars, names in [part for part in tune.parts for _ in range(2)]:
        lines = [bar for bar in bars.split("|") if bar.strip()]
        if len(lines) != len(names.split()):
            raise ValueError(f"{tune.name}: {len(lines)} bars, {len(names.split())} chords")
        for line, name in zip(lines, names.split(), strict=True):
            notes = parse_bar(line)
            if sum(length for _, length in notes) != eighths:
                raise ValueError(f"{tune.name}: the bar {line!r} does not have {eighths} eighths")
            at = bar_start
            for pitch, length in notes:
                if pitch is not None:
                    melody.append(_note(at, length, pitch, MELODY_VELOCITY))
                at += length
            triad = chord_pitches(name)
            chords += [
                _note(bar_start + b, 1, p, CHORD_VELOCITY) for b in chord_beats for p in triad
            ]
            basses += [
                _note(bar_start + b, 2, triad[0] - 12, CHORD_VELOCITY + 8) for b in bass_beats
            ]
            bar_start += eighths
    tracks = [
        Track(program=tune.melody_program, notes=tuple(melody), name="Melody"),
        Track(program=tune.chord_program, notes=tuple(chords), name="Chords"),
    ]
    if tune.bass:
        tracks.append(Track(program=BASS, notes=tuple(basses), name="Bass"))
    numerator, denominator = tune.meter
    return Piece(
        ticks_per_beat=TICKS_PER_BEAT,
        tracks=tuple(tracks),
        tempos=(Tempo(at_ticks=0, beats_per_minute=tune.beats_per_minute),),
        meters=(Meter(at_ticks=0, numerator=numerator, denominator=denominator),),
    ).normalised()


def _note(eighth: int, length: int, pitch: int, velocity: int) -> Note:
    return Note(
        onset_ticks=eighth * TICKS_PER_EIGHTH,
        duration_ticks=length * TICKS_PER_EIGHTH,
        pitch=pitch,
        velocity=velocity,
    )


TUNES = (
    Tune(
        name="the_ferrymans_jig",
        meter=(6, 8),
        beats_per_minute=170,
        melody_program=FIDDLE,
        parts=(
            (
                "GAB d2B|c2A A3|B2G GAB|A2D D3|GAB d2e|dBG c2A|BGB AFD|G3 G3",
                "G Am G D G C D G",
            ),
            (
                "gfe d2B|cde d3|efg fed|e2A A3|gfe dBG|c2e dBG|ABc AFD|G3 G3",
                "G C Em Am G C D G",
            ),
        ),
    ),
    Tune(
        name="lanterns_on_the_quay",
        meter=(3, 4),
        beats_per_minute=112,
        chord_program=ACCORDION,
        parts=(
            (
                "C2E2G2|A2G2E2|F2A2c2|B2A2G2|E2G2c2|d2c2A2|G2F2D2|C4z2",
                "C C F G C F G C",
            ),
            (
                "c2B2A2|G2E2G2|A2c2e2|d4c2|c2A2F2|G2E2C2|D2E2D2|C4z2",
                "Am C F G F C G C",
            ),
        ),
    ),
    Tune(
        name="the_salt_road",
        meter=(4, 4),
        beats_per_minute=152,
        melody_program=FIDDLE,
        bass=True,
        parts=(
            (
                "D2FA d2AF|E2CE G2EC|D2FA dcAF|GFEC D4|D2FA d2fd|c2Ac e2ce|fedc AFGE|D2DC D4",
                "Dm C Dm C Dm Am Dm Dm",
            ),
            (
                "d2de f2ed|c2cd e2dc|d2de fefd|edcA d4|f2ed c2Ac|dcAG F2A2|GFEF GEAG|FDEC D4",
                "Dm C Dm Am F Dm C Dm",
            ),
        ),
    ),
    Tune(
        name="three_boats_home",
        meter=(6, 8),
        beats_per_minute=168,
        parts=(
            (
                "A2d d^cd|e2d B2A|B2e e2d|^c3 A3|A2d d^cd|e^fg ^f2d|e2d B2^c|d3 d3",
                "D G Em A D G A D",
            ),
            (
                "^f2a ^fed|g2e B3|e2g ^fed|^c2e A3|^f2a ^fed|gfe d2B|AB^c e2^c|d3 d3",
                "D Em Em A D G A D",
            ),
        ),
    ),
    Tune(
        name="slow_tide",
        meter=(3, 4),
        beats_per_minute=84,
        melody_program=FIDDLE,
        parts=(
            (
                "A,2E2A2|G4E2|F2E2D2|E6|A2c2B2|A2G2E2|F2D2B,2|A,6",
                "Am C F Am Am C Dm Am",
            ),
            (
                "c2d2e2|d4B2|c2A2F2|G4E2|F2A2c2|B2G2E2|D2B,2E2|A,6",
                "C G F C F Em G Am",
            ),
        ),
    ),
    Tune(
        name="the_net_menders_polka",
        meter=(2, 4),
        beats_per_minute=124,
        chord_program=ACCORDION,
        bass=True,
        parts=(
            (
                "GABc|d2B2|cBAG|A2D2|GABc|d2e2|dcAF|G4",
                "G G C D G C D G",
            ),
            (
                "B2d2|gfed|c2e2|agfe|d2B2|cBAG|FAdc|B2G2",
                "G G C C G Am D G",
            ),
        ),
    ),
    Tune(
        name="marens_reel",
        meter=(4, 4),
        beats_per_minute=184,
        melody_program=FIDDLE,
        parts=(
            (
                "GBdB gBdB|cAFA dAFA|GBdB gfed|cAFA G4|GBdB gBdB|c2ec d2fd|gfed cAFA|G2GF G4",
                "G D G D G C D G",
            ),
            (
                "g2gf e2ed|c2cB A2AG|FGAB cdef|gfed c2d2|g2gf e2ed|cBAG FGAF|GBdB cAFA|G2GF G4",
                "G Am D C G D G G",
            ),
        ),
    ),
    Tune(
        name="the_bell_buoy",
        meter=(6, 8),
        beats_per_minute=150,
        parts=(
            (
                "E2A A2B|c2B A2G|F2A G2E|D3 E3|E2A A2B|c2d e2c|BAG E2G|A3 A3",
                "Am Am F C Am C Em Am",
            ),
            (
                "e2c cde|d2B B3|c2A ABc|B2E E3|e2c cde|d2B BAG|ABc B2G|A3 A3",
                "C G F Em C G Em Am",
            ),
        ),
    ),
    Tune(
        name="herring_market_march",
        meter=(4, 4),
        beats_per_minute=116,
        chord_program=ACCORDION,
        bass=True,
        parts=(
            (
                "C2E2 G2G2|A2G2 E4|F2A2 G2E2|D2E2 D4|C2E2 G2G2|A2c2 B2A2|G2F2 E2D2|C4 C4",
                "C F F G C F G C",
            ),
            (
                "e2d2 c2c2|d2c2 A4|c2B2 A2G2|A2B2 G4|e2d2 c2c2|A2c2 G2E2|F2E2 D2G2|C4 C4",
                "C F F G C C G C",
            ),
        ),
    ),
    Tune(
        name="winter_in_the_loft",
        meter=(3, 4),
        beats_per_minute=96,
        parts=(
            (
                "D2F2A2|d4c2|_B2A2G2|A6|G2_B2d2|c2A2F2|G2E2^C2|D6",
                "Dm Dm G Dm Gm F A Dm",
            ),
            (
                "f2e2d2|c4A2|d2c2_B2|A4F2|G2A2_B2|A2F2D2|E2F2E2|D6",
                "F F B_ F Gm Dm A Dm",
            ),
        ),
    ),
    Tune(
        name="the_pilots_hornpipe",
        meter=(4, 4),
        beats_per_minute=144,
        melody_program=FIDDLE,
        parts=(
            (
                "FAcA f2cA|GBdB g2dB|FAcA fedc|_BAGF E2C2|FAcA f2cA|_BdgB AcfA|GABG cdec|f2A2 F4",
                "F G F C F B_ C F",
            ),
            (
                "cdef g2ec|dcBA G2z2|ABcd e2cA|_BAGF E2C2|f2cA FAcA|d2_BG D2G2|EGce dcBG|F2A2 F4",
                "C G Am C F Gm C F",
            ),
        ),
    ),
    Tune(
        name="annas_cradle_song",
        meter=(3, 4),
        beats_per_minute=80,
        parts=(
            (
                "G2B2d2|d4B2|c2e2d2|B6|A2c2e2|d4B2|A2B2A2|G6",
                "G G C G Am G D G",
            ),
            (
                "d2g2f2|e4c2|e2d2c2|B4G2|c2e2d2|B4G2|A2F2D2|G6",
                "G C C G C G D G",
            ),
        ),
    ),
)


def main() -> None:
    """Write every tune."""
    folder = HERE / "tunes"
    folder.mkdir(exist_ok=True)
    for tune in TUNES:
        midi.write(compose(tune), folder / f"{tune.name}.mid")
    print(f"{len(TUNES)} tunes in {folder.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
