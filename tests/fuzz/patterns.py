"""Patterns, choices and forbidden words: refused in a line or followed, and as `re` takes them."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from generative.constraints import TextConstraint, compile_text
from generative.tokenizers.byte import SINGLE_BYTES, START_ID
from tests.fuzz.entropy import Entropy

if TYPE_CHECKING:
    from generative.constraints.automaton import Automaton

PATTERNS = (
    r"[a-z]+",
    r"(ab|cd)*x?",
    r"\d{2,4}-[^\s]",
    r"(?i:Q)[^a-y]",
    r"(?s).\.[\]\-]",
    r"^a|b$",
    r"é{1,3}[à-ÿ]\w\W",
    r"((a{3}){3}){3}",
    r"(a*)*(b+|c?)+?",
    r"[^é]*\x41\u00e9\U0001F3B5",
    r"(?P<n>x)(?#no)y",
    r"(a|b)*a(a|b){9}",
    r"(?=a)b\bc(?<!d)(?P=n)(?(1)a|b)",
    r"[[a]&&b--c||d]\Z\A",
)
TEXTS = ("", "a", "b", "ab", "Q", "é", "aa", "b\n", "x", "1", "A", "_", "-", " ", "🎵", "zz")
ORACLE_CHARS = 12  # beyond them `re` may backtrack for ever
NEW_TOKENS = 12


def seeds() -> list[bytes]:
    """Patterns alone, and with choices and forbidden words."""
    alone = [b"\x00" + pattern.encode() for pattern in PATTERNS]
    return [*alone, b"\x01[a-z]*\x00ab\x00cd", b"\x02[a-z]+\x00b", b"\x03\x00yes\x00no\x00es"]


def run(data: bytes) -> None:
    """Compile it, compare it and follow it."""
    entropy = Entropy(data)
    kind = entropy.byte() % 4
    pattern, *words = entropy.rest().decode("utf-8", "replace").split("\0" if kind else "\0\0")
    choices = tuple(words) if kind in (1, 3) else ()
    forbidden = tuple(words) if kind == 2 else tuple(words[:1]) if kind == 3 else ()
    try:
        automaton = compile_text.__wrapped__(None if kind == 3 else pattern, choices, forbidden)
    except ValueError:
        return
    if kind == 0 and len(pattern) <= ORACLE_CHARS:
        _agrees_with_re(pattern, automaton)
    try:
        constraint = TextConstraint(SINGLE_BYTES, automaton, START_ID, NEW_TOKENS)
    except ValueError:
        return
    state, text = constraint.start(), bytearray()
    while state.left:
        allowed = constraint.allowed(state).nonzero()[0]
        assert allowed.size, "a dead end"
        token = int(allowed[(entropy.byte() + 7 * len(text)) % allowed.size])
        if token == START_ID:
            break
        text.append(token)
        state = constraint.advance(state, token)
    assert _accepts(automaton, bytes(text))


def _accepts(automaton: Automaton, text: bytes) -> bool:
    place = 0
    for value in text:
        place = int(automaton.table[place, value])
    return bool(automaton.accepts[place])


def _agrees_with_re(pattern: str, automaton: Automaton) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = re.compile(pattern, re.ASCII)
    for text in TEXTS:
        expected = compiled.fullmatch(text) is not None
        assert _accepts(automaton, text.encode()) == expected, (pattern, text)
