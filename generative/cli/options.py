"""The options that several commands share, and the group of all commands.

It must not know what any option does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from generative.cli.terminal import check_stdout, unescaped
from generative.sampling.table import GROUPS, OPTIONS, Option

F = TypeVar("F", bound=Callable[..., Any])
CLI_TEMPERATURE = 0.8


model_option = click.option(
    "-m", "--model", metavar="NAME", help="A model folder or a shipped model's name."
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    help="Precision of the weights to sample from; int8 is faster for large models.",
)
style_option = click.option(
    "--style", metavar="NAME", help="Name of a style, or a blend such as bach:0.6,folk:0.4."
)
mix_option = click.option(
    "--mix",
    multiple=True,
    metavar="MODEL:WEIGHT",
    help="Another model to mix in and its weight, such as folk:0.4; --model has the rest. "
    "Repeatable.",
)


def _stdout_is_open(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    """Refuse --json where nothing can be printed."""
    if value:
        check_stdout()
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_stdout_is_open,
    help="Print one JSON object on stdout.",
)


def read_escapes(
    _ctx: click.Context,
    _param: click.Parameter,
    values: tuple[str, ...],
) -> tuple[str, ...]:
    """The texts with their escapes replaced by characters."""
    return tuple(map(unescaped, values))


def literal_option(name: str, *names: str, metavar: str, text: str) -> Callable[[F], F]:
    """An option, repeatable, whose text may have escapes."""
    return click.option(
        name, *names, multiple=True, metavar=metavar, callback=read_escapes, help=text
    )


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


def sampling_options(function: F) -> F:
    """A decorator that adds the length and all options of `generate`, in the order of groups."""
    ordered = sorted(OPTIONS, key=lambda option: GROUPS.index(option.group))
    length = click.Option(
        ["-n", "--max-new-tokens"], type=click.IntRange(0), help="Number of new tokens at most."
    )
    parameters: list[click.Parameter] = function.__dict__.setdefault("__click_params__", [])
    parameters += reversed([length, *map(_click_option, ordered)])  # click reads them backwards
    return function


class CommandGroup(click.Group):
    """A command group that suggests the nearest command for a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name, or an error that suggests the nearest one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no command {args[0]!r}.{hint} Commands: {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)
