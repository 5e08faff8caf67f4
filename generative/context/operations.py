"""What context features do at each token: read it into the memory, and give the features' values.

It must not know networks or ids.

The functions are written once and run in two ways: interpreted, and compiled as a part of loops
that numba compiles (`generative.context.compiled`). `make` builds them for either. They are total:
any sequence of tokens, legal in its grammar or not, gives values within the features' sizes.

Time is counted in steps. On a grid of bars the clock follows bar lines, meters and positions; on a
grid without bars it adds up shifts, and what depends on bars stays 0. A note begins at the step of
the clock and ends its duration later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from generative.context import frames, matches
from generative.context.echo import make_echo
from generative.context.features import BARS_CYCLE, FAMILIES, LONGEST_RUN, PARALLEL_SLOTS
from generative.context.records import (
    ANY,
    BAR_BEGIN,
    BAR_STEPS,
    BARS,
    BEATS,
    CLASS_END,
    CLASSES,
    CLOCK,
    CURRENT,
    EMPTY,
    END,
    EXTENSION,
    HIGHER,
    IS_DRUM,
    KEY,
    KINDS,
    LARGEST_INTERVAL,
    LAST,
    LEVEL_BOUNDS,
    LONGEST_BAR_STEPS,
    MATCH_KIND,
    MATCH_LENGTH,
    MATCH_VALUE,
    NEXT_VOICE,
    NOTHING,
    ONSET,
    PHASE,
    PITCH,
    PITCHES,
    PREVIOUS,
    RUNS,
    SLOTS,
    TRACK,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.context.echo import Echo
    from generative.context.records import Inner

_START, _BAR, _POSITION, _SHIFT = (KINDS[k] for k in ("start", "bar", "position", "shift"))
_KEY, _BEATS, _UNIT, _TRACK = (KINDS[kind] for kind in ("key", "beats", "unit", "track"))
_PITCH, _DRUM, _LONG, _DURATION = (KINDS[k] for k in ("pitch", "drum", "long", "duration"))
_FRAME_PITCH = KINDS["frame_pitch"]
_SAME = -1
# The phase after a token of each kind.
_PHASES = np.full(len(KINDS), _SAME, np.int64)
_PHASES[[_BAR, _POSITION, _SHIFT]] = ANY
_PHASES[[KINDS[k] for k in ("track", "program", "velocity", "pitch", "drum", "long")]] = CURRENT
_PHASES[_DURATION] = HIGHER
_OCTAVE, _FIFTH, _FOURTH = 12, 7, 5


class Operations(NamedTuple):
    """The functions that `make` builds.

    Attributes:
        read: (tables, memory, row, token, out) reads one token of a row of the memory and fills out
            (F,) with the values of the features, each plus its offset.
        read_all: (tables, memory, tokens, out) reads tokens (T, B) and fills out (T, B, F).
    """

    read: Callable[..., Any]
    read_all: Callable[..., Any]


def make(inner: Inner) -> Operations:
    """Build the functions.

    inner: a decorator, which may compile.
    """
    echo = make_echo(inner)
    advance, value = _make_advance(inner, echo), _make_value(inner, echo)
    advance_frame, advance_match = frames.make_advance(inner), matches.make_advance(inner)

    @inner
    def read(tables: Any, memory: Any, row: Any, token: Any, out: Any) -> None:
        m = memory[row]
        kind, token_value = tables.kinds[token], tables.values[token]
        if kind >= _FRAME_PITCH:
            advance_frame(m, kind, token_value)
        else:
            advance(tables, m, kind, token_value)
        if tables.has_matches:
            advance_match(tables, m, token)
        for place in range(out.shape[0]):
            number = value(tables.families[place], tables.indices[place], m)
            out[place] = tables.offsets[place] + number

    @inner
    def read_all(tables: Any, memory: Any, tokens: Any, out: Any) -> None:
        for t in range(tokens.shape[0]):
            for row in range(tokens.shape[1]):
                read(tables, memory, row, tokens[t, row], out[t, row])

    return Operations(read=read, read_all=read_all)


def _make_advance(  # noqa: C901, PLR0915 - the functions are in it to be built twice
    inner: Inner, echo: Echo
) -> Callable[..., Any]:
    """The function that updates one row of the memory, `m`, by a token."""
    begin_bar, add_note = echo.begin_bar, echo.add_note

    @inner
    def advance_time(tables: Any, m: Any, kind: Any, value: Any) -> None:
        if kind == _BAR:
            if m[BARS] > 0:
                m[BAR_BEGIN] += m[BAR_STEPS]
            m[BARS] += 1
            m[CLOCK] = m[BAR_BEGIN]
            begin_bar(m)
        elif kind == _POSITION:
            m[CLOCK] = m[BAR_BEGIN] + value
        elif kind == _SHIFT:
            m[CLOCK] += value
        elif kind == _KEY:
            m[KEY] = 1 + value
        elif kind == _BEATS:
            m[BEATS] = value
        elif kind == _UNIT:  # A new bar begins here unless one has just begun.
            m[BAR_STEPS] = tables.bar_steps[m[BEATS], value]
            m[BAR_BEGIN] = m[CLOCK]
            begin_bar(m)

    @inner
    def end_note(m: Any, steps: Any) -> None:
        """Enter the note that has been written, whose last token adds so many steps."""
        clock, pitch, slot = m[CLOCK], m[PITCH], m[TRACK]
        end = clock + m[EXTENSION] + steps
        if 0 <= slot < SLOTS:
            add_note(m, slot, pitch)
            if m[IS_DRUM]:
                m[PREVIOUS + slot] = NOTHING
            elif m[ONSET + slot] != clock:  # The notes of a chord have one pitch before them.
                m[PREVIOUS + slot] = m[LAST + slot]
            m[LAST + slot] = pitch
            m[ONSET + slot] = clock
            m[END + slot] = end
        if not m[IS_DRUM]:
            pitch_class = pitch % CLASSES
            m[CLASS_END + pitch_class] = max(m[CLASS_END + pitch_class], end)
        m[PITCH] = NOTHING

    @inner
    def advance_note(m: Any, kind: Any, value: Any) -> None:
        if kind == _TRACK:
            m[TRACK] = value
        elif kind in (_PITCH, _DRUM):
            m[PITCH] = value
            m[EXTENSION] = 0
            m[IS_DRUM] = kind == _DRUM
        elif kind == _LONG:
            m[EXTENSION] += value
        elif kind == _DURATION and m[PITCH] != NOTHING:
            end_note(m, value)

    @inner
    def find_next_voice(m: Any) -> Any:
        """The track that is expected to have the next note.

        It is the current track while a note is being written. Else it is the lowest one that has
        played and no longer sounds; after a note only tracks of a higher number are looked at.
        """
        if m[PHASE] == CURRENT:
            return m[TRACK] if m[TRACK] < SLOTS else NOTHING
        first = m[TRACK] + 1 if m[PHASE] == HIGHER else 0
        for slot in range(first, SLOTS):
            if m[LAST + slot] != NOTHING and m[END + slot] <= m[CLOCK]:
                return slot
        return NOTHING

    @inner
    def advance(tables: Any, m: Any, kind: Any, value: Any) -> None:
        if kind == _START:
            m[:] = EMPTY[: len(m)]
            return
        if kind <= _UNIT:
            advance_time(tables, m, kind, value)
        else:
            advance_note(m, kind, value)
        if _PHASES[kind] != _SAME:
            m[PHASE] = _PHASES[kind]
        m[NEXT_VOICE] = find_next_voice(m)

    return advance


def _make_value(  # noqa: C901, PLR0915 - the functions are in it to be built twice
    inner: Inner, echo: Echo
) -> Callable[..., Any]:
    """The function (family, index, m) -> the value of a feature, from 0 to below its size."""
    find_onset, find_pitch = echo.onset, echo.pitch

    @inner
    def level(steps: Any) -> Any:
        """1 + the level of a number of steps, see `LEVEL_BOUNDS`."""
        reached = 0
        for bound in LEVEL_BOUNDS:
            reached += 1 if steps >= bound else 0
        return reached

    @inner
    def bar_position(_: Any, m: Any) -> Any:
        """0 before the first bar."""
        if m[BARS] == 0:
            return 0
        return min(max(m[CLOCK] - m[BAR_BEGIN], 0), LONGEST_BAR_STEPS - 1) + 1

    @inner
    def bar_number(_: Any, m: Any) -> Any:
        """0 before the first bar."""
        return 0 if m[BARS] == 0 else 1 + (m[BARS] - 1) % BARS_CYCLE

    @inner
    def bar_length(_: Any, m: Any) -> Any:
        """0 before the first meter."""
        return min(max(m[BAR_STEPS], 0), LONGEST_BAR_STEPS)

    @inner
    def key(_: Any, m: Any) -> Any:
        """0 before the first one."""
        return m[KEY]

    @inner
    def voice(index: Any, m: Any) -> Any:
        """0 for a track that has not played; 129 and up for a pitch that still sounds."""
        if m[LAST + index] == NOTHING:
            return 0
        return 1 + m[LAST + index] + (PITCHES if m[END + index] > m[CLOCK] else 0)

    @inner
    def next_voice(_: Any, m: Any) -> Any:
        """0 for none."""
        return 1 + m[NEXT_VOICE]

    @inner
    def next_voice_pitch(_: Any, m: Any) -> Any:
        """0 for none."""
        return 0 if m[NEXT_VOICE] == NOTHING else 1 + m[LAST + m[NEXT_VOICE]]

    @inner
    def next_voice_interval(_: Any, m: Any) -> Any:
        """0 where it is unknown."""
        slot = m[NEXT_VOICE]
        if slot == NOTHING or m[PREVIOUS + slot] == NOTHING:
            return 0
        interval = m[LAST + slot] - m[PREVIOUS + slot]
        return 1 + LARGEST_INTERVAL + min(max(interval, -LARGEST_INTERVAL), LARGEST_INTERVAL)

    @inner
    def sounding_class(index: Any, m: Any) -> Any:
        return 1 if m[CLASS_END + index] > m[CLOCK] else 0

    @inner
    def parallel(index: Any, m: Any) -> Any:
        """0 for none. The index counts the tracks but the next voice, from track 0 on.

        The other track has just moved from pitch a to b, and a and the next voice's last pitch, p,
        stood a perfect fifth, an octave or a unison apart, compounds included. `is_parallel` of
        `music.voice_leading`, which `parallel_pitches` of `tokenizers.music.voices` uses, has the
        same rule for moves in either direction.
        """
        own = m[NEXT_VOICE]
        other = index + 1 if 0 <= own <= index else index
        if own == NOTHING or other >= PARALLEL_SLOTS or m[ONSET + other] != m[CLOCK]:
            return 0
        p, a, b = m[LAST + own], m[PREVIOUS + other], m[LAST + other]
        if p == NOTHING or a in (NOTHING, b) or not 0 <= p + b - a < PITCHES:
            return 0
        above = (p - a) % _OCTAVE
        is_perfect = above in (0, _FIFTH if p > a else _FOURTH)
        return 1 + p + b - a if is_perfect else 0

    @inner
    def age(index: Any, m: Any) -> Any:
        """0 for a track that has not played."""
        return 0 if m[LAST + index] == NOTHING else level(m[CLOCK] - m[ONSET + index])

    @inner
    def remaining(index: Any, m: Any) -> Any:
        """0 for a track that has not played."""
        return 0 if m[LAST + index] == NOTHING else level(max(m[END + index] - m[CLOCK], 0))

    @inner
    def class_age(index: Any, m: Any) -> Any:
        """0 for a pitch class that has not sounded."""
        end = m[CLASS_END + index]
        return 0 if end == 0 else level(max(m[CLOCK] - end, 0))

    @inner
    def match_kind(_: Any, m: Any) -> Any:
        """0 without a match."""
        return 1 + m[MATCH_KIND]

    @inner
    def match_value(_: Any, m: Any) -> Any:
        """0 without a match."""
        return 1 + min(max(m[MATCH_VALUE], NOTHING), LONGEST_BAR_STEPS)

    @inner
    def match_length(_: Any, m: Any) -> Any:
        """0 without a match."""
        return 0 if m[MATCH_KIND] == NOTHING else level(m[MATCH_LENGTH])

    @inner
    def next_end(_: Any, m: Any) -> Any:
        """0 where nothing sounds, and the greatest value where it is in a later bar.

        Only tracks of numbers below `SLOTS` count.
        """
        first = NOTHING
        for slot in range(SLOTS):
            end = m[END + slot]
            if m[LAST + slot] != NOTHING and end > m[CLOCK] and (first == NOTHING or end < first):
                first = end
        if first == NOTHING or m[BARS] == 0:
            return 0
        if first >= m[BAR_BEGIN] + m[BAR_STEPS]:
            return 1 + LONGEST_BAR_STEPS
        return 1 + min(first - m[BAR_BEGIN], LONGEST_BAR_STEPS - 1)

    @inner
    def echo_onset(index: Any, m: Any) -> Any:
        return find_onset(index, m)

    @inner
    def echo_pitch(index: Any, m: Any) -> Any:
        return find_pitch(index, m)

    @inner
    def echo_run(index: Any, m: Any) -> Any:
        return min(m[RUNS + index], LONGEST_RUN)

    functions = {
        function.__name__: function
        for function in (
            bar_position,
            bar_number,
            voice,
            next_voice,
            next_voice_pitch,
            next_voice_interval,
            sounding_class,
            parallel,
            age,
            next_end,
            remaining,
            echo_onset,
            echo_pitch,
            echo_run,
            key,
            bar_length,
            class_age,
            match_kind,
            match_value,
            match_length,
        )
    }
    assert functions.keys() == {family.name for family in FAMILIES}
    return _chained(inner, [functions[family.name] for family in FAMILIES])


def _chained(inner: Inner, functions: list[Callable[..., Any]]) -> Callable[..., Any]:
    """(number, index, m) -> the result of the function of that number; a compiler inlines it."""

    def zero(_number: Any, _index: Any, _m: Any) -> Any:
        return 0

    chain = inner(zero)
    for number, function in reversed(list(enumerate(functions))):
        chain = _link(inner, number, function, chain)
    return chain


def _link(
    inner: Inner, own: int, function: Callable[..., Any], others: Callable[..., Any]
) -> Callable[..., Any]:
    """A link of the chain, under a name of its own.

    Machine code that two processes cached may have functions of one name. A process that loads both
    takes the first of them for both, so a name must stand for one function only.
    """

    def chosen(number: Any, index: Any, m: Any) -> Any:
        if number == own:
            return function(index, m)
        return others(number, index, m)

    chosen.__qualname__ += f"_{own}"
    return inner(chosen)


def _identity(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


INTERPRETED = make(_identity)
