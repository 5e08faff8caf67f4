"""How tracks are assigned to the instruments asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from generative.tokenizers.music.vocabulary import DRUM_PROGRAMS, MAX_TRACKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.tokenizers.music.state import PerTrack


class Cast(NamedTuple):
    """The tracks and programs that may play.

    Attributes:
        playable: the tracks that may play: those of the instruments asked for, and as many new ones
            as are needed. (64,)
        programs_left: programs that no track has yet. (256,)
        missing: the first track that has not played yet; None if all have.
    """

    playable: NDArray[np.bool_]
    programs_left: NDArray[np.bool_]
    missing: int | None


@lru_cache(maxsize=4096)
def cast_of(instruments: tuple[int, ...], programs: PerTrack) -> Cast:
    """The cast of the instruments asked for, given the programs that tracks have already."""
    left = list(instruments)
    playable = np.zeros(MAX_TRACKS, dtype=np.bool_)
    for track, program in enumerate(programs):
        if program in left:
            left.remove(program)
            playable[track] = True
    new = [track for track, program in enumerate(programs) if program is None][: len(left)]
    playable[new] = True
    return Cast(playable, np.isin(np.arange(2 * DRUM_PROGRAMS), left), new[0] if new else None)
