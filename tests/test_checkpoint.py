"""A model folder is whole or refused by name; nothing damaged is loaded."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from generative import checkpoint
from generative.checkpoint import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path


def test_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    arrays: checkpoint.Arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([1, 2], dtype=np.uint8),
        "half": np.array([0.5], dtype=np.float16),
    }
    checkpoint.write_arrays(tmp_path / "x.safetensors", arrays, {"note": "né"})
    again, notes = checkpoint.read_arrays(tmp_path / "x.safetensors")
    assert notes == {"note": "né"}
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.write_arrays(path, {"a": np.arange(20, dtype=np.float32)}, {"n": "1"})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), 100, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.read_arrays(path)
    for length in rng.choice(len(whole), 30, replace=False).tolist():
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.read_arrays(path)


def test_a_file_is_replaced_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with pytest.raises(TypeError):
        checkpoint.write_bytes(path, "text, not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    checkpoint.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        checkpoint.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


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
        ("config.json", b'{"format": 99}', "format 99, this version reads 1"),
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
