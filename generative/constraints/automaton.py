"""Languages over bytes as automata, and their intersection.

Only this file uses automata-lib, which minimises automata. A symbol there is a class of bytes that
no edge of the languages tells apart. This file must not know where the languages come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from automata.fa.dfa import DFA
    from numpy.typing import NDArray

MAX_STATES = 20_000  # states of a language before it is made deterministic
MAX_SETS = 8_000  # states of a deterministic language, or of an intersection
MAX_MEMBERS = 500_000  # sum of the sizes of all sets of states: about a second
TOO_LARGE = "the pattern is too large to follow: too many repeats within repeats; simplify it"


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
            raise ValueError(TOO_LARGE)
        self.states += 1
        return self.states - 1

    def literal(self, start: int, text: bytes) -> int:
        """Add a chain of those bytes from a state to a new one, which is returned."""
        for value in text:
            end = self.state()
            self.edges.append((start, value, value, end))
            start = end
        return start


@dataclass(frozen=True)
class Automaton:
    """A language as the smallest deterministic automaton. State 0 is the first.

    Attributes:
        table: where each byte leads from each state. (S, 256)
        accepts: whether a text may end there. (S,)
    """

    table: NDArray[np.int32]
    accepts: NDArray[np.bool_]


def intersection(languages: Sequence[Nfa]) -> Automaton:
    """The texts that belong to all of the languages.

    Raises:
        ValueError: it needs too many states.
    """
    class_of = _byte_classes(languages)
    result: DFA | None = None
    for language in languages:
        dfa = _deterministic(language, class_of)
        result = dfa if result is None else _both(result, dfa)
    assert result is not None  # at least one language
    return _as_table(result, class_of)


def _both(one: DFA, other: DFA) -> DFA:
    """The texts that belong to two languages; the library's method has no bound on its size.

    Raises:
        ValueError: it needs too many pairs of states.
    """
    first = (one.initial_state, other.initial_state)
    numbers, waiting = {first: 0}, [first]
    transitions: dict[int, dict[str, int]] = {}
    while waiting:
        pair = waiting.pop()
        theirs = other.transitions[pair[1]]
        edges = transitions.setdefault(numbers[pair], {})
        for symbol, target in one.transitions[pair[0]].items():
            if symbol in theirs:
                reached = (target, theirs[symbol])
                if reached not in numbers:
                    if len(numbers) == MAX_SETS:
                        raise ValueError(TOO_LARGE)
                    numbers[reached] = len(numbers)
                    waiting.append(reached)
                edges[symbol] = numbers[reached]
    accepts = {(a, b) for a, b in numbers if a in one.final_states and b in other.final_states}
    return _smallest(transitions, one.input_symbols, {numbers[pair] for pair in accepts})


def _smallest(
    transitions: dict[int, dict[str, int]], symbols: Collection[str], accepts: set[int]
) -> DFA:
    """The smallest automaton of a language; 0 is the first state, and edges may be missing."""
    from automata.fa.dfa import DFA  # imported here, since only constrained texts need it

    return DFA(
        states=set(transitions),
        input_symbols=set(symbols),
        transitions=transitions,
        initial_state=0,
        final_states=accepts,
        allow_partial=True,
    ).minify()


def _byte_classes(languages: Sequence[Nfa]) -> NDArray[np.int64]:
    """A number for each byte; bytes that no edge tells apart have the same. (256,)"""
    begins = np.zeros(257, dtype=np.int64)
    for language in languages:
        for _, low, high, _ in language.edges:
            begins[[low, high + 1]] = 1
    begins[0] = 0
    return begins.cumsum()[:256]


def _deterministic(language: Nfa, class_of: NDArray[np.int64]) -> DFA:
    """The language as a deterministic automaton, whose states are sets of the old ones.

    The library's method has no bound, and a short pattern may need 2 ** n sets.

    Raises:
        ValueError: it needs too many sets.
    """
    closures = _closures(language)
    targets_of: list[dict[int, set[int]]] = [{} for _ in range(language.states)]  # by class
    for source, low, high, target in language.edges:
        for number in range(int(class_of[low]), int(class_of[high]) + 1):
            targets_of[source].setdefault(number, set()).update(closures[target])
    numbers = {closures[0]: 0}
    waiting, members = [closures[0]], len(closures[0])
    transitions: dict[int, dict[str, int]] = {}
    while waiting:
        states = waiting.pop()
        reached: dict[int, set[int]] = {}
        for state in states:
            for number, targets in targets_of[state].items():
                reached.setdefault(number, set()).update(targets)
        edges = transitions.setdefault(numbers[states], {})
        for number, targets in reached.items():
            target_states = frozenset(targets)
            if target_states not in numbers:
                members += len(target_states)
                if len(numbers) == MAX_SETS or members > MAX_MEMBERS:
                    raise ValueError(TOO_LARGE)
                numbers[target_states] = len(numbers)
                waiting.append(target_states)
            edges[chr(number)] = numbers[target_states]
    dfa = _smallest(
        transitions,
        {chr(number) for number in set(class_of.tolist())},
        {number for states, number in numbers.items() if language.final in states},
    )
    return dfa.complement(minify=True) if language.negated else dfa


def _closures(language: Nfa) -> list[frozenset[int]]:
    """For each state the states that it leads to without a byte, itself included.

    Raises:
        ValueError: they are too many.
    """
    silent: dict[int, list[int]] = {}
    for source, target in language.silent:
        silent.setdefault(source, []).append(target)
    closures: list[frozenset[int]] = []
    members = 0
    for state in range(language.states):
        seen, waiting = {state}, [state]
        while waiting:
            more = [target for target in silent.get(waiting.pop(), ()) if target not in seen]
            seen.update(more)
            waiting += more
        members += len(seen)
        if members > MAX_MEMBERS:
            raise ValueError(TOO_LARGE)
        closures.append(frozenset(seen))
    return closures


def _as_table(dfa: DFA, class_of: NDArray[np.int64]) -> Automaton:
    """The library's automaton as arrays, with a dead state, the last, for missing edges."""
    names = [dfa.initial_state, *(state for state in dfa.states if state != dfa.initial_state)]
    index = {name: number for number, name in enumerate(names)}
    by_class = np.full((len(names) + 1, int(class_of.max()) + 1), len(names), dtype=np.int32)
    for name, edges in dfa.transitions.items():
        for symbol, target in edges.items():
            by_class[index[name], ord(symbol)] = index[target]
    accepts = np.array([*(name in dfa.final_states for name in names), False])
    return Automaton(by_class[:, class_of], accepts)
