"""The operations compiled, and a compiled loop that scores tokens.

It must not know networks. Import it only where compiling is possible.
"""

from __future__ import annotations

from typing import Any

from generative.machine import compiling
from generative.machine.compiling import cached_with, exp, inner, log
from generative.ngram import operations, records
from generative.ngram.operations import make

if not compiling.is_possible():
    raise ImportError("numba is told to compile nothing (NUMBA_DISABLE_JIT)")

NOTE = "compiling the count models for this machine: once, some ten seconds"

COMPILED = make(inner, log, exp)
_score = COMPILED.score


@cached_with(operations.__file__, records.__file__)
def _run(  # noqa: PLR0913, PLR0917 - a compiled function takes its arrays one by one
    tables: Any, history: Any, scratch: Any, squares: Any, rate: Any, logits: Any, inputs: Any,
    targets: Any, nats: Any,
) -> None:  # fmt: skip
    _score(tables, history, scratch, squares, rate, logits, inputs, targets, nats)


def score(*arguments: Any) -> None:
    """`Operations.score`, compiled; a line is logged if it has to be compiled first."""
    compiling.call(_run, NOTE, *arguments)
