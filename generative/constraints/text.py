"""Which tokens keep a text within a pattern or some choices, and free of some words.

It knows the bytes that tokens stand for, and so works with every text tokenizer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from generative.constraints import regex as patterns
from generative.constraints.automaton import Automaton, Nfa, intersection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_CELLS = 10_000_000  # states times tokens, which take about a second and 40 MB
NEVER = np.iinfo(np.int32).max  # distance of a state from which no text can be completed


class State(NamedTuple):
    """The state of the automaton after a text, and how many more tokens the text may have."""

    place: int
    left: int


@lru_cache(maxsize=16)
def compile_text(
    pattern: str | None, choices: tuple[str, ...] = (), forbid: tuple[str, ...] = ()
) -> Automaton:
    """The automaton of texts that match the pattern, are a choice and have no forbidden word.

    Raises:
        ValueError: the pattern cannot be read, a forbidden word is empty, or all of it together is
            too large to follow.
    """
    if not all(forbid):
        raise ValueError("a forbidden word must not be empty")
    languages = [] if pattern is None else [patterns.parse(pattern)]
    if choices:
        languages.append(_one_of(choices))
    if forbid:
        languages.append(_without(forbid))
    if not languages:
        raise ValueError("a constraint needs a pattern, choices or forbidden words")
    return intersection(languages)


def _one_of(texts: Sequence[str]) -> Nfa:
    nfa = Nfa()
    ends = [nfa.literal(0, text.encode()) for text in texts]
    nfa.final = nfa.state()
    nfa.silent = [(end, nfa.final) for end in ends]
    return nfa


def _without(words: Sequence[str]) -> Nfa:
    """The byte strings, UTF-8 or not, that contain none of the words."""
    nfa = Nfa(negated=True)
    ends = [nfa.literal(0, word.encode()) for word in words]
    nfa.final = nfa.state()
    nfa.silent = [(end, nfa.final) for end in ends]
    nfa.edges += [(0, 0, 255, 0), (nfa.final, 0, 255, nfa.final)]
    return nfa


class TextConstraint:
    """A constraint for sampling and beams, which permits only texts in the language.

    A token is allowed only if the text can still be completed after it with the tokens left, so
    there are no dead ends and no incomplete texts. The end is allowed where the text is complete.

    Example:
        constraint = TextConstraint(tokenizer.token_bytes, compile_text("[a-z]+"), end_id, 20)
        constraint.allowed(constraint.start())    # the tokens that consist of a..z
    """

    def __init__(
        self,
        token_bytes: Sequence[bytes],
        automaton: Automaton,
        end_id: int,
        max_new_tokens: int,
        forbidden: Sequence[int] = (),
    ) -> None:
        """`token_bytes`: the bytes of each token; `forbidden`: tokens that may not be used.

        Raises:
            ValueError: no text of the language can be written with these tokens, or so few.
        """
        if len(automaton.table) * len(token_bytes) > MAX_CELLS:
            raise ValueError(
                f"the constraint is too large to follow: {len(automaton.table):,} states "
                f"times {len(token_bytes):,} tokens; simplify it"
            )
        self._end_id = end_id
        self._max_new_tokens = max_new_tokens
        self._accepts = automaton.accepts
        self._next = _token_table(token_bytes, automaton, {*forbidden, end_id})
        self._distances = _distances(self._next, automaton.accepts)  # tokens to a complete text
        finite = self._distances[self._distances < NEVER]
        self._enough = 1 + int(finite.max(initial=0))  # more tokens left give the same masks
        self._masks: dict[State, NDArray[np.bool_]] = {}
        shortest = int(self._distances[0])
        if shortest == NEVER:
            raise ValueError("the constraint cannot be met: no tokens spell such a text")
        if shortest > max_new_tokens:
            raise ValueError(
                f"the constraint cannot be met in {max_new_tokens} tokens: "
                f"the shortest such text has {shortest}"
            )

    def start(self) -> State:
        """The state before the first token."""
        return State(0, self._max_new_tokens)

    def advance(self, state: State, token: int) -> State:
        """The state after `token`."""
        if token == self._end_id:
            return State(state.place, 0)
        return State(int(self._next[state.place, token]), state.left - 1)

    def allowed(self, state: State) -> NDArray[np.bool_]:
        """Which tokens may come next. (V,)"""
        key = State(state.place, min(state.left, self._enough))
        mask = self._masks.get(key)
        if mask is None:
            mask = self._distances[self._next[key.place]] < key.left
            mask[self._end_id] = self._accepts[key.place]
            self._masks[key] = mask
        return mask


def _token_table(
    token_bytes: Sequence[bytes], automaton: Automaton, forbidden: set[int]
) -> NDArray[np.int32]:
    """The state after each token from each state. (S, V)"""
    dead = len(automaton.table) - 1  # no text is completed from this state
    states = np.arange(len(automaton.table), dtype=np.int32)
    table = np.repeat(states[:, None], len(token_bytes), axis=1)
    lengths = np.array([len(spelling) for spelling in token_bytes])
    for place in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > place)
        values = np.array([token_bytes[token][place] for token in longer.tolist()])
        table[:, longer] = automaton.table[table[:, longer], values]
    # a token without bytes would repeat for ever without adding to the text
    silent = np.flatnonzero(lengths == 0)
    table[:, [*forbidden, *silent.tolist()]] = dead
    return table


def _distances(table: NDArray[np.int32], accepts: NDArray[np.bool_]) -> NDArray[np.int32]:
    """How many tokens are needed at least from each state to one that accepts. (S,)"""
    size = len(table)
    edges = np.unique(np.arange(size)[:, None] * size + table)
    sources, targets = np.divmod(edges, size)
    sources = sources[np.argsort(targets, kind="stable")]  # side by side those of one target
    begins = np.concatenate([[0], np.bincount(targets, minlength=size).cumsum()])
    distances = np.where(accepts, 0, NEVER).astype(np.int32)
    reached = np.flatnonzero(accepts)
    for step in range(1, size + 1):
        into = [sources[begins[state] : begins[state + 1]] for state in reached.tolist()]
        found = np.unique(np.concatenate([*into, reached[:0]]))
        reached = found[distances[found] == NEVER]
        if not reached.size:
            break
        distances[reached] = step
    return distances
