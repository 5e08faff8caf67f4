"""Context features: worked by hand, equal to the grammar's state, and the same however read."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generative.context import reader
from generative.context.features import FAMILIES, FEATURES, parse_names
from generative.context.operations import INTERPRETED, make
from generative.context.reader import Reader, reader_for, tables_for
from generative.context.records import BAR_BEGIN, BARS, CLASSES, CLOCK, NO_CONTEXT, PITCHES
from generative.errors import OptionError
from generative.music import midi
from generative.music.piece import Piece, Track
from generative.music.quantise import PERFORMANCE, SCORE
from generative.music.voice_leading import is_parallel
from generative.tokenizers.byte import ByteTokenizer
from generative.tokenizers.music import grammar
from generative.tokenizers.music.state import State
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.tokenizers.music.vocabulary import TOKEN_TYPES, token_id
from generative.tokenizers.music.voices import parallel_pitches, voices_of
from generative.training.batches import windows
from tests.conftest import TUNES
from tests.pieces import note, pieces
from tests.tokenizers.music.test_tokenizer import OPENING, ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

TOKENIZER = MusicTokenizer()
START = TOKENIZER.start_id
ALL = tuple(FEATURES)


def reader_of(*names: str) -> Reader:
    found = reader_for(TOKENIZER, names or ALL)
    assert found is not None
    return found


EVERYTHING = reader_of()


def values(ids: Sequence[int], names: Sequence[str] = ALL) -> NDArray[np.int64]:
    """The values of features after each token of a document, without offsets. -> (T, F)"""
    one = reader_of(*names)
    features, _ = one.read(np.array([START, *ids])[:, None], one.start(1))
    return features[1:, 0] - one.tables.offsets


def after(words: Sequence[str], *names: str) -> list[int]:
    """The values of features after the last word."""
    last: list[int] = values(ids_of(*words), names)[-1].tolist()
    return last


def first_note(track: int, pitch: int, duration: int) -> list[str]:
    return [f"track {track}", "program 0", "velocity 62", f"pitch {pitch}", f"duration {duration}"]


SHOWN = (
    "bar_position", "bar_number", "voice_0", "voice_1", "next_voice", "next_voice_pitch",
    "next_voice_interval", "parallel_0", "age_0", "remaining_0", "sounding_class_0",
    "sounding_class_5",
)  # fmt: skip
# Two voices a fifth apart move up by a tone; then the upper one moves alone.
TWO_VOICES: list[tuple[str, list[int]]] = [
    ("bar", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("position 0", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("beats 4", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("unit 4", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("tempo 120", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("track 0", [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("program 0", [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("velocity 62", [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("pitch 72", [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("duration 24", [1, 1, 201, 0, 0, 0, 0, 0, 1, 10, 1, 0]),
    ("track 1", [1, 1, 201, 0, 2, 0, 0, 0, 1, 10, 1, 0]),
    ("program 0", [1, 1, 201, 0, 2, 0, 0, 0, 1, 10, 1, 0]),
    ("velocity 62", [1, 1, 201, 0, 2, 0, 0, 0, 1, 10, 1, 0]),
    ("pitch 65", [1, 1, 201, 0, 2, 0, 0, 0, 1, 10, 1, 0]),
    ("duration 24", [1, 1, 201, 194, 0, 0, 0, 0, 1, 10, 1, 1]),
    ("position 24", [25, 1, 73, 66, 1, 73, 0, 0, 10, 1, 0, 0]),
    ("track 0", [25, 1, 73, 66, 1, 73, 0, 0, 10, 1, 0, 0]),
    ("pitch 74", [25, 1, 73, 66, 1, 73, 0, 0, 10, 1, 0, 0]),
    # 67 in the lower voice would be a fifth below 74, as 65 was below 72.
    ("duration 24", [25, 1, 203, 66, 2, 66, 0, 68, 1, 10, 0, 0]),
    ("track 1", [25, 1, 203, 66, 2, 66, 0, 68, 1, 10, 0, 0]),
    ("pitch 67", [25, 1, 203, 66, 2, 66, 0, 68, 1, 10, 0, 0]),
    ("duration 72", [25, 1, 203, 196, 0, 0, 0, 0, 1, 10, 0, 0]),
    ("position 48", [49, 1, 75, 196, 1, 75, 15, 0, 10, 1, 0, 0]),
    ("track 0", [49, 1, 75, 196, 1, 75, 15, 0, 10, 1, 0, 0]),
    ("pitch 71", [49, 1, 75, 196, 1, 75, 15, 0, 10, 1, 0, 0]),
    ("duration 48", [49, 1, 200, 196, 0, 0, 0, 0, 1, 12, 0, 0]),
    ("bar", [1, 2, 72, 68, 1, 72, 10, 0, 12, 1, 0, 0]),
]


def test_two_voices_worked_by_hand() -> None:
    ids = ids_of(*(word for word, _ in TWO_VOICES))
    TOKENIZER.decode(ids)  # The grammar allows them.
    for (word, expected), found in zip(TWO_VOICES, values(ids, SHOWN).tolist(), strict=True):
        assert dict(zip(SHOWN, found, strict=True)) == dict(zip(SHOWN, expected, strict=True)), word


@pytest.mark.parametrize(
    ("moving", "target", "held", "expected"),
    [
        (72, 74, 60, 62),  # an octave below
        (72, 71, 72, 71),  # a unison
        (48, 50, 67, 69),  # a twelfth above
        (72, 74, 67, None),  # a fourth below
        (48, 50, 53, None),  # a fourth above
        (72, 74, 68, None),  # a third
        (72, 72, 65, None),  # the first voice repeats its note
    ],
)
def test_parallel_motion(moving: int, target: int, held: int, expected: int | None) -> None:
    words = [
        "bar", *OPENING[1:], *first_note(0, moving, 24), *first_note(1, held, 24), "position 24",
        "track 0", f"pitch {target}", "duration 24",
    ]  # fmt: skip
    names = [f"parallel_{index}" for index in range(4)]
    assert after(words, *names) == [0 if expected is None else 1 + expected, 0, 0, 0]


distances = st.sampled_from([-19, -12, -7, -5, 0, 5, 7, 12, 19]) | st.integers(-24, 24)


@given(before=st.integers(24, 103), distance=distances, move=st.integers(-24, 24))
@example(before=67, distance=-7, move=2)
def test_the_rule_of_parallels_is_that_of_voice_leading(
    before: int, distance: int, move: int
) -> None:
    own, other = before + distance, before + move
    words = [
        *OPENING, *first_note(0, before, 24), *first_note(1, own, 24), "position 24", "track 0",
        f"pitch {other}", "duration 24", "track 1",
    ]  # fmt: skip
    (found,) = after(words, "parallel_0")
    target = own + move
    may_be = move != 0 and 0 <= target < PITCHES
    is_expected = may_be and is_parallel((own, target), (before, other))
    assert found == (1 + target if is_expected else 0)
    state, ids = State(), ids_of(*words)
    mask = parallel_pitches(voices_of(ids, state), reduce(grammar.advance, ids, state))
    forbidden = () if mask is None else np.flatnonzero(mask)
    assert (target in forbidden) == is_expected or not may_be


def test_the_next_end() -> None:
    opening = ids_of(*OPENING)
    assert values(opening, ["next_end"])[:, 0].tolist() == [0] * len(opening)
    held = [*OPENING, *first_note(0, 72, 48), *first_note(1, 65, 24)]
    assert after(held, "next_end") == [25]
    assert after([*held, "position 24"], "next_end") == [49]
    assert after([*held, "position 48"], "next_end") == [0]
    assert after([*OPENING, *first_note(0, 72, 96)], "next_end") == [193]  # with the next bar


def test_the_index_of_parallel_motion_skips_the_next_voice() -> None:
    words = [
        *OPENING, *first_note(0, 72, 24), *first_note(1, 65, 24), *first_note(2, 53, 24),
        "position 24", "track 1", "pitch 64", "duration 24", "track 2",
    ]  # fmt: skip
    assert after(words, "next_voice", "parallel_0", "parallel_1", "parallel_2") == [3, 0, 53, 0]


def test_a_long_note_ends_after_its_extensions() -> None:
    words = [*OPENING, *first_note(0, 60, 5)]
    words[-1:] = ["long", "long", "duration 5"]
    assert after(words, "remaining_0", "voice_0") == [16, 189]
    bars = ["bar", "bar"]
    assert after([*words, *bars, "position 4"], "voice_0", "remaining_0") == [189, 2]
    assert after([*words, *bars, "position 5"], "voice_0", "remaining_0") == [61, 1]


def test_the_notes_of_a_chord_have_one_pitch_before_them() -> None:
    chord = [*first_note(0, 60, 24), "pitch 64", "duration 24"]
    second = ["position 24", "pitch 62", "duration 24", "pitch 67", "duration 24", "position 48"]
    found = after([*OPENING, *chord, *second], "voice_0", "next_voice_interval")
    assert found == [1 + 67, 13 + 3]


def test_drums_have_pitches_but_sound_in_no_class() -> None:
    words = [*OPENING, "track 0", "program 128", "velocity 62", "drum 36", "duration 24"]
    classes = [f"sounding_class_{index}" for index in range(CLASSES)]
    assert after(words, "voice_0", *classes) == [1 + 36 + 128, *[0] * CLASSES]


def test_a_meter_begins_a_bar() -> None:
    words = [*OPENING, *first_note(0, 60, 24), "position 24", "beats 3", "unit 4"]
    assert after(words, "bar_position") == [1]
    assert after([*words, "position 12"], "bar_position") == [13]
    assert after([*words, "bar", "position 5"], "bar_position", "bar_number") == [6, 2]


def clocks(ids: Sequence[int], grid: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(clock, beginning of the bar) after each token: by the grammar, and by the memory."""
    state, memory = State(grid=grid), EVERYTHING.start(1)
    expected, found = [], []
    for token in ids:
        state = grammar.advance(state, token)
        expected.append((state.clock.step, state.bar.begin_step))
        _, memory = EVERYTHING.read(np.array([[token]]), memory)
        found.append((int(memory[0, CLOCK]), int(memory[0, BAR_BEGIN])))
    return expected, found


