"""What count models cost in the compiled loop: tokens a second without and with them.

    python benchmarks/counts.py ../shared/data/text/tinyshakespeare/input.txt

counts a text (order 8, 4 MB), and samples one sequence in one thread at temperature 0.8 and top-p
0.95 from networks with random weights over a vocabulary of 96 ids, by the network alone and mixed
with counts and cache. Rounds take turns, and the best of each side counts. The text is read first,
so that the cache is full. The ratio is the time with counts over that without.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch

from generative.data.corpus import read_text
from generative.engine.compiled_stepper import CompiledStepper
from generative.engine.weights import Weights
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.ngram.counting import count, largest_order
from generative.ngram.model import CACHED, CountModel
from generative.ngram.trie import build
from generative.sampling.plain import PlainChain

VOCAB, START = 96, 0
SHAPES = ((2, 128), (2, 256), (3, 512), (3, 1024))
PRECISIONS = ("float32", "int8")
CHAIN = PlainChain(temperature=0.8, top_p=0.95)
COUNTS_BYTES = 4_000_000
READ_TOKENS = 10_000
ROUND_SECONDS = 0.5
ROUNDS = 7
LOGIT_SCALE = 20.0  # Random weights make flat distributions, unlike those of trained ones.


def ids_of(text: str) -> np.ndarray:
    """The commonest chars as ids from 1 on, a start token at both ends; others share the last."""
    chars, counts = np.unique(np.array(list(text)), return_counts=True)
    commonest = chars[np.argsort(-counts, kind="stable")][: VOCAB - 1]
    ids = {char: number for number, char in enumerate(commonest.tolist(), start=1)}
    return np.array([START, *(ids.get(char, VOCAB - 1) for char in text), START])


def stepper(layers: int, hidden: int, precision: str, counts: CountModel | None) -> CompiledStepper:
    """A stepper with random weights."""
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=VOCAB, hidden_size=hidden, num_layers=layers)
    arrays = {name: t.numpy() for name, t in LanguageModel(config).state_dict().items()}
    arrays["output.weight"] *= LOGIT_SCALE
    weights = Weights.from_arrays(config, arrays)
    if precision == "int8":
        weights = weights.rounded()
    if counts is None:
        return CompiledStepper(weights)
    return CompiledStepper(weights, counts.tables(CACHED), counts.start(CACHED))


class Side:
    """A stepper that has read the prompt."""

    def __init__(self, one: CompiledStepper, prompt: np.ndarray) -> None:
        self.stepper = one
        self.logits, self.state = one.prefill(prompt, one.initial_state(1))

    def seconds_a_token(self, tokens: int) -> float:
        """Draw so many tokens after the prompt."""
        uniforms = np.random.default_rng(0).random((tokens, 1))
        began = time.perf_counter()
        self.stepper.run(CHAIN, self.logits, self.state, uniforms, None)
        return (time.perf_counter() - began) / tokens


def main() -> None:
    """Measure all shapes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("text", type=Path)
    ids = ids_of(read_text(parser.parse_args().text))
    order = largest_order(len(np.unique(ids)))
    counts = CountModel.untrained(build(count(ids, START, min(8, order)), COUNTS_BYTES), VOCAB)
    prompt = ids[:READ_TOKENS]
    print(f"{'':>8} {'':>8} {'alone':>10} {'counts':>10} {'ratio':>6}   tokens/s")
    for (layers, hidden), precision in itertools.product(SHAPES, PRECISIONS):
        sides = [Side(stepper(layers, hidden, precision, c), prompt) for c in (None, counts)]
        tokens = max(64, int(ROUND_SECONDS / sides[0].seconds_a_token(64)))
        best = [np.inf, np.inf]
        for _ in range(ROUNDS):
            for number, side in enumerate(sides):
                best[number] = min(best[number], side.seconds_a_token(tokens))
        print(
            f"{f'{layers}x{hidden}':>8} {precision:>8} {1 / best[0]:>10,.0f} {1 / best[1]:>10,.0f} "
            f"{best[1] / best[0]:>6.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
