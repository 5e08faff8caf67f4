"""An additive synthesizer that renders a piece as stereo samples; files are not known here.

A partial is a damped oscillator, exp((-decay + 2 pi i f) t). Each later block of it is its first
block times one complex number, so a key costs one block of sines and then only matrix products.
Each key is computed in two layers, mellow and bright, which are mixed by velocity. A note that is
bent while it sounds is resampled from a key that is at least as high.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generative.music.controls import bends, gains, pans
from generative.music.sound import drums
from generative.music.sound.mixing import StereoMix, master
from generative.music.sound.timbres import MIDDLE_C_HERTZ, Timbre, strengthened, timbre_of
from generative.music.sound.timing import Automation, sounding, spans
from generative.music.sound.wav import SAMPLE_RATE, check_length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.music.piece import Piece, TempoMap, Track

BLOCK = 4096  # samples of a block of all oscillators, which fits the cache
NOTE_LEVEL = 0.32  # level of a melodic note relative to a drum
LOUDNESS_POWER = 1.6  # Amplitude is velocity to this power: about 40 dB from ppp to fff.
SILENCE = 1e-4  # of full scale, -80 dB
TREMOLO_HERTZ = 5.2
AIR_HERTZ = 5_000.0  # cut-off frequency of a low-pass filter on all instruments
ONSET_NOISE_SECONDS = 0.05
WIDTH = 0.55  # pan of the leftmost and the rightmost instrument
PAN_PER_SEMITONE = 0.006  # low keys are on the left, as for a pianist
BASS_PROGRAMS = range(32, 40)
DRUM_REVERB = 0.35

Samples = NDArray[np.float32]


class TrackControls(NamedTuple):
    """The controls of a track over time; `pan` is None if `default_pans` gives it."""

    gain: Automation
    pan: Automation | None
    bend: Automation  # in semitones


class KeyNote(NamedTuple):
    """A note of one key that is to be mixed.

    Attributes:
        begin_seconds: Its onset.
        seconds: Its duration.
        strength: Its velocity, 0..1.
        pan: -1 (left) to 1 (right), unless the controls set it.
        controls: The controls of its track.
        lowered: Semitones (0 or less) from the key whose samples are resampled to the unbent note;
            None if the bend does not change while it sounds.
    """

    begin_seconds: float
    seconds: float
    strength: float
    pan: float
    controls: TrackControls
    lowered: float | None


def hertz(pitch: float) -> float:
    """The frequency of a MIDI pitch, whole or not, in equal temperament, A4 = 69 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12.0))


def render(piece: Piece, sample_rate: int = SAMPLE_RATE) -> Samples:
    """The piece as stereo samples within `wav.PEAK`, as loud as `mixing.LOUDNESS`. -> (N, 2)

    Raises:
        ValueError: The piece lasts longer than an hour.
    """
    check_length(piece)
    mix = StereoMix(piece.seconds, sample_rate)
    for timbre, pitch, notes in _keys(piece):
        _mix_key(mix, timbre, pitch, notes)
    for track in piece.tracks:
        if track.is_drum:
            _mix_drums(mix, track, piece)
    sound = mix.sound()
    master(sound, sample_rate)
    return sound


def _keys(piece: Piece) -> Iterator[tuple[Timbre, float, list[KeyNote]]]:
    """Each key of each timbre with all its notes, since these share their samples."""
    keys: defaultdict[tuple[Timbre, float], list[KeyNote]] = defaultdict(list)
    for track, pan in zip(piece.tracks, default_pans(piece.tracks), strict=True):
        if track.is_drum:
            continue
        timbre = timbre_of(track.program)
        controls = _track_controls(track, piece.tempo_map)
        for note, (begin, end) in zip(track.notes, sounding(track, piece.tempo_map), strict=True):
            place = float(np.clip(pan + PAN_PER_SEMITONE * (note.pitch - 60), -1.0, 1.0))
            low, high = controls.bend.within(begin, end + timbre.release_seconds)
            raised = round(high, 2) if low == high else float(np.ceil(high))
            key_note = KeyNote(
                begin, end - begin, note.velocity / 127, place, controls,
                None if low == high else -raised,
            )  # fmt: skip
            keys[timbre, note.pitch + raised].append(key_note)
    for (timbre, pitch), notes in keys.items():
        yield timbre, pitch, notes


