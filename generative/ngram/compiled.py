"""The operations compiled, and a compiled loop that scores tokens.

It must not know networks. Import it only where compiling is possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from generative.machine import compiling
from generative.machine.compiling import cached_with, inner
from generative.ngram import operations, records
from generative.ngram.operations import make

if not compiling.is_possible():
    raise ImportError("numba is told to compile nothing (NUMBA_DISABLE_JIT)")

NOTE = "compiling the count models for this machine: once, some seconds"
_LN_2 = np.float32(0.6931471805599453)
_ROOT_HALF_BITS = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_MANTISSA_BITS = np.int32(23)
_C3, _C5, _C7, _C9 = map(np.float32, (2 / 3, 2 / 5, 2 / 7, 2 / 9))
_HALF, _ONE, _TWO = map(np.float32, (0.5, 1, 2))
_LOG2_E, _LN_2_HIGH, _LN_2_LOW = map(np.float32, (1.4426950408889634, 0.693359375, -2.12194440e-4))
_E3, _E4, _E5, _E6 = map(np.float32, (1 / 6, 1 / 24, 1 / 120, 1 / 720))
_SMALLEST = np.float32(-80)  # e to this is a normal number, and taken for e to smaller ones.


@inner
def log(values: Any, out: Any) -> None:
    """The natural logarithm of normal float32 numbers above 0, within 2e-7 of it or of 1.

    A number is 2**e * m with m between sqrt(1/2) and sqrt(2); ln m is a series in
    (m - 1) / (m + 1). There is no call and no branch, so that the loops are vectorised.
    (V,) -> (V,)
    """
    bits, mantissas = values.view(np.int32), out.view(np.int32)
    for j in range(values.shape[0]):
        exponent = (bits[j] - _ROOT_HALF_BITS) >> _MANTISSA_BITS
        mantissas[j] = bits[j] - (exponent << _MANTISSA_BITS)
    for j in range(values.shape[0]):
        exponent = (bits[j] - _ROOT_HALF_BITS) >> _MANTISSA_BITS
        s = (out[j] - _ONE) / (out[j] + _ONE)
        square = s * s
        series = _TWO + square * (_C3 + square * (_C5 + square * (_C7 + square * _C9)))
        out[j] = np.float32(exponent) * _LN_2 + s * series


@inner
def exp(values: Any, out: Any) -> None:
    """e to each float32 value that is not above 0, within 2e-7 of it. (V,) -> (V,)

    A value is n * ln 2 + r; e to r is a series, and n is added to its exponent. There is no call
    and no branch, so that the loops are vectorised.
    """
    bits = out.view(np.int32)
    for j in range(values.shape[0]):
        x = max(values[j], _SMALLEST)
        n = np.floor(x * _LOG2_E + _HALF)
        r = (x - n * _LN_2_HIGH) - n * _LN_2_LOW
        series = _E6 * r + _E5
        for coefficient in (_E4, _E3, _HALF, _ONE, _ONE):
            series = series * r + coefficient
        out[j] = series
    for j in range(values.shape[0]):
        n = np.floor(max(values[j], _SMALLEST) * _LOG2_E + _HALF)
        bits[j] += np.int32(n) << _MANTISSA_BITS


COMPILED = make(inner, log, exp)
_score = COMPILED.score


@cached_with(operations.__file__, records.__file__)
def _run(  # noqa: PLR0913, PLR0917 - a compiled function takes its arrays one by one
    tables: Any, history: Any, scratch: Any, squares: Any, rate: Any, logits: Any, inputs: Any,
    targets: Any, nats: Any,
) -> None:  # fmt: skip
    _score(tables, history, scratch, squares, rate, logits, inputs, targets, nats)


def score(*arguments: Any) -> None:
    """`Operations.score`, compiled; a line is logged if it has to be compiled first."""
    compiling.call(_run, NOTE, *arguments)
