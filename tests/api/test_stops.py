"""Stop strings: the first one that is complete ends a text, and no part of one is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generative.api.stops import StopFilter, cut_at_stop, first_stop, stop_condition
from generative.tokenizers.byte import ByteTokenizer


@pytest.mark.parametrize(
    ("text", "stops", "start"),
    [
        ("xabcdy", ["abcd", "c"], 3),  # "c" is complete before "abcd"
        ("xabcy", ["bc", "abc"], 1),  # both are complete at once: the longer one counts
        ("abab", ["b"], 1),
        ("abab", ["c"], None),
        ("abab", [], None),
    ],
)
def test_the_stop_that_is_complete_first(text: str, stops: list[str], start: int | None) -> None:
    assert first_stop(text, stops) == start
    assert first_stop(text.encode(), [stop.encode() for stop in stops]) == start


def test_a_stop_may_span_tokens() -> None:
    token_bytes = (b"ab", b"c", b"\xc3", b"\xa9")
    condition = stop_condition(token_bytes, ["bc", "\u00e9"])
    assert condition(None, 0) == (b"ab", False)
    assert condition(b"ab", 1) == (b"bc", True)
    assert condition(b"ab", 2) == (b"b\xc3", False)
    assert condition(b"b\xc3", 3) == (b"\xc3\xa9", True)


def test_the_token_in_which_a_stop_begins_is_kept_if_text_of_it_is() -> None:
    token_bytes = (b"ab", b"c", b"\xc3")
    assert cut_at_stop([0, 0, 1], token_bytes, ["bc"]) == ("aba", 2)
    assert cut_at_stop([0, 0, 1], token_bytes, ["abc"]) == ("ab", 1)
    assert cut_at_stop([2, 1], token_bytes, ["c"]) == ("\ufffd", 1)
    with pytest.raises(ValueError, match="contain no stop string"):
        cut_at_stop([0], token_bytes, ["c"])


@given(
    text=st.text(alphabet="abcé", max_size=20),
    stops=st.lists(st.text(alphabet="abcé", min_size=1, max_size=4), max_size=3),
)
def test_no_part_of_a_stop_string_is_shown(text: str, stops: list[str]) -> None:
    tokenizer = ByteTokenizer()
    shown = StopFilter(tokenizer.decoder(), stops)
    out = ""
    for token in tokenizer.encode(text):
        out += shown.feed(token)
        if shown.stopped:
            break
    out += shown.finish()
    firsts = [text.index(stop) for stop in stops if stop in text]
    # of several stops the one that is complete first ends the text
    if not firsts:
        assert out == text
    else:
        assert shown.stopped
        assert text.startswith(out)
        assert not any(stop in out for stop in stops)
        assert any(text.startswith(stop, len(out)) for stop in stops)


def test_the_stop_that_is_complete_first_counts_however_text_is_cut() -> None:
    class Whole:
        """A decoder whose every token is a whole text."""

        def __init__(self, text: str) -> None:
            self._text = text

        def feed(self, token: int) -> str:
            return self._text

        def finish(self) -> str:
            return ""

    shown = StopFilter(Whole("xabcdy"), ["abcd", "c"])  # type: ignore[arg-type]
    assert shown.feed(0) == "xab"
    assert shown.stopped
