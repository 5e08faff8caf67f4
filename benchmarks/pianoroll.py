"""Nats per frame on the piano rolls of JSB and Nottingham, by this package's defaults.

    python benchmarks/pianoroll.py ../shared/data/midi/pianoroll --minutes 10

The data are those of Boulanger-Lewandowski et al. (2012), "Modeling Temporal Dependencies in
High-Dimensional Sequences", with the published splits: frames of 88 keys. A frame is written as its
pitches in order and an end-of-frame token, so that the sum of the tokens' nats is that of the
frame, exactly: nothing is left out, the first frame included, and the mean is over all frames of
the test split. The corpus and the time are all that is passed on; size, dropout, augmentation and
rate are the package's choice for music. Training pieces are transposed, the validation split
chooses among the weights of a run, the test split is scored once and never changed. The tokenizer
offers context features: the voices of the frame before, how long ago each pitch class sounded, and
how the longest repeat goes on.

The network alone stands beside the mixture with counts of the training split, static, with a cache
of the piece, and adaptive; published models have neither cache nor adaptation.

The figure of the mixture of twelve keys is of the network alone: p(piece) is the mean of the
model's probabilities of the piece in twelve transpositions, equally weighted beforehand, which is
exact as well and costs twelve times as much. Then the same frames go the product's own way: written
as MIDI (equal neighbours are one note), learnt from by `generative.train` for the same minutes, and
scored in bits per note. Notes say all that frames say but how long the silence at a piece's end is,
so their nats are given per frame, too.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from learning import Learnt, learn, say
from numpy.typing import NDArray
from scipy.io import loadmat

import generative
from generative.api.music_model import MusicModel
from generative.context.reader import build_tables
from generative.context.records import KINDS
from generative.data import store
from generative.music import midi
from generative.music.piece import Note, Piece, Track
from generative.ngram.model import ADAPTIVE, PROTOCOLS, STATIC
from generative.scoring.loss import cross_entropy, token_nats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from generative.context.records import Tables
    from generative.model.language_model import LanguageModel
    from generative.ngram.model import CountModel

Roll = NDArray[np.uint8]  # (T, 88), 1 where a key sounds
KEYS = 88
LOWEST_PITCH = 21  # of MIDI, the first key
TICKS_PER_BEAT = 24
SHIFTS = range(-5, 7)  # semitones, the twelve keys of the mixture


@dataclass(frozen=True, kw_only=True)
class RollSet:
    """A set of rolls with its published figures.

    Attributes:
        file: name -> piano rolls in MATLAB's format.
        frame_ticks: how long a frame is, 24 ticks a quarter note.
        target: what this project asks of itself.
        peers: model -> nats per frame as published; sources below.
    """

    file: str
    frame_ticks: int
    target: float
    peers: Mapping[str, float]


# RNN-RBM and RNN-NADE: Boulanger-Lewandowski et al. 2012. LSTM, GRU, TCN: Bai, Kolter & Koltun
# 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
# Modeling". LSTM-RTRBM: Lyu et al. 2015, "Modelling High-Dimensional Sequences with LSTM-RTRBM".
SETS = {
    "JSB": RollSet(
        file="JSB_Chorales.mat",
        frame_ticks=24,
        target=3.95,
        peers={"LSTM-RTRBM": 4.72, "RNN-NADE": 5.56, "RNN-RBM": 6.27, "TCN": 8.10, "LSTM": 8.45},
    ),
    "Nottingham": RollSet(
        file="Nottingham.mat",
        frame_ticks=12,
        target=1.1,
        peers={"RNN-NADE": 2.31, "RNN-RBM": 2.39, "TCN": 3.07, "LSTM": 3.29},
    ),
}
# A plain recipe as a live peer (`--plain`): two tied layers, dropout, AdamW, no average of weights,
# no context features.
PLAIN_MODEL = {
    "hidden_size": 256,
    "embedding_size": 256,
    "num_layers": 2,
    "tied": True,
    "sum_layers": False,
    "dropout": 0.4,
    "output_dropout": 0.1,
    "weight_drop": 0.0,
}
PLAIN_TRAINING = {
    "batch_size": 8,
    "sequence_length": 128,
    "learning_rate": 3e-3,
    "average_decay": 0.0,
    "transpose": 5,
}
SPLITS = {"train": "traindata", "held_out": "validdata", "test": "testdata"}


class FrameTokenizer:
    """Frames as rising keys, each frame with an end; any roll is written in one way only.

    Example:
        a frame of keys 39 and 43, then an empty one: 39 43 88 88
    """

    name = "frames"
    end_of_frame = KEYS
    start_id = KEYS + 1
    vocab_size = KEYS + 2
    augmentation_axes: ClassVar[dict[str, range]] = {"pitch": range(KEYS)}
    default_features: tuple[str, ...] = (
        *(f"voice_{number}" for number in range(4)),
        *("next_voice", "next_voice_pitch", "next_voice_interval"),
        *(f"class_age_{number}" for number in range(12)),
        *("match_value", "match_length"),
    )

    def context_tables(self, names: Sequence[str]) -> Tables:
        """What each id means to the context features of these names."""
        kinds = np.full(self.vocab_size, KINDS["frame_pitch"], np.int8)
        kinds[[self.end_of_frame, self.start_id]] = KINDS["frame"], KINDS["start"]
        values = np.arange(LOWEST_PITCH, LOWEST_PITCH + self.vocab_size, dtype=np.int32)
        return build_tables(kinds, values, np.zeros((0, 0), np.int32), names)

    def encode_array(self, roll: Roll) -> NDArray[np.int64]:
        """(T, 88) -> (N,)"""
        framed = np.pad(roll, ((0, 0), (0, 1)), constant_values=1)  # (T, 89)
        return np.nonzero(framed)[1]

    def decode(self, ids: NDArray[np.int64]) -> Roll:
        """The inverse of `encode_array`. (N,) -> (T, 88)"""
        ends = ids == self.end_of_frame
        frames = np.cumsum(ends) - ends
        roll = np.zeros((int(ends.sum()), KEYS), dtype=np.uint8)
        roll[frames[~ends], ids[~ends]] = 1
        return roll

    def transpose(self, ids: NDArray[np.int64], semitones: int) -> NDArray[np.int64]:
        """The same piece in another key. (N,) -> (N,)

        Raises:
            ValueError: a key would leave the keyboard.
        """
        keys = ids < KEYS
        moved = ids + semitones * keys
        if ((moved < 0) | (moved >= KEYS))[keys].any():
            raise ValueError(f"the piece cannot move by {semitones} semitones")
        return moved

    def shifted(self, ids: NDArray[np.int64], axis: str, offset: int) -> NDArray[np.int64]:
        """`transpose`: keys are the only axis."""
        assert axis == "pitch"
        return self.transpose(ids, offset)

    def to_config(self) -> dict[str, Any]:
        """Its name."""
        return {"type": self.name}

    def files(self) -> dict[str, bytes]:
        """None."""
        return {}


TOKENIZER = FrameTokenizer()


def read(path: Path) -> dict[str, list[Roll]]:
    """The pieces of each split."""
    arrays = loadmat(path)
    return {
        split: [np.asarray(roll, dtype=np.uint8) for roll in arrays[name][0]]
        for split, name in SPLITS.items()
    }


def learn_frames(rolls: dict[str, list[Roll]], minutes: float, *, plain: bool = False) -> Learnt:
    """A model of frames by the package's defaults, or by the plain recipe."""
    pieces = {part: [TOKENIZER.encode_array(roll) for roll in rolls[part]] for part in store.PARTS}
    choices: dict[str, Any] = {}
    if plain:
        choices = {"model_choices": PLAIN_MODEL, "training_choices": PLAIN_TRAINING, "features": ()}
    return learn(TOKENIZER, pieces, minutes, **choices)


