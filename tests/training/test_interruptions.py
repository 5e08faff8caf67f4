"""Runs that are stopped, resumed, damaged, or left by their reader."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np
import pytest

import generative
from generative.checkpoint import CheckpointError
from generative.training.console import DisposableStream
from generative.training.signals import collected_signals
from tests.training.test_training import SMALL, weights

if TYPE_CHECKING:
    from pathlib import Path


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
from generative.training.monitor import Monitor
from generative.training.signals import Interrupted
import generative
old = Monitor.on_step
def on_step(self, progress, fraction):
    old(self, progress, fraction)
    if progress.step == 23:
        os.kill(os.getpid(), signal.SIGINT)
Monitor.on_step = on_step
try:
    generative.train({str(corpus)!r}, {str(folder)!r}, steps=40, **{SMALL!r})
except Interrupted as stopped:
    raise SystemExit(stopped.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 128 + signal.SIGINT


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
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with collected_signals() as received:
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

    for stream in (DisposableStream(cast("TextIO", Gone())), DisposableStream(None)):
        assert not stream.isatty()
        assert stream.write("abc") == 3
        stream.flush()
