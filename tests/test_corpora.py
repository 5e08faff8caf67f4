"""The project's own corpora: well formed, and made again byte for byte."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest

from generative.music import midi
from tests.conftest import TUNES

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = TUNES.parent / "tunes.py"


def test_tunes_are_what_their_notation_says(tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    assert len(script["TUNES"]) == len(list(TUNES.glob("*.mid"))) == 12
    for tune in script["TUNES"]:
        written = TUNES / f"{tune.name}.mid"
        assert midi.to_bytes(script["compose"](tune)) == written.read_bytes()


def test_notation_mistakes_are_named() -> None:
    script = runpy.run_path(str(SCRIPT))
    assert script["parse_bar"]("C2^f,z") == [(60, 2), (66, 1), (None, 1)]
    with pytest.raises(ValueError, match="cannot read"):
        script["parse_bar"]("C2 H2")
    tune = script["Tune"](name="x", meter=(2, 4), beats_per_minute=90, parts=(("C2D", "C"),))
    with pytest.raises(ValueError, match="does not have 4 eighths"):
        script["compose"](tune)


def test_the_text_is_text() -> None:
    text = (TUNES.parent / "harbour.txt").read_bytes().decode("utf-8")
    assert len(text) > 10_000
    assert "\r" not in text
