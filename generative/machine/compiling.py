"""What functions compiled by numba share: how they are compiled, kept and announced, tanh, sigmoid.

The compiler's cache watches only the file of the function it keeps: after an edit here, delete the
`*.nbi` files in the `__pycache__` of whoever imports this.
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
    """Whether numba compiles at all: NUMBA_DISABLE_JIT=1 forbids it."""
    return not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


def inner(function: Function) -> Function:
    """A part of a compiled function; the order of additions is its own, so every call rounds alike.

    It lets other Python threads run while it does.
    """
    return cast("Function", numba.njit(function, nogil=True, error_model="numpy"))


def smooth(function: Function) -> Function:
    """The same, where a product may be fused with a sum."""
    made = numba.njit(function, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast("Function", made)


def cached(function: Function) -> Function:
    """What Python calls: compiled once a machine, or once a process where nothing can be kept."""
    made = numba.njit(function, nogil=True, error_model="numpy")
    compiled_cache.keep(made)
    return cast("Function", made)


class Announcement(event.Listener):
    """Logs a note when something is first compiled."""

    def __init__(self, note: str) -> None:
        self._note = note
        self._said = False

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        """Something is about to be compiled."""
        if not self._said:
            logging.getLogger(__name__).warning(self._note)
            self._said = True

    def on_end(self, event: Any) -> None:
        """It has been."""


def call(function: Any, note: str, *arguments: Any) -> Any:
    """`function(*arguments)`, with `note` on stderr (or in the log) if it has to be compiled."""
    if function.overloads:
        return function(*arguments)
    with event.install_listener("numba:compile", Announcement(note)):
        return function(*arguments)


# tanh as a ratio of polynomials, within 2e-7 of it (the coefficients are those of Eigen's `ptanh`):
# unlike the library's it is a dozen products and one division, for a whole vector at a time
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
    """float32 -> float32"""
    x = min(max(x, -_TANH_LIMIT), _TANH_LIMIT)
    s = x * x
    p = ((((((_T13 * s + _T11) * s + _T9) * s + _T7) * s + _T5) * s + _T3) * s + _T1) * x
    return p / (((_D6 * s + _D4) * s + _D2) * s + _D0)


@smooth
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), by way of tanh. float32 -> float32"""
    return _HALF * (tanh(_HALF * x) + _ONE)
