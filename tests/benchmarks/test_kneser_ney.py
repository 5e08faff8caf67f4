"""The Kneser-Ney model beside a worked example and its definition, written a second way."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kneser_ney import FALLBACK_DISCOUNTS, KneserNey, discounts

if TYPE_CHECKING:
    from collections.abc import Sequence

VOCABULARY = 4
TEXTS = st.lists(st.integers(0, VOCABULARY - 1), min_size=5, max_size=60)


def test_discounts_of_a_worked_example() -> None:
    numbers = [1] * 8 + [2] * 4 + [3] * 2 + [4] + [7]  # Y = 8 / (8 + 2 * 4)
    assert discounts(np.array(numbers)) == (0.5, 1.25, 2.0)
    assert discounts(np.array([1, 1, 2, 4])) == FALLBACK_DISCOUNTS  # nothing has the number 3


def test_a_worked_example() -> None:
    # The bigrams of abaac are ab, ba, aa and ac. So a follows two ids, b and c follow one each.
    model = KneserNey(np.array([0, 1, 0, 0, 2]), vocab_size=3, order=2)
    left = (1.0 + 0.5 + 0.5) / 4
    alone = np.array([(2 - 1.0) / 4, (1 - 0.5) / 4, (1 - 0.5) / 4]) + left / 3
    after_a = (1 - 0.5) / 3 + 0.5 * alone
    after_b = np.array([1 - 0.5, 0, 0]) + 0.5 * alone
    for context, expected in (([], alone), ([2], alone), ([1, 0], after_a), ([1], after_b)):
        found = model.probabilities(np.array(context, np.int64))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    nats = model.token_nats(np.array([1, 0, 0]))
    expected_nats = [-math.log(p) for p in (alone[1], after_b[0], after_a[0])]
    np.testing.assert_allclose(nats, expected_nats, rtol=1e-12)


def by_definition(
    text: Sequence[int], context: tuple[int, ...], token: int, length: int, order: int
) -> float:
    """p of a token by n-grams of at most `length`, counted in the text each time."""
    if length == 0:
        return 1 / VOCABULARY
    numbers: Counter[tuple[int, ...]] = Counter()
    if length == order:
        numbers.update(tuple(text[at : at + length]) for at in range(len(text) - length + 1))
    else:
        longer = {tuple(text[at : at + length + 1]) for at in range(len(text) - length)}
        numbers.update(gram[1:] for gram in longer)
    taken = (0.0, *discounts(np.array(list(numbers.values()))))
    context = context[len(context) - length + 1 :]
    followers = {gram[-1]: number for gram, number in numbers.items() if gram[:-1] == context}
    shorter = by_definition(text, context[1:], token, length - 1, order)
    if not followers:
        return shorter
    total = sum(followers.values())
    left = sum(taken[min(number, 3)] for number in followers.values()) / total
    number = followers.get(token, 0)
    return (number - taken[min(number, 3)]) / total + left * shorter


@given(TEXTS, st.lists(st.integers(0, VOCABULARY - 1), max_size=6), st.integers(1, 4))
@example([0, 1, 0, 0, 2, 0, 1, 1], [3, 0, 1], 3)
def test_it_is_its_definition(text: list[int], read: list[int], order: int) -> None:
    model = KneserNey(np.array(text), VOCABULARY, order)
    found = model.probabilities(np.array(read, np.int64))
    length = min(order, len(read) + 1)
    expected = [
        by_definition(text, tuple(read), token, length, order) for token in range(VOCABULARY)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.min() > 0


@given(TEXTS, TEXTS, st.integers(1, 4))
def test_nats_are_of_each_token_given_those_before(
    text: list[int], held_out: list[int], order: int
) -> None:
    model, read = KneserNey(np.array(text), VOCABULARY, order), np.array(held_out)
    expected = [-np.log(model.probabilities(read[:at])[token]) for at, token in enumerate(held_out)]
    np.testing.assert_allclose(model.token_nats(read), expected, rtol=1e-12)
