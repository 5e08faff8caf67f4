"""Reads samples back from ABC by music21, and counts those with the notes of the piece.

Needs music21: pip install '.[notation]'.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from music21 import converter

import generative
from generative.music.abc_notation import text_of
from generative.music.bars import beat_parts, written_span

if TYPE_CHECKING:
    from generative.api.music_model import MusicModel
    from generative.music.piece import Piece

FINEST = 96  # parts of a quarter note

Sounding = list[tuple[Fraction, Fraction, int]]


def written(piece: Piece) -> Sounding:
    """The begin, the end and the pitch of each note of the first track, as they are written."""
    spans = [
        (*written_span(note, piece.ticks_per_beat, beat_parts(piece)), note.pitch)
        for note in piece.tracks[0].notes
    ]
    return sorted(spans)


def read(text: str) -> Sounding:
    """The same, of notes that music21 reads from ABC; tied ones are joined."""
    score: Any = converter.parseData(text, format="abc")
    found: Sounding = []
    for item in score.flatten().stripTies().notes:
        begin = Fraction(item.offset).limit_denominator(FINEST)
        length = Fraction(item.quarterLength).limit_denominator(FINEST)
        found.append((begin, begin + length, item.pitch.midi))
    return sorted(found)


def main() -> None:
    """Sample, write, read back and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", default="folk")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = cast("MusicModel", generative.load(options.model))
    made = model.generate(
        bars=16, temperature=0.8, seed=options.seed, num_return_sequences=options.count
    )
    equal = refused = 0
    for sequence in made.sequences:
        try:
            text = text_of(sequence.piece, "sample")
        except ValueError as error:
            print(error)
            refused += 1
            continue
        equal += read(text) == written(sequence.piece)
    print(f"{equal} of {options.count} samples read back equal; {refused} have several voices")


if __name__ == "__main__":
    main()
