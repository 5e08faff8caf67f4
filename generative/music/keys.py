"""Detection of the key that a piece is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from generative.music.piece import Piece

TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# How well each pitch class above the tonic fits a key, as listeners rated it: Krumhansl and Kessler
# (1982), "Tracing the dynamic changes in perceived tonal organization", Psychological Review 89.
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


def detect_key(piece: Piece) -> str:
    """The likeliest key, as "D minor": whose profile correlates best with how long pitches sound.

    Drums have no pitch. Source: Krumhansl (1990), Cognitive Foundations of Musical Pitch, ch. 4.

    Raises:
        ValueError: a piece in which no pitch, or every pitch equally long, is heard.
    """
    durations = np.zeros(12)
    for track in piece.tracks:
        for note in () if track.is_drum else track.notes:
            durations[note.pitch % 12] += note.duration_ticks
    if np.ptp(durations) == 0:
        raise ValueError("the piece has no key: no pitch sounds longer than another")
    fits = {
        f"{TONICS[tonic]} {mode}": np.corrcoef(np.roll(profile, tonic), durations)[0, 1]
        for mode, profile in PROFILES.items()
        for tonic in range(12)
    }
    return max(fits, key=lambda key: fits[key])
