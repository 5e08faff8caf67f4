"""Commands whose help lists options by purpose, and groups of options that travel as one object."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
HELP_COLUMN = 30  # the widest column of option names, in characters


class Section(StrEnum):
    """The headings of a command's help, in their order."""

    COMMON = "Common options"
    DURATION = "Duration"
    CORPUS = "Corpus"
    MODEL = "Model"
    REGULARIZATION = "Regularization"
    OPTIMIZATION = "Optimization"
    MACHINE = "Machine"
    SAMPLING = "Sampling"
    BEAMS = "Beam search"
    CONSTRAINTS = "Constraints"
    PRIMER = "Primer and melody"
    MUSIC = "Length and content of the music"
    PORTS = "MIDI ports"
    PHRASES = "Phrases"
    SCORING = "Scoring"
    OUTPUT = "Output"
    HELP = "Help"


def option(section: Section, *names: str, **settings: Any) -> Callable[[Function], Function]:
    """`click.option` in a section of the help."""

    def decorate(function: Function) -> Function:
        for parameter in _added(click.option(*names, **settings), function):
            parameter.section = section  # type: ignore[attr-defined]
        return function

    return decorate


def _added(options: Callable[[Any], Any], function: Callable[..., Any]) -> list[click.Parameter]:
    """Add options to a command's function. Returns their parameters."""
    parameters: list[click.Parameter] = vars(function).setdefault("__click_params__", [])
    count = len(parameters)
    options(function)
    return parameters[count:]


def gathered(
    name: str, make: Callable[..., Any], *options: Callable[[Any], Any]
) -> Callable[[Function], Callable[..., Any]]:
    """Options whose values reach a command as one argument, `name`: `make(**values)`.

    Example:
        @click.command()
        @gathered("size", Size, click.option("--width"), click.option("--height"))
        def draw(size: Size) -> None: ...
    """

    def decorate(function: Function) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            members = {member: values.pop(member) for member in names}
            return function(**values, **{name: make(**members)})

        # `wraps` has copied the list of parameters from `function`, so these are added to it. Like
        # stacked decorators, the last option is added first.
        names = [
            parameter.name or "" for add in reversed(options) for parameter in _added(add, command)
        ][::-1]
        return command

    return decorate


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; None and () mark the others."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


class Command(click.Command):
    """A command whose help has sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        records: dict[Section, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                section = getattr(parameter, "section", Section.HELP)
                records.setdefault(section, []).append(record)
        for section in Section:
            if section in records:
                with formatter.section(section.value):
                    formatter.write_dl(records[section], col_max=HELP_COLUMN)


class CommandGroup(click.Group):
    """A command group that suggests the nearest command for a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command as click does, with a hint in the error."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no command {args[0]!r}.{hint} Commands: {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)
