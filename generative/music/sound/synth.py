"""The synthesizer: notes to samples, by timbres and drums; knows seconds and stereo, no files.

A partial is a damped oscillator, exp((-decay + 2 pi i f) t). A block of it further on is its first
block times one complex number, so a key costs one block of sines and then only matrix products.
Each key is computed twice, mellow and bright, and a note's velocity mixes the two. Where a wheel
bends a note while it sounds, it is read more slowly from a key that is at least as high.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generative.music.controls import bends, gains, pans
from generative.music.sound import drums
from generative.music.sound.room import Room, master
from generative.music.sound.timbres import MIDDLE_C_HERTZ, Timbre, timbre_of
from generative.music.sound.timing import Course, sounding, spans
from generative.music.sound.wav import SAMPLE_RATE, check_length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.music.piece import Piece, TempoMap, Track

BLOCK = 4096  # samples of a bank of oscillators, about what the cache holds
NOTE_LEVEL = 0.32  # of a melodic note beside a drum
LOUDNESS_POWER = 1.6  # amplitude ~ velocity ** this: about 40 dB between ppp and fff
SILENCE = 1e-4  # of full scale, -80 dB
TREMOLO_HERTZ = 5.2
AIR_HERTZ = 5_000.0  # above this no instrument has a body
BREATH_SECONDS = 0.05
WIDTH = 0.55  # how far left and right instruments sit
PAN_PER_SEMITONE = 0.006  # low keys left, as a pianist hears them
BASS_PROGRAMS = range(32, 40)

Samples = NDArray[np.float32]


class Player(NamedTuple):
    """How a track's controls stand while it plays."""

    gain: Course
    pan: Course | None  # None: where `places` puts it
    bend: Course  # in semitones


class Stroke(NamedTuple):
    """One note to mix: when, how hard, and where it stands, -1 left to 1 right."""

    begin_seconds: float
    seconds: float
    strength: float  # 0..1
    pan: float
    player: Player
    lowered: float | None  # semitones from the key whose samples are bent to the note unbent


def hertz(pitch: float) -> float:
    """The frequency of a MIDI pitch, whole or not, in equal temperament, A4 = 69 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12.0))


def render(piece: Piece, sample_rate: int = SAMPLE_RATE) -> Samples:
    """The piece as stereo samples within -1..1, its loudest at `wav.PEAK`. -> (N, 2)

    Raises:
        ValueError: it lasts longer than an hour.
    """
    check_length(piece)
    room = Room(piece.seconds, sample_rate)
    for timbre, pitch, strokes in _keys(piece):
        _play(room, timbre, pitch, strokes)
    for track in piece.tracks:
        if track.is_drum:
            _strike(room, track, piece)
    sound = room.sound()
    master(sound, sample_rate)
    return sound


def _keys(piece: Piece) -> Iterator[tuple[Timbre, float, list[Stroke]]]:
    """Each key of each timbre with all that is played on it, since these share their samples."""
    keys: defaultdict[tuple[Timbre, float], list[Stroke]] = defaultdict(list)
    for track, pan in zip(piece.tracks, places(piece.tracks), strict=True):
        if track.is_drum:
            continue
        timbre, player = timbre_of(track.program), _player(track, piece.tempo_map)
        for note, (begin, end) in zip(track.notes, sounding(track, piece.tempo_map), strict=True):
            place = float(np.clip(pan + PAN_PER_SEMITONE * (note.pitch - 60), -1.0, 1.0))
            low, high = player.bend.within(begin, end + timbre.release_seconds)
            raised = round(high, 2) if low == high else float(np.ceil(high))
            stroke = Stroke(
                begin, end - begin, note.velocity / 127, place, player,
                None if low == high else -raised,
            )  # fmt: skip
            keys[timbre, note.pitch + raised].append(stroke)
    for (timbre, pitch), strokes in keys.items():
        yield timbre, pitch, strokes


def _player(track: Track, clock: TempoMap) -> Player:
    pan = pans(track)
    return Player(
        gain=Course(gains(track), clock),
        pan=None if pan is None else Course(pan, clock),
        bend=Course(bends(track), clock),
    )


def places(tracks: Sequence[Track]) -> list[float]:
    """Where each track stands, -1 left to 1 right; basses and drums in the middle."""
    middle = [track.is_drum or track.program in BASS_PROGRAMS for track in tracks]
    others = middle.count(False)
    spread = iter(np.linspace(-WIDTH, WIDTH, others).tolist() if others > 1 else [0.0])
    return [0.0 if central else next(spread) for central in middle]


def _play(room: Room, timbre: Timbre, pitch: float, strokes: list[Stroke]) -> None:
    rate = room.sample_rate
    held = max(stroke.seconds for stroke in strokes)
    mellow, edge = _layers(timbre, hertz(pitch), held + timbre.release_seconds, rate)
    release = round(timbre.release_seconds * rate)
    fade = np.linspace(1.0, 0.0, release, endpoint=False, dtype=np.float32)
    fade *= np.exp(-5.0 * (1.0 - fade))
    for stroke in strokes:
        begin, player = stroke.begin_seconds, stroke.player
        until = round(stroke.seconds * rate)
        gain = player.gain.samples(begin, until + release, rate)
        if not gain.any():
            continue
        note = mellow[: until + release] + edge[: until + release] * np.float32(stroke.strength)
        if stroke.lowered is not None:
            note = _bent(note, stroke.lowered + player.bend.samples(begin, len(note), rate))
        note[until:] *= fade[: len(note[until:])]
        level = NOTE_LEVEL * timbre.level * stroke.strength**LOUDNESS_POWER
        note *= np.float32(level) * (gain if len(gain) == 1 else gain[: len(note)])
        pan = player.pan.samples(begin, len(note), rate) if player.pan else stroke.pan
        room.add(note, begin, pan, timbre.echo)


def _bent(sound: Samples, semitones: Samples) -> Samples:
    """A sound (N,) that much higher, by which it must not be higher anywhere: (N,), 0 or less.

    Between samples it follows a cubic through the four that are next (Catmull-Rom).
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
    """A key's mellow sound, and what a hard stroke adds to it. -> (2, N)

    Partials above the hearing of the sample rate are left out; a sound that has died ends early.
    """
    levels, ratios = np.array(timbre.partials.levels), np.array(timbre.partials.ratios)
    audible = ratios * frequency < 0.45 * sample_rate
    ratios, levels = ratios[audible], levels[audible]  # (P,)
    levels = levels / np.hypot(1.0, ratios * frequency / AIR_HERTZ)
    decay = timbre.decay_per_second * (frequency / MIDDLE_C_HERTZ) ** 0.5 * ratios**0.7
    if not timbre.hold and timbre.decay_per_second:
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
    _speak(out, timbre, frequency, sample_rate)
    return out


