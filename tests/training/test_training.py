"""Learning: batches in order, schedules by hand, runs that repeat and resume bit for bit."""

from __future__ import annotations

import csv
import itertools
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import generative
from generative import checkpoint
from generative.checkpoint import CheckpointError
from generative.errors import OptionError
from generative.machine.threads import Workers
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.scoring.loss import cross_entropy
from generative.training import recipe
from generative.training.batches import StreamBatches, windows
from generative.training.config import Budget, TrainingConfig
from generative.training.processes import Processes
from generative.training.reports import Metrics, draw_curve
from generative.training.run import Steadfast
from generative.training.step import TrainingStep
from generative.training.trainer import TrainingError
from tests.conftest import TUNES

if TYPE_CHECKING:
    from pathlib import Path

START = 99
SMALL: dict[str, Any] = {
    "hidden": 16,
    "batch_size": 4,
    "sequence_length": 16,
    "precision": "float32",
    "dropout": 0.2,
}


def test_windows_are_lanes_side_by_side() -> None:
    batches = list(windows(np.arange(13), batch_size=2, sequence_length=3))
    assert [b.inputs.T.tolist() for b in batches] == [
        [[0, 1, 2], [6, 7, 8]],
        [[3, 4, 5], [9, 10, 11]],
    ]
    assert [b.targets.T.tolist() for b in batches] == [
        [[1, 2, 3], [7, 8, 9]],
        [[4, 5, 6], [10, 11, 12]],
    ]
    assert [b.fresh for b in batches] == [True, False]


def stream_of(documents: list[list[int]]) -> Any:
    """A start token before each document and after the last."""
    return np.array([*itertools.chain(*([START, *d] for d in documents)), START])


def test_rows_of_a_batch_are_the_same_whoever_reads_them() -> None:
    stream = np.arange(50)
    for whole, *parts in zip(
        windows(stream, 4, 3, offset=7),
        windows(stream, 4, 3, offset=7, rows=slice(0, 2)),
        windows(stream, 4, 3, offset=7, rows=slice(2, 4)),
        strict=True,
    ):
        together = np.concatenate([part.inputs for part in parts], axis=1)
        np.testing.assert_array_equal(whole.inputs, together)


def test_an_epoch_goes_on_where_it_was_left() -> None:
    streams = StreamBatches(
        stream=stream_of([[1, 2, 3, 4, 5, 6, 7, 8, 9]]),
        start_id=START,
        batch_size=2,
        sequence_length=2,
        seed=1,
    )
    whole = list(streams.epoch(3))
    rest = list(streams.epoch(3, first=1))
    assert [b.inputs.tolist() for b in rest] == [b.inputs.tolist() for b in whole[1:]]
    assert not rest[0].fresh


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    batch_size=st.integers(1, 4),
    sequence_length=st.integers(1, 8),
    shuffle=st.booleans(),
)
def test_an_epoch_reads_nearly_everything_once_and_repeats_exactly(
    lengths: list[int], batch_size: int, sequence_length: int, shuffle: bool
) -> None:
    ids = iter(range(100, 10_000))
    streams = StreamBatches(
        stream=stream_of([list(itertools.islice(ids, n)) for n in lengths]),
        start_id=START,
        batch_size=batch_size,
        sequence_length=sequence_length,
        seed=3,
        shuffle=shuffle,
    )
    batches = list(streams.epoch(1))
    assert len(batches) == streams.windows_per_epoch
    read = [i for b in batches for i in b.inputs.ravel().tolist() if i != START]
    assert len(set(read)) == len(read)
    left_out = sum(lengths) + len(lengths) + 1 - sum(b.inputs.size for b in batches)
    assert left_out <= batch_size * sequence_length + batch_size
    for one, other in zip(batches, streams.epoch(1), strict=True):
        np.testing.assert_array_equal(one.targets, other.targets)


