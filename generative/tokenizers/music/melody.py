"""The music grammar around a given melody, which every sampled piece holds unchanged.

Tracks rise within a position, so a melody in track 0 comes first at each of its steps: there its
tokens, and the meter and tempo of its piece, are the only ones allowed. At other steps the limited
grammar decides, without the melody's own track, positions after its next note, and bars after its
last.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from generative.tokenizers.music import grammar, limited
from generative.tokenizers.music.request import LimitedState
from generative.tokenizers.music.state import State, Tracks
from generative.tokenizers.music.vocabulary import (
    MAX_TRACKS,
    OFFSETS,
    VALUES,
    VOCAB_SIZE,
    meaning,
    program_number,
    token_id,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from generative.music.piece import Piece
    from generative.tokenizers.music.limits import MusicLimits
    from generative.tokenizers.music.tokenizer import MusicTokenizer

MELODY_TRACK = 0
_TRACK_ID = token_id("track", MELODY_TRACK)
_SIGNATURE = ("beats", "unit", "key", "tempo")  # These types of token apply to all tracks at once.
_NOTE = ("velocity", "pitch", "drum")


class MelodyState(NamedTuple):
    """The state of the limited grammar, and how much of the melody there is.

    Attributes:
        limited: the state of the limited grammar.
        event: the index of the next step at which the melody has tokens.
        emitted: how many of the tokens of that step there are.
    """

    limited: LimitedState
    event: int = 0
    emitted: int = 0


class MelodyGrammar:
    """What may come next, so that a piece holds the melody unchanged and has as many bars.

    The limits are for the other voices; the melody need not keep to them. This is a constraint like
    `MusicGrammar`, with immutable states.
    """

    fallback_tokens: ClassVar[Mapping[int, int]] = limited.FALLBACK_TOKENS

    def __init__(
        self, tokenizer: MusicTokenizer, melody: Piece, limits: MusicLimits | None = None
    ) -> None:
        """`melody` has one track; the instruments of `limits` include the melody's.

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
        self._program = program_number(track)
        self._steps, self._tokens = _tokens_by_step(tokenizer.encode(form))

    def start(self) -> MelodyState:
        """The state before the first token."""
        programs: list[int | None] = [None] * MAX_TRACKS
        programs[MELODY_TRACK] = self._program
        music = State(tracks=Tracks(tuple(programs)))
        return MelodyState(limited.begin(music, self._limits))

    def advance(self, state: MelodyState, token: int) -> MelodyState:
        """The state after a token.

        Raises:
            ValueError: it may not come next.
        """
        inner, event, emitted = state
        due = self._due(state)
        if due is None:
            if not self.allowed(state)[token]:
                raise ValueError(f"{meaning(token)} cannot come here")
            inner = limited.advance(inner, token)
        else:
            if token != due:
                raise ValueError(f"{meaning(token)} cannot come here; expected {meaning(due)}")
            inner = limited.moved(inner, token)  # The limits are not for the melody.
            if token != _TRACK_ID:
                emitted += 1
                if emitted == len(self._tokens[event]):
                    event, emitted = event + 1, 0
        return MelodyState(self._with_bars_left(inner), event, emitted)

    def _with_bars_left(self, state: LimitedState) -> LimitedState:
        """The state with no bars left in the melody's last bar, and else with as many as wanted."""
        bar = state.music.bar
        bar_end = bar.begin_step + bar.part_steps * (bar.parts - bar.part)
        is_last = bisect_left(self._steps, bar_end) == len(self._steps)
        progress = state.progress._replace(bars_left=0 if is_last else None)
        return LimitedState(state.music, state.request, progress)

    def allowed(self, state: MelodyState) -> NDArray[np.bool_]:
        """Which tokens may come next; at least one. (V,)"""
        due = self._due(state)
        if due is not None:
            only = np.zeros(VOCAB_SIZE, dtype=np.bool_)
            only[due] = True
            return only
        mask = limited.allowed(state.limited)
        music = state.limited.music
        if music.signature.tempo is None:
            return mask
        for token_type in _SIGNATURE:
            _forbid(mask, token_type)
        mask[_TRACK_ID] = False
        if music.moment.track == MELODY_TRACK:
            for token_type in _NOTE:
                _forbid(mask, token_type)
        if state.event < len(self._steps):
            next_step = self._steps[state.event]
            _forbid(mask, "start")
            _forbid(mask, "position", next_step - music.bar.begin_step + 1)
            if next_step < music.bar.end_step:
                _forbid(mask, "bar")
        return mask

    def progress(self, state: MelodyState) -> float:
        """How much of the melody there is, 0 to 1."""
        return state.event / len(self._steps)

    def _due(self, state: MelodyState) -> int | None:
        """The only token that may come next; None if there is a choice."""
        music = state.limited.music
        if music.bar.position < 0 or state.event == len(self._steps):
            return None
        if music.clock.step != self._steps[state.event]:
            return None
        token = self._tokens[state.event][state.emitted]
        is_of_track = meaning(token)[0] not in _SIGNATURE
        return _TRACK_ID if is_of_track and music.moment.track != MELODY_TRACK else token


def _tokens_by_step(ids: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """The steps at which a melody has tokens, and the tokens there without track tokens."""
    steps: list[int] = []
    tokens: list[list[int]] = []
    state = State()
    for token in ids:
        state = grammar.advance(state, token)
        if state.last_type == "position":
            steps.append(state.clock.step)
            tokens.append([])
        elif state.last_type not in ("bar", "track"):
            tokens[-1].append(token)
    return steps, tokens


def _forbid(mask: NDArray[np.bool_], token_type: str, first: int = 0) -> None:
    """Forbid the values of a type from index `first` on."""
    offset = OFFSETS[token_type]
    mask[offset + max(first, 0) : offset + len(VALUES[token_type])] = False
