"""The checks of options: what passes, and the message of what does not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from generative.errors import (
    OptionError,
    check_at_least,
    check_in_range,
    check_one_of,
    check_positive,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("check", "arguments", "passing", "refused", "message"),
    [
        (
            check_at_least,
            (1,),
            (1, 2.5, math.inf),
            (0, 0.99, math.nan),
            "x must be at least 1, not",
        ),
        (check_in_range, (0, 127), (0, 127), (-1, 128, math.nan), "x must be in 0..127, not"),
        (check_positive, (), (1e-9, 3), (0, -1, math.inf, math.nan), "x must be a positive number"),
        (check_one_of, (("a", "b"),), ("a", "b"), ("", "c"), "x must be one of a, b, not '"),
    ],
)
def test_values_in_the_range_and_none_pass_and_others_are_refused(
    check: Callable[..., None],
    arguments: tuple[Any, ...],
    passing: tuple[Any, ...],
    refused: tuple[Any, ...],
    message: str,
) -> None:
    for value in (*passing, None):
        check("x", value, *arguments)
    for value in refused:
        with pytest.raises(OptionError, match=message):
            check("x", value, *arguments)
