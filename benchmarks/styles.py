"""What knowing a document's style is worth: held-out scores in its own style, in none, in others.

    generate train corpus/ -o MODEL --styles folders
    python benchmarks/styles.py MODEL --plain UNLABELLED

scores the held-out documents that lie in MODEL/tokens, those of each style from an empty state and
with the state carried through. `--plain` adds a model trained on the same corpus without styles.
The last column mixes, at each token, the beliefs in all styles in equal shares. Nats per token;
lower is better.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import generative
from generative.data import store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOKENS_AT_MOST = 40_000  # of each style


def nats_per_token(model: Any, documents: Sequence[list[int]], reset_every: int | None) -> float:
    """All documents together: sums first."""
    nats = np.concatenate([model.token_nats(ids, reset_every) for ids in documents])
    return float(nats.mean())


def some(documents: Any, numbers: Sequence[int], number: int) -> list[list[int]]:
    """Those of one style, until there are enough tokens."""
    found: list[list[int]] = []
    for ids, its_number in zip(documents, numbers, strict=True):
        room = TOKENS_AT_MOST - sum(map(len, found))
        if its_number == number and room > 0:
            found.append(ids[:room].tolist())
    return found


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--plain", type=Path)
    parser.add_argument("--reset-every", type=int)
    arguments = parser.parse_args()
    model = generative.load(arguments.model)
    tokens = store.open_store(arguments.model / store.FOLDER)
    assert tokens is not None
    styles: tuple[str, ...] = model.styles
    everyone = generative.mix({model.in_style(style): 1.0 for style in styles})
    columns: dict[str, Callable[[str], list[Any]]] = {
        "own": lambda own: [model.in_style(own)],
        "none": lambda _: [model],
        "others": lambda own: [model.in_style(style) for style in styles if style != own],
        "mixed": lambda _: [everyone],
    }
    if arguments.plain:
        plain = generative.load(arguments.plain)
        columns["plain"] = lambda _: [plain]
    print(f"{'style':<16} {'tokens':>8} " + " ".join(f"{name:>8}" for name in columns))
    for number, style in enumerate(styles, start=1):
        documents = some(tokens.documents("held_out"), tokens.parts["held_out"].labels, number)
        means = [
            np.mean([nats_per_token(m, documents, arguments.reset_every) for m in models(style)])
            for models in columns.values()
        ]
        row = " ".join(f"{mean:>8.4f}" for mean in means)
        print(f"{style:<16} {sum(map(len, documents)):>8,} {row}")


if __name__ == "__main__":
    main()
