"""Makes the models that ship, each with one command; knows their corpora and recipes.

    python checkpoints/make.py shakespeare path/to/tinyshakespeare/input.txt
    python checkpoints/make.py chorales path/to/Jsb16thSeparated.json
    python checkpoints/make.py folk path/to/ceol-rince
    python checkpoints/make.py lieder path/to/lieder
    python checkpoints/make.py lieder path/to/lieder --network checkpoints/lieder

The last form keeps the network of a model that was made earlier from the same corpus, and makes
only the count models beside it.

The corpora are not part of the project; corpora/README.md says where they are found. Weights are
stored in half precision, and the scores on the card are those of the stored weights.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import generative
from generative import checkpoint
from generative.api import card
from generative.context.reader import reader_for
from generative.data import corpus, split, store
from generative.machine.threads import Workers, available_threads, single_threaded
from generative.music import midi
from generative.music.piece import Meter, Note, Piece, Tempo, Track
from generative.ngram.model import ADAPTIVE, STATIC
from generative.tokenizers.music.context import DEFAULT_FEATURES
from generative.training import recorded
from generative.training.counting import count_corpus
from generative.training.finish import Finish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
KEPT_FILES = frozenset(
    {
        checkpoint.CONFIG_FILE,
        checkpoint.WEIGHTS_FILE,
        checkpoint.COUNTS_FILE,
        checkpoint.TOKENIZER_FILE,
        checkpoint.CARD_FILE,
        "learning_curve.png",
    }
)

STEPS_PER_QUARTER = 4  # the chorales come in 16th notes
VOICES = ("Soprano", "Alto", "Tenor", "Bass")
CHURCH_ORGAN, FIDDLE = 19, 110  # General MIDI programs, counted from 0
VELOCITY = 79
CHORALE_TEMPO = 76.0
HELD_OUT_EVERY = 10
# The styles of `lieder`: how the names of a composer's files begin, and the name of the style.
COMPOSERS = {
    "Brahms_Johannes": "brahms",
    "Chaminade": "chaminade",
    "Cornelius_Peter": "cornelius",
    "Debussy_Claude": "debussy",
    "Faur": "faure",
    "Franz_Robert": "franz",
    "Hensel_Fanny": "hensel",
    "Holm": "holmes",
    "Kinkel_Johanna": "kinkel",
    "Lang_Josephine": "lang",
    "Reichardt_Louise": "reichardt",
    "Satie_Erik": "satie",
    "Schubert_Franz": "schubert",
    "Schumann_Clara": "clara-schumann",
    "Schumann_Robert": "robert-schumann",
    "Wolf_Hugo": "wolf",
}


@dataclass(frozen=True)
class Made:
    """What is to be told of a model that was made.

    Attributes:
        note: for the card.
        unseen: documents that no gradient saw, for the scores.
        styles: the style of each; empty where there are none.
        temperature: for commands that are given none; None is that of all models.
    """

    note: str
    unseen: Sequence[Any]
    styles: Sequence[str | None] = ()
    temperature: float | None = None


def budget(only_counts: bool, **usual: int) -> dict[str, Any]:
    """The budget of a training; where only counts are made, one step."""
    return {"steps": 1} if only_counts else usual


def shakespeare(source: Path, output: Path, only_counts: bool) -> Made:
    """Learn the first 90% of Tiny Shakespeare as anyone would, with no option but the time."""
    generative.train(
        source,
        output,
        **budget(only_counts, minutes=20),
        licence="public domain (text by William Shakespeare; compiled by Andrej Karpathy)",
        report=print,
    )
    text = corpus.read_text(source)
    note = (
        "Tiny Shakespeare, from karpathy/char-rnn on GitHub: the first 90% for training, "
        "the last 10% never seen by a gradient."
    )
    return Made(note, [text[split.training_length(len(text)) :]])


def chorales(source: Path, output: Path, only_counts: bool) -> Made:
    """Learn the JSB training split."""
    splits = json.loads(source.read_text(encoding="utf-8"))
    pieces = {name: [chorale(steps) for steps in splits[name]] for name in splits}
    with tempfile.TemporaryDirectory() as folder:
        for name, split in pieces.items():
            (Path(folder) / name).mkdir()
            for i, piece in enumerate(split):
                midi.write(piece, Path(folder) / name / f"chorale-{i:03d}.mid")
        generative.train(
            Path(folder) / "train",
            output,
            held_out=[Path(folder) / "valid"],
            **budget(only_counts, steps=4_000),
            batch_size=16,
            sequence_length=128,
            hidden=384,
            embedding_size=384,
            num_layers=2,
            dropout=0.4,
            output_dropout=0.3,
            weight_drop=0.3,
            learning_rate=3e-3,
            average_decay=0.998,
            licence="public domain (Johann Sebastian Bach)",
            report=print,
        )
    note = (
        "Chorales by J. S. Bach in four voices, at 16th-note steps, from "
        "czhuang/JSB-Chorales-dataset on GitHub with its published split: 229 to learn from, "
        "transposed by up to 5 semitones while training; 76 to choose the weights by; the scores "
        "below are on the 77 of the test split, not transposed. The data do not tell held notes "
        "from repeated ones: equal neighbours are one note. Bar lines are assumed, four quarters "
        "from the first note on."
    )
    return Made(note, pieces["test"])


def folk(source: Path, output: Path, only_counts: bool) -> Made:
    """Learn dance tunes as anyone would, played by a fiddle.

    It has no count models. They gain 0.02 nats a token, since the network sees what repeats, but
    the weights of the mixture are fitted on tunes, and in samples they make bars repeat for ever.
    """
    files = sorted(source.glob("*.mid"))
    tunes = {file.name: fiddled(midi.read(file)) for file in files}
    unseen = [tunes.pop(file.name) for file in files[::HELD_OUT_EVERY]]
    with tempfile.TemporaryDirectory() as folder:
        for name, tune in tunes.items():
            midi.write(tune, Path(folder) / name)
        generative.train(
            folder,
            output,
            **budget(only_counts, minutes=20),
            ngram_order=0,
            licence="CC BY 4.0 (Polifonia project; ABC transcriptions by Bill Black)",
            report=print,
        )
    note = (
        "Irish dance tunes of Breandan Breathnach's Ceol Rince na hEireann, in the ABC of Bill "
        "Black, from polifonia-project/folk_ngram_analysis on GitHub (cre_corpus), given to a "
        "fiddle, and transposed by up to 5 semitones while training. Every "
        f"{HELD_OUT_EVERY}th tune was left out, and the scores below are on those: nothing was "
        "fitted to them."
    )
    return Made(note, unseen, temperature=0.9)


def lieder(source: Path, output: Path, only_counts: bool) -> Made:
    """Learn songs for voice and piano, with the composers of many of them as styles."""
    files = sorted(source.glob("*.mid"))
    unseen = files[::HELD_OUT_EVERY]
    known = [file for file in files if file not in unseen]
    generative.train(
        known,
        output,
        **budget(only_counts, minutes=25),
        hidden=320,
        embedding_size=320,
        styles={str(file): style for file in known if (style := composer(file))},
        context_features=[name for name in DEFAULT_FEATURES if name[-2:] not in {"_4", "_5"}],
        licence="CC0 1.0 (OpenScore Lieder Corpus; the project asks for credit)",
        report=print,
    )
    note = (
        "Songs of the 19th century for voice (played by an oboe) and piano, from the OpenScore "
        "Lieder Corpus, OpenScore/Lieder on GitHub, as MIDI, transposed by up to 5 semitones while "
        f"training. Composers of many songs are styles. Every {HELD_OUT_EVERY}th song was left "
        "out, and the scores below are on those: nothing was fitted to them."
    )
    songs = [midi.read(file) for file in unseen]
    return Made(note, songs, [composer(file) for file in unseen], temperature=0.9)


def composer(file: Path) -> str | None:
    """The style of a song; None for composers of few."""
    return next((style for begin, style in COMPOSERS.items() if file.name.startswith(begin)), None)


def fiddled(piece: Piece) -> Piece:
    """The piece with all its tracks given to the fiddle."""
    return replace(piece, tracks=tuple(replace(t, program=FIDDLE) for t in piece.tracks))


def chorale(steps: Sequence[Sequence[int]]) -> Piece:
    """Four voices from one row of four pitches a 16th note; -1 is silence. (T, 4) -> Piece"""
    tracks = []
    for name, line in zip(VOICES, zip(*steps, strict=True), strict=True):
        notes, begin = [], 0
        for end in range(1, len(line) + 1):
            if end < len(line) and line[end] == line[begin]:
                continue
            if line[begin] >= 0:
                notes.append(
                    Note(
                        onset_ticks=begin,
                        duration_ticks=end - begin,
                        pitch=int(line[begin]),
                        velocity=VELOCITY,
                    )
                )
            begin = end
        tracks.append(Track(program=CHURCH_ORGAN, notes=tuple(notes), name=name))
    return Piece(
        ticks_per_beat=STEPS_PER_QUARTER,
        tracks=tuple(tracks),
        tempos=(Tempo(at_ticks=0, beats_per_minute=CHORALE_TEMPO),),
        meters=(Meter(at_ticks=0, numerator=4, denominator=4),),
    )


MAKERS: dict[str, Callable[[Path, Path, bool], Made]] = {
    "shakespeare": shakespeare,
    "chorales": chorales,
    "folk": folk,
    "lieder": lieder,
}


def keep_network(folder: Path, earlier: Path) -> None:
    """Give a new model the network of an earlier one, and fit the count models to it."""
    config, details = checkpoint.read_config(earlier)
    checkpoint.save_description(folder, config, checkpoint.load_tokenizer(folder), details)
    arrays, notes = checkpoint.load_weights(earlier)
    weights = {name: array.astype(np.float32) for name, array in arrays.items()}
    checkpoint.save_weights(folder, weights, notes)
    shutil.copy(earlier / "learning_curve.png", folder)
    tokens = store.open_store(folder / store.FOLDER)
    assert tokens is not None
    model = checkpoint.load(folder)
    with single_threaded(), Workers(available_threads()) as workers:
        counts = count_corpus(
            tokens, model.tokenizer, recorded.load_recipe(folder), workers=workers
        )
        if counts is not None:
            ends = Finish(tokens=tokens, workers=workers, fits=True, counts=counts)
            ends.fit_counts(folder, model.build(), counts, print)


def drop_constant_features(folder: Path) -> None:
    """Leave out context features that have one value throughout the corpus, as of absent tracks.

    Their vectors are added to those of the first feature that stays, so that the network's
    probabilities stay as they are.
    """
    config, details = checkpoint.read_config(folder)
    reader = reader_for(checkpoint.load_tokenizer(folder), config.features)
    tokens = store.open_store(folder / store.FOLDER)
    if reader is None or tokens is None:
        return
    values = reader.read(tokens.stream("train")[:, np.newaxis], reader.start(1))[0][:, 0]  # (N, F)
    varies = (values != values[0]).any(axis=0)
    arrays, notes = checkpoint.load_weights(folder)
    weights = {name: array.astype(np.float32) for name, array in arrays.items()}
    sizes = np.array(config.feature_sizes)
    vectors = np.split(weights["features.weight"], np.cumsum(sizes)[:-1])
    kept = np.flatnonzero(varies).tolist()
    vectors[kept[0]] += weights["features.weight"][values[0][~varies]].sum(axis=0)
    weights["features.weight"] = np.concatenate([vectors[i] for i in kept])
    names = tuple(config.features[i] for i in kept)
    config = replace(config, features=names, feature_sizes=tuple(sizes[kept].tolist()))
    checkpoint.save_description(folder, config, checkpoint.load_tokenizer(folder), details)
    checkpoint.save_weights(folder, weights, notes)


def finish(folder: Path, made: Made) -> None:
    """Halve the weights, score them, write the card, drop what does not ship."""
    arrays, _ = checkpoint.load_weights(folder)
    checkpoint.save_weights(folder, {k: v.astype(np.float16) for k, v in arrays.items()})
    model = generative.load(folder)
    config, details = checkpoint.read_config(folder)
    styles = made.styles or [None] * len(made.unseen)
    documents = list(zip(made.unseen, styles, strict=True))
    scores = {}
    for name, protocol in (("held_out", STATIC), ("adaptive", ADAPTIVE)):
        if protocol == STATIC or model.checkpoint.counts:
            likelihoods = (model.in_style(s).score(d, protocol=protocol) for d, s in documents)
            scores[name] = reduce(add, likelihoods)
    details["scores"] |= {"adaptive": None, **{k: asdict(v) for k, v in scores.items()}}
    details["corpus"]["held_out_tokens"] = scores["held_out"].tokens
    if made.temperature is not None:
        details["sampling"] = {"temperature": made.temperature}
    checkpoint.save_description(folder, config, model.tokenizer, details)
    card.write(folder, made.note)
    for path in folder.iterdir():
        if path.name not in KEPT_FILES:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print((folder / checkpoint.CARD_FILE).read_text(encoding="utf-8"))


def main() -> None:
    """Make one model; an older one of that name is replaced when the new one is finished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", choices=MAKERS)
    parser.add_argument("source", type=Path)
    parser.add_argument("--network", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if not arguments.source.exists():
        sys.exit(f"{arguments.source}: not there; corpora/README.md says where to find it")
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        new = Path(folder) / arguments.name
        only_counts = arguments.network is not None
        made = MAKERS[arguments.name](arguments.source, new, only_counts)
        if only_counts:
            keep_network(new, arguments.network)
        drop_constant_features(new)
        finish(new, made)
        final = HERE / arguments.name
        if final.exists():
            shutil.rmtree(final)
        new.replace(final)


if __name__ == "__main__":
    main()
