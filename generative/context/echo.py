"""What stood at the same place in the bar some bars ago, for the context features.

It must not know networks or ids. Like `operations`, which calls them, the functions are written
once and run interpreted and compiled, and `m` is a row of the memory.

The memory keeps the latest notes in a ring, each packed in one number, and for each of the latest
bars its first step and the number of notes before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from generative.context.records import (
    BAR_BEGIN,
    BARS,
    BARS_AGO,
    BARS_KEPT,
    CLOCK,
    FIRST_NOTES,
    FIRST_STEPS,
    LAST,
    LATEST,
    LONGEST_BAR_STEPS,
    NEXT_VOICE,
    NOTE_COUNT,
    NOTES,
    NOTES_KEPT,
    NOTHING,
    ONSET,
    PITCHES,
    RUNS,
    SLOTS,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.context.records import Inner


class Echo(NamedTuple):
    """The functions that `make_echo` builds. An index is one of `BARS_AGO`.

    Attributes:
        begin_bar: (m) remembers where the current bar begins.
        add_note: (m, slot, pitch) compares a note that begins now with those of earlier bars, and
            remembers it.
        onset: (index, m) -> 0 without such a bar; 1 + the step, from its bar line on, at which a
            note began next; the greatest value if none did.
        pitch: (index, m) -> 0 without such a note; else 1 + the pitch that the next voice played
            next, to which `PITCHES` is added if it began at this very step.
    """

    begin_bar: Callable[..., Any]
    add_note: Callable[..., Any]
    onset: Callable[..., Any]
    pitch: Callable[..., Any]


def make_echo(inner: Inner) -> Echo:  # noqa: C901 - the functions are in it to be built twice
    """Build the functions.

    inner: a decorator, which may compile.
    """

    @inner
    def begin_bar(m: Any) -> None:
        place = m[BARS] % BARS_KEPT
        m[FIRST_STEPS + place] = m[BAR_BEGIN]
        m[FIRST_NOTES + place] = m[NOTE_COUNT]

    @inner
    def first_note(index: Any, m: Any) -> Any:
        """The number of the first note of the bar so many bars ago; NOTHING where it is unknown."""
        if m[BARS] <= BARS_AGO[index]:
            return NOTHING
        note = m[FIRST_NOTES + (m[BARS] - BARS_AGO[index]) % BARS_KEPT]
        return note if m[NOTE_COUNT] - note <= NOTES_KEPT else NOTHING

    @inner
    def note_after(index: Any, m: Any) -> Any:
        """The number of the first note after the bar so many bars ago."""
        return m[FIRST_NOTES + (m[BARS] - BARS_AGO[index] + 1) % BARS_KEPT]

    @inner
    def shift(index: Any, m: Any) -> Any:
        """The steps between the present place and the same place so many bars ago."""
        return m[BAR_BEGIN] - m[FIRST_STEPS + (m[BARS] - BARS_AGO[index]) % BARS_KEPT]

    @inner
    def find(index: Any, m: Any, slot: Any) -> Any:
        """The note, packed, that a track played next so many bars ago; NOTHING if none."""
        first = first_note(index, m)
        if first == NOTHING:
            return NOTHING
        now = m[CLOCK] - shift(index, m)
        least = (now * SLOTS + slot) * PITCHES
        if m[ONSET + slot] == m[CLOCK] and m[LAST + slot] != NOTHING:
            least += m[LAST + slot] + 1  # The notes of a chord are in the order of their pitches.
        for number in range(first, note_after(index, m)):
            note = m[NOTES + number % NOTES_KEPT]
            if note >= least and note // PITCHES % SLOTS == slot:
                return note
        return NOTHING

    @inner
    def add_note(m: Any, slot: Any, pitch: Any) -> None:
        note = (m[CLOCK] * SLOTS + slot) * PITCHES + pitch
        for index in range(len(BARS_AGO)):
            found = find(index, m, slot)
            same = found != NOTHING and found + shift(index, m) * SLOTS * PITCHES == note
            m[RUNS + index] = m[RUNS + index] + 1 if same else 0
        m[NOTES + m[NOTE_COUNT] % NOTES_KEPT] = note
        m[NOTE_COUNT] += 1
        m[LATEST] = m[CLOCK]

    @inner
    def onset(index: Any, m: Any) -> Any:
        first = first_note(index, m)
        if first == NOTHING:
            return 0
        least = m[CLOCK] - shift(index, m)
        if m[LATEST] == m[CLOCK]:
            least += 1
        for number in range(first, note_after(index, m)):
            step = m[NOTES + number % NOTES_KEPT] // (SLOTS * PITCHES)
            if step >= least:
                position = step + shift(index, m) - m[BAR_BEGIN]
                return 1 + min(max(position, 0), LONGEST_BAR_STEPS - 1)
        return 1 + LONGEST_BAR_STEPS

    @inner
    def pitch(index: Any, m: Any) -> Any:
        slot = m[NEXT_VOICE]
        if slot == NOTHING:
            return 0
        note = find(index, m, slot)
        if note == NOTHING:
            return 0
        is_now = note // (SLOTS * PITCHES) == m[CLOCK] - shift(index, m)
        return 1 + note % PITCHES + (PITCHES if is_now else 0)

    return Echo(begin_bar=begin_bar, add_note=add_note, onset=onset, pitch=pitch)
