"""Loudness is that of the standard, and of another program."""

from __future__ import annotations

import numpy as np
import pytest

from generative.music.sound.loudness import loudness


def test_loudness_is_that_of_the_standard() -> None:
    """BS.1770-4: a sine of 997 Hz at full scale on one side has -3.01 LUFS, whatever the rate."""
    for rate in (44_100, 48_000):
        tone = np.sin(2 * np.pi * 997 * np.arange(3 * rate) / rate)
        silence = np.zeros_like(tone)
        assert loudness(np.stack([tone, silence], axis=1), rate) == pytest.approx(-3.01, abs=0.02)
        both = np.stack([tone, tone], axis=1)
        assert loudness(both, rate) == pytest.approx(0.0, abs=0.02)
        # What is 20 dB softer than the rest does not count (the relative gate), nor does silence.
        parts = np.concatenate([0.1 * both, 0.001 * both, 0 * both])
        assert loudness(parts, rate) == pytest.approx(-20.0, abs=0.3)
        assert loudness(0 * both, rate) == -np.inf


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_loudness_is_that_of_pyloudnorm(rate: int) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    swell = 0.05 * (1 + np.sin(np.arange(9 * rate) / rate))[:, None]
    noise = np.random.default_rng(0).standard_normal((9 * rate, 2)) * swell
    theirs = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(noise)
    assert loudness(noise, rate) == pytest.approx(theirs, abs=0.02)
