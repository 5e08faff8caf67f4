"""Matches: where the tokens so far agree with their end, and what followed there.

It must not know what tokens mean. The longest match is the longest run of tokens that ends before
the present token and equals the run that ends with it; of equal ones the latest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generative.context.records import (
    COUNT,
    LONGEST_SEARCHED,
    MATCH_KIND,
    MATCH_LENGTH,
    MATCH_PLACE,
    MATCH_VALUE,
    NOTHING,
    SHORTEST_TOLD,
    TOKENS,
    WINDOW,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.context.records import Inner


def make_advance(inner: Inner) -> Callable[..., Any]:
    """Build the function (tables, m, token), which follows or looks for the longest match.

    A match that goes on stays the longest one, since all others grow by no more than it does. So
    all places are compared only after a token that the match did not foretell.
    """

    @inner
    def length_at(m: Any, place: Any, last: Any, first: Any) -> Any:
        """How many tokens up to a place equal those up to the last one."""
        length = 0
        while (
            length < LONGEST_SEARCHED
            and place - length >= first
            and m[TOKENS + (place - length) % WINDOW] == m[TOKENS + (last - length) % WINDOW]
        ):
            length += 1
        return length

    @inner
    def search(m: Any, last: Any) -> None:
        first = max(0, last + 1 - WINDOW)  # Older tokens are not in the memory.
        m[MATCH_LENGTH] = 0
        for place in range(last - 1, first - 1, -1):
            length = length_at(m, place, last, first)
            if length > m[MATCH_LENGTH]:
                m[MATCH_LENGTH] = length
                m[MATCH_PLACE] = place + 1

    @inner
    def advance(tables: Any, m: Any, token: Any) -> None:
        place = m[COUNT]
        m[COUNT] += 1
        m[TOKENS + place % WINDOW] = token
        if m[MATCH_LENGTH] > 0 and m[TOKENS + m[MATCH_PLACE] % WINDOW] == token:
            m[MATCH_LENGTH] += 1
            m[MATCH_PLACE] += 1
        else:
            search(m, place)
        m[MATCH_KIND] = NOTHING
        m[MATCH_VALUE] = NOTHING
        if m[MATCH_LENGTH] >= SHORTEST_TOLD:
            expected = m[TOKENS + m[MATCH_PLACE] % WINDOW]
            m[MATCH_KIND] = tables.kinds[expected]
            m[MATCH_VALUE] = tables.values[expected]

    return advance
