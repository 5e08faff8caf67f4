"""Tokens per second of one sequence: the engine beside the usual `nn.LSTM` step loop, in one run.

    python benchmarks/sampling.py

Both sample with temperature 0.8 and top-p 0.95 from random weights, vocabulary 96, one thread. The
peer is what a user of torch writes first: embedding, `nn.LSTM` and a linear layer, one step a call,
softmax, sorted nucleus, multinomial.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from generative.engine import NumpyStepper
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.sampling import SamplingOptions, sample

if TYPE_CHECKING:
    from collections.abc import Callable

VOCABULARY = 96
SHAPES = ((2, 128), (2, 256), (3, 512), (3, 1024))
TEMPERATURE, TOP_P = 0.8, 0.95
SECONDS = 3.0  # a side and shape


def tokens_per_second(draw: Callable[[int], None]) -> float:
    """How fast `draw(n)` makes n tokens: the count is doubled until it takes long enough."""
    count = 16
    while True:
        began = time.perf_counter()
        draw(count)
        seconds = time.perf_counter() - began
        if seconds > SECONDS / 2:
            return count / seconds
        count *= 2


def ours(layers: int, hidden: int) -> Callable[[int], None]:
    """Sampling through the package's engine and chain."""
    config = ModelConfig(
        vocab_size=VOCABULARY, num_layers=layers, hidden_size=hidden, sum_layers=False
    )
    weights = {k: v.numpy() for k, v in LanguageModel(config).state_dict().items()}
    stepper = NumpyStepper(config, weights)
    options = SamplingOptions(temperature=TEMPERATURE, top_p=TOP_P)

    def draw(count: int) -> None:
        for _ in sample(stepper, [0], max_new_tokens=count, options=options, seed=0):
            pass

    return draw


def peer(layers: int, hidden: int) -> Callable[[int], None]:
    """Sampling through `nn.LSTM`, one step a call."""
    embedding = nn.Embedding(VOCABULARY, 128)
    lstm = nn.LSTM(128, hidden, layers)
    output = nn.Linear(hidden, VOCABULARY)

    @torch.no_grad()
    def draw(count: int) -> None:
        token = torch.zeros(1, 1, dtype=torch.long)
        state = None
        for _ in range(count):
            out, state = lstm(embedding(token), state)
            p = (output(out[-1]) / TEMPERATURE).softmax(-1)
            ordered, order = p.sort(descending=True)
            ordered[ordered.cumsum(-1) - ordered >= TOP_P] = 0.0
            token = order.gather(1, torch.multinomial(ordered, 1))

    return draw


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("layers x hidden   engine tok/s   nn.LSTM loop tok/s   ratio")
    for layers, hidden in SHAPES:
        fast, usual = (tokens_per_second(side(layers, hidden)) for side in (ours, peer))
        print(f"{layers}x{hidden:<14} {fast:12,.0f} {usual:20,.0f} {fast / usual:7.1f}")


if __name__ == "__main__":
    main()
