"""The music grammar as a constraint on sampling: music of a given length within given limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generative.errors import OptionError, check_at_least
from generative.music.quantise import PERFORMANCE, SCORE
from generative.tokenizers.music import limited
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.state import State
from generative.tokenizers.music.vocabulary import describe, is_measured_exactly
from generative.tokenizers.music.voices import voices_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.tokenizers.music.request import LimitedState
    from generative.tokenizers.music.tokenizer import MusicTokenizer
    from generative.tokenizers.music.voices import Voices

# Types of token after which no event is incomplete.
COMPLETE_TYPES = ("start", "bar", "unit", "key", "tempo", "pedal", "value", "duration")


class MusicGrammar:
    """What may come next, so that whatever is sampled is a piece of the length asked for.

    With `bars`, a piece ends in its `bars`-th bar; with `seconds`, nothing begins so late or later,
    and it ends when no further bar fits (a performance: in the last second); with both, whichever
    comes first. Else it may end after any note. `limits` keep what is new to a key, a range, a
    meter, a tempo, instruments, a density or voice leading. States are immutable, so that beams can
    share them.
    """

    def __init__(
        self,
        tokenizer: MusicTokenizer,
        bars: int | None = None,
        seconds: float | None = None,
        limits: MusicLimits | None = None,
    ) -> None:
        """`bars`, `seconds`: how much to add, both more than 0.

        Raises:
            OptionError: no bars, no seconds, or bars of a meter that cannot be counted.
        """
        check_at_least("bars", bars, 1)
        if seconds is not None and not seconds > 0:
            raise OptionError(f"seconds must be positive, not {seconds}")
        if bars is not None and tokenizer.grid == PERFORMANCE:
            raise OptionError("a performance has no bars to count: say how many seconds")
        if limits and limits.need_beats and tokenizer.grid == PERFORMANCE:
            raise OptionError("a performance has no beats: limit only pitches and voice leading")
        if bars is not None and limits and limits.meter and not is_measured_exactly(*limits.meter):
            n, d = limits.meter
            raise OptionError(f"bars of {n}/{d} are no whole steps, so they cannot be counted")
        self.tokenizer = tokenizer
        self.bars = bars
        self.seconds = seconds
        self.limits = limits or MusicLimits()
        # Without a length a bar may be forbidden for now only, as by a density.
        has_length = bars is not None or seconds is not None
        self.fallback_tokens = limited.FALLBACK_TOKENS if has_length else {}

    def start(self) -> LimitedState:
        """The state before the first token."""
        return limited.begin(
            self._opening, self.limits, bars=self.bars, deadline_seconds=self.seconds
        )

    def resume(self, ids: Sequence[int], *, from_bar_line: bool = False) -> LimitedState:
        """The state after the tokens of a primer; bars and seconds count from its end.

        Args:
            ids: a piece, which may end with bars that are empty as yet.
            from_bar_line: whether what is new begins with a bar; else it may complete the primer's
                last one, unless it has another tempo. A performance has no bars and ignores this.

        Raises:
            ValueError: the tokens are no piece, or break off, or end in another meter, or nothing
                can follow them within the limits.
        """
        music, piece = self.tokenizer.read(ids)
        if music.last_type not in COMPLETE_TYPES:
            raise ValueError(f"a primer ends with a whole note, not with {describe(ids[-1])!r}")
        deadline = None if self.seconds is None else piece.seconds + self.seconds
        meter = self.limits.meter_indices
        if None not in (meter, music.signature.meter) and meter != music.signature.meter:
            raise ValueError("the primer ends in another meter than the one asked for")
        tempos = (self.limits.tempo_index, music.signature.tempo)
        has_other_tempo = None not in tempos and tempos[0] != tempos[1]
        opens_with_bar = has_other_tempo or (from_bar_line and music.grid == SCORE)
        state = limited.begin(
            music,
            self.limits,
            bars=self.bars,
            deadline_seconds=deadline,
            opens_with_bar=opens_with_bar,
            voices=self._voices(ids),
        )
        if not self.allowed(state).any():
            raise ValueError("nothing can follow the primer within the limits; give it more room")
        return state

    @property
    def _opening(self) -> State:
        """The state of the grammar before the first token."""
        return State(grid=self.tokenizer.grid, controls=self.tokenizer.controls)

    def _voices(self, ids: Sequence[int]) -> Voices | None:
        """Return what each track of a primer has played last; None where no limit needs it."""
        if not self.limits.voice_leading:
            return None
        return voices_of((i for i in ids if i != self.tokenizer.start_id), self._opening)

    def advance(self, state: LimitedState, token: int) -> LimitedState:
        """The state after a token.

        Raises:
            ValueError: it may not come next.
        """
        return limited.advance(state, token)

    def allowed(self, state: LimitedState) -> NDArray[np.bool_]:
        """Which tokens may come next; at least one. (V,)"""
        return limited.allowed(state)

    def progress(self, state: LimitedState) -> float | None:
        """How much of the bars or seconds there is, 0 to 1; None if neither was asked for."""
        fractions = []
        bars_left, deadline = state.progress.bars_left, state.request.deadline_seconds
        if self.bars is not None and bars_left is not None:
            bar = state.music.bar
            part = (bar.part + max(0, bar.position) / bar.part_steps) / bar.parts
            fractions.append((self.bars - bars_left - 1 + part) / self.bars)
        if self.seconds is not None and deadline is not None:
            fractions.append(1 - (deadline - state.music.clock.seconds) / self.seconds)
        return min(1.0, max(0.0, *fractions, 0.0)) if fractions else None
