"""Loudness as broadcasters measure it; how sound is made or mixed is not known here.

Source: ITU-R BS.1770-4 (2015), Algorithms to measure audio programme loudness and true-peak audio
level, annex 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The two filters of the K-weighting, (b0, b1, b2) over (1, a1, a2), for 48,000 samples a second:
# the effect of a head, and the low frequencies that ears hear less (tables 1 and 2).
K_WEIGHTING_RATE = 48_000
K_WEIGHTING = (
    (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (-1.69065929318241, 0.73248077421585),
    ),
    ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
)
OFFSET = -0.691  # With it a sine of 997 Hz at full scale on one side has -3.01 LUFS.
HOP_SECONDS = 0.1
HOPS_PER_BLOCK = 4  # Blocks of 400 ms overlap by three quarters.
ABSOLUTE_GATE = -70.0  # LUFS; blocks below it count as silence.
RELATIVE_GATE = -10.0  # LU from the loudness of the others; blocks below it are left out.
PART_HOPS = 40  # what is filtered at a time
SETTLED_HOPS = 2  # after which the filters have forgotten what was before: 38 Hz is the slowest


def loudness(sound: NDArray[np.floating[Any]], sample_rate: int) -> float:
    """The integrated loudness of samples (N, channels) in LUFS; -inf for silence.

    Gates are those of the sound with its peak at full scale, so a gain of 1 dB always adds 1 LU.
    """
    peak = float(np.abs(sound).max(initial=0.0))
    if not peak:
        return -np.inf
    energies = _energies(sound, sample_rate) / peak**2
    if len(energies) < HOPS_PER_BLOCK:
        energies = np.pad(energies, (0, HOPS_PER_BLOCK - len(energies)))
    blocks = np.convolve(energies, np.full(HOPS_PER_BLOCK, 1 / HOPS_PER_BLOCK), mode="valid")
    heard = blocks[_lufs(blocks) > ABSOLUTE_GATE]
    loud = heard[_lufs(heard) > _lufs(heard.mean()) + RELATIVE_GATE]
    return float(_lufs(loud.mean()) + 20 * np.log10(peak))


def _lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return OFFSET + 10 * np.log10(np.maximum(power, 1e-30))


def _energies(sound: NDArray[np.floating[Any]], sample_rate: int) -> NDArray[np.float64]:
    """The K-weighted power of each hop, added over the channels. (N, channels) -> (K,)"""
    hop = round(HOP_SECONDS * sample_rate)
    before = SETTLED_HOPS * hop
    size = (SETTLED_HOPS + PART_HOPS) * hop
    hertz = np.fft.rfftfreq(size, 1 / sample_rate).astype(np.float64)
    weights = _k_weighting(hertz)[:, None]
    energies = []
    for begin in range(0, len(sound), PART_HOPS * hop):
        part = np.zeros((size, sound.shape[1]))
        known = sound[max(begin - before, 0) : begin + PART_HOPS * hop]
        first = before - min(begin, before)
        part[first : first + len(known)] = known
        heard = np.fft.irfft(np.fft.rfft(part, axis=0) * weights, size, axis=0)[before:]
        heard = heard[: len(sound) - begin]
        heard = heard[: len(heard) - len(heard) % hop]  # (K * hop, channels)
        energies.append(np.square(heard).reshape(-1, hop, sound.shape[1]).mean(axis=1).sum(axis=1))
    return np.concatenate(energies)


def _k_weighting(hertz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The gain of the K-weighting at frequencies, whatever the sample rate of the sound."""
    delay = np.exp(-2j * np.pi * hertz / K_WEIGHTING_RATE)
    gain = np.ones(len(hertz), dtype=np.complex128)
    for (b0, b1, b2), (a1, a2) in K_WEIGHTING:
        gain *= (b0 + b1 * delay + b2 * delay**2) / (1 + a1 * delay + a2 * delay**2)
    return gain
