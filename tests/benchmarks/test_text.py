"""The table of the text benchmark, and what it asks of models and compressors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from compressors import bits_after, compressors
from network import network_alone
from text import COLUMNS, HALF_COLUMNS, Row, both, fitted_on, table

from generative.api.runtime import Runtime
from generative.api.text_model import TextModel

TEXT = "17 bottles stand upon the wall\n" * 8 + "12345678"  # 256 chars


def test_ratios_compare_with_the_network_under_the_static_protocol() -> None:
    network = Row("alone", {"stream": 2.0, "dynamic": 1.6})
    mixed = Row("mixed", {"stream": 1.9, "adaptive": 1.5, "dynamic+": 1.2}, network)
    heading, alone, scores, ratios = table([network, mixed]).splitlines()
    assert heading.split() == list(COLUMNS)
    assert alone.split() == ["alone", "2.0000", "1.6000"]
    assert scores.split() == ["mixed", "1.9000", "1.5000", "1.2000"]
    assert ratios.split()[-3:] == ["0.950", "0.750", "0.750"]
    assert scores.index("1.5000") + 6 == heading.index("adaptive") + len("adaptive")


def test_a_model_is_scored_under_every_protocol(model: TextModel) -> None:
    alone, mixed = both(model, TEXT, COLUMNS)
    assert list(alone.nats) == ["stream", "cold-256", "cold-64", "dynamic"]
    assert alone.nats["stream"] == network_alone(model).score(TEXT).nats_per_char
    assert alone.nats["cold-256"] == pytest.approx(alone.nats["stream"])
    if model.checkpoint.counts is None:
        assert not mixed.nats
    else:
        assert list(mixed.nats) == list(COLUMNS)
        assert mixed.nats["stream"] == model.score(TEXT).nats_per_char
        assert mixed.nats["adaptive"] == model.score(TEXT, protocol="adaptive").nats_per_char
        assert list(both(model, TEXT, HALF_COLUMNS)[1].nats) == list(HALF_COLUMNS)


def test_a_temperature_is_fitted_anew(model: TextModel) -> None:
    found = network_alone(model).checkpoint
    scaled = {**found.weights}
    for name in ("output.weight", "output.bias"):
        if name in scaled:
            scaled[name] = scaled[name] * 1.1
    hot = TextModel(Runtime(replace(found, weights=scaled)))
    fitted = fitted_on(hot, TEXT)
    before = hot.score(TEXT).nats
    assert fitted.score(TEXT).nats <= before + 1e-3
    assert hot.score(TEXT).nats == before


def test_bits_are_what_the_text_adds() -> None:
    assert bits_after(lambda data: data, "abc", "né") == 8 * 3
    assert bits_after(lambda data: data[:4], "abc", "abc") == 8


@pytest.mark.parametrize("name", compressors())
def test_compressors_learn_from_the_text_before(name: str) -> None:
    compress = compressors()[name]
    if compress is None:
        pytest.skip(f"{name} is not installed")
    other = "In a hole in the ground there lived a mole, " * 3
    again = bits_after(compress, TEXT + other, other)
    assert 0 <= again < bits_after(compress, TEXT, other)
