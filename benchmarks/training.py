"""Speed of training on an idle machine and beside busy processes: three sides in one run.

    python benchmarks/training.py CORPUS.txt

- plain: the training loop of pytorch/examples' word_language_model (nn.LSTM, decoder, log-softmax
  over the whole vocabulary, clipped gradient, float32), written anew, with AdamW in place of its
  bare gradient steps.
- before: a step as version 0.1.0 of this package made it: the whole batch through the fused LSTM,
  which shares each product among all cores.
- ours: `TrainingStep`, whose threads share the rows of the batch.

Each side runs in a process and session of its own, as a command in a terminal does, and so does
each busy process. A side is measured for some seconds at a time, the sides in turn; the mean
counts. A second part checks that ours and plain walk the same curve from the same weights.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.corpus import read_text
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.model.noise import Noise
from generative.threads import Workers, available_threads, single_threaded
from generative.tokenizers.char import CharTokenizer
from generative.training.batches import windows
from generative.training.config import TrainingConfig
from generative.training.learner import Learner
from generative.training.processes import Processes
from generative.training.step import TrainingStep, shards_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from generative.training.batches import Batch

    Step = Callable[[Batch], float]

SIDES = ("plain", "before", "ours")
BLOCK_SECONDS, ROUNDS = 3.0, 2
SHAPES = ((1, 320), (1, 512))
COMPARED_STEPS = 30
BUSY = "while True: pass"
CONDITIONS = {"idle": 0, "beside one busy process": 1, "beside two": 2}


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


def plain_step(ours: LanguageModel, config: TrainingConfig) -> Step:
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


def step_before(model: LanguageModel, config: TrainingConfig, known: Tensor) -> Step:
    """One step as version 0.1.0 made it, the averaging of weights included."""
    average = LanguageModel(model.config)
    learner = Learner(model, config, known)
    trained: list[Tensor] = list(model.parameters())
    optimizer = torch.optim.AdamW(
        trained,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )
    state = model.initial_state(config.batch_size)
    noise = Noise.seeded(config.seed)

    def step(batch: Batch) -> float:
        nonlocal state
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        loss, nats, state = learner(inputs, targets, state, 0.0, None, noise)
        state = state.detach()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.gradient_clip, foreach=True)
        optimizer.step()
        old: list[Tensor] = list(average.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(old, trained, 1.0 - config.average_decay)
        return float(nats.item())

    return step


def our_step(
    model: LanguageModel, config: TrainingConfig, known: Tensor, workers: Workers, shards: int
) -> Step:
    """One step of the package's own."""
    training = TrainingStep(
        model=model,
        average=LanguageModel(model.config),
        config=config,
        known=known,
        precision=torch.float32,
        workers=workers,
        processes=Processes(device=torch.device("cpu")),
        shards=shards,
    )
    steps = itertools.count()

    def step(batch: Batch) -> float:
        outcome = training(
            batch, learning_rate=config.learning_rate, progress=0.0, step=next(steps)
        )
        return outcome.nats

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


class Corpus:
    """A text as ids, with the settings that all sides share."""

    def __init__(self, path: Path) -> None:
        """Read `path`."""
        text = read_text(path)
        self.tokenizer = CharTokenizer.train([text])
        self.ids = self.tokenizer.encode_array(text)
        self.counts = np.bincount(self.ids, minlength=self.tokenizer.vocab_size)
        self.known = torch.from_numpy(np.flatnonzero(self.counts))

    def model(self, layers: int, hidden: int, dropout: float) -> LanguageModel:
        """The same one at each call."""
        torch.manual_seed(0)
        shape = ModelConfig(
            vocab_size=self.tokenizer.vocab_size,
            num_layers=layers,
            hidden_size=hidden,
            sum_layers=False,
            dropout=dropout,
            output_dropout=dropout,
        )
        model = LanguageModel(shape)
        model.set_unigram_bias(self.counts.tolist())
        return model

    def batches(self, config: TrainingConfig) -> Iterator[Batch]:
        """Windows in order, again and again."""
        while True:
            yield from windows(self.ids, config.batch_size, config.sequence_length)


