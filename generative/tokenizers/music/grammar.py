"""The grammar of music: which token may follow which, and what each does to the state.

On the score grid a piece is a sequence of bars, and a bar a sequence of positions:

    bar (position MOMENT)*

On the performance grid, which has no bars to count, a piece is a sequence of shifts:

    MOMENT (shift+ MOMENT)*

    MOMENT: [beats unit] [key] [tempo] TRACK*
    TRACK: [track [program]] [pedal] (control value)* ([velocity] pitch|drum long* duration)*

Pedals and controls are on the performance grid only. `TOKEN_TYPES` lists which types may follow
which, and `WINDOWS` which values of a type fit the state: positions go on, pitches rise, and
nothing is repeated that has not changed. Decoding and sampling move through the same states, so
whatever is sampled can be decoded.

A meter of n/d has bars of 96n/d steps. A longer bar than 192 steps is divided into equal parts, and
each part begins with a bar token. A meter that is given after the beginning of a bar starts a new
bar. The module does not know which music was asked for: see `limited`.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_BEAT, STEPS_PER_SECOND
from generative.tokenizers.music.state import (
    Bar,
    Clock,
    Moment,
    PerTrack,
    State,
    Tracks,
    seconds_at,
)
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    MAX_EXTENSIONS,
    OFFSETS,
    TOKEN_TYPES,
    VALUES,
    VOCAB_SIZE,
    bar_part_steps,
    bar_parts,
    describe,
    type_and_index,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

# No onset is later, so that even with the longest note there a piece can be written as MIDI.
LAST_STEPS = {SCORE: 99_700 * STEPS_PER_BEAT, PERFORMANCE: 5 * 3600 * STEPS_PER_SECOND}
LONGEST_SHIFT = VALUES["shift"][-1]
HIGHEST_PITCH_INDEX = len(VALUES["pitch"]) - 1

# A piece begins with its meter, its key if it has one, and its tempo, at its first step.
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
_GRIDS = {token_type.name: token_type.grids for token_type in TOKEN_TYPES}
# The types that may follow each type, by grid.
_FOLLOWERS = {
    grid: {
        token_type.name: tuple(name for name in token_type.followers if grid in _GRIDS[name])
        for token_type in TOKEN_TYPES
        if grid in token_type.grids
    }
    for grid in (SCORE, PERFORMANCE)
}

# The indices of a type's values that fit: those from the first number up to, not including, the
# second, without the third, and only where the array (one entry a value) is true.
Window: TypeAlias = "tuple[int, int, int | None, NDArray[np.bool_] | None]"
EMPTY: Window = (0, 0, None, None)
FIRST: Window = (0, 1, None, None)
_ALL: dict[str, Window] = {name: (0, len(values), None, None) for name, values in VALUES.items()}


def allowed(state: State) -> NDArray[np.bool_]:
    """Which tokens may come next; at least one. (V,)"""
    return mask_of([(name, WINDOWS[name](state)) for name in followers(state)])


def advance(state: State, token: int) -> State:
    """The state after a token.

    Raises:
        ValueError: it may not come next; the message names what may.
    """
    name, index = type_and_index(token)
    names = followers(state)
    if name in names and contains(WINDOWS[name](state), index):
        return MOVES[name](state, index)
    raise not_allowed(token, [(other, WINDOWS[other](state)) for other in names])


def followers(state: State) -> tuple[str, ...]:
    """The types of token that may come next, as far as their order tells."""
    if state.signature.tempo is None:
        return _OPENINGS[state.grid][state.last_type]
    return _FOLLOWERS[state.grid][state.last_type]


def contains(window: Window, index: int) -> bool:
    """Whether a window has that index."""
    begin, end, excluded, only = window
    return begin <= index < end and index != excluded and (only is None or bool(only[index]))


def mask_of(windows: Iterable[tuple[str, Window]]) -> NDArray[np.bool_]:
    """The tokens in windows, each given with its type. (V,)"""
    mask = np.zeros(VOCAB_SIZE, dtype=np.bool_)
    for name, (begin, end, excluded, only) in windows:
        if begin < end:
            offset = OFFSETS[name]
            mask[offset + begin : offset + end] = True
            if excluded is not None:
                mask[offset + excluded] = False
            if only is not None:
                mask[offset : offset + len(only)] &= only
    return mask


def not_allowed(token: int, windows: Iterable[tuple[str, Window]]) -> ValueError:
    """The error for a token outside the windows."""
    expected = []
    for name, (begin, end, _, _) in windows:
        if begin < end:
            low, high = (describe(OFFSETS[name] + index) for index in (begin, end - 1))
            expected.append(low if low == high else f"{low}..{VALUES[name][end - 1]}")
    return ValueError(f"{describe(token)!r} cannot come here; expected {' or '.join(expected)}")


def next_bar_fits(state: State) -> bool:
    """Whether there may be another bar, or another part of this one, after this part."""
    return state.bar.end_step <= LAST_STEPS[SCORE]


def goes_on(state: State) -> bool:
    """Whether there may be another part of a bar, or another longest shift."""
    if state.grid == SCORE:
        return next_bar_fits(state)
    return state.clock.step + LONGEST_SHIFT <= LAST_STEPS[PERFORMANCE]


def is_at_bar_line(bar: Bar) -> bool:
    """Whether the current position is the beginning of a bar."""
    return bar.position == 0 and bar.part == 0


# The values of a type that fit a state, by its name in `WINDOWS`.


def _start_window(state: State) -> Window:
    return FIRST if state.last_type == "start" or state.has_notes else EMPTY


def _bar_window(state: State) -> Window:
    return FIRST if state.signature.tempo is None or next_bar_fits(state) else EMPTY


def _position_window(state: State) -> Window:
    if state.signature.tempo is None:
        return FIRST
    bar = state.bar
    if bar.position >= 0 and not state.has_notes and not next_bar_fits(state):
        return EMPTY  # The piece's first note has to be here.
    return bar.position + 1, bar.part_steps, None, None


def _shift_window(state: State) -> Window:
    if state.last_type == "shift" and state.clock.shift_steps != LONGEST_SHIFT:
        return EMPTY
    if not state.has_notes and not goes_on(state):
        return EMPTY  # The piece's first note has to be here.
    end = min(LONGEST_SHIFT, LAST_STEPS[PERFORMANCE] - state.clock.step)
    return 0, end, None, None


def _beats_window(state: State) -> Window:
    if state.grid == PERFORMANCE or is_at_bar_line(state.bar):
        return _ALL["beats"]
    # The meter starts a new bar here.
    return _ALL["beats"] if state.clock.step <= LAST_STEPS[SCORE] else EMPTY


def _unit_window(state: State) -> Window:
    numerator, meter, _, _ = state.signature
    if meter is not None and meter[0] == numerator:
        return 0, len(VALUES["unit"]), meter[1], None
    return _ALL["unit"]


def _key_window(state: State) -> Window:
    return 0, len(VALUES["key"]), state.signature.key, None


def _tempo_window(state: State) -> Window:
    return 0, len(VALUES["tempo"]), state.signature.tempo, None


def _track_window(state: State) -> Window:
    track = state.moment.track
    if state.moment.has_event and track is not None:
        return track + 1, len(VALUES["track"]), None, None  # Tracks rise within a step.
    return 0, len(VALUES["track"]), track, None


def _program_window(state: State) -> Window:
    track = state.moment.track
    is_new = track is not None and state.tracks.programs[track] is None
    return _ALL["program"] if is_new else EMPTY


def _pedal_window(state: State) -> Window:
    track = state.moment.track
    if track is None or state.tracks.programs[track] is None:
        return EMPTY
    return 0, len(VALUES["pedal"]), state.tracks.pedals[track], None


def _control_window(state: State) -> Window:
    track = state.moment.track
    if not state.controls or track is None or state.tracks.programs[track] is None:
        return EMPTY
    return state.moment.control + 1, state.controls[-1] + 1, None, _among_controls(state.controls)


@cache
def _among_controls(numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.isin(VALUES["control"], numbers)


def _velocity_window(state: State) -> Window:
    track = state.moment.track
    if track is None or state.tracks.programs[track] is None:
        return EMPTY
    if state.moment.pitch >= HIGHEST_PITCH_INDEX:
        return EMPTY  # No note could follow.
    return 0, len(VALUES["velocity"]), state.tracks.velocities[track], None


def _pitch_window(state: State) -> Window:
    return EMPTY if _plays_drums(state) is not False else _higher_pitches(state)


def _drum_window(state: State) -> Window:
    return EMPTY if _plays_drums(state) is not True else _higher_pitches(state)


def _higher_pitches(state: State) -> Window:
    return state.moment.pitch + 1, HIGHEST_PITCH_INDEX + 1, None, None


def _plays_drums(state: State) -> bool | None:
    """Whether the current track is a drum kit; None if it has no program or velocity yet."""
    tracks, track = state.tracks, state.moment.track
    if track is None or tracks.velocities[track] is None:
        return None
    program = tracks.programs[track]
    return program is not None and program >= DRUM_PROGRAMS


def _long_window(state: State) -> Window:
    return FIRST if state.moment.extensions < MAX_EXTENSIONS else EMPTY


# What a token of a type does to a state, by its name in `MOVES`; `index` is that of its value among
# the values of its type.


def _start_move(state: State, _: int) -> State:
    return state.after("start")


def _bar_move(state: State, _: int) -> State:
    bar = state.bar
    if state.signature.tempo is None:
        bar = Bar(part_steps=bar.part_steps, parts=bar.parts)
    else:
        bar = Bar(bar.end_step, bar.part_steps, bar.parts, part=(bar.part + 1) % bar.parts)
    clock = Clock(bar.begin_step, seconds_at(state, bar.begin_step))
    return state.after("bar", clock=clock, bar=bar)


def _position_move(state: State, index: int) -> State:
    bar = state.bar
    step = bar.begin_step + index
    return state.after(
        "position",
        clock=Clock(step, seconds_at(state, step)),
        bar=Bar(bar.begin_step, bar.part_steps, bar.parts, bar.part, position=index),
        moment=Moment(state.moment.track),
    )


def _shift_move(state: State, index: int) -> State:
    shift_steps = VALUES["shift"][index]
    step = state.clock.step + shift_steps
    clock = Clock(step, step / STEPS_PER_SECOND, shift_steps)
    return state.after("shift", clock=clock, moment=Moment(state.moment.track))


def _beats_move(state: State, index: int) -> State:
    return state.after("beats", signature=state.signature._replace(numerator=index))


def _unit_move(state: State, index: int) -> State:
    numerator = state.signature.numerator
    signature = state.signature._replace(meter=(numerator, index))
    if state.grid == PERFORMANCE:
        return state.after("unit", signature=signature)
    meter = VALUES["beats"][numerator], VALUES["unit"][index]
    bar = Bar(state.clock.step, bar_part_steps(*meter), bar_parts(*meter), position=0)
    return state.after("unit", bar=bar, signature=signature)


def _key_move(state: State, index: int) -> State:
    return state.after("key", signature=state.signature._replace(key=index))


def _tempo_move(state: State, index: int) -> State:
    return state.after("tempo", signature=state.signature._replace(tempo=index))


def _track_move(state: State, index: int) -> State:
    return state.after("track", moment=Moment(index, has_event=state.moment.has_event))


def _program_move(state: State, index: int) -> State:
    programs, velocities, pedals = state.tracks
    programs = _with(programs, state.moment.track, index)
    return state.after("program", tracks=Tracks(programs, velocities, pedals))


def _pedal_move(state: State, index: int) -> State:
    pedals = _with(state.tracks.pedals, state.moment.track, index)
    tracks, moment = state.tracks._replace(pedals=pedals), state.moment
    return state.after("pedal", tracks=tracks, moment=moment._replace(has_event=True))


def _control_move(state: State, index: int) -> State:
    return state.after("control", moment=state.moment._replace(control=index, has_event=True))


def _value_move(state: State, _: int) -> State:
    return state.after("value")


def _velocity_move(state: State, index: int) -> State:
    programs, velocities, pedals = state.tracks
    velocities = _with(velocities, state.moment.track, index)
    return state.after("velocity", tracks=Tracks(programs, velocities, pedals))


def _note_move(state: State, index: int, *, last_type: str) -> State:
    track, _, control, _, has_event = state.moment
    return state.after(last_type, moment=Moment(track, index, control, 0, has_event))


def _long_move(state: State, _: int) -> State:
    track, pitch, control, extensions, has_event = state.moment
    return state.after("long", moment=Moment(track, pitch, control, extensions + 1, has_event))


def _duration_move(state: State, _: int) -> State:
    track, pitch, control, extensions, _ = state.moment
    moment = Moment(track, pitch, control, extensions, has_event=True)
    return state.after("duration", moment=moment, has_notes=True)


def _with(values: PerTrack, track: int | None, value: int) -> PerTrack:
    assert track is not None  # The windows allow no event before a track.
    return (*values[:track], value, *values[track + 1 :])


WINDOWS: dict[str, Callable[[State], Window]] = {
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
    "value": lambda _: _ALL["value"],
    "velocity": _velocity_window,
    "pitch": _pitch_window,
    "drum": _drum_window,
    "long": _long_window,
    "duration": lambda _: _ALL["duration"],
}
MOVES: dict[str, Callable[[State, int], State]] = {
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
    "pitch": partial(_note_move, last_type="pitch"),
    "drum": partial(_note_move, last_type="drum"),
    "long": _long_move,
    "duration": _duration_move,
}