def test_augmentation_sees_every_document() -> None:
    streams = StreamBatches(
        stream=stream_of([[1, 2, 3], [4, 5, 6]]),
        start_id=START,
        batch_size=1,
        sequence_length=8,
        seed=0,
        shuffle=True,
        augment=lambda ids, rng: ids + 10,
    )
    (batch,) = streams.epoch(0)
    assert sorted(batch.inputs.ravel().tolist()) == [11, 12, 13, 14, 15, 16, START, START]


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=3)
    assert [config.learning_rate_at(s, 0.0) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert config.learning_rate_at(9, 0.5) == pytest.approx(0.5)
    assert config.learning_rate_at(9, 1.0) == 0.0


@pytest.mark.parametrize("unit", ["minutes", "steps", "epochs"])
def test_a_budget_is_spent_in_its_own_unit(unit: str) -> None:
    budget = Budget(unit=unit, amount=4)
    assert budget.progress(seconds=60, steps=1, epochs=1) == 0.25
    assert budget.progress(seconds=999, steps=99, epochs=9) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(unit="minutes", amount=0), "minutes must be a positive number, not 0"),
        (lambda: Budget(unit="years", amount=1), "unknown unit 'years'"),
        (lambda: TrainingConfig(learning_rate=-1), "learning_rate must be a positive number"),
        (lambda: TrainingConfig(beta2=1.0), r"beta2 must be in \[0, 1\), not 1.0"),
        (lambda: TrainingConfig(patience=0), "patience must be at least 1"),
        (lambda: TrainingConfig(batch_size=65_537), "must be at most 4194304 tokens a step"),
        (lambda: TrainingConfig(sequence_length=2**40), "must be at most 4194304 tokens a step"),
    ],
)
def test_impossible_choices_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def choose(
    tokens: int, budget: Budget, kind: str = "text", threads: int = 1, **choices: Any
) -> recipe.Recipe:
    return recipe.choose(
        kind=kind,
        counts=np.array([tokens, 0, 0]),
        documents=1,
        budget=budget,
        machine=recipe.Machine(
            processes=Processes(device=torch.device("cpu")),
            workers=Workers(threads),
            precision=torch.float32,
        ),
        model_choices={k: v for k, v in {"hidden_size": 8, **choices}.items() if v is not None},
        training_choices={},
    )


def test_music_recalls_unless_told_otherwise_and_text_does_not() -> None:
    budget = Budget(unit="steps", amount=5)
    tied = {"embedding_size": 8}
    assert choose(100_000, budget).model.recall_length == 0
    assert choose(100_000, budget, "music", **tied).model.recall_length == recipe.RECALL_LENGTH
    assert choose(100_000, budget, "music", **tied, recall_length=0).model.recall_length == 0


@pytest.mark.parametrize("kind", recipe.PRESETS)
def test_the_oftener_a_corpus_is_read_the_more_dropout(kind: str) -> None:
    size = {"hidden_size": 64, "embedding_size": 64}
    budgets = (Budget(unit="epochs", amount=e) for e in (1, 50, 5_000))
    drops = [choose(100_000, budget, kind, **size).model.dropout for budget in budgets]
    assert drops == sorted(drops)
    assert drops[0] < drops[-1]
    own = choose(100_000, Budget(unit="epochs", amount=50), kind, **size, dropout=0.05)
    assert own.model.dropout == 0.05


def test_the_longer_the_budget_the_more_able_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "TEXT_SHAPES", ((2, 32), (1, 32), (1, 16)))
    budgets = (Budget(unit="steps", amount=s) for s in (1, 220, 2_000))
    shapes = [choose(100_000, budget, hidden_size=None).model for budget in budgets]
    assert [(s.num_layers, s.hidden_size) for s in shapes] == [(1, 16), (1, 32), (2, 32)]


def test_small_corpora_get_lanes_that_they_can_fill() -> None:
    chosen = choose(200, Budget(unit="steps", amount=5)).training
    assert chosen.batch_size * chosen.sequence_length <= 200
    with pytest.raises(ValueError, match="has 4 tokens to learn from, too few"):
        choose(3, Budget(unit="steps", amount=5))


def test_much_music_is_read_in_longer_windows() -> None:
    size = {"hidden_size": 8, "embedding_size": 8}
    lengths = [
        choose(tokens, Budget(unit="steps", amount=1), "music", **size).training.sequence_length
        for tokens in (100_000, 1_000_000)
    ]
    assert lengths == [64, 128]


