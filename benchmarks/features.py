"""What context features are worth: the same network with and without them, in equal training.

    python benchmarks/features.py CORPUS --steps 1000
    python benchmarks/features.py CORPUS --steps 1000 --without voice --with class_age

A tenth of the MIDI files of CORPUS chooses among the weights of a run and fits its temperature,
another tenth is scored and fits nothing, and all others are trained on. There are no counts. Bits
per note, static; the ratio is to the network without features. `--without FAMILY` adds a network
that reads the default features but those of a family, `--with FAMILY` one that reads those of a
family too.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from learning import say

import generative
from generative.api.music_model import MusicModel
from generative.context.features import FAMILIES, FEATURES, NO_FEATURES
from generative.data.corpus import read_corpus
from generative.data.sources import find_files, of_kind
from generative.tokenizers.music.context import DEFAULT_FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence


def split(files: Sequence[Path], seed: int) -> tuple[list[Path], list[Path], list[Path]]:
    """Files for training, for validation and for the score: eight tenths and two tenths."""
    order = [files[i] for i in np.random.default_rng(seed).permutation(len(files))]
    tenth = max(1, len(files) // 10)
    return order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth]


def named(family: str) -> tuple[str, ...]:
    """The names of the features of a family."""
    return tuple(name for name, one in FEATURES.items() if FAMILIES[one.family].name == family)


def bits_per_note(
    features: Sequence[str], parts: Sequence[Sequence[Path]], options: dict[str, Any]
) -> float:
    """The static score of the last part by a network of these features, trained on the first."""
    train, held_out, test = parts
    with tempfile.TemporaryDirectory() as folder:
        made = generative.train(
            train,
            Path(folder) / "model",
            held_out=held_out,
            context_features=tuple(features) or NO_FEATURES,
            ngram_order=0,
            report=say,
            **options,
        )
        model = generative.load(made.path)
        assert isinstance(model, MusicModel)
        pieces = (document.content for document in read_corpus(test, kind="music").documents)
        total = reduce(add, map(model.score, pieces))
    assert total.bits_per_note is not None
    return total.bits_per_note


def main() -> None:
    """Train and score the networks, and print a line for each."""
    families = [family.name for family in FAMILIES]
    default = [name for name in families if set(named(name)) <= set(DEFAULT_FEATURES)]
    others = [name for name in families if name not in default]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", help="a folder of MIDI files")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="of each training")
    budget.add_argument("--minutes", type=float, help="of each training")
    parser.add_argument("--without", choices=default, action="append", default=[])
    parser.add_argument("--with", choices=others, action="append", default=[], dest="more")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the trainings")
    arguments = parser.parse_args()
    parts = split(of_kind(find_files([arguments.corpus]), "music"), arguments.seed)
    if not parts[0]:
        parser.error(f"{arguments.corpus} has too few MIDI files to split: at least 3 are needed")
    options = {"seed": arguments.seed}
    options |= {n: v for n in ("steps", "minutes") if (v := getattr(arguments, n)) is not None}
    sets: dict[str, tuple[str, ...]] = {"no features": (), "default": DEFAULT_FEATURES}
    for family in arguments.without:
        left = tuple(name for name in DEFAULT_FEATURES if name not in named(family))
        sets[f"without {family}"] = left
    for family in arguments.more:
        sets[f"with {family}"] = DEFAULT_FEATURES + named(family)
    print(f"{len(parts[0])} files to learn from, {len(parts[2])} scored; bits per note")
    without = None
    for name, features in sets.items():
        bits = bits_per_note(features, parts, options)
        without = without or bits
        print(f"{name:>28}  {bits:6.3f}   {bits / without:.3f}", flush=True)


if __name__ == "__main__":
    main()
