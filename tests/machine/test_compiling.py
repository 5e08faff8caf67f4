"""Compiled log and exp, beside those of NumPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest

compiling = pytest.importorskip("generative.machine.compiling")


def test_log_is_near_that_of_double_precision() -> None:
    exponents = np.random.default_rng(0).uniform(-37, 37, 50_000)
    values = np.concatenate([10.0**exponents, [1.0, 2.0, 0.5, 1 + 2.0**-20]]).astype(np.float32)
    out = np.empty_like(values)
    compiling.log(values, out)
    expected = np.log(values.astype(np.float64))
    assert (np.abs(out - expected) <= 2e-7 * np.maximum(1, np.abs(expected))).all()


def test_exp_is_near_that_of_double_precision() -> None:
    values = -np.random.default_rng(0).uniform(0, 80, 50_000).astype(np.float32)
    values[:3] = 0.0, -1e-7, -80.0
    out = np.empty_like(values)
    compiling.exp(values, out)
    expected = np.exp(values.astype(np.float64))
    assert np.abs(out / expected - 1).max() <= 3e-7
    far = np.array([-1e4, -1e30], np.float32)
    compiling.exp(far, out[:2])
    assert (out[:2] > 0).all()
    assert (out[:2] < 1e-34).all()
