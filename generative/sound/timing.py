"""When notes sound, in seconds: knows pieces and their clocks, not how they sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.piece import TempoMap, Track


def spans(track: Track, clock: TempoMap) -> NDArray[np.float64]:
    """Where each note begins and ends, in seconds from the start. -> (N, 2)"""
    pairs = [
        (clock.seconds_at(note.onset_ticks), clock.seconds_at(note.end_ticks))
        for note in track.notes
    ]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)
