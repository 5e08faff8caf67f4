"""The options of sampling on the command line, made from the library's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from generative.api.choices import BEAMS, GROUPS, RESULTS, SAMPLING_OPTIONS, SamplingOption
from generative.cli.common import CLI_TEMPERATURE
from generative.cli.sections import Section, gathered, given, option

Function = TypeVar("Function", bound=Callable[..., Any])
COMMON = {"max_new_tokens", "temperature", "seed"}
SECTIONS = {BEAMS: Section.BEAMS, RESULTS: Section.OUTPUT}


def numbers(value: str | float) -> float | tuple[float, ...]:
    """One number, or several with commas between them."""
    try:
        several = tuple(float(part) for part in str(value).split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor a list of them") from None
    if any(number < 0 for number in several):
        raise click.BadParameter(f"{value} is not in the range x>=0.")
    return several[0] if len(several) == 1 else several


def token_ids(value: str) -> tuple[int, ...]:
    """Token ids with commas between them."""
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of token ids") from None


def read_biases(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[int, float] | None:
    """ID=BIAS, repeated, as a table; None without any."""
    try:
        return {int(token): float(bias) for token, bias in (v.split("=") for v in values)} or None
    except ValueError:
        raise click.BadParameter("must be ID=BIAS, as 65=-2.5", ctx, param) from None


def read_names(
    _ctx: click.Context,
    _param: click.Parameter,
    value: str | None,
) -> tuple[str, ...] | None:
    """Names with commas between them."""
    return None if value is None else tuple(name.strip() for name in value.split(","))


def _click_type(row: SamplingOption) -> dict[str, Any]:
    """How click reads a value of the option's type, as keywords of `click.Option`."""
    if row.choices:
        return {"type": click.Choice(row.choices)}
    readers: dict[Any, dict[str, Any]] = {
        int: {"type": click.IntRange(row.minimum)},
        float: {"type": float},
        float | Sequence[float]: {"type": numbers},
        Sequence[int]: {"type": token_ids},
        Sequence[str]: {"callback": read_names},
        Mapping[int, float]: {"multiple": True, "callback": read_biases},
    }
    return readers[row.type]


def _click_option(row: SamplingOption) -> Callable[[Any], Any]:
    """A row of the table as an option of the command line."""
    words = [row.help]
    settings = _click_type(row)
    if settings.get("multiple"):
        words.append("Repeatable.")
    if row.default is not None:
        words.append(f"[default: {row.default}]")
    if row.name == "temperature":
        words.append(f"[default: {CLI_TEMPERATURE}, or what the model's card suggests]")
    section = Section.COMMON if row.name in COMMON else SECTIONS.get(row.group, Section.SAMPLING)
    flag = "--" + row.name.replace("_", "-")
    return option(section, flag, metavar=row.metavar, help=" ".join(words), **settings)


# The length, and all options of the table in the order of groups, as one argument: a dictionary of
# those that were given.
sampling_argument = gathered(
    "sampling",
    given,
    option(
        Section.COMMON,
        "-n", "--max-new-tokens",
        type=click.IntRange(0),
        metavar="N",
        help="Number of new tokens at most.",
    ),
    *map(_click_option, sorted(SAMPLING_OPTIONS, key=lambda row: GROUPS.index(row.group))),
)  # fmt: skip
