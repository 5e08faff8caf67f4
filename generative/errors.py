"""The classes of errors that users see, and the checks of options that raise them.

A wrong option (`OptionError`) is told apart from a corpus or a file that failed, since they end the
command line with different exit codes. In each check `name` is the name of the option, and None,
which means that an option is off, passes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OptionError(ValueError):
    """An option is out of range or means nothing, wherever it is found; this is wrong usage."""


class CorpusError(ValueError):
    """A corpus cannot be read; the message names the file and the place, and how to mend it."""


class FileError(OSError):
    """A file or folder cannot be written, is missing or is damaged; the message names it."""


def check_at_least(name: str, value: float | None, low: float) -> None:
    """Refuse a number below `low`, and NaN.

    Raises:
        OptionError: The value is below `low`, or NaN.
    """
    if value is not None and not value >= low:
        raise OptionError(f"{name} must be at least {low}, not {value}")


def check_in_range(name: str, value: float | None, low: float, high: float) -> None:
    """Refuse a number outside of low..high, both ends included, and NaN.

    Raises:
        OptionError: The value is not in the range.
    """
    if value is not None and not low <= value <= high:
        raise OptionError(f"{name} must be in {low}..{high}, not {value}")


def check_positive(name: str, value: float | None) -> None:
    """Refuse a number that is not above 0, infinity and NaN.

    Raises:
        OptionError: The value is not positive and finite.
    """
    if value is not None and not 0 < value < math.inf:
        raise OptionError(f"{name} must be a positive number, not {value}")


def check_one_of(name: str, value: str | None, choices: Iterable[str]) -> None:
    """Refuse a word that is not among `choices`.

    Raises:
        OptionError: The value is not among the choices.
    """
    choices = tuple(choices)
    if value is not None and value not in choices:
        raise OptionError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
