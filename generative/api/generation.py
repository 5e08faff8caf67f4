"""What generating text and music have in common: options, seeds and results, but not the medium.

Turns one set of options into sampling or beam search over a stepper and hands back tokens.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from generative.errors import OptionError
from generative.sampling import (
    Sampled,
    SamplingOptions,
    Stepper,
    beam_search,
    build,
    collect,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from generative.sampling import Alternative, Detail, Stop

DEFAULT_NEW_TOKENS = 200  # of a text
SEED_BITS = 32
MAX_SEED = 2**63 - 1


class GenerateOptions(TypedDict, total=False):
    """How to choose tokens. None, like the neutral value in brackets, switches a thing off.

    The whole distribution:
    temperature: logits are divided by it [1]; 0 always takes the likeliest token; a list moves
        from its first value at the first token to its last at the `max_new_tokens`-th, or over
        the bars or seconds of music that were asked for.
    mirostat_tau: cut so that a token's surprise stays near so many bits [0], with mirostat_eta
        the rate at which it adapts [0.1] (Basu et al. 2021).

    Its tail, or with xtc its head, cut off:
    top_k: only the k likeliest tokens [0] (Fan et al. 2018).
    top_p: only the likeliest tokens that together reach p [1] (Holtzman et al. 2020).
    min_p: only tokens at least p times as likely as the likeliest [0] (Nguyen et al. 2024).
    typical_p: only the tokens of most typical surprise, together p [1] (Meister et al. 2022).
    epsilon_cutoff: only tokens of that probability or more [0] (Hewitt et al. 2022).
    eta_cutoff: the same with a bound that falls where the distribution is flat [0] (the same).
    top_n_sigma: only logits within n standard deviations of the highest [0] (Tang et al. 2024).
    xtc_probability: how often all tokens above xtc_threshold [0.1] but the least likely of them
        are left out [0] (p-e-w 2024).

    Repeats and single tokens:
    repetition_penalty: tokens that were there already lose weight [1] (Keskar et al. 2019).
    presence_penalty, frequency_penalty: they lose so much once, or each time [0] (OpenAI); the
        prompt counts.
    no_repeat_ngram_size: no n tokens in a row appear twice [0] (Paulus et al. 2018).
    dry_multiplier: what lengthens a repetition of n tokens loses multiplier * dry_base [1.75] **
        (n - dry_allowed_length [2]) [0]; looks dry_penalty_last_n [1024] tokens back and never
        past dry_sequence_breakers, which are ids (p-e-w 2024).
    logit_bias: id -> what is added to its logit.
    allowed_tokens, banned_tokens: ids that alone may come, or may not.
    min_new_tokens: no end before, unless nothing else may follow [0].
    samplers: names of these processors; they run after all others and in this order.

    Beams:
    num_beams: hypotheses side by side; 1 samples. A search ranks by the model's own probabilities,
        penalties and bars: the distribution's shape, its tail and its seed mean nothing to it.
    beam_method: "search" for the likeliest; "sample" fills the beam by chance; "stochastic" draws
        sequences without replacement (Kool et al. 2019).
    length_penalty: beams rank by the sum of log-probabilities / length ** length_penalty [0].
    num_beam_groups: groups of beams that shun each other's tokens [1], each of which costs
        diversity_penalty [0] (Vijayakumar et al. 2016).

    num_return_sequences: how many to make, or the n best beams.
    top_logprobs: tell each token's log-probabilities, and those of so many alternatives.
    seed: same seed, same output; None draws one, and the result says which.
    """

    temperature: float | Sequence[float] | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    top_n_sigma: float | None
    xtc_probability: float | None
    xtc_threshold: float | None
    mirostat_tau: float | None
    mirostat_eta: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    no_repeat_ngram_size: int | None
    dry_multiplier: float | None
    dry_base: float | None
    dry_allowed_length: int | None
    dry_penalty_last_n: int | None
    dry_sequence_breakers: Sequence[int] | None
    logit_bias: Mapping[int, float] | None
    allowed_tokens: Sequence[int] | None
    banned_tokens: Sequence[int] | None
    min_new_tokens: int | None
    samplers: Sequence[str] | None
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
        text: what it says, for human eyes.
        logprob: ln p under the model itself.
        processed_logprob: ln p in the draw, after constraints and options; -inf where barred.
        top: the likeliest tokens in its place under the model itself, best first.
    """

    token: int
    text: str
    logprob: float
    processed_logprob: float
    top: tuple[TokenLogprob, ...] = ()


