"""How near a music model's samples come to its corpus, and what they copy.

    pip install muspy
    python benchmarks/samples.py chorales=path/to/chorales other=path/to/midi --temperatures 0.8 1

For each model (NAME=CORPUS: a folder, a glob or a file of the MIDI that it learnt from) it draws
pieces of 16 bars and compares them with the corpus. Both sides are in the form that the model's
tokens give. A star marks what is off by more than 10%.

- The metrics of MusPy (Dong et al., 2020, "MusPy: a toolkit for symbolic music generation") are
  means over the samples, and over the windows of 16 bars of the corpus. Without MusPy they are left
  out.
- The measures of `measures.MEASURES` follow: parallel fifths, octaves and unisons in 100 chord
  changes, how pieces end, the Jaccard overlap of bars that are 4 or 8 bars apart, and the share of
  tracks that sound in at least half of the bars after they enter. Those that depend on the length
  of a piece are compared with the corpus's windows, the others with its whole pieces.
- The share of repeated tokens is that of the tokens that a passage of twelve, heard before in the
  same piece, announced rightly.
- The overlapping areas of histograms, as in Yang and Lerch (2020, "On the evaluation of generative
  models in music"), are those of the samples and the corpus, beside those of two halves of the
  corpus. Few samples have smaller areas than many.
- The last line says how many samples share a run of 32 notes or more with the corpus, in any key,
  in the texture or in one part (`generative.scoring.copies`).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from measures import HISTOGRAMS, MEASURES, mean, overlap

import generative
from generative.api.music_model import MusicModel
from generative.data.corpus import read_corpus
from generative.music.piece import bar_ticks
from generative.scoring import copies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.data.corpus import Corpus
    from generative.music.piece import Piece

WINDOW_BARS = 16
COPIED_NOTES = 32  # a run of so many is a copy
PASSAGE_TOKENS = 12  # two or three notes
TOLERANCE = 0.1
HAS_MUSPY = importlib.util.find_spec("muspy") is not None
METRICS = (
    "pitch_range",
    "pitch_class_entropy",
    "scale_consistency",
    "polyphony",
    "empty_beat_rate",
    "groove_consistency",
)


def measured(piece: Piece) -> dict[str, float]:
    """MusPy's metrics of a piece; nan where one does not apply."""
    muspy: Any = importlib.import_module("muspy")
    tracks = [
        muspy.Track(
            program=track.program,
            is_drum=track.is_drum,
            notes=[
                muspy.Note(n.onset_ticks, n.pitch, n.duration_ticks, n.velocity)
                for n in track.notes
            ],
        )
        for track in piece.tracks
    ]
    music = muspy.Music(resolution=piece.ticks_per_beat, tracks=tracks)
    bar = round(bar_ticks(piece.meters[0], piece.ticks_per_beat))
    arguments = {"groove_consistency": (bar,)}
    return {name: float(getattr(muspy, name)(music, *arguments.get(name, ()))) for name in METRICS}


def windows(piece: Piece) -> Iterator[Piece]:
    """A piece's stretches of 16 bars, one after the other; what is left at its end is not one."""
    lines = piece.bar_lines
    for first in range(0, len(lines) - WINDOW_BARS, WINDOW_BARS):
        begin, end = lines[first], lines[first + WINDOW_BARS]
        yield piece.clipped(end).since(begin)


def metrics_of(pieces: Sequence[Piece]) -> dict[str, float]:
    """The mean of each MusPy metric over the pieces that it applies to; empty without MusPy."""
    if not HAS_MUSPY:
        return {}
    values = [measured(piece) for piece in pieces]
    return {
        name: mean(row[name] for row in values if not math.isnan(row[name])) for name in METRICS
    }


def repeated(model: MusicModel, pieces: Sequence[Piece]) -> float:
    """The mean fraction of a piece's tokens that follow a passage as they last followed it."""
    shares = []
    for piece in pieces:
        ids = model.tokenizer.encode(piece)
        followers: dict[tuple[int, ...], int] = {}
        found = 0
        for place in range(PASSAGE_TOKENS, len(ids)):
            passage = tuple(ids[place - PASSAGE_TOKENS : place])
            found += followers.get(passage) == ids[place]
            followers[passage] = ids[place]
        shares.append(found / (len(ids) - 1))
    return mean(shares)


