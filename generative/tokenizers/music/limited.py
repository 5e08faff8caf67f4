"""The music grammar within a length and limits: what was asked for narrows what may come next.

A `LimitedState` wraps a state of `grammar`, which knows neither. Each window of the grammar is
narrowed to the length by the function of its type in `_WITHIN_LENGTH`, and to the limits by that in
`_WITHIN_LIMITS`, so that whatever is sampled is what was asked for.

Density is kept within a band around an even pace: `_earliest_note_step` prevents that a piece runs
ahead of it, `_latest_step` that it falls behind. Each note moves the second on by a step or more,
so that there is always a way on after a note.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from generative.music.quantise import PERFORMANCE, SCORE, STEPS_PER_BEAT, STEPS_PER_SECOND
from generative.tokenizers.music import grammar
from generative.tokenizers.music.grammar import EMPTY, FIRST, Window
from generative.tokenizers.music.state import State, seconds_at, seconds_per_step
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    MAX_BAR_PART_STEPS,
    MAX_TRACKS,
    VALUES,
    is_measured_exactly,
    type_and_index,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from generative.tokenizers.music.limits import MusicLimits
    from generative.tokenizers.music.state import PerTrack

_BAR_FIRST = ("bar", "start")
# After a primer of another tempo the new tempo comes first, at the next bar line.
_TEMPO_FIRST = {"bar": ("position",), "position": ("tempo",)}
_NOTE_BEGUN = frozenset({"track", "program", "velocity"})  # A note has to follow these types.
# Which denominators measure bars in whole steps, by the index of the numerator; one always does.
_COUNTABLE_UNITS = np.array(
    [[is_measured_exactly(n, d) for d in VALUES["unit"]] for n in VALUES["beats"]]
)


class Request(NamedTuple):
    """What was asked for; it stays the same throughout a piece.

    Attributes:
        limits: a key, a range, a meter and so on; None is no limit.
        deadline_seconds: nothing begins then or later; None is no deadline.
        density_from_step: where the even pace of a density begins.
    """

    limits: MusicLimits | None = None
    deadline_seconds: float | None = None
    density_from_step: int = 0


class Counts(NamedTuple):
    """What is counted for the request.

    Attributes:
        bars_left: how many bars may still begin; None where bars are not counted.
        notes: how many there are since the piece, or what follows its primer, began.
        bar_has_notes: whether a note begins in the current bar.
        opens_with_bar: whether only a new bar, or the end, may come next.
    """

    bars_left: int | None = None
    notes: int = 0
    bar_has_notes: bool = False
    opens_with_bar: bool = False


class LimitedState(NamedTuple):
    """The state of the music grammar, what was asked for, and how much of it there is."""

    music: State = State()
    request: Request = Request()
    counts: Counts = Counts()


def allowed(state: LimitedState) -> NDArray[np.bool_]:
    """Which tokens may come next; at least one. (V,)"""
    return grammar.mask_of(_windows(state, _followers(state)))


def advance(state: LimitedState, token: int) -> LimitedState:
    """The state after a token.

    Raises:
        ValueError: it may not come next; the message names what may.
    """
    name, index = type_and_index(token)
    names = _followers(state)
    if name in names:
        ((_, window),) = _windows(state, (name,))
        if grammar.contains(window, index):
            return _moved(state, name, index)
    raise grammar.not_allowed(token, _windows(state, names))


def moved(state: LimitedState, token: int) -> LimitedState:
    """The state after a token that the request does not apply to."""
    return _moved(state, *type_and_index(token))


def _moved(state: LimitedState, name: str, index: int) -> LimitedState:
    music = grammar.MOVES[name](state.music, index)
    counts = state.counts
    if name in _COUNTED:
        counts = _COUNTED[name](counts, state.music)
    return LimitedState(music, state.request, counts)


def _followers(state: LimitedState) -> tuple[str, ...]:
    """The types of token that may come next, as far as their order tells."""
    music, limits = state.music, state.request.limits
    if music.signature.tempo is not None:
        if state.counts.opens_with_bar:
            return _BAR_FIRST
        if limits is not None and music.last_type in _TEMPO_FIRST and _tempo_is_due(state, limits):
            return _TEMPO_FIRST[music.last_type]
    return grammar.followers(music)


def _windows(state: LimitedState, names: Iterable[str]) -> list[tuple[str, Window]]:
    """For each of some types the values that fit the state and the request."""
    music, limits = state.music, state.request.limits
    windows = []
    for name in names:
        window = grammar.WINDOWS[name](music)
        if window[0] < window[1] and name in _WITHIN_LENGTH:
            window = _WITHIN_LENGTH[name](state, window)
        if limits is not None and window[0] < window[1] and name in _WITHIN_LIMITS:
            window = _WITHIN_LIMITS[name](state, window, limits)
        windows.append((name, window))
    return windows


# What the counts become; `music` is the state of the grammar before the token.


def _count_bar(counts: Counts, music: State) -> Counts:
    is_new = music.signature.tempo is None or music.bar.part + 1 == music.bar.parts
    bars_left, notes, bar_has_notes, _ = counts
    return (
        Counts(_one_less(bars_left), notes) if is_new else Counts(bars_left, notes, bar_has_notes)
    )


def _count_meter(counts: Counts, music: State) -> Counts:
    """A meter that is given after the beginning of a bar starts a new bar."""
    if music.grid == PERFORMANCE or grammar.is_at_bar_line(music.bar):
        return counts
    return counts._replace(bars_left=_one_less(counts.bars_left), bar_has_notes=False)


def _count_note(counts: Counts, _: State) -> Counts:
    bars_left, notes, _, opens_with_bar = counts
    return Counts(bars_left, notes + 1, True, opens_with_bar)


def _one_less(bars_left: int | None) -> int | None:
    return None if bars_left is None else bars_left - 1


_COUNTED: dict[str, Callable[[Counts, State], Counts]] = {
    "bar": _count_bar,
    "unit": _count_meter,
    "duration": _count_note,
}


# What is left of the length and the limits.


def _is_bounded(state: LimitedState) -> bool:
    """Whether a length was asked for."""
    return state.counts.bars_left is not None or state.request.deadline_seconds is not None


def _is_in_time(state: LimitedState, step: int) -> bool:
    deadline = state.request.deadline_seconds
    return deadline is None or seconds_at(state.music, step) < deadline


def _next_bar_fits(state: LimitedState) -> bool:
    """Whether there may be another bar, or another part of this one, after this part."""
    bar = state.music.bar
    may_begin = state.counts.bars_left != 0 or bar.part + 1 < bar.parts
    return may_begin and grammar.next_bar_fits(state.music) and _is_in_time(state, bar.end_step)


def _goes_on(state: LimitedState) -> bool:
    """Whether there is time for another part of a bar, or for the longest shift."""
    if state.music.grid == SCORE:
        return _next_bar_fits(state)
    step = state.music.clock.step + grammar.LONGEST_SHIFT
    return grammar.goes_on(state.music) and _is_in_time(state, step)


def _note_is_due(state: LimitedState) -> bool:
    """Whether a note has to come before the end.

    A piece has a note, its last bar counts by a note, and all instruments asked for play.
    """
    if not state.music.has_notes or (
        state.counts.bars_left == 0 and not state.counts.bar_has_notes
    ):
        return True
    cast = None if state.request.limits is None else _cast(state, state.request.limits)
    return cast is not None and cast.missing is not None


def _is_last_chance(state: LimitedState) -> bool:
    """Whether a note that is due has to be here."""
    return state.music.bar.position >= 0 and not _next_bar_fits(state) and _note_is_due(state)


def _tempo_is_due(state: LimitedState, limits: MusicLimits) -> bool:
    return limits.tempo_index is not None and state.music.signature.tempo != limits.tempo_index


def _last_step(state: LimitedState) -> int:
    """Where this part of a bar, or the time asked for, ends; nothing begins there or later."""
    clock, end = state.music.clock, state.music.bar.end_step
    if state.request.deadline_seconds is None:
        return end
    seconds_left = state.request.deadline_seconds - clock.seconds
    return min(end, clock.step + ceil(seconds_left / seconds_per_step(state.music)))


class _Cast(NamedTuple):
    """How the tracks are assigned to the instruments asked for.

    Attributes:
        playable: the tracks that may play: those of such instruments, and as many new ones as are
            needed. (64,)
        programs_left: programs that no track has yet. (256,)
        missing: the first track that has not played yet; None if all have.
    """

    playable: NDArray[np.bool_]
    programs_left: NDArray[np.bool_]
    missing: int | None


def _cast(state: LimitedState, limits: MusicLimits) -> _Cast | None:
    """The instruments asked for and their tracks; None where all may play."""
    if limits.instruments is None:
        return None
    return _assigned(limits.instruments, state.music.tracks.programs)


@lru_cache(maxsize=4096)
def _assigned(instruments: tuple[int, ...], programs: PerTrack) -> _Cast:
    left = list(instruments)
    playable = np.zeros(MAX_TRACKS, dtype=np.bool_)
    for track, program in enumerate(programs):
        if program in left:
            left.remove(program)
            playable[track] = True
    new = [track for track, program in enumerate(programs) if program is None][: len(left)]
    playable[new] = True
    return _Cast(playable, np.isin(np.arange(2 * DRUM_PROGRAMS), left), new[0] if new else None)


def _earliest_note_step(state: LimitedState, limits: MusicLimits) -> int:
    """The step from which density allows one more note."""
    if limits.density is None:
        return 0
    ahead = state.counts.notes + 1 - limits.density_slack
    return state.request.density_from_step + ceil(STEPS_PER_BEAT * ahead / limits.density)


def _latest_step(state: LimitedState, limits: MusicLimits) -> int:
    """The last step that density allows without one more note."""
    if limits.density is None:
        return grammar.LAST_STEPS[SCORE] + MAX_BAR_PART_STEPS
    behind = state.counts.notes + limits.density_slack
    return state.request.density_from_step + int(STEPS_PER_BEAT * behind / limits.density)


def _density_allows_note(state: LimitedState, limits: MusicLimits) -> bool:
    """Whether density allows a note here; one that is begun is always finished."""
    music = state.music
    return music.last_type in _NOTE_BEGUN or music.clock.step >= _earliest_note_step(state, limits)


def _may_play(state: LimitedState, limits: MusicLimits) -> bool:
    """Whether the current track may have a note here."""
    cast, track = _cast(state, limits), state.music.moment.track
    assert track is not None  # The windows of the grammar allow no note before a track.
    if cast is not None and not cast.playable[track]:
        return False
    if state.music.last_type in _NOTE_BEGUN:
        return True
    density_allows = _density_allows_note(state, limits)
    if cast is None or cast.missing is None:
        return density_allows or _is_last_chance(state)
    return density_allows and not (track > cast.missing and _is_last_chance(state))


# The windows of the grammar narrowed to the length asked for; `window` is never empty.


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
    may_begin = state.counts.bars_left != 0 and _is_in_time(state, music.clock.step)
    return window if may_begin else EMPTY


def _unit_within_length(state: LimitedState, window: Window) -> Window:
    if state.counts.bars_left is None:
        return window
    # Bars that are counted have to be measured exactly.
    return (*window[:3], _COUNTABLE_UNITS[state.music.signature.numerator])


# These windows narrowed to the limits; `limits` are those of the request.


def _start_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    if state.music.last_type == "start" or limits.density is None or not _is_bounded(state):
        return window
    return window if _last_step(state) <= _latest_step(state, limits) else EMPTY


def _bar_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    if state.music.signature.tempo is None:
        return window
    return window if state.music.bar.end_step <= _latest_step(state, limits) else EMPTY


def _position_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    if state.music.signature.tempo is None:
        return window
    if _tempo_is_due(state, limits):
        return FIRST
    begin, end, _, _ = window
    bar_step = state.music.bar.begin_step
    if not _note_is_due(state) or _next_bar_fits(state):
        begin = max(begin, _earliest_note_step(state, limits) - bar_step)
    return begin, min(end, _latest_step(state, limits) + 1 - bar_step), None, None


def _beats_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    if limits.meter_indices is None:
        return window
    return _only(limits.meter_indices[0]) if state.music.signature.meter is None else EMPTY


def _unit_within_limits(_: LimitedState, window: Window, limits: MusicLimits) -> Window:
    if limits.meter_indices is None:
        return window
    return (*_only(limits.meter_indices[1])[:3], window[3])


def _tempo_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    if limits.tempo_index is None:
        return window
    return _only(limits.tempo_index) if _tempo_is_due(state, limits) else EMPTY


def _track_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    begin, end, excluded, _ = window
    cast = _cast(state, limits)
    density_allows, is_last_chance = _density_allows_note(state, limits), _is_last_chance(state)
    if cast is not None and cast.missing is not None and is_last_chance:
        end = cast.missing + 1  # Tracks rise, so that none is left out that is still missing.
        if not density_allows:
            begin = max(begin, cast.missing)
    elif not (density_allows or is_last_chance):
        return EMPTY
    return begin, end, excluded, None if cast is None else cast.playable


def _program_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    cast = _cast(state, limits)
    return window if cast is None else (*window[:3], cast.programs_left)


def _velocity_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    moment = state.music.moment
    program = None if moment.track is None else state.music.tracks.programs[moment.track]
    is_drum = program is not None and program >= DRUM_PROGRAMS
    if moment.pitch >= limits.highest and not is_drum:
        return EMPTY  # No note could follow.
    return window if _may_play(state, limits) else EMPTY


def _pitch_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    return (*window[:3], limits.pitches) if _may_play(state, limits) else EMPTY


def _drum_within_limits(state: LimitedState, window: Window, limits: MusicLimits) -> Window:
    return window if _may_play(state, limits) else EMPTY


def _only(index: int) -> Window:
    return index, index + 1, None, None


_WITHIN_LENGTH: dict[str, Callable[[LimitedState, Window], Window]] = {
    "start": _start_within_length,
    "bar": _bar_within_length,
    "position": _position_within_length,
    "shift": _shift_within_length,
    "beats": _beats_within_length,
    "unit": _unit_within_length,
}
_WITHIN_LIMITS: dict[str, Callable[[LimitedState, Window, MusicLimits], Window]] = {
    "start": _start_within_limits,
    "bar": _bar_within_limits,
    "position": _position_within_limits,
    "beats": _beats_within_limits,
    "unit": _unit_within_limits,
    "tempo": _tempo_within_limits,
    "track": _track_within_limits,
    "program": _program_within_limits,
    "velocity": _velocity_within_limits,
    "pitch": _pitch_within_limits,
    "drum": _drum_within_limits,
}
