"""Pitches have the names that musicians give them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.music.piece import Key, Note, Piece, Track
from generative.music.spelling import alteration_in, keys_of, spelled
from generative.music.theory import SEMITONES
from tests.pieces import note, piece_of

SIGNS = {-2: "bb", -1: "b", 0: "", 1: "#", 2: "x"}


def names(sharps: int, *, is_minor: bool = False) -> str:
    key = Key(at_ticks=0, sharps=sharps, is_minor=is_minor)
    spellings = (spelled(pitch, key) for pitch in range(60, 72))
    return " ".join(f"{s.letter}{SIGNS[s.alteration]}{s.octave}" for s in spellings)


def test_the_twelve_pitches_of_an_octave() -> None:
    assert names(0) == "C4 C#4 D4 Eb4 E4 F4 F#4 G4 G#4 A4 Bb4 B4"
    assert names(0, is_minor=True) == "C4 C#4 D4 D#4 E4 F4 F#4 G4 G#4 A4 Bb4 B4"
    assert names(-3) == "C4 Db4 D4 Eb4 E4 F4 Gb4 G4 Ab4 A4 Bb4 B4"
    assert names(4, is_minor=True) == "B#3 C#4 D4 D#4 E4 E#4 F#4 Fx4 G#4 A4 A#4 B4"
    assert names(-6) == "C4 Db4 D4 Eb4 Fb4 F4 Gb4 G4 Ab4 Bbb4 Bb4 Cb5"


@given(st.integers(0, 127), st.integers(-7, 7), st.booleans())
def test_a_name_is_its_pitch(pitch: int, sharps: int, is_minor: bool) -> None:
    letter, alteration, octave = spelled(pitch, Key(at_ticks=0, sharps=sharps, is_minor=is_minor))
    assert 12 * (octave + 1) + SEMITONES[letter] + alteration == pitch
    assert -2 <= alteration <= 2


@given(st.integers(-7, 7), st.booleans())
def test_the_scale_of_a_key_has_the_alterations_of_its_signature(
    sharps: int, is_minor: bool
) -> None:
    key = Key(at_ticks=0, sharps=sharps, is_minor=is_minor)
    scale = [60 + (7 * sharps + step) % 12 for step in (0, 2, 4, 5, 7, 9, 11)]
    for pitch in scale:
        letter, alteration, _ = spelled(pitch, key)
        assert alteration == alteration_in(letter, sharps)
    assert sum(alteration_in(letter, sharps) for letter in SEMITONES) == sharps


def scale_on(tonic: int, steps: tuple[int, ...]) -> list[Note]:
    """A scale up to the octave and back to the fifth and the tonic."""
    pitches = [*steps, 12, 7, 0, 7, 0]
    return [note(24 * i, 24, tonic + step) for i, step in enumerate(pitches)]


@pytest.mark.parametrize("tonic", range(60, 72))
def test_a_piece_without_keys_has_the_one_that_is_heard(tonic: int) -> None:
    (major,) = keys_of(piece_of(*scale_on(tonic, (0, 2, 4, 5, 7, 9, 11))))
    assert (7 * major.sharps - tonic) % 12 == 0
    assert -5 <= major.sharps <= 6
    assert not major.is_minor
    (minor,) = keys_of(piece_of(*scale_on(tonic, (0, 2, 3, 5, 7, 8, 11))))
    assert (7 * (minor.sharps + 3) - tonic) % 12 == 0
    assert minor.is_minor


def test_keys_that_are_stated_stay() -> None:
    stated = (Key(at_ticks=0, sharps=-7), Key(at_ticks=96, sharps=2, is_minor=True))
    piece = replace(piece_of(note(0, 192)), keys=stated)
    assert keys_of(piece) == stated
    assert keys_of(replace(piece, keys=stated[1:])) == (Key(at_ticks=0, sharps=0), stated[1])


def test_what_has_no_key_is_in_c() -> None:
    drums = Piece(ticks_per_beat=24, tracks=(Track(is_drum=True, notes=(note(0, 24),)),))
    assert keys_of(drums) == keys_of(Piece(ticks_per_beat=24)) == (Key(at_ticks=0, sharps=0),)
