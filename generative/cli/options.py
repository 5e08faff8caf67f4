"""The options of sampling, made from the library's table when a command is called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from generative.cli import sections
from generative.cli.sections import Section, given

if TYPE_CHECKING:
    from generative.api.generation import Option

Function = TypeVar("Function", bound=Callable[..., Any])
CLI_TEMPERATURE = 0.8
COMMON = {"max_new_tokens", "temperature", "seed"}


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


def _click_type(option: Option) -> dict[str, Any]:
    """How click reads a value of the option's type, as keywords of `click.Option`."""
    if option.choices:
        return {"type": click.Choice(option.choices)}
    readers: dict[Any, dict[str, Any]] = {
        int: {"type": click.IntRange(option.minimum)},
        float: {"type": float},
        float | Sequence[float]: {"type": numbers},
        Sequence[int]: {"type": token_ids},
        Sequence[str]: {"callback": read_names},
        Mapping[int, float]: {"multiple": True, "callback": read_biases},
    }
    return readers[option.type]


def _click_option(option: Option) -> click.Option:
    """An option of the table as an option of the command line."""
    words = [option.help]
    settings = _click_type(option)
    if settings.get("multiple"):
        words.append("Repeatable.")
    if option.default is not None:
        words.append(f"[default: {option.default}]")
    if option.name == "temperature":
        settings |= {"default": CLI_TEMPERATURE, "show_default": True}
    flag = "--" + option.name.replace("_", "-")
    return click.Option([flag], metavar=option.metavar, help=" ".join(words), **settings)


@functools.cache
def sampling_parameters() -> tuple[click.Option, ...]:
    """The length, and all options of `generate` in the order of their groups.

    The table needs NumPy, which the list of all commands does not have to wait for.
    """
    from generative.api.generation import BEAMS, GENERATE_OPTIONS, GROUPS, RESULTS

    headings = {BEAMS: Section.BEAMS, RESULTS: Section.OUTPUT}
    length = click.Option(
        ["-n", "--max-new-tokens"], type=click.IntRange(0), help="Number of new tokens at most."
    )
    length.section = Section.COMMON  # type: ignore[attr-defined]
    found = [length]
    for option in sorted(GENERATE_OPTIONS, key=lambda option: GROUPS.index(option.group)):
        made = _click_option(option)
        section = headings.get(option.group, Section.SAMPLING)
        made.section = Section.COMMON if option.name in COMMON else section  # type: ignore[attr-defined]
        found.append(made)
    return tuple(found)


# This option stands for those of sampling in the declaration of a command.
_PLACEHOLDER = click.Option(["--sampling-options"])


class Command(sections.Command):
    """A command that may have the options of sampling."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's parameters, with the options of sampling in the place that is theirs."""
        if _PLACEHOLDER in self.params:
            place = self.params.index(_PLACEHOLDER)
            self.params[place : place + 1] = sampling_parameters()
        return super().get_params(ctx)


def sampling_argument(function: Function) -> Callable[..., Any]:
    """The options of sampling as one argument of a `Command`, a dictionary of those given."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        names = [str(parameter.name) for parameter in sampling_parameters()]
        members = {name: values.pop(name) for name in names}
        return function(**values, sampling=given(**members))

    parameters: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    parameters.append(_PLACEHOLDER)
    return command
