"""Music in subwords: bits per note of the same model, learnt for the same minutes, both ways.

    python benchmarks/music_subwords.py ../shared/data/midi/nottingham --minutes 3

A piece's events (bar, position, pitch, duration ...) become characters of Unicode's private use
area, of which sentencepiece makes longer pieces. A subword's id is an event's own, or lies above
them all, so that whatever events there are can be written, and decoding is exact: it is asserted
for every file. Fewer, rarer tokens are dearer each, so what counts is a held-out piece's nats, its
end included, over its notes. For subwords that is the probability of one way of writing the piece,
a bound on that of all ways together: in truth they may be a little better. The end is a token of
its own on both sides, so either gives whole pieces a probability.

Both sides get the package's defaults for music and the same minutes of learning; making tokens is
not counted. A tenth of the files, drawn with a fixed seed from their names in order, is held out;
it chooses among a run's weights on both sides, as in `generative.train`. Training varies pieces in
each epoch (key, loudness, tempo), which subwords cannot follow: a moved pitch is another subword.
So they learn from copies varied beforehand by the same rule, by default more of them than a few
minutes can read, and the subwords themselves are found in these copies. The recipe sees the counts
of one copy, as it does for events. `--as-written` varies nothing on either side.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import sentencepiece
from learning import Ids, learn, say

from generative.data import store
from generative.data.split import held_out_pieces
from generative.music import midi
from generative.scoring.loss import token_nats
from generative.tokenizers.music.tokenizer import MusicTokenizer
from generative.training.augment import Augmentation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generative.model.language_model import LanguageModel

Split = dict[str, list[Ids]]  # a part of the store -> its pieces
EVENTS = MusicTokenizer()
FIRST_CHAR = 0xE000  # where the private use area begins; it has room for 6,400 events
SENTENCE_EVENTS = 1000  # of three bytes each: sentencepiece skips sentences that are longer than
SENTENCE_BYTES = 4000  # this
KINDS = ("bpe", "unigram")
SIZES = (400, 2000)
COPIES = 11  # as many as there are keys within five semitones
AS_WRITTEN = {"transpose": 0, "velocity_jitter": 0, "tempo_jitter": 0}
NATS_PER_BIT = float(np.log(2.0))


class Subwords:
    """Rows of events, those that often stand together as one id; events stand for themselves.

    Example:
        subwords = Subwords.train(pieces, "bpe", 400)
        subwords.decode(subwords.encode(ids)) == ids.tolist()    # True, whatever they are
    """

    name = "subwords"
    start_id = EVENTS.start_id
    augmentation_axes: ClassVar[dict[str, range]] = {}  # a moved pitch is another subword

    def __init__(self, model: bytes) -> None:
        """`model`: a serialised sentencepiece model of `characters`."""
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._model = model
        pieces = map(self._processor.id_to_piece, range(self._processor.vocab_size()))
        longer = [
            events(piece) for piece in pieces if len(piece) > 1 and piece[0] >= chr(FIRST_CHAR)
        ]
        self._events = [(event,) for event in range(EVENTS.vocab_size)] + longer
        self._ids = {row: i for i, row in enumerate(self._events)}
        self.vocab_size = len(self._events)

    @classmethod
    def train(cls, pieces: Sequence[Ids], kind: str, size: int) -> Subwords:
        """The `size` subwords of a corpus, single events not counted."""
        out = io.BytesIO()
        singles = len(np.unique(np.concatenate(pieces)))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(
                characters(piece[at : at + SENTENCE_EVENTS])
                for piece in pieces
                for at in range(0, len(piece), SENTENCE_EVENTS)
            ),
            model_writer=out,
            model_type=kind,
            vocab_size=singles + size + 1,  # one for what is unknown
            hard_vocab_limit=False,
            max_sentence_length=SENTENCE_BYTES,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            split_by_whitespace=False,
            split_by_number=False,
            character_coverage=1.0,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,  # the same corpus gives the same subwords
            minloglevel=2,
        )
        return cls(out.getvalue())

    def encode(self, ids: Ids) -> list[int]:
        """Events as subwords; an event that the corpus lacked stands for itself. (T,) -> ids"""
        found: list[int] = []
        for text in self._processor.encode(characters(ids), out_type=str):
            row = events(text)
            known = self._ids.get(row)  # several unknown events come as one
            found += row if known is None else (known,)
        return found

    def decode(self, ids: Sequence[int]) -> list[int]:
        """The inverse of `encode`."""
        return [event for i in ids for event in self._events[i]]

    def shifted(self, ids: Ids, axis: str, offset: int) -> Ids:
        """The same: without axes there is no way to move, but pieces may come in any order."""
        assert offset == 0, f"no axis {axis}"
        return ids

    def to_config(self) -> dict[str, Any]:
        """Its name and file."""
        return {"type": self.name, "model_file": "tokenizer.model"}

    def files(self) -> dict[str, bytes]:
        """The sentencepiece model."""
        return {"tokenizer.model": self._model}


def characters(ids: Ids) -> str:
    """A character for each event."""
    return "".join(chr(FIRST_CHAR + i) for i in ids.tolist())


def events(text: str) -> tuple[int, ...]:
    """The inverse of `characters`."""
    return tuple(ord(character) - FIRST_CHAR for character in text)


def read(folder: Path) -> Split:
    """The events of all pieces of a folder that have any."""
    files = sorted(folder.glob("*.mid"))
    pieces = [EVENTS.encode_array(midi.read(file)) for file in files]
    pieces = [ids for ids in pieces if ids.size]
    held_out = held_out_pieces(len(pieces))
    split: Split = {part: [] for part in store.PARTS}
    for number, ids in enumerate(pieces):
        split["held_out" if number in held_out else "train"].append(ids)
    return split


def total_bits(model: LanguageModel, pieces: Sequence[Ids], start_id: int) -> float:
    """Of all pieces, each from an empty state and with its end."""
    nats = sum(
        float(token_nats(model, [*ids.tolist(), start_id], start_id).sum()) for ids in pieces
    )
    return nats / NATS_PER_BIT


def in_subwords(subwords: Subwords, pieces: Sequence[Ids]) -> list[Ids]:
    """Pieces encoded, and found to be the same when decoded."""
    encoded = [subwords.encode(ids) for ids in pieces]
    for ids, theirs in zip(encoded, pieces, strict=True):
        assert subwords.decode(ids) == theirs.tolist()
    return [np.array(ids, dtype=np.int32) for ids in encoded]


def length(pieces: Sequence[Ids]) -> int:
    """How many tokens they have together."""
    return sum(map(len, pieces))


def lines(arguments: argparse.Namespace) -> Iterator[str]:
    """Train, score and report: events, then subwords of each size."""
    split = read(arguments.data)
    held_out = split["held_out"]
    notes = sum(map(EVENTS.notes_in, held_out))
    choices = {"seed": arguments.seed, **(AS_WRITTEN if arguments.as_written else {})}
    copies = 1 if arguments.as_written else arguments.copies
    yield (
        f"{arguments.data.name}, {arguments.minutes:g} minutes each, {len(split['train']):,} "
        f"pieces to learn from, {len(held_out):,} held out with {notes:,} notes"
        f"{', nothing varied' if arguments.as_written else ''}"
    )
    # Subwords have no context features, so neither side reads any.
    learnt = learn(EVENTS, split, arguments.minutes, features=(), training_choices=choices)
    plain = total_bits(learnt.model, held_out, EVENTS.start_id) / notes
    yield f"{'':>12}  {'tokens':>9}  {'held out':>8}  {'fewer':>6}  {'bits per note':>13}"
    yield (
        f"{'events':>12}  {length(split['train']):>9,}  {length(held_out):>8,}  {'':>6}  "
        f"{plain:>13.4f}"
    )
    counts = np.bincount(np.concatenate(split["train"]), minlength=EVENTS.vocab_size)
    vary = Augmentation.of(EVENTS, counts, learnt.recipe.training)
    rng = np.random.default_rng(arguments.seed)
    varied = [vary(ids, rng) for _ in range(copies) for ids in split["train"]]
    for size in arguments.sizes or SIZES:
        began = time.monotonic()
        subwords = Subwords.train(varied, arguments.kind, size)
        say(f"{size:,} subwords in {time.monotonic() - began:.1f} s")
        in_subwords(subwords, split["train"])  # as they were written, too: the round trip
        theirs = {
            "train": in_subwords(subwords, varied),
            "held_out": in_subwords(subwords, held_out),
        }
        say(f"all encoded after {time.monotonic() - began:.1f} s")
        learnt = learn(subwords, theirs, arguments.minutes, copies=copies, training_choices=choices)
        bits = total_bits(learnt.model, theirs["held_out"], subwords.start_id) / notes
        fewer = length(held_out) / length(theirs["held_out"])
        yield (
            f"{f'{arguments.kind} {size}':>12}  {length(theirs['train']) // copies:>9,}  "
            f"{length(theirs['held_out']):>8,}  {fewer:>5.2f}x  {bits:>13.4f}   "
            f"{bits / plain:.3f} of events'"
        )


def main() -> None:
    """One folder of MIDI files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "data", type=Path, nargs="?", default=Path("../shared/data/midi/nottingham")
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="a training")
    parser.add_argument("--size", type=int, action="append", dest="sizes", help="how many subwords")
    parser.add_argument("--kind", choices=KINDS, default="bpe")
    parser.add_argument(
        "--copies", type=int, default=COPIES, help="of a piece, varied, in subwords"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the trainings, not of the split")
    parser.add_argument("--as-written", action="store_true", help="vary nothing on either side")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.error(f"{arguments.data}: no such folder; name one that holds .mid files")
    for line in lines(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
