"""What a text model makes of the minutes it is given: `generate train` with no option, and peers.

    pip install pyppmd    # one of the compressors; without it, its row says so
    python benchmarks/text.py CORPUS.txt --minutes 2

Every side reads the first 90% and is scored on the last 10%, in nats per character; lower is
better. The peers: n-grams alone (`kneser_ney.py`), a small GPT that is trained in the same minutes
(`small_gpt.py`), and compressors (`compressors.py`). The columns are protocols:

- stream: weights and counts are fixed, and the state or context is carried through the text. The
  first characters have no context.
- cold-256, cold-64: the same with cleared states every so many characters; 64 is the GPT's block.
- cached: counts of the held-out text so far are mixed in as well, as in generation.
- adaptive: the weights of the mixture learn, too. A compressor learns from all it has read.
- dynamic: the network's weights learn (dynamic evaluation); the counts are fixed.
- dynamic+: the network's weights and the counts learn.

A ratio compares with the network alone, under "stream" for cached and adaptive scores, and under
"dynamic" for dynamic+.

What the model fits after training (a temperature, the weights of the mixture) is fitted on the
held-out text. So the last rows score its second half, read as a text of its own: with what was
fitted on all of it, and with the same fitted on its first half only. The choice of the best weights
during training has read some of it in both cases.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from compressors import bits_after, compressors
from kneser_ney import KneserNey
from network import network_alone
from small_gpt import BLOCK, score_gpt, train_gpt

import generative
from generative.api.runtime import Runtime
from generative.api.text_model import TextModel
from generative.data.corpus import read_text
from generative.data.split import training_length
from generative.machine.threads import Workers, available_threads, single_threaded
from generative.training.counting import fit_counts
from generative.training.fitting import calibrate

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAM, COLD, SAME_BLOCK = "stream", "cold-256", f"cold-{BLOCK}"
CACHED, ADAPTIVE, DYNAMIC, DYNAMIC_ADAPTIVE = "cached", "adaptive", "dynamic", "dynamic+"
COLUMNS = (STREAM, COLD, SAME_BLOCK, CACHED, ADAPTIVE, DYNAMIC, DYNAMIC_ADAPTIVE)
HALF_COLUMNS = (STREAM, CACHED, ADAPTIVE)
STATIC_COLUMNS = {CACHED: STREAM, ADAPTIVE: STREAM, DYNAMIC_ADAPTIVE: DYNAMIC}
BLOCKS = {STREAM: None, COLD: 256, SAME_BLOCK: BLOCK}
# The usual length, and the one that is best for Tiny Shakespeare (of 3 to 10).
KNESER_NEY_ORDERS = (5, 7)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: of the side.
        nats: column -> nats per character.
        network: the row of the network alone, which ratios compare with; None prints no ratios.
    """

    name: str
    nats: dict[str, float] = field(default_factory=dict)
    network: Row | None = None

    def lines(self) -> list[str]:
        """The scores, and below them the ratios."""
        lines = [_line(self.name, {c: f"{nats:.4f}" for c, nats in self.nats.items()})]
        if self.network is not None and self.nats:
            of_network = self.network.nats
            ratios = {
                column: f"{nats / of_network[STATIC_COLUMNS.get(column, column)]:.3f}"
                for column, nats in self.nats.items()
            }
            lines.append(_line("  of the network alone", ratios))
        return lines


def table(rows: Sequence[Row]) -> str:
    """All rows under the names of the columns."""
    heading = _line("", {column: column for column in COLUMNS})
    return "\n".join([heading, *(line for row in rows for line in row.lines())])


def _line(name: str, cells: dict[str, str]) -> str:
    return f"{name:<40}" + "".join(f"{cells.get(column, ''):>10}" for column in COLUMNS)


