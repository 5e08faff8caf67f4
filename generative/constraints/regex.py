"""Regular expressions as languages over bytes; Python's `re` parses them.

A pattern means what `re.fullmatch(pattern, text, re.ASCII)` means. Lookaheads, lookbehinds,
references and word boundaries are refused.
"""

from __future__ import annotations

import importlib
import re
import warnings
from typing import TYPE_CHECKING, Any

from generative.constraints.automaton import Nfa
from generative.constraints.utf8 import LAST_CODE_POINT, byte_sequences, complement, merged

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.constraints.utf8 import Ranges

# `re` has no public access to its parser; this module has been the same since Python 3.11.
_parser: Any = importlib.import_module("re._parser")
_EVERYTHING: Ranges = [(0, LAST_CODE_POINT)]
_SETS: dict[str, Ranges] = {
    "CATEGORY_DIGIT": [(48, 57)],
    "CATEGORY_SPACE": [(9, 13), (32, 32)],
    "CATEGORY_WORD": [(48, 57), (65, 90), (95, 95), (97, 122)],
}
_UPPER, _LOWER, _CASE = (65, 90), (97, 122), 32  # ASCII letters, and the distance of the cases
_IRREGULAR = {
    "ASSERT": "a lookahead or lookbehind",
    "ASSERT_NOT": "a lookahead or lookbehind",
    "GROUPREF": "a reference back",
    "GROUPREF_EXISTS": "a condition",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
}
_BEGIN = ("AT_BEGINNING", "AT_BEGINNING_STRING")
_END = ("AT_END", "AT_END_STRING")


def parse(pattern: str) -> Nfa:
    """The language of a pattern, as UTF-8.

    Raises:
        ValueError: not a regular expression, or one with a part that is refused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sets of the future, which are not ours
            parsed = _parser.parse(pattern, re.ASCII)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error
    nfa = Nfa()
    try:
        nfa.final = _Builder(nfa).sequence(parsed, 0, parsed.state.flags, first=True, last=True)
    except _UnsupportedError as error:
        raise ValueError(f"pattern {pattern!r} has {error}, which cannot be followed") from None
    return nfa


class _UnsupportedError(Exception):
    """A part of a pattern that is no regular language, or not needed for one."""


class _Builder:
    """Adds the parts of a parsed pattern to an automaton; each method returns the end state."""

    def __init__(self, nfa: Nfa) -> None:
        self._nfa = nfa
        # operation of `re` -> what adds it
        self._adders: dict[str, Callable[[Any, int, int, bool, bool], int]] = {
            "LITERAL": lambda value, start, flags, *_: self._chars(
                start, _both_cases([(value, value)], flags)
            ),
            "NOT_LITERAL": lambda value, start, flags, *_: self._chars(
                start, complement(_both_cases([(value, value)], flags))
            ),
            "ANY": lambda _, start, flags, *__: self._chars(
                start, _EVERYTHING if flags & re.DOTALL else complement([(10, 10)])
            ),
            "IN": lambda items, start, flags, *_: self._chars(start, _char_set(items, flags)),
            "BRANCH": self._branch,
            "SUBPATTERN": self._group,
            "MAX_REPEAT": self._repeat,
            "MIN_REPEAT": self._repeat,  # greedy or not, the whole text must match
            "AT": self._anchor,
        }

    def sequence(self, parts: Any, start: int, flags: int, *, first: bool, last: bool) -> int:
        """Parts in a row; `first` and `last`: nothing comes before them, or behind."""
        parts = list(parts)
        for place, (operation, argument) in enumerate(parts):
            adder = self._adders.get(str(operation))
            if adder is None:
                raise _UnsupportedError(_IRREGULAR.get(str(operation), str(operation)))
            at_first, at_last = first and place == 0, last and place == len(parts) - 1
            start = adder(argument, start, flags, at_first, at_last)
        return start

    def _chars(self, start: int, ranges: Ranges) -> int:
        end = self._nfa.state()
        for sequence in byte_sequences(ranges):
            source = start
            for low, high in sequence[:-1]:
                target = self._nfa.state()
                self._nfa.edges.append((source, low, high, target))
                source = target
            self._nfa.edges.append((source, *sequence[-1], end))
        return end

    def _branch(self, argument: Any, start: int, flags: int, first: bool, last: bool) -> int:
        end = self._nfa.state()
        for option in argument[1]:
            begin = self._nfa.state()
            self._nfa.silent.append((start, begin))
            behind = self.sequence(option, begin, flags, first=first, last=last)
            self._nfa.silent.append((behind, end))
        return end

    def _group(self, argument: Any, start: int, flags: int, first: bool, last: bool) -> int:
        _, added, removed, parts = argument
        return self.sequence(parts, start, (flags | added) & ~removed, first=first, last=last)

    def _repeat(self, argument: Any, start: int, flags: int, _: bool, __: bool) -> int:
        least, most, parts = argument
        for _turn in range(int(least)):
            start = self.sequence(parts, start, flags, first=False, last=False)
        end = self._nfa.state()
        if most == _parser.MAXREPEAT:
            loop = self._nfa.state()
            behind = self.sequence(parts, loop, flags, first=False, last=False)
            self._nfa.silent += [(start, loop), (behind, loop), (loop, end)]
            return end
        for _turn in range(int(most) - int(least)):
            self._nfa.silent.append((start, end))
            start = self.sequence(parts, start, flags, first=False, last=False)
        self._nfa.silent.append((start, end))
        return end

    def _anchor(self, argument: Any, start: int, _: int, first: bool, last: bool) -> int:
        if (str(argument) in _BEGIN and first) or (str(argument) in _END and last):
            return start  # the whole text is matched anyway
        raise _UnsupportedError("an anchor or boundary inside")


def _both_cases(ranges: Ranges, flags: int) -> Ranges:
    """The ranges, with both cases of ASCII letters if the flags ignore case."""
    if not flags & re.IGNORECASE:
        return ranges
    more = list(ranges)
    for low, high in ranges:
        for (first, last), shift in ((_UPPER, _CASE), (_LOWER, -_CASE)):
            if max(low, first) <= min(high, last):
                more.append((max(low, first) + shift, min(high, last) + shift))
    return merged(more)


def _char_set(items: Any, flags: int) -> Ranges:
    ranges: Ranges = []
    negated = False
    for operation, argument in items:
        name = str(operation)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            ranges.append((argument, argument))
        elif name == "RANGE":
            ranges.append(argument)
        else:
            ranges += _category(str(argument))
    ranges = _both_cases(ranges, flags)
    return complement(ranges) if negated else ranges


def _category(name: str) -> Ranges:
    positive = name.replace("_NOT_", "_")
    return _SETS[positive] if positive == name else complement(_SETS[positive])