@settings(max_examples=30)
@given(pieces)
def test_the_clock_is_that_of_the_grammar(piece: Piece) -> None:
    ids = TOKENIZER.encode(piece)
    expected, found = clocks(ids[:100], SCORE)
    assert found == expected


@settings(max_examples=30)
@given(pieces)
def test_a_performance_has_a_clock_but_no_bars(piece: Piece) -> None:
    ids = MusicTokenizer(PERFORMANCE).encode(piece)[:100]
    expected, found = clocks(ids, PERFORMANCE)
    assert [clock for clock, _ in found] == [clock for clock, _ in expected]
    assert not values(ids, ["bar_position", "bar_number", "next_end"]).any()


@pytest.mark.parametrize("file", sorted(TUNES.glob("*.mid"))[:4], ids=lambda path: path.stem)
def test_what_sounds_is_what_the_piece_has(file: Path) -> None:
    piece = TOKENIZER.normal_form(midi.read(file))
    ids = TOKENIZER.encode(piece)
    found = values(ids, [f"sounding_class_{index}" for index in range(CLASSES)])
    kinds = [TOKENIZER.describe(token).split()[0] for token in ids]
    _, memory = EVERYTHING.read(np.array([START, ids[0]])[:, None], EVERYTHING.start(1))
    checked = 0
    for place, token in enumerate(ids[1:], start=1):
        _, memory = EVERYTHING.read(np.array([[token]]), memory)
        ends_moment = place + 1 == len(ids) or kinds[place + 1] in ("position", "bar")
        if kinds[place] == "duration" and ends_moment:
            clock = int(memory[0, CLOCK])
            sounding = {
                one.pitch % CLASSES
                for track in piece.tracks
                if not track.is_drum
                for one in track.notes
                if one.onset_ticks <= clock < one.onset_ticks + one.duration_ticks
            }
            assert set(np.flatnonzero(found[place]).tolist()) == sounding
            checked += 1
    assert checked > 10


