"""Music kept to a key, a range, a meter and a number of bars: never a note outside them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generative
from generative.music import midi
from generative.music.theory import parse_key
from generative.sampling import BeamOptions, Request, SamplingOptions, beam_search, collect, sample
from generative.sampling.branching import METHODS
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.state import Bar, Clock
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import (
    DRUM_PROGRAMS,
    OFFSETS,
    is_measured_exactly,
)
from tests.chain import HistoryStepper
from tests.conftest import TUNES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.music.piece import Piece
    from generative.tokenizers.music.request import LimitedState

TOKENIZER = MusicTokenizer()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"key": "H minor"}, "C, F# or Bb, not 'H'"),
        ({"key": "D sideways"}, "key must be a tonic and a mode"),
        ({"key": [12]}, r"pitch classes must be among 0..11, not \[12\]"),
        ({"key": []}, "pitch classes must be among"),
        ({"pitch_range": "high"}, "a range must be like C3-C6 or 48-84, not 'high'"),
        ({"pitch_range": "C6-C3"}, "must rise within 0..127"),
        ({"pitch_range": (0, 128)}, "must rise within 0..127"),
        ({"meter": "3/5"}, "meter must be like 3/4"),
        ({"meter": "waltz"}, "meter must be like 3/4"),
        ({"key": "C", "pitch_range": (49, 59)}, "no pitch can be played"),
    ],
)
def test_limits_that_mean_nothing_or_leave_nothing_are_refused(
    limits: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MusicLimits.of(**limits)


def test_no_limit_is_none() -> None:
    assert MusicLimits.of() is None


class Restless(HistoryStepper):
    """A model without sense that likes to move on, so that pieces stay short, and few drums."""

    def step(self, tokens: Any, state: Any) -> Any:
        logits, state = super().step(tokens, state)
        logits[:, OFFSETS["bar"]] += 6.0
        logits[:, OFFSETS["start"]] += 6.0
        logits[:, OFFSETS["position"] : OFFSETS["beats"]] += 1.5
        logits[:, OFFSETS["program"] + DRUM_PROGRAMS : OFFSETS["velocity"]] -= 4.0
        return logits.astype(np.float32), state


def drawn(
    count: int,
    bars: int | None,
    limits: MusicLimits,
    primer: list[int],
    stepper: HistoryStepper | None = None,
    **more: Any,
) -> list[Piece]:
    grammar = MusicGrammar(TOKENIZER, bars=bars, limits=limits)
    request = Request(
        max_new_tokens=300 if bars is None else 3000,
        seed=1,
        num_return_sequences=count,
        end_id=TOKENIZER.start_id,
        constraint=grammar,
        constraint_state=grammar.resume(primer),
    )
    options = SamplingOptions(**more)
    prompt = [TOKENIZER.start_id, *primer]
    stepper = stepper or Restless(TOKENIZER.vocab_size)
    made = collect(sample(stepper, prompt, request, options), count)
    best = replace(request, seed=0, num_return_sequences=4)
    for method in METHODS:
        beams = BeamOptions(num_beams=4, beam_method=method)
        made += beam_search(stepper, [prompt], beams, best, options)[0]
    assert bars is None or {one.finish_reason for one in made} == {"end"}
    return [TOKENIZER.decode([*primer, *one.tokens]) for one in made]


def pitches(piece: Piece) -> NDArray[np.int64]:
    found = [n.pitch for t in piece.tracks if not t.is_drum for n in t.notes]
    return np.array(found, dtype=np.int64)


@pytest.mark.parametrize(
    ("bars", "words", "more"),
    [
        (1, {"key": "D minor", "pitch_range": "C3-C6", "meter": "3/4"}, {}),
        (2, {"key": [7], "pitch_range": (60, 72)}, {"top_p": 0.9, "temperature": 1.5}),
        (3, {"meter": "12/4"}, {"xtc_probability": 0.3}),
        (None, {"pitch_range": (127, 127), "meter": "7/8"}, {"min_p": 0.02}),
    ],
)
def test_no_draw_and_no_beam_leaves_its_limits(
    bars: int | None, words: dict[str, Any], more: dict[str, Any]
) -> None:
    limits = MusicLimits.of(**words)
    assert limits is not None
    made = drawn(250, bars, limits, [], **more)
    assert sum(len(pitches(piece)) for piece in made) > 200
    for piece in made:
        assert limits.pitches[pitches(piece)].all()
        if limits.meter is not None:
            assert {(m.numerator, m.denominator) for m in piece.meters} == {limits.meter}
        if bars is not None:
            assert piece.bars == bars


def test_a_primer_is_free_and_what_follows_is_not() -> None:
    primer = TOKENIZER.encode(midi.read(TUNES / "slow_tide.mid"))
    before = TOKENIZER.decode(primer)
    limits = MusicLimits.of("C")
    assert limits is not None
    for piece in drawn(20, 2, limits, primer):
        assert piece.bars == before.bars + 2
        new = sorted(pitches(piece) % 12)
        for old in pitches(before) % 12:
            new.remove(old)
        assert set(new) <= {0}


def test_a_primer_in_another_meter_is_refused() -> None:
    primer = TOKENIZER.encode(midi.read(TUNES / "slow_tide.mid"))
    grammar = MusicGrammar(TOKENIZER, limits=MusicLimits.of(meter="7/8"))
    with pytest.raises(ValueError, match="another meter"):
        grammar.resume(primer)


def test_bars_that_cannot_be_counted_are_refused() -> None:
    assert is_measured_exactly(12, 4)
    assert not is_measured_exactly(7, 64)
    MusicGrammar(TOKENIZER, limits=MusicLimits.of(meter="7/64"))
    with pytest.raises(ValueError, match="bars of 7/64 are no whole steps"):
        MusicGrammar(TOKENIZER, bars=1, limits=MusicLimits.of(meter="7/64"))


@settings(max_examples=40)
@given(
    st.frozensets(st.integers(0, 11), min_size=1),
    st.tuples(st.integers(0, 127), st.integers(0, 127)).map(sorted),
    st.integers(0, 2**32 - 1),
)
def test_there_are_no_dead_ends(classes: frozenset[int], span: list[int], seed: int) -> None:
    """A walk through a hundred evenly drawn tokens can always go on."""
    try:
        limits = MusicLimits.of(classes, (span[0], span[1]), (3, 4))
    except ValueError as error:
        assert "no pitch can be played" in str(error)  # noqa: PT017
        return
    grammar = MusicGrammar(TOKENIZER, bars=3, limits=limits)
    rng = np.random.default_rng(seed)
    state = grammar.start()
    for _ in range(100):
        choices = np.flatnonzero(grammar.allowed(state))
        assert choices.size
        types = np.searchsorted(list(OFFSETS.values()), choices, side="right")
        drawn_type = rng.choice(np.unique(types))  # So that rare types get their turn.
        state = grammar.advance(state, int(rng.choice(choices[types == drawn_type])))


def test_music_models_take_limits_and_count_bars() -> None:
    chorales = generative.load("chorales")
    assert isinstance(chorales, generative.MusicModel)
    piece = chorales.generate(bars=1, key="G major", pitch_range="C3-A5", meter="4/4", seed=1).piece
    assert piece.bars == 1
    assert set(pitches(piece) % 12) <= parse_key("G major")
    assert 48 <= pitches(piece).min() <= pitches(piece).max() <= 81
    with pytest.raises(ValueError, match="4 bars did not fit in 20 tokens"):
        chorales.generate(bars=4, max_new_tokens=20, seed=1)


def test_progress_is_that_of_bars_or_seconds() -> None:
    counted = MusicGrammar(TOKENIZER, bars=2)
    begun = counted.start()
    assert counted.progress(begun) == 0

    def at(bars_left: int, bar: Bar) -> LimitedState:
        music, progress = begun.music._replace(bar=bar), begun.progress
        return begun._replace(music=music, progress=progress._replace(bars_left=bars_left))

    assert counted.progress(at(1, Bar(part_steps=96, position=48))) == 0.25
    assert counted.progress(at(1, Bar(part_steps=96, part=1, parts=2))) == 0.25
    assert counted.progress(at(0, Bar(part_steps=96))) == 0.5
    timed = MusicGrammar(TOKENIZER, seconds=4.0)
    music = timed.start().music._replace(clock=Clock(seconds=3.0))
    assert timed.progress(timed.start()._replace(music=music)) == 0.75
    free = MusicGrammar(TOKENIZER)
    assert free.progress(free.start()) is None
