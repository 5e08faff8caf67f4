"""Decorators for functions that numba compiles, and compiled tanh, sigmoid, log and exp.

Machine code is cached on disk, and compiled anew after a change of its sources.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
from numba.core import event

from generative.machine import compiled_cache

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")


def is_possible() -> bool:
    """Whether numba may compile; NUMBA_DISABLE_JIT=1 forbids it."""
    return not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


def inner(function: Function) -> Function:
    """Compile a function that compiled functions call, without reordering its arithmetic.

    So every call rounds alike. Other Python threads run meanwhile.
    """
    return cast("Function", numba.njit(function, nogil=True, error_model="numpy"))


def smooth(function: Function) -> Function:
    """Like `inner`, but a product may be fused with a sum (FMA)."""
    made = numba.njit(function, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast("Function", made)


def cached(function: Function) -> Function:
    """Compile a function that Python calls, and cache its machine code between processes."""
    return cached_with()(function)


def cached_with(*sources: str) -> Callable[[Function], Function]:
    """`cached` for a function that calls compiled functions of other files.

    sources: the paths of these files; a change of one of them makes the cached code invalid.
    """

    def decorate(function: Function) -> Function:
        made = numba.njit(function, nogil=True, error_model="numpy")
        compiled_cache.keep(made, (*sources, __file__))
        return cast("Function", made)

    return decorate


_logged: set[str] = set()


class Announcement(event.Listener):
    """Logs a note when a function is compiled, each note once in a process."""

    def __init__(self, note: str) -> None:
        self._note = note

    def on_start(self, event: Any) -> None:
        """Log the note if it was not logged before."""
        del event
        if self._note not in _logged:
            _logged.add(self._note)
            logging.getLogger(__name__).warning(self._note)

    def on_end(self, event: Any) -> None:
        """Do nothing."""


def call(function: Any, note: str, *arguments: Any) -> Any:
    """`function(*arguments)`; `note` is logged if the function has to be compiled first."""
    if function.overloads:
        return function(*arguments)
    with event.install_listener("numba:compile", Announcement(note)):
        return function(*arguments)


# tanh is approximated within 2e-7 by a ratio of polynomials (with the coefficients of Eigen's
# `ptanh`), which takes a dozen products and one division and can be vectorised.
_TANH_LIMIT = np.float32(7.90531110763549805)
_T1, _T3, _T5, _T7 = map(
    np.float32,
    (4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08),
)
_T9, _T11, _T13 = map(
    np.float32, (-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16)
)
_D0, _D2, _D4, _D6 = map(
    np.float32,
    (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06),
)
_HALF, _ONE = np.float32(0.5), np.float32(1.0)


@smooth
def tanh(x: Any) -> Any:
    """The hyperbolic tangent within 2e-7. float32 -> float32"""
    x = min(max(x, -_TANH_LIMIT), _TANH_LIMIT)
    s = x * x
    p = ((((((_T13 * s + _T11) * s + _T9) * s + _T7) * s + _T5) * s + _T3) * s + _T1) * x
    return p / (((_D6 * s + _D4) * s + _D2) * s + _D0)


@smooth
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), computed from tanh. float32 -> float32"""
    return _HALF * (tanh(_HALF * x) + _ONE)


_LN_2 = np.float32(0.6931471805599453)
_ROOT_HALF_BITS = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_MANTISSA_BITS = np.int32(23)
_C3, _C5, _C7, _C9 = map(np.float32, (2 / 3, 2 / 5, 2 / 7, 2 / 9))
_TWO = np.float32(2)
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
    """e to each float32 value that is not above 0, within 3e-7 of it. (V,) -> (V,)

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
