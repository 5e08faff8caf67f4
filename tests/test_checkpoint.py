"""A model folder is whole or refused by name; nothing damaged is loaded."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from generative import checkpoint
from generative.checkpoint import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_trained_folder_loads(trained: Path) -> None:
    found = checkpoint.load(trained)
    assert found.kind == "text"
    assert found.tokenizer.vocab_size == found.config.vocab_size
    assert found.details["corpus"]["documents"] == 1


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model.safetensors", None, r"model\.safetensors: no such file"),
        ("model.safetensors", b"junk", r"model\.safetensors: damaged"),
        ("tokenizer.json", b"{", r"tokenizer\.json: damaged"),
        ("tokenizer.json", b'{"type": "word"}', "tokenizer.json: damaged"),
        ("tokenizer.json", b'{"type": "music"}', r"files of two models|tokenizer\.json: "),
        ("config.json", b"[]", "not a JSON object"),
        ("config.json", b'{"format": 99}', "format 99, this version reads 1 and 2"),
        ("config.json", b'{"format": 1, "model": {}}', "damaged or edited"),
    ],
)
def test_a_damaged_folder_is_refused(
    trained: Path, tmp_path: Path, file: str, change: bytes | None, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    (folder / file).unlink() if change is None else (folder / file).write_bytes(change)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_names_are_looked_up_and_suggested(tmp_path: Path) -> None:
    shipped = checkpoint.shipped_models()
    assert set(shipped) >= {"shakespeare", "chorales", "band"}
    assert checkpoint.find("shakespeare") == shipped["shakespeare"]
    with pytest.raises(CheckpointError, match="did you mean shakespeare"):
        checkpoint.find("shakespear")
    with pytest.raises(CheckpointError, match=r"a folder without config\.json"):
        checkpoint.find(tmp_path)


@pytest.mark.parametrize("name", checkpoint.shipped_models())
def test_models_that_ship_are_small_and_carry_their_card(name: str) -> None:
    folder = checkpoint.find(name)
    assert (folder / checkpoint.WEIGHTS_FILE).stat().st_size < 9e6
    card = (folder / checkpoint.CARD_FILE).read_text(encoding="utf-8")
    for heading in ("## Corpus", "## Recipe", "## Scores", "- licence: "):
        assert heading in card
    config = json.loads((folder / checkpoint.CONFIG_FILE).read_text(encoding="utf-8"))
    assert config["scores"]["held_out"]["tokens"] > 10_000
