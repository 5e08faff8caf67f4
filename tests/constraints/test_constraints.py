"""Constraints of text: patterns as `re` reads them, and no output that breaks one."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generative
from generative.constraints import TextConstraint, compile_text
from generative.constraints.utf8 import byte_sequences, complement
from generative.sampling import BeamOptions, Request, SamplingOptions, beam_search, collect, sample
from generative.sampling.branching import METHODS
from generative.tokenizers.byte import ByteTokenizer
from generative.tokenizers.char import CharTokenizer
from generative.tokenizers.subword import SentencePieceTokenizer
from tests.chain import HistoryStepper

if TYPE_CHECKING:
    from generative.api.text_model import TextModel

BYTES = ByteTokenizer()
CHARS = CharTokenizer("éüß日本🎵")


@pytest.fixture(scope="module")
def shakespeare() -> Any:
    return generative.load("shakespeare")


@pytest.fixture(scope="module")
def subwords() -> SentencePieceTokenizer:
    text = "the cat sat on the mat, né 日本 and the dog dug the den. " * 40
    return SentencePieceTokenizer.train([text], vocab_size=320)


def accepts(pattern: str, text: str) -> bool:
    automaton = compile_text(pattern)
    state = 0
    for value in text.encode():
        state = int(automaton.table[state, value])
    return bool(automaton.accepts[state])


PIECES = st.sampled_from(
    [*"ab.é🎵", "[ab]", "[^a]", "[a-zé-ü]", "[^\\d]", "[a-]", "[]a]", "[\\D\\W]", "(?#note)"]
    + [f"\\{escaped}" for escaped in ("d", "w", "s", "W", ".", "x61", "u00e9")]
    + ["(?i:B)", "(?i:[^b])", "(?s:.)"]
)
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "*?", "+?", "??"])
PATTERNS = st.recursive(
    PIECES,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})")
        | st.tuples(inner, REPEATS).map(lambda pair: f"({pair[0]}){pair[1]}")
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(pattern=PATTERNS, text=st.text(alphabet="abB1é🎵. \n-]", max_size=5))
def test_a_pattern_means_what_re_means(pattern: str, text: str) -> None:
    assert accepts(pattern, text) == bool(re.fullmatch(pattern, text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("^ab$", "ab", "ab\n"),
        (r"\Aab\Z", "ab", "a"),
        ("^a|b$", "b", "ab"),
        ("(?i)straße", "STRAßE", "STRASSE"),
        ("(?x) a b  # spaces do not count", "ab", "a b"),
        ("(?P<year>[12]\\d{3})", "1984", "84"),
        ("", "", "a"),
        ("[\\ud7ff-\\ue000]", "\ue000", "\ue001"),
        ("[^\\n]+", "日本 né 🎵", "a\nb"),
    ],
)
def test_patterns_by_example(pattern: str, yes: str, no: str) -> None:
    assert accepts(pattern, yes)
    assert not accepts(pattern, no)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "is no regular expression"),
        ("a**", "is no regular expression"),
        (r"(a)\1", "a reference back, which cannot be followed"),
        ("a(?=b)", "a lookahead or lookbehind"),
        ("(?<!a)b", "a lookahead or lookbehind"),
        (r"a\bb", "an anchor or boundary inside"),
        ("a^b", "an anchor or boundary inside"),
        ("a++a", "a possessive repeat"),
        ("(a{1000}){1000}", "too large to follow"),
        ("(a{1,100}){1,100}", "too large"),
        (".*a.{22}", "too large"),
    ],
)
def test_what_cannot_be_followed_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_text(pattern)


@given(st.lists(st.tuples(st.integers(0, 0x10FFFF), st.integers(0, 3000)), max_size=3))
def test_byte_sequences_are_the_encodings(starts: list[tuple[int, int]]) -> None:
    ranges = [(low, min(low + size, 0x10FFFF)) for low, size in starts]
    wanted = {
        chr(p).encode() for low, high in ranges for p in range(low, high + 1) if p >> 11 != 27
    }
    count = 0
    for sequence in byte_sequences(ranges):
        count += int(np.prod([high - low + 1 for low, high in sequence]))
        for corner in (bytes(low for low, _ in sequence), bytes(high for _, high in sequence)):
            assert corner in wanted
    assert count == len(wanted)


def test_a_complement_leaves_out_what_was_there() -> None:
    assert complement([(5, 9), (0, 3)]) == [(4, 4), (10, 0x10FFFF)]
    assert complement([(0, 0x10FFFF)]) == []


def constrained(
    tokenizer: Any, count: int, max_new_tokens: int, automaton: Any, scale: float = 4.0, **more: Any
) -> list[str]:
    """Texts by a model without sense, under a constraint."""
    bound = TextConstraint(tokenizer.token_bytes, automaton, tokenizer.start_id, max_new_tokens)
    stepper = HistoryStepper(tokenizer.vocab_size, scale)
    prompt, options = [tokenizer.start_id], SamplingOptions(**more)
    request = Request(
        max_new_tokens=max_new_tokens,
        seed=3,
        num_return_sequences=count,
        end_id=tokenizer.start_id,
        constraint=bound,
    )
    draws = sample(stepper, prompt, request, options)
    texts = [tokenizer.decode(one.tokens) for one in collect(draws, count)]
    for method in METHODS:
        six = BeamOptions(num_beams=6, beam_method=method)
        best = replace(request, seed=0, num_return_sequences=6)
        beams = beam_search(stepper, [prompt], six, best, options)[0]
        texts += [tokenizer.decode(one.tokens) for one in beams]
    return texts


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("[A-Z][a-z]{2,9}( [a-zé]{1,8}){0,3}[.!?]", 24),
        (r"(\d{1,3}\.){3}\d{1,3}", 15),
        ("(日本|né|🎵)*", 9),
        (".{3,12}", 40),
        ("(a|b)*a(a|b){4}", 8),
    ],
)
@pytest.mark.parametrize("kind", ["byte", "char", "sentencepiece"])
def test_thousands_of_draws_match_their_pattern_in_full(
    pattern: str, length: int, kind: str, subwords: SentencePieceTokenizer
) -> None:
    tokenizer = {"byte": BYTES, "char": CHARS, "sentencepiece": subwords}[kind]
    more: dict[str, Any] = {"byte": {}, "char": {"top_p": 0.7}}.get(kind, {"temperature": 2.0})
    if "🎵" in pattern:
        more |= {"min_new_tokens": 3, "presence_penalty": 0.5}
    texts = constrained(tokenizer, 500, length, compile_text(pattern), **more)
    for text in texts:
        assert re.fullmatch(pattern, text, re.ASCII), text
    assert len(set(texts)) > 4


@pytest.mark.parametrize("kind", ["byte", "char", "sentencepiece"])
def test_thousands_of_draws_are_choices_or_avoid_what_is_forbidden(
    kind: str, subwords: SentencePieceTokenizer
) -> None:
    tokenizer = {"byte": BYTES, "char": CHARS, "sentencepiece": subwords}[kind]
    choices = ("yes", "yesterday", "né", "日本", "🎵🎵")
    texts = Counter(constrained(tokenizer, 300, 9, compile_text(None, choices)))
    assert set(texts) <= set(choices)
    assert len(texts) >= 4
    forbidden = ("a", "th", "né", "  ")
    for text in constrained(tokenizer, 300, 30, compile_text(None, (), forbidden)):
        assert not any(word in text for word in forbidden)
    both = compile_text("[abc]{4}|cab", (), ("aa", "bb", "cc"))
    for text in constrained(tokenizer, 300, 30, both):
        assert re.fullmatch("[abc]{4}|cab", text)
        assert not any(word in text for word in ("aa", "bb", "cc"))


def test_the_distribution_is_the_models_own_where_nothing_is_cut() -> None:
    """Two choices of one token each: drawn as often as the model's odds say."""
    bound = TextConstraint(BYTES.token_bytes, compile_text("[ab]"), BYTES.start_id, 1)
    stepper = HistoryStepper(BYTES.vocab_size, scale=2.0)
    logits, _ = stepper.prefill(np.array([BYTES.start_id]), stepper.initial_state(1))
    odds = np.exp(logits[0, ord("a")] - logits[0, ord("b")])
    request = Request(max_new_tokens=1, num_return_sequences=4000, constraint=bound)
    draws = sample(stepper, [BYTES.start_id], request)
    p = np.mean([one.tokens == [ord("a")] for one in collect(draws, 4000)])
    expected = odds / (1 + odds)
    assert abs(p - expected) < 3 * np.sqrt(expected * (1 - expected) / 4000)


