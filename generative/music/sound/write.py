"""Writes a piece as a WAV file, by the built-in synthesizer or by FluidSynth."""

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
        ValueError, RuntimeError: see `fluidsynth.check`.
    """
    if soundfont is not None:
        fluidsynth.check(soundfont)


def write_wav(piece: Piece, path: Path, *, soundfont: str | os.PathLike[str] | None = None) -> None:
    """Write the piece as 16-bit stereo WAV, in one move.

    Args:
        piece: the music.
        path: the file.
        soundfont: an .sf2 or .sf3 file to play it with FluidSynth; None is the synthesizer here.

    Raises:
        ValueError: it lasts longer than an hour, or the soundfont is none.
        RuntimeError: a soundfont was given, and FluidSynth is not installed or fails.
    """
    samples = synth.render(piece) if soundfont is None else fluidsynth.render(piece, soundfont)
    write_bytes(path, wav.encode(samples))
