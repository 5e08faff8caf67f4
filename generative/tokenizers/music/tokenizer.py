"""A piece of music to ids and back: knows how tokens are written and read, not files or models.

The ids are listed in `vocabulary`, their order in `grammar`, and what a piece loses on
the way in `form`: `decode(encode(piece))` is the piece in token form, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from generative.errors import OptionError
from generative.music.piece import (
    PITCH_BEND,
    SUSTAIN_PEDAL,
    Control,
    Key,
    Meter,
    Note,
    Piece,
    Tempo,
    Track,
)
from generative.music.quantise import (
    PERFORMANCE,
    PERFORMANCE_TICKS_PER_BEAT,
    SCORE,
    STEPS_PER_BEAT,
    STEPS_PER_SECOND,
    grid_of,
    in_time,
)
from generative.tokenizers.music import grammar
from generative.tokenizers.music.form import EncodeReport, in_token_form
from generative.tokenizers.music.grammar import LONGEST_SHIFT, State
from generative.tokenizers.music.vocabulary import (
    BLOCKS,
    DRUM_PROGRAMS,
    IDS,
    OFFSETS,
    STEPS_PER_LONG,
    VALUES,
    VALUES_PER_LEVEL,
    VOCAB_SIZE,
    describe,
    is_measured_exactly,
    key_of,
    key_value,
    meaning,
    ruler_steps,
    token_id,
    transposed_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from generative.tokenizers.music.limits import MusicLimits

START_ID = token_id("start")
BAR_ID = token_id("bar")
LONG_ID = token_id("long", STEPS_PER_LONG)
FIRST_PITCH_ID = OFFSETS["pitch"]
FIRST_DRUM_ID = OFFSETS["drum"]
TRACK_ID = OFFSETS["track"]
DURATION_ID = OFFSETS["duration"] - 1  # plus steps
END_PITCH_ID = FIRST_PITCH_ID + len(VALUES["pitch"])
VERSION = 2  # of the vocabulary; raised when an id changes its meaning

# kinds of token that leave nothing half said
WHOLE = ("start", "bar", "unit", "key", "tempo", "pedal", "value", "duration")
# Kinds whose ids rise with what they say: to shift them varies a piece and leaves it whole.
AUGMENTATION_AXES = {
    kind: range(OFFSETS[kind], OFFSETS[kind] + len(VALUES[kind]))
    for kind in ("pitch", "velocity", "tempo")
}


class MusicTokenizer:
    """Time, meter, key, tempo, instruments, pedals and notes as one row of ids.

    On the score grid time is bars and positions, on the performance grid shifts of 10 ms; the ids
    are from one table.

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
    augmentation_axes = AUGMENTATION_AXES

    def __init__(self, grid: str = SCORE, controls: Iterable[int] = ()) -> None:
        """`controls`: numbers of those that a performance keeps, beside the sustain pedal.

        Raises:
            ValueError: no such grid or control, or controls on the score grid, which has none.
        """
        self.grid = grid
        self.controls = tuple(sorted(set(controls) - {SUSTAIN_PEDAL}))
        if grid not in (SCORE, PERFORMANCE):
            raise ValueError(f"grid must be {SCORE!r} or {PERFORMANCE!r}, not {grid!r:.30}")
        if self.controls and grid == SCORE:
            raise ValueError("controls are kept on the performance grid only")
        if not set(self.controls) <= set(VALUES["control"]):
            raise ValueError(
                f"controls must be in 0..{PITCH_BEND}, not {list(self.controls)!r:.50}"
            )

    @classmethod
    def train(
        cls,
        pieces: Iterable[Piece],
        vocab_size: int | None = None,  # noqa: ARG003 - the table of blocks is fixed
        grid: str | None = None,
    ) -> MusicTokenizer:
        """The tokenizer for pieces like these: on `grid`, or on the one that suits them."""
        return cls(grid or grid_of(pieces))

    def encode(self, piece: Piece) -> list[int]:
        """The piece's tokens, with no start token at either end; none for a piece without notes."""
        return self.encode_with_report(piece)[0]

    def encode_with_report(self, piece: Piece) -> tuple[list[int], EncodeReport]:
        """As `encode`, with an account of what tokens could not say.

        Raises:
            ValueError: a piece longer than there are tokens for.
        """
        form, report = in_token_form(piece, self.grid, self.controls)
        return (_written(form, self.grid) if form.tracks else []), report

    def encode_array(self, piece: Piece) -> NDArray[np.int32]:
        """As `encode`, ready for training. -> (T,)"""
        return np.array(self.encode(piece), dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> Piece:
        """The piece that tokens say, with 24 ticks a beat, or 960 from the performance grid.

        Start tokens at either end are passed over, and a note that breaks off at the end is left
        out.

        Raises:
            ValueError: a token that may not stand where it does.
        """
        return self.read(ids)[1]

    def read(self, ids: Sequence[int]) -> tuple[State, Piece]:
        """Where tokens lead in the grammar, and the piece that they say; see `decode`."""
        state, stepped = _read(ids, State(grid=self.grid, controls=self.controls))
        return state, stepped if self.grid == SCORE else in_time(stepped)

    def normal_form(self, piece: Piece) -> Piece:
        """The piece as its tokens give it back."""
        form = in_token_form(piece, self.grid, self.controls)[0]
        return form if self.grid == SCORE else in_time(form)

    def describe(self, token: int) -> str:
        """A token in words: "bar", "pitch 60"."""
        return describe(token)

    def with_bars(self, ids: Sequence[int], bars: int) -> list[int]:
        """A piece's tokens, and as many empty bars after them as it takes to have so many.

        The last one is complete, so that whatever comes next begins at the bar line after it. A
        performance has none, and stays as it is.
        """
        if self.grid == PERFORMANCE:
            return list(ids)
        state, piece = self.read(ids)
        rulers = state.parts - 1 - state.part + state.parts * max(0, bars - piece.bars)
        return [*ids, *[BAR_ID] * rulers]

    def notes_in(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> int:
        """How many whole notes are among the tokens."""
        durations = np.asarray(ids) - OFFSETS["duration"]
        return int(((durations >= 0) & (durations < len(VALUES["duration"]))).sum())

    def pitch_range(self, ids: NDArray[np.integer[Any]]) -> tuple[int, int] | None:
        """The lowest and highest pitch, drums apart; None without any."""
        pitches = ids[_is_pitch(ids)] - FIRST_PITCH_ID
        return (int(pitches.min()), int(pitches.max())) if pitches.size else None

    def transpose(self, ids: NDArray[np.integer[Any]], semitones: int) -> NDArray[np.integer[Any]]:
        """The tokens with every pitch and key moved, drums as they were. (T,) -> (T,)

        Raises:
            ValueError: a pitch would leave 0..127.
        """
        span = self.pitch_range(ids)
        if span and not 0 <= span[0] + semitones <= span[1] + semitones <= 127:
            raise ValueError(f"pitches {span[0]}..{span[1]} cannot move by {semitones} semitones")
        moved = np.where(_is_pitch(ids), ids + semitones, ids).astype(ids.dtype)
        for value, token in IDS["key"].items():
            moved[ids == token] = IDS["key"][transposed_key(value, semitones)]
        return moved

    def shifted(
        self, ids: NDArray[np.integer[Any]], axis: str, offset: int
    ) -> NDArray[np.integer[Any]]:
        """A piece transposed ("pitch"), or louder or faster throughout. (T,) -> (T,)

        Raises:
            ValueError: a pitch would leave 0..127.
        """
        if axis == "pitch":
            return self.transpose(ids, offset)
        on = (ids >= AUGMENTATION_AXES[axis].start) & (ids < AUGMENTATION_AXES[axis].stop)
        return np.where(on, ids + offset, ids).astype(ids.dtype)

    def to_config(self) -> dict[str, Any]:
        """What `tokenizer.json` holds: enough to see that the ids still mean the same."""
        return {
            "type": self.name,
            "version": VERSION,
            "grid": self.grid,
            "steps_per_beat": STEPS_PER_BEAT,
            "steps_per_second": STEPS_PER_SECOND,
            "controls": list(self.controls),
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
        grid, controls = config.get("grid", SCORE), config.get("controls", ())
        if not isinstance(controls, list | tuple) or not {type(c) for c in controls} <= {int}:
            raise ValueError(f"controls must be a list of numbers, not {controls!r:.30}")
        tokenizer = cls(str(grid), controls)
        for key, expected in tokenizer.to_config().items():
            if config.get(key) != expected:
                raise ValueError(
                    f"the model's music vocabulary differs in {key!r}: "
                    f"{config.get(key)!r:.100} there, {expected!r:.100} here"
                )
        return tokenizer

    def files(self) -> dict[str, bytes]:
        """What lies beside `tokenizer.json`: nothing."""
        return {}


class MusicGrammar:
    """What may come next, so that whatever is drawn is a piece of the length that was asked for.

    With `bars`, a piece ends in its `bars`-th bar; with `seconds`, nothing begins so late or later,
    and it ends when no further bar fits (a performance: in the last second); with both, whichever
    comes first. Else it may end after any note. `limits` keep what is new to a key, a range, a
    meter, a tempo, instruments or a density. States are immutable, so that beams can share them.
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
            OptionError: no bars, no seconds, or bars of a meter that cannot be counted.
        """
        if bars is not None and bars < 1:
            raise OptionError(f"bars must be at least 1, not {bars}")
        if seconds is not None and not seconds > 0:
            raise OptionError(f"seconds must be positive, not {seconds}")
        if bars is not None and tokenizer.grid == PERFORMANCE:
            raise OptionError("a performance has no bars to count: say how many seconds")
        if limits and limits.need_beats and tokenizer.grid == PERFORMANCE:
            raise OptionError("a performance keeps to a key and a range; other limits need beats")
        if bars is not None and limits and limits.meter and not is_measured_exactly(*limits.meter):
            n, d = limits.meter
            raise OptionError(f"bars of {n}/{d} are no whole steps, so they cannot be counted")
        self.tokenizer = tokenizer
        self.bars = bars
        self.seconds = seconds
        self.limits = limits

    def start(self) -> State:
        """Before the first token."""
        return State(
            grid=self.tokenizer.grid,
            controls=self.tokenizer.controls,
            bars_left=self.bars,
            deadline_seconds=self.seconds,
            limits=self.limits,
        )

    def resume(self, ids: Sequence[int], *, from_bar_line: bool = False) -> State:
        """After the tokens of a primer; bars and seconds count from its end.

        Args:
            ids: a piece, which may end with bars that are empty as yet.
            from_bar_line: what is new begins with a bar; else it may fill up the primer's last one,
                unless it goes on in another tempo.

        Raises:
            ValueError: tokens that are no piece, or break off, or in another meter, or that nothing
                can follow within the limits.
        """
        state, piece = self.tokenizer.read(ids)
        if state.block not in WHOLE:
            raise ValueError(f"a primer ends with a whole note, not with {describe(ids[-1])!r}")
        deadline = None if self.seconds is None else piece.seconds + self.seconds
        only = self.limits.meter_places if self.limits else None
        if None not in (only, state.meter) and only != state.meter:
            raise ValueError("the primer ends in another meter than the one asked for")
        tempo = self.limits.tempo_place if self.limits else None
        both = (tempo, state.tempo)
        state = state._replace(
            bars_left=self.bars,
            deadline_seconds=deadline,
            limits=self.limits,
            opens_with_bar=from_bar_line or (None not in both and tempo != state.tempo),
            counted_from=state.step,
            notes=0,
        )
        if not self.allowed(state).any():
            raise ValueError("nothing can follow the primer within the limits; give it more room")
        return state

    def advance(self, state: State, token: int) -> State:
        """Where a token leads.

        Raises:
            ValueError: it may not come next.
        """
        return grammar.advance(state, token)

    def allowed(self, state: State) -> NDArray[np.bool_]:
        """Which tokens may come next; never none. (V,)"""
        return grammar.allowed(state)

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
    key: Key | None = None
    tempo: Tempo | None = None
    events: list[tuple[int, Note | Control]] = field(default_factory=list)  # (track, event)


def _moments(form: Piece) -> list[tuple[int, _Moment]]:
    """What happens at each step, in order; in each track controls come before notes."""
    moments: defaultdict[int, _Moment] = defaultdict(_Moment)
    for change in form.meters:
        moments[change.at_ticks].meter = change
    for signature in form.keys:
        moments[signature.at_ticks].key = signature
    for rate in form.tempos:
        moments[rate.at_ticks].tempo = rate
    for index, track in enumerate(form.tracks):
        for control in track.controls:
            moments[control.at_ticks].events.append((index, control))
        for note in track.notes:
            moments[note.onset_ticks].events.append((index, note))
    return sorted(moments.items(), key=itemgetter(0))


def _written(form: Piece, grid: str) -> list[int]:  # noqa: PLR0912 - one a kind of token
    """The tokens of a piece in token form."""
    ids = [BAR_ID] if grid == SCORE else []
    at_step = bar_step = 0
    ruler = 1
    track_now, velocities = -1, [0] * len(form.tracks)
    unheard = set(range(len(form.tracks)))
    for step, moment in _moments(form):
        if grid == SCORE:
            if bars := (step - bar_step) // ruler:
                ids += [BAR_ID] * bars
                bar_step += bars * ruler
            ids.append(IDS["position"][step - bar_step])
        elif step:
            longest, rest = divmod(step - at_step - 1, LONGEST_SHIFT)
            ids += [IDS["shift"][LONGEST_SHIFT]] * longest
            ids.append(IDS["shift"][rest + 1])
            at_step = step
        if meter := moment.meter:
            ids += [IDS["beats"][meter.numerator], IDS["unit"][meter.denominator]]
            bar_step, ruler = step, ruler_steps(meter.numerator, meter.denominator)
        if key := moment.key:
            ids.append(IDS["key"][key_value(key.sharps, key.is_minor)])
        if tempo := moment.tempo:
            ids.append(IDS["tempo"][int(tempo.beats_per_minute)])
        for index, event in moment.events:
            track = form.tracks[index]
            if index != track_now:
                ids.append(TRACK_ID + index)
                track_now = index
            if index in unheard:
                ids.append(IDS["program"][track.program + DRUM_PROGRAMS * track.is_drum])
                unheard.remove(index)
            if isinstance(event, Control):
                ids += _control_ids(event)
                continue
            if event.velocity != velocities[index]:
                velocities[index] = event.velocity
                ids.append(IDS["velocity"][event.velocity])
            ids.append((FIRST_DRUM_ID if track.is_drum else FIRST_PITCH_ID) + event.pitch)
            steps = event.duration_ticks
            if steps > STEPS_PER_LONG:
                longs, rest = divmod(steps - 1, STEPS_PER_LONG)
                ids += [LONG_ID] * longs
                steps = rest + 1
            ids.append(DURATION_ID + steps)
    return ids


def _control_ids(control: Control) -> list[int]:
    if control.number == SUSTAIN_PEDAL:
        return [IDS["pedal"][control.value]]
    level = control.value // VALUES_PER_LEVEL.get(control.number, 1)
    return [IDS["control"][control.number], IDS["value"][level]]


def _read(ids: Sequence[int], state: State) -> tuple[State, Piece]:
    """Where tokens lead from the first state, and the piece that they say, in steps."""
    tempos: list[Tempo] = []
    meters: list[Meter] = []
    keys: list[Key] = []
    notes: defaultdict[int, list[Note]] = defaultdict(list)  # by track
    controls: defaultdict[int, list[Control]] = defaultdict(list)
    said: dict[tuple[str, int | None], int] = {}  # (program or velocity, track) -> what it is now
    begin, end = _without_starts(ids)
    for index in range(begin, end):
        try:
            state = grammar.advance(state, int(ids[index]))
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
        elif kind in ("pedal", "value") and state.track is not None:
            number = SUSTAIN_PEDAL if kind == "pedal" else state.control
            value *= VALUES_PER_LEVEL.get(number, 1)
            controls[state.track].append(Control(at_ticks=state.step, number=number, value=value))
        elif kind == "tempo":
            tempos.append(Tempo(at_ticks=state.step, beats_per_minute=float(value)))
        elif kind == "key":
            sharps, is_minor = key_of(value)
            keys.append(Key(at_ticks=state.step, sharps=sharps, is_minor=is_minor))
        elif kind == "unit":
            numerator = VALUES["beats"][state.beats]
            meters.append(Meter(at_ticks=state.step, numerator=numerator, denominator=value))
    piece = Piece(
        ticks_per_beat=STEPS_PER_BEAT if state.grid == SCORE else PERFORMANCE_TICKS_PER_BEAT,
        tracks=tuple(
            _track(said["program", index], notes[index], controls[index]) for index in sorted(notes)
        ),
        tempos=tuple(tempos),
        meters=tuple(meters),
        keys=tuple(keys),
    )
    return state, piece.normalised()


def _track(program: int, notes: list[Note], controls: list[Control]) -> Track:
    is_drum, program = divmod(program, DRUM_PROGRAMS)
    return Track(
        program=program, is_drum=bool(is_drum), notes=tuple(notes), controls=tuple(controls)
    )


def _without_starts(ids: Sequence[int]) -> tuple[int, int]:
    begin, end = 0, len(ids)
    while begin < end and ids[begin] == START_ID:
        begin += 1
    while end > begin and ids[end - 1] == START_ID:
        end -= 1
    return begin, end


def _is_pitch(ids: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    return (ids >= FIRST_PITCH_ID) & (ids < END_PITCH_ID)
