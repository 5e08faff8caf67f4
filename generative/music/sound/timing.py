"""The times of notes and the values of controls over time, in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from generative.music.sounding import sounding_ends

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from generative.music.controls import Curve
    from generative.music.piece import TempoMap, Track

RAMP_SECONDS = 0.01  # Controls move gradually, since a jump would click.


def spans(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """The onset and the note-off of each note, in seconds from the start. -> (N, 2)"""
    return _seconds(track, (note.end_ticks for note in track.notes), clock)


def sounding(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """The onset of each note and the end of its sound, in seconds: `sounding_ends`. -> (N, 2)"""
    return _seconds(track, sounding_ends(track), clock)


def _seconds(track: Track, ends: Iterable[int], clock: TempoMap) -> NDArray[np.float64]:
    seconds = [
        (clock.seconds_at(note.onset_ticks), clock.seconds_at(end))
        for note, end in zip(track.notes, ends, strict=True)
    ]
    return np.array(seconds, dtype=np.float64).reshape(-1, 2)


class Automation:
    """A control value over time; each change is complete at the tick at which it is stated."""

    def __init__(self, curve: Curve, clock: TempoMap) -> None:
        seconds, values = [0.0], [curve[0][1]]
        for ticks, value in curve[1:]:
            at = clock.seconds_at(ticks)
            seconds += [max(at - RAMP_SECONDS, seconds[-1]), at]
            values += [values[-1], value]
        self._seconds = np.array(seconds)  # (K,)
        self._values = np.array(values)  # (K,)

    def within(self, begin_seconds: float, end_seconds: float) -> tuple[float, float]:
        """The least and the greatest value between two times."""
        first = int(np.searchsorted(self._seconds, begin_seconds, side="right"))
        last = int(np.searchsorted(self._seconds, end_seconds, side="left"))
        ends = np.interp([begin_seconds, end_seconds], self._seconds, self._values)
        values = np.concatenate([ends, self._values[first:last]])
        return float(values.min()), float(values.max())

    def samples(self, begin_seconds: float, count: int, sample_rate: int) -> NDArray[np.float32]:
        """The value at each sample of a sound. -> (N,), or (1,) if it does not change"""
        low, high = self.within(begin_seconds, begin_seconds + count / sample_rate)
        if low == high:
            return np.array([low], dtype=np.float32)
        times = begin_seconds + np.arange(count) / sample_rate
        return np.asarray(np.interp(times, self._seconds, self._values), dtype=np.float32)
