"""Sums and units whose answers are known."""

from __future__ import annotations

import math

import pytest

from generative.scoring.likelihood import Likelihood


def test_units() -> None:
    one = Likelihood(nats=8 * math.log(2), tokens=4, chars=4, bytes=8)
    assert one.perplexity == pytest.approx(4.0)
    assert one.bits_per_token == pytest.approx(2.0)
    assert one.bits_per_char == pytest.approx(2.0)
    assert one.bits_per_byte == pytest.approx(1.0)
    assert one.nats_per_char == pytest.approx(2 * math.log(2))
    assert one.bits_per_note is None


def test_sums_come_before_ratios() -> None:
    total = Likelihood(nats=1.0, tokens=1, chars=1) + Likelihood(nats=1.0, tokens=3, chars=9)
    assert total == Likelihood(nats=2.0, tokens=4, chars=10)
    assert total.nats_per_token == 0.5


def test_a_lacking_count_stays_lacking() -> None:
    music = Likelihood(nats=1.0, tokens=1, notes=2)
    assert (music + Likelihood(nats=1.0, tokens=1)).notes is None


def test_nothing_and_too_much() -> None:
    assert Likelihood(nats=0.0, tokens=0).perplexity is None
    assert Likelihood(nats=1e6, tokens=1).perplexity == math.inf
