"""What samples copy from the corpus, and how they repeat themselves, with and without counts.

    python benchmarks/copies.py shakespeare=input.txt chorales=path/to/midi --words words.txt

For each model (NAME=CORPUS: a file, folder or glob that it learnt from) and temperature it draws
samples of 1,000 characters from an empty prompt, or of 16 bars, and prints

- the longest run that a sample shares with the corpus, held-out part included, and the median over
  the samples (`generative.scoring.copies`; music in any key, in the texture or in one part),
- the part of the samples that share a run of 60 characters or 32 notes or more,
- distinct passages: how many of a sample's passages of 8 characters, or of 8 steps from note to
  note, are distinct, mean over the samples. The line "corpus" has the same of the corpus's last 10%
  in parts of the same length, or of its windows of 16 bars,
- of text, invented words: the part of the words in the samples that occur neither in the corpus
  nor in the list of `--words`. The line "corpus" says how many words of the last 10% occur neither
  in the rest nor in the list.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from network import network_alone
from samples import WINDOW_BARS, windows

import generative
from generative.api.text_model import TextModel
from generative.data.corpus import read_corpus, read_text
from generative.data.split import training_length
from generative.scoring import copies

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generative.api.load import AnyModel
    from generative.api.music_model import MusicModel
    from generative.scoring.copies import Symbols

SAMPLE_CHARS = 1000
COPIED = {"text": 60, "music": 32}  # characters or notes; a run of so many is a copy
UNITS = {"text": "chars", "music": "notes"}
PASSAGE = 8  # characters, or steps from note to note
BATCH = 64  # sequences that are drawn side by side
WORD = re.compile(r"(?:[^\W\d_]|['’])+")


@dataclass(frozen=True)
class Measures:
    """What is measured of a set of samples; nan for what does not apply.

    Attributes:
        longest, median: of the longest copied run of each sample, in characters or notes.
        copying: the part of the samples with a copy.
        distinct: the mean part of a sample's passages that are distinct.
        invented: the part of all words that are not known.
    """

    longest: float = math.nan
    median: float = math.nan
    copying: float = math.nan
    distinct: float = math.nan
    invented: float = math.nan

    def line(self, name: str) -> str:
        """The row of the table."""
        cells = (
            f"{self.longest:.0f}",
            f"{self.median:.0f}",
            f"{self.copying:.2%}",
            f"{self.distinct:.4f}",
            f"{self.invented:.2%}",
        )
        return f"{name:<24}" + "".join(f"{'-' if 'nan' in c else c:>11}" for c in cells)


HEADING = f"{'':<24}" + "".join(
    f"{name:>11}" for name in ("longest", "median", "copying", "distinct", "invented")
)


def distinct_passages(symbols: Symbols) -> float:
    """The distinct passages of a document over all of them; nan where it is too short."""
    row = symbols.rows[0]
    if len(row) < PASSAGE:
        return math.nan
    passages = np.lib.stride_tricks.sliding_window_view(row, PASSAGE)
    return len(np.unique(passages, axis=0)) / len(passages)


def mean_distinct(documents: Iterable[Symbols]) -> float:
    """The mean over all documents that are long enough."""
    return float(np.nanmean([math.nan, *map(distinct_passages, documents)]))


def words(text: str) -> list[str]:
    """The runs of letters and apostrophes, lower-cased, without apostrophes at their ends."""
    stripped = (word.lower().replace("’", "'").strip("'") for word in WORD.findall(text))
    return [word for word in stripped if word]


def whole_words(sample: str) -> list[str]:
    """The words of a sample, less a last one that its end may cut."""
    cut = re.search(rf"{WORD.pattern}\Z", sample)
    return words(sample[: cut.start()] if cut else sample)


def invented(found: Sequence[str], known: set[str]) -> float:
    """The part of the words that are not known."""
    return sum(word not in known for word in found) / len(found) if found else math.nan


def parts_of(text: str) -> list[str]:
    """A text in consecutive parts as long as a sample; what is left at its end is not one."""
    begins = range(0, len(text) - SAMPLE_CHARS + 1, SAMPLE_CHARS)
    return [text[begin : begin + SAMPLE_CHARS] for begin in begins]


def draw(model: AnyModel, options: dict[str, Any], count: int) -> list[Any]:
    """Sequences in batches; each batch has its own seed."""
    sequences: list[Any] = []
    while len(sequences) < count:
        batch = min(BATCH, count - len(sequences))
        made = model.generate(num_return_sequences=batch, seed=len(sequences), **options)
        sequences += made.sequences
    return sequences


class TextSide:
    """A corpus of text, and samples that are compared with it."""

    def __init__(self, model: TextModel, source: str, word_list: set[str]) -> None:
        documents = cast("Any", read_corpus([source], kind="text")).documents
        texts = [document.content for document in documents]
        self.known = [copies.of_text(text) for text in texts]
        text = "".join(texts)
        self._words = {*words(text), *word_list}
        cut = training_length(len(text))
        self.corpus = Measures(
            distinct=mean_distinct(map(copies.of_text, parts_of(text[cut:]))),
            invented=invented(words(text[cut:]), {*words(text[:cut]), *word_list}),
        )
        tokens_per_char = len(model.tokenizer.encode(text[:cut])) / max(1, cut)
        self._tokens = math.ceil(SAMPLE_CHARS * max(1.0, tokens_per_char))

    def measures(self, model: TextModel, temperature: float, count: int) -> Measures:
        """Draw samples and measure them."""
        options = {"max_new_tokens": self._tokens, "temperature": temperature}
        texts = [one.text[:SAMPLE_CHARS] for one in draw(model, options, count)]
        found = [word for text in texts for word in whole_words(text)]
        symbols = [copies.of_text(text) for text in texts]
        return measured(symbols, self.known, "text", invented(found, self._words))


class MusicSide:
    """A corpus of music, and samples that are compared with it, all in the form of the tokens."""

    def __init__(self, model: MusicModel, source: str) -> None:
        documents = cast("Any", read_corpus([source], kind="music")).documents
        pieces = [model.tokenizer.normal_form(document.content) for document in documents]
        self.known = [copies.of_piece(piece) for piece in pieces]
        cut = [copies.of_piece(window) for piece in pieces for window in windows(piece)]
        self.corpus = Measures(distinct=mean_distinct(cut))

    def measures(self, model: MusicModel, temperature: float, count: int) -> Measures:
        """Draw samples and measure them."""
        made = draw(model, {"bars": WINDOW_BARS, "temperature": temperature}, count)
        pieces = [model.tokenizer.normal_form(one.piece) for one in made]
        return measured([copies.of_piece(piece) for piece in pieces], self.known, "music")


def measured(
    samples: Sequence[Symbols],
    known: Sequence[Symbols],
    kind: str,
    invented_words: float = math.nan,
) -> Measures:
    """The measures of samples beside a corpus."""
    lengths = np.array([copied.length for copied in copies.longest_copies(samples, known)])
    return Measures(
        longest=float(lengths.max()),
        median=float(np.median(lengths)),
        copying=float(np.mean(lengths >= COPIED[kind])),
        distinct=mean_distinct(samples),
        invented=invented_words,
    )


def report(name: str, source: str, options: argparse.Namespace, word_list: set[str]) -> None:
    """Print one model's table."""
    model = generative.load(name)
    side: Any
    if isinstance(model, TextModel):
        side = TextSide(model, source, word_list)
        length = f"{SAMPLE_CHARS:,} chars"
    else:
        side = MusicSide(model, source)
        length = f"{WINDOW_BARS} bars"
    print(
        f"{name}: {options.samples} samples of {length}; "
        f"copying: {COPIED[model.kind]} {UNITS[model.kind]} or more"
    )
    print(HEADING)
    print(side.corpus.line("corpus"), flush=True)
    sides: dict[str, AnyModel] = {"network alone": network_alone(model)}
    if model.checkpoint.counts is None:
        print("the model has no counts")
    else:
        sides["with counts"] = model
    for temperature in options.temperatures:
        for label, sampled in sides.items():
            began = time.perf_counter()
            measures = side.measures(sampled, temperature, options.samples)
            seconds = time.perf_counter() - began
            line = measures.line(f"{temperature:g}, {label}")
            print(f"{line}   ({seconds:.0f} s)", flush=True)


def main() -> None:
    """Draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", metavar="NAME=CORPUS")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 0.8, 0.9, 1.0])
    parser.add_argument("--words", type=Path, help="a file of words that are not invented")
    options = parser.parse_args()
    word_list = set() if options.words is None else {*words(read_text(options.words))}
    for pair in options.models:
        name, equals, source = pair.partition("=")
        if not equals:
            parser.error(f"{pair}: name a model and its corpus, as shakespeare=input.txt")
        report(name, source, options, word_list)


if __name__ == "__main__":
    main()
