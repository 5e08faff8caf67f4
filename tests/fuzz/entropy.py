"""Choices that an input makes: numbers, strings and changes to JSON values, from its bytes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
NAN, INFINITY = float("nan"), float("inf")
# what a stranger might put where another value was
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 4, 255, 256, 1664, 1 << 16, 1 << 20, (1 << 31) - 1, 1 << 31,
    1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 63), 10**300, 10**4000, 0.0, -0.0, 0.5, 1.0,
    4.0, 1e-320, 1e308, NAN, INFINITY, -INFINITY, "", "a", "é", "\u2581", "\x00", "\ud800", "0",
    "-1", "1e9", "..", ".", "../x", "/etc/passwd", "a/b", "a\\b", "tokenizer.model", "config.json",
    "x" * 5000, "lstm", "gru", "char", "byte", "music", "sentencepiece", "score", "performance",
    "<u2", "|u1", "<f4", "|O", "O", "S4", "F32", "F16", "BF16", "I64", "U8", "F4", "O8",
    [], [[]], {}, [0], [-1], [1 << 62, 1 << 62], [0, 1 << 62], [None], ["a"], ["a", "a"], {"a": 1},
)  # fmt: skip
DEEP = 40  # lists in lists, more than any file of ours has


class Entropy:
    """Reads an input from its beginning; behind its end everything is 0.

    Example:
        Entropy(bytes([7])).below(5)    # 2
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """0..255."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, count: int) -> int:
        """0..count - 1; `count` is at most 65,536."""
        return (self.byte() if count <= 256 else self.byte() << 8 | self.byte()) % count

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.below(len(options))]

    def rest(self) -> bytes:
        """All that was not read yet."""
        return self._data[self._at :]


def changed(value: Any, entropy: Entropy) -> Any:
    """A copy of a JSON value with one to four changes, each anywhere in it."""
    value = copy.deepcopy(value)
    for _ in range(1 + entropy.below(4)):
        value = _changed_once(value, entropy, at_least_inside=entropy.below(32) > 0)
    return value


def _changed_once(value: Any, entropy: Entropy, *, at_least_inside: bool = False) -> Any:
    inside = value if isinstance(value, dict | list) else None
    if inside and (at_least_inside or entropy.below(6)):
        key = entropy.pick(list(value) if isinstance(value, dict) else range(len(value)))
        action = entropy.below(8)
        if action == 0:
            del inside[key]
        elif action == 1 and isinstance(inside, dict):
            inside[str(entropy.pick(ODD_VALUES))[:20]] = inside.pop(key)
        elif action == 1 and isinstance(inside, list):
            inside.insert(key, copy.deepcopy(inside[key]))
        else:
            inside[key] = _changed_once(inside[key], entropy)
        return value
    odd = entropy.pick((*ODD_VALUES, "deep", "near", "text"))
    if odd == "deep":
        for _ in range(DEEP):
            value = [value]
        return value
    if odd == "near" and isinstance(value, int | float):
        return value + entropy.byte() - 128
    if odd == "text":
        return entropy.rest()[:20].decode("utf-8", "replace")
    return copy.deepcopy(odd)
