"""The benchmark of piano rolls: frames written exactly, scored as by hand."""

from __future__ import annotations

import math
import runpy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from generative.context.reader import reader_for
from generative.context.records import LEVEL_BOUNDS
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from tests.conftest import TUNES, data

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest.importorskip("scipy")
BENCHMARK: dict[str, Any] = runpy.run_path(
    str(TUNES.parents[1] / "benchmarks" / "pianoroll.py"), run_name="benchmark"
)
TOKENIZER = BENCHMARK["TOKENIZER"]
END = TOKENIZER.end_of_frame
CHORD = np.zeros((3, 88), dtype=np.uint8)  # two keys, none, one of them again
CHORD[0, [43, 39]] = CHORD[2, 39] = 1


def test_a_frame_is_its_rising_keys_and_an_end() -> None:
    assert TOKENIZER.encode_array(CHORD).tolist() == [39, 43, END, END, 39, END]
    up = TOKENIZER.transpose(TOKENIZER.encode_array(CHORD), 2)
    assert up.tolist() == [41, 45, END, END, 41, END]
    with pytest.raises(ValueError, match="cannot move by -42"):
        TOKENIZER.transpose(up, -42)


def values(ids: Sequence[int], *names: str) -> list[list[int]]:
    """The values of context features after the start token and after each further token."""
    reader = reader_for(TOKENIZER, names)
    assert reader is not None
    tokens = np.array([TOKENIZER.start_id, *ids])[:, None]
    features, _ = reader.read(tokens, reader.start(1))
    found: list[list[int]] = (features[:, 0] - reader.tables.offsets).tolist()
    return found


# Two chords of pitches 60 and 64, then 60 and 65, then a pitch alone.
FRAMES: list[tuple[int, list[int]]] = [
    (TOKENIZER.start_id, [0, 0, 0, 0, 0, 0]),
    (39, [1 + 60 + 128, 0, 2, 0, 0, 1]),
    (43, [1 + 60 + 128, 1 + 64 + 128, 3, 0, 0, 1]),
    (END, [1 + 60, 1 + 64, 1, 1 + 60, 0, 1]),
    (39, [1 + 60 + 128, 1 + 64, 2, 1 + 64, 0, 1]),
    (44, [1 + 60 + 128, 1 + 65 + 128, 3, 0, 0, 1]),
    (END, [1 + 60, 1 + 65, 1, 1 + 60, 13, 1]),
    (41, [1 + 62 + 128, 1 + 65, 2, 1 + 65, 14, 1]),
    (END, [1 + 62, 0, 1, 1 + 62, 15, 2]),
]


def test_the_pitches_of_a_frame_are_voices() -> None:
    names = "voice_0", "voice_1", "next_voice", "next_voice_pitch", "next_voice_interval"
    found = values([token for token, _ in FRAMES[1:]], *names, "class_age_0")
    assert found == [expected for _, expected in FRAMES]


def test_a_repeated_passage_is_foretold() -> None:
    passage = [39, 43, END, 39, 44, END, 41, 43, 44, END]
    found = values([*passage, *passage], "match_value", "match_length")
    assert found[:18] == [[0, 0]] * 18  # A match of seven tokens is not told.
    end, level = 21 + END, LEVEL_BOUNDS.index(8) + 1
    assert found[18:] == [[1 + 65, level], [1 + end, level], [1 + 60, level]]


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(88)), elements=st.integers(0, 1)))
def test_frames_come_back(roll: np.ndarray) -> None:
    np.testing.assert_array_equal(TOKENIZER.decode(TOKENIZER.encode_array(roll)), roll)


def test_a_model_that_knows_nothing_costs_the_same_for_every_token_and_key() -> None:
    model = LanguageModel(ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=4)).eval()
    with torch.no_grad():
        model.output.weight.zero_()
    expected = 2 * math.log(TOKENIZER.vocab_size)  # six tokens in three frames
    assert BENCHMARK["frame_nats"](model, [CHORD]) == pytest.approx(expected)
    assert BENCHMARK["mixture_nats"](model, [CHORD]) == pytest.approx(expected)


def test_the_mixture_is_the_mean_of_twelve_probabilities() -> None:
    model = LanguageModel(ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=4)).eval()
    ids = TOKENIZER.encode_array(CHORD)
    probabilities = [
        math.exp(-3 * BENCHMARK["frame_nats"](model, [TOKENIZER.decode(moved)]))
        for moved in (TOKENIZER.transpose(ids, shift) for shift in BENCHMARK["SHIFTS"])
    ]
    mean = sum(probabilities) / 12
    assert BENCHMARK["mixture_nats"](model, [CHORD]) == pytest.approx(-math.log(mean) / 3)


def test_a_key_that_sounds_on_is_one_note() -> None:
    roll = np.zeros((4, 88), dtype=np.uint8)
    roll[1:, 39] = roll[:2, 43] = 1
    (track,) = BENCHMARK["piece_of"](roll, 12).tracks
    assert [(n.onset_ticks, n.duration_ticks, n.pitch) for n in track.notes] == [
        (0, 24, 64),
        (12, 36, 60),
    ]


def test_the_published_splits_are_whole() -> None:
    rolls = BENCHMARK["read"](data("midi/pianoroll/JSB_Chorales.mat"))
    assert {name: len(split) for name, split in rolls.items()} == {
        "train": 229,
        "held_out": 76,
        "test": 77,
    }
    assert sum(map(len, rolls["test"])) == 4725
