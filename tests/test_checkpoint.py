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
from generative.engine.matching import MatchStepper
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


def old_folder(folder: Path) -> checkpoint.Checkpoint:
    """Make a folder of format 1, as version 0.1 wrote it, of a model with a match model.

    Returns the model as the present version holds it.
    """
    tokenizer = ByteTokenizer()
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, embedding_size=4, hidden_size=4, match_length=3
    )
    rng = np.random.default_rng(0)
    weights = {n: rng.normal(size=s).astype(np.float32) for n, s in config.shapes().items()}
    checkpoint.save_description(folder, config, tokenizer, {"corpus": {"documents": 1}})
    values = files.read_json(folder / "config.json")
    values["format"] = 1
    values["model"] = {
        {"match_length": "recall_length"}.get(name, name): value
        for name, value in values["model"].items()
    }
    del values[files.CHECKSUM_KEY]
    files.write_sealed_json(folder / "config.json", values)
    renamed = {{"match_biases": "recall_boosts"}.get(n, n): array for n, array in weights.items()}
    checkpoint.save_weights(folder, renamed)
    return checkpoint.Checkpoint(
        name=str(folder), path=folder, config=config, tokenizer=tokenizer, weights=weights
    )


def test_a_folder_of_format_1_loads_as_the_same_model(tmp_path: Path) -> None:
    written = old_folder(tmp_path / "old")
    found = checkpoint.load(tmp_path / "old")
    assert found.config == written.config
    assert found.match_biases is not None
    assert found.weights.keys() == written.weights.keys()
    for name, array in written.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    stepper = Runtime(found).stepper_for(10)
    assert isinstance(stepper, MatchStepper)
    statistics = {n: np.abs(a) for n, a in written.weights.items() if n != "match_biases"}
    checkpoint.save_statistics(tmp_path / "old", statistics)
    assert found.statistics() is not None


def test_names_of_format_2_are_refused_in_format_1(tmp_path: Path) -> None:
    old_folder(tmp_path / "old")
    values = files.read_json(tmp_path / "old" / "config.json")
    del values[files.CHECKSUM_KEY]
    values["model"]["match_length"] = 5
    files.write_sealed_json(tmp_path / "old" / "config.json", values)
    with pytest.raises(CheckpointError, match="names of a later format: match_length"):
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