def test_what_cannot_be_met_is_an_error() -> None:
    def build(pattern: str, tokens: int, barred: tuple[int, ...] = ()) -> None:
        TextConstraint(BYTES.token_bytes, compile_text(pattern), BYTES.start_id, tokens, barred)

    build("abc", 3)
    with pytest.raises(ValueError, match="in 2 tokens: the shortest such text has 3"):
        build("abc", 2)
    with pytest.raises(ValueError, match="no tokens spell such a text"):
        build("abc", 9, barred=(98,))
    with pytest.raises(ValueError, match="no tokens spell such a text"):
        build("[^\\s\\S]", 9)
    with pytest.raises(ValueError, match="a forbidden word must not be empty"):
        compile_text(None, (), ("",))


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_there_are_no_dead_ends(left: int, seed: int) -> None:
    """A walk that takes any allowed token can always go on, and ends complete."""
    automaton = compile_text("(ab?c{2,3}|🎵x)*(end|a)")
    bound = TextConstraint(CHARS.token_bytes, automaton, CHARS.start_id, left)
    rng = np.random.default_rng(seed)
    state, drawn = bound.start(), []
    for _ in range(left):
        choices = np.flatnonzero(bound.allowed(state))
        assert choices.size
        token = int(rng.choice(choices))
        if token == CHARS.start_id:
            break
        drawn.append(token)
        state = bound.advance(state, token)
    assert re.fullmatch("(ab?c{2,3}|🎵x)*(end|a)", CHARS.decode(drawn))


