"""A piece as the messages of a MIDI file, laid out so that players without ports play it too.

Each track has a channel of a port of its own (`channels`). To a player that ignores ports, several
tracks may be one channel. So a program change stands before the first note whenever another of
these tracks begins to play, and the controls of that track are restored if another has changed
them. The restoring controls are in tracks of their own on a port without notes, so that reading
finds exactly the controls of each track.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import mido

from generative.music.controls import BANK_SELECTS, ControlState
from generative.music.midi.channels import places
from generative.music.midi.event_parser import SILENT_PORT
from generative.music.piece import NO_BEND, PITCH_BEND, microseconds_per_beat
from generative.music.sounding import sounding_ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generative.music.midi.channels import Place
    from generative.music.piece import Control, Key, Meter, Note, Piece, Track

LOG = logging.getLogger(__name__)

# the order of events at one tick of a track: note-offs, controls, program changes, note-ons
ENDS, CONTROLS, PROGRAMS, BEGINS = range(4)

Timed: TypeAlias = tuple[int, mido.Message]  # a tick and the message at it


def as_file(piece: Piece) -> mido.MidiFile:
    """A type 1 file: a track of tempos, meters and keys, then one track for each instrument.

    If something is lost in players that ignore ports, a warning is logged.
    """
    piece = piece.normalised()
    file = mido.MidiFile(type=1, ticks_per_beat=piece.ticks_per_beat, charset="utf-8")
    parts = list(map(_Part, piece.tracks, places(piece.tracks)))
    channels: defaultdict[int, list[_Part]] = defaultdict(list)
    for part in parts:
        channels[part.place.channel].append(part)
    shared_channels = [_SharedChannel(sharing) for sharing in channels.values() if len(sharing) > 1]
    if disturbed := sum(one.disturbed for one in shared_channels):
        LOG.warning(
            "more than 15 instruments sound at once: where a player knows no MIDI ports, "
            "%d notes are cut short or have the volume, pan or pedal of another",
            disturbed,
        )
    file.tracks.append(_conductor_track(piece))
    for part in parts:
        if part.restored:
            file.tracks.append(_restoring_track(part.restored))
        file.tracks.append(part.written())
    if restored := [timed for one in shared_channels for timed in one.restored]:
        file.tracks.append(_restoring_track(restored))
    return file


class _Part:
    """A track, its place, and the messages that are written beside its notes and controls."""

    def __init__(self, track: Track, place: Place) -> None:
        self.track, self.place = track, place
        self.program_ticks = [0]  # the ticks of its program changes
        # messages that restore its controls, before it in each tick
        self.restored: list[Timed] = []

    def control(self, number: int, value: int) -> mido.Message:
        """The message that sets a control of its channel."""
        channel = self.place.channel
        if number == PITCH_BEND:
            return mido.Message("pitchwheel", channel=channel, pitch=value - NO_BEND)
        return mido.Message("control_change", channel=channel, control=number, value=value)

    def written(self) -> mido.MidiTrack:
        """The track as it is written to the file."""
        track, (port, channel) = self.track, self.place
        head = []
        if track.name:
            name = track.name.encode("utf-8", errors="replace").decode("utf-8")
            head.append(mido.MetaMessage("track_name", name=name))
        if port:
            head.append(mido.MetaMessage("midi_port", port=port))
        change = mido.Message("program_change", channel=channel, program=track.program)
        timed = [(c.at_ticks, CONTROLS, self.control(c.number, c.value)) for c in track.controls]
        timed += [(ticks, PROGRAMS, change) for ticks in self._program_changes()]
        for note in track.notes:
            on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
            off = mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)
            timed += [(note.onset_ticks, BEGINS, on), (note.end_ticks, ENDS, off)]
        timed.sort(key=itemgetter(0, 1))
        return _with_deltas(head, [(ticks, message) for ticks, _, message in timed])

    def _program_changes(self) -> list[int]:
        """The ticks of its program changes; each bank select needs one to take effect."""
        banks = {c.at_ticks for c in self.track.controls if c.number in BANK_SELECTS}
        return sorted({*self.program_ticks, *banks})


class _SharedChannel:
    """Tracks that are one channel to players without ports, and the messages that separate them.

    Attributes:
        restored: Messages that restore controls, after all tracks in each tick.
        disturbed: The number of notes that are played wrongly all the same.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        self.restored: list[Timed] = []
        self.disturbed = 0
        self._parts = parts
        self._current = ControlState()
        self._wanted = [ControlState() for _ in parts]
        self._ends = [0] * len(parts)  # the tick until which each sounds
        self._pressed = [Counter[int]() for _ in parts]  # open notes by pitch
        self._playing = 0  # the index of the part that played last
        self._loaded: tuple[int, ...] = ()  # the program and the banks of the last note
        for part in parts:
            part.program_ticks = []
        for ticks, events in groupby(self._events(), key=itemgetter(0)):
            for _, i, order, event in events:
                if order == CONTROLS:
                    self._set_control(i, event, ticks)
                elif order == ENDS:
                    self._pressed[i][event.pitch] -= 1
                else:
                    self._begin(i, *event)
            if self._ends[self._playing] > ticks:
                self._restore(self._playing, ticks, self.restored)

    def _events(self) -> list[tuple[int, int, int, Any]]:
        """(tick, index of the part, order, event) for all events, in the order of players."""
        events: list[tuple[int, int, int, Any]] = []
        for i, part in enumerate(self._parts):
            track = part.track
            events += [(c.at_ticks, i, CONTROLS, c) for c in track.controls]
            for note, end in zip(track.notes, sounding_ends(track), strict=True):
                events.append((note.end_ticks, i, ENDS, note))
                # Drums ignore note-offs, so a drum does not sound on.
                events.append((note.onset_ticks, i, BEGINS, (note, 0 if track.is_drum else end)))
        return sorted(events, key=itemgetter(0, 1, 2))

    def _set_control(self, i: int, control: Control, ticks: int) -> None:
        self._wanted[i].set(control.number, control.value)
        self._current.set(control.number, control.value)
        self.disturbed += i != self._playing and self._ends[i] > ticks

    def _begin(self, i: int, note: Note, end: int) -> None:
        part, ticks = self._parts[i], note.onset_ticks
        is_changed = self._restore(i, ticks, part.restored)
        others = [j for j in range(len(self._parts)) if j != i and self._ends[j] > ticks]
        is_cut = any(self._pressed[j][note.pitch] > 0 for j in others)
        self.disturbed += bool(others) and (is_changed or is_cut)
        loaded = part.track.program, *(self._current.value(number) for number in BANK_SELECTS)
        if loaded != self._loaded or not part.program_ticks:
            part.program_ticks.append(ticks)
        self._loaded, self._playing = loaded, i
        self._pressed[i][note.pitch] += 1
        self._ends[i] = max(self._ends[i], end)

    def _restore(self, i: int, ticks: int, into: list[Timed]) -> bool:
        """Restore the controls of a track, and return whether any of them had changed."""
        differences = self._current.differences(self._wanted[i])
        into += [(ticks, self._parts[i].control(*setting)) for setting in differences]
        self._current.copy_from(self._wanted[i])
        return bool(differences)


