"""Pieces varied while a model learns: moved as told, within the corpus's range, and no further."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.music.piece import Piece, Tempo, Track
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.training.augment import RANGE_FIELDS, Augmentable, Augmentation
from generative.training.config import TrainingConfig
from tests.pieces import note, pieces

TOKENIZER = MusicTokenizer()
EVERYTHING = np.ones(TOKENIZER.vocab_size, dtype=np.int64)
FAR = TrainingConfig(transpose=5, velocity_jitter=2, tempo_jitter=6)
BAND = Piece(
    ticks_per_beat=24,
    tracks=(
        Track(notes=(note(0, 4, 60, velocity=66), note(0, 4, 72, velocity=82))),
        Track(is_drum=True, notes=(note(0, 4, 38, velocity=98),)),
    ),
    tempos=(Tempo(at_ticks=0, beats_per_minute=100.0),),
).normalised()


def variation(config: TrainingConfig = FAR, counts: np.ndarray = EVERYTHING) -> Augmentation:
    return Augmentation.of(TOKENIZER, counts, config)


class Highest(np.random.Generator):
    """Draws the largest number every time."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, low: int, high: int, **_: object) -> int:  # type: ignore[override]
        assert low <= 0 <= high
        return high


def test_a_piece_moves_on_three_axes_and_its_drums_on_two() -> None:
    varied = variation()(TOKENIZER.encode_array(BAND), Highest())
    louder_and_higher = (
        Track(notes=(note(0, 4, 65, velocity=74), note(0, 4, 77, velocity=90))),
        Track(is_drum=True, notes=(note(0, 4, 38, velocity=106),)),
    )
    faster = (Tempo(at_ticks=0, beats_per_minute=106.0),)
    expected = replace(BAND, tracks=louder_and_higher, tempos=faster)
    assert TOKENIZER.decode(varied.tolist()) == TOKENIZER.normal_form(expected)


def test_tempo_and_velocity_stay_within_what_the_corpus_has() -> None:
    ids = TOKENIZER.encode_array(BAND)
    counts = np.bincount(ids, minlength=TOKENIZER.vocab_size)
    velocities = TOKENIZER.augmentation_axes["velocity"]
    counts[velocities.start + (102 - 2) // 4] = 1  # one level above the loudest of the piece
    varied = variation(counts=counts)(ids, Highest())
    loudest = varied[(varied >= velocities.start) & (varied < velocities.stop)].max()
    assert TOKENIZER.describe(int(loudest)) == "velocity 102"
    assert "tempo 100" in map(TOKENIZER.describe, varied.tolist())  # the only one it has


@given(pieces, st.integers(0, 9))
def test_a_varied_piece_is_a_piece_of_reachable_ids(piece: Piece, seed: int) -> None:
    pairs = pairwise(sorted(piece.keys, key=lambda key: key.at_ticks))
    respells = any(abs(one.sharps - other.sharps) == 12 for one, other in pairs)
    ids = TOKENIZER.encode_array(piece)
    counts = np.bincount(ids, minlength=TOKENIZER.vocab_size)
    vary = variation(counts=counts)
    varied = vary(ids, np.random.default_rng(seed))
    assert len(varied) == len(ids)
    if not respells:  # Such keys may become one, see `transpose`.
        assert (
            TOKENIZER.decode(varied.tolist()).note_count
            == TOKENIZER.decode(ids.tolist()).note_count
        )
    assert set(varied.tolist()) <= set(vary.reachable(np.flatnonzero(counts)).tolist())


def test_ids_are_moved_both_ways_though_they_are_stored_without_a_sign() -> None:
    vary = variation(TrainingConfig(transpose=3))
    ids = TOKENIZER.encode_array(BAND).astype(np.uint16)
    seen = {
        TOKENIZER.pitch_range(vary(ids, np.random.default_rng(seed)).astype(np.int32))
        for seed in range(60)
    }
    assert seen == {(60 + shift, 72 + shift) for shift in range(-3, 4)}


def test_without_a_reach_there_is_no_axis() -> None:
    assert variation(TrainingConfig()).axes == ()
    ids = TOKENIZER.encode_array(BAND)
    assert variation(TrainingConfig())(ids, Highest()).tolist() == ids.tolist()


def test_music_has_the_axes_that_training_knows() -> None:
    assert isinstance(TOKENIZER, Augmentable)
    assert set(TOKENIZER.augmentation_axes) == set(RANGE_FIELDS)
    words = [TOKENIZER.describe(ids[0]) for ids in TOKENIZER.augmentation_axes.values()]
    assert words == ["pitch 0", "velocity 2", "tempo 16"]
    with pytest.raises(ValueError, match="velocity_jitter must not be negative"):
        TrainingConfig(velocity_jitter=-1)
