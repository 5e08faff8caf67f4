"""The phrases of the scripted player of `benchmarks/jam.py`, ordinary and awkward ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mido

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

Event = tuple[float, mido.Message]  # (beats from the first note of the phrase, message)


def on(pitch: int) -> mido.Message:
    """A note-on."""
    return mido.Message("note_on", note=pitch, velocity=80)


def off(pitch: int) -> mido.Message:
    """A note-off."""
    return mido.Message("note_off", note=pitch)


def notes(onsets: Sequence[float], step: float, rng: random.Random) -> list[Event]:
    """Notes of a major scale, each a little shorter than `step` beats."""
    degrees = [60, 62, 64, 65, 67, 69, 71, 72]
    pitches = [rng.choice(degrees) for _ in onsets]
    starts = [(at, on(pitch)) for at, pitch in zip(onsets, pitches, strict=True)]
    return starts + [
        (at + 0.9 * step, off(pitch)) for at, pitch in zip(onsets, pitches, strict=True)
    ]


def melody(beats: float, rng: random.Random) -> list[Event]:
    """A melody of quarters and eighths that fills so many beats."""
    onsets = [i / 2 for i in range(int(beats * 2)) if i % 2 == 0 or rng.random() < 0.6]
    return notes(onsets, 0.5, rng)


def _dense(beats: float, _rng: random.Random) -> list[Event]:
    """A chord of four notes on every sixteenth."""
    chords = [(i / 4, [48 + i % 12 + 5 * k for k in range(4)]) for i in range(int(beats * 4))]
    starts = [(at, on(pitch)) for at, chord in chords for pitch in chord]
    return starts + [(at + 0.2, off(pitch)) for at, chord in chords for pitch in chord]


def _held(beats: float, rng: random.Random) -> list[Event]:
    """The last note is held for a beat over the end."""
    return [*melody(beats - 1, rng), (beats - 1, on(55)), (beats + 1, off(55))]


def _pedalled(beats: float, rng: random.Random) -> list[Event]:
    """The pedal is down from the second beat until the end is over by half a beat."""
    pedal = [mido.Message("control_change", control=64, value=value) for value in (127, 0)]
    return [*melody(beats, rng), (1.0, pedal[0]), (beats + 0.5, pedal[1])]


def _to_the_line(beats: float, rng: random.Random) -> list[Event]:
    """The last note ends exactly at the bar line."""
    return [*melody(beats - 1, rng), (beats - 1, on(55)), (beats, off(55))]


def _all_notes_off(beats: float, rng: random.Random) -> list[Event]:
    """The last chord is ended by all-notes-off alone."""
    chord = [(beats - 1, on(pitch)) for pitch in (48, 52, 55)]
    end = mido.Message("control_change", control=123, value=0)
    return [*melody(beats - 1, rng), *chord, (beats - 0.25, end)]


def _clocked(beats: float, rng: random.Random) -> list[Event]:
    """MIDI clock, active sensing, pressure and pitch bend come between the notes."""
    span = int(beats * 24) + 48
    clock = [(i / 24, mido.Message("clock")) for i in range(1, span)]
    sensing = [(i / 2 + 0.01, mido.Message("active_sensing")) for i in range(span // 12)]
    other = [
        (i / 3 + 0.1, mido.Message(kind)) for i in range(6) for kind in ("aftertouch", "pitchwheel")
    ]
    return [*melody(beats, rng), *clock, *sensing, *other]


def _zero_velocity(beats: float, rng: random.Random) -> list[Event]:
    """Notes are ended by note-ons of velocity 0."""
    return [
        (at, mido.Message("note_on", note=m.note, velocity=0) if m.type == "note_off" else m)
        for at, m in melody(beats, rng)
    ]


# name -> its events; the player of "in between" plays on while it is answered
PHRASES: dict[str, Callable[[float, random.Random], list[Event]]] = {
    "melody": melody,
    "one note": lambda _, rng: notes([0.0], 1.0, rng),
    "silence": lambda _beats, _rng: [],
    "held": _held,
    "dense": _dense,
    "in between": melody,
    "pedal": _pedalled,
    "to the line": _to_the_line,
    "all notes off": _all_notes_off,
    "clock": _clocked,
    "zero velocity": _zero_velocity,
}