def scores(model: TextModel, text: str, columns: Sequence[str]) -> dict[str, float]:
    """Nats per character under each protocol; without counts, only under those that need none."""
    if model.checkpoint.counts is None:
        columns = [column for column in columns if column not in STATIC_COLUMNS]
    ids = model.tokenizer.encode(text)
    found = {}
    for column in columns:
        if column in BLOCKS:
            score = model.score(text, reset_every=BLOCKS[column], protocol="static")
        elif column in (DYNAMIC, DYNAMIC_ADAPTIVE):
            protocol = "static" if column == DYNAMIC else "adaptive"
            score = model.likelihood(text, model.dynamic_token_nats(ids, protocol=protocol))
        else:
            score = model.score(text, protocol=column)
        found[column] = score.nats / len(text)
    return found


def both(model: TextModel, text: str, columns: Sequence[str], name: str = "") -> list[Row]:
    """The rows of the network alone and of the model with counts, where it has some."""
    alone = Row(f"{name}network alone", scores(network_alone(model), text, columns))
    if model.checkpoint.counts is None:
        return [alone, Row(f"{name}with counts: the model has none")]
    return [alone, Row(f"{name}with counts", scores(model, text, columns), alone)]


def fitted_on(model: TextModel, text: str) -> TextModel:
    """The model with the temperature and the weights of its mixture fitted anew on a text."""
    found = model.checkpoint
    network, counts = found.build(), found.counts
    start_id = found.tokenizer.start_id
    stream = np.array([start_id, *model.tokenizer.encode(text)])
    with single_threaded(), Workers(available_threads()) as workers:
        calibrate(network, stream, workers=workers)
        if counts is not None:
            counts = fit_counts(network, counts, stream, start_id, workers=workers).model
    weights = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    return TextModel(Runtime(replace(found, weights=weights, counts=counts)))


def our_rows(corpus: Path, minutes: float, held_out: str) -> tuple[list[Row], list[Row]]:
    """Train; the rows of the held-out text, and those of its second half."""
    with tempfile.TemporaryDirectory() as folder:
        generative.train(corpus, Path(folder) / "model", minutes=minutes)
        model = generative.load(Path(folder) / "model")
        assert isinstance(model, TextModel)
        first, second = held_out[: len(held_out) // 2], held_out[len(held_out) // 2 :]
        halves = both(model, second, HALF_COLUMNS, "half 2, fit on all: ")
        halves += both(fitted_on(model, first), second, HALF_COLUMNS, "half 2, fit on half 1: ")
        return both(model, held_out, COLUMNS), halves


def peer_rows(train: str, held_out: str, minutes: float, network: Row) -> list[Row]:
    """Score the peers; the GPT is trained for so many minutes, or left out for 0."""
    chars = {char: i for i, char in enumerate(sorted({*train, *held_out}))}
    known = np.array([chars[char] for char in train])
    unknown = np.array([chars[char] for char in held_out])
    rows = []
    for order in KNESER_NEY_ORDERS:
        nats = KneserNey(known, len(chars), order).token_nats(unknown)
        rows.append(Row(f"{order}-gram, Kneser-Ney", {STREAM: float(nats.mean())}, network))
    if minutes:
        gpt = train_gpt(torch.from_numpy(known), len(chars), minutes * 60.0)
        nats_per_char = score_gpt(gpt, torch.from_numpy(unknown))
        rows.append(Row("small GPT", {SAME_BLOCK: nats_per_char}, network))
    for name, compress in compressors().items():
        if compress is None:
            rows.append(Row(f"{name}: not installed"))
            continue
        bits = bits_after(compress, train, held_out) / len(held_out)
        label = f"{name}, {bits:.3f} bits per char"
        rows.append(Row(label, {ADAPTIVE: bits * math.log(2.0)}, network))
    return rows


def main() -> None:
    """Train all, score all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--no-gpt", action="store_true", help="leave out the GPT, which is trained")
    arguments = parser.parse_args()

    text = read_text(arguments.corpus)
    cut = training_length(len(text))
    train, held_out = text[:cut], text[cut:]
    ours, halves = our_rows(arguments.corpus, arguments.minutes, held_out)
    peers = peer_rows(train, held_out, 0 if arguments.no_gpt else arguments.minutes, ours[0])
    print(
        f"{arguments.corpus.name}, {arguments.minutes:g} minutes, {len(held_out):,} chars held "
        "out; nats per char"
    )
    print(table([*ours, *peers, *halves]))


if __name__ == "__main__":
    main()
