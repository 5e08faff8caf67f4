"""What WAV files sound like, in numbers: loudness, peaks, clicks, tails.

Needs pyloudnorm, which measures loudness independently of the synthesizer: pip install pyloudnorm.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import pyloudnorm
from numpy.typing import NDArray
from scipy.signal import resample_poly

import generative
from generative import formats, midi
from generative.music.sound import wav

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.api.music_model import MusicModel
    from generative.music.piece import Piece

TARGET = -16.0  # LUFS
WITHIN = 2.0  # LU
HIGHEST_PEAK = -0.1  # dBFS; at 0 a player could clip
LOWEST_TAIL = -60.0  # dBFS
MOST_CLICK = 2.0
TRUE_PEAK_FACTOR = 4  # oversampling, as BS.1770-4 has it
NEAR_SECONDS, ROUND_SECONDS = 0.003, 0.05
FREE_SECONDS = 0.06
FADE_SECONDS = 0.05  # in which the file ends; what comes before tells whether the tail is whole
HIGH_HERTZ = 15_000

Samples = NDArray[np.float64]


class Measured(NamedTuple):
    """What is measured of a WAV file.

    Attributes:
        lufs: integrated loudness.
        peak, true_peak: the highest sample, and the highest point between samples, in dBFS.
        onset_click, end_click: see `click`; the largest of the file.
        tail: the level in the 50 ms before the last 50 ms, in dBFS.
        offset: the level of the mean, in dBFS.
        high: the energy above 15 kHz relative to all of it, in dB.
    """

    lufs: float
    peak: float
    true_peak: float
    onset_click: float
    end_click: float
    tail: float
    offset: float
    high: float

    @property
    def misses(self) -> list[str]:
        """The names of what misses its target."""
        wrong = {
            "loudness": abs(self.lufs - TARGET) > WITHIN,
            "peak": max(self.peak, self.true_peak) > HIGHEST_PEAK,
            "clicks": max(self.onset_click, self.end_click) > MOST_CLICK,
            "tail": self.tail > LOWEST_TAIL,
        }
        return [name for name, is_wrong in wrong.items() if is_wrong]


def decibels(level: float) -> float:
    """A level relative to full scale; at least -120."""
    return float(20 * np.log10(max(level, 1e-6)))


def click(sharpness: Samples, near: tuple[int, int], around: Sequence[tuple[int, int]]) -> float:
    """How sharply the sound bends at a time, over how sharply it does around it.

    Sharpness is the size of the second difference of the samples, which is large where a waveform
    is cut. Music has about 1; single notes of a piano, an organ, a fiddle and voices that are cut
    without a release have 3 to 450.
    """
    there = float(sharpness[slice(*near)].max(initial=0.0))
    usual = max((float(sharpness[slice(*part)].max(initial=0.0)) for part in around), default=0.0)
    return there / max(usual, 1e-5)


def clicks(sound: Samples, piece: Piece, rate: int) -> tuple[float, float]:
    """The largest click at onsets and the largest at ends of notes.

    Each is compared with the 50 ms on either side. Drums are noise that begins at once, so onsets
    within 60 ms of a drum are left out, and so are ends within 60 ms of any onset.
    """
    sharpness = np.abs(np.diff(sound, n=2, axis=0)).max(axis=1)
    clock = piece.tempo_map
    notes = [(n, track.is_drum) for track in piece.tracks for n in track.notes]
    struck = np.array([-1.0, *(clock.seconds_at(n.onset_ticks) for n, is_drum in notes if is_drum)])
    onsets = np.array([clock.seconds_at(n.onset_ticks) for n, _ in notes])
    ends = {clock.seconds_at(n.end_ticks) for n, is_drum in notes if not is_drum}
    near, far = round(NEAR_SECONDS * rate), round(ROUND_SECONDS * rate)
    at_onsets, at_ends = [0.0], [0.0]
    for onset in onsets:
        if np.abs(struck - onset).min() < FREE_SECONDS:
            continue
        at = round(onset * rate)
        around = [(max(at - far, 0), max(at - near, 0)), (at + near, at + far)]
        at_onsets.append(click(sharpness, (max(at - near, 0), at + near), around))
    for end in ends:
        if np.abs(onsets - end).min() < FREE_SECONDS:
            continue
        at = round(end * rate)
        around = [(at - far, at - near), (at + near, at + far)]
        at_ends.append(click(sharpness, (at - near, at + near), around))
    return max(at_onsets), max(at_ends)


def measure(sound: Samples, piece: Piece, rate: int) -> Measured:
    """All measures of samples (N, 2) of a piece."""
    fade = round(FADE_SECONDS * rate)
    power = np.square(np.abs(np.fft.rfft(sound, axis=0))).sum(axis=1)
    high = np.fft.rfftfreq(len(sound), 1 / rate) > HIGH_HERTZ
    onset_click, end_click = clicks(sound, piece, rate)
    return Measured(
        lufs=float(pyloudnorm.Meter(rate).integrated_loudness(sound)),
        peak=decibels(float(np.abs(sound).max())),
        true_peak=decibels(float(np.abs(resample_poly(sound, TRUE_PEAK_FACTOR, 1)).max())),
        onset_click=onset_click,
        end_click=end_click,
        tail=decibels(float(np.sqrt(np.mean(np.square(sound[-2 * fade : -fade]))))),
        offset=decibels(float(np.abs(sound.mean(axis=0)).max())),
        high=float(10 * np.log10(power[high].sum() / power.sum())),
    )


def pieces(options: argparse.Namespace) -> Iterator[tuple[str, Piece]]:
    """The pieces to play, each with its name."""
    for name in options.sources:
        if Path(name).suffix.casefold() in {".mid", ".midi"}:
            yield Path(name).stem, midi.read(name)
            continue
        model = cast("MusicModel", generative.load(name))
        for seed in options.seeds:
            made = model.generate(bars=options.bars, temperature=0.8, seed=seed)
            yield f"{name} {seed}", made.piece


def main() -> None:
    """Render, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sources", nargs="+", metavar="MODEL|FILE.mid")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--bars", type=int, default=8)
    parser.add_argument("--soundfont", metavar="FILE.sf2", help="rendered by FluidSynth with it")
    options = parser.parse_args()
    names = ("LUFS", "peak", "true", "onset", "end", "tail", "offset", ">15kHz")
    print(f"{'':>16}" + "".join(f"{name:>9}" for name in names))
    missed = 0
    for name, piece in pieces(options):
        with TemporaryDirectory() as folder:
            path = Path(folder, "a.wav")
            formats.save(piece, path, soundfont=options.soundfont)
            samples, rate = wav.decode(path.read_bytes())
        measured = measure(samples.astype(np.float64), piece, rate)
        missed += bool(measured.misses)
        print(f"{name:>16}" + "".join(f"{value:>9.2f}" for value in measured), end="  ")
        print(", ".join(measured.misses))
    sys.exit(f"{missed} miss a target" if missed else 0)


if __name__ == "__main__":
    main()
