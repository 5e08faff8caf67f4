"""The names of pitches in a key, as notation writes them: a letter, an alteration and an octave.

A pitch is spelled by its place on the line of fifths ... Bb F C G D A E B F# ..., where C is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from generative.music.keys import TONICS, detect_key
from generative.music.piece import Key, changes

if TYPE_CHECKING:
    from generative.music.piece import Piece

LETTERS = "FCGDAEB"  # in fifths; F is at -1 on the line
FIFTH_SEMITONES = 7
RELATIVE_MINOR = 3  # A minor key has the signature of the major key 3 fifths below its tonic.
# The least place on the line of the 12 pitch classes of a major and of a minor key with no sharps.
# In C major these are Eb to G#, in A minor Bb to D#, which are its harmonic chromatic scale.
FIRST_IN_MAJOR, FIRST_IN_MINOR = -3, -2
NO_KEY = Key(at_ticks=0, sharps=0)


class Spelling(NamedTuple):
    """The name of a pitch.

    Attributes:
        letter: A to G.
        alteration: -2 (double flat) to 2 (double sharp).
        octave: The octave of the letter in scientific notation, 4 from middle C; B#3 is middle C.
    """

    letter: str
    alteration: int
    octave: int


def spelled(pitch: int, key: Key) -> Spelling:
    """The name of a MIDI pitch in a key.

    Example:
        spelled(68, Key(at_ticks=0, sharps=0, is_minor=True))    # G#4
    """
    first = key.sharps + (FIRST_IN_MINOR if key.is_minor else FIRST_IN_MAJOR)
    # Seven fifths are a semitone (and octaves), so 7 is its own inverse modulo 12.
    place = first + (FIFTH_SEMITONES * pitch - first) % 12
    alteration, index = divmod(place + 1, len(LETTERS))
    return Spelling(LETTERS[index], alteration, (pitch - alteration) // 12 - 1)


def alteration_in(letter: str, sharps: int) -> int:
    """The alteration of a letter by a key signature; -1 for E if `sharps` is -3."""
    return (sharps - LETTERS.index(letter) + 6) // len(LETTERS)


def keys_of(piece: Piece) -> tuple[Key, ...]:
    """The keys that notation of a piece has, the first of them at tick 0.

    They are those that the piece states. If it states none, it is the one that `detect_key` finds,
    and C major for a piece in which nothing has a pitch.
    """
    if piece.keys:
        return changes(piece.keys, NO_KEY)
    try:
        tonic, mode = detect_key(piece).split()
    except ValueError:
        return (NO_KEY,)
    is_minor = mode == "minor"
    fifths = FIFTH_SEMITONES * TONICS.index(tonic) - RELATIVE_MINOR * is_minor
    return (Key(at_ticks=0, sharps=(fifths + 5) % 12 - 5, is_minor=is_minor),)
