"""Checks of option values, whose errors state the option, its range and the value."""

from __future__ import annotations

from numbers import Integral

from generative.errors import OptionError


def require(met: bool, name: str, value: object, meaning: str) -> None:
    """Refuse an option's value.

    Raises:
        OptionError: `met` is false; the message has the permitted range and the value.
    """
    if not met:
        raise OptionError(f"{name} must be {meaning}, not {value}")


def require_whole(name: str, value: object, note: str = "") -> None:
    """Refuse a value that is not a whole number of at least 1.

    Raises:
        OptionError: see `require`.
    """
    met = isinstance(value, Integral) and int(value) >= 1
    require(met, name, value, f"a whole number, at least 1{note}")
