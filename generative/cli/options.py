"""The options of sampling, which several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
CLI_TEMPERATURE = 0.8


def chain(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    """Several click options as one decorator, in the order they should be listed."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


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
    ctx: click.Context,  # noqa: ARG001 - click's signature
    param: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> tuple[str, ...] | None:
    """Names with commas between them."""
    return None if value is None else tuple(name.strip() for name in value.split(","))


sampling_options = chain(
    [
        click.option("-n", "--max-new-tokens", type=click.IntRange(0), help="Tokens at most."),
        click.option("--min-new-tokens", type=click.IntRange(0), help="No end before N tokens."),
        click.option(
            "--temperature",
            type=numbers,
            metavar="X[,Y...]",
            default=CLI_TEMPERATURE,
            show_default=True,
            help="Below 1 safer, above 1 wilder, 0 greedy; 1.2,0.6 starts warm and ends cool.",
        ),
        click.option("--top-k", type=click.IntRange(0), help="Only the K likeliest tokens."),
        click.option("--top-p", type=float, help="Only the likeliest tokens that reach P."),
        click.option("--min-p", type=float, help="Only tokens at least P times the likeliest."),
        click.option("--typical-p", type=float, help="Only the most typical tokens, together P."),
        click.option("--epsilon-cutoff", type=float, help="Only tokens of probability P or more."),
        click.option("--eta-cutoff", type=float, help="The same, lower where all is uncertain."),
        click.option("--top-n-sigma", type=float, help="Only logits N deviations from the top."),
        click.option("--xtc-probability", type=float, help="How often to leave out the likeliest."),
        click.option("--xtc-threshold", type=float, help="... tokens: those above this. [0.1]"),
        click.option("--mirostat-tau", type=float, help="Keep surprise near so many bits a token."),
        click.option("--mirostat-eta", type=float, help="... adapting at this rate. [0.1]"),
        click.option("--repetition-penalty", type=float, help="Above 1 discourages repeats."),
        click.option("--presence-penalty", type=float, help="Off the logit of what was there."),
        click.option("--frequency-penalty", type=float, help="The same for each time."),
        click.option("--no-repeat-ngram-size", type=click.IntRange(0), help="No N tokens twice."),
        click.option("--dry-multiplier", type=float, help="Discourages long repeats, so strongly."),
        click.option("--dry-base", type=float, help="... growing so much a token. [1.75]"),
        click.option("--dry-allowed-length", type=int, help="... from so many tokens on. [2]"),
        click.option("--dry-penalty-last-n", type=int, help="... looking so far back. [1024]"),
        click.option(
            "--logit-bias",
            multiple=True,
            metavar="ID=BIAS",
            callback=read_biases,
            help="Added to a token's logit; repeatable.",
        ),
        click.option("--allowed-tokens", type=token_ids, metavar="IDS", help="Only these tokens."),
        click.option(
            "--banned-tokens", type=token_ids, metavar="IDS", help="None of these tokens."
        ),
        click.option(
            "--samplers",
            metavar="NAMES",
            callback=read_names,
            help="Run these after all others, in this order: top_p,temperature.",
        ),
        click.option("--num-beams", type=click.IntRange(1), help="Beam search of this width."),
        click.option(
            "--beam-method",
            type=click.Choice(["search", "sample", "stochastic"]),
            help="The likeliest [search], or drawn: as beams fill, or without replacement.",
        ),
        click.option("--length-penalty", type=float, help="Beams: score / length ** X."),
        click.option("--num-beam-groups", type=click.IntRange(1), help="Groups that shun ..."),
        click.option("--diversity-penalty", type=float, help="... each other's tokens so much."),
        click.option("--num-return-sequences", type=click.IntRange(1), help="How many to make."),
        click.option(
            "--top-logprobs",
            type=click.IntRange(0),
            metavar="N",
            help="With --json: each token's log-probabilities, and N alternatives.",
        ),
        click.option("--seed", type=click.IntRange(0), help="Same seed, same output."),
    ]
)
