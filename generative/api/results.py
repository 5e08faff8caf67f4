"""What generation returns, whatever the medium: sequences, their likelihoods and the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from generative.api.generation import TokenLogprob, token_logprobs
from generative.scoring.likelihood import Likelihood

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.sampling import Sampled


@dataclass(frozen=True, kw_only=True)
class GeneratedSequence:
    """The tokens of one generated sequence and how likely they were.

    Attributes:
        tokens: ids that were generated, without prompt, stop string and end token.
        nats: -ln p of these tokens under the model itself, before constraints and options.
        finish_reason: "length", "end" (the model ended the sequence) or, of a text, "stop".
        score: what ranks beams, the stop string and the end token included; for samples the
            log-probability of all tokens that were drawn.
        logprobs: one a token, with alternatives; empty unless `top_logprobs` asked for them.
    """

    tokens: tuple[int, ...]
    nats: float
    finish_reason: str
    score: float
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def perplexity(self) -> float | None:
        """exp(nats / tokens); None for an empty sequence."""
        return Likelihood(nats=self.nats, tokens=len(self.tokens)).perplexity

    @classmethod
    def of(
        cls,
        sampled: Sampled,
        describe: Callable[[int], str],
        *,
        count: int | None = None,
        **content: Any,
    ) -> Self:
        """The first `count` tokens of a sampled sequence, or all of them.

        Args:
            sampled: the tokens as sampling returned them.
            describe: token id -> text for `logprobs`.
            count: how many tokens to keep; None keeps all.
            content: what the tokens stand for, under the names of the subclass's own attributes.
        """
        return cls(
            tokens=tuple(sampled.tokens[:count]),
            nats=-float(sum(sampled.logprobs[:count])),
            finish_reason=sampled.finish_reason,
            score=sampled.score,
            logprobs=token_logprobs(sampled.details[:count], describe),
            **content,
        )


SequenceT = TypeVar("SequenceT", bound=GeneratedSequence)


@dataclass(frozen=True, kw_only=True)
class Generation(Generic[SequenceT]):
    """One or more generated sequences, best first for beams, and the seed that repeats them."""

    sequences: tuple[SequenceT, ...]
    seed: int
