"""Generated music: pieces that can be saved in every format, and the seed that repeats them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generative.api.results import GeneratedSequence, Generation
from generative.music import formats

if TYPE_CHECKING:
    import os

    from generative.music.piece import Piece


@dataclass(frozen=True, kw_only=True)
class TuneSequence(GeneratedSequence):
    """One piece of music.

    Attributes:
        piece: the primer, if there was one, and what continues it. `tokens` are those of the
            continuation only.
    """

    piece: Piece

    def save(
        self, path: str | os.PathLike[str], *, soundfont: str | os.PathLike[str] | None = None
    ) -> None:
        """Write the piece in the format of the path's suffix, which `formats.FORMATS` lists.

        See `generative.music.formats.save`.
        """
        formats.save(self.piece, path, soundfont=soundfont)


class Tune(Generation[TuneSequence]):
    """The result of `MusicModel.generate` and `MusicModel.harmonise`."""

    @property
    def piece(self) -> Piece:
        """The first sequence's music."""
        return self.sequences[0].piece

    def save(
        self, path: str | os.PathLike[str], *, soundfont: str | os.PathLike[str] | None = None
    ) -> None:
        """Write the first sequence in the format of the path's suffix."""
        self.sequences[0].save(path, soundfont=soundfont)