@dataclass(frozen=True)
class Side:
    """The pieces that are compared: samples or a corpus.

    Attributes:
        whole: all pieces.
        cut: pieces of 16 bars.
    """

    whole: Sequence[Piece]
    cut: Sequence[Piece]

    def rows(self, model: MusicModel) -> dict[str, float]:
        """What is measured, by its name."""
        rows = metrics_of(self.cut)
        for name, measure in MEASURES.items():
            rows[name] = measure.of(self.cut if measure.needs_equal_lengths else self.whole)
        return {**rows, "repeated tokens": repeated(model, self.cut)}


def print_rows(samples: dict[str, float], corpus: dict[str, float]) -> None:
    """Print what is measured of both sides, and their ratios."""
    print(f"{'':>22}{'samples':>10}{'corpus':>10}{'ratio':>8}")
    for name, value in samples.items():
        other = corpus[name]
        ratio = value / other if other else math.nan
        far = "" if abs(ratio - 1) <= TOLERANCE or value == other else " *"
        print(f"{name:>22}{value:>10.4f}{other:>10.4f}{ratio:>8.3f}{far}")


def print_overlaps(samples: Sequence[Piece], corpus: Sequence[Piece]) -> None:
    """Print the overlapping areas of histograms."""
    print(f"{'overlapping area':>22}{'samples':>10}{'halves':>10}")
    for name, histogram in HISTOGRAMS.items():
        of_samples = overlap(histogram(samples), histogram(corpus))
        of_halves = overlap(histogram(corpus[::2]), histogram(corpus[1::2]))
        print(f"{name:>22}{of_samples:>10.4f}{of_halves:>10.4f}")


def print_copies(samples: Sequence[Piece], known: Sequence[copies.Symbols]) -> None:
    """Print how long the runs are that samples share with a corpus."""
    found = copies.longest_copies([copies.of_piece(piece) for piece in samples], known)
    lengths = sorted(copied.length for copied in found)
    share = sum(length >= COPIED_NOTES for length in lengths) / len(lengths)
    print(
        f"longest copied run: median {lengths[len(lengths) // 2]} notes, most {lengths[-1]}; "
        f"{share:.1%} of samples copy {COPIED_NOTES} notes or more"
    )


def compare(name: str, source: str, options: argparse.Namespace) -> None:
    """Print one model's tables."""
    model = generative.load(name)
    assert isinstance(model, MusicModel)
    read = cast("Corpus[Piece]", read_corpus([source], kind="music"))
    learnt = [model.tokenizer.normal_form(document.content) for document in read.documents]
    known = [copies.of_piece(piece) for piece in learnt]
    corpus = Side(learnt, [window for piece in learnt for window in windows(piece)])
    corpus_rows = corpus.rows(model)
    print(
        f"{name}: {options.count} samples; the corpus has {len(learnt)} pieces "
        f"and {len(corpus.cut)} windows of {WINDOW_BARS} bars"
    )
    for temperature in options.temperatures:
        began = time.perf_counter()
        made = model.generate(
            bars=WINDOW_BARS,
            temperature=temperature,
            top_p=options.top_p,
            seed=options.seed,
            num_return_sequences=options.count,
            voice_leading=options.voice_leading,
        )
        seconds = time.perf_counter() - began
        pieces = [sequence.piece for sequence in made.sequences]
        led = ", voice leading" if options.voice_leading else ""
        print(f"\ntemperature {temperature:g}, top-p {options.top_p or 1:g}{led} ({seconds:.0f} s)")
        print_rows(Side(pieces, pieces).rows(model), corpus_rows)
        print_overlaps(pieces, learnt)
        print_copies(pieces, known)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", metavar="NAME=CORPUS")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.8, 0.9, 1.0])
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--voice-leading", action="store_true")
    options = parser.parse_args()
    if not HAS_MUSPY:
        print("MusPy is not installed, so its metrics are left out: pip install muspy")
    for pair in options.models:
        name, equals, source = pair.partition("=")
        if not equals:
            parser.error(f"{pair}: name a model and its corpus, as chorales=path/to/midi")
        compare(name, source, options)


if __name__ == "__main__":
    main()
