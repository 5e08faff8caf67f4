"""What is asked of music in words: refused as a wrong option, or a grammar that can be followed."""

from __future__ import annotations

from typing import TypeVar

from generative.errors import OptionError
from generative.music.theory import parse_pitch
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits
from generative.tokenizers.music.tokenizer import MusicTokenizer
from tests.fuzz.entropy import Entropy

N = TypeVar("N", int, float)
SEEDS = (
    "D minor|C3-C6|3/4|120|piano,bass,drums|4|2|voices",
    "Eb major||||||",
    "F♯ harmonic minor|48-84|12/8|90|violin|0.25|1",
    "C D E G A|C-1-G9|4/4||19,128|24|3",
    "c, d♭|60-60|5/16|16|drums|1e0|0",
    "B# locrian|Cb4-B#4|64/1|320|church organ,19|nan|1",
    "|||||inf|-1",
)
FOLLOWED = 24  # tokens


def seeds() -> list[bytes]:
    """Options, one after the other."""
    return [b"\x00" + text.encode() for text in SEEDS]


def run(data: bytes) -> None:
    """Parse all options and follow the grammar for a while."""
    entropy = Entropy(data)
    way = entropy.byte()
    fields = [*entropy.rest().decode("utf-8", "replace").split("|"), *[""] * 8][:8]
    key, pitches, meter, tempo, instruments, density, bars, voices = (f or None for f in fields)
    try:
        limits = MusicLimits.of(
            key,
            pitches,
            meter,
            _number(tempo, int),
            instruments,
            _number(density, float),
            voices is not None,
        )
        parse_pitch(fields[0])
    except OptionError:
        limits = None
    if limits is not None:
        assert limits.pitches.any() and limits.pitches[limits.highest]
    try:
        grammar = MusicGrammar(MusicTokenizer(), bars=_number(bars, int), limits=limits)
    except OptionError:
        return
    state = grammar.start()
    for step in range(FOLLOWED):
        allowed = grammar.allowed(state).nonzero()[0]
        assert allowed.size, "a dead end"
        state = grammar.advance(state, int(allowed[(way + 31 * step) % allowed.size]))


def _number(text: str | None, kind: type[N]) -> N | None:
    """As the command line reads it; what is no number there is none here."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None
