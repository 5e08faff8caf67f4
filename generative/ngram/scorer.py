"""Scores of tokens under the mixture, given the network's logits; must not know networks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from generative.ngram import history as histories
from generative.ngram.operations import INTERPRETED
from generative.ngram.records import make_scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from generative.ngram.records import History, Tables


class Learning(NamedTuple):
    """How the weights of the mixture learn, by AdaGrad.

    Attributes:
        rate: the length of the first steps, were there no squares.
        squares: the sum of squared gradients before the first one. It makes the first steps small.
    """

    rate: float
    squares: float


# While a document is read the weights are near their best; they move little, and far only where a
# long document asks for it. While they are fitted they come from numbers that fit no corpus.
ADAPTING = Learning(rate=0.02, squares=1000.0)
FITTING = Learning(rate=0.05, squares=1.0)
_NOT_LEARNING = Learning(rate=0.0, squares=1.0)


class Scorer:
    """Scores one document from its beginning, a stretch at a time.

    Example:
        scorer = Scorer(count_model.tables(CACHED))
        nats = scorer(logits, inputs, targets)   # (T, V), (T,), (T,) -> (T,)
    """

    def __init__(
        self, tables: Tables, history: History | None = None, learning: Learning | None = None
    ) -> None:
        """Begin a document.

        Args:
            tables: the count model.
            history: of one row, to begin with; None is an empty one.
            learning: how the weights of the mixture learn after each token; None for not at all.
                They are a copy.
        """
        self.tables = tables._replace(weights=tables.weights.copy())
        self._history = histories.start(tables, 1) if history is None else history
        learning = learning or _NOT_LEARNING
        self._squares = np.full(tables.weights.shape, learning.squares, np.float64)
        self._rate = learning.rate
        self._scratch = make_scratch(tables.vocab_size, tables.order)

    def __call__(
        self,
        logits: NDArray[np.float32],
        inputs: NDArray[np.int64],
        targets: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """-ln p of each target.

        Args:
            logits: the network's after each input. (T, V)
            inputs: the tokens to read. (T,)
            targets: the tokens that follow them. (T,)
        """
        self._history = histories.copied(self._history, len(inputs))
        nats = np.empty(len(inputs))
        _score()(
            self.tables, self._history, self._scratch, self._squares, self._rate,
            np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(inputs, np.int64),
            np.ascontiguousarray(targets, np.int64), nats,
        )  # fmt: skip
        return nats

    def restart(self) -> None:
        """Begin another document with an empty cache; the weights stay as they have become."""
        self._history = histories.start(self.tables, 1)


@cache
def _score() -> Callable[..., Any]:
    """`Operations.score`, compiled where that is possible."""
    try:
        from generative.ngram import compiled
    except ImportError:  # numba is often late for a new Python or NumPy, or told to do nothing
        return INTERPRETED.score
    return compiled.score
