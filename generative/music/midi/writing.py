"""A piece as the messages of a MIDI file: knows what players make of channels, not bytes or paths.

Each track has a channel of a port for itself (`midi_channels`). To a player that knows no ports
several tracks may be one channel: then a program change stands before the first note of each turn,
and what a track's controls are is restored where another track has moved them. The restoring
controls stand in tracks of their own on a port where nobody plays, so that reading finds each
track's own controls and no others.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import mido

from generative.music.controls import BANK_SELECTS, Standing
from generative.music.midi.channels import places
from generative.music.midi.events import SILENT_PORT
from generative.music.piece import NO_BEND, PITCH_BEND, microseconds_per_beat
from generative.music.sounding import sounding_ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generative.music.midi.channels import Place
    from generative.music.piece import Control, Key, Meter, Note, Piece, Track

LOG = logging.getLogger(__name__)

# the order, at one tick of a track, of what ends, what turns, program changes and what begins
ENDS, TURNS, CHANGES, BEGINS = range(4)

Timed: TypeAlias = tuple[int, mido.Message]  # at which tick


def as_file(piece: Piece) -> mido.MidiFile:
    """A type 1 file: tempos and meters in a first track, then one track an instrument.

    What is lost on players that know no ports is logged as a warning.
    """
    piece = piece.normalised()
    file = mido.MidiFile(type=1, ticks_per_beat=piece.ticks_per_beat, charset="utf-8")
    parts = list(map(_Part, piece.tracks, places(piece.tracks)))
    channels: defaultdict[int, list[_Part]] = defaultdict(list)
    for part in parts:
        channels[part.place.channel].append(part)
    turns = [_Turns(shared) for shared in channels.values() if len(shared) > 1]
    if disturbed := sum(one.disturbed for one in turns):
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
    if restored := [timed for one in turns for timed in one.restored]:
        file.tracks.append(_restoring_track(restored))
    return file


class _Part:
    """A track, its place, and what is written beside its own notes and controls."""

    def __init__(self, track: Track, place: Place) -> None:
        self.track, self.place = track, place
        self.changes = [0]  # the ticks at which its program is stated
        self.restored: list[Timed] = []  # before it, in each tick

    def turned(self, number: int, value: int) -> mido.Message:
        """A control of its channel."""
        channel = self.place.channel
        if number == PITCH_BEND:
            return mido.Message("pitchwheel", channel=channel, pitch=value - NO_BEND)
        return mido.Message("control_change", channel=channel, control=number, value=value)

    def written(self) -> mido.MidiTrack:
        """The track of the file."""
        track, (port, channel) = self.track, self.place
        head = []
        if track.name:
            name = track.name.encode("utf-8", errors="replace").decode("utf-8")
            head.append(mido.MetaMessage("track_name", name=name))
        if port:
            head.append(mido.MetaMessage("midi_port", port=port))
        change = mido.Message("program_change", channel=channel, program=track.program)
        timed = [(c.at_ticks, TURNS, self.turned(c.number, c.value)) for c in track.controls]
        timed += [(ticks, CHANGES, change) for ticks in self._changes()]
        for note in track.notes:
            on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
            off = mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)
            timed += [(note.onset_ticks, BEGINS, on), (note.end_ticks, ENDS, off)]
        timed.sort(key=itemgetter(0, 1))  # it is stable
        return _with_deltas(head, [(ticks, message) for ticks, _, message in timed])

    def _changes(self) -> list[int]:
        """Where its program is stated: a bank that is chosen takes effect with the next one."""
        banks = {c.at_ticks for c in self.track.controls if c.number in BANK_SELECTS}
        return sorted({*self.changes, *banks})


class _Turns:
    """Tracks that are one channel to players without ports, and how that is made to do no harm."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self.restored: list[Timed] = []  # after all tracks, in each tick
        self.disturbed = 0  # notes
        self._parts = parts
        self._stands = Standing()
        self._wanted = [Standing() for _ in parts]
        self._ends = [0] * len(parts)  # until when each sounds
        self._pressed = [Counter[int]() for _ in parts]  # pitches that no note-off has ended
        self._owner = 0  # who plays
        self._loaded: tuple[int, ...] = ()
        for part in parts:
            part.changes = []
        for ticks, events in groupby(self._events(), key=itemgetter(0)):
            for _, i, kind, event in events:
                if kind == TURNS:
                    self._turn(i, event, ticks)
                elif kind == ENDS:
                    self._pressed[i][event.pitch] -= 1
                else:
                    self._begin(i, *event)
            if self._ends[self._owner] > ticks:
                self._restore(self._owner, ticks, self.restored)

    def _events(self) -> list[tuple[int, int, int, Any]]:
        """All that happens, in the order in which a player finds it."""
        events: list[tuple[int, int, int, Any]] = []
        for i, part in enumerate(self._parts):
            track = part.track
            events += [(c.at_ticks, i, TURNS, c) for c in track.controls]
            for note, end in zip(track.notes, sounding_ends(track), strict=True):
                events.append((note.end_ticks, i, ENDS, note))
                # strokes of a drum are not ended
                events.append((note.onset_ticks, i, BEGINS, (note, 0 if track.is_drum else end)))
        return sorted(events, key=itemgetter(0, 1, 2))

    def _turn(self, i: int, control: Control, ticks: int) -> None:
        self._wanted[i].turn(control.number, control.value)
        self._stands.turn(control.number, control.value)
        self.disturbed += i != self._owner and self._ends[i] > ticks

    def _begin(self, i: int, note: Note, end: int) -> None:
        part, ticks = self._parts[i], note.onset_ticks
        is_changed = self._restore(i, ticks, part.restored)
        others = [j for j in range(len(self._parts)) if j != i and self._ends[j] > ticks]
        is_cut = any(self._pressed[j][note.pitch] > 0 for j in others)
        self.disturbed += bool(others) and (is_changed or is_cut)
        loaded = part.track.program, *(self._stands.value(number) for number in BANK_SELECTS)
        if loaded != self._loaded or not part.changes:
            part.changes.append(ticks)
        self._loaded, self._owner = loaded, i
        self._pressed[i][note.pitch] += 1
        self._ends[i] = max(self._ends[i], end)

    def _restore(self, i: int, ticks: int, into: list[Timed]) -> bool:
        """Let the channel's controls stand as a track wants them; whether they did not."""
        missing = self._stands.missing(self._wanted[i])
        into += [(ticks, self._parts[i].turned(*turn)) for turn in missing]
        self._stands.become(self._wanted[i])
        return bool(missing)


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


def _with_deltas(head: list[mido.Message], timed: Iterable[Timed]) -> mido.MidiTrack:
    track = mido.MidiTrack(head)
    now_ticks = 0
    for ticks, message in sorted(timed, key=itemgetter(0)):
        track.append(message.copy(time=ticks - now_ticks))
        now_ticks = ticks
    return track
