"""Recipes: what is chosen for a corpus, a budget and a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from generative.errors import OptionError
from generative.machine.threads import Workers
from generative.model.config import ModelConfig
from generative.training import recipe
from generative.training.config import Budget
from generative.training.hardware import choose_precision
from generative.training.presets import PRESETS, Shape
from generative.training.processes import Processes
from generative.training.speed import Machine, most_able, step_cost


def choose(
    tokens: int, budget: Budget, kind: str = "text", threads: int = 1, **choices: Any
) -> recipe.Recipe:
    return recipe.choose(
        recipe.Corpus(kind=kind, counts=np.array([tokens, 0, 0]), documents=1),
        budget,
        Machine(
            processes=Processes(device=torch.device("cpu")),
            workers=Workers(threads),
            precision=torch.float32,
        ),
        model_choices={k: v for k, v in {"hidden_size": 8, **choices}.items() if v is not None},
        training_choices={},
    )


@pytest.mark.parametrize("kind", PRESETS)
def test_the_oftener_a_corpus_is_read_the_more_dropout(kind: str) -> None:
    size = {"hidden_size": 64, "embedding_size": 64}
    budgets = (Budget(unit="epochs", amount=e) for e in (1, 50, 5_000))
    drops = [choose(100_000, budget, kind, **size).model.dropout for budget in budgets]
    assert drops == sorted(drops)
    assert drops[0] < drops[-1]
    own = choose(100_000, Budget(unit="epochs", amount=50), kind, **size, dropout=0.05)
    assert own.model.dropout == 0.05


def test_the_longer_the_budget_the_more_able_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes_tried = (Shape(2, 32), Shape(1, 32), Shape(1, 16))
    monkeypatch.setitem(PRESETS, "text", replace(PRESETS["text"], shapes=shapes_tried))
    budgets = (Budget(unit="steps", amount=s) for s in (1, 220, 2_000))
    shapes = [choose(100_000, budget, hidden_size=None).model for budget in budgets]
    assert [(s.num_layers, s.hidden_size) for s in shapes] == [(1, 16), (1, 32), (2, 32)]


def test_small_corpora_get_rows_that_they_can_fill() -> None:
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


@pytest.mark.parametrize(("threads", "shards"), [(1, 1), (2, 2), (3, 2), (8, 4)])
def test_rows_are_cut_for_the_threads_that_there_are(threads: int, shards: int) -> None:
    assert choose(100_000, Budget(unit="steps", amount=5), threads=threads).shards == shards


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_refused_where_a_processor_has_none(
    monkeypatch: pytest.MonkeyPatch, has_it: bool
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it)
    asked = (torch.bfloat16, torch.device("cpu"), 512)
    if has_it:
        assert choose_precision(*asked) == torch.bfloat16
    else:
        with pytest.raises(OptionError, match="no bfloat16: use --precision float32"):
            choose_precision(*asked)


def test_the_most_able_model_that_can_be_fed_is_found_in_few_measurements() -> None:
    shapes = [ModelConfig(vocab_size=9, hidden_size=h, num_layers=1) for h in (512, 384, 256, 128)]
    measured: list[int] = []

    def measure(config: ModelConfig, _: float) -> float:
        measured.append(config.hidden_size)
        return 1e10 / step_cost(config)

    for seconds, expected in ((1e9, 512), (900.0, 384), (300.0, 256), (1.0, 128)):
        measured.clear()
        config, rate = most_able(shapes, measure, seconds, 5.0)
        assert config.hidden_size == expected
        assert rate == pytest.approx(1e10 / step_cost(config))
        assert len(measured) <= 2
