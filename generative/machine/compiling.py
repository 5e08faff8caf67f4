"""Decorators for functions that numba compiles, and compiled tanh and sigmoid.

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
