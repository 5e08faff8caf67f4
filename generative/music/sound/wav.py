"""Samples encoded as WAV files of 16 bits, and decoded from them."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.music.piece import Piece

SAMPLE_RATE = 44_100  # per second
MAX_SECONDS = 3600.0
PEAK = 0.89  # the most of full scale that a sample has, -1 dB
FULL_SCALE = 32_767
PART = 2**20  # samples that are rounded at a time


def check_length(piece: Piece) -> None:
    """Refuse a piece whose samples could fill the memory.

    Raises:
        ValueError: The piece lasts longer than an hour.
    """
    if piece.seconds > MAX_SECONDS:
        raise ValueError(
            f"{piece.seconds:.0f} s of music is longer than the {MAX_SECONDS:.0f} s limit"
        )


def encode(samples: NDArray[np.float32], sample_rate: int = SAMPLE_RATE) -> bytes:
    """The bytes of a WAV file with samples (N, channels) within -1..1."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        for begin in range(0, len(samples), PART):
            part = np.round(samples[begin : begin + PART] * FULL_SCALE)
            file.writeframesraw(part.astype("<i2").tobytes())
    return data.getvalue()


def decode(data: bytes) -> tuple[NDArray[np.float32], int]:
    """The samples (N, channels) and the sample rate of a WAV file of 16 bits.

    Raises:
        ValueError: The data is not such a file.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"WAV of 16 bits is read, not of {8 * file.getsampwidth()}")
            frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
            samples = (frames / FULL_SCALE).astype(np.float32)
            return samples.reshape(-1, file.getnchannels()), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise ValueError(f"not a WAV file: {error}") from None