def frame_nats(
    model: LanguageModel,
    rolls: Sequence[Roll],
    counts: CountModel | None = None,
    protocol: str = STATIC,
) -> float:
    """Mean nats per frame over all frames of all pieces, each from an empty state and cache."""
    total_nats = 0.0
    for roll in rolls:
        ids = TOKENIZER.encode_array(roll).tolist()
        nats = token_nats(model, ids, TOKENIZER.start_id, counts=counts, protocol=protocol)
        total_nats += float(nats.sum())
    return total_nats / sum(map(len, rolls))


@torch.no_grad()
def mixture_nats(model: LanguageModel, rolls: Sequence[Roll]) -> float:
    """As `frame_nats`, for the equal mixture of the model in twelve keys."""
    total_nats = 0.0
    for roll in rolls:
        ids = TOKENIZER.encode_array(roll)
        rows = np.stack([TOKENIZER.transpose(ids, shift) for shift in SHIFTS], axis=1)  # (N, 12)
        targets = torch.from_numpy(rows)
        starts = torch.full((1, len(SHIFTS)), TOKENIZER.start_id)
        inputs = torch.cat([starts, targets[:-1]])
        logits, _ = model(inputs, model.initial_state(len(SHIFTS)))
        nats = cross_entropy(logits, targets, "none").double().sum(0)  # (12,)
        total_nats -= float(torch.logsumexp(-nats, 0)) - float(np.log(len(SHIFTS)))
    return total_nats / sum(map(len, rolls))


