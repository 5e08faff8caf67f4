"""The timbres of instruments: partials and envelopes, by General MIDI program."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIDDLE_C_HERTZ = 261.63


class Partials(NamedTuple):
    """The sine waves that a pitch consists of, the fundamental first.

    Attributes:
        levels: Their amplitudes.
        ratios: Their frequencies as multiples of the fundamental.
    """

    levels: tuple[float, ...]
    ratios: tuple[float, ...]


class Formant(NamedTuple):
    """A range of frequencies that a body strengthens, whatever the pitch.

    Attributes:
        hertz: Its centre.
        width_hertz: The distance between the frequencies at which half of the gain is left.
        gain: What is added to partials at the centre, as a multiple of their levels.
    """

    hertz: float
    width_hertz: float
    gain: float


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """The sound of an instrument.

    Attributes:
        partials: The partials of a note of full velocity.
        formants: The ranges of frequencies in which partials are stronger.
        tilt: How much mellower a soft note is; its partials are weaker by `ratio ** tilt`.
        attack_seconds: The time of the attack.
        decay_per_second: The rate of decay of the fundamental of middle C; higher partials and
            notes decay faster.
        sustain: The part of a note that does not decay while it is held, 0..1.
        release_seconds: The time of the release.
        detune_cents: The distance of two detuned copies of the sound; 0 is a single one.
        tremolo: The depth of the tremolo, 0..1.
        onset_noise: The level of noise at the onset, as of a hammer, a bow or a breath.
        level: The gain relative to other timbres.
        reverb: The gain with which it is sent to the reverb.
    """

    partials: Partials
    formants: tuple[Formant, ...] = ()
    tilt: float = 0.8
    attack_seconds: float = 0.005
    decay_per_second: float = 0.0
    sustain: float = 0.0
    release_seconds: float = 0.15
    detune_cents: float = 0.0
    tremolo: float = 0.0
    onset_noise: float = 0.0
    level: float = 1.0
    reverb: float = 1.0


def harmonic(
    *levels: float, rolloff: float = 0.0, count: int = 0, stretch: float = 0.0
) -> Partials:
    """The partials of a string or a pipe.

    Beyond the levels given, partials up to number `count` fall from the last one by
    `1 / k ** rolloff`. `stretch` is the inharmonicity B of a stiff string, whose partial k has the
    ratio k * sqrt((1 + B k^2) / (1 + B)) (Fletcher & Rossing, The Physics of Musical Instruments,
    12.3).
    """
    given = len(levels)
    rest = (levels[-1] * (given / k) ** rolloff for k in range(given + 1, count + 1))
    levels = (*levels, *rest)
    numbers = range(1, len(levels) + 1)
    ratios = tuple(k * ((1 + stretch * k * k) / (1 + stretch)) ** 0.5 for k in numbers)
    return Partials(levels, ratios)


PIANO = Timbre(
    partials=harmonic(1.0, 0.62, 0.36, 0.26, 0.2, 0.14, rolloff=1.7, count=14, stretch=0.0004),
    tilt=1.1, attack_seconds=0.003, decay_per_second=1.1, release_seconds=0.3, detune_cents=0.7,
    onset_noise=0.05,
)  # fmt: skip
ELECTRIC_PIANO = Timbre(
    partials=Partials((1.0, 0.28, 0.1, 0.12, 0.05), (1, 2, 3, 7, 14)),
    tilt=1.0, attack_seconds=0.004,
    decay_per_second=0.9, release_seconds=0.25, detune_cents=1.5, tremolo=0.12,
)  # fmt: skip
HARPSICHORD = Timbre(
    partials=harmonic(1.0, 0.8, 0.7, 0.6, rolloff=1.0, count=18), tilt=0.25, attack_seconds=0.002,
    decay_per_second=1.6, release_seconds=0.15, onset_noise=0.05, level=0.7,
)  # fmt: skip
# ratios of free bars and tubes: Fletcher & Rossing, 19
GLOCKENSPIEL = Timbre(
    partials=Partials((1.0, 0.3, 0.12), (1, 2.76, 5.4)), attack_seconds=0.002, decay_per_second=1.6,
    release_seconds=1.5, level=0.7, reverb=1.5,
)  # fmt: skip
VIBRAPHONE = replace(
    GLOCKENSPIEL, partials=Partials((1.0, 0.22, 0.05), (1, 4, 10)),
    decay_per_second=0.9, tremolo=0.3,
    release_seconds=0.5,
)  # fmt: skip
MARIMBA = Timbre(
    partials=Partials((1.0, 0.25, 0.08), (1, 3.95, 9.2)),
    attack_seconds=0.002, decay_per_second=5.0,
    release_seconds=0.6, onset_noise=0.04,
)  # fmt: skip
XYLOPHONE = replace(MARIMBA, partials=Partials((1.0, 0.4, 0.2), (1, 3, 6.2)), decay_per_second=8.0)
TUBULAR_BELL = Timbre(
    partials=Partials((1.0, 0.25, 0.4, 0.3, 0.2, 0.15), (1, 0.5, 1.51, 2.01, 2.64, 3.3)), tilt=0.5,
    attack_seconds=0.003, decay_per_second=0.8, release_seconds=2.0, reverb=1.6, level=0.8,
)  # fmt: skip
ORGAN = Timbre(
    partials=harmonic(1.0, 0.55, 0.3, 0.32, 0.06, 0.14, 0.03, 0.16), tilt=0.2, attack_seconds=0.012,
    sustain=1.0, release_seconds=0.12, detune_cents=1.2, level=0.75, reverb=1.2,
)  # fmt: skip
REED_ORGAN = Timbre(
    partials=harmonic(1.0, 0.55, 0.5, 0.3, rolloff=1.2, count=12), tilt=0.3, attack_seconds=0.04,
    sustain=1.0, release_seconds=0.12, detune_cents=4.0, level=0.6,
)  # fmt: skip
NYLON_GUITAR = Timbre(
    partials=harmonic(1.0, 0.6, 0.3, 0.2, 0.12, 0.06, rolloff=1.6, count=12, stretch=0.0001),
    tilt=1.0, attack_seconds=0.003, decay_per_second=1.8, release_seconds=0.2, onset_noise=0.04,
)  # fmt: skip
STEEL_GUITAR = replace(
    NYLON_GUITAR,
    partials=harmonic(1.0, 0.75, 0.55, 0.4, 0.3, rolloff=1.2, count=16, stretch=0.0001),
    tilt=0.7, decay_per_second=1.5, detune_cents=0.8,
)  # fmt: skip
MUTED_GUITAR = replace(STEEL_GUITAR, decay_per_second=8.0, release_seconds=0.08)
OVERDRIVEN_GUITAR = Timbre(
    partials=harmonic(1.0, 0.7, 0.62, 0.4, 0.4, rolloff=0.9, count=18),
    tilt=0.3, attack_seconds=0.005,
    decay_per_second=1.0, sustain=0.55, release_seconds=0.12, detune_cents=3.0, level=0.55,
)  # fmt: skip
BASS = Timbre(
    partials=harmonic(1.0, 0.7, 0.4, 0.25, 0.12, rolloff=1.6, count=10),
    tilt=0.9, attack_seconds=0.005,
    decay_per_second=1.4, sustain=0.1, release_seconds=0.1, onset_noise=0.03, level=1.1, reverb=0.2,
)  # fmt: skip
SYNTH_BASS = replace(
    BASS, partials=harmonic(1.0, 0.6, 0.45, 0.35, rolloff=1.1, count=14),
    decay_per_second=2.5, sustain=0.3,
    onset_noise=0.0, level=1.0,
)  # fmt: skip
SOLO_STRINGS = Timbre(
    partials=harmonic(1.0, 0.6, 0.5, 0.35, 0.28, 0.2, rolloff=1.3, count=16), tilt=0.6,
    attack_seconds=0.07, sustain=1.0, release_seconds=0.18, tremolo=0.12, onset_noise=0.02,
    level=0.7, reverb=1.2,
)  # fmt: skip
PIZZICATO = replace(NYLON_GUITAR, decay_per_second=6.0, release_seconds=0.25)
HARP = replace(NYLON_GUITAR, decay_per_second=1.3, release_seconds=0.9, reverb=1.3)
TIMPANI = Timbre(
    partials=Partials((1.0, 0.6, 0.4, 0.25, 0.15), (1, 1.5, 1.99, 2.44, 2.9)), tilt=0.5,
    attack_seconds=0.004, decay_per_second=3.0, release_seconds=0.8, onset_noise=0.15, level=1.3,
    reverb=1.4,
)  # fmt: skip
ENSEMBLE = replace(
    SOLO_STRINGS, attack_seconds=0.09, release_seconds=0.35, detune_cents=7.0, tremolo=0.0,
    level=0.6,
)  # fmt: skip
# formants of the vowel in "father": Peterson & Barney (1952), Control Methods Used in a Study of
# the Vowels; weaker than a voice's, so that the fundamental stays the strongest
VOICES = Timbre(
    partials=harmonic(1.0, 0.6, 0.3, 0.2, 0.14, 0.1, rolloff=1.3, count=16),
    formants=(Formant(730, 300, 0.6), Formant(1_090, 300, 0.5), Formant(2_440, 500, 1.5)),
    tilt=0.5, attack_seconds=0.1,
    sustain=1.0, release_seconds=0.35, detune_cents=6.0, tremolo=0.06, onset_noise=0.02, level=0.75,
    reverb=1.5,
)  # fmt: skip
STAB = replace(ENSEMBLE, attack_seconds=0.006, decay_per_second=5.0, sustain=0.1, onset_noise=0.1)
BRASS = Timbre(
    partials=harmonic(1.0, 0.8, 0.65, 0.5, 0.35, 0.25, rolloff=1.5, count=14), tilt=1.2,
    attack_seconds=0.04, decay_per_second=3.0, sustain=0.8, release_seconds=0.12, onset_noise=0.02,
    level=0.6, reverb=1.1,
)  # fmt: skip
HORN = replace(
    BRASS,
    partials=harmonic(1.0, 0.55, 0.3, 0.15, 0.08, 0.04),
    attack_seconds=0.05,
    level=0.8,
    reverb=1.4,
)
BRASS_SECTION = replace(BRASS, detune_cents=5.0, attack_seconds=0.03, level=0.55)
SAX = Timbre(
    partials=harmonic(1.0, 0.7, 0.5, 0.35, 0.2, 0.18, rolloff=1.5, count=12), tilt=0.8,
    attack_seconds=0.03, decay_per_second=3.0, sustain=0.8, release_seconds=0.1, tremolo=0.1,
    onset_noise=0.05, level=0.65,
)  # fmt: skip
# formants of double reeds: Meyer, Acoustics and the Performance of Music, 3.3
OBOE = replace(
    SAX, partials=harmonic(1.0, 0.85, 0.8, 0.6, 0.35, rolloff=1.6, count=14), tilt=0.5,
    formants=(Formant(1_100, 500, 1.5), Formant(2_700, 900, 1.5)),
)  # fmt: skip
BASSOON = replace(OBOE, formants=(Formant(500, 300, 1.5), Formant(1_150, 500, 1.0)))
CLARINET = replace(
    SAX, partials=harmonic(1.0, 0.06, 0.6, 0.08, 0.35, 0.06, 0.2, 0.04, 0.1),
    onset_noise=0.03, tremolo=0.04,
    level=0.8,
)  # fmt: skip
FLUTE = Timbre(
    partials=harmonic(1.0, 0.35, 0.12, 0.05, 0.02), tilt=0.7, attack_seconds=0.05, sustain=1.0,
    release_seconds=0.12, tremolo=0.1, onset_noise=0.12, level=0.85, reverb=1.2,
)  # fmt: skip
WHISTLE = replace(FLUTE, partials=harmonic(1.0, 0.08, 0.02), onset_noise=0.06)
SQUARE_LEAD = Timbre(
    partials=harmonic(1.0, 0.0, 0.33, 0.0, 0.2, 0.0, 0.14, 0.0, 0.11, 0.0, 0.09), tilt=0.4,
    attack_seconds=0.006, sustain=1.0, release_seconds=0.1, detune_cents=3.0, level=0.7,
)  # fmt: skip
SAW_LEAD = replace(SQUARE_LEAD, partials=harmonic(1.0, rolloff=1.1, count=16), level=0.6)
PAD = Timbre(
    partials=harmonic(1.0, 0.5, 0.3, 0.18, 0.1, rolloff=1.8, count=9),
    tilt=0.5, attack_seconds=0.22,
    sustain=1.0, release_seconds=0.8, detune_cents=8.0, level=0.6, reverb=1.7,
)  # fmt: skip
SHIMMER = replace(
    TUBULAR_BELL,
    attack_seconds=0.02,
    detune_cents=6.0,
    decay_per_second=0.6,
    sustain=0.2,
    level=0.6,
)
SITAR = replace(STEEL_GUITAR, detune_cents=4.0, decay_per_second=1.2)
BANJO = replace(STEEL_GUITAR, decay_per_second=4.0, release_seconds=0.15, onset_noise=0.06)
BAGPIPE = replace(REED_ORGAN, level=0.5, detune_cents=6.0)
STEEL_DRUM = Timbre(
    partials=Partials((1.0, 0.6, 0.25, 0.15), (1, 2, 3, 4.1)), attack_seconds=0.003,
    decay_per_second=2.5, release_seconds=0.6, detune_cents=5.0,
)  # fmt: skip
TOM = Timbre(
    partials=Partials((1.0, 0.3, 0.15), (1, 1.59, 2.14)),
    attack_seconds=0.002, decay_per_second=6.0,
    release_seconds=0.4, onset_noise=0.15, level=1.2,
)  # fmt: skip
EFFECT = replace(PAD, onset_noise=0.4, level=0.4)

# (first program, the timbre from that program on)
BY_PROGRAM: tuple[tuple[int, Timbre], ...] = (
    (0, PIANO), (4, ELECTRIC_PIANO), (6, HARPSICHORD),
    (8, GLOCKENSPIEL), (11, VIBRAPHONE), (12, MARIMBA), (13, XYLOPHONE), (14, TUBULAR_BELL),
    (15, STEEL_GUITAR), (16, ORGAN), (20, REED_ORGAN),
    (24, NYLON_GUITAR), (25, STEEL_GUITAR), (28, MUTED_GUITAR), (29, OVERDRIVEN_GUITAR),
    (31, STEEL_GUITAR), (32, BASS), (38, SYNTH_BASS),
    (40, SOLO_STRINGS), (44, ENSEMBLE), (45, PIZZICATO), (46, HARP), (47, TIMPANI),
    (48, ENSEMBLE), (52, VOICES), (55, STAB),
    (56, BRASS), (60, HORN), (61, BRASS_SECTION),
    (64, SAX), (68, OBOE), (70, BASSOON), (71, CLARINET), (72, FLUTE), (78, WHISTLE),
    (80, SQUARE_LEAD), (81, SAW_LEAD), (82, FLUTE), (84, SAW_LEAD), (85, VOICES), (86, SAW_LEAD),
    (88, PAD), (96, SHIMMER), (97, PAD), (98, SHIMMER), (101, PAD),
    (104, SITAR), (105, BANJO), (107, NYLON_GUITAR), (108, MARIMBA), (109, BAGPIPE),
    (110, SOLO_STRINGS), (111, OBOE),
    (112, GLOCKENSPIEL), (114, STEEL_DRUM), (115, XYLOPHONE), (116, TOM), (119, EFFECT),
)  # fmt: skip


def strengthened(formants: tuple[Formant, ...], hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The factor of the level of a partial of each frequency. (P,) -> (P,)"""
    factor = np.ones(len(hertz))
    for formant in formants:
        distance = 2 * (hertz - formant.hertz) / formant.width_hertz
        factor += formant.gain / (1 + distance**2)
    return factor


def timbre_of(program: int) -> Timbre:
    """The timbre of a General MIDI program, 0..127."""
    return BY_PROGRAM[bisect_right(BY_PROGRAM, program, key=lambda row: row[0]) - 1][1]
