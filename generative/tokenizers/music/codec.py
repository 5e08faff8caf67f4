"""A piece in token form to ids, and ids to the piece: how events are written and read.

The piece has steps for ticks. The module does not know what a piece loses on the way to token form,
which is in `form`, nor how ids may follow each other, which is in `grammar`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from generative.music.piece import (
    SUSTAIN_PEDAL,
    Control,
    Key,
    Meter,
    Note,
    Piece,
    Tempo,
    Track,
)
from generative.music.quantise import PERFORMANCE_TICKS_PER_BEAT, SCORE, STEPS_PER_BEAT
from generative.tokenizers.music import grammar
from generative.tokenizers.music.grammar import LONGEST_SHIFT
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    IDS,
    OFFSETS,
    STEPS_PER_EXTENSION,
    VALUES,
    VALUES_PER_LEVEL,
    bar_part_steps,
    key_of,
    key_value,
    meaning,
    program_number,
    token_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generative.tokenizers.music.state import PerTrack, State

START_ID = token_id("start")
BAR_ID = token_id("bar")
_EXTENSION_ID = token_id("long", STEPS_PER_EXTENSION)
_BEFORE_DURATION_ID = OFFSETS["duration"] - 1  # A duration's id is this plus its steps.


def encoded(form: Piece, grid: str) -> list[int]:
    """The ids of a piece in token form."""
    writer = _ScoreWriter(form) if grid == SCORE else _Writer(form)
    for step, changes in _changes_by_step(form):
        writer.write(step, changes)
    return writer.ids


def decoded(ids: Sequence[int], state: State) -> tuple[State, Piece]:
    """The state of the grammar after ids, and the piece that they stand for, in steps.

    Args:
        ids: start tokens at either end, and a note that is incomplete at the end, are left out.
        state: the state before them.

    Raises:
        ValueError: a token that may not stand where it does.
    """
    reader = _Reader()
    begin, end = _without_starts(ids)
    for index in range(begin, end):
        token = int(ids[index])
        try:
            state = grammar.advance(state, token)
        except ValueError as error:
            raise ValueError(f"token {index}: {error}") from None
        if (read := _READ.get(state.last_type)) is not None:
            read(reader, state, meaning(token)[1])
    ticks_per_beat = STEPS_PER_BEAT if state.grid == SCORE else PERFORMANCE_TICKS_PER_BEAT
    return state, reader.piece(state.tracks.programs, ticks_per_beat)


@dataclass(slots=True)
class _Changes:
    """What happens at one step."""

    meter: Meter | None = None
    key: Key | None = None
    tempo: Tempo | None = None
    events: list[tuple[int, Note | Control]] = field(default_factory=list)  # Each with its track.


def _changes_by_step(form: Piece) -> list[tuple[int, _Changes]]:
    """What happens at each step, in order; in each track controls come before notes."""
    steps: defaultdict[int, _Changes] = defaultdict(_Changes)
    for meter in form.meters:
        steps[meter.at_ticks].meter = meter
    for key in form.keys:
        steps[key.at_ticks].key = key
    for tempo in form.tempos:
        steps[tempo.at_ticks].tempo = tempo
    for index, track in enumerate(form.tracks):
        for control in track.controls:
            steps[control.at_ticks].events.append((index, control))
        for note in track.notes:
            steps[note.onset_ticks].events.append((index, note))
    return sorted(steps.items(), key=itemgetter(0))


class _Writer:
    """Writes the ids of a piece on the performance grid, step by step."""

    def __init__(self, form: Piece) -> None:
        self.ids: list[int] = []
        self._tracks = form.tracks
        self._step = 0
        self._track = -1
        self._velocities = [0] * len(form.tracks)
        self._has_program = [False] * len(form.tracks)

    def write(self, step: int, changes: _Changes) -> None:
        """Write what happens at a step, later than the last."""
        self._write_time(step)
        if meter := changes.meter:
            self.ids += [IDS["beats"][meter.numerator], IDS["unit"][meter.denominator]]
            self._begin_meter(step, meter)
        if key := changes.key:
            self.ids.append(IDS["key"][key_value(key.sharps, key.is_minor)])
        if tempo := changes.tempo:
            self.ids.append(IDS["tempo"][int(tempo.beats_per_minute)])
        for index, event in changes.events:
            self._write_track(index)
            if isinstance(event, Note):
                self._write_note(index, event)
            else:
                self.ids += _control_ids(event)

    def _write_time(self, step: int) -> None:
        if step:
            longest, rest = divmod(step - self._step - 1, LONGEST_SHIFT)
            self.ids += [IDS["shift"][LONGEST_SHIFT]] * longest
            self.ids.append(IDS["shift"][rest + 1])
            self._step = step

    def _begin_meter(self, step: int, meter: Meter) -> None:
        """On the performance grid a meter has no effect on time."""

    def _write_track(self, index: int) -> None:
        if index != self._track:
            self.ids.append(OFFSETS["track"] + index)
            self._track = index
        if not self._has_program[index]:
            track = self._tracks[index]
            self.ids.append(IDS["program"][program_number(track)])
            self._has_program[index] = True

    def _write_note(self, index: int, note: Note) -> None:
        if note.velocity != self._velocities[index]:
            self._velocities[index] = note.velocity
            self.ids.append(IDS["velocity"][note.velocity])
        is_drum = self._tracks[index].is_drum
        self.ids.append(OFFSETS["drum" if is_drum else "pitch"] + note.pitch)
        extensions, rest = divmod(note.duration_ticks - 1, STEPS_PER_EXTENSION)
        if extensions:
            self.ids += [_EXTENSION_ID] * extensions
        self.ids.append(_BEFORE_DURATION_ID + rest + 1)


class _ScoreWriter(_Writer):
    """Writes the ids of a piece on the score grid: time is bars and positions."""

    def __init__(self, form: Piece) -> None:
        super().__init__(form)
        self.ids.append(BAR_ID)
        self._bar_step = 0
        self._part_steps = 1

    def _write_time(self, step: int) -> None:
        if parts := (step - self._bar_step) // self._part_steps:
            self.ids += [BAR_ID] * parts
            self._bar_step += parts * self._part_steps
        self.ids.append(IDS["position"][step - self._bar_step])

    def _begin_meter(self, step: int, meter: Meter) -> None:
        self._bar_step = step
        self._part_steps = bar_part_steps(meter.numerator, meter.denominator)


def _control_ids(control: Control) -> list[int]:
    if control.number == SUSTAIN_PEDAL:
        return [IDS["pedal"][control.value]]
    level = control.value // VALUES_PER_LEVEL.get(control.number, 1)
    return [IDS["control"][control.number], IDS["value"][level]]


class _Reader:
    """Collects what tokens stand for; `state` is the grammar's state after the token."""

    def __init__(self) -> None:
        self._tempos: list[Tempo] = []
        self._meters: list[Meter] = []
        self._keys: list[Key] = []
        self._notes: defaultdict[int, list[Note]] = defaultdict(list)  # By track.
        self._controls: defaultdict[int, list[Control]] = defaultdict(list)

    def read_meter(self, state: State, value: int) -> None:
        numerator = VALUES["beats"][state.signature.numerator]
        self._meters.append(
            Meter(at_ticks=state.clock.step, numerator=numerator, denominator=value)
        )

    def read_key(self, state: State, value: int) -> None:
        sharps, is_minor = key_of(value)
        self._keys.append(Key(at_ticks=state.clock.step, sharps=sharps, is_minor=is_minor))

    def read_tempo(self, state: State, value: int) -> None:
        self._tempos.append(Tempo(at_ticks=state.clock.step, beats_per_minute=float(value)))

    def read_pedal(self, state: State, value: int) -> None:
        self._add_control(state, SUSTAIN_PEDAL, value)

    def read_control_value(self, state: State, value: int) -> None:
        number = state.moment.control
        self._add_control(state, number, value * VALUES_PER_LEVEL.get(number, 1))

    def _add_control(self, state: State, number: int, value: int) -> None:
        control = Control(at_ticks=state.clock.step, number=number, value=value)
        self._controls[_present(state.moment.track)].append(control)

    def read_duration(self, state: State, value: int) -> None:
        moment, track = state.moment, _present(state.moment.track)
        note = Note(
            onset_ticks=state.clock.step,
            duration_ticks=moment.extensions * STEPS_PER_EXTENSION + value,
            pitch=moment.pitch,
            velocity=VALUES["velocity"][_present(state.tracks.velocities[track])],
        )
        self._notes[track].append(note)

    def piece(self, programs: PerTrack, ticks_per_beat: int) -> Piece:
        """The piece, in normal form."""
        return Piece(
            ticks_per_beat=ticks_per_beat,
            tracks=tuple(self._track(i, _present(programs[i])) for i in sorted(self._notes)),
            tempos=tuple(self._tempos),
            meters=tuple(self._meters),
            keys=tuple(self._keys),
        ).normalised()

    def _track(self, index: int, program: int) -> Track:
        is_drum, program = divmod(program, DRUM_PROGRAMS)
        notes, controls = tuple(self._notes[index]), tuple(self._controls[index])
        return Track(program=program, is_drum=bool(is_drum), notes=notes, controls=controls)


def _present(index: int | None) -> int:
    """An index of the state that the grammar requires before the token that is read."""
    assert index is not None
    return index


# What a token adds to the piece, by its type; the other types add nothing by themselves.
_READ: dict[str, Callable[[_Reader, State, int], None]] = {
    "unit": _Reader.read_meter,
    "key": _Reader.read_key,
    "tempo": _Reader.read_tempo,
    "pedal": _Reader.read_pedal,
    "value": _Reader.read_control_value,
    "duration": _Reader.read_duration,
}


def _without_starts(ids: Sequence[int]) -> tuple[int, int]:
    """The range of the ids between start tokens at either end."""
    begin, end = 0, len(ids)
    while begin < end and ids[begin] == START_ID:
        begin += 1
    while end > begin and ids[end - 1] == START_ID:
        end -= 1
    return begin, end
