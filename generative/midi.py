"""MIDI files to a `Piece` and back: knows notes, controls, tempos and keys, not what they are for.

Files in the wild are damaged in many small ways, so reading mends what it can, counts what it
mended and what it left out (`ReadReport`), and refuses the rest with one line (`MidiError`).
mido writes; reading walks the bytes itself (`midi_bytes`), since mido gives up a whole file at its
first bad byte. Where a file is sound the two agree, and a test holds them to it.
"""

from __future__ import annotations

import io
import os
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import mido

from generative.files import write_bytes
from generative.midi_bytes import (
    END_OF_TRACK,
    META,
    SYSEX,
    Event,
    EventReader,
    Header,
    MidiError,
    read_chunks,
)
from generative.piece import (
    MAX_SHARPS,
    NO_BEND,
    PITCH_BEND,
    Control,
    Key,
    Meter,
    Note,
    Piece,
    Tempo,
    Track,
    beats_per_minute,
    in_turn,
    microseconds_per_beat,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MidiError", "ReadReport", "read", "read_with_report", "to_bytes", "write"]

MAX_FILE_BYTES = 4 * 2**20  # the largest of 2,000 real files has 0.3 MB
MAX_BEATS = 100_000  # 14 hours at 120 beats a minute; beyond it a delta time is corrupt
MAX_SHARED_CONTROLS = 100_000  # of a track, to all that play its channel in others
NUM_CHANNELS = 16
DRUM_CHANNEL = 9  # channel 10, as people count
MELODIC_CHANNELS = [channel for channel in range(NUM_CHANNELS) if channel != DRUM_CHANNEL]

# messages, without their channel, and meta events that become part of a Piece
NOTE_OFF, NOTE_ON, CONTROLLER, PROGRAM_CHANGE, BEND = 0x80, 0x90, 0xB0, 0xC0, 0xE0
TRACK_NAME, SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x03, 0x51, 0x58, 0x59
ALL_SOUND_OFF, RESET_CONTROLLERS, ALL_NOTES_OFF = 120, 121, 123  # the first and last end notes
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
    0x21: "port",
    0x54: "SMPTE offset",
    0x7F: "sequencer's own",
}
PLAIN_RELEASES = frozenset({0, 64})  # velocities of a note-off that say nothing

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What reading mended and what it left out: kind -> how often."""

    repairs: Mapping[str, int]
    dropped: Mapping[str, int]


def read(source: Source) -> Piece:
    """The music of a MIDI file: a path, its bytes, or an open binary file.

    Raises:
        MidiError: not MIDI, no notes, or beyond repair.
        OSError: the file cannot be opened.
    """
    return read_with_report(source)[0]


def read_with_report(source: Source) -> tuple[Piece, ReadReport]:
    """As `read`, with an account of what was mended and what was left out."""
    name = _name_of(source)
    try:
        return _parse(_load(source))
    except MidiError as error:
        raise MidiError(f"{name}: {error}") from None


def to_bytes(piece: Piece) -> bytes:
    """A type 1 MIDI file: tempos and meters in a first track, then one track an instrument."""
    piece = piece.normalised()
    file = mido.MidiFile(type=1, ticks_per_beat=piece.ticks_per_beat, charset="utf-8")
    file.tracks.append(_conductor_track(piece))
    melodic = drums = 0
    for track in piece.tracks:
        if track.is_drum:
            port, channel = drums, DRUM_CHANNEL
            drums += 1
        else:
            port, place = divmod(melodic, len(MELODIC_CHANNELS))
            channel = MELODIC_CHANNELS[place]
            melodic += 1
        file.tracks.append(_instrument_track(track, channel, min(port, 127)))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def write(piece: Piece, target: str | os.PathLike[str] | BinaryIO) -> None:
    """Write `to_bytes(piece)`; a path is replaced at once, so that nobody sees half a file."""
    data = to_bytes(piece)
    if not isinstance(target, str | os.PathLike):
        target.write(data)
        return
    write_bytes(Path(target), data)


def _name_of(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "MIDI data"))


def _load(source: Source) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    else:
        data = source.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise MidiError(f"larger than {MAX_FILE_BYTES // 2**20} MB")
    return data


def _parse(data: bytes) -> tuple[Piece, ReadReport]:
    header, chunks, repairs = read_chunks(data)
    if header.file_type > 2:
        repairs["unknown file type"] += 1
    listeners = [_Listener(chunk, header) for chunk in chunks]
    if not any(listener.notes for listener in listeners):
        raise MidiError("no notes")
    if header.file_type == 2:  # patterns that were never meant to sound at once
        patterns = (_together([listener], header) for listener in listeners if listener.notes)
        piece = in_turn(patterns)
    else:
        piece = _together(listeners, header)
    dropped = sum((listener.dropped for listener in listeners), Counter[str]())
    for kind in ("tempos", "meters", "keys"):
        said = sum(len(getattr(listener, kind)) for listener in listeners)
        # the normal form begins with a tempo and a meter, which a file need not say
        unsaid = kind != "keys" and not any(
            event.at_ticks == 0 for listener in listeners for event in getattr(listener, kind)
        )
        repeated = said - len(getattr(piece, kind)) + unsaid
        if repeated > 0:
            dropped[f"{kind.removesuffix('s')} that changes nothing"] = repeated
    if piece.duration_ticks > MAX_BEATS * piece.ticks_per_beat:
        raise MidiError(f"longer than {MAX_BEATS:,} beats")
    return piece, ReadReport(
        repairs=dict(sum((listener.repairs for listener in listeners), repairs)),
        dropped=dict(dropped),
    )


def _together(listeners: Sequence[_Listener], header: Header) -> Piece:
    tempos = [tempo for listener in listeners for tempo in listener.tempos]
    if header.fixed_beats_per_minute is not None:
        tempos = [Tempo(at_ticks=0, beats_per_minute=header.fixed_beats_per_minute)]
    instruments = Counter(channel for listener in listeners for channel, _ in listener.notes)
    # a channel may be set up, or its pedal moved, in a track that plays no note of it
    shared: defaultdict[int, list[Control]] = defaultdict(list)
    for listener in listeners:
        for channel, controls in listener.unplayed.items():
            if not listener.plays(channel):
                kept = MAX_SHARED_CONTROLS // instruments[channel] if channel in instruments else 0
                shared[channel] += controls[:kept]
                if dropped := len(controls[kept:]):
                    listener.dropped["controller of no instrument"] += dropped
    return Piece(
        ticks_per_beat=header.ticks_per_beat,
        tracks=tuple(track for listener in listeners for track in listener.tracks(shared)),
        tempos=tuple(tempos),
        meters=tuple(meter for listener in listeners for meter in listener.meters),
        keys=tuple(key for listener in listeners for key in listener.keys),
    ).normalised()


class _Listener:
    """Hears one track chunk from end to end; one instrument is one (channel, program) of it."""

    def __init__(self, chunk: bytes, header: Header) -> None:
        self.tempos: list[Tempo] = []
        self.meters: list[Meter] = []
        self.keys: list[Key] = []
        # by instrument; by channel those before its first note; by channel where each stands
        self.controls: defaultdict[tuple[int, int], list[Control]] = defaultdict(list)
        self.unplayed: defaultdict[int, list[Control]] = defaultdict(list)
        self._settings: defaultdict[int, dict[int, Control]] = defaultdict(dict)
        self._playing: dict[int, int] = {}  # channel -> program of its last note
        self._voices: dict[int, list[Note]] = {}  # channel -> the notes of that instrument
        self.dropped: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self._name = ""
        self._programs = [0] * NUM_CHANNELS
        self._idle_programs = [False] * NUM_CHANNELS  # stated, and no note since
        self.notes: defaultdict[tuple[int, int], list[Note]] = defaultdict(list)
        # by channel: pitch -> where the note belongs, onset and velocity of what sounds, the oldest
        # first
        self._sounding: list[dict[int, deque[tuple[list[Note], int, int]]]]
        self._sounding = [{} for _ in range(NUM_CHANNELS)]

        message_handlers = {
            NOTE_ON: self._note_on,
            NOTE_OFF: self._note_off,
            PROGRAM_CHANGE: self._program_change,
            CONTROLLER: self._controller,
            BEND: self._bend,
        }
        meta_handlers = {
            TRACK_NAME: self._track_name,
            SET_TEMPO: self._set_tempo,
            TIME_SIGNATURE: self._time_signature,
            KEY_SIGNATURE: self._key_signature,
        }
        last_ticks = 0
        reader = EventReader(chunk, max_ticks=MAX_BEATS * header.ticks_per_beat)
        for event in reader:
            last_ticks, status, detail, _ = event
            if status in message_handlers:
                message_handlers[status](event)
            elif status != META:
                self.dropped[DROPPED_MESSAGES[status]] += 1
            elif detail in meta_handlers:
                meta_handlers[detail](event)
            elif detail != END_OF_TRACK:
                self.dropped[DROPPED_META.get(detail, "meta event of no known kind")] += 1
        for channel in range(NUM_CHANNELS):
            self._silence(channel, last_ticks, "hanging note closed")
            if self._idle_programs[channel]:
                self.dropped["program change without effect"] += 1
        if self._name and not self.notes:
            self.dropped["name of a track without notes"] += 1
        self.repairs += reader.repairs

    def plays(self, channel: int) -> bool:
        """Whether any note is on that channel."""
        return any(channel == played for played, _ in self.notes)

    def tracks(self, shared: Mapping[int, Sequence[Control]]) -> list[Track]:
        """The instruments, in the order in which they begin.

        `shared` are controls, by channel, that stand in other tracks.
        """
        return [
            Track(
                program=program,
                is_drum=channel == DRUM_CHANNEL,
                notes=tuple(notes),
                controls=(
                    *shared.get(channel, ()),
                    *self.controls.get((channel, program), ()),
                ),
                name=self._name,
            )
            for (channel, program), notes in self.notes.items()
        ]

    def _note_on(self, event: Event) -> None:
        ticks, _, channel, (pitch, velocity) = event
        if not velocity:
            self._note_off(event)
            return
        program = self._programs[channel]
        if self._playing.get(channel) != program:
            self._take_over(channel, program)
        sounding = self._sounding[channel]
        if pitch in sounding:
            sounding[pitch].append((self._voices[channel], ticks, velocity))
        else:
            sounding[pitch] = deque(((self._voices[channel], ticks, velocity),))

    def _take_over(self, channel: int, program: int) -> None:
        """Another instrument plays on a channel: it finds all controls as they stand there."""
        self._idle_programs[channel] = False
        mine = self.controls[channel, program]
        if channel in self._playing:
            known = {control.number: control for control in mine}
            standing = self._settings[channel].values()
            mine += [control for control in standing if known.get(control.number) != control]
        else:
            mine += self.unplayed.pop(channel, ())
        self._playing[channel] = program
        self._voices[channel] = self.notes[channel, program]  # in the order in which they begin

    def _note_off(self, event: Event) -> None:
        ticks, status, channel, (pitch, velocity) = event
        if status == NOTE_OFF and velocity not in PLAIN_RELEASES:
            self.dropped["release velocity"] += 1
        if pitch in self._sounding[channel]:
            self._end_note(channel, pitch, ticks)
        else:
            self.repairs["stray note-off"] += 1

    def _end_note(self, channel: int, pitch: int, ticks: int) -> None:
        sounding = self._sounding[channel]
        queue = sounding[pitch]
        notes, onset, velocity = queue.popleft()
        if not queue:
            del sounding[pitch]
        duration = ticks - onset
        if not duration:
            self.repairs["note of no length"] += 1
            duration = 1
        notes.append(
            Note(onset_ticks=onset, duration_ticks=duration, pitch=pitch, velocity=velocity)
        )

    def _silence(self, channel: int, ticks: int, reason: str) -> None:
        for pitch, queue in list(self._sounding[channel].items()):
            while queue:
                self.repairs[reason] += 1
                self._end_note(channel, pitch, ticks)

    def _program_change(self, event: Event) -> None:
        if self._idle_programs[event.detail]:
            self.dropped["program change without effect"] += 1
        self._programs[event.detail] = event.data[0]
        self._idle_programs[event.detail] = True

    def _controller(self, event: Event) -> None:
        number, value = event.data
        if number in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            self._silence(event.detail, event.ticks, "note ended by all-notes-off")
        elif number in CHANNEL_MODES:
            self.dropped["channel mode"] += 1
        else:
            self._turn(event, number, value)

    def _bend(self, event: Event) -> None:
        self._turn(event, PITCH_BEND, event.data[0] | event.data[1] << 7)

    def _turn(self, event: Event, number: int, value: int) -> None:
        channel = event.detail
        control = Control(at_ticks=event.ticks, number=number, value=value)
        self._settings[channel][number] = control
        if channel in self._playing:
            self.controls[channel, self._playing[channel]].append(control)
        else:
            self.unplayed[channel].append(control)

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


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _conductor_track(piece: Piece) -> mido.MidiTrack:
    tempos = [
        (t.at_ticks, mido.MetaMessage("set_tempo", tempo=microseconds_per_beat(t.beats_per_minute)))
        for t in piece.tempos
    ]
    meters = [(m.at_ticks, _time_signature(m)) for m in piece.meters]
    keys = [(k.at_ticks, mido.MetaMessage("key_signature", key=_key_name(k))) for k in piece.keys]
    return _with_deltas([], tempos + meters + keys)


def _time_signature(meter: Meter) -> mido.MetaMessage:
    kind = "time_signature"
    return mido.MetaMessage(kind, numerator=meter.numerator, denominator=meter.denominator)


def _key_name(key: Key) -> str:
    """As mido has it: "Bb", "F#m"; names go up the circle of fifths from F."""
    accidentals, letter = divmod(key.sharps + 1 + 3 * key.is_minor, 7)
    return (
        "FCGDAEB"[letter]
        + ("#" if accidentals > 0 else "b") * abs(accidentals)
        + "m" * key.is_minor
    )


def _control(control: Control, channel: int) -> mido.Message:
    if control.number == PITCH_BEND:
        return mido.Message("pitchwheel", channel=channel, pitch=control.value - NO_BEND)
    return mido.Message(
        "control_change", channel=channel, control=control.number, value=control.value
    )


def _instrument_track(track: Track, channel: int, port: int) -> mido.MidiTrack:
    head = []
    if track.name:
        name = track.name.encode("utf-8", errors="replace").decode("utf-8")
        head.append(mido.MetaMessage("track_name", name=name))
    if port:
        head.append(mido.MetaMessage("midi_port", port=port))
    first = [_control(c, channel) for c in track.controls if not c.at_ticks]
    head += first  # a bank is chosen before its program
    head.append(mido.Message("program_change", channel=channel, program=track.program))
    on = partial(mido.Message, "note_on", channel=channel)
    off = partial(mido.Message, "note_off", channel=channel, velocity=0)
    ends = [(n.end_ticks, off(note=n.pitch)) for n in track.notes]
    onsets = [(n.onset_ticks, on(note=n.pitch, velocity=n.velocity)) for n in track.notes]
    later = track.controls[len(first) :]
    controls = [(c.at_ticks, _control(c, channel)) for c in later]
    # the sort is stable: at one tick, what ends comes before what turns and what begins
    return _with_deltas(head, ends + controls + onsets)


def _with_deltas(head: list[mido.Message], timed: list[tuple[int, mido.Message]]) -> mido.MidiTrack:
    track = mido.MidiTrack(head)
    now_ticks = 0
    for ticks, message in sorted(timed, key=lambda pair: pair[0]):
        track.append(message.copy(time=ticks - now_ticks))
        now_ticks = ticks
    return track
