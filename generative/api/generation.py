"""Generation for all kinds of models: options, seeds and results. It must not know text or music.

It turns one set of options into sampling or beam search over a stepper, which return tokens.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from generative.errors import OptionError, check_at_least, check_in_range
from generative.sampling import (
    OPTIONS,
    BeamOptions,
    Request,
    Sampled,
    SamplingKeywords,
    SamplingOptions,
    Stepper,
    beam_search,
    build,
    collect,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generative.sampling import Alternative, Detail

DEFAULT_NEW_TOKENS = 200  # of a text
SEED_BITS = 32
MAX_SEED = 2**63 - 1


class GenerateOptions(SamplingKeywords, total=False):
    """The keywords of `generate` for the type checker; a test holds them equal to the table.

    `sampling.table.OPTIONS` and docs/sampling.md describe each. None, like the neutral value,
    switches an option off.
    """

    num_beams: int | None
    beam_method: str | None
    length_penalty: float | None
    num_beam_groups: int | None
    diversity_penalty: float | None
    num_return_sequences: int | None
    top_logprobs: int | None
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """A token and how likely it was.

    Attributes:
        token: its id.
        text: a readable form of it.
        logprob: ln p under the model itself.
        processed_logprob: ln p in the draw, after constraints and options; -inf if forbidden.
        top: the likeliest tokens at its place under the model itself, best first.
    """

    token: int
    text: str
    logprob: float
    processed_logprob: float
    top: tuple[TokenLogprob, ...] = ()


def token_logprobs(
    details: Sequence[Detail], describe: Callable[[int], str]
) -> tuple[TokenLogprob, ...]:
    """The details of each token with readable texts. describe: id -> text."""

    def readable(one: Alternative, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        return TokenLogprob(
            token=one.token,
            text=describe(one.token),
            logprob=one.logprob,
            processed_logprob=one.processed_logprob,
            top=top,
        )

    return tuple(readable(d.chosen, tuple(map(readable, d.top))) for d in details)


def resolve_seed(seed: int | None) -> int:
    """The seed to use; a random one where none is given.

    Raises:
        ValueError: a seed that is not in 0..2**63-1.
    """
    if seed is None:
        return secrets.randbits(SEED_BITS)
    check_in_range("seed", seed, 0, MAX_SEED)
    return seed


@dataclass(frozen=True, kw_only=True)
class ParsedOptions:
    """The options of `generate` as sampling takes them, in range each by itself."""

    sampling: SamplingOptions
    beams: BeamOptions
    num_return_sequences: int
    top_logprobs: int | None


def parse_options(options: GenerateOptions) -> ParsedOptions:
    """The options as sampling takes them, with those that are not given at their defaults.

    Raises:
        TypeError: an option that does not exist.
        OptionError: an option that is out of range.
    """
    given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    unknown = set(given) - {option.name for option in OPTIONS}
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    given.pop("seed", None)
    count: int = given.pop("num_return_sequences", Request.num_return_sequences)
    top_logprobs: int | None = given.pop("top_logprobs", Request.top_logprobs)
    names = {field.name for field in fields(BeamOptions)}
    beams = BeamOptions(**{name: given.pop(name) for name in names & set(given)})
    check_at_least("num_beams", beams.num_beams, 1)
    check_at_least("num_return_sequences", count, 1)
    check_at_least("top_logprobs", top_logprobs, 0)
    if beams.num_beams == 1 and beams.num_beam_groups != 1:
        raise OptionError("num_beam_groups needs num_beams, which it divides")
    sampling = SamplingOptions(**given)
    build(sampling)  # refuses what is out of range now, not at the first token
    return ParsedOptions(
        sampling=sampling, beams=beams, num_return_sequences=count, top_logprobs=top_logprobs
    )


def request_tokens(prompt: Sequence[int], max_new_tokens: int, options: GenerateOptions) -> int:
    """How many tokens a request reads and draws at most, of all its rows together."""
    rows = max(options.get("num_beams") or 1, options.get("num_return_sequences") or 1)
    return len(prompt) + rows * max_new_tokens


def check_length(max_new_tokens: int, options: SamplingOptions) -> None:
    """Refuse lengths that contradict each other.

    Raises:
        OptionError: naming the lengths.
    """
    check_at_least("max_new_tokens", max_new_tokens, 0)
    least = options.get("min_new_tokens") or 0
    if least > max_new_tokens:
        raise OptionError(f"min_new_tokens ({least}) exceeds max_new_tokens ({max_new_tokens})")


def generate_tokens(
    stepper: Stepper[Any], prompt: list[int], options: GenerateOptions, request: Request
) -> list[Sampled]:
    """Sequences that continue `prompt`, sampled or found by beam search, best first.

    Args:
        stepper: the model.
        prompt: ids, the start token first.
        options: how to choose tokens, how many sequences to return and what to report of them.
        request: what is asked for besides.

    Raises:
        ValueError: an option that is out of range, or options that exclude each other.
    """
    parsed = parse_options(options)
    check_length(request.max_new_tokens, parsed.sampling)
    count = parsed.num_return_sequences
    request = replace(request, num_return_sequences=count, top_logprobs=parsed.top_logprobs)
    if parsed.beams.num_beams > 1:
        return beam_search(stepper, [prompt], parsed.beams, request, parsed.sampling)[0]
    return collect(sample(stepper, prompt, request, parsed.sampling), count)
