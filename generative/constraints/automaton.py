"""Languages over bytes: knows states and transitions, not where the languages come from.

The only file that knows the library (automata-lib), which makes automata deterministic and small
and combines them. An edge there is a class of bytes that no part of the languages tells apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automata.fa.dfa import DFA
    from numpy.typing import NDArray

MAX_STATES = 20_000  # of a language before it is made deterministic


@dataclass
class Nfa:
    """A language under construction: states are numbers, 0 the first.

    Attributes:
        edges: (from, lowest byte, highest byte, to).
        silent: (from, to), taken without a byte.
        final: the one state that accepts.
        negated: whether every other byte string is meant.
    """

    states: int = 1
    edges: list[tuple[int, int, int, int]] = field(default_factory=list)
    silent: list[tuple[int, int]] = field(default_factory=list)
    final: int = 0
    negated: bool = False

    def state(self) -> int:
        """A new state.

        Raises:
            ValueError: there are too many already.
        """
        if self.states >= MAX_STATES:
            raise ValueError(f"the pattern is too large: it needs more than {MAX_STATES} states")
        self.states += 1
        return self.states - 1

    def literal(self, start: int, text: bytes) -> int:
        """Those bytes, from a state to a new one."""
        for value in text:
            end = self.state()
            self.edges.append((start, value, value, end))
            start = end
        return start


@dataclass(frozen=True)
class Automaton:
    """A language, deterministic and as small as can be. State 0 is the first.

    Attributes:
        table: where each byte leads from each state. (S, 256)
        accepts: whether a text may end there. (S,)
    """

    table: NDArray[np.int32]
    accepts: NDArray[np.bool_]


def intersection(languages: Sequence[Nfa]) -> Automaton:
    """What belongs to all of the languages."""
    class_of = _byte_classes(languages)
    result: DFA | None = None
    for language in languages:
        dfa = _deterministic(language, class_of)
        result = dfa if result is None else result.intersection(dfa, minify=True)
    assert result is not None  # at least one language
    return _as_table(result, class_of)


def _byte_classes(languages: Sequence[Nfa]) -> NDArray[np.int64]:
    """Bytes that every edge takes together have one number. (256,)"""
    begins = np.zeros(257, dtype=np.int64)
    for language in languages:
        for _, low, high, _ in language.edges:
            begins[[low, high + 1]] = 1
    begins[0] = 0
    return begins.cumsum()[:256]


def _deterministic(language: Nfa, class_of: NDArray[np.int64]) -> DFA:
    from automata.fa.dfa import DFA  # here, since only constrained texts need it
    from automata.fa.nfa import NFA

    transitions: dict[int, dict[str, set[int]]] = {s: {} for s in range(language.states)}
    for source, low, high, target in language.edges:
        for number in range(int(class_of[low]), int(class_of[high]) + 1):
            transitions[source].setdefault(chr(number), set()).add(target)
    for source, target in language.silent:
        transitions[source].setdefault("", set()).add(target)
    nfa = NFA(
        states=set(range(language.states)),
        input_symbols={chr(number) for number in set(class_of.tolist())},
        transitions=transitions,
        initial_state=0,
        final_states={language.final},
    )
    dfa = DFA.from_nfa(nfa, retain_names=False, minify=True)
    return dfa.complement(minify=True) if language.negated else dfa


def _as_table(dfa: DFA, class_of: NDArray[np.int64]) -> Automaton:
    """The library's automaton as arrays, with a state of no return for what is missing."""
    names = [dfa.initial_state, *(state for state in dfa.states if state != dfa.initial_state)]
    index = {name: number for number, name in enumerate(names)}
    by_class = np.full((len(names) + 1, int(class_of.max()) + 1), len(names), dtype=np.int32)
    for name, edges in dfa.transitions.items():
        for symbol, target in edges.items():
            by_class[index[name], ord(symbol)] = index[target]
    accepts = np.array([*(name in dfa.final_states for name in names), False])
    return Automaton(by_class[:, class_of], accepts)