def _restoring_track(timed: Iterable[Timed]) -> mido.MidiTrack:
    return _with_deltas([mido.MetaMessage("midi_port", port=SILENT_PORT)], timed)


def _conductor_track(piece: Piece) -> mido.MidiTrack:
    tempos = [
        (t.at_ticks, mido.MetaMessage("set_tempo", tempo=microseconds_per_beat(t.beats_per_minute)))
        for t in piece.tempos
    ]
    meters = [(m.at_ticks, _time_signature(m)) for m in piece.meters]
    keys = [(k.at_ticks, mido.MetaMessage("key_signature", key=_key_name(k))) for k in piece.keys]
    return _with_deltas([], tempos + meters + keys)


def _time_signature(meter: Meter) -> mido.MetaMessage:
    return mido.MetaMessage(
        "time_signature", numerator=meter.numerator, denominator=meter.denominator
    )


def _key_name(key: Key) -> str:
    """The name of a key in mido, like "Bb" or "F#m"; letters follow the circle of fifths from F."""
    accidentals, letter = divmod(key.sharps + 1 + 3 * key.is_minor, 7)
    return (
        "FCGDAEB"[letter]
        + ("#" if accidentals > 0 else "b") * abs(accidentals)
        + "m" * key.is_minor
    )


def _with_deltas(head: list[mido.Message], timed: Iterable[Timed]) -> mido.MidiTrack:
    track = mido.MidiTrack(head)
    now_ticks = 0
    for ticks, message in sorted(timed, key=itemgetter(0)):
        track.append(message.copy(time=ticks - now_ticks))
        now_ticks = ticks
    return track
