"""Voice leading: which pitches are forbidden where, and no parallels in whatever is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generative
from generative.music.piece import Piece, Track
from generative.music.quantise import PERFORMANCE
from generative.music.voice_leading import chord_changes
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.melody import MelodyGrammar, MelodyState
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import OFFSETS, token_id
from tests.api.test_music_control import LIKES, walk
from tests.pieces import note
from tests.tokenizers.music.test_limits import Restless, drawn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOKENIZER = MusicTokenizer()
LIMITS = MusicLimits(voice_leading=True)
SIGNATURE = [("beats", 4), ("unit", 4), ("tempo", 120)]
OPENING = [("bar", 0), ("position", 0), *SIGNATURE]
ALL = set(range(128))
# The pitches a fifth above or below 62, octaves added, and those of its pitch class.
FIFTHS_OF_62 = {69, 81, 93, 105, 117, 55, 43, 31, 19, 7}
OCTAVES_OF_62 = {2, 14, 26, 38, 50, 62, 74, 86, 98, 110, 122}


def entry(track: int, *pitches: int, program: int | None = 0) -> list[tuple[str, int]]:
    """The tokens of a track's quarter notes; its first ones also have a program and a velocity."""
    first = [] if program is None else [("program", program), ("velocity", 82)]
    kind = "drum" if program == 128 else "pitch"
    notes = [token for pitch in pitches for token in ((kind, pitch), ("duration", 24))]
    return [("track", track), *first, *notes]


def after(grammar: Any, state: Any, *tokens: list[tuple[str, int]]) -> Any:
    """The state after tokens; that of a track is left out where it is the current one."""
    for name, value in (token for several in tokens for token in several):
        music = (state.limited if isinstance(state, MelodyState) else state).music
        if (name, value) != ("track", music.moment.track):
            state = grammar.advance(state, token_id(name, value))
    return state


def pitches(grammar: Any, state: Any) -> set[int]:
    """The pitches that may come next."""
    mask = grammar.allowed(state)[OFFSETS["pitch"] : OFFSETS["pitch"] + 128]
    return set(np.flatnonzero(mask).tolist())


def free_at_beat(*tokens: list[tuple[str, int]], limits: MusicLimits = LIMITS) -> set[int]:
    """The pitches that may come after tokens; the last of these is that of a track."""
    grammar = MusicGrammar(TOKENIZER, limits=limits)
    return pitches(grammar, after(grammar, grammar.start(), OPENING, *tokens))


BEAT = [("position", 24)]


@pytest.mark.parametrize(
    ("own", "forbidden"),
    [
        (67, FIFTHS_OF_62),
        (79, FIFTHS_OF_62),
        (53, FIFTHS_OF_62),
        (48, OCTAVES_OF_62),
        (60, OCTAVES_OF_62),
        (50, set()),
        (65, set()),  # a fourth
        (55, set()),
        (68, set()),
    ],
)
def test_two_voices(own: int, forbidden: set[int]) -> None:
    before = [*entry(0, 60), *entry(1, own)]
    free = free_at_beat(before, BEAT, entry(0, 62, program=None), [("track", 1)])
    assert free == ALL - forbidden
    off = free_at_beat(
        before, BEAT, entry(0, 62, program=None), [("track", 1)], limits=MusicLimits()
    )
    assert off == ALL


def test_four_voices() -> None:
    """48, 60, 67, 72 go on to 50, 59, 64 and a last pitch."""
    before = [*entry(0, 48), *entry(1, 60), *entry(2, 67), *entry(3, 72), *BEAT]
    before += entry(0, 50, program=None)
    assert free_at_beat(before, [("track", 1)]) == ALL - OCTAVES_OF_62
    before += entry(1, 59, program=None)
    fifths_of_59 = {66, 78, 90, 102, 114, 126, 52, 40, 28, 16, 4}
    fifths_of_50 = {57, 69, 81, 93, 105, 117, 43, 31, 19, 7}
    assert free_at_beat(before, [("track", 2)]) == ALL - fifths_of_50 - fifths_of_59
    before += entry(2, 64, program=None)
    octaves_of_59 = {11, 23, 35, 47, 59, 71, 83, 95, 107, 119}
    assert free_at_beat(before, [("track", 3)]) == ALL - OCTAVES_OF_62 - octaves_of_59


HALF = [("position", 48)]
TWO = [*entry(0, 60), *entry(1, 67)]
MOVED = [*BEAT, *entry(0, 62, program=None)]
DRUMS = [("track", 0), ("drum", 62), ("duration", 24)]


