"""What learning while reading is worth, and what it costs: static and dynamic scores of one model.

    python benchmarks/dynamic.py MODEL held_out.txt --other another_author.txt

scores the held-out text both ways, then lets a copy read the first half of another author's text
(`model.adapt`) and scores the second half before and after. Nats per character; lower is better.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import generative
from generative.api.text_model import TextModel
from generative.data.corpus import read_text


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--other", type=Path)
    arguments = parser.parse_args()
    model = generative.load(arguments.model)
    assert isinstance(model, TextModel)
    text = read_text(arguments.held_out)
    ids = model.tokenizer.encode(text)
    began = time.perf_counter()
    static = model.token_nats(ids).sum() / len(text)
    middle = time.perf_counter()
    dynamic = model.dynamic_token_nats(ids).sum() / len(text)
    ended = time.perf_counter()
    print(
        f"{arguments.held_out.name}: static {static:.4f} in {middle - began:.1f} s, "
        f"dynamic {dynamic:.4f} in {ended - middle:.1f} s, ratio {dynamic / static:.3f}"
    )
    if arguments.other is None:
        return
    other = read_text(arguments.other)
    first, second = other[: len(other) // 2], other[len(other) // 2 :]
    before = model.score(second).nats / len(second)
    began = time.perf_counter()
    adapted = model.adapt(first)
    seconds = time.perf_counter() - began
    after = adapted.score(second).nats / len(second)
    print(
        f"{arguments.other.name}, second half: {before:.4f}; after reading the first half "
        f"({len(first):,} chars, {seconds:.1f} s): {after:.4f}, ratio {after / before:.3f}"
    )


if __name__ == "__main__":
    main()