@contextmanager
def sides(
    corpus: Corpus, layers: int, hidden: int, dropout: float, threads: int
) -> Iterator[dict[str, Callable[[], Step]]]:
    """What makes a step of each side."""
    config = TrainingConfig(weight_decay=0.0, learning_rate=2e-3, clear_probability=0.0)
    shards = shards_for(config.batch_size, threads)

    def model() -> LanguageModel:
        return corpus.model(layers, hidden, dropout)

    with Workers(threads) as workers:
        yield {
            "plain": lambda: plain_step(model(), config),
            "before": lambda: step_before(model(), config, corpus.known),
            "ours": lambda: our_step(model(), config, corpus.known, workers, shards),
        }


def measure(corpus: Corpus, side: str, layers: int, hidden: int, threads: int) -> float:
    """Tokens a second of one side in this process."""
    config = TrainingConfig()
    with ExitStack() as stack:
        if side == "ours":
            stack.enter_context(single_threaded())
        step = stack.enter_context(sides(corpus, layers, hidden, 0.1, threads))[side]()
        batches = corpus.batches(config)
        for _ in range(2):
            step(next(batches))
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < BLOCK_SECONDS:
            step(next(batches))
            steps += 1
        seconds = time.perf_counter() - began
    return steps * config.batch_size * config.sequence_length / seconds


def measure_apart(path: Path, side: str, layers: int, hidden: int, threads: int) -> float:
    """The same in a process and a session of its own."""
    options = [side, str(layers), str(hidden), str(threads)]
    done = subprocess.run(
        [sys.executable, __file__, str(path), "--measure", *options],
        check=True,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    return float(done.stdout)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many busy processes, each in a session of its own."""
    loops = [
        subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) for _ in range(count)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def compare_curves(corpus: Corpus, layers: int, hidden: int) -> float:
    """How far the losses of ours and plain are apart at most, without dropout."""
    config = TrainingConfig()
    with sides(corpus, layers, hidden, 0.0, available_threads()) as makers:
        losses = []
        for side in ("plain", "ours"):
            step, batches = makers[side](), corpus.batches(config)
            losses.append([step(next(batches)) for _ in range(COMPARED_STEPS)])
    return float(np.abs(np.diff(np.array(losses), axis=0)).max())


def main() -> None:
    """Measure all sides under all conditions and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--measure", nargs=4, metavar=("SIDE", "LAYERS", "HIDDEN", "THREADS"))
    arguments = parser.parse_args()
    if arguments.measure:
        side, *numbers = arguments.measure
        print(measure(Corpus(arguments.corpus), side, *map(int, numbers)))
        return
    threads, path = available_threads(), arguments.corpus
    for layers, hidden in SHAPES:
        found: dict[tuple[str, str], list[float]] = {}
        for _ in range(ROUNDS):
            for condition, count in CONDITIONS.items():
                with busy(count):
                    for side in SIDES:
                        rate = measure_apart(path, side, layers, hidden, threads)
                        found.setdefault((condition, side), []).append(rate)
        rates = {key: statistics.mean(values) for key, values in found.items()}
        print(f"{layers}x{hidden}, {threads} threads, float32, tokens/s:")
        for condition in CONDITIONS:
            line = ", ".join(
                f"{side} {rates[condition, side]:,.0f} "
                f"({rates[condition, side] / rates['idle', side]:.0%} of its idle rate)"
                for side in SIDES
            )
            ratio = rates[condition, "ours"] / rates[condition, "before"]
            print(f"  {condition}: {line}; ours over before {ratio:.2f}")
        more = measure_apart(path, "ours", layers, hidden, 4 * threads)
        weights = corpus_weights(path, layers, hidden)
        tokens_rate = rates["idle", "ours"]
        share = 6.0 * weights * tokens_rate / matmul_rate(torch.float32)
        apart = compare_curves(Corpus(path), layers, hidden)
        print(
            f"  with {4 * threads} threads, idle: {more:,.0f} ({more / tokens_rate:.0%}); ours at "
            f"{share:.0%} of the rate of matrix products; losses of ours and plain at most "
            f"{apart:.4f} apart over {COMPARED_STEPS} steps"
        )


def corpus_weights(path: Path, layers: int, hidden: int) -> int:
    """The numbers that each token is multiplied by."""
    corpus = Corpus(path)
    named = corpus.model(layers, hidden, 0.0).named_parameters()
    return sum(p.numel() for name, p in named if "layers" in name) + len(corpus.known) * hidden


if __name__ == "__main__":
    main()
