"""Notes collected from timed MIDI messages, their tempo, and the piece that they make."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generative.music.piece import SECONDS_PER_MINUTE, Meter, Note, Piece, Tempo, Track, bar_ticks
from generative.music.quantise import quantised

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import mido

TICKS_PER_BEAT = 480  # the resolution before notes are quantised
DRUM_CHANNEL = 9
SUSTAIN_PEDAL = 64
# All-sound-off, all-notes-off, and the changes of mode, which end notes as well.
ENDS_OF_NOTES = frozenset({120, 123, 124, 125, 126, 127})
PEDAL_DOWN = 64  # from this value on
LOST_RELEASE_SECONDS = 10.0  # a key held for longer is taken for one whose release was lost

# Tempos are searched in steps of 0.25 beats per minute. Those near the tempo at which people tap
# are preferred by a log-normal weight: Ellis (2007), "Beat tracking by dynamic programming".
CANDIDATES = np.arange(60.0, 180.25, 0.25)
USUAL_BEATS_PER_MINUTE, OCTAVES = 110.0, 0.7
# subdivision of the beat -> the weight of onsets on it
SUBDIVISIONS = {1: 1.0, 2: 0.7, 4: 0.5}


@dataclass(frozen=True, kw_only=True)
class PlayedNote:
    """One note as it was played, in seconds of the clock."""

    onset_seconds: float
    end_seconds: float
    pitch: int
    velocity: int
    program: int
    is_drum: bool


@dataclass(frozen=True, kw_only=True)
class _Sounding:
    """A note that has not ended yet."""

    onset_seconds: float
    velocity: int
    program: int


class NoteCollector:
    """Collects notes from messages; a note lasts while its key or the pedal is held."""

    def __init__(self, program: int | None = None) -> None:
        """`program` is that of every note; None takes that of the channel, which is 0 at first."""
        self.last_seconds = -math.inf  # the time of the last event
        self._finished: list[PlayedNote] = []
        self._program = program
        self._programs: defaultdict[int, int] = defaultdict(int)  # by channel
        self._held: dict[tuple[int, int], _Sounding] = {}  # by (channel, pitch)
        self._pedalled: dict[tuple[int, int], _Sounding] = {}  # released while the pedal is down
        self._pedals: set[int] = set()  # channels

    def receive(self, message: mido.Message, seconds: float) -> None:
        """Take in a message that arrived at a time."""
        if message.type == "program_change":
            self._programs[message.channel] = message.program
        elif message.type == "control_change" and message.control == SUSTAIN_PEDAL:
            self._pedal(message.channel, message.value >= PEDAL_DOWN, seconds)
        elif message.type == "control_change" and message.control in ENDS_OF_NOTES:
            for key in [key for key in self._held if key[0] == message.channel]:
                self._release(key, seconds)
        elif message.type == "note_on" and message.velocity:
            self._press(message, seconds)
        elif message.type in ("note_on", "note_off"):
            self._release((message.channel, message.note), seconds)
        else:
            return
        self.last_seconds = seconds

    @property
    def onset_seconds(self) -> float | None:
        """The onset of the first note; None before it."""
        started = [note.onset_seconds for note in self._finished]
        started += [note.onset_seconds for note in self._held.values()]
        started += [note.onset_seconds for note in self._pedalled.values()]
        return min(started, default=None)

    def forget_before(self, seconds: float) -> None:
        """Drop the notes that began before a time; programs and pedals stay as they are."""
        self._finished = [note for note in self._finished if note.onset_seconds >= seconds]
        for sounding in (self._held, self._pedalled):
            for key in [key for key, note in sounding.items() if note.onset_seconds < seconds]:
                del sounding[key]

    def pause_seconds(self, now: float) -> float:
        """The time since the last event; 0 while a key is held."""
        held = [note.onset_seconds for note in self._held.values()]
        if any(now - onset < LOST_RELEASE_SECONDS for onset in held):
            return 0.0
        return now - self.last_seconds

    def notes(self, now: float) -> tuple[PlayedNote, ...]:
        """All notes so far; those that still sound end at `now`."""
        sounding = [*self._held.items(), *self._pedalled.items()]
        return (*self._finished, *(_played_note(key, note, now) for key, note in sounding))

    def _press(self, message: mido.Message, seconds: float) -> None:
        key = (message.channel, message.note)
        for sounding in (self._held, self._pedalled):
            if key in sounding:
                self._finished.append(_played_note(key, sounding.pop(key), seconds))
        program = self._programs[message.channel] if self._program is None else self._program
        self._held[key] = _Sounding(
            onset_seconds=seconds, velocity=message.velocity, program=program
        )

    def _release(self, key: tuple[int, int], seconds: float) -> None:
        note = self._held.pop(key, None)
        if note is None:
            return
        if key[0] in self._pedals:
            self._pedalled[key] = note
        else:
            self._finished.append(_played_note(key, note, seconds))

    def _pedal(self, channel: int, is_down: bool, seconds: float) -> None:
        if is_down:
            self._pedals.add(channel)
            return
        self._pedals.discard(channel)
        for key in [key for key in self._pedalled if key[0] == channel]:
            self._finished.append(_played_note(key, self._pedalled.pop(key), seconds))


def _played_note(key: tuple[int, int], note: _Sounding, seconds: float) -> PlayedNote:
    channel, pitch = key
    return PlayedNote(
        onset_seconds=note.onset_seconds,
        end_seconds=seconds,
        pitch=pitch,
        velocity=note.velocity,
        program=note.program,
        is_drum=channel == DRUM_CHANNEL,
    )


def estimated_tempo(onsets_seconds: Sequence[float]) -> float:
    """The tempo at which most notes begin on beats, on their halves or on their quarters.

    For fewer than three onsets it is the usual tempo.
    """
    if len(set(onsets_seconds)) < 3:
        return USUAL_BEATS_PER_MINUTE
    onsets = np.asarray(onsets_seconds) - min(onsets_seconds)
    beats = onsets[:, None] * (CANDIDATES / SECONDS_PER_MINUTE)  # (notes, candidates)
    strength = sum(
        weight * np.abs(np.exp(2j * np.pi * parts * beats).mean(axis=0)) ** 2
        for parts, weight in SUBDIVISIONS.items()
    )
    usual = np.exp(-0.5 * (np.log2(CANDIDATES / USUAL_BEATS_PER_MINUTE) / OCTAVES) ** 2)
    return float(CANDIDATES[np.argmax(strength * usual)])


def as_piece(
    notes: Iterable[PlayedNote],
    *,
    origin_seconds: float,
    beats_per_minute: float,
    meter: tuple[int, int],
    steps_per_beat: int,
    bars: int | None = None,
) -> Piece:
    """Played notes as a quantised piece, with a bar line at `origin_seconds`.

    Notes that ended before that are left out; notes that began before it begin there. If `bars` is
    given, a note so near their end that the grid would move it into the next bar begins on the step
    before.
    """
    numerator, denominator = meter
    stated = Meter(at_ticks=0, numerator=numerator, denominator=denominator)
    length = math.inf if bars is None else round(bars * bar_ticks(stated, TICKS_PER_BEAT))
    last_onset = length - TICKS_PER_BEAT // steps_per_beat

    def ticks(seconds: float) -> int:
        beats = (seconds - origin_seconds) * beats_per_minute / SECONDS_PER_MINUTE
        return max(round(beats * TICKS_PER_BEAT), 0)

    parts: defaultdict[tuple[int, bool], list[Note]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: note.onset_seconds):
        if note.end_seconds <= origin_seconds:
            continue
        onset = ticks(note.onset_seconds)
        if onset > last_onset:
            onset = int(last_onset)
        parts[note.program, note.is_drum].append(
            Note(
                onset_ticks=onset,
                duration_ticks=max(ticks(note.end_seconds) - onset, 1),
                pitch=note.pitch,
                velocity=note.velocity,
            )
        )
    piece = Piece(
        ticks_per_beat=TICKS_PER_BEAT,
        tracks=tuple(
            Track(program=program, is_drum=is_drum, notes=tuple(played))
            for (program, is_drum), played in parts.items()
        ),
        tempos=(Tempo(at_ticks=0, beats_per_minute=beats_per_minute),),
        meters=(stated,),
    )
    return quantised(piece, steps_per_beat=steps_per_beat)[0]