def test_text_models_take_constraints(shakespeare: TextModel) -> None:
    pattern = "[a-z]+( [a-z]+)*"
    made = shakespeare.generate(
        "7 ", pattern=pattern, max_new_tokens=12, num_return_sequences=5, seed=1
    )
    assert all(re.fullmatch(pattern, s.text) for s in made.sequences)
    beams = shakespeare.generate("7 ", pattern=pattern, max_new_tokens=9, num_beams=4)
    assert re.fullmatch(pattern, beams.text)
    chunks = shakespeare.stream("7 ", pattern=pattern, max_new_tokens=12, seed=1)
    assert "".join(chunks) == made.text
    assert shakespeare.generate("7 ", choices=["cats", "dogs"], seed=1).text in ("cats", "dogs")
    free = shakespeare.generate("7 ", max_new_tokens=60, seed=1).text
    assert "l" in free
    assert "l" not in shakespeare.generate("7 ", max_new_tokens=60, seed=1, forbid="l").text
    banned = shakespeare.generate("7 ", pattern="a|b|c", banned_tokens=[97, 98]).text
    assert banned == "c"


def test_impossible_constraints_are_refused(shakespeare: TextModel) -> None:
    with pytest.raises(ValueError, match="the shortest such text has 3"):
        shakespeare.generate(pattern="abc", max_new_tokens=2)
    with pytest.raises(ValueError, match="no tokens spell such a text"):
        shakespeare.generate(pattern="abc", allowed_tokens=[97, 98])
    with pytest.raises(ValueError, match="stop would cut"):
        shakespeare.generate(pattern="abc", stop="b")
    with pytest.raises(ValueError, match="a forbid string must not be empty"):
        shakespeare.generate(forbid=["a", ""])
    with pytest.raises(TypeError, match="must be a list of strings"):
        shakespeare.generate(choices="yes")


@settings(max_examples=30)
@given(data=st.data())
def test_any_pattern_of_any_length_holds_or_is_refused(data: st.DataObject) -> None:
    pattern = data.draw(PATTERNS)
    length = data.draw(st.integers(1, 8))
    try:
        texts = constrained(CHARS, 5, length, compile_text(pattern))
    except ValueError as error:
        assert "cannot be met" in str(error)  # noqa: PT017 - some need more tokens
        return
    assert all(re.fullmatch(pattern, text, re.ASCII) for text in texts)


@pytest.mark.parametrize(
    ("pattern", "choices", "forbidden"),
    [
        ("[a-z]{1200}", (), ("ab" * 300, "q" * 300)),  # 630,000 pairs of states, once 46 s
        ("[ab]*a[ab]{9}", ("ab" * 400,), ("ab" * 300, "ba" * 299, "aab" * 100)),
        (None, (), tuple(letter * 200 for letter in "abcdefghijklmnopqrstuvwxyz")),
    ],
)
def test_a_constraint_is_refused_or_made_within_seconds(
    pattern: str | None, choices: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    begin = time.process_time()
    with contextlib.suppress(ValueError):
        compile_text.__wrapped__(pattern, choices, forbidden)
    assert time.process_time() - begin < 4


def test_several_forbidden_words_are_all_forbidden() -> None:
    automaton = compile_text("[a-c]{0,4}", forbid=("ab", "bca", "cc"))

    def accepts(text: str) -> bool:
        place = 0
        for value in text.encode():
            place = int(automaton.table[place, value])
        return bool(automaton.accepts[place])

    for length in range(6):
        for letters in itertools.product("abc", repeat=length):
            text = "".join(letters)
            expected = length <= 4 and not any(word in text for word in ("ab", "bca", "cc"))
            assert accepts(text) == expected, text


def test_the_distance_to_the_end_of_a_long_text() -> None:
    automaton = compile_text("(abc){600}x?")
    begin = time.process_time()
    constraint = TextConstraint([b"abc", b"a", b"b", b"c", b"x", b""], automaton, 5, 600)
    assert time.process_time() - begin < 1
    with pytest.raises(ValueError, match="the shortest such text has 600"):
        TextConstraint([b"abc", b"a", b"b", b"c", b"x", b""], automaton, 5, 599)
    state = constraint.start()
    for _ in range(599):
        assert constraint.allowed(state).nonzero()[0].tolist() == [0]  # one letter would be late
        state = constraint.advance(state, 0)
    assert constraint.allowed(state).nonzero()[0].tolist() == [0]
