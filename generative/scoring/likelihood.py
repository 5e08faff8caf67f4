"""Negative log-likelihood and its units: perplexity, bits per character, per byte, per note.

It must not know models or tokenizers. Every ratio is of two totals, so the ratio of a sum of
likelihoods is exact, where the mean of their ratios would not be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

NATS_PER_BIT = math.log(2.0)


def _ratio(total_nats: float, count: float, unit: float = 1.0) -> float | None:
    """total / count / unit; None where the count is 0."""
    return total_nats / count / unit if count else None


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Negative log-likelihood of some data, and the counts that it can be divided by.

    Attributes:
        nats: the sum over all tokens of -ln p(token | all before it).
        tokens, chars, bytes, notes: the counts of each in the data; None for what does not apply.
        seconds: how long the music lasts; None for text.
    """

    nats: float
    tokens: int
    chars: int | None = None
    bytes: int | None = None
    notes: int | None = None
    seconds: float | None = None

    @property
    def nats_per_token(self) -> float | None:
        """Mean loss a token."""
        return _ratio(self.nats, self.tokens)

    @property
    def perplexity(self) -> float | None:
        """exp(nats / tokens): the number of equally likely tokens that would be as uncertain."""
        mean = self.nats_per_token
        if mean is None:
            return None
        return math.exp(mean) if mean < 700.0 else math.inf  # exp(710) overflows a double

    @property
    def bits_per_token(self) -> float | None:
        """Base-2 loss a token."""
        return _ratio(self.nats, self.tokens, NATS_PER_BIT)

    @property
    def nats_per_char(self) -> float | None:
        """Loss a code point, comparable across tokenizers."""
        return _ratio(self.nats, self.chars or 0)

    @property
    def bits_per_char(self) -> float | None:
        """Base-2 loss a code point."""
        return _ratio(self.nats, self.chars or 0, NATS_PER_BIT)

    @property
    def bits_per_byte(self) -> float | None:
        """Base-2 loss a UTF-8 byte, comparable across tokenizers and with compressors."""
        return _ratio(self.nats, self.bytes or 0, NATS_PER_BIT)

    @property
    def bits_per_note(self) -> float | None:
        """Base-2 loss a note."""
        return _ratio(self.nats, self.notes or 0, NATS_PER_BIT)

    def __add__(self, other: Likelihood) -> Likelihood:
        """The likelihood of both together; a count is None where it is None in either."""

        def both(name: str) -> float | None:
            mine, its = getattr(self, name), getattr(other, name)
            return None if mine is None or its is None else mine + its

        return Likelihood(**{field.name: both(field.name) for field in fields(self)})  # type: ignore[arg-type]
