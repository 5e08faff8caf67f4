"""A piece as timed MIDI messages, and a piece of metronome clicks."""

from __future__ import annotations

import io
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import mido

from generative.music import midi
from generative.music.piece import Meter, Note, Piece, Tempo, Track, bar_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

Timed: TypeAlias = "Sequence[tuple[float, mido.Message]]"

CLICK_TICKS_PER_BEAT = 24
HIGH_WOOD_BLOCK, LOW_WOOD_BLOCK = 76, 77  # of a General MIDI drum kit
CLICK_VELOCITY = 90


def timed(piece: Piece) -> Timed:
    """(seconds from the start, message) for the messages of a MIDI file of the piece, in order."""
    file = mido.MidiFile(file=io.BytesIO(midi.to_bytes(piece)))
    messages = list(file)  # Each time is in seconds since the previous message.
    moments = accumulate(message.time for message in messages)
    return [
        (moment, message.copy(time=0))
        for moment, message in zip(moments, messages, strict=True)
        if not message.is_meta
    ]


def clicks(bars: int, beats_per_minute: float, meter: tuple[int, int]) -> Piece:
    """A wood block on each beat of a number of bars, higher on the first beat."""
    numerator, denominator = meter
    stated = Meter(at_ticks=0, numerator=numerator, denominator=denominator)
    step = bar_ticks(stated, CLICK_TICKS_PER_BEAT) / numerator
    notes = tuple(
        Note(
            onset_ticks=round(beat * step),
            duration_ticks=1,
            pitch=LOW_WOOD_BLOCK if beat % numerator else HIGH_WOOD_BLOCK,
            velocity=CLICK_VELOCITY,
        )
        for beat in range(bars * numerator)
    )
    return Piece(
        ticks_per_beat=CLICK_TICKS_PER_BEAT,
        tracks=(Track(is_drum=True, notes=notes, name="click"),),
        tempos=(Tempo(at_ticks=0, beats_per_minute=beats_per_minute),),
        meters=(stated,),
    ).normalised()
