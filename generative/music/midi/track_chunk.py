"""One track chunk of a MIDI file: its notes, controls and meta events, channel by channel.

An instrument is one program on one channel of one port. What other chunks state on these channels
(`shared`) is merged into the events of the chunk; `reading` decides what that is.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from generative.music.controls import PARAMETER_CONTROLS, RESET_CONTROLLERS
from generative.music.midi import meta_events
from generative.music.midi.channel_state import ChannelState, OpenNote, Overlap, ProgramChange
from generative.music.midi.event_parser import (
    BEND,
    CONTROLLER,
    META,
    NOTE_OFF,
    NOTE_ON,
    NUM_CHANNELS,
    PORT,
    PROGRAM_CHANGE,
    SYSEX,
    Event,
    EventReader,
)
from generative.music.piece import PITCH_BEND, Control, Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from generative.music.midi.event_parser import Header
    from generative.music.piece import Key, Meter, Tempo

MAX_BEATS = 100_000  # 14 hours at 120 beats a minute; a delta time beyond it is corrupt

ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123
# controllers that set the mode of a channel and are no control of an instrument
CHANNEL_MODES = frozenset(range(120, 128)) - {RESET_CONTROLLERS}
# messages that a Piece cannot hold -> their name in a report
DROPPED_MESSAGES = {0xA0: "aftertouch", 0xD0: "aftertouch", SYSEX: "sysex"}
DEFAULT_RELEASES = frozenset({0, 64})  # release velocities that carry no information
HANGING_NOTE = "hanging note closed"
SHARED = 0x100  # added to the status of an event that another chunk states


class FirstNote(NamedTuple):
    """The state of a channel when a chunk plays its first note on it."""

    ticks: int
    program: int
    control_values: dict[int, int]  # number of a control -> its value


class PortChannels(dict[int, ChannelState]):
    """Channel of a port -> its state, which is created on first use: a track has few channels."""

    def __init__(self, port: int) -> None:
        """`port`: from 0."""
        super().__init__()
        self._port = port

    def __missing__(self, number: int) -> ChannelState:
        """A state that nothing has changed yet."""
        self[number] = ChannelState(self._port * NUM_CHANNELS + number)
        return self[number]


@dataclass(slots=True)
class TrackChunk:
    """What is read from one track chunk.

    A `port_channel` is port * 16 + channel, an instrument is (port_channel, program).

    Attributes:
        name: The name of the track.
        tempos, meters, keys: Those that the chunk states.
        notes: Instrument -> its notes; instruments are in the order in which they begin.
        controls: Instrument -> its controls.
        dropped, repairs: What was left out and what was repaired -> how often.
        changes: Port_channel -> the program changes, controllers and bends that the chunk states.
        first_notes: Port_channel -> the state of the channel at the first note.
        used_programs: Program changes that were followed by a note.
        unused_programs: Program changes of this chunk that were not.
        ports: Port -> the state of its channels.
        channels: The channels of the current port.
    """

    name: str = ""
    tempos: list[Tempo] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    notes: defaultdict[tuple[int, int], list[Note]] = field(
        default_factory=lambda: defaultdict(list)
    )
    controls: defaultdict[tuple[int, int], list[Control]] = field(
        default_factory=lambda: defaultdict(list)
    )
    dropped: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    changes: defaultdict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    first_notes: dict[int, FirstNote] = field(default_factory=dict)
    used_programs: set[ProgramChange] = field(default_factory=set)
    unused_programs: list[ProgramChange] = field(default_factory=list)
    ports: dict[int, PortChannels] = field(default_factory=dict)
    channels: PortChannels = field(default_factory=lambda: PortChannels(0))

    def channels_of(self, port: int) -> PortChannels:
        """The states of the channels of a port."""
        return self.ports.setdefault(port, PortChannels(port))


def read_track_chunk(data: bytes, header: Header, shared: Sequence[Event] = ()) -> TrackChunk:
    """Read one track chunk.

    Args:
        data: The contents of the chunk.
        header: The header of the file.
        shared: Events that other chunks state on channels of this one: with `SHARED` added to the
            status, the port_channel as `detail`, and ticks counted in halves.
    """
    chunk = TrackChunk()
    chunk.channels = chunk.channels_of(0)
    last_ticks = 0
    reader = EventReader(data, max_ticks=MAX_BEATS * header.ticks_per_beat)
    for event in _merged(reader, shared) if shared else reader:
        last_ticks, status, detail, _ = event
        if status in _READERS:
            _READERS[status](chunk, event)
        elif status != META:
            chunk.dropped[DROPPED_MESSAGES[status]] += 1
        elif detail == PORT:
            _select_port(chunk, event)
        else:
            meta_events.read(chunk, event)
    for channels in chunk.ports.values():
        for _, channel in sorted(channels.items()):
            _end_all_notes(chunk, channel, last_ticks, HANGING_NOTE)
            _discard_pending_change(chunk, channel)
    if chunk.name and not chunk.notes:
        chunk.dropped["name of a track without notes"] += 1
    chunk.repairs += reader.repairs
    return chunk


def control_setting(event: Event) -> tuple[int, int]:
    """The number and the value of the control that a controller or a bend sets."""
    low, high = event.data
    return (low, high) if event.status == CONTROLLER else (PITCH_BEND, low | high << 7)


def program_change(event: Event) -> ProgramChange:
    """A program change as it is counted."""
    return event.ticks, event.detail, event.data[0]


def _merged(own: Iterable[Event], shared: Sequence[Event]) -> Iterator[Event]:
    """The events of a chunk, with shared events before the first event that is later."""
    waiting = deque(shared)
    for event in own:
        while waiting and waiting[0].ticks <= 2 * event.ticks:
            other = waiting.popleft()
            yield other._replace(ticks=other.ticks // 2)
        yield event


def _select_port(chunk: TrackChunk, event: Event) -> None:
    if event.data:
        chunk.channels = chunk.channels_of(event.data[0])


# Notes


def _note_on(chunk: TrackChunk, event: Event) -> None:
    ticks, _, number, (pitch, velocity) = event
    if not velocity:
        _note_off(chunk, event)
        return
    channel = chunk.channels[number]
    if channel.playing != channel.program:
        _begin_program(chunk, channel, ticks)
    note = channel.notes, ticks, velocity
    sounding = channel.sounding
    if pitch not in sounding:
        sounding[pitch] = note
        return
    before = sounding[pitch]
    if isinstance(before, tuple):
        before = sounding[pitch] = Overlap(before)
    before.note_on(note)


def _begin_program(chunk: TrackChunk, channel: ChannelState, ticks: int) -> None:
    """Let the program of a channel play its first note, or its first after another program."""
    if channel.pending_change:
        chunk.used_programs.add(channel.pending_change[0])
        channel.pending_change = None
    instrument = channel.port_channel, channel.program
    if channel.playing is None:
        values = {number: control.value for number, control in channel.controls.items()}
        chunk.first_notes[channel.port_channel] = FirstNote(ticks, channel.program, values)
    if changed := channel.changed_controls():
        chunk.controls[instrument] += changed
    channel.playing = channel.program
    channel.notes = chunk.notes[instrument]  # so that instruments are in the order of their onsets


def _note_off(chunk: TrackChunk, event: Event) -> None:
    ticks, status, number, (pitch, velocity) = event
    if status == NOTE_OFF and velocity not in DEFAULT_RELEASES:
        chunk.dropped["release velocity"] += 1
    sounding = chunk.channels[number].sounding
    if pitch not in sounding:
        chunk.repairs["stray note-off"] += 1
        return
    before = sounding[pitch]
    if isinstance(before, tuple):
        del sounding[pitch]
        _end_note(chunk, before, pitch, ticks)
        return
    before.note_off(ticks)
    if not before.open_count:
        del sounding[pitch]
        for note, end, _ in before.ends():
            _end_note(chunk, note, pitch, ticks if end is None else end)


def _end_note(chunk: TrackChunk, note: OpenNote, pitch: int, ticks: int) -> None:
    notes, onset, velocity = note
    duration = ticks - onset
    if not duration:
        chunk.repairs["note of no length"] += 1
        duration = 1
    notes.append(Note(onset_ticks=onset, duration_ticks=duration, pitch=pitch, velocity=velocity))


def _end_all_notes(chunk: TrackChunk, channel: ChannelState, ticks: int, repair: str) -> None:
    """End all open notes of a channel, and count those that no note-off has ended as `repair`."""
    for pitch, before in channel.sounding.items():
        ends = [(before, None, False)] if isinstance(before, tuple) else before.ends()
        for note, end, has_note_off in ends:
            if not has_note_off:
                chunk.repairs[repair if end is None else HANGING_NOTE] += 1
            _end_note(chunk, note, pitch, ticks if end is None else end)
    channel.sounding.clear()


# Programs and controls


def _program_change(chunk: TrackChunk, event: Event) -> None:
    channel = chunk.channels[event.detail]
    chunk.changes[channel.port_channel].append(event)
    _set_program(chunk, channel, event, is_own=True)


def _set_program(chunk: TrackChunk, channel: ChannelState, event: Event, *, is_own: bool) -> None:
    program = event.data[0]
    if program == channel.program and (channel.pending_change or channel.playing is not None):
        return  # The program is in force already.
    _discard_pending_change(chunk, channel)
    channel.program = program
    channel.pending_change = program_change(event), is_own


def _discard_pending_change(chunk: TrackChunk, channel: ChannelState) -> None:
    """Count a program change that no note followed, if it stands in this chunk."""
    if channel.pending_change and channel.pending_change[1]:
        chunk.unused_programs.append(channel.pending_change[0])
    channel.pending_change = None


def _controller(chunk: TrackChunk, event: Event) -> None:
    channel = chunk.channels[event.detail]
    number, value = event.data
    if number in (ALL_SOUND_OFF, ALL_NOTES_OFF):
        _end_all_notes(chunk, channel, event.ticks, "note ended by all-notes-off")
    elif number in CHANNEL_MODES:
        chunk.dropped["channel mode"] += 1
    else:
        control = Control(at_ticks=event.ticks, number=number, value=value)
        _own_control(chunk, channel, event, control)


def _bend(chunk: TrackChunk, event: Event) -> None:
    number, value = control_setting(event)
    control = Control(at_ticks=event.ticks, number=number, value=value)
    _own_control(chunk, chunk.channels[event.detail], event, control)


def _own_control(chunk: TrackChunk, channel: ChannelState, event: Event, control: Control) -> None:
    """Apply a control that stands in this chunk."""
    chunk.changes[channel.port_channel].append(event)
    number = control.number
    # Another chunk may have stated the same control before this one.
    is_repeated = channel.shared_controls.get(number) == channel.controls.get(number) == control
    if not is_repeated or number in PARAMETER_CONTROLS:
        _set_control(chunk, channel, control)


def _set_control(chunk: TrackChunk, channel: ChannelState, control: Control) -> None:
    if control.number in PARAMETER_CONTROLS:
        channel.parameter_controls.append(control)
        channel.parameter_count += 1
    else:
        channel.controls[control.number] = control
    if channel.playing is None:
        channel.initial_controls.append(control)
    else:
        chunk.controls[channel.port_channel, channel.playing].append(control)


def _shared_change(chunk: TrackChunk, event: Event) -> None:
    """Apply a program change, controller or bend that another chunk states."""
    ticks, status, port_channel, data = event
    port, number = divmod(port_channel, NUM_CHANNELS)
    channel = chunk.channels_of(port)[number]
    change = Event(ticks, status - SHARED, number, data)
    if change.status == PROGRAM_CHANGE:
        _set_program(chunk, channel, change, is_own=False)
        return
    number, value = control_setting(change)
    before = channel.controls.get(number)
    if before and before.value == value and number not in PARAMETER_CONTROLS:
        return
    control = Control(at_ticks=ticks, number=number, value=value)
    channel.shared_controls[number] = control
    _set_control(chunk, channel, control)


_READERS: Mapping[int, Callable[[TrackChunk, Event], None]] = {
    NOTE_ON: _note_on,
    NOTE_OFF: _note_off,
    PROGRAM_CHANGE: _program_change,
    CONTROLLER: _controller,
    BEND: _bend,
    SHARED | PROGRAM_CHANGE: _shared_change,
    SHARED | CONTROLLER: _shared_change,
    SHARED | BEND: _shared_change,
}