def piece_of(roll: Roll, frame_ticks: int) -> Piece:
    """A roll as notes; a key that sounds on through frames is one note. (T, 88) -> Piece"""
    edges = np.diff(np.pad(roll.astype(np.int8), ((1, 1), (0, 0))), axis=0).T  # (88, T + 1)
    notes = (
        Note(
            onset_ticks=int(begin) * frame_ticks,
            duration_ticks=int(end - begin) * frame_ticks,
            pitch=LOWEST_PITCH + key,
            velocity=82,
        )
        for key, edge in enumerate(edges)
        for begin, end in zip(np.flatnonzero(edge > 0), np.flatnonzero(edge < 0), strict=True)
    )
    track = Track(notes=tuple(notes))
    return Piece(ticks_per_beat=TICKS_PER_BEAT, tracks=(track,)).normalised()


def product_scores(
    rolls: dict[str, list[Roll]], frame_ticks: int, folder: Path, minutes: float
) -> Iterator[tuple[str, float, float]]:
    """(protocol, bits per note, nats per frame) of the test split after training on MIDI files."""
    pieces = {name: [piece_of(roll, frame_ticks) for roll in rolls[name]] for name in rolls}
    for name in store.PARTS:
        (folder / name).mkdir()
        for number, piece in enumerate(pieces[name]):
            midi.write(piece, folder / name / f"{number:03d}.mid")
    generative.train(
        folder / "train",
        folder / "model",
        held_out=[folder / "held_out"],
        minutes=minutes,
        report=say,
    )
    model = generative.load(folder / "model")
    assert isinstance(model, MusicModel)
    for protocol in PROTOCOLS:
        total = reduce(add, (model.score(piece, protocol=protocol) for piece in pieces["test"]))
        assert total.bits_per_note is not None
        yield protocol, total.bits_per_note, total.nats / sum(map(len, rolls["test"]))


def lines(name: str, minutes: float, data: Path, *, plain: bool, product: bool) -> Iterator[str]:
    """Train, score and report one set."""
    about = SETS[name]
    rolls = read(data / about.file)
    frames = sum(map(len, rolls["test"]))
    learnt = learn_frames(rolls, minutes)
    model, counts = learnt.model, learnt.counts
    alone = frame_nats(model, rolls["test"])
    scores = {p: frame_nats(model, rolls["test"], counts, p) for p in PROTOCOLS}
    ours = scores[ADAPTIVE]
    yield (
        f"{name}, {minutes:g} minutes, test split of {len(rolls['test'])} pieces and "
        f"{frames:,} frames, nats per frame"
    )
    yield f"{'network':>12}  {alone:6.3f}"
    for protocol, figure in scores.items():
        yield f"{protocol:>12}  {figure:6.3f}   {figure / alone:.3f} of the network alone"
    yield f"{'validation':>12}  {frame_nats(model, rolls['held_out'], counts, ADAPTIVE):6.3f}"
    yield f"{'twelve keys':>12}  {mixture_nats(model, rolls['test']):6.3f}"
    peers = dict(about.peers)
    if plain:
        plain_model = learn_frames(rolls, minutes, plain=True).model
        peers["plain LSTM"] = frame_nats(plain_model, rolls["test"])
    for peer, figure in peers.items():
        yield f"{peer:>12}  {figure:6.2f}   adaptive is {ours / figure:.3f} of it"
    if product:
        with tempfile.TemporaryDirectory() as folder:
            for protocol, bits, nats in product_scores(
                rolls, about.frame_ticks, Path(folder), minutes
            ):
                yield f"{'as MIDI':>12}  {nats:6.3f}   {bits:.3f} bits per note, {protocol}"


def main() -> None:
    """Both sets, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/midi/pianoroll"))
    parser.add_argument("--minutes", type=float, default=10.0, help="a training")
    parser.add_argument("--set", choices=SETS, action="append", dest="names")
    parser.add_argument("--frames-only", action="store_true", help="leave out the MIDI path")
    parser.add_argument("--plain", action="store_true", help="train a plain recipe beside ours")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.error(f"{arguments.data}: no such folder; name the one that holds the .mat files")
    for name in arguments.names or SETS:
        report = lines(
            name,
            arguments.minutes,
            arguments.data,
            plain=arguments.plain,
            product=not arguments.frames_only,
        )
        for line in report:
            print(line, flush=True)


if __name__ == "__main__":
    main()
