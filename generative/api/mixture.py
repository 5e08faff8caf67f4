"""A runtime that mixes the distributions of several models.

This module must not know what tokens stand for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from generative.engine.mixed import MixedStepper, log_mixture

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.api.runtime import RuntimeLike
    from generative.api.styles import Style
    from generative.checkpoint import Checkpoint


class Mixture:
    """Steps and scores under p(token) = sum of weight_i * p_i(token).

    Example:
        parts = [Runtime(checkpoint.load(name)) for name in ("one", "other")]
        logits, state = Mixture(parts, [0.6, 0.4]).stepper_for(100).prefill(...)
    """

    def __init__(self, parts: Sequence[RuntimeLike], weights: Sequence[float]) -> None:
        """Mix `parts` with `weights`, one a part, which are positive and sum to 1.

        Raises:
            ValueError: the tokenizers of two models differ.
        """
        first, *others = (part.checkpoint for part in parts)
        for other in others:
            if not _same_tokenizer(first, other):
                raise ValueError(
                    f"{first.name} and {other.name} cannot be mixed: their tokenizers differ "
                    f"({_described(first)}, {_described(other)})"
                )
        self._parts, self._weights = tuple(parts), tuple(weights)
        names = (part.checkpoint.name for part in parts)
        name = ",".join(f"{n}:{weight:g}" for n, weight in zip(names, weights, strict=True))
        # All parts have this tokenizer; config, arrays and details are those of the first part.
        self.checkpoint = replace(first, name=name)

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of the styles that all of the models have."""
        first, *others = (part.styles for part in self._parts)
        return tuple(name for name in first if all(name in other for other in others))

    def stepper_for(self, tokens: int) -> MixedStepper:
        """The stepper for a request that reads and draws `tokens` tokens in all its rows."""
        return MixedStepper([part.stepper_for(tokens) for part in self._parts], self._weights)

    def styled(self, style: Style | None) -> Mixture:
        """A mixture of the models that are all in a style; None is this one.

        Raises:
            OptionError: one of them has no such style.
        """
        if style is None:
            return self
        return self._of([part.styled(style) for part in self._parts])

    def token_nats(
        self, ids: Sequence[int], reset_every: int | None, protocol: str
    ) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        log_p = [-part.token_nats(ids, reset_every, protocol) for part in self._parts]
        return -log_mixture(log_p, self._weights)

    def dynamic_token_nats(self, ids: Sequence[int], protocol: str) -> NDArray[np.float64]:
        """-ln p of each token while a copy of each model learns from those before it. -> (T,)"""
        log_p = [-part.dynamic_token_nats(ids, protocol) for part in self._parts]
        return -log_mixture(log_p, self._weights)

    def adapted(self, ids: Sequence[int]) -> Mixture:
        """A mixture of the models as they are after learning from `ids`."""
        return self._of([part.adapted(ids) for part in self._parts])

    def _of(self, parts: Sequence[RuntimeLike]) -> Mixture:
        return Mixture(parts, self._weights)


def _same_tokenizer(one: Checkpoint, other: Checkpoint) -> bool:
    mine, theirs = ((c.tokenizer.to_config(), c.tokenizer.files()) for c in (one, other))
    return mine == theirs


def _described(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.tokenizer.name} with {checkpoint.tokenizer.vocab_size} tokens"
