"""Music around a given melody: knows which of its tokens are due; the rest is the grammar's.

Tracks rise within a position, so a melody in track 0 comes first wherever it moves: there its
tokens, and the meter and tempo of its piece, are the only ones allowed. Everywhere else all that
the music grammar allows may come, but for the melody's own track, for a leap over its next note,
and for bars beyond its last.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from generative.tokenizers.music import grammar
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    MAX_TRACKS,
    OFFSETS,
    VALUES,
    VOCAB_SIZE,
    meaning,
    token_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from generative.music.piece import Piece
    from generative.tokenizers.music.limits import MusicLimits
    from generative.tokenizers.music.tokenizer import MusicTokenizer

MELODY_TRACK = 0
_TRACK_ID = token_id("track", MELODY_TRACK)
_CONDUCTOR = ("beats", "unit", "key", "tempo")  # what is said of all tracks at once


class MelodyState(NamedTuple):
    """Where the whole piece is, and how much of the melody it has."""

    music: grammar.State
    event: int = 0  # the melody's next step with something to say
    said: int = 0  # how many of its tokens there have come


class MelodyGrammar:
    """What may come next, so that a piece holds a melody as it is and fills its bars, no more.

    The limits are for the other voices; the melody is free of them. A constraint like
    `MusicGrammar`, with immutable states.
    """

    def __init__(
        self, tokenizer: MusicTokenizer, melody: Piece, limits: MusicLimits | None = None
    ) -> None:
        """`melody` in one track; `limits` may ask for instruments beside its own.

        Raises:
            ValueError: not exactly one track with notes, or a limit that is the melody's to set.
        """
        form = tokenizer.normal_form(melody)
        if len(form.tracks) != 1:
            raise ValueError(f"a melody is one track with notes, not {len(form.tracks)}")
        if limits and (limits.meter or limits.tempo or limits.density):
            raise ValueError("the melody sets meter, tempo and pace: leave their limits out")
        self._limits = limits
        track = form.tracks[0]
        self._program = track.program + DRUM_PROGRAMS * track.is_drum
        self._steps, self._tokens = _script(tokenizer.encode(form))

    def start(self) -> MelodyState:
        """Before the first token."""
        programs: list[int | None] = [None] * MAX_TRACKS
        programs[MELODY_TRACK] = self._program
        first = grammar.State(limits=self._limits, programs=tuple(programs))
        return MelodyState(first)

    def advance(self, state: MelodyState, token: int) -> MelodyState:
        """Where a token leads.

        Raises:
            ValueError: it may not come next.
        """
        music, event, said = state
        due = self._due(state)
        if due is None:
            if not self.allowed(state)[token]:
                raise ValueError(f"{meaning(token)} cannot come here")
            music = grammar.advance(music, token)
        else:
            if token != due:
                raise ValueError(f"{meaning(token)} cannot come here; expected {meaning(due)}")
            # windows and limits are for what is new; counting bars is done here
            music = grammar.moved(music._replace(bars_left=None), token)
            if token != _TRACK_ID:
                said += 1
                if said == len(self._tokens[event]):
                    event, said = event + 1, 0
        bar_end = music.bar_step + music.ruler_steps * (music.parts - music.part)
        is_last = bisect_left(self._steps, bar_end) == len(self._steps)
        return MelodyState(music._replace(bars_left=0 if is_last else None), event, said)

    def allowed(self, state: MelodyState) -> NDArray[np.bool_]:
        """Which tokens may come next; never none. (V,)"""
        due = self._due(state)
        if due is not None:
            only = np.zeros(VOCAB_SIZE, dtype=np.bool_)
            only[due] = True
            return only
        music = state.music
        mask = grammar.allowed(music)
        if music.tempo is None:
            return mask
        for name in _CONDUCTOR:
            _bar(mask, name)
        mask[_TRACK_ID] = False
        if music.track == MELODY_TRACK:
            for name in ("velocity", "pitch", "drum"):
                _bar(mask, name)
        if state.event < len(self._steps):
            next_step = self._steps[state.event]
            _bar(mask, "start")
            _bar(mask, "position", next_step - music.bar_step + 1)
            if next_step < music.bar_step + music.ruler_steps:
                _bar(mask, "bar")
        return mask

    def progress(self, state: MelodyState) -> float:
        """How much of the melody is there, 0 to 1."""
        return state.event / len(self._steps)

    def _due(self, state: MelodyState) -> int | None:
        """The only token that may come next; None where there is a choice."""
        music = state.music
        if music.position < 0 or state.event == len(self._steps):
            return None
        if music.step != self._steps[state.event]:
            return None
        token = self._tokens[state.event][state.said]
        is_of_track = meaning(token)[0] not in _CONDUCTOR
        return _TRACK_ID if is_of_track and music.track != MELODY_TRACK else token


def _script(ids: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """The steps at which a melody says something, and the tokens that say it, tracks left out."""
    steps: list[int] = []
    tokens: list[list[int]] = []
    state = grammar.State()
    for token in ids:
        state = grammar.advance(state, token)
        if state.block == "position":
            steps.append(state.step)
            tokens.append([])
        elif state.block not in ("bar", "track"):
            tokens[-1].append(token)
    return steps, tokens


def _bar(mask: NDArray[np.bool_], name: str, first: int = 0) -> None:
    """Forbid a kind, from a place in its block on."""
    offset = OFFSETS[name]
    mask[offset + max(first, 0) : offset + len(VALUES[name])] = False
