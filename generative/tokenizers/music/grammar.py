"""Which token of music may follow which: knows the places in a piece, not the piece itself.

A score is a row of bars, and a bar a row of positions, each with what happens there:

    bar (position MOMENT)*

and of a performance, which has no bars to count, a row of shifts, each with what happens after it:

    MOMENT (shift+ MOMENT)*

    MOMENT: [beats unit] [key] [tempo] TRACK*
    TRACK: [track [program]] [pedal] (control value)* ([velocity] pitch|drum long* duration)*

Pedals and controls are of performances only. Two tables say it all: `BLOCKS` which kinds may follow
which, `_WINDOWS` which values of a kind fit the place (positions go on, pitches rise, nothing is
said twice). Reading tokens and drawing them walk the same states, so whatever is drawn can be read.

Bars are rulers: a meter of n/d measures bars of 96n/d steps, and a bar longer than 192 steps is
measured in equal parts. A meter stated past a bar's beginning starts a new bar there.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_BEAT, STEPS_PER_SECOND
from generative.tokenizers.music.vocabulary import (
    BLOCKS,
    DRUM_PROGRAMS,
    MAX_LONGS,
    MAX_RULER_STEPS,
    MAX_TRACKS,
    OFFSETS,
    PEDAL_VALUES,
    STEPS_PER_LONG,
    TOP_PITCH,
    VALUES,
    VOCAB_SIZE,
    describe,
    is_measured_exactly,
    meaning,
    ruler_parts,
    ruler_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from generative.tokenizers.music.limits import MusicLimits

# with the longest note there, still a file we can read
LAST_STEPS = {SCORE: 99_700 * STEPS_PER_BEAT, PERFORMANCE: 5 * 3600 * STEPS_PER_SECOND}
LONGEST_SHIFT = VALUES["shift"][-1]

# a piece opens with its meter, its key if it has one, and its tempo, at its first step
_OPENING_SIGNATURE = {"beats": ("unit",), "unit": ("key", "tempo"), "key": ("tempo",)}
_OPENINGS: dict[str, dict[str, tuple[str, ...]]] = {
    SCORE: {
        "start": ("bar",),
        "bar": ("position",),
        "position": ("beats",),
        **_OPENING_SIGNATURE,
    },
    PERFORMANCE: {"start": ("beats",), **_OPENING_SIGNATURE},
}
_GRIDS = {block.name: block.grids for block in BLOCKS}
# grid -> kind -> the kinds that may follow it
_FOLLOWS = {
    grid: {
        block.name: tuple(name for name in block.follows if grid in _GRIDS[name])
        for block in BLOCKS
        if grid in block.grids
    }
    for grid in (SCORE, PERFORMANCE)
}

# what follows a primer of another tempo opens, after its bar, with the new one
_TEMPO_FIRST = {"bar": ("position",), "position": ("tempo",)}

_BEGUN = frozenset({"track", "program", "velocity"})  # a note is bound to follow


class State(NamedTuple):
    """Where a row of tokens has led; a tuple since a dataclass takes four times as long to copy.

    Tempo, meter, track and the like are kept as places in their block, not as values.
    """

    block: str = "start"  # the kind of the last token
    grid: str = SCORE
    controls: tuple[int, ...] = ()  # numbers of those that may be said
    step: int = 0
    seconds: float = 0.0  # at `step`
    bar_step: int = 0  # where the bar begins
    ruler_steps: int = MAX_RULER_STEPS
    parts: int = 1  # rulers that make a bar, and which of them this is
    part: int = 0
    position: int = -1  # in the bar; -1 before its first
    shift: int = 0  # steps, the last
    beats: int = 0
    meter: tuple[int, int] | None = None
    key: int | None = None
    tempo: int | None = None
    track: int | None = None
    pitch: int = -1  # of the last note at this position in this track, else -1
    sounded: bool = False  # a note, or a pedal or control, is at this position
    control: int = -1  # the last at this position in this track, else -1
    longs: int = 0
    programs: tuple[int | None, ...] = (None,) * MAX_TRACKS
    velocities: tuple[int | None, ...] = (None,) * MAX_TRACKS
    pedals: tuple[int | None, ...] = (0,) * MAX_TRACKS  # up
    has_notes: bool = False
    bar_sounds: bool = False  # a note begins in this bar
    bars_left: int | None = None  # None: as many as may be
    deadline_seconds: float | None = None  # nothing begins then or later
    limits: MusicLimits | None = None  # a key, a range, a meter ...
    opens_with_bar: bool = False  # nothing more belongs to the bar before
    counted_from: int = 0  # the step from which density counts, and the notes since then
    notes: int = 0


Window: TypeAlias = tuple[int, int, int | None]  # from, up to, and a place in between that is out
NOTHING: Window = (0, 0, None)


def allowed(state: State) -> NDArray[np.bool_]:
    """Which tokens may come next; never none. (V,)"""
    mask = np.zeros(VOCAB_SIZE, dtype=np.bool_)
    for name in _successors(state):
        first, end, hole = _WINDOWS[name](state)
        if first < end:
            offset = OFFSETS[name]
            mask[offset + first : offset + end] = True
            if hole is not None:
                mask[offset + hole] = False
            if (fitting := _fitting(state, name)) is not None:
                mask[offset : offset + len(fitting)] &= fitting
    return mask


def advance(state: State, token: int) -> State:
    """Where a token leads.

    Raises:
        ValueError: it may not come next; the message says what may.
    """
    name, _ = meaning(token)
    place = token - OFFSETS[name]
    if name in _successors(state):
        first, end, hole = _WINDOWS[name](state)
        fitting = _fitting(state, name)
        if first <= place < end and place != hole and (fitting is None or fitting[place]):
            return _MOVES[name](state, place)
    raise ValueError(f"{describe(token)!r} cannot come here; expected {_expected(state)}")


def moved(state: State, token: int) -> State:
    """Where a token leads that is known to fit, be it beyond the limits."""
    name, _ = meaning(token)
    return _MOVES[name](state, token - OFFSETS[name])


def _fitting(state: State, name: str) -> NDArray[np.bool_] | None:
    """What limits leave of a kind, where that is no window; None is all of it."""
    if name == "pitch" and state.limits is not None:
        return state.limits.pitches
    if name in ("track", "program") and (cast := _cast(state)) is not None:
        return cast.playable if name == "track" else cast.left
    if name == "control":
        return _controls_asked_for(state.controls)
    if name == "unit" and state.bars_left is not None:
        # where bars are counted, they have to be exact
        return np.asarray(_COUNTABLE_UNITS[state.beats])
    return None


@cache
def _controls_asked_for(numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.isin(np.arange(len(VALUES["control"])), numbers)


def _successors(state: State) -> tuple[str, ...]:
    if state.tempo is None:
        return _OPENINGS[state.grid][state.block]
    if state.opens_with_bar:
        return ("bar", "start")
    if state.block in _TEMPO_FIRST and _tempo_is_due(state):
        return _TEMPO_FIRST[state.block]
    return _FOLLOWS[state.grid][state.block]


def _expected(state: State) -> str:
    names = []
    for name in _successors(state):
        first, end, _ = _WINDOWS[name](state)
        if first < end:
            low, high = (describe(OFFSETS[name] + place) for place in (first, end - 1))
            names.append(low if low == high else f"{low}..{VALUES[name][end - 1]}")
    return " or ".join(names)


def _seconds_per_step(state: State) -> float:
    if state.grid == PERFORMANCE:
        return 1 / STEPS_PER_SECOND
    if state.tempo is None:
        return 0.0
    return 60 / (VALUES["tempo"][state.tempo] * STEPS_PER_BEAT)


def _seconds_at(state: State, step: int) -> float:
    return state.seconds + (step - state.step) * _seconds_per_step(state)


def _bar_fits(state: State, step: int) -> bool:
    """Whether a new bar may begin at that step."""
    in_time = state.deadline_seconds is None or _seconds_at(state, step) < state.deadline_seconds
    return in_time and state.bars_left != 0 and step <= LAST_STEPS[SCORE]


def _next_bar_fits(state: State) -> bool:
    """Whether another ruler may follow: the next part of this bar, or a new one."""
    if state.part + 1 < state.parts:
        state = state._replace(bars_left=None)
    return _bar_fits(state, state.bar_step + state.ruler_steps)


def _goes_on(state: State) -> bool:
    """Whether time is left: for another ruler, or for the longest shift."""
    if state.grid == SCORE:
        return _next_bar_fits(state)
    step = state.step + LONGEST_SHIFT
    in_time = state.deadline_seconds is None or _seconds_at(state, step) < state.deadline_seconds
    return in_time and step <= LAST_STEPS[PERFORMANCE]


def _has_to_sound(state: State) -> bool:
    """Whether a note is still due.

    A piece is never silent, its last bar counts by a note, and all instruments asked for play.
    """
    return (
        not state.has_notes
        or (state.bars_left == 0 and not state.bar_sounds)
        or _first_missing(state) is not None
    )


def _is_last_chance(state: State) -> bool:
    """Whether what has to sound has to sound here."""
    return state.position >= 0 and _has_to_sound(state) and not _next_bar_fits(state)


def _tempo_is_due(state: State) -> bool:
    only = None if state.limits is None else state.limits.tempo_place
    return only is not None and state.tempo != only


class _Cast(NamedTuple):
    """How the instruments asked for share the tracks.

    Attributes:
        playable: tracks that may play: those of such instruments, and as many new ones as it takes.
            (64,)
        left: programs that no track has yet. (256,)
        missing: the first track that is still to come in; None where all are there.
    """

    playable: NDArray[np.bool_]
    left: NDArray[np.bool_]
    missing: int | None


def _cast(state: State) -> _Cast | None:
    """The instruments asked for, over the tracks that there are; None where all may play."""
    if state.limits is None or state.limits.instruments is None:
        return None
    return _share(state.limits.instruments, state.programs)


@lru_cache(maxsize=4096)
def _share(instruments: tuple[int, ...], programs: tuple[int | None, ...]) -> _Cast:
    left = list(instruments)
    playable = np.zeros(MAX_TRACKS, dtype=np.bool_)
    for track, program in enumerate(programs):
        if program in left:
            left.remove(program)
            playable[track] = True
    new = [track for track, program in enumerate(programs) if program is None][: len(left)]
    playable[new] = True
    return _Cast(playable, np.isin(np.arange(2 * DRUM_PROGRAMS), left), new[0] if new else None)


def _first_missing(state: State) -> int | None:
    cast = _cast(state)
    return None if cast is None else cast.missing


# Density is a band around an even pace: `_earliest_note` keeps a piece from running ahead of it,
# `_latest_line` from falling behind. A note moves the second on by a step or more, so that whoever
# has played one can always go on.


def _earliest_note(state: State) -> int:
    """The step from which one more note may begin."""
    if state.limits is None or state.limits.density is None:
        return 0
    ahead = state.notes + 1 - state.limits.density_slack
    return state.counted_from + ceil(STEPS_PER_BEAT * ahead / state.limits.density)


def _latest_line(state: State) -> int:
    """The last step that may be reached without one more note."""
    if state.limits is None or state.limits.density is None:
        return LAST_STEPS[SCORE] + MAX_RULER_STEPS
    behind = state.notes + state.limits.density_slack
    return state.counted_from + int(STEPS_PER_BEAT * behind / state.limits.density)


def _leaves_room(state: State) -> bool:
    """Whether density leaves room for a note here; one that is begun is always finished."""
    return state.block in _BEGUN or state.step >= _earliest_note(state)


def _last_step(state: State) -> int:
    """Where this ruler, or the time asked for, ends; nothing begins there or later."""
    end = state.bar_step + state.ruler_steps
    if state.deadline_seconds is None:
        return end
    left = ceil((state.deadline_seconds - state.seconds) / _seconds_per_step(state))
    return min(end, state.step + left)


def _one_if(condition: bool) -> Window:
    return (0, 1, None) if condition else NOTHING


# Which values of a kind fit a state, as places in the kind's block.


def _start_window(state: State) -> Window:
    limited = state.bars_left is not None or state.deadline_seconds is not None
    is_full = not limited or (not _goes_on(state) and _last_step(state) <= _latest_line(state))
    return _one_if(state.block == "start" or (is_full and not _has_to_sound(state)))


def _bar_window(state: State) -> Window:
    if state.tempo is None:
        return _one_if(True)
    keeps_pace = state.bar_step + state.ruler_steps <= _latest_line(state)
    return _one_if(keeps_pace and _next_bar_fits(state))


def _position_window(state: State) -> Window:
    if state.tempo is None:
        return _one_if(True)
    if _tempo_is_due(state):
        return _one_if(True)
    begin = state.bar_step + state.position + 1
    if not _has_to_sound(state) or _next_bar_fits(state):
        begin = max(begin, _earliest_note(state))
    elif state.position >= 0:
        return NOTHING  # the last chance of a note
    end = min(_last_step(state), _latest_line(state) + 1)
    return begin - state.bar_step, end - state.bar_step, None


def _shift_window(state: State) -> Window:
    if state.block == "shift" and state.shift != LONGEST_SHIFT:
        return NOTHING
    if _has_to_sound(state) and not _goes_on(state):
        return NOTHING  # the last chance of a note
    end = min(LONGEST_SHIFT, LAST_STEPS[PERFORMANCE] - state.step)
    if state.deadline_seconds is not None:
        left = ceil((state.deadline_seconds - state.seconds) * STEPS_PER_SECOND) - 1
        end = min(end, left)
    return 0, end, None


def _beats_window(state: State) -> Window:
    if state.limits is not None and state.limits.meter_places is not None:
        only = state.limits.meter_places[0]
        return (only, only + 1, None) if state.meter is None else NOTHING
    if state.grid == PERFORMANCE:
        return 0, len(VALUES["beats"]), None
    # past the bar's beginning a meter starts a new bar, so there has to be one left
    if _at_bar_line(state) or _bar_fits(state, state.step):
        return 0, len(VALUES["beats"]), None
    return NOTHING


def _at_bar_line(state: State) -> bool:
    return state.position == 0 and state.part == 0


def _unit_window(state: State) -> Window:
    if state.limits is not None and state.limits.meter_places is not None:
        only = state.limits.meter_places[1]
        return only, only + 1, None
    same = state.meter is not None and state.meter[0] == state.beats
    return 0, len(VALUES["unit"]), state.meter[1] if same and state.meter else None


def _key_window(state: State) -> Window:
    return 0, len(VALUES["key"]), state.key


def _tempo_window(state: State) -> Window:
    if state.limits is not None and (only := state.limits.tempo_place) is not None:
        return NOTHING if state.tempo == only else (only, only + 1, None)
    return 0, len(VALUES["tempo"]), state.tempo


def _track_window(state: State) -> Window:
    begin, end = 0, MAX_TRACKS
    missing = _first_missing(state)
    if missing is not None and _is_last_chance(state):
        end = missing + 1  # tracks rise, so none that is still to come is passed over
        begin = 0 if _leaves_room(state) else missing
    elif not (_leaves_room(state) or _is_last_chance(state)):
        return NOTHING
    if state.sounded and state.track is not None:
        return max(begin, state.track + 1), end, None
    return begin, end, state.track


def _program_window(state: State) -> Window:
    is_new = state.track is not None and state.programs[state.track] is None
    return (0, 2 * DRUM_PROGRAMS, None) if is_new else NOTHING


def _pedal_window(state: State) -> Window:
    if state.track is None or state.programs[state.track] is None:
        return NOTHING
    return 0, len(PEDAL_VALUES), state.pedals[state.track]


def _control_window(state: State) -> Window:
    if not state.controls or state.track is None or state.programs[state.track] is None:
        return NOTHING
    return state.control + 1, max(state.controls) + 1, None


def _value_window(_: State) -> Window:
    return 0, len(VALUES["value"]), None


def _velocity_window(state: State) -> Window:
    program = None if state.track is None else state.programs[state.track]
    if state.track is None or program is None or not _may_play(state, state.track):
        return NOTHING
    if state.pitch >= _highest_pitch(state, program):
        return NOTHING
    return 0, len(VALUES["velocity"]), state.velocities[state.track]


def _pitch_window(state: State) -> Window:
    return NOTHING if _plays_drums(state) is not False else (state.pitch + 1, TOP_PITCH + 1, None)


def _highest_pitch(state: State, program: int) -> int:
    """The highest that an instrument may play here."""
    return TOP_PITCH if state.limits is None or program >= DRUM_PROGRAMS else state.limits.highest


def _drum_window(state: State) -> Window:
    return NOTHING if _plays_drums(state) is not True else (state.pitch + 1, TOP_PITCH + 1, None)


def _may_play(state: State, track: int) -> bool:
    """Whether the current track may have a note here."""
    cast = _cast(state)
    if cast is not None and not cast.playable[track]:
        return False
    if state.block in _BEGUN:
        return True
    if cast is None or cast.missing is None:
        return _leaves_room(state) or _is_last_chance(state)
    return _leaves_room(state) and not (track > cast.missing and _is_last_chance(state))


def _plays_drums(state: State) -> bool | None:
    """Whether the current track is a drum kit; None if it cannot play, here or yet."""
    if state.track is None or state.velocities[state.track] is None:
        return None
    if not _may_play(state, state.track):
        return None
    program = state.programs[state.track]
    return program is not None and program >= DRUM_PROGRAMS


def _long_window(state: State) -> Window:
    return _one_if(state.longs < MAX_LONGS)


def _duration_window(_: State) -> Window:
    return 0, STEPS_PER_LONG, None


# Where a token leads; `place` is its place in its block.


def _start_move(state: State, _: int) -> State:
    return state._replace(block="start")


def _bar_move(state: State, _: int) -> State:
    step = 0 if state.tempo is None else state.bar_step + state.ruler_steps
    part = 0 if state.tempo is None else (state.part + 1) % state.parts
    return state._replace(
        block="bar",
        step=step,
        seconds=_seconds_at(state, step),
        bar_step=step,
        part=part,
        position=-1,
        bars_left=state.bars_left if part else _one_less(state.bars_left),
        bar_sounds=bool(part) and state.bar_sounds,
        opens_with_bar=False,
    )


def _position_move(state: State, place: int) -> State:
    step = state.bar_step + place
    return state._replace(
        block="position",
        step=step,
        seconds=_seconds_at(state, step),
        position=place,
        pitch=-1,
        control=-1,
        sounded=False,
    )


def _shift_move(state: State, place: int) -> State:
    shift = VALUES["shift"][place]
    step = state.step + shift
    return state._replace(
        block="shift",
        shift=shift,
        step=step,
        seconds=step / STEPS_PER_SECOND,
        pitch=-1,
        control=-1,
        sounded=False,
    )


def _beats_move(state: State, place: int) -> State:
    return state._replace(block="beats", beats=place)


def _unit_move(state: State, place: int) -> State:
    if state.grid == PERFORMANCE:
        return state._replace(block="unit", meter=(state.beats, place))
    meter = VALUES["beats"][state.beats], VALUES["unit"][place]
    is_new = not _at_bar_line(state)
    return state._replace(
        block="unit",
        meter=(state.beats, place),
        ruler_steps=ruler_steps(*meter),
        parts=ruler_parts(*meter),
        part=0,
        bar_step=state.step,
        position=0,
        bars_left=_one_less(state.bars_left) if is_new else state.bars_left,
        bar_sounds=state.bar_sounds and not is_new,
    )


def _key_move(state: State, place: int) -> State:
    return state._replace(block="key", key=place)


def _tempo_move(state: State, place: int) -> State:
    return state._replace(block="tempo", tempo=place)


def _track_move(state: State, place: int) -> State:
    return state._replace(block="track", track=place, pitch=-1, control=-1)


def _program_move(state: State, place: int) -> State:
    programs = _with(state.programs, state.track, place)
    return state._replace(block="program", programs=programs)


def _pedal_move(state: State, place: int) -> State:
    pedals = _with(state.pedals, state.track, place)
    return state._replace(block="pedal", pedals=pedals, sounded=True)


def _control_move(state: State, place: int) -> State:
    return state._replace(block="control", control=place, sounded=True)


def _value_move(state: State, _: int) -> State:
    return state._replace(block="value")


def _velocity_move(state: State, place: int) -> State:
    velocities = _with(state.velocities, state.track, place)
    return state._replace(block="velocity", velocities=velocities)


def _note_move(name: str) -> Callable[[State, int], State]:
    return lambda state, place: state._replace(block=name, pitch=place, longs=0)


def _long_move(state: State, _: int) -> State:
    return state._replace(block="long", longs=state.longs + 1)


def _duration_move(state: State, _: int) -> State:
    return state._replace(
        block="duration", sounded=True, has_notes=True, bar_sounds=True, notes=state.notes + 1
    )


def _one_less(bars_left: int | None) -> int | None:
    return None if bars_left is None else bars_left - 1


def _with(values: tuple[int | None, ...], track: int | None, value: int) -> tuple[int | None, ...]:
    assert track is not None  # windows see to it
    return (*values[:track], value, *values[track + 1 :])


# numerator's place -> which denominators measure its bars in whole steps; one always does
_COUNTABLE_UNITS = np.array(
    [[is_measured_exactly(n, d) for d in VALUES["unit"]] for n in VALUES["beats"]]
)
_WINDOWS: dict[str, Callable[[State], Window]] = {
    "start": _start_window,
    "bar": _bar_window,
    "position": _position_window,
    "shift": _shift_window,
    "beats": _beats_window,
    "unit": _unit_window,
    "key": _key_window,
    "tempo": _tempo_window,
    "track": _track_window,
    "program": _program_window,
    "pedal": _pedal_window,
    "control": _control_window,
    "value": _value_window,
    "velocity": _velocity_window,
    "pitch": _pitch_window,
    "drum": _drum_window,
    "long": _long_window,
    "duration": _duration_window,
}
_MOVES: dict[str, Callable[[State, int], State]] = {
    "start": _start_move,
    "bar": _bar_move,
    "position": _position_move,
    "shift": _shift_move,
    "beats": _beats_move,
    "unit": _unit_move,
    "key": _key_move,
    "tempo": _tempo_move,
    "track": _track_move,
    "program": _program_move,
    "pedal": _pedal_move,
    "control": _control_move,
    "value": _value_move,
    "velocity": _velocity_move,
    "pitch": _note_move("pitch"),
    "drum": _note_move("drum"),
    "long": _long_move,
    "duration": _duration_move,
}