def _track_controls(track: Track, clock: TempoMap) -> TrackControls:
    pan = pans(track)
    return TrackControls(
        gain=Automation(gains(track), clock),
        pan=None if pan is None else Automation(pan, clock),
        bend=Automation(bends(track), clock),
    )


def default_pans(tracks: Sequence[Track]) -> list[float]:
    """The pan of each track, -1 (left) to 1 (right); basses and drums are in the middle."""
    middle = [track.is_drum or track.program in BASS_PROGRAMS for track in tracks]
    others = middle.count(False)
    spread = iter(np.linspace(-WIDTH, WIDTH, others).tolist() if others > 1 else [0.0])
    return [0.0 if central else next(spread) for central in middle]


def _mix_key(mix: StereoMix, timbre: Timbre, pitch: float, notes: list[KeyNote]) -> None:
    rate = mix.sample_rate
    held = max(note.seconds for note in notes)
    mellow, edge = _layers(timbre, hertz(pitch), held + timbre.release_seconds, rate)
    release = round(timbre.release_seconds * rate)
    fade = np.linspace(1.0, 0.0, release, endpoint=False, dtype=np.float32)
    fade *= np.exp(-5.0 * (1.0 - fade))
    for note in notes:
        begin, controls = note.begin_seconds, note.controls
        until = round(note.seconds * rate)
        gain = controls.gain.samples(begin, until + release, rate)
        if not gain.any():
            continue
        sound = mellow[: until + release] + edge[: until + release] * np.float32(note.strength)
        if note.lowered is not None:
            sound = _bent(sound, note.lowered + controls.bend.samples(begin, len(sound), rate))
        sound[until:] *= fade[: len(sound[until:])]
        level = NOTE_LEVEL * timbre.level * note.strength**LOUDNESS_POWER
        sound *= np.float32(level) * (gain if len(gain) == 1 else gain[: len(sound)])
        pan = controls.pan.samples(begin, len(sound), rate) if controls.pan else note.pan
        mix.add(sound, begin, pan, timbre.reverb)


def _bent(sound: Samples, semitones: Samples) -> Samples:
    """A sound (N,) lowered by `semitones` (N,), which are 0 or less. -> (N,)

    Values between samples are interpolated by a cubic through four samples (Catmull-Rom).
    """
    places = np.cumsum(2.0 ** (semitones.astype(np.float64) / 12))
    places -= places[0]
    before = places.astype(np.int64)
    part = (places - before).astype(np.float32)
    padded = np.pad(sound, (1, 2))
    a, b, c, d = (padded[before + i] for i in range(4))
    bent = b + 0.5 * part * (
        c - a + part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a))
    )
    return np.asarray(bent, dtype=np.float32)


def _layers(timbre: Timbre, frequency: float, seconds: float, sample_rate: int) -> Samples:
    """The mellow sound of a key, and what full velocity adds to it. -> (2, N)

    Partials near or above half the sample rate are left out; a sound that has decayed ends early.
    """
    levels, ratios = np.array(timbre.partials.levels), np.array(timbre.partials.ratios)
    audible = ratios * frequency < 0.45 * sample_rate
    ratios, levels = ratios[audible], levels[audible]  # (P,)
    levels = levels * strengthened(timbre.formants, ratios * frequency)
    levels = levels / np.hypot(1.0, ratios * frequency / AIR_HERTZ)
    decay = timbre.decay_per_second * (frequency / MIDDLE_C_HERTZ) ** 0.5 * ratios**0.7
    if not timbre.sustain and timbre.decay_per_second:
        seconds = min(seconds, -np.log(SILENCE) / decay.min())
    length = max(round(seconds * sample_rate), 1)

    loudness = np.sqrt(np.sum(levels**2))
    mellow = levels * ratios**-timbre.tilt / loudness
    weights = np.stack([mellow, levels / loudness - mellow])  # (2, P)
    partials = _modes(timbre, ratios * frequency, decay)
    modes = np.concatenate([mode for mode, _ in partials])  # (M,), M a multiple of P
    weights = np.concatenate([weights * part for _, part in partials], axis=1)  # (2, M)

    t = np.arange(min(BLOCK, length)) / sample_rate
    bank = np.exp(modes[:, None] * t)  # (M, BLOCK)
    bank = np.concatenate([bank.imag, bank.real]).astype(np.float32)
    out = np.empty((2, length), dtype=np.float32)
    for begin in range(0, length, BLOCK):
        turned = weights * np.exp(modes * (begin / sample_rate))  # (2, M)
        mix = np.concatenate([turned.real, turned.imag], axis=1).astype(np.float32)
        part = out[:, begin : begin + BLOCK]
        part[:] = mix @ bank[:, : part.shape[1]]
    _apply_onset(out, timbre, frequency, sample_rate)
    return out


