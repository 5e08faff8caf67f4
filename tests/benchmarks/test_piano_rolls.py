"""The benchmark of piano rolls: frames written exactly, scored as by hand."""

from __future__ import annotations

import math
import runpy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from tests.conftest import TUNES, data

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
