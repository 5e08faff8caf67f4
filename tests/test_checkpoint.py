"""A model folder is whole or refused by name; nothing damaged is loaded."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

import generative
from generative import checkpoint, files
from generative.api.runtime import Runtime
from generative.checkpoint import CheckpointError
from generative.model.config import ModelConfig
from generative.tokenizers.byte import ByteTokenizer

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


def old_folder(
    folder: Path, version: int = 1, length: int = 3, biases: files.Arrays | None = None
) -> checkpoint.Checkpoint:
    """Make a folder of format 1 or 2, as the versions with a match model wrote it.

    Args:
        folder: to make.
        version: the number of the format.
        length: the value of the match model's setting.
        biases: stored beside the weights.

    Returns:
        The model as the present version holds it.
    """
    tokenizer = ByteTokenizer()
    config = ModelConfig(vocab_size=tokenizer.vocab_size, embedding_size=4, hidden_size=4)
    rng = np.random.default_rng(0)
    weights = {n: rng.normal(size=s).astype(np.float32) for n, s in config.shapes().items()}
    checkpoint.save_description(folder, config, tokenizer, {"corpus": {"documents": 1}})
    values = files.read_json(folder / "config.json")
    values["format"] = version
    values["model"]["recall_length" if version == 1 else "match_length"] = length
    del values[files.CHECKSUM_KEY]
    files.write_sealed_json(folder / "config.json", values)
    checkpoint.save_weights(folder, {**weights, **(biases or {})}, {"temperature": "1.1"})
    return checkpoint.Checkpoint(
        name=str(folder), path=folder, config=config, tokenizer=tokenizer, weights=weights
    )


@pytest.mark.parametrize(
    ("version", "length", "biases"),
    [
        (1, 3, {"recall_boosts": np.ones(30, "f4")}),
        (2, 3, {"match_biases": np.ones(30, "f4")}),
        (1, 0, {}),
        (2, 0, {}),
    ],
)
def test_a_match_model_of_an_earlier_version_is_dropped(
    tmp_path: Path, version: int, length: int, biases: files.Arrays
) -> None:
    written = old_folder(tmp_path / "old", version, length, biases)
    found = checkpoint.load(tmp_path / "old")
    assert found.config == written.config
    assert found.weights.keys() == written.weights.keys()
    for name, array in written.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    assert checkpoint.load_weights(tmp_path / "old")[1] == {"temperature": "1.1"}
    found.build()
    assert Runtime(found).stepper_for(10).vocab_size == found.config.vocab_size
    checkpoint.save_statistics(tmp_path / "old", {n: np.abs(a) for n, a in written.weights.items()})
    assert found.statistics() is not None


@pytest.mark.parametrize(
    ("length", "biases", "message"),
    [
        (3, {}, "arrays that are missing: match_biases"),
        (0, {"match_biases": np.ones(30, "f4")}, "arrays that are not known: match_biases"),
        (3, {"match_biases": np.ones(31, "f4")}, r"shape \(31,\), not \(30,\)"),
        (3, {"match_biases": np.full(30, np.nan, "f4")}, "not finite in match_biases"),
        (3, {"recall_boosts": np.ones(30, "f4")}, "arrays that are missing: match_biases"),
    ],
)
def test_what_is_dropped_is_verified_before(
    tmp_path: Path, length: int, biases: files.Arrays, message: str
) -> None:
    old_folder(tmp_path / "old", 2, length, biases)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path / "old")


def test_names_of_format_2_are_refused_in_format_1(tmp_path: Path) -> None:
    old_folder(tmp_path / "old")
    values = files.read_json(tmp_path / "old" / "config.json")
    del values[files.CHECKSUM_KEY]
    values["model"]["match_length"] = 5
    files.write_sealed_json(tmp_path / "old" / "config.json", values)
    with pytest.raises(CheckpointError, match="unknown model settings: match_length"):
        checkpoint.load(tmp_path / "old")


def test_a_run_of_format_1_is_not_resumed(tmp_path: Path, rhyme: Path) -> None:
    old_folder(tmp_path / "old")
    with pytest.raises(
        CheckpointError, match="an earlier version of generative began the run"
    ) as e:
        generative.train(rhyme, tmp_path / "old", steps=1, resume=True)
    assert "\n" not in str(e.value)


def test_names_are_looked_up_and_suggested(tmp_path: Path) -> None:
    shipped = checkpoint.shipped_models()
    assert set(shipped) >= {"shakespeare", "chorales", "folk", "lieder"}
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