@pytest.mark.parametrize(
    ("tokens", "forbidden"),
    [
        ([*TWO, *BEAT], set()),  # The other rests or is held.
        ([*TWO, *BEAT, *entry(0, 60, program=None)], set()),  # It is repeated.
        ([*TWO, *MOVED, *HALF], set()),  # It was earlier.
        ([*TWO, *BEAT, *entry(0, 74, program=None)], FIFTHS_OF_62 - {69}),  # 67 is no move.
        ([*entry(0, 60), *MOVED, *entry(1)], set()),  # The own voice is new.
        ([*entry(1, 67), *BEAT, *entry(0, 62)], set()),  # The other is new.
        ([*entry(0, 60, program=128), *entry(1, 67), *BEAT, *DRUMS], set()),  # Drums do not count.
        ([*TWO, ("bar", 0), *MOVED], FIFTHS_OF_62),  # After rests the last pitches count.
        # The other moves twice, and the pitch before its last onset counts.
        ([*TWO, *BEAT, *entry(0, 64, program=None), *HALF, *entry(0, 62, program=None)], set()),
        # A chord counts by its highest note.
        ([*entry(0, 55, 60), *entry(1, 67), *BEAT, *entry(0, 57, 62, program=None)], FIFTHS_OF_62),
        # Each note of a chord is compared with the pitch before the chord.
        ([*TWO, *MOVED, *entry(1, 66, program=None)], FIFTHS_OF_62 | set(range(67))),
    ],
)
def test_which_voices_have_moved(tokens: list[tuple[str, int]], forbidden: set[int]) -> None:
    assert free_at_beat(tokens, [("track", 1)]) == ALL - forbidden


def test_what_is_never_free_is_not_forbidden() -> None:
    """Of 62 and 69 the second is a parallel, so it may sound only where it is all that is left."""
    grammar = MusicGrammar(
        TOKENIZER, limits=MusicLimits.of(key=[2, 9], pitch_range=(62, 69), voice_leading=True)
    )
    primer = [token_id(*token) for token in [*OPENING, *TWO]]
    state = after(grammar, grammar.resume(primer), BEAT, entry(0, 62, program=None), [("track", 1)])
    assert pitches(grammar, state) == {62}
    assert pitches(grammar, after(grammar, state, [("pitch", 62), ("duration", 24)])) == {69}


@pytest.mark.parametrize("has_starts", [False, True])
def test_what_follows_a_primer_knows_its_voices(has_starts: bool) -> None:
    grammar = MusicGrammar(TOKENIZER, limits=LIMITS)
    primer = [token_id(*token) for token in [*OPENING, *entry(0, 60), *entry(2, 67)]]
    start = [TOKENIZER.start_id] * has_starts
    state = grammar.resume([*start, *primer])
    state = after(grammar, state, BEAT, entry(0, 62, program=None), [("track", 2)])
    assert pitches(grammar, state) == ALL - FIFTHS_OF_62
    # The primer may also be completed at its last step.
    state = grammar.resume(
        [*primer, *[token_id(*token) for token in [*BEAT, ("track", 0), *MOVED[2:]]]]
    )
    assert pitches(grammar, after(grammar, state, [("track", 2)])) == ALL - FIFTHS_OF_62


def test_a_performance_has_voices_too() -> None:
    grammar = MusicGrammar(MusicTokenizer(PERFORMANCE), limits=LIMITS)
    state = after(grammar, grammar.start(), SIGNATURE, TWO, [("shift", 50)])
    state = after(grammar, state, entry(0, 62, program=None), [("track", 1)])
    assert pitches(grammar, state) == ALL - FIFTHS_OF_62


def test_voices_are_kept_from_parallels_with_a_melody() -> None:
    track = Track(notes=(note(0, 24, 60, velocity=82), note(24, 24, 62, velocity=82)))
    grammar = MelodyGrammar(TOKENIZER, Piece(ticks_per_beat=24, tracks=(track,)), LIMITS)
    state = after(grammar, grammar.start(), OPENING, TWO, BEAT, entry(0, 62, program=None))
    assert pitches(grammar, after(grammar, state, [("track", 1)])) == ALL - FIFTHS_OF_62


def test_states_share_voices_and_do_not_change_them() -> None:
    grammar = MusicGrammar(TOKENIZER, limits=LIMITS)
    state = after(grammar, grammar.start(), OPENING, TWO, BEAT)
    for pitch, forbidden in ((62, FIFTHS_OF_62), (61, {p - 1 for p in FIFTHS_OF_62})):
        branch = after(grammar, state, entry(0, pitch, program=None), [("track", 1)])
        assert pitches(grammar, branch) == ALL - forbidden


# What no draw may break.

# Logits by which random pieces have several tracks at a step.
TOGETHER = LIKES.copy()
TOGETHER[OFFSETS["track"] : OFFSETS["program"]] = 7


class Chordal(Restless):
    """A model without sense that likes to play several tracks at a step."""

    def step(self, tokens: Any, state: Any) -> Any:
        logits, state = super().step(tokens, state)
        logits[:, OFFSETS["track"] : OFFSETS["program"]] += 8.0
        logits[:, OFFSETS["position"] : OFFSETS["beats"]] += 3.0
        return logits, state


