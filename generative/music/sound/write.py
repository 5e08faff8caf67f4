"""Writing a piece as a WAV file, by the synthesizer of this package or by FluidSynth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generative.files import write_bytes
from generative.music.sound import fluidsynth, synth, wav

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from generative.music.piece import Piece


def check(soundfont: str | os.PathLike[str] | None = None) -> None:
    """Refuse, before any work is done, a soundfont that cannot be played.

    Raises:
        ValueError, RuntimeError: See `fluidsynth.check`.
    """
    if soundfont is not None:
        fluidsynth.check(soundfont)


def write_wav(piece: Piece, path: Path, *, soundfont: str | os.PathLike[str] | None = None) -> None:
    """Write the piece as 16-bit stereo WAV, in one move.

    Args:
        piece: The music.
        path: The file.
        soundfont: An .sf2 or .sf3 file with which FluidSynth plays the piece; None takes the
            synthesizer of this package.

    Raises:
        ValueError: The piece lasts longer than an hour, or `soundfont` is not a soundfont.
        RuntimeError: A soundfont is given, and FluidSynth is not installed or fails.
        FileError: The file cannot be written.
    """
    samples = synth.render(piece) if soundfont is None else fluidsynth.render(piece, soundfont)
    write_bytes(path, wav.encode(samples))
