"""Schedules and budgets by hand, and choices that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from generative.model.config import ModelConfig
from generative.training.config import Budget, TrainingConfig


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


def test_a_budget_in_minutes_keeps_time_for_what_follows() -> None:
    budget = Budget(unit="minutes", amount=1.0)
    assert budget.progress(seconds=25.0, steps=9, epochs=9.0, reserved_seconds=10.0) == 0.5
    assert budget.progress(seconds=50.0, steps=9, epochs=9.0, reserved_seconds=10.0) == 1.0
    assert budget.progress(seconds=1.0, steps=9, epochs=9.0, reserved_seconds=70.0) == 1.0


def test_a_models_config_comes_back() -> None:
    config = ModelConfig(vocab_size=5, weight_drop=0.1)
    assert ModelConfig.from_dict(config.to_dict()) == config