any_token = st.sampled_from(TOKEN_TYPES).flatmap(
    lambda kind: st.sampled_from([token_id(kind.name, value) for value in kind.values])
)
USUAL = (
    "bar", "position 0", "position 24", "track 0", "track 1", "pitch 60", "pitch 67", "drum 36",
    "long", "duration 24", "duration 48", "beats 3", "unit 8", "shift 7",
)  # fmt: skip
usual_token = st.sampled_from(ids_of(*USUAL))


@given(
    rows=st.lists(
        st.tuples(usual_token | any_token, usual_token | any_token), min_size=1, max_size=60
    ),
    cut=st.integers(0, 60),
)
def test_any_tokens_give_values_in_range_however_they_are_read(
    rows: list[tuple[int, int]], cut: int
) -> None:
    one, tokens = EVERYTHING, np.array(rows)
    whole, end = one.read(tokens, one.start(2))
    low, high = one.tables.offsets, one.tables.offsets + one.tables.sizes
    assert (low <= whole).all()
    assert (whole < high).all()
    memory, interpreted = one.start(2), np.zeros_like(whole)
    INTERPRETED.read_all(one.tables, memory, tokens, interpreted)
    np.testing.assert_array_equal(interpreted, whole)
    np.testing.assert_array_equal(memory, end)
    _, middle = one.read(tokens[:cut], one.start(2))
    before = middle.copy()
    np.testing.assert_array_equal(one.read(tokens[cut:], middle)[0], whole[cut:])
    for row in range(2):
        alone, _ = one.read(tokens[cut:, [row]], middle[[row]])
        np.testing.assert_array_equal(alone[:, 0], whole[cut:, row])
    np.testing.assert_array_equal(middle, before)


