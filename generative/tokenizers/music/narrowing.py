"""The windows of the music grammar, narrowed to a length and to limits.

The tables at the end hold the functions for the length, which may be unlimited, and for each kind
of limit.

Density is kept within a band around an even pace: `_earliest_note_step` prevents that a piece runs
ahead of it, `_latest_step` that it falls behind. Each note moves the second on by a step or more,
so that there is always a way on after a note.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_BEAT, STEPS_PER_SECOND
from generative.tokenizers.music import grammar
from generative.tokenizers.music.grammar import EMPTY, FIRST, Window
from generative.tokenizers.music.state import seconds_at, seconds_per_step
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    MAX_BAR_PART_STEPS,
    VALUES,
    is_measured_exactly,
)
from generative.tokenizers.music.voices import parallel_pitches

if TYPE_CHECKING:
    from generative.tokenizers.music.limits import MusicLimits
    from generative.tokenizers.music.request import LimitedState, Narrowing

_NOTE_BEGUN = frozenset({"track", "program", "velocity"})  # A note has to follow these types.
# Which denominators measure bars in whole steps, by the index of the numerator; one always does.
_COUNTABLE_UNITS = np.array(
    [[is_measured_exactly(n, d) for d in VALUES["unit"]] for n in VALUES["beats"]]
)


def narrowings_of(limits: MusicLimits) -> dict[str, tuple[Narrowing, ...]]:
    """The narrowings that limits and any length need, by type of token, in their order."""
    tables = [_LENGTH]
    if limits.pitch_classes is not None or limits.pitch_range is not None:
        tables.append(_PITCHES)
    if limits.meter is not None:
        tables.append(_METER)
    if limits.instruments is not None or limits.density is not None:
        tables.append(_INSTRUMENTS_AND_DENSITY)
    if limits.tempo is not None:
        tables.append(_TEMPO)
    if limits.voice_leading:
        tables.append(_VOICE_LEADING)  # This is last, since it keeps a pitch that all others allow.
    return {name: tuple(table[name] for table in tables if name in table) for name in VALUES}


def tempo_is_due(state: LimitedState) -> bool:
    """Whether another tempo was asked for than there is."""
    tempo = state.request.limits.tempo_index
    return tempo is not None and state.music.signature.tempo != tempo


# What is left of the length and the limits.


def _is_in_time(state: LimitedState, step: int) -> bool:
    deadline = state.request.deadline_seconds
    return deadline is None or seconds_at(state.music, step) < deadline


def _next_bar_fits(state: LimitedState) -> bool:
    """Whether there may be another bar, or another part of this one, after this part."""
    bar = state.music.bar
    if state.progress.bars_left == 0 and bar.part + 1 == bar.parts:
        return False
    step = bar.end_step
    return step <= grammar.LAST_STEPS[SCORE] and _is_in_time(state, step)


def _goes_on(state: LimitedState) -> bool:
    """Whether there is time for another part of a bar, or for the longest shift."""
    if state.music.grid == SCORE:
        return _next_bar_fits(state)
    step = state.music.clock.step + grammar.LONGEST_SHIFT
    return grammar.goes_on(state.music) and _is_in_time(state, step)


def _is_bounded(state: LimitedState) -> bool:
    """Whether a length was asked for."""
    return state.progress.bars_left is not None or state.request.deadline_seconds is not None


def _note_is_due(state: LimitedState) -> bool:
    """Whether a note has to come before the end.

    A piece has a note, its last bar counts by a note, and all instruments asked for play.
    """
    bars_left, _, bar_has_notes, _, cast, _ = state.progress
    return (
        not state.music.has_notes
        or (bars_left == 0 and not bar_has_notes)
        or (cast is not None and cast.missing is not None)
    )


def _is_last_chance(state: LimitedState) -> bool:
    """Whether a note that is due has to be here."""
    return _note_is_due(state) and state.music.bar.position >= 0 and not _next_bar_fits(state)


def _last_step(state: LimitedState) -> int:
    """Where this part of a bar, or the time asked for, ends; nothing begins there or later."""
    clock, end = state.music.clock, state.music.bar.end_step
    if state.request.deadline_seconds is None:
        return end
    seconds_left = state.request.deadline_seconds - clock.seconds
    return min(end, clock.step + ceil(seconds_left / seconds_per_step(state.music)))


def _earliest_note_step(state: LimitedState) -> int:
    """The step from which density allows one more note."""
    limits = state.request.limits
    if limits.density is None:
        return 0
    ahead = state.progress.notes + 1 - limits.density_slack
    return state.request.density_from_step + ceil(STEPS_PER_BEAT * ahead / limits.density)


def _latest_step(state: LimitedState) -> int:
    """The last step that density allows without one more note."""
    limits = state.request.limits
    if limits.density is None:
        return grammar.LAST_STEPS[SCORE] + MAX_BAR_PART_STEPS
    behind = state.progress.notes + limits.density_slack
    return state.request.density_from_step + int(STEPS_PER_BEAT * behind / limits.density)


def _density_allows_note(state: LimitedState) -> bool:
    """Whether density allows a note here; one that is begun is always finished."""
    if state.request.limits.density is None or state.music.last_type in _NOTE_BEGUN:
        return True
    return state.music.clock.step >= _earliest_note_step(state)


# Windows narrowed to the length; a window is never empty when it is narrowed.


def _start_within_length(state: LimitedState, window: Window) -> Window:
    if state.music.last_type == "start":
        return window
    is_too_early = _is_bounded(state) and _goes_on(state)
    return EMPTY if is_too_early or _note_is_due(state) else window


def _bar_within_length(state: LimitedState, window: Window) -> Window:
    return window if state.music.signature.tempo is None or _next_bar_fits(state) else EMPTY


def _position_within_length(state: LimitedState, window: Window) -> Window:
    if state.music.signature.tempo is None:
        return window
    if _is_last_chance(state):
        return EMPTY  # The note that is due has to be here.
    return window[0], _last_step(state) - state.music.bar.begin_step, None, None


def _shift_within_length(state: LimitedState, window: Window) -> Window:
    if _note_is_due(state) and not _goes_on(state):
        return EMPTY  # The note that is due has to be here.
    begin, end, _, _ = window
    if state.request.deadline_seconds is not None:
        seconds_left = state.request.deadline_seconds - state.music.clock.seconds
        end = min(end, ceil(seconds_left * STEPS_PER_SECOND) - 1)
    return begin, end, None, None


def _beats_within_length(state: LimitedState, window: Window) -> Window:
    music = state.music
    if music.grid == PERFORMANCE or grammar.is_at_bar_line(music.bar):
        return window
    # The meter starts a new bar here.
    may_begin = state.progress.bars_left != 0 and _is_in_time(state, music.clock.step)
    return window if may_begin else EMPTY


def _unit_within_length(state: LimitedState, window: Window) -> Window:
    if state.progress.bars_left is None:
        return window
    # Bars that are counted have to be measured exactly.
    return (*window[:3], _COUNTABLE_UNITS[state.music.signature.numerator])


# Windows narrowed to pitches.


def _velocity_within_pitches(state: LimitedState, window: Window) -> Window:
    moment, programs = state.music.moment, state.music.tracks.programs
    program = None if moment.track is None else programs[moment.track]
    is_drum = program is not None and program >= DRUM_PROGRAMS
    is_too_high = moment.pitch >= state.request.limits.highest and not is_drum
    return EMPTY if is_too_high else window


def _pitch_within_pitches(state: LimitedState, window: Window) -> Window:
    return (*window[:3], state.request.limits.pitches)


# Windows narrowed to a meter.


def _beats_of_meter(state: LimitedState, _: Window) -> Window:
    meter = state.request.limits.meter_indices
    return EMPTY if meter is None or state.music.signature.meter is not None else _only(meter[0])


def _unit_of_meter(state: LimitedState, window: Window) -> Window:
    meter = state.request.limits.meter_indices
    return EMPTY if meter is None else (*_only(meter[1])[:3], window[3])


# Windows narrowed to a tempo.


def _position_of_tempo(state: LimitedState, window: Window) -> Window:
    is_opening = state.music.signature.tempo is None
    return FIRST if not is_opening and tempo_is_due(state) else window


def _tempo_of_tempo(state: LimitedState, _: Window) -> Window:
    tempo = state.request.limits.tempo_index
    return EMPTY if tempo is None or not tempo_is_due(state) else _only(tempo)


# Windows narrowed to instruments and a density.


def _start_of_density(state: LimitedState, window: Window) -> Window:
    if state.music.last_type == "start" or not _is_bounded(state):
        return window
    return window if _last_step(state) <= _latest_step(state) else EMPTY


def _bar_of_density(state: LimitedState, window: Window) -> Window:
    if state.music.signature.tempo is None:
        return window
    return window if state.music.bar.end_step <= _latest_step(state) else EMPTY


def _position_of_density(state: LimitedState, window: Window) -> Window:
    if state.music.signature.tempo is None:
        return window
    begin, end, _, _ = window
    bar_step = state.music.bar.begin_step
    if not _note_is_due(state) or _next_bar_fits(state):
        begin = max(begin, _earliest_note_step(state) - bar_step)
    return begin, min(end, _latest_step(state) + 1 - bar_step), None, None


def _track_of_cast(state: LimitedState, window: Window) -> Window:
    begin, end, excluded, _ = window
    cast = state.progress.cast
    density_allows, is_last_chance = _density_allows_note(state), _is_last_chance(state)
    if cast is not None and cast.missing is not None and is_last_chance:
        end = cast.missing + 1  # Tracks rise, so that none is left out that is still missing.
        if not density_allows:
            begin = max(begin, cast.missing)
    elif not (density_allows or is_last_chance):
        return EMPTY
    return begin, end, excluded, None if cast is None else cast.playable


def _program_of_cast(state: LimitedState, window: Window) -> Window:
    cast = state.progress.cast
    return window if cast is None else (*window[:3], cast.programs_left)


def _note_of_cast(state: LimitedState, window: Window) -> Window:
    return window if _may_play(state) else EMPTY


def _may_play(state: LimitedState) -> bool:
    """Whether the current track may have a note here."""
    cast, track = state.progress.cast, state.music.moment.track
    assert track is not None  # The windows of the grammar allow no note before a track.
    if cast is not None and not cast.playable[track]:
        return False
    if state.music.last_type in _NOTE_BEGUN:
        return True
    if cast is None or cast.missing is None:
        return _density_allows_note(state) or _is_last_chance(state)
    is_too_late = track > cast.missing and _is_last_chance(state)
    return _density_allows_note(state) and not is_too_late


# Windows narrowed to voice leading.


def _pitch_without_parallels(state: LimitedState, window: Window) -> Window:
    """Forbid parallels, unless they are all that is left."""
    voices = state.progress.voices
    parallel = None if voices is None else parallel_pitches(voices, state.music)
    if parallel is None:
        return window
    begin, end, excluded, only = window
    free = ~parallel if only is None else only & ~parallel
    return (begin, end, excluded, free) if free[begin:end].any() else window


def _only(index: int) -> Window:
    return index, index + 1, None, None


_LENGTH: dict[str, Narrowing] = {
    "start": _start_within_length,
    "bar": _bar_within_length,
    "position": _position_within_length,
    "shift": _shift_within_length,
    "beats": _beats_within_length,
    "unit": _unit_within_length,
}
_PITCHES: dict[str, Narrowing] = {
    "velocity": _velocity_within_pitches,
    "pitch": _pitch_within_pitches,
}
_METER: dict[str, Narrowing] = {"beats": _beats_of_meter, "unit": _unit_of_meter}
_INSTRUMENTS_AND_DENSITY: dict[str, Narrowing] = {
    "start": _start_of_density,
    "bar": _bar_of_density,
    "position": _position_of_density,
    "track": _track_of_cast,
    "program": _program_of_cast,
    "velocity": _note_of_cast,
    "pitch": _note_of_cast,
    "drum": _note_of_cast,
}
_TEMPO: dict[str, Narrowing] = {"position": _position_of_tempo, "tempo": _tempo_of_tempo}
_VOICE_LEADING: dict[str, Narrowing] = {"pitch": _pitch_without_parallels}
