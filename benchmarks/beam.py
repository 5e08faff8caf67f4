"""Beam 8 as one batch beside eight hypotheses that step one by one in turn, in one run.

    python benchmarks/beam.py

Both are the same search over the same engine and find the same sequences; only the stepping
differs. Random weights, vocabulary 96, one thread, 200 tokens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from generative import engine
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.sampling import BeamOptions, Request, Stepper, beam_search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOCABULARY = 96
SHAPES = ((2, 128), (2, 256), (3, 512), (3, 1024))
BEAMS = 8
TOKENS = 200
ROUNDS = 3  # the best of so many counts


@dataclass(frozen=True)
class Apart:
    """The state of each row by itself."""

    rows: tuple[Any, ...]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Apart:
        """See `State`. States are never edited, so nothing is copied."""
        return Apart(tuple(self.rows[int(row)] for row in rows))


class InTurn:
    """A stepper that steps each row alone, as separate hypotheses would."""

    def __init__(self, stepper: Stepper[Any]) -> None:
        self.vocab_size = stepper.vocab_size
        self._stepper = stepper

    def initial_state(self, batch_size: int) -> Apart:
        """See `Stepper`."""
        return Apart(tuple(self._stepper.initial_state(1) for _ in range(batch_size)))

    def step(self, tokens: NDArray[np.int64], state: Apart) -> tuple[NDArray[np.float32], Apart]:
        """See `Stepper`."""
        made = [
            self._stepper.step(token, row)
            for token, row in zip(tokens[:, None], state.rows, strict=True)
        ]
        return np.concatenate([logits for logits, _ in made]), Apart(tuple(row for _, row in made))

    def prefill(self, tokens: NDArray[np.int64], state: Apart) -> tuple[NDArray[np.float32], Apart]:
        """See `Stepper`."""
        logits, row = self._stepper.prefill(tokens, state.rows[0])
        return logits, Apart((row,))


def random_engine(layers: int, hidden: int) -> Stepper[Any]:
    """The package's engine over random weights, scaled up so that hypotheses differ."""
    config = ModelConfig(
        vocab_size=VOCABULARY, num_layers=layers, hidden_size=hidden, sum_layers=False
    )
    weights = {k: v.numpy() for k, v in LanguageModel(config).state_dict().items()}
    weights["output.weight"] = weights["output.weight"] * np.float32(8.0)
    return engine.build(config, weights)


def search(stepper: Stepper[Any]) -> tuple[float, list[list[int]]]:
    """Seconds, and what was found."""
    began = time.perf_counter()
    request = Request(max_new_tokens=TOKENS, num_return_sequences=BEAMS)
    found = beam_search(stepper, [[0]], BeamOptions(num_beams=BEAMS), request)[0]
    return time.perf_counter() - began, [one.tokens for one in found]


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    print("layers x hidden   one batch, s   in turn, s   ratio")
    for layers, hidden in SHAPES:
        engine = random_engine(layers, hidden)
        sides: tuple[Stepper[Any], Stepper[Any]] = (engine, InTurn(engine))
        seconds = [np.inf, np.inf]
        for _ in range(ROUNDS):
            runs = [search(side) for side in sides]
            seconds = [min(old, run[0]) for old, run in zip(seconds, runs, strict=True)]
        same = "" if runs[0][1] == runs[1][1] else "   (rounding led them apart)"
        together, apart = seconds
        ratio = apart / together
        print(f"{layers}x{hidden:<14} {together:13.3f} {apart:12.3f} {ratio:7.1f}{same}")


if __name__ == "__main__":
    main()