def _modes(
    timbre: Timbre, frequencies: NDArray[np.float64], decay: NDArray[np.float64]
) -> list[tuple[NDArray[np.complex128], float]]:
    """Sets of oscillators -decay + 2 pi i f that together make a timbre, each with its weight.

    The sustained and the decaying part, two detuned copies, and tremolo as two sidebands are all
    sums of damped oscillators.
    """
    parts = [(decay, 1.0 - timbre.sustain), (0.0 * decay, timbre.sustain)]
    cents = timbre.detune_cents / 2
    copies = [(0.0, 1.0)] if not cents else [(-cents, 0.7), (cents, 0.3)]
    sidebands = [(0.0, 1.0)]
    if timbre.tremolo:
        sidebands += [(TREMOLO_HERTZ, timbre.tremolo / 2), (-TREMOLO_HERTZ, timbre.tremolo / 2)]
    return [
        (-fall + 2j * np.pi * (frequencies * 2.0 ** (offset / 1200) + shift), a * b * c)
        for fall, a in parts
        for offset, b in copies
        for shift, c in sidebands
        if a
    ]


def _apply_onset(layers: Samples, timbre: Timbre, frequency: float, sample_rate: int) -> None:
    """Apply the attack and the noise of the onset to the layers (2, N), in place."""
    length = layers.shape[1]
    attack = min(max(round(timbre.attack_seconds * sample_rate), 1), length)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(attack) / attack)
    layers[:, :attack] *= ramp.astype(np.float32)
    if timbre.onset_noise:
        count = min(round(6 * ONSET_NOISE_SECONDS * sample_rate), length)
        noise = np.random.default_rng(0).standard_normal(count)
        colour = max(
            round(sample_rate / (12 * frequency)), 1
        )  # The noise of higher notes is higher.
        noise = np.convolve(noise, np.full(colour, colour**-0.5), mode="same")
        t = np.arange(count) / sample_rate
        burst = timbre.onset_noise * noise * np.exp(-t / ONSET_NOISE_SECONDS)
        burst *= np.minimum(t / 0.004, 1.0) * (1.0 - t / (6 * ONSET_NOISE_SECONDS))
        layers[:, :count] += burst.astype(np.float32) * 0.5


def _mix_drums(mix: StereoMix, track: Track, piece: Piece) -> None:
    rate = mix.sample_rate
    times = spans(track, piece.tempo_map)[:, 0]
    controls = _track_controls(track, piece.tempo_map)
    next_in_group: dict[str, float] = {}
    for note, begin in reversed(list(zip(track.notes, times, strict=True))):
        drum = drums.drum_of(note.pitch)
        sound = drums.samples_of(note.pitch, rate)
        if drum.choke:
            cut = next_in_group.get(drum.choke, np.inf) - begin
            next_in_group[drum.choke] = begin
            if 0 < cut * rate < len(sound):
                sound = sound[: int(cut * rate)].copy()
                end = min(len(sound), round(0.005 * rate))
                sound[len(sound) - end :] *= np.linspace(1.0, 0.0, end, dtype=np.float32)
        strength = (note.velocity / 127) ** LOUDNESS_POWER
        gain = controls.gain.samples(begin, len(sound), rate)
        pan: float | Samples = drum.pan
        if controls.pan:  # The kit is panned as a whole and gets narrower towards either side.
            middle = controls.pan.samples(begin, len(sound), rate)
            pan = np.asarray(middle + drum.pan * (1 - np.abs(middle)), dtype=np.float32)
        mix.add(sound * (np.float32(strength) * gain), begin, pan, DRUM_REVERB)
