"""What the track chunks of a MIDI file mean together: notes, instruments and controls of a piece.

A program or a control belongs to a channel, not to a chunk: what one chunk states holds for the
notes that other chunks play on that channel (of that port), in time order.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from generative.music.controls import (
    PARAMETER_CONTROLS,
    RESET_CONTROLLERS,
)
from generative.music.midi.channel_state import ChannelState, Overlap, ProgramChange, Stroke
from generative.music.midi.events import (
    BEND,
    CONTROLLER,
    DRUM_CHANNEL,
    END_OF_TRACK,
    KEY_SIGNATURE,
    META,
    NOTE_OFF,
    NOTE_ON,
    NUM_CHANNELS,
    PORT,
    PROGRAM_CHANGE,
    SET_TEMPO,
    SILENT_PORT,
    SYSEX,
    TIME_SIGNATURE,
    TRACK_NAME,
    Event,
    EventReader,
    Header,
)
from generative.music.piece import (
    MAX_SHARPS,
    NO_BEND,
    PITCH_BEND,
    Control,
    Key,
    Meter,
    Note,
    Tempo,
    Track,
    beats_per_minute,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_BEATS = 100_000  # 14 hours at 120 beats a minute; beyond it a delta time is corrupt
MAX_SHARED_EVENTS = 100_000  # of a channel, to all chunks that play it

ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123
CHANNEL_MODES = frozenset(range(120, 128)) - {RESET_CONTROLLERS}  # not of one instrument

# what a Piece has no place for, by what a report calls it
DROPPED_MESSAGES = {0xA0: "aftertouch", 0xD0: "aftertouch", SYSEX: "sysex"}
DROPPED_META = {
    0x00: "sequence number",
    0x01: "text",
    0x02: "copyright",
    0x04: "instrument name",
    0x05: "lyric",
    0x06: "marker",
    0x07: "cue",
    0x08: "program name",
    0x09: "device name",
    0x20: "channel prefix",
    0x54: "SMPTE offset",
    0x7F: "sequencer's own",
}
PLAIN_RELEASES = frozenset({0, 64})  # velocities of a note-off that say nothing
HANGING = "hanging note closed"
FOREIGN = 0x100  # added to the status of an event that another chunk states


class Statement(NamedTuple):
    """A program, control or bend, and the chunk that states it."""

    ticks: int
    chunk: int
    event: Event

    @property
    def kind(self) -> tuple[int, int]:
        """What it sets: two statements of one kind at one time contradict or repeat each other."""
        return self.event.status, self.event.data[0] if self.event.status == CONTROLLER else 0


class Beginning(NamedTuple):
    """How a channel stood when a chunk played its first note on it."""

    ticks: int
    program: int
    values: dict[int, int]  # number of a control -> its value


def hear(chunks: Sequence[bytes], header: Header) -> list[Listener]:
    """Each track chunk heard, with what the other chunks state on the channels that it plays."""
    listeners = [Listener(chunk, header) for chunk in chunks]
    said: defaultdict[int, list[Statement]] = defaultdict(list)  # by line
    ports = {line // NUM_CHANNELS for listener in listeners for line in listener.beginnings}
    only_port = next(iter(ports)) if len(ports) == 1 else 0  # it separates nothing
    for i, listener in enumerate(listeners):
        for line, events in listener.stated.items():
            heard_on = line + only_port * NUM_CHANNELS if line < NUM_CHANNELS else line
            said[heard_on] += [Statement(event.ticks, i, event) for event in events]
    players = Counter(line for listener in listeners for line in listener.beginnings)
    for line, statements in said.items():
        if line // NUM_CHANNELS == SILENT_PORT and not players[line]:
            continue
        _limit(statements, players[line], listeners)
    for i, listener in enumerate(listeners):
        others = [
            (line, statement)
            for line in listener.beginnings
            for statement in said.get(line, ())
            if statement.chunk != i
        ]
        if others and not listener.knows(others):
            listeners[i] = Listener(chunks[i], header, listener.in_turn_with(others, i))
    used: set[ProgramChange] = set().union(*(listener.used_programs for listener in listeners))
    for listener in listeners:
        if idle := sum(change not in used for change in listener.idle_programs):
            listener.dropped["program change without effect"] += idle
    return listeners


def _limit(statements: list[Statement], players: int, listeners: Sequence[Listener]) -> None:
    """Leave out, and count, the controls of no instrument, and more than all may have of others."""
    kept = MAX_SHARED_EVENTS // players if players else 0
    for _, chunk, event in statements[kept:]:
        if event.status != PROGRAM_CHANGE and (not players or len(listeners) > 1):
            listeners[chunk].dropped["controller of no instrument"] += 1
    del statements[kept:]


class Listener:
    """Hears one track chunk from end to end; one instrument is one (line, program) of it.

    A line is a channel of a port: port * 16 + channel.
    """

    def __init__(self, chunk: bytes, header: Header, foreign: Sequence[Event] = ()) -> None:
        """`foreign`: what other chunks state, as `in_turn_with` returns it."""
        self.tempos: list[Tempo] = []
        self.meters: list[Meter] = []
        self.keys: list[Key] = []
        self.notes: defaultdict[tuple[int, int], list[Note]] = defaultdict(list)
        self.controls: defaultdict[tuple[int, int], list[Control]] = defaultdict(list)
        self.dropped: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self.stated: defaultdict[int, list[Event]] = defaultdict(list)  # by line
        self.beginnings: dict[int, Beginning] = {}  # by line
        self.used_programs: set[ProgramChange] = set()
        self.idle_programs: list[ProgramChange] = []  # of our own
        self._name = ""
        self._ports: dict[int, list[ChannelState]] = {}
        self._channels = self._enter(0)

        handlers = {
            NOTE_ON: self._note_on,
            NOTE_OFF: self._note_off,
            PROGRAM_CHANGE: self._program_change,
            CONTROLLER: self._controller,
            BEND: self._bend,
            **dict.fromkeys((FOREIGN | s for s in (PROGRAM_CHANGE, CONTROLLER, BEND)), self._hear),
        }
        meta_handlers = {
            TRACK_NAME: self._track_name,
            PORT: self._port,
            SET_TEMPO: self._set_tempo,
            TIME_SIGNATURE: self._time_signature,
            KEY_SIGNATURE: self._key_signature,
        }
        last_ticks = 0
        reader = EventReader(chunk, max_ticks=MAX_BEATS * header.ticks_per_beat)
        for event in _merged(reader, foreign) if foreign else reader:
            last_ticks, status, detail, _ = event
            if status in handlers:
                handlers[status](event)
            elif status != META:
                self.dropped[DROPPED_MESSAGES[status]] += 1
            elif detail in meta_handlers:
                meta_handlers[detail](event)
            elif detail != END_OF_TRACK:
                self.dropped[DROPPED_META.get(detail, "meta event of no known kind")] += 1
        for channels in self._ports.values():
            for channel in channels:
                self._silence(channel, last_ticks, HANGING)
                self._forget_program(channel)
        if self._name and not self.notes:
            self.dropped["name of a track without notes"] += 1
        self.repairs += reader.repairs

    def knows(self, others: Sequence[tuple[int, Statement]]) -> bool:
        """Whether all that other chunks state, by line, was so without it when we began to play."""
        for line, (ticks, _, event) in others:
            begun = self.beginnings[line]
            if event.status == PROGRAM_CHANGE:
                is_known = event.data[0] == begun.program
            else:
                number, value = _setting(event)
                default = NO_BEND if number == PITCH_BEND else None
                is_known = begun.values.get(number, default) == value
            if ticks > begun.ticks or not is_known:
                return False
        self.used_programs.update(
            _change(event) for _, (_, _, event) in others if event.status == PROGRAM_CHANGE
        )
        return True

    def in_turn_with(self, others: Sequence[tuple[int, Statement]], place: int) -> list[Event]:
        """What other chunks state, by line, in time order, for a listener of the same chunk.

        At one tick it comes before our notes, unless we state the same kind of thing there: then
        the order of the chunks decides. `place` is our place in it.
        """
        ours = {
            (line, event.ticks, Statement(event.ticks, place, event).kind)
            for line, events in self.stated.items()
            for event in events
        }
        placed = [
            (
                statement.ticks,
                statement.chunk > place and (line, statement.ticks, statement.kind) in ours,
                statement.chunk,
                line,
                statement.event,
            )
            for line, statement in others
        ]
        placed.sort(key=lambda at: at[:3])
        # an event half a tick later comes after those of its tick
        return [
            Event(2 * ticks + is_after, FOREIGN | event.status, line, event.data)
            for ticks, is_after, _, line, event in placed
        ]

    def tracks(self) -> list[Track]:
        """The instruments, in the order in which they begin."""
        return [
            Track(
                program=program,
                is_drum=line % NUM_CHANNELS == DRUM_CHANNEL,
                notes=tuple(notes),
                controls=tuple(self.controls.get((line, program), ())),
                name=self._name,
            )
            for (line, program), notes in self.notes.items()
        ]

    def _enter(self, port: int) -> list[ChannelState]:
        """The channels of a port, on which we play from now on."""
        if port not in self._ports:
            first = port * NUM_CHANNELS
            self._ports[port] = [ChannelState(first + i) for i in range(NUM_CHANNELS)]
        return self._ports[port]

    def _port(self, event: Event) -> None:
        if event.data:
            self._channels = self._enter(event.data[0])

    def _note_on(self, event: Event) -> None:
        ticks, _, channel, (pitch, velocity) = event
        if not velocity:
            self._note_off(event)
            return
        here = self._channels[channel]
        if here.playing != here.program:
            self._take_over(here, ticks)
        stroke = here.voice, ticks, velocity
        sounding = here.sounding
        if pitch not in sounding:
            sounding[pitch] = stroke
            return
        before = sounding[pitch]
        if isinstance(before, tuple):
            before = sounding[pitch] = Overlap(before)
        before.begin(stroke)

    def _take_over(self, here: ChannelState, ticks: int) -> None:
        """Another instrument plays on a channel: it finds all controls as they stand there."""
        if here.standing:
            self.used_programs.add(here.standing[0])
            here.standing = None
        instrument = here.line, here.program
        if here.playing is None:
            values = {number: control.value for number, control in here.settings.items()}
            self.beginnings[here.line] = Beginning(ticks, here.program, values)
        if news := here.news():
            self.controls[instrument] += news
        here.playing = here.program
        here.voice = self.notes[instrument]  # in the order in which they begin

    def _note_off(self, event: Event) -> None:
        ticks, status, channel, (pitch, velocity) = event
        if status == NOTE_OFF and velocity not in PLAIN_RELEASES:
            self.dropped["release velocity"] += 1
        sounding = self._channels[channel].sounding
        if pitch not in sounding:
            self.repairs["stray note-off"] += 1
            return
        before = sounding[pitch]
        if isinstance(before, tuple):
            del sounding[pitch]
            self._end_note(before, pitch, ticks)
            return
        before.end(ticks)
        if not before.open:
            del sounding[pitch]
            for stroke, end, _ in before.ends():
                self._end_note(stroke, pitch, ticks if end is None else end)

    def _end_note(self, stroke: Stroke, pitch: int, ticks: int) -> None:
        notes, onset, velocity = stroke
        duration = ticks - onset
        if not duration:
            self.repairs["note of no length"] += 1
            duration = 1
        notes.append(
            Note(onset_ticks=onset, duration_ticks=duration, pitch=pitch, velocity=velocity)
        )

    def _silence(self, here: ChannelState, ticks: int, reason: str) -> None:
        """End all that sounds on a channel, and count what was not ended before."""
        for pitch, before in here.sounding.items():
            ends = [(before, None, False)] if isinstance(before, tuple) else before.ends()
            for stroke, end, is_ended in ends:
                if not is_ended:
                    self.repairs[reason if end is None else HANGING] += 1
                self._end_note(stroke, pitch, ticks if end is None else end)
        here.sounding.clear()

    def _hear(self, event: Event) -> None:
        """What another chunk states on a line."""
        ticks, status, line, data = event
        port, channel = divmod(line, NUM_CHANNELS)
        here = self._enter(port)[channel]
        own = Event(ticks, status - FOREIGN, channel, data)
        if own.status == PROGRAM_CHANGE:
            self._set_program(here, own, is_ours=False)
            return
        number, value = _setting(own)
        before = here.settings.get(number)
        if before and before.value == value and number not in PARAMETER_CONTROLS:
            return
        control = Control(at_ticks=ticks, number=number, value=value)
        here.foreign[number] = control
        self._turn(here, control)

    def _program_change(self, event: Event) -> None:
        here = self._channels[event.detail]
        self.stated[here.line].append(event)
        self._set_program(here, event, is_ours=True)

    def _set_program(self, here: ChannelState, event: Event, *, is_ours: bool) -> None:
        program = event.data[0]
        if program == here.program and (here.standing or here.playing is not None):
            return  # as it is
        self._forget_program(here)
        here.program = program
        here.standing = _change(event), is_ours

    def _forget_program(self, here: ChannelState) -> None:
        """What was stated, and not played since, had no effect here."""
        if here.standing and here.standing[1]:
            self.idle_programs.append(here.standing[0])
        here.standing = None

    def _controller(self, event: Event) -> None:
        here = self._channels[event.detail]
        number, value = event.data
        if number in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            self._silence(here, event.ticks, "note ended by all-notes-off")
        elif number in CHANNEL_MODES:
            self.dropped["channel mode"] += 1
        else:
            self._state(here, event, Control(at_ticks=event.ticks, number=number, value=value))

    def _bend(self, event: Event) -> None:
        number, value = _setting(event)
        control = Control(at_ticks=event.ticks, number=number, value=value)
        self._state(self._channels[event.detail], event, control)

    def _state(self, here: ChannelState, event: Event, control: Control) -> None:
        self.stated[here.line].append(event)
        number = control.number
        # another chunk may have stated the very same before us
        is_known = here.foreign.get(number) == here.settings.get(number) == control
        if not is_known or number in PARAMETER_CONTROLS:
            self._turn(here, control)

    def _turn(self, here: ChannelState, control: Control) -> None:
        if control.number in PARAMETER_CONTROLS:
            here.parameters.append(control)
            here.turned += 1
        else:
            here.settings[control.number] = control
        if here.playing is None:
            here.unplayed.append(control)
        else:
            self.controls[here.line, here.playing].append(control)

    def _track_name(self, event: Event) -> None:
        if self._name:
            self.dropped["second name of a track"] += 1
        else:
            self._name = _decoded(event.data)

    def _set_tempo(self, event: Event) -> None:
        microseconds = int.from_bytes(event.data[:3])
        if len(event.data) < 3 or not microseconds:
            self.repairs["impossible tempo"] += 1
            return
        rate = beats_per_minute(microseconds)
        self.tempos.append(Tempo(at_ticks=event.ticks, beats_per_minute=rate))

    def _time_signature(self, event: Event) -> None:
        numerator, exponent = (*event.data[:2], 0, 0)[:2]
        if not numerator or exponent > 7:
            self.repairs["impossible meter"] += 1
            return
        self.meters.append(
            Meter(at_ticks=event.ticks, numerator=numerator, denominator=2**exponent)
        )

    def _key_signature(self, event: Event) -> None:
        sharps, minor = (*event.data[:2], 0x80, 0)[:2]
        sharps -= 256 * (sharps > 127)  # a signed byte
        if not -MAX_SHARPS <= sharps <= MAX_SHARPS or minor > 1:
            self.repairs["impossible key"] += 1
            return
        self.keys.append(Key(at_ticks=event.ticks, sharps=sharps, is_minor=bool(minor)))


def _setting(event: Event) -> tuple[int, int]:
    """The number and the value of the control that a controller or a bend turns."""
    low, high = event.data
    return (low, high) if event.status == CONTROLLER else (PITCH_BEND, low | high << 7)


def _change(event: Event) -> ProgramChange:
    return event.ticks, event.detail, event.data[0]


def _merged(own: Iterable[Event], foreign: Sequence[Event]) -> Iterator[Event]:
    """A chunk's events, and among them foreign ones, whose ticks are counted in halves."""
    waiting = deque(foreign)
    for event in own:
        while waiting and waiting[0].ticks <= 2 * event.ticks:
            stated = waiting.popleft()
            yield stated._replace(ticks=stated.ticks // 2)
        yield event


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")
