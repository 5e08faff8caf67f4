"""Control of music: tempo, instruments, density, primers from any bar; never broken by any draw."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generative
from generative.api.music_model import MusicModel
from generative.music import midi
from generative.music.general_midi import INSTRUMENTS, instrument_number
from generative.music.keys import PROFILES, TONICS, detect_key
from generative.music.piece import Meter, Note, Piece, Tempo, Track
from generative.music.theory import MODES
from generative.sampling import BeamOptions, Request, SamplingOptions, beam_search, collect, sample
from generative.sampling.branching import METHODS
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits, parse_instruments
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import OFFSETS, VALUES, VOCAB_SIZE
from tests.chain import HistoryStepper
from tests.conftest import TUNES
from tests.pieces import note, piece_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKENIZER = MusicTokenizer()
METER = "3/4"  # of the tune that is continued
# Logits by which random pieces move on, though some token types have far more tokens than others.
LIKES = np.zeros(VOCAB_SIZE)
for name, like in {"bar": 5, "start": 6, "position": 2, "duration": 2, "program": -5}.items():
    LIKES[OFFSETS[name] : OFFSETS[name] + len(VALUES[name])] = like


# Names and keys.


def test_instruments_have_names_and_numbers() -> None:
    assert len(set(INSTRUMENTS)) == 128
    # the first of each of General MIDI's sixteen families
    firsts = {0: "Acoustic grand piano", 40: "Violin", 73: "Flute", 127: "Gunshot"}
    assert {number: INSTRUMENTS[number] for number in firsts} == firsts
    assert [instrument_number(INSTRUMENTS[i]) for i in range(128)] == list(range(128))
    assert parse_instruments("Piano, church  organ,33,drums") == (0, 19, 33, 128)
    assert parse_instruments([40, "cello"]) == (40, 42)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("pinao", "did you mean 'piano'"),
        ("nylon", r"did you mean 'acoustic guitar \(nylon\)'"),
        ("129", "no instrument '129': give a General MIDI name, a number 0..127, or drums$"),
        ("", "no instrument ''"),
        ([], "instruments must be 1 to 64, not 0"),
    ],
)
def test_unknown_instruments_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_instruments(wrong)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"tempo": 15}, r"tempo must be a whole number in 16..320, not 15"),
        ({"tempo": 92.5}, "tempo must be a whole number"),
        ({"density": 0.1}, "density must be 0.25 to 24 notes a quarter note, not 0.1"),
        ({"density": float("nan")}, "density must be"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MusicLimits.of(**limits)


@pytest.mark.parametrize("mode", PROFILES)
@pytest.mark.parametrize("tonic", range(12))
def test_a_cadence_is_in_its_key(mode: str, tonic: int) -> None:
    third = MODES[mode][2]
    chords = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7)]
    notes = [note(24 * i, 24, 48 + tonic + p) for i, chord in enumerate(chords) for p in chord]
    assert detect_key(piece_of(*notes)) == f"{TONICS[tonic]} {mode}"


def test_silence_and_drums_have_no_key() -> None:
    drums = Track(is_drum=True, notes=(note(0, 24),))
    for piece in (Piece(ticks_per_beat=24), Piece(ticks_per_beat=24, tracks=(drums,))):
        with pytest.raises(ValueError, match="no key"):
            detect_key(piece)


# Excerpts.


def test_an_excerpt_is_cut_at_bar_lines() -> None:
    piece = replace(
        piece_of(note(0, 96, 60), note(90, 24, 62), note(110, 200, 64), note(400, 24, 65)),
        tempos=(Tempo(at_ticks=0, beats_per_minute=90.0), Tempo(at_ticks=50, beats_per_minute=60)),
        meters=(
            Meter(at_ticks=0, numerator=4, denominator=4),
            Meter(at_ticks=192, numerator=3, denominator=4),
        ),
    )
    assert piece.bar_lines == (0, 96, 192, 264, 336, 408)
    cut = piece.excerpt(2, 3)  # ticks 96 to 264
    assert cut.tracks[0].notes == (note(0, 18, 62), note(14, 154, 64))
    assert [(t.at_ticks, t.beats_per_minute) for t in cut.tempos] == [(0, 60)]
    assert [(m.at_ticks, m.numerator) for m in cut.meters] == [(0, 4), (96, 3)]
    assert piece.excerpt(1, 5) == piece.clipped(408)
    for first, last in ((0, 1), (2, 1), (1, 6)):
        with pytest.raises(ValueError, match="not among the 5 bars"):
            piece.excerpt(first, last)


# What no draw may break.


def walk(
    grammar: Any,
    state: Any,
    rng: np.random.Generator,
    at_most: int = 9000,
    likes: NDArray[np.float64] = LIKES,
) -> list[int]:
    """Tokens drawn from random logits that change at each step, until the end."""
    drawn: list[int] = []
    while len(drawn) < at_most:
        mask = grammar.allowed(state)
        choices = np.flatnonzero(mask)
        assert choices.size
        token = int(choices[(likes[choices] + rng.gumbel(size=choices.size)).argmax()])
        if token == TOKENIZER.start_id:
            return drawn
        state = grammar.advance(state, token)
        drawn.append(token)
    raise AssertionError("no end")


def programs(piece: Piece) -> Counter[int]:
    return Counter(track.program + 128 * track.is_drum for track in piece.tracks)


def onsets(piece: Piece) -> NDArray[np.int64]:
    return np.sort([n.onset_ticks for track in piece.tracks for n in track.notes])


def check_density(piece: Piece, limits: MusicLimits, begin: int, exempt: int) -> None:
    """At each onset and at the end, as many notes as an even pace has, within the slack."""
    assert limits.density is not None
    steps = onsets(piece)
    steps = steps[steps >= begin] - begin
    after = np.arange(1, len(steps) + 1)
    even = limits.density * steps / 24
    too_early = after > even + limits.density_slack + 1e-9
    assert too_early.sum() <= exempt
    before = np.searchsorted(steps, steps)
    assert (before >= even - limits.density_slack - 1e-9).all()


CAST = st.lists(st.sampled_from([0, 19, 33, 40, 128]), min_size=1, max_size=5)
LIMITS = st.builds(
    MusicLimits.of,
    key=st.none() | st.just("D minor"),
    pitch_range=st.none() | st.just("C3-C5"),
    meter=st.sampled_from(["3/4", "7/8", "12/4"]),
    tempo=st.none() | st.integers(16, 320),
    instruments=st.none() | CAST,
    density=st.none() | st.floats(0.25, 6) | st.floats(6, 24),
).filter(lambda limits: limits is not None)


@settings(max_examples=150, deadline=None)
@given(LIMITS, st.sampled_from([(1, None), (2, None), (None, 2.5), (2, 1.5)]), st.integers(0, 999))
def test_no_draw_breaks_a_limit(
    limits: MusicLimits, length: tuple[int | None, float | None], seed: int
) -> None:
    bars, seconds = length
    grammar = MusicGrammar(TOKENIZER, bars=bars, seconds=seconds, limits=limits)
    piece = TOKENIZER.decode(walk(grammar, grammar.start(), np.random.default_rng(seed)))
    if limits.tempo is not None:
        assert [t.beats_per_minute for t in piece.tempos] == [limits.tempo]
    if limits.instruments is not None:
        assert programs(piece) == Counter(limits.instruments)
    if limits.meter is not None:
        assert [(m.numerator, m.denominator) for m in piece.meters] == [limits.meter]
    sounding = [n.pitch for t in piece.tracks if not t.is_drum for n in t.notes]
    assert limits.pitches[sounding].all()
    if limits.density is not None:
        # a last bar has a note, and every instrument comes in, even where that is too many
        check_density(piece, limits, 0, 1 + len(limits.instruments or ()))
    if bars is not None and seconds is None:
        assert piece.bars == bars


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([None, 60, 200]),
    st.none() | CAST,
    st.none() | st.floats(0.5, 8),
    st.booleans(),
    st.integers(0, 999),
)
def test_what_follows_a_primer_is_kept_too(
    tempo: int | None, cast: list[int] | None, density: float | None, cut: bool, seed: int
) -> None:
    primer = TOKENIZER.encode(midi.read(TUNES / "slow_tide.mid").excerpt(1, 2))
    before = TOKENIZER.decode(primer)
    limits = MusicLimits.of(tempo=tempo, instruments=cast, density=density, meter=METER)
    grammar = MusicGrammar(TOKENIZER, bars=2, limits=limits)
    state = grammar.resume(primer, from_bar_line=cut)
    piece = TOKENIZER.decode([*primer, *walk(grammar, state, np.random.default_rng(seed))])
    assert piece.bars == before.bars + 2
    line = piece.bar_lines[before.bars]
    assert [t for t in piece.tempos if t.at_ticks < line and tempo] == list(before.tempos)[
        : len(before.tempos) * bool(tempo)
    ]
    if tempo is not None:
        assert piece.tempo_map.seconds_at(line + 24) - piece.tempo_map.seconds_at(
            line
        ) == pytest.approx(60 / tempo)
    new = [
        (t.program + 128 * t.is_drum, n)
        for t in piece.tracks
        for n in t.notes
        if n.onset_ticks >= before.duration_ticks
    ]
    if cast is not None:
        assert {program for program, _ in new} <= set(cast)
        assert not Counter(cast) - programs(piece)
    if cut or tempo is not None:
        assert all(n.onset_ticks >= line for _, n in new)


@pytest.mark.parametrize("more", [{}, {"top_p": 0.9, "temperature": 1.5}, {"xtc_probability": 0.3}])
def test_samplers_and_beams_keep_limits(more: dict[str, Any]) -> None:
    limits = MusicLimits.of(
        key="G major", tempo=90, instruments="violin,cello,drums", density=3, meter="3/4"
    )
    assert limits is not None
    grammar = MusicGrammar(TOKENIZER, bars=2, limits=limits)
    request = Request(
        max_new_tokens=2000,
        seed=1,
        num_return_sequences=100,
        end_id=TOKENIZER.start_id,
        constraint=grammar,
    )
    options = SamplingOptions(**more)
    stepper = HistoryStepper(VOCAB_SIZE)
    prompt = [TOKENIZER.start_id]
    made = collect(sample(stepper, prompt, request, options), 100)
    best = replace(request, seed=0, num_return_sequences=2)
    for method in METHODS:
        beams = BeamOptions(num_beams=4, beam_method=method)
        made += beam_search(stepper, [prompt], beams, best, options)[0]
    for one in made:
        piece = TOKENIZER.decode(one.tokens)
        assert programs(piece) == Counter({40: 1, 42: 1, 128: 1})
        assert (piece.bars, piece.tempos[0].beats_per_minute) == (2, 90)
        check_density(piece, limits, 0, 3)


# The model that ships.


@pytest.fixture(scope="module")
def chorales() -> MusicModel:
    loaded = generative.load("chorales")
    assert isinstance(loaded, MusicModel)
    return loaded


@pytest.mark.parametrize("density", [1.0, 6.0])
def test_density_is_followed(chorales: MusicModel, density: float) -> None:
    piece = chorales.generate(bars=8, density=density, meter="4/4", seed=1, temperature=0.8).piece
    assert piece.note_count / 32 == pytest.approx(density, abs=max(4, 2 * density) / 32 + 1e-9)


def test_density_in_words_is_that_of_the_primer(chorales: MusicModel) -> None:
    quarters = piece_of(*(note(24 * i, 24, 60 + i % 5) for i in range(32)))
    for word, notes in (("sparse", 16), ("normal", 32), ("dense", 48)):
        piece = chorales.generate(quarters, bars=8, density=word, seed=2).piece
        # it begins within the primer's last quarter, and may end with one note that has to be
        assert piece.note_count - 32 == pytest.approx(notes, abs=4 + 1.5 + 1)
    with pytest.raises(ValueError, match="a number or sparse, normal, dense, not 'much'"):
        chorales.generate(density="much")


def test_a_primer_keeps_its_instruments_and_tempo(chorales: MusicModel) -> None:
    theme = midi.read(TUNES / "slow_tide.mid")
    piece = chorales.generate(theme, primer_bars="3-4", bars=3, seed=1, temperature=0.8).piece
    before = chorales.tokenizer.normal_form(theme.excerpt(3, 4))
    assert piece.bars == 5
    assert programs(piece) == programs(before)
    assert piece.tempos == before.tempos
    assert piece.meters == before.meters
    assert piece.clipped(before.bar_lines[-1]) == before.clipped(before.bar_lines[-1])


def test_silent_bars_of_a_primer_count(chorales: MusicModel) -> None:
    theme = piece_of(note(0, 24, 60), note(400, 24, 62))
    piece = chorales.generate(theme, primer_bars=(1, 3), bars=1, seed=1).piece
    assert [n.onset_ticks for t in piece.tracks for n in t.notes if n.onset_ticks < 288] == [0]
    assert piece.bars == 4


def test_the_key_of_a_primer(chorales: MusicModel) -> None:
    theme = midi.read(TUNES / "slow_tide.mid")
    key = detect_key(theme)
    piece = chorales.generate(theme, bars=2, key="primer", seed=1).piece
    end = chorales.tokenizer.normal_form(theme).duration_ticks
    new = [n.pitch for t in piece.tracks for n in t.notes if n.onset_ticks >= end]
    scale = MusicLimits.of(key=key.replace("minor", "melodic minor"))
    assert new
    assert scale is not None
    assert scale.pitches[new].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"primer_bars": "1-2"}, "primer_bars says which bars of a primer: give one"),
        ({"key": "primer"}, "key 'primer' is the key of a primer"),
        (
            {"instruments": "piano,bass", "max_new_tokens": 12},
            "12 tokens were too few for Acoustic",
        ),
    ],
)
def test_what_cannot_be_met_is_said(
    chorales: MusicModel, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        chorales.generate(seed=1, **options)


@pytest.mark.parametrize("bars", ["x", "-", "3", "1-2-3"])
def test_primer_bars_are_like_5_8(chorales: MusicModel, bars: str) -> None:
    with pytest.raises(ValueError, match="primer bars must be like 5-8, -8 or 5-"):
        chorales.generate(piece_of(note(0, 24)), primer_bars=bars)


def test_a_primer_needs_notes(chorales: MusicModel) -> None:
    late = piece_of(Note(onset_ticks=200, duration_ticks=5, pitch=60, velocity=64))
    with pytest.raises(ValueError, match="bars 1-2 of the primer hold no notes"):
        chorales.generate(late, primer_bars="-2")


def test_limits_and_values_are_of_one_vocabulary() -> None:
    limits = MusicLimits.of(tempo=90)
    assert limits is not None
    assert limits.tempo_index is not None
    assert VALUES["tempo"][limits.tempo_index] == 90