def test_chosen_features_are_numbered_one_after_another() -> None:
    one = reader_of("next_voice", "bar_position", "voice_3")
    assert one.sizes == (9, 193, 257)
    assert one.tables.offsets.tolist() == [0, 9, 202]
    features, _ = one.read(np.array([[START]]), one.start(1))
    assert features[0, 0].tolist() == [0, 9, 202]


def documents() -> NDArray[np.int64]:
    """A stream of a few tunes, a start token before each and after the last."""
    tunes = [TOKENIZER.encode(midi.read(file)) for file in sorted(TUNES.glob("*.mid"))[:3]]
    return np.array([*(token for tune in tunes for token in (START, *tune)), START])


def test_rows_that_begin_within_a_document_know_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SEARCH_TOKENS", 50)
    stream, one = documents(), EVERYTHING
    whole, _ = one.read(stream[:, None], one.start(1))
    length = (len(stream) - 1) // 3
    for first in (0, 2):
        read = list(windows(stream, 3, 40, first=first, rows=slice(1, 3), context=one))
        for number, batch in enumerate(read, start=first):
            assert batch.memory is not None
            features, _ = one.read(batch.inputs, batch.memory)
            for row in range(2):
                begin = (1 + row) * length + number * 40
                np.testing.assert_array_equal(features[:, row], whole[begin : begin + 40, 0])


def test_a_row_begins_anew_where_the_stream_does() -> None:
    stream, one = documents(), reader_of("bar_position", "voice_0")
    batches = list(windows(stream, 1, 25, offset=len(stream) - 30, context=one))
    assert batches[1].memory is not None
    features, _ = one.read(batches[1].inputs, batches[1].memory)
    expected, _ = one.read(stream[:20, None], one.start(1))
    np.testing.assert_array_equal(features[5:], expected)


def test_tokens_out_of_range_are_refused() -> None:
    for token in (-1, TOKENIZER.vocab_size):
        with pytest.raises(ValueError, match="tokens must be in 0"):
            EVERYTHING.read(np.array([[token]]), EVERYTHING.start(1))


def test_without_features_there_is_nothing_to_read() -> None:
    assert reader_for(ByteTokenizer(), ()) is None
    assert tables_for(TOKENIZER, ()) is NO_CONTEXT
    with pytest.raises(OptionError, match="the byte tokenizer has no context features"):
        reader_for(ByteTokenizer(), ("voice_0",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("auto", None),
        ("none", ()),
        ("voice_1, bar_position", ("voice_1", "bar_position")),
        (["next_voice"], ("next_voice",)),
    ],
)
def test_names_in_an_option(value: Any, expected: tuple[str, ...] | None) -> None:
    assert parse_names(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("voice_6", r"unknown context feature 'voice_6'; known: bar_position, .*voice_0..voice_5"),
        ("none,voice_0", "unknown context feature 'none'"),
        ("voice_0,voice_0", "must differ from each other"),
        (False, "context_features must be names, not False"),
        ([1], r"context_features must be names, not \[1\]"),
        ({"voice_0": 1}, "context_features must be names, not {'voice_0': 1}"),
    ],
)
def test_names_that_are_none(value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_names(value)


def test_the_documents_list_all_features() -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`(?: to `(\w+)`)? \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    expected = []
    for family in FAMILIES:
        many = family.count > 1
        first = f"{family.name}_0" if many else family.name
        last = f"{family.name}_{family.count - 1}" if many else ""
        expected.append((first, last, str(family.size), family.meaning))
    assert rows == expected


def test_bars_are_counted_modulo_16() -> None:
    piece = Piece(ticks_per_beat=24, tracks=(Track(notes=(note(0, 24), note(17 * 96, 24))),))
    ids = TOKENIZER.encode(piece)
    numbers = values(ids, ["bar_number"])[:, 0]
    _, memory = EVERYTHING.read(np.array([START, *ids])[:, None], EVERYTHING.start(1))
    assert memory[0, BARS] == 18
    assert numbers.max() == 16
    assert numbers[-1] == 2


def test_compiled_functions_have_names_of_their_own() -> None:
    """Else code that different processes have cached would be mixed up, see `_link`."""
    names: list[tuple[str, str]] = []

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        names.append((function.__module__, function.__qualname__))
        return function

    make(noted)
    assert len(names) > len(FAMILIES)
    assert len(set(names)) == len(names)
