"""ABC is what was worked out by hand, and other programs read the notes of the piece from it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generative.music import abc_notation, formats
from generative.music.piece import Key, Meter, Note, Piece, Tempo, Track
from tests.pieces import note, piece_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STEPS = 24  # of a quarter note, as on the score grid


def tune(
    *notes: Note, meters: Sequence[tuple[int, int, int]] = ((0, 4, 4),), key: Key | None = None
) -> Piece:
    """A piece of one voice with 24 steps to a quarter note, and C major unless a key is given."""
    return Piece(
        ticks_per_beat=STEPS,
        tracks=(Track(program=110, notes=notes),),
        meters=tuple(Meter(at_ticks=at, numerator=n, denominator=d) for at, n, d in meters),
        keys=(key or Key(at_ticks=0, sharps=0),),
    ).normalised()


def in_a_row(*lengths_and_pitches: tuple[int, int]) -> list[Note]:
    """Notes one after the other; pitch 0 is a rest."""
    at, notes = 0, []
    for length, pitch in lengths_and_pitches:
        if pitch:
            notes.append(note(at, length, pitch))
        at += length
    return notes


def music(piece: Piece) -> str:
    """The lines of music, without the header."""
    return abc_notation.text_of(piece, "a").split("K:", 1)[1].split("\n", 1)[1].rstrip("\n")


def test_a_header_has_its_fields_in_order() -> None:
    piece = replace(
        tune(note(0, 24, 62), key=Key(at_ticks=0, sharps=2, is_minor=True), meters=[(0, 6, 8)]),
        tempos=(Tempo(at_ticks=0, beats_per_minute=92.4),),
    )
    assert abc_notation.text_of(piece, "50% & a\\b\n").splitlines() == [
        "%abc-2.1", "X:1", "T:50\\% \\& a\\\\b ", "M:6/8", "L:1/8", "Q:1/4=92", "K:Bm", "D2z z3 |]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lengths_and_pitches", "expected"),
    [
        ([(12, 60), (24, 62), (6, 64), (6, 65), (36, 67), (12, 0)], "CD2E/2F/2 G3z |]"),
        ([(12, 48), (12, 47), (12, 72), (12, 84), (48, 83)], "C,B,,cc' b4 |]"),
        # Accidentals hold up to the bar line, and are told again for another octave.
        ([(24, 66), (24, 66), (24, 65), (24, 66)], "^F2F2 =F2^F2 |]"),
        ([(24, 66), (24, 78), (24, 65), (24, 77)], "^F2^f2 =F2=f2 |]"),
        ([(24, 66), (24, 77), (48, 0)], "^F2=f2 z4 |]"),
        # A note that is tied over a bar line has its accidental again.
        ([(48, 66), (72, 66), (72, 65)], "^F4 F4- | ^F2=F6 |]"),
        # Triplets of eighths, sixteenths and quarters, and one with a rest and a longer note.
        ([(8, 60), (8, 62), (8, 64), (24, 65), (48, 67)], "(3CDEF2 G4 |]"),
        ([(12, 60), (4, 62), (4, 64), (4, 65), (72, 67)], "C(3D/2E/2F/2G6 |]"),
        ([(16, 60), (16, 62), (16, 64), (48, 65)], "(3C2D2E2 F4 |]"),
        ([(16, 60), (8, 0), (24, 62), (48, 64)], "(3:2:2C2zD2 E4 |]"),
        # What no single note lasts is tied, at the strongest beat.
        ([(60, 60), (36, 62)], "C4- CD3 |]"),
        ([(12, 60), (60, 62), (24, 64)], "CD3- D2E2 |]"),
        ([(84, 60), (12, 62)], "C4- C3D |]"),
        # Rests begin at beats.
        ([(12, 60), (60, 0), (24, 62)], "Czz2 z2D2 |]"),
    ],
)
def test_bars_are_as_worked_out(lengths_and_pitches: list[tuple[int, int]], expected: str) -> None:
    assert music(tune(*in_a_row(*lengths_and_pitches))) == expected


def test_accidentals_follow_the_key() -> None:
    scale = [note(12 * i, 12, pitch) for i, pitch in enumerate((62, 64, 66, 67, 69, 71, 73, 74))]
    assert music(tune(*scale, key=Key(at_ticks=0, sharps=2))) == "DEFG ABcd |]"
    assert music(tune(*scale, key=Key(at_ticks=0, sharps=0))) == "DE^FG AB^cd |]"
    assert music(tune(note(0, 96, 70), key=Key(at_ticks=0, sharps=-7))) == "B8 |]"  # B flat
    assert music(tune(note(0, 96, 69), key=Key(at_ticks=0, sharps=-7))) == "__B8 |]"
    twice = tune(note(0, 48, 69), note(48, 48, 69), key=Key(at_ticks=0, sharps=-7))
    assert music(twice) == "__B4 __B4 |]"
    assert music(tune(note(0, 96, 71), key=Key(at_ticks=0, sharps=-7))) == "c8 |]"  # C flat 5
    assert music(tune(note(0, 96, 60), key=Key(at_ticks=0, sharps=7))) == "B,8 |]"  # B sharp 3


def test_a_line_has_four_bars_and_a_pickup_counts_as_none() -> None:
    quarters = [note(24 * i, 24, 60) for i in range(1 + 4 * 5)]
    assert music(tune(*quarters, meters=[(0, 1, 4), (24, 4, 4)])).splitlines() == [
        "C2 | C2C2 C2C2 | C2C2 C2C2 | C2C2 C2C2 | C2C2 C2C2 |",
        "C2C2 C2C2 |]",
    ]
    text = abc_notation.text_of(tune(*quarters, meters=[(0, 1, 4), (24, 4, 4)]), "a")
    assert "\nM:4/4\n" in text


def test_meters_keys_and_tempos_change_at_bar_lines() -> None:
    piece = replace(
        tune(note(0, 96, 60), note(96, 72, 66), meters=[(0, 4, 4), (96, 3, 4)]),
        keys=(Key(at_ticks=0, sharps=0), Key(at_ticks=96, sharps=1)),
        tempos=(Tempo(at_ticks=0, beats_per_minute=90), Tempo(at_ticks=96, beats_per_minute=60)),
    )
    assert music(piece) == "C8 | [M:3/4][K:G][Q:1/4=60]F6 |]"


def test_silence_is_a_bar_of_rest() -> None:
    assert music(Piece(ticks_per_beat=24)) == "z8 |]"


def test_notes_that_are_too_short_end_where_the_next_begins() -> None:
    """A grace note on the last third of a beat, and a note on its next 32nd."""
    assert music(tune(note(8, 1, 60), note(9, 15, 62))) == "(3:2:4zC/8D3/8-D3/2z2 z4 |]"


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (tune(note(0, 24, 60), note(0, 24, 64)), "in bar 1 several notes sound at once"),
        (tune(note(0, 99, 60), note(100, 24, 60), note(112, 24, 64)), "in bar 2 several notes"),
        (
            replace(piece_of(), tracks=(Track(notes=(note(0, 1),)),) * 2),
            "one voice, not of 2 instruments",
        ),
        (replace(piece_of(), tracks=(Track(is_drum=True, notes=(note(0, 1),)),)), "not of drums"),
    ],
)
def test_more_than_a_voice_is_refused(piece: Piece, message: str, tmp_path: Path) -> None:
    expected = rf"{message}.*write MusicXML \(.musicxml\) instead"
    with pytest.raises(ValueError, match=expected):
        formats.check_piece("abc", piece)
    with pytest.raises(ValueError, match=expected):
        formats.save(piece, tmp_path / "a.abc")
    assert not list(tmp_path.iterdir())


# ---- read back by another program ---------------------------------------------------------------


@st.composite
def tunes(draw: st.DrawFn) -> Piece:
    """Pieces of one voice on the score grid, with rests, ties, triplets, and often a pickup."""
    numerator, denominator = draw(
        st.sampled_from([(4, 4), (3, 4), (2, 4), (6, 8), (9, 8), (12, 8), (5, 8), (2, 2), (3, 16)])
    )
    meters = [(0, numerator, denominator)]
    if pickup := draw(st.integers(0, 2)):
        meters = [(0, pickup, denominator), (pickup * 4 * STEPS // denominator, *meters[0][1:])]
    binary = st.lists(st.integers(1, 48).map(lambda count: 3 * count), max_size=5)
    triplets = st.sampled_from(
        [[4, 4, 4], [8, 8, 8], [16, 8], [8, 16], [16, 16, 16], [4, 12, 8], [3, 5, 16], [9, 7, 8]]
    )
    notes: list[Note] = []
    at = 0
    for row in draw(st.lists(binary | triplets, min_size=1, max_size=8)):
        at += -at % STEPS  # Triplets begin at a quarter.
        for length in row:
            pitch = draw(st.integers(48, 90) | st.integers(60, 64) | st.just(0))
            if pitch:
                notes.append(note(at, length, pitch))
            at += length
    key = Key(at_ticks=0, sharps=draw(st.integers(-7, 7)), is_minor=draw(st.booleans()))
    return tune(*notes, meters=meters, key=key)


def sounding(score: Any) -> list[tuple[Fraction, Fraction, int]]:
    """The onset, the duration and the pitch of each note as music21 has them, tied ones joined."""
    found: list[tuple[Fraction, Fraction, int]] = []
    open_tie = False
    for item in score.flatten().notes:
        begin = Fraction(item.offset).limit_denominator(96)
        length = Fraction(item.quarterLength).limit_denominator(96)
        if open_tie:
            onset, before, pitch = found.pop()
            assert (onset + before, pitch) == (begin, item.pitch.midi)
            found.append((onset, before + length, pitch))
        else:
            found.append((begin, length, item.pitch.midi))
        open_tie = item.tie is not None and item.tie.type in {"start", "continue"}
    return found


@settings(max_examples=40)  # of a tenth of a second each
@given(tunes())
def test_music21_reads_the_same_notes(piece: Piece) -> None:
    converter = pytest.importorskip("music21.converter", exc_type=ImportError)
    score = converter.parse(abc_notation.text_of(piece, "a"), format="abc")
    assert sounding(score) == [
        (Fraction(n.onset_ticks, STEPS), Fraction(n.duration_ticks, STEPS), n.pitch)
        for track in piece.tracks
        for n in track.notes
    ]
