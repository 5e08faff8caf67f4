"""The voices of the music so far, and the pitches that would move in parallel with one of them.

A voice is a track with pitches; of several notes that it begins at one step the last one written,
which is the highest, is its pitch there. The module does not know when parallels are forbidden.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from generative.music.piece import HIGHEST_PITCH
from generative.music.voice_leading import is_parallel, perfect_interval
from generative.tokenizers.music import grammar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from generative.music.voice_leading import Move
    from generative.tokenizers.music.state import State


class Voice(NamedTuple):
    """What one track has played last.

    Attributes:
        pitch: the pitch of its last note.
        onset_step: the step at which that note begins.
        previous: its pitch before that step; None if it had none.
    """

    pitch: int
    onset_step: int
    previous: int | None = None

    def before(self, step: int) -> int | None:
        """Return its pitch before a step, which is the last onset or later."""
        return self.previous if self.onset_step == step else self.pitch


# Voices are stored by the numbers of their tracks, and are immutable, so that beams can share them.
Voices: TypeAlias = "Mapping[int, Voice]"


def after_pitch(voices: Voices, music: State) -> Voices:
    """Return the voices after a token of a pitch; `music` is the state of the grammar after it."""
    step, moment = music.clock.step, music.moment
    assert moment.track is not None  # The windows of the grammar allow no note before a track.
    voice = voices.get(moment.track)
    previous = None if voice is None else voice.before(step)
    return {**voices, moment.track: Voice(moment.pitch, step, previous)}


def voices_of(ids: Iterable[int], music: State) -> Voices:
    """Return the voices after the tokens of a piece that begins in a state of the grammar."""
    voices: Voices = {}
    for token in ids:
        music = grammar.advance(music, token)
        if music.last_type == "pitch":
            voices = after_pitch(voices, music)
    return voices


def parallel_pitches(voices: Voices, music: State) -> NDArray[np.bool_] | None:
    """Return which pitches the current track cannot move to without parallels. (128,) or None.

    These are the pitches that would move in parallel fifths, octaves or unisons with a voice that
    has moved at this step. None means that there is no such voice.
    """
    step, track = music.clock.step, music.moment.track
    own = None if track is None or track not in voices else voices[track].before(step)
    if own is None:
        return None
    found = None
    for number, other in voices.items():
        if number == track or other.onset_step != step or other.previous is None:
            continue
        is_perfect = perfect_interval(own, other.previous) is not None
        if is_perfect and other.pitch != other.previous:
            parallel = _parallel_with(own, (other.previous, other.pitch))
            found = parallel.copy() if found is None else found | parallel
    if found is not None:
        found[own] = False  # A repeated pitch is no move.
    return found


@lru_cache(maxsize=1 << 12)
def _parallel_with(own: int, other: Move) -> NDArray[np.bool_]:
    """Return which pitches a voice at `own` cannot move to beside another's move. (128,)

    The result is shared: do not edit it.
    """
    found = np.array([is_parallel((own, pitch), other) for pitch in range(HIGHEST_PITCH + 1)])
    found.setflags(write=False)
    return found
