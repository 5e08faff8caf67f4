"""When notes sound, in seconds: knows pieces and their clocks, not how they sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from generative.sounding import sounding_ends

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from generative.piece import TempoMap, Track


def spans(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """When each note is struck and let go, in seconds from the start. -> (N, 2)"""
    return _seconds(track, (note.end_ticks for note in track.notes), clock)


def sounding(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """When each note begins and ends to sound, in seconds: see `sounding_ends`. -> (N, 2)"""
    return _seconds(track, sounding_ends(track), clock)


def _seconds(track: Track, ends: Iterable[int], clock: TempoMap) -> NDArray[np.float64]:
    seconds = [
        (clock.seconds_at(note.onset_ticks), clock.seconds_at(end))
        for note, end in zip(track.notes, ends, strict=True)
    ]
    return np.array(seconds, dtype=np.float64).reshape(-1, 2)
