"""A piece of music to ids and back: knows how tokens are written and read, not files or models.

The ids are listed in `music_vocabulary`, their order in `music_grammar`, and what a piece loses on
the way in `music_form`: `decode(encode(piece))` is the piece in token form, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.piece import Meter, Note, Piece, Tempo, Track
from generative.quantise import STEPS_PER_BEAT
from generative.tokenizers import music_grammar
from generative.tokenizers.music_form import EncodeReport, in_token_form
from generative.tokenizers.music_grammar import State
from generative.tokenizers.music_vocabulary import (
    BLOCKS,
    DRUM_PROGRAMS,
    OFFSETS,
    STEPS_PER_LONG,
    VALUES,
    VOCAB_SIZE,
    describe,
    is_measured_exactly,
    meaning,
    ruler_steps,
    token_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from generative.tokenizers.music_limits import MusicLimits

START_ID = token_id("start")
BAR_ID = token_id("bar")
LONG_ID = token_id("long", STEPS_PER_LONG)
FIRST_PITCH_ID = OFFSETS["pitch"]
END_PITCH_ID = FIRST_PITCH_ID + len(VALUES["pitch"])
# Kinds whose ids rise with what they say: to shift them varies a piece and leaves it whole.
LADDERS = {
    kind: range(OFFSETS[kind], OFFSETS[kind] + len(VALUES[kind]))
    for kind in ("pitch", "velocity", "tempo")
}
VERSION = 1  # of the vocabulary; raised when an id changes its meaning


class MusicTokenizer:
    """Bars, positions, meter, tempo, instruments and notes as one row of ids.

    Example:
        tokenizer = MusicTokenizer()
        ids = tokenizer.encode(piece)
        [tokenizer.describe(i) for i in ids]
        # bar, position 0, beats 4, unit 4, tempo 120,
        # track 0, program 0, velocity 82, pitch 60, duration 24
        tokenizer.decode(ids) == tokenizer.normal_form(piece)    # True
    """

    name = "music"
    start_id = START_ID
    vocab_size = VOCAB_SIZE
    ladders = LADDERS

    @classmethod
    def train(cls, pieces: Iterable[Piece], vocab_size: int | None = None) -> MusicTokenizer:  # noqa: ARG003
        """The same for every corpus: the table of blocks is fixed."""
        return cls()

    def encode(self, piece: Piece) -> list[int]:
        """The piece's tokens, with no start token at either end; none for a piece without notes."""
        return self.encode_with_report(piece)[0]

    def encode_with_report(self, piece: Piece) -> tuple[list[int], EncodeReport]:
        """As `encode`, with an account of what tokens could not say.

        Raises:
            ValueError: a piece longer than there are tokens for.
        """
        form, report = in_token_form(piece)
        return (_written(form) if form.tracks else []), report

    def encode_array(self, piece: Piece) -> NDArray[np.int32]:
        """As `encode`, ready for training. -> (T,)"""
        return np.array(self.encode(piece), dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> Piece:
        """The piece that tokens say, on a grid of 24 ticks a beat.

        Start tokens at either end are passed over, and a note that breaks off at the end is left
        out.

        Raises:
            ValueError: a token that may not stand where it does.
        """
        return _read(ids)[1]

    def normal_form(self, piece: Piece) -> Piece:
        """The piece as its tokens give it back."""
        return in_token_form(piece)[0]

    def describe(self, token: int) -> str:
        """A token in words: "bar", "pitch 60"."""
        return describe(token)

    def notes_in(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> int:
        """How many whole notes are among the tokens."""
        durations = np.asarray(ids) - OFFSETS["duration"]
        return int(((durations >= 0) & (durations < len(VALUES["duration"]))).sum())

    def pitch_range(self, ids: NDArray[np.integer[Any]]) -> tuple[int, int] | None:
        """The lowest and highest pitch, drums apart; None without any."""
        pitches = ids[_is_pitch(ids)] - FIRST_PITCH_ID
        return (int(pitches.min()), int(pitches.max())) if pitches.size else None

    def transpose(self, ids: NDArray[np.integer[Any]], semitones: int) -> NDArray[np.integer[Any]]:
        """The tokens with every pitch moved, drums as they were. (T,) -> (T,)

        Raises:
            ValueError: a pitch would leave 0..127.
        """
        span = self.pitch_range(ids)
        if span and not 0 <= span[0] + semitones <= span[1] + semitones <= 127:
            raise ValueError(f"pitches {span[0]}..{span[1]} cannot move by {semitones} semitones")
        return np.where(_is_pitch(ids), ids + semitones, ids).astype(ids.dtype)

    def shifted(
        self, ids: NDArray[np.integer[Any]], ladder: str, rungs: int
    ) -> NDArray[np.integer[Any]]:
        """A piece transposed ("pitch"), or louder or faster throughout. (T,) -> (T,)

        Raises:
            ValueError: a pitch would leave 0..127.
        """
        if ladder == "pitch":
            return self.transpose(ids, rungs)
        on = (ids >= LADDERS[ladder].start) & (ids < LADDERS[ladder].stop)
        return np.where(on, ids + rungs, ids).astype(ids.dtype)

    def to_config(self) -> dict[str, Any]:
        """What `tokenizer.json` holds: enough to see that the ids still mean the same."""
        return {
            "type": self.name,
            "version": VERSION,
            "steps_per_beat": STEPS_PER_BEAT,
            "blocks": {block.name: len(block.values) for block in BLOCKS},
        }

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        files: Mapping[str, bytes] | None = None,  # noqa: ARG003
    ) -> MusicTokenizer:
        """The inverse of `to_config`.

        Raises:
            ValueError: the ids meant something else when this was written.
        """
        tokenizer = cls()
        for key, expected in tokenizer.to_config().items():
            if config.get(key) != expected:
                raise ValueError(
                    f"the model's music vocabulary differs in {key!r}: "
                    f"{config.get(key)!r} there, {expected!r} here"
                )
        return tokenizer

    def files(self) -> dict[str, bytes]:
        """What lies beside `tokenizer.json`: nothing."""
        return {}


class MusicGrammar:
    """What may come next, so that whatever is drawn is a piece of the length that was asked for.

    With `bars`, a piece ends in its `bars`-th bar; with `seconds`, nothing begins so late or later,
    and it ends when no further bar fits; with both, whichever comes first. Else it may end after
    any note. `limits` keep what is new to a key, a range or a meter. States are immutable, so that
    beams can share them.
    """

    def __init__(
        self,
        tokenizer: MusicTokenizer,
        bars: int | None = None,
        seconds: float | None = None,
        limits: MusicLimits | None = None,
    ) -> None:
        """`bars`, `seconds`: how much to add, both at least a little.

        Raises:
            ValueError: no bars, no seconds, or bars of a meter that cannot be counted.
        """
        if bars is not None and bars < 1:
            raise ValueError(f"bars must be at least 1, not {bars}")
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds must be positive, not {seconds}")
        if bars is not None and limits and limits.meter and not is_measured_exactly(*limits.meter):
            n, d = limits.meter
            raise ValueError(f"bars of {n}/{d} are no whole steps, so they cannot be counted")
        self.tokenizer = tokenizer
        self.bars = bars
        self.seconds = seconds
        self.limits = limits

    def start(self) -> State:
        """Before the first token."""
        return State(bars_left=self.bars, deadline_seconds=self.seconds, limits=self.limits)

    def resume(self, ids: Sequence[int]) -> State:
        """After the tokens of a primer; bars and seconds count from its end.

        Raises:
            ValueError: tokens that are no piece, or break off, or in another meter.
        """
        state, piece = _read(ids)
        if state.block not in ("start", "bar", "unit", "tempo", "duration"):
            raise ValueError(f"a primer ends with a whole note, not with {describe(ids[-1])!r}")
        deadline = None if self.seconds is None else piece.seconds + self.seconds
        only = self.limits.meter_places if self.limits else None
        if None not in (only, state.meter) and only != state.meter:
            raise ValueError("the primer ends in another meter than the one asked for")
        return state._replace(bars_left=self.bars, deadline_seconds=deadline, limits=self.limits)

    def advance(self, state: State, token: int) -> State:
        """Where a token leads.

        Raises:
            ValueError: it may not come next.
        """
        return music_grammar.advance(state, token)

    def allowed(self, state: State) -> NDArray[np.bool_]:
        """Which tokens may come next; never none. (V,)"""
        return music_grammar.allowed(state)

    def progress(self, state: State) -> float | None:
        """How much of the bars or seconds is there, 0 to 1; None where neither was asked for."""
        shares = []
        if self.bars is not None and state.bars_left is not None:
            part = (state.part + max(0, state.position) / state.ruler_steps) / state.parts
            shares.append((self.bars - state.bars_left - 1 + part) / self.bars)
        if self.seconds is not None and state.deadline_seconds is not None:
            shares.append(1 - (state.deadline_seconds - state.seconds) / self.seconds)
        return min(1.0, max(0.0, *shares, 0.0)) if shares else None


@dataclass(slots=True)
class _Moment:
    """What happens at one step."""

    meter: Meter | None = None
    tempo: Tempo | None = None
    notes: list[tuple[int, Note]] = field(default_factory=list)  # (track, note)


def _written(form: Piece) -> list[int]:
    """The tokens of a piece in token form."""
    moments: defaultdict[int, _Moment] = defaultdict(_Moment)
    for change in form.meters:
        moments[change.at_ticks].meter = change
    for rate in form.tempos:
        moments[rate.at_ticks].tempo = rate
    for index, track in enumerate(form.tracks):
        for note in track.notes:
            moments[note.onset_ticks].notes.append((index, note))

    ids = [BAR_ID]
    bar_step, ruler = 0, 1
    track_now, velocities = -1, [0] * len(form.tracks)
    for step, moment in sorted(moments.items()):
        if bars := (step - bar_step) // ruler:
            ids += [BAR_ID] * bars
            bar_step += bars * ruler
        ids.append(token_id("position", step - bar_step))
        if meter := moment.meter:
            ids += [token_id("beats", meter.numerator), token_id("unit", meter.denominator)]
            bar_step, ruler = step, ruler_steps(meter.numerator, meter.denominator)
        if tempo := moment.tempo:
            ids.append(token_id("tempo", int(tempo.beats_per_minute)))
        for index, note in moment.notes:
            track = form.tracks[index]
            if index != track_now:
                ids.append(token_id("track", index))
                track_now = index
            if not velocities[index]:
                ids.append(token_id("program", track.program + DRUM_PROGRAMS * track.is_drum))
            if note.velocity != velocities[index]:
                ids.append(token_id("velocity", note.velocity))
                velocities[index] = note.velocity
            longs, rest = divmod(note.duration_ticks - 1, STEPS_PER_LONG)
            ids.append(token_id("drum" if track.is_drum else "pitch", note.pitch))
            ids += [LONG_ID] * longs
            ids.append(token_id("duration", rest + 1))
    return ids


def _read(ids: Sequence[int]) -> tuple[State, Piece]:
    """Where tokens lead, and the piece that they say."""
    state = State()
    tempos: list[Tempo] = []
    meters: list[Meter] = []
    notes: defaultdict[int, list[Note]] = defaultdict(list)  # by track
    said: dict[tuple[str, int | None], int] = {}  # (program or velocity, track) -> what it is now
    begin, end = _without_starts(ids)
    for index in range(begin, end):
        try:
            state = music_grammar.advance(state, int(ids[index]))
        except ValueError as error:
            raise ValueError(f"token {index}: {error}") from None
        kind, value = meaning(int(ids[index]))
        if kind in ("program", "velocity"):
            said[kind, state.track] = value
        elif kind == "duration" and state.track is not None:
            notes[state.track].append(
                Note(
                    onset_ticks=state.step,
                    duration_ticks=state.longs * STEPS_PER_LONG + value,
                    pitch=state.pitch,
                    velocity=said["velocity", state.track],
                )
            )
        elif kind == "tempo":
            tempos.append(Tempo(at_ticks=state.step, beats_per_minute=float(value)))
        elif kind == "unit":
            numerator = VALUES["beats"][state.beats]
            meters.append(Meter(at_ticks=state.step, numerator=numerator, denominator=value))
    tracks = (_track(said["program", index], notes[index]) for index in sorted(notes))
    piece = Piece(
        ticks_per_beat=STEPS_PER_BEAT,
        tracks=tuple(tracks),
        tempos=tuple(tempos),
        meters=tuple(meters),
    )
    return state, piece.normalised()


def _track(program: int, notes: list[Note]) -> Track:
    is_drum, program = divmod(program, DRUM_PROGRAMS)
    return Track(program=program, is_drum=bool(is_drum), notes=tuple(notes))


def _without_starts(ids: Sequence[int]) -> tuple[int, int]:
    begin, end = 0, len(ids)
    while begin < end and ids[begin] == START_ID:
        begin += 1
    while end > begin and ids[end - 1] == START_ID:
        end -= 1
    return begin, end


def _is_pitch(ids: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    return (ids >= FIRST_PITCH_ID) & (ids < END_PITCH_ID)
