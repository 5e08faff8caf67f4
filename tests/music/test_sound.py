"""What a WAV holds is what the notes say: their pitches, at their times, and silence elsewhere."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from generative.music import midi
from generative.music.controls import EXPRESSION, PAN, VOLUME, bends, gains
from generative.music.piece import PITCH_BEND, SUSTAIN_PEDAL, Control, Note, Piece, Tempo, Track
from generative.music.sound import (
    SAMPLE_RATE,
    drums,
    fluidsynth,
    mixing,
    synth,
    timbres,
    timing,
    wav,
    write,
)
from generative.music.sound.loudness import loudness
from tests.pieces import note, piece_of, real_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sound: TypeAlias = "NDArray[np.floating[Any]]"

PADDING = 4  # times as long with zeros, for finer bins
LEAST = 0.5 / 32_767  # what 16 bits round to silence
SOUNDFONTS = sorted(Path("/usr/share/sounds/sf2").glob("Tim*.sf2"))
needs_fluidsynth = pytest.mark.skipif(
    not (SOUNDFONTS and shutil.which("fluidsynth")), reason="no FluidSynth or no soundfont"
)


def at_one_beat_a_second(*notes: Note, program: int = 0, is_drum: bool = False) -> Piece:
    """24 ticks are a second."""
    track = Track(program=program, is_drum=is_drum, notes=notes)
    tempo = Tempo(at_ticks=0, beats_per_minute=60.0)
    return Piece(ticks_per_beat=24, tracks=(track,), tempos=(tempo,)).normalised()


def mono(piece: Piece) -> Sound:
    return np.asarray(synth.render(piece).mean(axis=1))


def seconds(sound: Sound, begin: float, end: float) -> Sound:
    return sound[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def spectrum(sound: Sound) -> tuple[Sound, Sound]:
    """The frequencies, and how strong each is."""
    size = PADDING * len(sound)
    strength = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    return np.fft.rfftfreq(size, 1 / SAMPLE_RATE), strength


def strength_at(sound: Sound, pitch: int) -> float:
    """The strongest bin within a third of a semitone of a pitch."""
    frequencies, strength = spectrum(sound)
    near = np.abs(12 * np.log2(np.maximum(frequencies, 1) / synth.hertz(pitch))) < 1 / 3
    return float(strength[near].max())


def rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def test_a_pitch_is_its_frequency() -> None:
    assert synth.hertz(69) == 440.0
    assert synth.hertz(60) == pytest.approx(261.6256, abs=1e-4)


@pytest.mark.parametrize(("program", "step"), [(0, 1), (24, 7), (52, 7), (73, 7)])
def test_the_fundamental_is_the_strongest_over_the_whole_keyboard(program: int, step: int) -> None:
    """One scale from A0 to C8, a note a second."""
    keys = range(21, 109, step)
    scale = [note(24 * i, 12, key, 100) for i, key in enumerate(keys)]
    sound = mono(at_one_beat_a_second(*scale, program=program))
    for i, key in enumerate(keys):
        frequencies, strength = spectrum(seconds(sound, i, i + 0.5))
        strongest = frequencies[strength.argmax()]
        assert abs(12 * np.log2(strongest / synth.hertz(key))) < 1, key


@pytest.mark.parametrize("program", range(0, 128, 3))
def test_every_program_sounds_at_its_pitch_and_time(program: int) -> None:
    sound = mono(at_one_beat_a_second(note(24, 24, 69, 100), program=program))
    assert np.abs(seconds(sound, 0, 0.999)).max() < LEAST
    heard = seconds(sound, 1, 2)
    assert rms(heard) > 0.02
    others = max(strength_at(heard, pitch) for pitch in (67, 68, 70, 71))
    assert strength_at(heard, 69) > 5 * others
    assert not sound[-1]


def test_each_note_of_a_melody_begins_when_it_should() -> None:
    onsets = [0, 12, 24, 30, 36, 60, 61, 84]  # half a second, a quarter ...
    melody = [note(at, 6, 60 + 4 * i, 90) for i, at in enumerate(onsets)]
    sound = mono(at_one_beat_a_second(*melody))
    for i, at in enumerate(onsets):
        before = seconds(sound, at / 24 - 0.03, at / 24)
        after = seconds(sound, at / 24, at / 24 + 0.06)
        assert strength_at(after, 60 + 4 * i) > 3 * (strength_at(before, 60 + 4 * i) if at else 0)
        assert rms(seconds(sound, at / 24, at / 24 + 0.03)) > 0.01


def test_both_notes_of_a_chord_are_there_and_no_other() -> None:
    sound = seconds(mono(at_one_beat_a_second(note(0, 24, 60, 90), note(0, 24, 66, 90))), 0, 1)
    present = min(strength_at(sound, 60), strength_at(sound, 66))
    assert present > 20 * max(strength_at(sound, pitch) for pitch in (58, 62, 63, 64, 68, 70))


@pytest.mark.parametrize(
    ("program", "pitch", "strong", "weak"), [(52, 60, 4, 6), (68, 60, 4, 7), (70, 48, 4, 6)]
)
def test_formants_strengthen_the_partials_near_them(
    program: int, pitch: int, strong: int, weak: int
) -> None:
    """The 4th partial of C4 is at 1,046 Hz, that of C3 at 523 Hz."""
    timbre = timbres.timbre_of(program)
    struck = at_one_beat_a_second(note(0, 24, pitch, 127), program=program)
    frequencies, strength = spectrum(seconds(mono(struck), 0.3, 1))

    def heard(number: int) -> float:
        near = np.abs(frequencies / synth.hertz(pitch) - number) < 0.1
        return float(strength[near].max() / timbre.partials.levels[number - 1])

    hertz = synth.hertz(pitch) * np.array([strong, weak])
    expected = timbres.strengthened(timbre.formants, hertz) / np.hypot(1, hertz / synth.AIR_HERTZ)
    assert expected[0] > 1.2 * expected[1]
    assert heard(strong) / heard(weak) == pytest.approx(expected[0] / expected[1], rel=0.15)


def test_a_formant_has_half_of_its_gain_at_half_of_its_width() -> None:
    formant = timbres.Formant(1_000, 400, 2.0)
    factors = timbres.strengthened((formant,), np.array([1_000.0, 800.0, 1_200.0, 1e9]))
    assert factors.tolist() == pytest.approx([3.0, 2.0, 2.0, 1.0])


def test_silence_stays_silent() -> None:
    assert not synth.render(Piece(ticks_per_beat=24)).any()
    sound = mono(at_one_beat_a_second(note(0, 12), note(24 * 8, 12)))
    assert rms(seconds(sound, 4, 8)) < 1e-3 * rms(seconds(sound, 0, 0.5))


def test_velocity_is_loudness_and_brightness() -> None:
    soft, loud = note(0, 24, 48, 30), note(48, 24, 48, 120)
    sound = mono(at_one_beat_a_second(soft, loud))
    quiet, strong = seconds(sound, 0, 1), seconds(sound, 2, 3)
    assert rms(strong) > 4 * rms(quiet)
    bright = [strength_at(part, 48 + 24) / strength_at(part, 48) for part in (quiet, strong)]
    assert bright[1] > 1.5 * bright[0]


@pytest.mark.parametrize("program", [0, 16, 40, 88])
def test_nothing_clicks(program: int) -> None:
    """A low note has no place for steps, not even where it begins and where it is let go."""
    sound = mono(at_one_beat_a_second(note(2, 7, 33, 100), program=program))
    step = np.abs(np.diff(sound)).max() / np.abs(sound).max()
    assert step < 0.12


def test_drums_sound_when_struck_each_in_its_register() -> None:
    keys = (36, 38, 42, 49, 45)
    strokes = [note(24 * i, 6, key, 100) for i, key in enumerate(keys)]
    sound = mono(at_one_beat_a_second(*strokes, is_drum=True))
    centre = {}
    for i, key in enumerate(keys):
        heard = seconds(sound, i, i + 0.2)
        assert rms(heard) > 0.005
        frequencies, strength = spectrum(heard)
        centre[key] = float(np.sum(frequencies * strength**2) / np.sum(strength**2))
    assert centre[36] < 150
    assert centre[36] < centre[45] < centre[38] < centre[42]
    assert centre[42] > 5_000


@pytest.mark.parametrize("key", [*range(27, 88), 0, 127])
def test_every_drum_key_has_a_sound_of_its_length(key: int) -> None:
    stroke = drums.samples_of(key, SAMPLE_RATE)
    assert 0.15 < np.abs(stroke).max() < 2.0
    assert abs(stroke[0]) < 0.01 > abs(stroke[-1])


def test_a_closing_hi_hat_silences_the_open_one() -> None:
    struck = note(0, 6, 46, 100), note(4, 6, 42, 100)
    alone = mono(at_one_beat_a_second(struck[0], is_drum=True))
    closed = mono(at_one_beat_a_second(*struck, is_drum=True))
    assert rms(seconds(closed, 0.3, 0.5)) < 0.3 * rms(seconds(alone, 0.3, 0.5))


def test_instruments_stand_apart_and_basses_in_the_middle() -> None:
    tracks = tuple(Track(program=p, notes=(note(0, 24),)) for p in (0, 33, 40))
    left, bass, right = synth.default_pans(tracks)
    assert left < bass == 0.0 < right
    only_left = replace(piece_of(), tracks=(tracks[0], replace(tracks[2], notes=(note(240, 1),))))
    sides = np.square(synth.render(only_left)[:SAMPLE_RATE]).mean(axis=0)
    assert sides[0] > 2 * sides[1]


def test_a_loud_crowd_is_not_clipped() -> None:
    crowd = [note(24 * i, 24, pitch, 127) for i in range(3) for pitch in range(36, 96)]
    sound = synth.render(at_one_beat_a_second(*crowd, program=61))
    assert np.abs(sound).max() <= wav.PEAK * 1.0001
    assert loudness(sound, SAMPLE_RATE) == pytest.approx(mixing.LOUDNESS, abs=0.1)


def test_a_peak_is_pressed_down_and_the_rest_is_not() -> None:
    tone = 0.1 * np.sin(np.arange(SAMPLE_RATE) * 0.05).astype(np.float32)
    peak = tone.copy()
    peak[20_000:20_010] = 5.0
    made = np.stack([peak, peak], axis=1)
    mixing.master(made, SAMPLE_RATE)
    assert np.abs(made).max() == pytest.approx(wav.PEAK, rel=1e-4)
    calm = made[:15_000, 0] / tone[:15_000].clip(1e-9)
    assert np.abs(made[:15_000]).max() > 0.1  # without a limiter it would be 0.02
    assert np.median(calm[tone[:15_000] > 0.01]) == pytest.approx(
        np.abs(made[:15_000]).max() / 0.1, rel=0.01
    )


@pytest.mark.parametrize("velocity", [1, 30, 127])
@pytest.mark.parametrize(("program", "is_drum"), [(0, False), (19, False), (0, True)])
def test_everything_is_as_loud_and_nothing_is_clipped(
    program: int, is_drum: bool, velocity: int
) -> None:
    """Drums alone are nearly all peaks, so their loudness is met less exactly."""
    struck = [note(24 * i, 12, 38, velocity) for i in range(4)]
    sound = synth.render(at_one_beat_a_second(*struck, program=program, is_drum=is_drum))
    assert np.abs(sound).max() <= wav.PEAK * 1.0001
    assert loudness(sound, SAMPLE_RATE) == pytest.approx(mixing.LOUDNESS, abs=1 if is_drum else 0.1)


def pedal(at: int, value: int) -> Control:
    return Control(at_ticks=at, number=SUSTAIN_PEDAL, value=value)


def test_the_pedal_holds_what_is_let_go() -> None:
    """Down at 1 s, up at 3 s: what ends between sounds until then, or until it is struck again."""
    notes = note(0, 12, 60), note(0, 30, 64), note(30, 12, 67), note(60, 6, 67), note(90, 6, 64)
    melody = at_one_beat_a_second(*notes)
    track = replace(melody.tracks[0], controls=(pedal(24, 127), pedal(72, 0)))
    heard = timing.sounding(track, melody.tempo_map)
    assert heard[:, 1].tolist() == [0.5, 3.0, 2.5, 3.0, 4.0]
    assert timing.spans(track, melody.tempo_map)[:, 1].tolist() == [0.5, 1.25, 1.75, 2.75, 4.0]
    left_down = replace(track, controls=(pedal(24, 100),))
    assert timing.sounding(left_down, melody.tempo_map)[1, 1] == 90 / 24
    sound = mono(replace(melody, tracks=(track,)))
    assert strength_at(seconds(sound, 2, 2.5), 64) > 3 * strength_at(seconds(sound, 3.3, 3.7), 64)


def test_the_table_of_timbres_covers_every_program() -> None:
    firsts = [first for first, _ in timbres.BY_PROGRAM]
    assert firsts == sorted(set(firsts))
    assert firsts[0] == 0
    assert timbres.timbre_of(5) == timbres.ELECTRIC_PIANO
    assert timbres.timbre_of(127) == timbres.EFFECT
    for _, timbre in timbres.BY_PROGRAM:
        assert len(timbre.partials.levels) == len(timbre.partials.ratios)
        assert timbre.sustain or timbre.decay_per_second


@pytest.mark.parametrize("path", real_files("multitrack/freedoom", at_most=1))
def test_a_band_sounds_from_its_first_note_to_its_last(path: Path) -> None:
    piece = midi.read(path)
    piece = piece.clipped(round(piece.tempo_map.ticks_at(20)))
    sound = synth.render(piece)
    assert 0.1 < np.abs(sound).max() <= 1
    onsets = [n.onset_ticks for track in piece.tracks for n in track.notes]
    for ticks in (min(onsets), max(onsets)):
        begin = piece.tempo_map.seconds_at(ticks)
        assert np.abs(seconds(mono(piece), begin, begin + 0.3)).max() > 0.01


def test_a_wav_is_written_and_read_back(tmp_path: Path) -> None:
    piece = at_one_beat_a_second(note(0, 24, 60, 100))
    write.write_wav(piece, tmp_path / "a.wav")
    samples, rate = wav.decode((tmp_path / "a.wav").read_bytes())
    assert rate == 44_100
    assert np.abs(samples - synth.render(piece)).max() < 1 / 32_767
    with pytest.raises(ValueError, match="not a WAV file"):
        wav.decode(b"RIFF")


def test_an_hour_is_the_limit() -> None:
    with pytest.raises(ValueError, match="3601 s of music is longer than the 3600 s limit"):
        synth.render(at_one_beat_a_second(note(3600 * 24, 24)))


def test_a_soundfont_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font = tmp_path / "font.sf2"
    with pytest.raises(ValueError, match=r"font.sf2: cannot be read: No such file"):
        write.check(font)
    font.write_bytes(b"MThd, not a soundfont")
    with pytest.raises(ValueError, match=r"font.sf2: not a soundfont"):
        write.check(font)
    font.write_bytes(b"RIFF" + struct.pack("<I", 4) + b"sfbk")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="a soundfont needs FluidSynth: install it"):
        write.check(font)


@needs_fluidsynth
def test_fluidsynth_plays_through_a_soundfont(tmp_path: Path) -> None:
    melody = note(24, 24, 60, 100), note(48, 24, 67, 100)
    sound = fluidsynth.render(at_one_beat_a_second(*melody), SOUNDFONTS[0])[:, 0]
    assert rms(seconds(sound, 0, 0.9)) < 1e-3
    assert strength_at(seconds(sound, 1, 2), 60) > 5 * strength_at(seconds(sound, 1, 2), 67)
    assert strength_at(seconds(sound, 2, 3), 67) > 5 * strength_at(seconds(sound, 2, 3), 60)
    broken = tmp_path / "broken.sf2"
    broken.write_bytes(SOUNDFONTS[0].read_bytes()[:1000])
    with pytest.raises(RuntimeError, match=r"FluidSynth cannot play .*broken.sf2: SoundFont"):
        fluidsynth.render(at_one_beat_a_second(*melody), broken)


# ---- controls ----------------------------------------------------------------------------------


def control(at: int, number: int, value: int) -> Control:
    return Control(at_ticks=at, number=number, value=value)


def held(*controls: Control, program: int = 16, pitch: int = 60, beats: int = 4) -> Piece:
    """One note, a beat a second, of an organ, which sounds evenly."""
    piece = at_one_beat_a_second(note(0, 24 * beats, pitch, 100), program=program)
    return replace(piece, tracks=(replace(piece.tracks[0], controls=controls),))


def decibels(sound: Sound, reference: Sound) -> float:
    return float(20 * np.log10(rms(sound) / rms(reference)))


@pytest.mark.parametrize("number", [VOLUME, EXPRESSION])
@pytest.mark.parametrize(("value", "expected"), [(127, 0.0), (64, -11.9), (32, -23.9)])
def test_volume_and_expression_are_40_log_10(number: int, value: int, expected: float) -> None:
    """General MIDI 2: 64 is 11.9 dB below 127, also while the note sounds."""
    sound = mono(held(control(0, number, 127), control(48, number, value)))
    change = decibels(seconds(sound, 2.7, 3.9), seconds(sound, 0.7, 1.9))
    assert change == pytest.approx(expected, abs=0.35)  # reverb comes a little later


def test_a_fade_is_smooth() -> None:
    """From 127 to 0, a step of the controller four times a second."""
    fade = [control(6 * i, VOLUME, 127 - 8 * i) for i in range(16)]
    sound = mono(held(*fade, control(96, VOLUME, 0), beats=5))
    levels = [rms(seconds(sound, 0.25 * i + 0.02, 0.25 * i + 0.24)) for i in range(16)]
    assert all(after < before for before, after in pairwise(levels[1:]))
    steady = np.abs(np.diff(seconds(sound, 0.1, 0.2))).max()
    assert np.abs(np.diff(sound)).max() < 1.5 * steady  # nothing clicks


def test_what_is_muted_is_silent_and_the_others_are_as_loud() -> None:
    muted = Track(program=16, notes=(note(0, 24, 72, 100),), controls=(control(0, VOLUME, 0),))
    drums_muted = Track(is_drum=True, notes=(note(0, 1, 38),), controls=(control(0, VOLUME, 0),))
    alone = at_one_beat_a_second(note(0, 24, 60, 100))
    both = replace(alone, tracks=(*alone.tracks, muted, drums_muted))
    assert strength_at(mono(both), 72) == pytest.approx(strength_at(mono(alone), 72), rel=0.3)
    silent = replace(both, tracks=(muted, drums_muted))
    assert not synth.render(silent).any()


def test_pan_has_equal_power() -> None:
    def powers(value: int) -> list[float]:
        sound = synth.render(held(control(0, PAN, value), pitch=72))[:SAMPLE_RATE]
        return [rms(side) ** 2 for side in sound.T]

    left, right = powers(0)
    assert left > 8 * right  # reverb is on both sides
    left, right = powers(127)
    assert right > 8 * left
    middle = synth.render(held(pitch=60)), synth.render(held(control(0, PAN, 64), pitch=60))
    assert np.abs(middle[0] - middle[1]).max() < LEAST
    moving = synth.render(held(control(0, PAN, 0), control(48, PAN, 127)))
    before, after = moving[:SAMPLE_RATE], moving[5 * SAMPLE_RATE // 2 : 7 * SAMPLE_RATE // 2]
    assert rms(before[:, 0]) > 2.5 * rms(before[:, 1])
    assert rms(after[:, 1]) > 2.5 * rms(after[:, 0])


def test_pan_moves_a_whole_kit() -> None:
    struck = at_one_beat_a_second(note(0, 6, 42, 100), is_drum=True)  # a hi-hat, on the right
    track = replace(struck.tracks[0], controls=(control(0, PAN, 1),))
    sound = synth.render(replace(struck, tracks=(track,)))[: SAMPLE_RATE // 5]
    assert rms(sound[:, 0]) > 5 * rms(sound[:, 1])


@pytest.mark.parametrize(
    ("reach", "wheel", "semitones"),
    [((), 0x3FFF, 2), ((), 0, -2), ((), 0x3000, 1), ((5,), 0x3FFF, 5), ((5,), 0, -5)],
)
def test_a_bend_moves_the_pitch_while_it_sounds(
    reach: tuple[int, ...], wheel: int, semitones: int
) -> None:
    """Two semitones at either end, or what registered parameter 0 says."""
    parameter = [
        turned
        for semis in reach
        for turned in (control(0, 101, 0), control(0, 100, 0), control(0, 6, semis))
    ]
    sound = mono(held(*parameter, control(48, PITCH_BEND, wheel), pitch=69))
    before, after = seconds(sound, 0.2, 1.9), seconds(sound, 2.1, 3.9)
    assert strength_at(before, 69) > 20 * strength_at(before, 69 + semitones)
    assert strength_at(after, 69 + semitones) > 20 * strength_at(after, 69)


@pytest.mark.parametrize("program", [0, 16, 40])
def test_a_note_that_is_bent_all_the_time_is_another_note(program: int) -> None:
    bent = mono(held(control(0, PITCH_BEND, 0x1000), program=program, pitch=70))  # a semitone down
    plain = mono(held(program=program, pitch=69))
    assert rms(bent - plain) < 0.15 * rms(plain)


def test_reset_all_controllers_leaves_volume_and_pan() -> None:
    turned = tuple(control(0, n, v) for n, v in ((VOLUME, 50), (EXPRESSION, 50), (PITCH_BEND, 0)))
    track = Track(notes=(note(0, 99),), controls=(*turned, control(48, 121, 0)))
    assert gains(track)[-1] == (48, 0.25)
    assert bends(track) == [(0, -2.0), (48, 0.0)]
