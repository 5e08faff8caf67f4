"""Speed of training at equal model, data and loss curve: this package and a plain loop, in one run.

    python benchmarks/training.py CORPUS.txt

The peer is the training loop of pytorch/examples' word_language_model (nn.LSTM, decoder,
log-softmax over the whole vocabulary, clipped gradient, float32), written anew, with AdamW in place
of its bare gradient steps so that both walk the same curve. Both begin from the same weights and
read the same windows, a block of steps each in turn. The machine's own rate is that of large matrix
products in the type that we train in.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.corpus import read_text
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.tokenizers.char import CharTokenizer
from generative.training.batches import windows
from generative.training.config import TrainingConfig
from generative.training.learner import Learner
from generative.training.optimizer import build_optimizer, update_average
from generative.training.recipe import tokens_per_second

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.training.batches import Batch

BLOCKS, STEPS = 5, 10  # of each side, in turn; the fastest block counts


class Peer(nn.Module):
    """word_language_model's LSTM."""

    def __init__(self, ours: LanguageModel) -> None:
        """With the same weights."""
        super().__init__()
        shape = ours.config
        self.encoder = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.rnn = nn.LSTM(shape.embedding_size, shape.hidden_size, shape.num_layers)
        self.decoder = nn.Linear(shape.hidden_size, shape.vocab_size)
        theirs = ours.state_dict()
        mine = {
            "encoder.weight": theirs["embedding.weight"],
            "decoder.weight": theirs["output.weight"],
            "decoder.bias": theirs["output.bias"],
        }
        for i in range(shape.num_layers):
            mine[f"rnn.weight_ih_l{i}"] = theirs[f"layers.{i}.weight_input"]
            mine[f"rnn.weight_hh_l{i}"] = theirs[f"layers.{i}.weight_hidden"]
            mine[f"rnn.bias_ih_l{i}"] = theirs[f"layers.{i}.bias"]
            mine[f"rnn.bias_hh_l{i}"] = torch.zeros_like(theirs[f"layers.{i}.bias"])
        self.load_state_dict(mine)

    def forward(
        self, tokens: Tensor, hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(T, B) -> (T * B, V), new state"""
        output, hidden = self.rnn(self.encoder(tokens), hidden)
        decoded = self.decoder(output).view(-1, self.decoder.out_features)
        return F.log_softmax(decoded, dim=1), hidden


def plain_step(ours: LanguageModel, config: TrainingConfig) -> Callable[[Batch], float]:
    """One step of the peer's loop."""
    model = Peer(ours)
    for i in range(ours.config.num_layers):  # a second bias would walk another curve
        getattr(model.rnn, f"bias_hh_l{i}").requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=(config.beta1, config.beta2), weight_decay=0.0
    )
    zeros = torch.zeros(ours.config.num_layers, config.batch_size, ours.config.hidden_size)
    hidden = (zeros, zeros)

    def step(batch: Batch) -> float:
        nonlocal hidden
        hidden = (hidden[0].detach(), hidden[1].detach())
        model.zero_grad()
        output, hidden = model(torch.from_numpy(batch.inputs), hidden)
        loss = F.nll_loss(output, torch.from_numpy(batch.targets).view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.gradient_clip)
        optimizer.step()
        return float(loss.item())

    return step


def our_step(
    model: LanguageModel, config: TrainingConfig, known: Tensor, precision: torch.dtype
) -> Callable[[Batch], float]:
    """One step of the package's loop, the averaging of weights included."""
    average = LanguageModel(model.config)
    learner = Learner(model, config, known)
    optimizer = build_optimizer(model, config)
    state = model.initial_state(config.batch_size)
    steps = 0

    def step(batch: Batch) -> float:
        nonlocal state, steps
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            loss, nats, state = learner(inputs, targets, state, 0.0)
        state = state.detach()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip, foreach=True)
        optimizer.step()
        update_average(average, model, config.average_decay, steps)
        steps += 1
        return float(nats.item())

    return step


def matmul_rate(precision: torch.dtype) -> float:
    """The machine's floating-point operations a second in large matrix products."""
    a, b = torch.randn(2048, 1024, dtype=precision), torch.randn(1024, 4096, dtype=precision)
    fastest = float("inf")
    for _ in range(12):
        began = time.perf_counter()
        a @ b
        fastest = min(fastest, time.perf_counter() - began)
    return 2.0 * 2048 * 1024 * 4096 / fastest


def main() -> None:
    """Time both and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    arguments = parser.parse_args()
    text = read_text(arguments.corpus)
    tokenizer = CharTokenizer.train([text])
    ids = tokenizer.encode_array(text)
    counts = np.bincount(ids, minlength=tokenizer.vocab_size)
    known = torch.from_numpy(np.flatnonzero(counts))
    for layers, hidden in ((1, 512), (2, 512)):
        torch.manual_seed(0)
        config = TrainingConfig(weight_decay=0.0, learning_rate=2e-3)
        shape = ModelConfig(
            vocab_size=tokenizer.vocab_size,
            num_layers=layers,
            hidden_size=hidden,
            sum_layers=False,
        )
        model = LanguageModel(shape)
        model.set_unigram_bias(counts.tolist())
        precision = max(
            (torch.float32, torch.bfloat16),
            key=lambda p: tokens_per_second(shape, config, known, torch.device("cpu"), p),
        )
        ours = our_step(model, config, known, precision)  # which zeroes what never occurs
        sides = {"plain": plain_step(model, config), "ours": ours}
        times, losses = dict.fromkeys(sides, float("inf")), {name: [0.0] * 0 for name in sides}
        batches = list(
            itertools.islice(
                windows(ids, config.batch_size, config.sequence_length), BLOCKS * STEPS
            )
        )
        for block in range(BLOCKS):
            for name, step in sides.items():
                began = time.perf_counter()
                losses[name] += [step(b) for b in batches[block * STEPS : (block + 1) * STEPS]]
                times[name] = min(times[name], (time.perf_counter() - began) / STEPS)
        tokens = config.batch_size * config.sequence_length
        weights = sum(p.numel() for n, p in model.named_parameters() if "layers" in n)
        weights += len(known) * hidden
        share = 6.0 * weights * tokens / times["ours"] / matmul_rate(precision)
        apart = max(abs(a - b) for a, b in zip(losses["ours"], losses["plain"], strict=True))
        print(
            f"{layers}x{hidden}: ours {tokens / times['ours']:,.0f} tokens/s "
            f"({str(precision).removeprefix('torch.')}), plain nn.LSTM loop "
            f"{tokens / times['plain']:,.0f}, ratio {times['plain'] / times['ours']:.2f}; "
            f"{share:.0%} of the rate of matrix products; losses at most {apart:.3f} apart"
        )


if __name__ == "__main__":
    main()
