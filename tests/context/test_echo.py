"""What stood at the same place some bars ago: worked by hand, and equal to a plain search."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from generative.context.features import LONGEST_RUN
from generative.context.reader import reader_for
from generative.context.records import BARS_AGO, LONGEST_BAR_STEPS, PITCHES
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import type_and_index
from tests.tokenizers.music.test_tokenizer import OPENING, ids_of

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKENIZER = MusicTokenizer()
NAMES = tuple(
    f"{family}_{index}"
    for family in ("echo_onset", "echo_pitch", "echo_run")
    for index in range(len(BARS_AGO))
)
BAR = 96  # steps of 4/4


class Onset(NamedTuple):
    """A note of a track, at a step from the first bar line on."""

    step: int
    track: int
    pitch: int


def words_of(notes: Sequence[Onset], bars: int) -> list[str]:
    """The tokens of notes of one step each, in bars of 4/4."""
    words: list[str] = []
    track, seen = None, set()
    for bar in range(bars):
        words.append("bar")
        position = None
        if bar == 0:
            words += OPENING[1:]
            position = 0
        for note in sorted(n for n in notes if n.step // BAR == bar):
            if note.step % BAR != position:
                position = note.step % BAR
                words.append(f"position {position}")
            if note.track != track or note.track not in seen:
                words.append(f"track {note.track}")
            if note.track not in seen:
                words += ["program 0", "velocity 62"]
                seen.add(note.track)
            track = note.track
            words += [f"pitch {note.pitch}", "duration 1"]
    return words


def features(words: Sequence[str]) -> list[dict[str, int]]:
    """The values after each word, by name."""
    reader = reader_for(TOKENIZER, NAMES)
    assert reader is not None
    ids = np.array([TOKENIZER.start_id, *ids_of(*words)])[:, None]
    found = reader.read(ids, reader.start(1))[0][1:, 0] - reader.tables.offsets
    return [dict(zip(NAMES, row, strict=True)) for row in found.tolist()]


def test_a_repeated_bar_worked_by_hand() -> None:
    notes = [
        Onset(0, 0, 60),
        Onset(48, 0, 64),
        Onset(BAR, 0, 60),
        Onset(BAR + 48, 0, 65),
    ]
    words = words_of(notes, 2)
    rows = features(words)
    second = len(words) - 7  # the second bar token
    assert words[second] == "bar"
    now, none = PITCHES, LONGEST_BAR_STEPS
    expected = [  # onset, pitch and run after each word
        ("bar", 1, 1 + 60 + now, 0),
        ("position 0", 1, 1 + 60 + now, 0),
        ("pitch 60", 1, 1 + 60 + now, 0),
        ("duration 1", 1 + 48, 0, 1),
        ("position 48", 1 + 48, 1 + 64 + now, 1),
        ("pitch 65", 1 + 48, 1 + 64 + now, 1),
        ("duration 1", 1 + none, 0, 0),
    ]
    found = [
        (word, row["echo_onset_0"], row["echo_pitch_0"], row["echo_run_0"])
        for word, row in zip(words[second:], rows[second:], strict=True)
    ]
    assert found == expected
    assert all(row["echo_onset_1"] == row["echo_pitch_1"] == 0 for row in rows)


onsets = st.builds(
    Onset, st.integers(0, 12).map(lambda n: n * 8), st.integers(0, 2), st.integers(60, 63)
)


@st.composite
def pieces_with_repeats(draw: st.DrawFn) -> tuple[list[Onset], int]:
    """Notes in bars, many of which are those of an earlier bar."""
    patterns = draw(
        st.lists(st.sets(onsets.filter(lambda n: n.step < BAR), max_size=6), min_size=1, max_size=3)
    )
    order = draw(st.lists(st.integers(0, len(patterns) - 1), min_size=1, max_size=10))
    notes = [
        n._replace(step=n.step + BAR * bar) for bar, i in enumerate(order) for n in patterns[i]
    ]
    return sorted(notes), len(order)


@settings(max_examples=60, deadline=None)
@given(pieces_with_repeats())
def test_features_equal_a_search_through_the_notes(piece: tuple[list[Onset], int]) -> None:
    notes, bars = piece
    words = words_of(notes, bars)
    rows = features(words)
    written: list[Onset] = []
    runs = [0] * len(BARS_AGO)
    bar, clock, track = -1, 0, -1
    for word, token, row in zip(words, ids_of(*words), rows, strict=True):
        kind, value = type_and_index(token)
        if kind == "bar":
            bar, clock = bar + 1, (bar + 1) * BAR
        elif kind == "position":
            clock = bar * BAR + value
        elif kind == "track":
            track = value
        elif kind == "duration":
            note = notes[len(written)]
            for index, ago in enumerate(BARS_AGO):
                earlier = note._replace(step=note.step - ago * BAR)
                # The note that its track played next so many bars ago has to be this one.
                nexts = after(written, earlier.step // BAR, note, ago)
                runs[index] = runs[index] + 1 if nexts[:1] == [earlier] else 0
            written.append(note)
        for index, ago in enumerate(BARS_AGO):
            assert row[f"echo_run_{index}"] == min(runs[index], LONGEST_RUN), word
            if bar < ago:
                assert row[f"echo_onset_{index}"] == 0
                continue
            least = clock - ago * BAR + any(n.step == clock for n in written)
            later = [n.step for n in written if n.step // BAR == bar - ago and n.step >= least]
            expected = later[0] % BAR if later else LONGEST_BAR_STEPS
            assert row[f"echo_onset_{index}"] == 1 + expected, word
            if kind in {"track", "pitch"}:  # The track of the next note is known.
                found = after(written, bar - ago, Onset(clock, track, -1), ago)
                pitch = 0
                if found:
                    pitch = 1 + found[0].pitch
                    pitch += PITCHES if found[0].step + ago * BAR == clock else 0
                assert row[f"echo_pitch_{index}"] == pitch, word


def after(written: Sequence[Onset], bar: int, place: Onset, ago: int) -> list[Onset]:
    """The notes of a bar, by the track of `place`, that it could play there or later."""
    chord = [n.pitch for n in written if n.step == place.step and n.track == place.track]
    here = place.step - ago * BAR
    return [
        n
        for n in written
        if n.step // BAR == bar
        and n.track == place.track
        and (n.step > here or (n.step == here and n.pitch > max(chord, default=-1)))
    ]
