"""The music grammar as a constraint: whatever is drawn is a piece of the length asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from generative.music import midi
from generative.music.piece import PITCH_BEND, Piece
from generative.music.quantise import PERFORMANCE, quantised
from generative.sampling.processors import start_rows
from generative.sampling.step import LogitsPipeline
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import VOCAB_SIZE, token_id
from tests.pieces import note, piece_of, pieces

if TYPE_CHECKING:
    from generative.tokenizers.music.request import LimitedState

TOKENIZER = MusicTokenizer()
PLAYED = MusicTokenizer(PERFORMANCE)
BENT = MusicTokenizer(PERFORMANCE, [1, 64, PITCH_BEND])
tokenizers = st.sampled_from([TOKENIZER, PLAYED, BENT])
OPENING = [("bar", 0), ("position", 0), ("beats", 4), ("unit", 4), ("tempo", 120)]


@given(pieces, tokenizers)
def test_what_is_encoded_is_grammatical(piece: Piece, tokenizer: MusicTokenizer) -> None:
    assume(piece.normalised().seconds < 5 * 3600)  # where tokens end
    grammar = MusicGrammar(tokenizer)
    state = grammar.start()
    for token in [*tokenizer.encode(piece), tokenizer.start_id]:
        assert grammar.allowed(state)[token]
        state = grammar.advance(state, token)


def walk(
    grammar: MusicGrammar, state: LimitedState, seed: int, max_tokens: int = 3000
) -> list[int]:
    """Tokens drawn evenly from what is allowed, up to the end token."""
    rng = np.random.default_rng(seed)
    ids: list[int] = []
    while len(ids) < max_tokens:
        choices = np.flatnonzero(grammar.allowed(state))
        assert choices.size, "something may always come next"
        # A type of token is drawn first, so that rare types (bar, start) get their turn.
        types: dict[str, list[int]] = {}
        for choice in choices.tolist():
            types.setdefault(TOKENIZER.describe(choice).split()[0], []).append(choice)
        token = int(rng.choice(types[str(rng.choice(sorted(types)))]))
        if token == TOKENIZER.start_id:
            return ids
        ids.append(token)
        state = grammar.advance(state, token)
    return ids


seeds = st.integers(0, 2**32 - 1)


@given(seeds, tokenizers)
def test_whatever_is_drawn_is_a_piece_and_a_file(seed: int, tokenizer: MusicTokenizer) -> None:
    grammar = MusicGrammar(tokenizer)
    piece = tokenizer.decode(walk(grammar, grammar.start(), seed))
    assume(piece.note_count)  # a walk may be cut off before its first note
    assert midi.read(midi.to_bytes(piece)) == piece
    again = tokenizer.encode(piece)
    assert tokenizer.encode(tokenizer.decode(again)) == again
    assert quantised(piece, tokenizer.grid)[1].merged == 0


@given(seeds, st.floats(0.01, 12), st.booleans())
def test_seconds_bound_a_performance_and_are_filled(
    seed: int, seconds: float, has_primer: bool
) -> None:
    grammar = MusicGrammar(PLAYED, seconds=seconds)
    primer = PLAYED.encode(piece_of(note(0, 24), note(200, 24))) if has_primer else []
    begin = PLAYED.decode(primer).seconds
    ids = walk(grammar, grammar.resume(primer), seed)
    piece = PLAYED.decode([*primer, *ids])
    assert piece.note_count
    onsets = [n.onset_ticks for track in piece.tracks for n in track.notes]
    assert piece.tempo_map.seconds_at(max(onsets)) < begin + seconds + 0.002
    if len(ids) < 3000:  # it ended by itself: within the longest shift of the end
        state, _ = PLAYED.read([*primer, *ids])
        assert state.clock.seconds > begin + seconds - 1.0 - 1e-9


def test_a_performance_has_no_bars_to_count() -> None:
    with pytest.raises(ValueError, match="say how many seconds"):
        MusicGrammar(PLAYED, bars=4)


@given(seeds, st.integers(1, 5), st.booleans())
def test_bars_are_exact(seed: int, bars: int, has_primer: bool) -> None:
    grammar = MusicGrammar(TOKENIZER, bars=bars)
    primer = TOKENIZER.encode(piece_of(note(0, 24), note(200, 24))) if has_primer else []
    ids = walk(grammar, grammar.resume(primer), seed)
    assert TOKENIZER.decode([*primer, *ids]).bars == TOKENIZER.decode(primer).bars + bars


@given(seeds, st.floats(0.01, 12), st.booleans())
def test_seconds_bound_every_onset(seed: int, seconds: float, has_primer: bool) -> None:
    grammar = MusicGrammar(TOKENIZER, seconds=seconds)
    primer = TOKENIZER.encode(piece_of(note(0, 24), note(200, 24))) if has_primer else []
    begin = TOKENIZER.decode(primer).seconds
    ids = walk(grammar, grammar.resume(primer), seed)
    piece = TOKENIZER.decode([*primer, *ids])
    onsets = [n.onset_ticks for track in piece.tracks for n in track.notes]
    assert piece.tempo_map.seconds_at(max(onsets)) < begin + seconds + 1e-9


def test_the_last_bar_does_not_stay_silent() -> None:
    grammar = MusicGrammar(TOKENIZER, bars=1)
    state = grammar.start()
    for name, value in OPENING:
        state = grammar.advance(state, token_id(name, value))
    allowed = {TOKENIZER.describe(int(i)).split()[0] for i in grammar.allowed(state).nonzero()[0]}
    assert allowed == {"track"}


def test_a_primer_that_breaks_off_is_refused() -> None:
    with pytest.raises(ValueError, match="a primer ends with a whole note, not with 'pitch 60'"):
        MusicGrammar(TOKENIZER).resume(TOKENIZER.encode(piece_of(note(0, 24)))[:-1])


@pytest.mark.parametrize("limits", [{"bars": 0}, {"seconds": 0.0}])
def test_a_length_of_nothing_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not 0"):
        MusicGrammar(TOKENIZER, **limits)


def test_after_the_end_there_is_only_the_end() -> None:
    grammar = MusicGrammar(TOKENIZER)
    state = grammar.advance(grammar.resume(TOKENIZER.encode(piece_of(note(0, 24)))), 0)
    assert np.flatnonzero(grammar.allowed(state)).tolist() == [token_id("start")]


def test_allowed_and_advance_agree() -> None:
    grammar = MusicGrammar(TOKENIZER, bars=3)
    state = grammar.start()
    for token in walk(grammar, state, seed=7):
        mask = grammar.allowed(state)
        for other in range(VOCAB_SIZE):
            if mask[other]:
                grammar.advance(state, other)
            else:
                with pytest.raises(ValueError, match="cannot come here"):
                    grammar.advance(state, other)
        state = grammar.advance(state, token)


def test_the_grammar_keeps_up_with_a_small_model() -> None:
    grammar = MusicGrammar(TOKENIZER)
    states = [grammar.start()]
    for token in walk(grammar, states[0], seed=1, max_tokens=500):
        states.append(grammar.advance(states[-1], token))
    begin = time.process_time()
    for state in states:
        grammar.allowed(state)
    assert (time.process_time() - begin) / len(states) < 200e-6  # some 5 µs on an idle machine


def test_a_performance_goes_on_without_bars_from_a_bar_line() -> None:
    grammar = MusicGrammar(PLAYED, seconds=5.0)
    primer = PLAYED.encode(piece_of(note(0, 24), note(200, 24)))
    resumed = grammar.allowed(grammar.resume(primer, from_bar_line=True))
    assert not resumed[token_id("bar")]
    assert (resumed == grammar.allowed(grammar.resume(primer))).all()


@pytest.mark.parametrize(("bars", "expected"), [(1, "start"), (2, "bar")])
def test_a_piece_ends_where_the_model_wants_one_bar_too_many(bars: int, expected: str) -> None:
    grammar = MusicGrammar(TOKENIZER, bars=bars)
    state = grammar.start()
    first = [("track", 0), ("program", 0), ("velocity", 62), ("pitch", 60), ("duration", 24)]
    for token in [token_id(*word) for word in [*OPENING, *first]]:
        state = grammar.advance(state, token)
    logits = np.zeros((1, VOCAB_SIZE), np.float32)
    logits[0, token_id("bar")] = 20.0
    rows = start_rows((), [0], VOCAB_SIZE, [np.random.default_rng(0)], 1)
    weights = np.exp(LogitsPipeline((), grammar)(logits, rows, [state]).processed[0])
    assert weights[token_id(expected)] > 0.99 * weights.sum()
    assert (weights[token_id("start")] > 0) == (bars == 1)


def test_a_bar_that_density_forbids_for_now_does_not_end_the_piece() -> None:
    grammar = MusicGrammar(TOKENIZER, limits=MusicLimits(density=8.0))
    state = grammar.start()
    first = [("track", 0), ("program", 0), ("velocity", 62), ("pitch", 60), ("duration", 24)]
    for token in [token_id(*word) for word in [*OPENING, *first]]:
        state = grammar.advance(state, token)
    allowed = grammar.allowed(state)
    assert allowed[token_id("start")]
    assert not allowed[token_id("bar")]
    assert not grammar.fallback_tokens
