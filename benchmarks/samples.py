"""How near a music model's samples come to its corpus, by MusPy's metrics, and what they copy.

    pip install muspy
    python benchmarks/samples.py chorales=path/to/chorales other=path/to/midi --temperatures 0.8 1

For each model (NAME=CORPUS: a folder, a glob or a file of the MIDI that it learnt from) it draws
pieces of 16 bars and gives the mean of each metric over them beside the mean over the corpus's own
windows of 16 bars; a star marks what is off by more than 10%. Both sides are in the form that the
model's tokens give. Then comes how many of the tokens a passage of twelve, heard before in the same
piece, announced rightly: how much pieces repeat themselves. The last line says how many samples
share a run of 32 notes or more with the corpus, in any key, in the texture or in one part
(`generative.scoring.copies`).

Metrics are those of MusPy (Dong et al., 2020, "MuSPy: a toolkit for symbolic music generation").
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
from typing import TYPE_CHECKING, Any, cast

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


def mean_of(pieces: Sequence[Piece]) -> dict[str, float]:
    """Each metric's mean over the pieces that it applies to."""
    values = [measured(piece) for piece in pieces]
    means = {}
    for name in METRICS:
        defined = [row[name] for row in values if not math.isnan(row[name])]
        means[name] = sum(defined) / len(defined) if defined else math.nan
    return means


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
    return sum(shares) / len(shares)


def compare(name: str, source: str, options: argparse.Namespace) -> None:
    """Print one model's tables."""
    model = generative.load(name)
    assert isinstance(model, MusicModel)
    read = cast("Corpus[Piece]", read_corpus([source], kind="music"))
    learnt = [model.tokenizer.normal_form(document.content) for document in read.documents]
    known = [copies.of_piece(piece) for piece in learnt]
    cut = [window for piece in learnt for window in windows(piece)]
    corpus_means = mean_of(cut)
    corpus_repeats = repeated(model, cut)
    print(f"{name}: {options.count} samples; the corpus has {len(cut)} windows of 16 bars")
    for temperature in options.temperatures:
        began = time.perf_counter()
        made = model.generate(
            bars=WINDOW_BARS,
            temperature=temperature,
            top_p=options.top_p,
            seed=options.seed,
            num_return_sequences=options.count,
        )
        seconds = time.perf_counter() - began
        pieces = [sequence.piece for sequence in made.sequences]
        means = mean_of(pieces)
        print(f"\ntemperature {temperature:g}, top-p {options.top_p or 1:g} ({seconds:.0f} s)")
        print(f"{'':>22}{'samples':>10}{'corpus':>10}{'ratio':>8}")
        for metric in METRICS:
            ratio = means[metric] / corpus_means[metric] if corpus_means[metric] else math.nan
            far = (
                "" if abs(ratio - 1) <= TOLERANCE or means[metric] == corpus_means[metric] else " *"
            )
            print(
                f"{metric:>22}{means[metric]:>10.4f}{corpus_means[metric]:>10.4f}{ratio:>8.3f}{far}"
            )
        print(
            f"repeated: {repeated(model, pieces):.1%} of tokens, in the corpus {corpus_repeats:.1%}"
        )
        found = copies.longest_copies([copies.of_piece(piece) for piece in pieces], known)
        lengths = sorted(copied.length for copied in found)
        share = sum(length >= COPIED_NOTES for length in lengths) / len(lengths)
        print(
            f"longest copied run: median {lengths[len(lengths) // 2]} notes, most {lengths[-1]}; "
            f"{share:.1%} of samples copy {COPIED_NOTES} notes or more"
        )


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", metavar="NAME=CORPUS")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.8, 0.9, 1.0])
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for pair in options.models:
        name, equals, source = pair.partition("=")
        if not equals:
            parser.error(f"{pair}: name a model and its corpus, as chorales=path/to/midi")
        compare(name, source, options)


if __name__ == "__main__":
    main()
