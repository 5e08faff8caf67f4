"""The music grammar within a length and limits: what was asked for narrows what may come next.

A `LimitedState` wraps a state of `grammar`, which knows neither. The functions of `narrowing`
narrow the windows of the grammar, so that whatever is sampled is what was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from generative.music.quantise import PERFORMANCE
from generative.tokenizers.music import grammar
from generative.tokenizers.music.cast import cast_of
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.narrowing import narrowings_of, tempo_is_due
from generative.tokenizers.music.request import LimitedState, Progress, Request
from generative.tokenizers.music.vocabulary import token_id, type_and_index
from generative.tokenizers.music.voices import after_pitch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from generative.tokenizers.music.grammar import Window
    from generative.tokenizers.music.state import State
    from generative.tokenizers.music.voices import Voices

# Where no further bar fits, the probability of one goes to the end of the piece. Else it would go
# to more notes on the last beat.
FALLBACK_TOKENS = {token_id("bar"): token_id("start")}
_BAR_FIRST = ("bar", "start")
# After a primer of another tempo the new tempo comes first, at the next bar line.
_TEMPO_FIRST = {"bar": ("position",), "position": ("tempo",)}


def begin(
    music: State,
    limits: MusicLimits | None = None,
    *,
    bars: int | None = None,
    deadline_seconds: float | None = None,
    opens_with_bar: bool = False,
    voices: Voices | None = None,
) -> LimitedState:
    """The state before the first token of what was asked for, which may follow a primer.

    Args:
        music: the state of the grammar there.
        limits: what is new keeps to these.
        bars: how many may begin; None is any number.
        deadline_seconds: nothing begins then or later; None is no deadline.
        opens_with_bar: whether what is new begins with a bar.
        voices: what each track of the primer has played last; None without a primer.
    """
    limits = limits or MusicLimits()
    request = Request(limits, narrowings_of(limits), deadline_seconds, music.clock.step)
    cast = None
    if limits.instruments is not None:
        cast = cast_of(limits.instruments, music.tracks.programs)
    progress = Progress(
        bars,
        opens_with_bar=opens_with_bar,
        cast=cast,
        voices=voices or {} if limits.voice_leading else None,
    )
    return LimitedState(music, request, progress)


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
    music, progress = grammar.MOVES[name](state.music, index), state.progress
    if name in _PROGRESS:
        progress = _PROGRESS[name](state, music)
    return LimitedState(music, state.request, progress)


def _followers(state: LimitedState) -> tuple[str, ...]:
    """The types of token that may come next, as far as their order tells."""
    music = state.music
    if music.signature.tempo is not None:
        if state.progress.opens_with_bar:
            return _BAR_FIRST
        if music.last_type in _TEMPO_FIRST and tempo_is_due(state):
            return _TEMPO_FIRST[music.last_type]
    return grammar.followers(music)


def _windows(state: LimitedState, names: Iterable[str]) -> list[tuple[str, Window]]:
    """For each of some types the values that fit the state and the request."""
    music, narrowings = state.music, state.request.narrowings
    windows = []
    for name in names:
        window = grammar.WINDOWS[name](music)
        for narrow in narrowings[name]:
            if window[0] < window[1]:
                window = narrow(state, window)
        windows.append((name, window))
    return windows


# What a token adds to the progress; `music` is the state of the grammar after it.


def _count_bar(state: LimitedState, music: State) -> Progress:
    bars_left, notes, bar_has_notes, _, cast, voices = state.progress
    if music.bar.part:
        return Progress(bars_left, notes, bar_has_notes, cast=cast, voices=voices)
    return Progress(_one_less(bars_left), notes, cast=cast, voices=voices)


def _count_meter(state: LimitedState, music: State) -> Progress:
    """A meter that is given after the beginning of a bar starts a new bar."""
    bars_left, notes, _, _, cast, voices = state.progress
    if music.grid == PERFORMANCE or grammar.is_at_bar_line(state.music.bar):
        return state.progress
    return Progress(_one_less(bars_left), notes, cast=cast, voices=voices)


def _count_note(state: LimitedState, _: State) -> Progress:
    bars_left, notes, _bar_has_notes, opens_with_bar, cast, voices = state.progress
    return Progress(bars_left, notes + 1, True, opens_with_bar, cast, voices)


def _count_instrument(state: LimitedState, music: State) -> Progress:
    instruments = state.request.limits.instruments
    if instruments is None:
        return state.progress
    return state.progress._replace(cast=cast_of(instruments, music.tracks.programs))


def _move_voice(state: LimitedState, music: State) -> Progress:
    voices = state.progress.voices
    if voices is None:
        return state.progress
    return state.progress._replace(voices=after_pitch(voices, music))


def _one_less(bars_left: int | None) -> int | None:
    return None if bars_left is None else bars_left - 1


_PROGRESS: dict[str, Callable[[LimitedState, State], Progress]] = {
    "bar": _count_bar,
    "unit": _count_meter,
    "duration": _count_note,
    "program": _count_instrument,
    "pitch": _move_voice,
}