def weights(folder: Path) -> dict[str, Any]:
    return checkpoint.load_weights(folder)[0]


def test_a_run_repeats_and_resumes_bit_for_bit(rhyme: Path, tmp_path: Path) -> None:
    whole = generative.train(rhyme, tmp_path / "whole", steps=40, **SMALL)
    half_run(rhyme, tmp_path / "parts")
    again = generative.train(rhyme, tmp_path / "again", steps=40, **SMALL)
    parts = generative.train(rhyme, tmp_path / "parts", steps=40, resume=True, **SMALL)
    for result in (again, parts):
        assert result.steps == whole.steps == 40
        assert result.held_out == whole.held_out
        for name, array in weights(whole.path).items():
            np.testing.assert_array_equal(weights(result.path)[name], array)


def test_a_longer_budget_goes_on_validating(rhyme: Path, tmp_path: Path) -> None:
    generative.train(rhyme, tmp_path / "model", steps=20, **SMALL)
    before = weights(tmp_path / "model")
    longer = generative.train(rhyme, tmp_path / "model", steps=60, resume=True, **SMALL)
    assert longer.steps == 60
    rows = list(csv.DictReader((tmp_path / "model" / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [*range(2, 21, 2), *range(24, 61, 6)]
    after = weights(tmp_path / "model")
    assert any((after[name] != before[name]).any() for name in before)


def half_run(corpus: Path, folder: Path) -> None:
    """Start a run of 40 steps in another process and interrupt it half way."""
    code = f"""
import os, signal
from generative.training import run
import generative
old = run._Watch.on_step
def on_step(self, progress, fraction):
    old(self, progress, fraction)
    if progress.step == 23:
        os.kill(os.getpid(), signal.SIGINT)
run._Watch.on_step = on_step
try:
    generative.train({str(corpus)!r}, {str(folder)!r}, steps=40, **{SMALL!r})
except run.Interrupted as stopped:
    raise SystemExit(stopped.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 128 + signal.SIGINT


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


def test_another_corpus_is_not_resumed(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "model")
    other = tmp_path / "other.txt"
    other.write_text("something else entirely " * 200)
    with pytest.raises(CheckpointError, match="another corpus"):
        generative.train(other, tmp_path / "model", steps=200, resume=True)


def test_a_damaged_state_falls_back_to_the_one_before(
    trained: Path, rhyme: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "model")
    newest = max((tmp_path / "model" / "resume").iterdir())
    newest.write_bytes(newest.read_bytes()[:-7])
    said: list[str] = []
    generative.train(rhyme, tmp_path / "model", steps=156, resume=True, report=said.append)
    assert any("damaged" in line and newest.name in line for line in said)


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


def test_the_module_is_the_function() -> None:
    import generative.api.training as module

    assert callable(module)
    assert generative.train is module


@pytest.mark.parametrize(("threads", "shards"), [(1, 1), (2, 2), (3, 2), (8, 4)])
def test_rows_are_cut_for_the_threads_that_there_are(threads: int, shards: int) -> None:
    assert choose(100_000, Budget(unit="steps", amount=5), threads=threads).shards == shards


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


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_refused_where_a_processor_has_none(
    monkeypatch: pytest.MonkeyPatch, has_it: bool
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it)
    machine = recipe.Machine(
        processes=Processes(device=torch.device("cpu")),
        workers=Workers(1),
        precision=torch.bfloat16,
    )
    config = ModelConfig(vocab_size=5)
    if has_it:
        assert recipe._precision(machine, config) == torch.bfloat16
    else:
        with pytest.raises(OptionError, match="no bfloat16: use --precision float32"):
            recipe._precision(machine, config)


def test_an_error_within_a_run_is_not_taken_for_one_of_its_folder(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ingest(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "elsewhere")

    monkeypatch.setitem(vars(generative.train), "ingest", ingest)
    with pytest.raises(PermissionError, match="elsewhere"):
        generative.train(rhyme, tmp_path / "model", steps=1, **SMALL)
    assert not (tmp_path / "model").exists()  # nothing came of it


def test_the_most_able_model_that_can_be_fed_is_found_in_few_measurements() -> None:
    shapes = [ModelConfig(vocab_size=9, hidden_size=h, num_layers=1) for h in (512, 384, 256, 128)]
    measured: list[int] = []

    def measure(config: ModelConfig, _: float) -> float:
        measured.append(config.hidden_size)
        return 1e10 / recipe._step_cost(config)

    for seconds, expected in ((1e9, 512), (900.0, 384), (300.0, 256), (1.0, 128)):
        measured.clear()
        config, rate = recipe._most_able(shapes, measure, seconds, 5.0)
        assert config.hidden_size == expected
        assert rate == pytest.approx(1e10 / recipe._step_cost(config))
        assert len(measured) <= 2


def test_a_budget_in_minutes_keeps_time_for_what_follows() -> None:
    budget = Budget(unit="minutes", amount=1.0)
    assert budget.progress(seconds=25.0, steps=9, epochs=9.0, reserved_seconds=10.0) == 0.5
    assert budget.progress(seconds=50.0, steps=9, epochs=9.0, reserved_seconds=10.0) == 1.0
    assert budget.progress(seconds=1.0, steps=9, epochs=9.0, reserved_seconds=70.0) == 1.0


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


def test_a_folder_is_in_one_run_at_a_time(rhyme: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "model" / "resume").mkdir(parents=True)
    with (
        FileLock(tmp_path / "model" / "resume" / "lock"),
        pytest.raises(CheckpointError, match="in use by another run"),
    ):
        generative.train(rhyme, tmp_path / "model", steps=1, **SMALL)
    generative.train(rhyme, tmp_path / "model", steps=1, **SMALL)


STOPPED = """
import os, signal, sys
from generative.cli.main import main
from generative.training.trainer import Trainer
agree = Trainer._agree
def stopping(self):
    if self.progress.step == 7:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return agree(self)
Trainer._agree = stopping
main(["train", *sys.argv[2:]])
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_stopped_before_its_first_validation_is_kept(
    rhyme: Path, tmp_path: Path, name: str
) -> None:
    command = [str(rhyme), "-o", str(tmp_path / "model"), "--steps", "400", "--hidden", "16"]
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED, name, *command],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert stopped.returncode == 128 + getattr(signal, name), stopped.stderr
    assert "stopped and saved" in stopped.stderr
    with pytest.raises(CheckpointError, match="holds a run already; continue it with --resume"):
        generative.train(rhyme, tmp_path / "model", steps=5, hidden=48)
    done = generative.train(rhyme, tmp_path / "model", steps=5, resume=True, hidden=16)
    assert done.steps == 7
    assert done.validation_loss < float("inf")
    model = generative.load(tmp_path / "model")
    assert isinstance(model, generative.TextModel)
    assert model.generate("12 b", max_new_tokens=3).text


def test_sighup_stays_ignored_under_nohup() -> None:
    from generative.training.run import _signals

    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _signals() as received:
            signal.raise_signal(signal.SIGHUP)
        assert not received
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_reader_that_goes_away_does_not_stop_a_run(rhyme: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        raise BrokenPipeError

    done = generative.train(rhyme, tmp_path / "model", steps=10, report=report, **SMALL)
    assert done.steps == 10
    assert len(said) == 1


def test_a_stream_without_a_reader_drops_what_it_is_given() -> None:
    class Gone:
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            raise ValueError("I/O operation on closed file")

        def isatty(self) -> bool:
            raise ValueError("I/O operation on closed file")

    for stream in (Steadfast(cast("TextIO", Gone())), Steadfast(None)):
        assert not stream.isatty()
        assert stream.write("abc") == 3
        stream.flush()


def test_unknown_options_are_named(rhyme: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown training options: colour"):
        generative.train(rhyme, tmp_path / "x", colour="red")
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


def test_a_models_config_comes_back() -> None:
    config = ModelConfig(vocab_size=5, weight_drop=0.1)
    assert ModelConfig.from_dict(config.to_dict()) == config
