"""Nats per 16th step of the JSB chorales' test split, beside published models of the same data.

    python benchmarks/chorales.py chorales path/to/Jsb16thSeparated.json

A chorale has four voices and a pitch for each at every 16th. The likelihood of the whole piece,
from its first token to its end, is divided by the number of its 16ths, so that models with other
tokens compare with it. The piece also says which instruments play and in which meter, which costs a
few nats and is counted as well; equal neighbours are one note, as the data do not tell held notes
from repeated ones. Pieces are not transposed.

TonicNet (Peracha 2019, "Improving Polyphonic Music Models with Feature-Rich Encoding") reports
0.317 nats a token without additional data, and 0.220 with them, with five tokens a step. Music
Transformer (Huang et al. 2018) and Coconet (Huang et al. 2017) report 0.335 and 0.436 nats a note
with four notes a step, as quoted by Peracha.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import reduce
from operator import add
from pathlib import Path

import generative
from generative.ngram.model import PROTOCOLS

sys.path.append(str(Path(__file__).resolve().parents[1] / "checkpoints"))

from make import chorale

PEERS = {
    "TonicNet, additional data": 5 * 0.220,
    "Music Transformer": 4 * 0.335,
    "TonicNet": 5 * 0.317,
    "Coconet": 4 * 0.436,
}


def main() -> None:
    """Score the test split under each protocol, and print the peers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="of music, which did not learn from the test split")
    parser.add_argument("source", type=Path)
    arguments = parser.parse_args()
    model = generative.load(arguments.model)
    if not isinstance(model, generative.MusicModel):
        sys.exit(f"{arguments.model} is no model of music")
    rows = json.loads(arguments.source.read_text(encoding="utf-8"))["test"]
    steps = sum(map(len, rows))
    pieces = [chorale(row) for row in rows]
    print(f"{len(pieces)} chorales, {steps:,} steps\n")
    print("| | nats a step | bits a note |\n|---|---|---|")
    for protocol in PROTOCOLS:
        total = reduce(add, (model.score(piece, protocol=protocol) for piece in pieces))
        figures = f"{total.nats / steps:.3f} | {total.bits_per_note:.3f}"
        print(f"| {model.checkpoint.name}, {protocol} | {figures} |", flush=True)
    for name, nats in PEERS.items():
        print(f"| {name} | {nats:.2f} | |")


if __name__ == "__main__":
    main()
