"""The operations compiled, and a compiled loop that reads tokens.

It must not know networks. Import it only where compiling is possible.
"""

from __future__ import annotations

from typing import Any

from generative.context import echo, features, frames, matches, operations, records
from generative.context.operations import make
from generative.machine import compiling
from generative.machine.compiling import cached_with, inner

if not compiling.is_possible():
    raise ImportError("numba is told to compile nothing (NUMBA_DISABLE_JIT)")

NOTE = "compiling the context features for this machine: once, some seconds"
SOURCES = (
    __file__,
    echo.__file__,
    features.__file__,
    frames.__file__,
    matches.__file__,
    operations.__file__,
    records.__file__,
)

COMPILED = make(inner)
_read_all = COMPILED.read_all


@cached_with(*SOURCES)
def _run(tables: Any, memory: Any, tokens: Any, out: Any) -> None:
    _read_all(tables, memory, tokens, out)


def read_all(*arguments: Any) -> None:
    """`Operations.read_all`, compiled; a line is logged if it has to be compiled first."""
    compiling.call(_run, NOTE, *arguments)
