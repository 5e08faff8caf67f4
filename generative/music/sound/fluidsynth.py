"""A piece rendered by the FluidSynth command with a soundfont.

The command is used instead of its library, so that a damaged soundfont cannot end this process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from generative.music import midi
from generative.music.sound import wav
from generative.music.sound.mixing import master

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from generative.music.piece import Piece

COMMAND = "fluidsynth"
ERROR = "fluidsynth: error: "
GAIN = 0.5  # With the default of 0.2 quiet music loses bits; `master` sets the final level.
RIFF_HEADER_BYTES = 12


def check(soundfont: str | os.PathLike[str]) -> str:
    """The path of the FluidSynth command, if it is installed and the file is a soundfont.

    Raises:
        ValueError: The file cannot be read or is not a soundfont.
        RuntimeError: FluidSynth is not installed.
    """
    try:
        with Path(soundfont).open("rb") as file:
            head = file.read(RIFF_HEADER_BYTES)
    except OSError as error:
        raise ValueError(f"{os.fspath(soundfont)}: cannot be read: {error.strerror}") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise ValueError(f"{os.fspath(soundfont)}: not a soundfont (.sf2 or .sf3)")
    command = shutil.which(COMMAND)
    if command is None:
        raise RuntimeError(
            "a soundfont needs FluidSynth: install it (apt install fluidsynth, "
            "brew install fluid-synth), or leave --soundfont out"
        )
    return command


def render(piece: Piece, soundfont: str | os.PathLike[str]) -> NDArray[np.float32]:
    """The piece as stereo samples, as loud as those of `synth.render`. -> (N, 2)

    Raises:
        ValueError: See `check`, or the piece lasts longer than an hour.
        RuntimeError: See `check`, or FluidSynth failed.
    """
    wav.check_length(piece)
    command = check(soundfont)
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        midi.write(piece, score)
        options = ["-ni", "-q", "-g", str(GAIN), "-r", str(wav.SAMPLE_RATE), "-T", "wav"]
        options += ["-o", "synth.default-soundfont="]  # Otherwise it may use another font.
        done = subprocess.run(  # noqa: S603 - our own list of arguments, no shell
            [command, *options, "-O", "s16", "-F", sound, os.fspath(soundfont), score],
            capture_output=True,
            check=False,
        )
        # Its exit code is 0 even if the soundfont cannot be used.
        lines = done.stderr.decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(ERROR)]
        if done.returncode or errors or not sound.exists():
            reason = errors[0].removeprefix(ERROR) if errors else f"exit code {done.returncode}"
            raise RuntimeError(f"FluidSynth cannot play {os.fspath(soundfont)}: {reason}")
        samples, rate = wav.decode(sound.read_bytes())
    master(samples, rate)
    return samples