def _modes(
    timbre: Timbre, frequencies: NDArray[np.float64], decay: NDArray[np.float64]
) -> list[tuple[NDArray[np.complex128], float]]:
    """Sets of oscillators -decay + 2 pi i f that together sound a timbre, each with its part.

    What is held and what fades, two players a little apart, and tremolo as two sidebands: these
    are all sums of damped oscillators.
    """
    parts = [(decay, 1.0 - timbre.hold), (0.0 * decay, timbre.hold)]
    cents = timbre.detune_cents / 2
    players = [(0.0, 1.0)] if not cents else [(-cents, 0.7), (cents, 0.3)]
    sways = [(0.0, 1.0)]
    if timbre.tremolo:
        sways += [(TREMOLO_HERTZ, timbre.tremolo / 2), (-TREMOLO_HERTZ, timbre.tremolo / 2)]
    return [
        (-fall + 2j * np.pi * (frequencies * 2.0 ** (offset / 1200) + sway), a * b * c)
        for fall, a in parts
        for offset, b in players
        for sway, c in sways
        if a
    ]


def _speak(layers: Samples, timbre: Timbre, frequency: float, sample_rate: int) -> None:
    """Give a sound its beginning, in place: it swells without a click, with some noise."""
    length = layers.shape[1]
    attack = min(max(round(timbre.attack_seconds * sample_rate), 1), length)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(attack) / attack)
    layers[:, :attack] *= ramp.astype(np.float32)
    if timbre.breath:
        count = min(round(6 * BREATH_SECONDS * sample_rate), length)
        noise = np.random.default_rng(0).standard_normal(count)
        colour = max(round(sample_rate / (12 * frequency)), 1)  # higher notes hiss higher
        noise = np.convolve(noise, np.full(colour, colour**-0.5), mode="same")
        t = np.arange(count) / sample_rate
        burst = timbre.breath * noise * np.exp(-t / BREATH_SECONDS)
        burst *= np.minimum(t / 0.004, 1.0) * (1.0 - t / (6 * BREATH_SECONDS))
        layers[:, :count] += burst.astype(np.float32) * 0.5


def _strike(room: Room, track: Track, piece: Piece) -> None:
    rate = room.sample_rate
    times = spans(track, piece.tempo_map)[:, 0]
    player = _player(track, piece.tempo_map)
    next_in_group: dict[str, float] = {}
    for note, begin in reversed(list(zip(track.notes, times, strict=True))):
        drum = drums.drum_of(note.pitch)
        sound = drums.stroke(note.pitch, rate)
        if drum.choke:
            cut = next_in_group.get(drum.choke, np.inf) - begin
            next_in_group[drum.choke] = begin
            if 0 < cut * rate < len(sound):
                sound = sound[: int(cut * rate)].copy()
                end = min(len(sound), round(0.005 * rate))
                sound[len(sound) - end :] *= np.linspace(1.0, 0.0, end, dtype=np.float32)
        strength = (note.velocity / 127) ** LOUDNESS_POWER
        gain = player.gain.samples(begin, len(sound), rate)
        pan: float | Samples = drum.pan
        if player.pan:  # the whole kit moves, and is narrower at either side
            middle = player.pan.samples(begin, len(sound), rate)
            pan = np.asarray(middle + drum.pan * (1 - np.abs(middle)), dtype=np.float32)
        room.add(sound * (np.float32(strength) * gain), begin, pan, 0.35)