def moves(piece: Piece) -> Iterator[tuple[int, list[tuple[int, int, list[int]]]]]:
    """The ticks at which tracks begin notes: for each the pitch before, and the pitches there."""
    last: dict[int, int] = {}
    notes = [
        (n.onset_ticks, number, n.pitch)
        for number, track in enumerate(piece.tracks)
        if not track.is_drum
        for n in track.notes
    ]
    for tick in sorted({onset for onset, _, _ in notes}):
        here: list[tuple[int, int, list[int]]] = []
        for number in range(len(piece.tracks)):
            chord = sorted(p for onset, track, p in notes if (onset, track) == (tick, number))
            if chord and number in last:
                here.append((number, last[number], chord))
            if chord:
                last[number] = chord[-1]
        yield tick, here


def is_bad(before: int, pitch: int, others: Iterable[tuple[int, int, list[int]]]) -> bool:
    """Whether the pitch is parallel with another voice."""

    def interval(one: int, other: int) -> int:
        return (max(one, other) - min(one, other)) % 12

    return pitch != before and any(
        chord[-1] != old and interval(before, old) == interval(pitch, chord[-1]) in (0, 7)
        for _, old, chord in others
    )


def parallels(piece: Piece, may_sound: Iterable[int] = range(128), since: int = 0) -> int:
    """How many pitches are parallel with a voice before them where another one might sound."""
    found = 0
    for tick, here in moves(piece):
        for index, (_, before, chord) in enumerate(here if tick >= since else []):
            for pitch, lower in zip(chord, [-1, *chord], strict=False):
                window = [p for p in may_sound if p > lower]
                is_free = any(not is_bad(before, p, here[:index]) for p in window)
                found += is_free and is_bad(before, pitch, here[:index])
    return found


def test_the_independent_count() -> None:
    tracks = [
        Track(notes=tuple(note(24 * i, 24, p) for i, p in enumerate(line)))
        for line in ([60, 62, 64], [67, 69, 71], [55, 57, 59])
    ]
    piece = Piece(ticks_per_beat=24, tracks=tuple(tracks))
    assert parallels(piece) == 4
    assert parallels(piece, since=25) == 2
    assert parallels(piece, may_sound=[69]) == 2  # It is parallel at the first move, then free.


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(48, 60), (0, 127), (120, 127)]),
    st.sampled_from([None, "D minor", "G", "C G"]),
    st.lists(st.sampled_from([0, 19, 40, 128]), min_size=2, max_size=5),
    st.integers(0, 999),
)
def test_no_draw_has_parallels(
    span: tuple[int, int], key: str | None, cast: list[int], seed: int
) -> None:
    limits = MusicLimits.of(key, span, instruments=cast, meter="3/4", voice_leading=True)
    assert limits is not None
    grammar = MusicGrammar(TOKENIZER, bars=3, limits=limits)
    rng = np.random.default_rng(seed)
    piece = TOKENIZER.decode(walk(grammar, grammar.start(), rng, likes=TOGETHER))
    assert not parallels(piece, np.flatnonzero(limits.pitches).tolist())


def test_no_sampler_and_no_beam_has_parallels() -> None:
    """Without the limit there are some."""
    free = MusicLimits.of("C G D", "C3-C5", "2/4", instruments="violin,viola,cello")
    assert free is not None
    may_sound = np.flatnonzero(free.pitches).tolist()
    stepper = Chordal(TOKENIZER.vocab_size)
    made = drawn(30, 4, free, [], stepper, top_p=0.9)
    assert sum(parallels(piece, may_sound) for piece in made) > 20
    made = drawn(30, 4, replace(free, voice_leading=True), [], stepper, top_p=0.9)
    assert not sum(parallels(piece, may_sound) for piece in made)


def test_models_take_voice_leading() -> None:
    chorales = generative.load("chorales")
    assert isinstance(chorales, generative.MusicModel)
    options: Any = {"bars": 4, "seed": 1, "num_return_sequences": 4}
    free = [one.piece for one in chorales.generate(**options).sequences]
    led = [one.piece for one in chorales.generate(voice_leading=True, **options).sequences]
    assert sum(chord_changes(piece).parallel for piece in free)
    assert not sum(chord_changes(piece).parallel for piece in led)
    assert [
        one.piece for one in chorales.generate(voice_leading=False, **options).sequences
    ] == free
    primer = free[0].excerpt(1, 1)
    piece = chorales.generate(primer, bars=1, voice_leading=True, seed=1).piece
    assert not parallels(piece, since=primer.bar_lines[-1])


def test_harmonising_takes_voice_leading(monkeypatch: pytest.MonkeyPatch) -> None:
    given_limits: list[MusicLimits | None] = []

    class Recorder(MelodyGrammar):
        def __init__(self, tokenizer: Any, melody: Piece, limits: MusicLimits | None) -> None:
            given_limits.append(limits)
            super().__init__(tokenizer, melody, limits)

    monkeypatch.setattr("generative.api.music_model.MelodyGrammar", Recorder)
    melody = Piece(ticks_per_beat=24, tracks=(Track(notes=(note(0, 24), note(24, 24, 62))),))
    chorales = generative.load("chorales")
    assert isinstance(chorales, generative.MusicModel)
    voices = chorales.harmonise(melody, instruments="viola", voice_leading=True, seed=1).piece
    assert not chord_changes(voices).parallel
    assert [limits and limits.voice_leading for limits in given_limits] == [True]
