"""What generating text and music have in common: options, seeds and results, but not the medium.

Turns one set of options into sampling or beam search over a stepper and hands back tokens.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, TypedDict

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
    from collections.abc import Callable

SEED_BITS = 32
MAX_SEED = 2**63 - 1


class GenerateOptions(TypedDict, total=False):
    """How to choose tokens. None, like the neutral value in brackets, switches a thing off.

    temperature: logits are divided by it [1]; 0 always takes the likeliest token.
    top_k: only the k likeliest tokens [0] (Fan et al. 2018).
    top_p: only the likeliest tokens that together reach p [1] (Holtzman et al. 2020).
    min_p: only tokens at least p times as likely as the likeliest [0] (Nguyen et al. 2024).
    typical_p: only the tokens of most typical surprise, together p [1] (Meister et al. 2022).
    repetition_penalty: tokens that were there already lose weight [1] (Keskar et al. 2019).
    no_repeat_ngram_size: no n tokens in a row appear twice [0] (Paulus et al. 2018).
    num_beams: beam search of that width; 1 samples.
    length_penalty: beams rank by the sum of log-probabilities / length ** length_penalty [0].
    num_return_sequences: how many to make, or the n best beams.
    seed: same seed, same output; None draws one, and the result says which.
    """

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    num_beams: int | None
    length_penalty: float | None
    num_return_sequences: int | None
    seed: int | None


def resolve_seed(seed: int | None) -> int:
    """The seed to use, drawn where none was given.

    Raises:
        ValueError: a seed that is not in 0..2**63-1.
    """
    if seed is None:
        return secrets.randbits(SEED_BITS)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be in 0..{MAX_SEED}, not {seed}")
    return seed


def split_options(options: GenerateOptions) -> tuple[SamplingOptions, dict[str, Any]]:
    """Sampling's own options, and the rest with its defaults filled in.

    Raises:
        TypeError: an option that does not exist.
        ValueError: one that is out of range.
    """
    rest: dict[str, Any] = {
        "num_beams": 1,
        "length_penalty": 0.0,
        "num_return_sequences": 1,
    }
    given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    given.pop("seed", None)
    unknown = set(given) - set(GenerateOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    rest |= {k: given.pop(k) for k in list(rest) if k in given}
    for name in ("num_beams", "num_return_sequences"):
        if rest[name] < 1:
            raise ValueError(f"{name} must be at least 1, not {rest[name]}")
    sampling = SamplingOptions(**given)
    build(sampling)  # refuses what is out of range now, not at the first token
    return sampling, rest


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
    stop: Callable[[int, int], bool] | None = None,
) -> list[Sampled]:
    """Sequences that continue `prompt`, sampled or found by beam search, best first.

    Args:
        prompt: ids, the start token first.
        end_id: the token that ends a sequence.
        stop: called with (row, token) for each drawn token; True ends that row. Not with beams.
        constraint, constraint_state: a grammar and where the prompt has led it.

    Raises:
        ValueError: an option that is out of range, or options that exclude each other.
    """
    sampling, rest = split_options(options)
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, but is {max_new_tokens}")
    count: int = rest["num_return_sequences"]
    if rest["num_beams"] > 1:
        return beam_search(
            stepper,
            prompt,
            num_beams=rest["num_beams"],
            max_new_tokens=max_new_tokens,
            num_return_sequences=count,
            length_penalty=rest["length_penalty"],
            end_id=end_id,
            constraint=constraint,
            constraint_state=constraint_state,
            options=sampling,
        )
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
    )
    return collect(draws, count)
