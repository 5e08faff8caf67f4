"""What a run leaves to look at, and whom it tells."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import generative
from generative.errors import FileError
from generative.tokenizers.byte import ByteTokenizer
from generative.training import monitor
from generative.training.reports import EventLog, Metrics, ReportOptions, WandbLog

if TYPE_CHECKING:
    from pathlib import Path

METRICS = Metrics(
    step=3,
    epoch=0.5,
    seconds=1.0,
    train_loss=2.0,
    validation_loss=1.5,
    learning_rate=0.1,
    gradient_norm=0.7,
    tokens_per_second=100.0,
)


def test_events_hold_what_was_added_at_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.add(METRICS, "a sample", {"weights/bias": np.arange(10.0)})
    (file,) = (tmp_path / "tensorboard").iterdir()
    data = file.read_bytes()  # before it is closed
    for tag in (b"loss/validation", b"gradient_norm", b"a sample", b"weights/bias"):
        assert tag in data
    log.close()


def test_events_that_cannot_be_written_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log = EventLog(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(log._writer, "flush", full)
        with pytest.raises(FileError, match="cannot be written: No space left"):
            log.add(METRICS, None, {})
    log.close()


def test_weights_and_biases_are_told_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="--wandb needs the package wandb"):
        generative.train("nothing.txt", tmp_path / "model", wandb="songs")
    told: list[dict[str, Any]] = []
    run = types.SimpleNamespace(
        log=lambda values, step: told.append({**values, "step": step}),
        finish=lambda: told.append({"finished": True}),
    )
    module: Any = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)

    def init(**options: Any) -> Any:
        told.append(options)
        return run

    module.init = init
    module.Histogram = len
    monkeypatch.setitem(sys.modules, "wandb", module)
    project = ReportOptions(wandb="songs").wandb
    assert project is not None
    log = WandbLog(tmp_path, project, {"seed": 1})
    log.add(METRICS, "la", {"weights/bias": np.arange(10.0)})
    log.close()
    assert told[0]["project"] == "songs"
    assert told[1]["loss/validation"] == 1.5
    assert told[1]["weights/bias"] == 10
    assert told[1]["step"] == 3
    assert told[-1] == {"finished": True}


def test_a_curve_is_drawn_now_and_then_and_at_the_end(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def draw(_: Path, history: list[Metrics]) -> None:
        drawn.append(history[-1].step)

    monkeypatch.setattr(monitor, "draw_curve", draw)
    options: dict[str, Any] = {"hidden": 16, "batch_size": 4, "sequence_length": 16}
    generative.train(rhyme, tmp_path / "model", steps=20, **options)
    assert drawn == [2, 20]
    monkeypatch.setattr(monitor, "DRAWING_SECONDS", 0.0)
    generative.train(rhyme, tmp_path / "model", steps=40, resume=True, **options)
    assert drawn[2:] == list(range(24, 41, 4))


def test_a_curve_that_cannot_be_drawn_does_not_hide_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FileError("no space")

    def observer() -> monitor.Monitor:
        made = monitor.Monitor(tmp_path, ByteTokenizer(), print, ReportOptions(), None)
        made._undrawn = [METRICS]
        return made

    monkeypatch.setattr(monitor, "draw_curve", full)
    with pytest.raises(ValueError, match="the run's"), observer():
        raise ValueError("the run's")
    with pytest.raises(FileError, match="no space"), observer():
        pass
