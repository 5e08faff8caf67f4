"""Runs: what they leave in a folder, and that the same command gives the same files."""

from __future__ import annotations

import csv
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch

import generative
from generative import checkpoint
from generative.api.training_options import ALIASES, TrainOptions, TrainSettings
from generative.checkpoint import CheckpointError
from generative.cli.main import cli
from generative.machine.threads import Workers
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.scoring.loss import cross_entropy
from generative.training.config import UNITS, Budget, TrainingConfig
from generative.training.processes import Processes
from generative.training.reports import Metrics, ReportOptions, draw_curve
from generative.training.step import TrainingStep
from generative.training.trainer import TrainingError
from tests.conftest import TUNES

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, Any] = {
    "hidden": 16,
    "batch_size": 4,
    "sequence_length": 16,
    "precision": "float32",
    "dropout": 0.2,
}


def weights(folder: Path) -> dict[str, Any]:
    return checkpoint.load_weights(folder)[0]


def test_what_a_run_leaves(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "metrics.csv",
        "learning_curve.png",
        "tensorboard",
        "resume",
    }
    rows = list(csv.DictReader((trained / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(15, 151, 15))
    assert float(rows[-1]["validation_loss"]) < float(rows[0]["validation_loss"])
    assert (trained / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "tensorboard").iterdir())


def test_a_model_is_not_trained_over(trained: Path, rhyme: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a model already"):
        generative.train(rhyme, trained, steps=1)
    with pytest.raises(CheckpointError, match="no run to resume"):
        generative.train(rhyme, tmp_path / "none", steps=1, resume=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="not a folder"):
        generative.train(rhyme, tmp_path / "file", steps=1)


def test_a_loss_that_is_not_finite_stops_the_run(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "generative.training.learner.cross_entropy",
        lambda *arguments: cross_entropy(*arguments) * float("nan"),
    )
    with pytest.raises(TrainingError, match=r"the loss is nan .* lower --learning-rate"):
        generative.train(rhyme, tmp_path / "model", steps=5, **SMALL)


@pytest.mark.parametrize("tokenizer", ["byte", "sentencepiece"])
def test_other_tokenizers_train_and_load(rhyme: Path, tmp_path: Path, tokenizer: str) -> None:
    options = {**SMALL, "tokenizer": tokenizer}
    if tokenizer == "sentencepiece":
        options["vocab_size"] = 320
    generative.train(rhyme, tmp_path / "model", steps=3, **options)
    model = generative.load(tmp_path / "model")
    assert isinstance(model, generative.TextModel)
    text = "12 bottles ▁ né 🎵"
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
    assert model.score(text).chars == len(text)


def test_music_trains_and_every_sample_is_music(tmp_path: Path) -> None:
    result = generative.train(TUNES, tmp_path / "band", steps=4, hidden=24, embedding_size=24)
    assert result.held_out is not None
    assert result.held_out.notes
    model = generative.load(tmp_path / "band")
    assert isinstance(model, generative.MusicModel)
    assert model.generate(bars=3, seed=1).piece.note_count > 0


def test_train_is_the_function_and_not_its_launcher() -> None:
    from generative.api.training import train

    assert generative.train is train


@pytest.mark.parametrize(("shards", "rows", "used"), [(2, 4, 2), (3, 4, 1), (10**9, 4, 4)])
def test_shards_are_as_many_as_divide_the_rows(shards: int, rows: int, used: int) -> None:
    config = ModelConfig(vocab_size=5, embedding_size=3, hidden_size=3)
    step = TrainingStep(
        model=LanguageModel(config),
        average=LanguageModel(config),
        config=TrainingConfig(batch_size=rows),
        known=torch.arange(5),
        precision=torch.float32,
        workers=Workers(1),
        processes=Processes(device=torch.device("cpu")),
        shards=shards,
    )
    assert (step.shards, step.state.batch_size) == (used, rows)


def test_an_error_within_a_run_is_not_taken_for_one_of_its_folder(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ingest(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "elsewhere")

    monkeypatch.setattr("generative.api.training.ingest", ingest)
    with pytest.raises(PermissionError, match="elsewhere"):
        generative.train(rhyme, tmp_path / "model", steps=1, **SMALL)
    assert not (tmp_path / "model").exists()  # nothing came of it


def test_the_shortest_budget_trains_validates_and_leaves_a_model(
    rhyme: Path, tmp_path: Path
) -> None:
    done = generative.train(rhyme, tmp_path / "model", minutes=1e-6, **SMALL)
    assert done.steps == 1
    assert done.validation_loss < float("inf")
    model = generative.load(tmp_path / "model")
    assert isinstance(model, generative.TextModel)
    assert model.generate("12 b", max_new_tokens=3).text


def test_the_same_command_gives_the_same_files(rhyme: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 12, "hidden": 16, "batch_size": 8, "dropout": 0.2}
    options |= {"weight_drop": 0.2, "embedding_dropout": 0.1, "seed": 3}
    folders = [tmp_path / name / "model" for name in ("one", "two")]
    for folder in folders:
        generative.train(rhyme, folder, threads=2, **options)
    for name in (
        "config.json", "model.safetensors", "gradients.safetensors", "tokenizer.json",
        "README.md", "recipe.toml", "learning_curve.png",
    ):  # fmt: skip
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_the_recipe_that_a_run_leaves_repeats_it(rhyme: Path, tmp_path: Path) -> None:
    from generative.cli.terminal import read_toml

    chosen = generative.train(rhyme, tmp_path / "one", minutes=0.01, hidden=16, threads=2)
    settings = read_toml(tmp_path / "one" / "recipe.toml")
    for name in ("two", "three"):
        generative.train(rhyme, tmp_path / name, steps=5, **settings)
    for name, array in weights(tmp_path / "two").items():
        np.testing.assert_array_equal(weights(tmp_path / "three")[name], array)
    configs = [checkpoint.read_config(tmp_path / name) for name in ("one", "two")]
    assert configs[0][0] == configs[1][0]
    kept = ("training", "precision", "shards")
    assert [configs[0][1]["recipe"][k] for k in kept] == [configs[1][1]["recipe"][k] for k in kept]
    assert chosen.recipe.split(":")[0] == configs[1][1]["recipe"]["reason"].split(":")[0]


def test_a_run_can_learn_from_everything(rhyme: Path, tmp_path: Path) -> None:
    done = generative.train(rhyme, tmp_path / "model", steps=12, held_out="none", **SMALL)
    assert done.held_out is None
    _, details = checkpoint.read_config(tmp_path / "model")
    assert details["corpus"]["held_out_tokens"] == 0
    assert details["corpus"]["train_tokens"] >= len(rhyme.read_text(encoding="utf-8"))
    assert "temperature" not in checkpoint.load_weights(tmp_path / "model")[1]
    assert "Nothing was held out" in (tmp_path / "model" / "README.md").read_text()


def test_every_option_of_train_is_a_field_or_a_setting() -> None:
    # These fields follow from the tokenizer, the corpus and `context_features`.
    derived = {"vocab_size", "labels", "features", "feature_sizes"}
    configs = (ModelConfig, TrainingConfig)
    known = {field.name for config in configs for field in fields(config)} - derived
    known |= {*UNITS, *ALIASES, *(field.name for field in fields(ReportOptions))}
    known |= {field.name for field in fields(TrainSettings)}
    known -= {"budget", "model_choices", "training_choices", "reporting"}
    assert set(TrainOptions.__annotations__) == known


def test_every_option_of_the_command_is_one_of_train() -> None:
    own = {"corpus", "output", "config", "as_json"}
    names = {str(option.name) for option in cli.commands["train"].params} - own
    assert names <= set(TrainOptions.__annotations__)


def test_options_are_sorted_and_later_ones_win() -> None:
    options = {"num_layers": 1, "layers": 2, "steps": 5, "dropout": None}
    settings = TrainSettings.from_options({**options, "seed": 3, "vocab_size": 9})
    assert settings.model_choices == {"num_layers": 2}
    assert settings.training_choices == {"seed": 3}
    assert (settings.seed, settings.vocab_size, settings.held_out) == (3, 9, [])
    assert settings.budget == Budget(unit="steps", amount=5)
    assert TrainSettings.from_options({"held_out": ["none"]}).held_out is None
    assert TrainSettings.from_options({"held_out": "a"}).held_out == ["a"]


@pytest.mark.parametrize("name", ["recall_length", "match_length"])
def test_a_removed_option_in_an_old_recipe_is_ignored(name: str) -> None:
    assert TrainSettings.from_options({name: 4, "steps": 5}) == TrainSettings.from_options(
        {"steps": 5}
    )


def test_unknown_options_are_named(rhyme: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown training options: colour"):
        generative.train(rhyme, tmp_path / "x", **cast("Any", {"colour": "red"}))
    with pytest.raises(ValueError, match="give one of"):
        generative.train(rhyme, tmp_path / "x", steps=1, minutes=1)
    with pytest.raises(ValueError, match="precision must be one of"):
        generative.train(rhyme, tmp_path / "x", precision="int3")


def test_a_curve_is_drawn_for_any_history(tmp_path: Path) -> None:
    one = Metrics(
        step=1,
        epoch=0.1,
        seconds=1.0,
        train_loss=2.0,
        validation_loss=2.0,
        learning_rate=0.1,
        gradient_norm=1.0,
        tokens_per_second=1.0,
    )
    draw_curve(tmp_path, [one])
    assert (tmp_path / "learning_curve.png").stat().st_size > 1000
