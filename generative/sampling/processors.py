"""What a logits processor is, and how several of them are run one after another.

A processor maps (rows, logits (B, V)) to new logits and forbids a token by -inf. It must not edit
its arguments. `table` lists all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from generative.sampling.rows import NO_HISTORY, History, RowArrays, Rows
from generative.sampling.samplers import Logits, are_distributions

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stateless(Protocol):
    """A processor without memory: (B rows, logits (B, V)) -> logits (B, V)."""

    def __call__(self, rows: Rows, logits: Logits, /) -> Logits: ...


class Stateful(Protocol):
    """A processor with a memory, which it takes in and returns anew. Its arrays have B rows."""

    def adapt(
        self, rows: Rows, logits: Logits, memory: RowArrays | None
    ) -> tuple[Logits, RowArrays]:
        """(rows, logits (B, V), memory) -> logits (B, V), memory; it is None at first."""
        ...


LogitsProcessor: TypeAlias = Stateless | Stateful


def start_rows(
    processors: Sequence[LogitsProcessor],
    prompt: Sequence[int],
    vocab_size: int,
    rngs: Sequence[np.random.Generator],
    max_steps: int,
) -> Rows:
    """Rows that all begin with one prompt, one for each generator.

    Args:
        processors: those that will process the rows' logits; they decide how much history is kept.
        prompt: the start token, which no history counts, and the rest.
        vocab_size: V.
        rngs: the generator of each row.
        max_steps: how many tokens a row may take at most.
    """
    need = NO_HISTORY
    for processor in processors:
        need = need.join(getattr(processor, "need", NO_HISTORY))
    history = History.of(prompt[1:], vocab_size, need)
    return Rows(
        histories=(history,) * len(rngs),
        rngs=tuple(rngs),
        max_steps=max_steps,
        memory=(None,) * len(processors),
    )


def process_logits(
    processors: Sequence[LogitsProcessor], rows: Rows, logits: Logits
) -> tuple[Logits, Rows]:
    """Run all processors in order. -> logits (B, V), the rows with the processors' new memory

    Raises:
        ValueError: no distribution is left: penalties or biases so large that they overflow.
    """
    if not processors:
        return logits, rows
    memory = rows.memory
    with np.errstate(over="ignore", invalid="ignore"):
        for index, processor in enumerate(processors):
            if hasattr(processor, "adapt"):  # isinstance with a protocol takes longer than top-k
                logits, new = processor.adapt(rows, logits, memory[index])
                memory = (*memory[:index], new, *memory[index + 1 :])
            else:
                logits = processor(rows, logits)
    if not are_distributions(logits):
        raise ValueError("penalties or biases this large leave no distribution to draw from")
    return logits, rows if memory is rows.memory else replace(rows, memory=memory)