def token_logprobs(
    details: Sequence[Detail], describe: Callable[[int], str]
) -> tuple[TokenLogprob, ...]:
    """What sampling told of its tokens, in words. describe: id -> text."""

    def in_words(one: Alternative, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        return TokenLogprob(
            token=one.token,
            text=describe(one.token),
            logprob=one.logprob,
            processed_logprob=one.processed_logprob,
            top=top,
        )

    return tuple(in_words(d.chosen, tuple(map(in_words, d.top))) for d in details)


def resolve_seed(seed: int | None) -> int:
    """The seed to use, drawn where none was given.

    Raises:
        ValueError: a seed that is not in 0..2**63-1.
    """
    if seed is None:
        return secrets.randbits(SEED_BITS)
    if not 0 <= seed <= MAX_SEED:
        raise OptionError(f"seed must be in 0..{MAX_SEED}, not {seed}")
    return seed


def split_options(options: GenerateOptions) -> tuple[SamplingOptions, dict[str, Any]]:
    """Sampling's own options, and the rest with its defaults filled in.

    Raises:
        TypeError: an option that does not exist.
        OptionError: one that is out of range.
    """
    rest: dict[str, Any] = {
        "num_beams": 1,
        "beam_method": "search",
        "length_penalty": 0.0,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "num_return_sequences": 1,
        "top_logprobs": None,
    }
    given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    given.pop("seed", None)
    unknown = set(given) - set(GenerateOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    rest |= {k: given.pop(k) for k in list(rest) if k in given}
    for name in ("num_beams", "num_return_sequences"):
        if rest[name] < 1:
            raise OptionError(f"{name} must be at least 1, not {rest[name]}")
    if rest["top_logprobs"] is not None and rest["top_logprobs"] < 0:
        raise OptionError(f"top_logprobs must be at least 0, not {rest['top_logprobs']}")
    if rest["num_beams"] == 1 and rest["num_beam_groups"] != 1:
        raise OptionError("num_beam_groups needs num_beams, which it divides")
    sampling = SamplingOptions(**given)
    build(sampling)  # refuses what is out of range now, not at the first token
    return sampling, rest


def request_tokens(prompt: Sequence[int], max_new_tokens: int, options: GenerateOptions) -> int:
    """How many tokens a request reads and draws at most, of all its rows together."""
    rows = max(options.get("num_beams") or 1, options.get("num_return_sequences") or 1)
    return len(prompt) + rows * max_new_tokens


def check_length(max_new_tokens: int, options: SamplingOptions) -> None:
    """Refuse lengths that contradict each other.

    Raises:
        OptionError: saying which.
    """
    if max_new_tokens < 0:
        raise OptionError(f"max_new_tokens must be at least 0, not {max_new_tokens}")
    if (options.min_new_tokens or 0) > max_new_tokens:
        least = options.min_new_tokens
        raise OptionError(f"min_new_tokens ({least}) exceeds max_new_tokens ({max_new_tokens})")


def generate_tokens(
    stepper: Stepper[Any],
    prompt: list[int],
    *,
    end_id: int,
    max_new_tokens: int,
    options: GenerateOptions,
    seed: int,
    constraint: Any = None,
    constraint_state: Any = None,
    stop: Stop | None = None,
) -> list[Sampled]:
    """Sequences that continue `prompt`, sampled or found by beam search, best first.

    Args:
        prompt: ids, the start token first.
        end_id: the token that ends a sequence.
        stop: asked after each token whether it ends its sequence.
        constraint, constraint_state: a grammar and where the prompt has led it.

    Raises:
        ValueError: an option that is out of range, or options that exclude each other.
    """
    sampling, rest = split_options(options)
    check_length(max_new_tokens, sampling)
    count: int = rest["num_return_sequences"]
    if rest["num_beams"] > 1:
        return beam_search(
            stepper,
            [prompt],
            num_beams=rest["num_beams"],
            max_new_tokens=max_new_tokens,
            num_return_sequences=count,
            length_penalty=rest["length_penalty"],
            method=rest["beam_method"],
            num_beam_groups=rest["num_beam_groups"],
            diversity_penalty=rest["diversity_penalty"],
            seed=seed,
            end_id=end_id,
            constraint=constraint,
            constraint_state=constraint_state,
            stop=stop,
            options=sampling,
            top_logprobs=rest["top_logprobs"],
        )[0]
    draws = sample(
        stepper,
        prompt,
        max_new_tokens=max_new_tokens,
        options=sampling,
        seed=seed,
        num_sequences=count,
        end_id=end_id,
        constraint=constraint,
        constraint_state=constraint_state,
        stop=stop,
        top_logprobs=rest["top_logprobs"],
    )
    return collect(draws, count)
