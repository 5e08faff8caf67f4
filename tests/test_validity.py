"""A few of the samples that `python -m tests.validity` draws by the thousand."""

from __future__ import annotations

from dataclasses import replace

import pytest

import generative
from generative.api.music_model import MusicModel
from tests import validity


def test_samples_at_any_temperature_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "BATCH", 4)
    assert validity.check_model("chorales", count=12, bars=2) > 0


def test_what_is_not_valid_is_found() -> None:
    model = generative.load("chorales")
    assert isinstance(model, MusicModel)
    (good,) = model.generate(bars=2, seed=1).sequences
    validity.check(model, good, 2)
    with pytest.raises(AssertionError, match="may not come"):
        validity.check(model, replace(good, tokens=good.tokens[1:]), 2)
    with pytest.raises(AssertionError):
        validity.check(model, replace(good, piece=good.piece.clipped(90)), 2)
    unsorted = tuple(replace(track, notes=track.notes[::-1]) for track in good.piece.tracks)
    with pytest.raises(AssertionError, match="another piece"):
        validity.check(model, replace(good, piece=replace(good.piece, tracks=unsorted)), 2)
