"""Reports of figures that are known beforehand, as JSON and as lines."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from generative.api.card import ModelReport, ModelsReport
from generative.api.evaluation import CopyReport, FileScores, ScoredDocument
from generative.api.inspection import MidiReport
from generative.api.reports import ScoreReport, TrainingReport, sequence_json
from generative.api.training import TrainingResult
from generative.cli import terminal
from generative.data.corpus import Document
from generative.scoring.copies import Copied
from generative.scoring.likelihood import Likelihood

if TYPE_CHECKING:
    from generative.api.text_model import TextSequence

ONE_BIT = math.log(2)
TEXT = Likelihood(nats=4000 * ONE_BIT, tokens=4000, chars=2000, bytes=1000)
MUSIC = Likelihood(nats=4 * ONE_BIT, tokens=4, notes=2, seconds=1.5)


def scores(likelihood: Likelihood, dynamic: Likelihood | None = None) -> FileScores:
    document = ScoredDocument(
        name="a", ids=[1], nats=np.ones(1), likelihood=likelihood, adaptive=None, dynamic=dynamic
    )
    return FileScores(scored=(document,), skipped=(), describe=str)


def test_a_score_of_text() -> None:
    report = ScoreReport(model="m", scores=scores(TEXT))
    assert list(report.to_lines()) == [
        "           model m",
        "       documents 1",
        "          tokens 4,000",
        "            nats 2,772.5887",
        "      perplexity 2.0000",
        "  bits_per_token 1.0000",
        "   bits_per_char 2.0000",
        "   bits_per_byte 4.0000",
        "           chars 2,000",
        "           bytes 1,000",
        "        protocol stream",
    ]
    values = report.to_json()
    assert (values["dynamic"], values["static"]["bits_per_byte"]) == (None, pytest.approx(4.0))
    assert "copies" not in values


def test_a_score_of_music_with_dynamic_evaluation_and_copies() -> None:
    copies = CopyReport(
        kind="music",
        documents=cast("Any", (Document(name="a", content=""), Document(name="b", content=""))),
        copied=(
            Copied(length=1200, size=2400, start=0, source=0),
            Copied(length=0, size=3, start=0, source=None),
        ),
        corpus=("old",),
    )
    report = ScoreReport(model="m", scores=scores(MUSIC, MUSIC), reset_every=8, copies=copies)
    lines = list(report.to_lines())
    assert lines[6:] == [
        "   bits_per_note 2.0000",
        "           notes 2",
        "         seconds 1.5000",
        "        protocol reset-every-8",
        "         dynamic perplexity 2.0000, nats 2.7726",
        "          copies 1,200 of 2,400 notes: a, as in old",
        "          copies 0 of 3 notes: b",
    ]
    assert report.to_json()["copies"]["longest"] == 1200


def test_the_end_of_a_training_run() -> None:
    result = TrainingResult(
        path=Path("folder"), steps=3, seconds=1.26, validation_loss=2.0, held_out=TEXT,
        recipe="1x16", skipped=(("a.mid", "not MIDI"),),
    )  # fmt: skip
    assert list(TrainingReport(result=result).to_lines()) == [
        "held out: perplexity 2.000, bits_per_token 1.000, "
        "bits_per_char 2.000, bits_per_byte 4.000",
        "model in folder; try: generate info folder",
    ]
    values = TrainingReport(result=result).to_json()
    assert values["seconds"] == 1.3
    assert values["skipped"] == [{"file": "a.mid", "reason": "not MIDI"}]


def test_a_sequence_has_log_probabilities_only_where_they_were_asked_for() -> None:
    sequence = SimpleNamespace(
        tokens=(1, 2), nats=1.0, perplexity=2.0, finish_reason="end", score=-1.0, logprobs=()
    )
    values = sequence_json(cast("TextSequence", sequence))
    assert list(values) == ["tokens", "nats", "perplexity", "finish_reason", "score"]
    assert values["tokens"] == 2


def test_models_and_files() -> None:
    about = {"path": "p", "kind": "text", "summary": "1x16 lstm"}
    models = ModelsReport(descriptions={"short": about})
    assert list(models.to_lines()) == ["short          text   1x16 lstm"]
    assert models.to_json() == [{"model": "short", **about}]
    model = ModelReport(name="short", description=about, card="# short")
    assert list(model.to_lines()) == ["1x16 lstm\np\n", "# short"]
    broken = {"file": "a.mid", "error": "a.mid: not MIDI"}
    files = MidiReport(files=[broken, broken])
    assert list(files.to_lines()) == ["a.mid: not MIDI", "", "a.mid: not MIDI"]
    assert files.has_failed
    assert MidiReport(files=[broken]).to_json() == broken


def test_a_report_is_printed_in_either_form(capsys: pytest.CaptureFixture[str]) -> None:
    report = ModelsReport(descriptions={"m": {"kind": "text", "summary": "\x1b", "x": math.inf}})
    terminal.print_report(report, as_json=False)
    assert capsys.readouterr().out == "m              text   \\x1b\n"
    terminal.print_report(report, as_json=True)
    assert '"x": null' in capsys.readouterr().out
