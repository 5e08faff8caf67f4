"""Pieces for tests: drawn at random by hypothesis, or found among the shared data."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from generative.music.piece import PITCH_BEND, Control, Key, Meter, Note, Piece, Tempo, Track

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "midi"


def real_files(folder: str, pattern: str = "**/*.mid", at_most: int = 8) -> list[object]:
    """Evenly spaced files of a folder as test parameters; one that skips where there are none."""
    files = sorted((DATA / folder).glob(pattern))
    if not files:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no data in {DATA / folder}"))]
    return [pytest.param(file, id=file.name) for file in files[:: -(-len(files) // at_most)]]


def note(onset: int, duration: int, pitch: int = 60, velocity: int = 64) -> Note:
    return Note(onset_ticks=onset, duration_ticks=duration, pitch=pitch, velocity=velocity)


def piece_of(*notes: Note, ticks_per_beat: int = 24) -> Piece:
    return Piece(ticks_per_beat=ticks_per_beat, tracks=(Track(notes=notes),)).normalised()


notes = st.builds(
    note,
    st.integers(0, 2000),
    st.integers(1, 9000) | st.integers(1, 60),
    st.integers(60, 63) | st.integers(0, 127),  # a narrow range, so that notes meet
    st.integers(1, 127),
)
controls = st.builds(
    Control,
    at_ticks=st.integers(0, 3000),
    number=st.sampled_from([1, 7, 11, 64, 64, 67]),
    value=st.integers(0, 127),
) | st.builds(
    Control,
    at_ticks=st.integers(0, 3000),
    number=st.just(PITCH_BEND),
    value=st.integers(0, 0x3FFF),
)
tracks = st.builds(
    Track,
    program=st.integers(0, 127),
    is_drum=st.booleans(),
    notes=st.lists(notes, max_size=12).map(tuple),
    controls=st.lists(controls, max_size=4).map(tuple),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
tempos = st.builds(
    Tempo,
    at_ticks=st.integers(0, 3000),
    beats_per_minute=st.integers(4, 1000).map(float) | st.floats(0.5, 5000),
)
meters = st.builds(
    Meter,
    at_ticks=st.integers(0, 3000),
    numerator=st.integers(1, 12) | st.integers(1, 255),
    denominator=st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]),
)
keys = st.builds(
    Key, at_ticks=st.integers(0, 3000), sharps=st.integers(-7, 7), is_minor=st.booleans()
)
pieces = st.builds(
    Piece,
    ticks_per_beat=st.sampled_from([1, 7, 24, 96, 480, 32767]),
    tracks=st.lists(tracks, min_size=1, max_size=5)
    .filter(lambda several: any(track.notes for track in several))
    .map(tuple),
    tempos=st.lists(tempos, max_size=5).map(tuple),
    meters=st.lists(meters, max_size=5).map(tuple),
    keys=st.lists(keys, max_size=3).map(tuple),
)
