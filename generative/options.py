"""The options that several commands share: knows click, not what any option does."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
CLI_TEMPERATURE = 0.8


class CommandGroup(click.Group):
    """A command group that suggests the nearest command for a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """click's own, with a hint."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no command {args[0]!r}.{hint} Commands: {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)


def chain(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    """Several click options as one decorator, in the order they should be listed."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


model_option = click.option(
    "-m", "--model", metavar="NAME", help="A model folder or a shipped model's name."
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    help="Of the weights sampled from; int8 is faster where they are many.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
sampling_options = chain(
    [
        click.option("-n", "--max-new-tokens", type=click.IntRange(0), help="Tokens at most."),
        click.option(
            "--temperature",
            type=click.FloatRange(0),
            default=CLI_TEMPERATURE,
            show_default=True,
            help="Below 1 safer, above 1 wilder, 0 greedy.",
        ),
        click.option("--top-k", type=click.IntRange(0), help="Only the K likeliest tokens."),
        click.option("--top-p", type=float, help="Only the likeliest tokens that reach P."),
        click.option("--min-p", type=float, help="Only tokens at least P times the likeliest."),
        click.option("--typical-p", type=float, help="Only the most typical tokens, together P."),
        click.option("--repetition-penalty", type=float, help="Above 1 discourages repeats."),
        click.option("--no-repeat-ngram-size", type=click.IntRange(0), help="No N tokens twice."),
        click.option("--num-beams", type=click.IntRange(1), help="Beam search of this width."),
        click.option("--length-penalty", type=float, help="Beams: score / length ** X."),
        click.option("--num-return-sequences", type=click.IntRange(1), help="How many to make."),
        click.option("--seed", type=click.IntRange(0), help="Same seed, same output."),
    ]
)
