"""Speed of training on an idle machine and beside busy processes: three sides in one run.

    python benchmarks/training.py CORPUS.txt

- plain: the training loop of pytorch/examples' word_language_model (plain_loop.py).
- before: a step as version 0.1.0 of this package made it: the whole batch through the fused LSTM,
  which shares each product among all cores.
- ours: `TrainingStep`, whose threads share the rows of the batch.

- more threads: ours with more threads than cores.

Each side runs in a process and session of its own, as a command in a terminal does, and so does
each busy process. A side is measured for some seconds at a time, the sides in turn, while the
others sleep; the median counts. A second part checks that ours and plain walk the same curve from
the same weights.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from plain_loop import plain_step
from torch import Tensor, nn

from generative.data.corpus import read_text
from generative.machine.threads import Workers, available_threads, single_threaded
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.model.noise import Noise
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
MORE, MORE_THREADS = "more threads", 4  # times the cores
BLOCK_SECONDS, ROUNDS = 2.5, 3
SHAPES = ((1, 320), (1, 512))
COMPARED_STEPS = 30
BUSY = "while True: pass"
CONDITIONS = {"idle": 0, "beside one busy process": 1, "beside two": 2}


def step_before(model: LanguageModel, config: TrainingConfig, known: Tensor) -> Step:
    """One step as version 0.1.0 made it, the averaging of weights included."""
    average = LanguageModel(model.config)
    learner = Learner(model, config, known)
    trained = list(model.parameters())
    weights, averages = ([p.detach() for p in m.parameters()] for m in (model, average))
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
        torch._foreach_lerp_(averages, weights, 1.0 - config.average_decay)
        return float(nats.item())

    return step


def our_step(model: LanguageModel, config: TrainingConfig, known: Tensor, workers: Workers) -> Step:
    """One step of the package's own."""
    training = TrainingStep(
        model=model,
        average=LanguageModel(model.config),
        config=config,
        known=known,
        precision=torch.float32,
        workers=workers,
        processes=Processes(device=torch.device("cpu")),
        shards=shards_for(config.batch_size, workers.count),
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
def stepping(
    corpus: Corpus, side: str, model: LanguageModel, config: TrainingConfig, threads: int
) -> Iterator[Step]:
    """The step of a side, while its threads are there."""
    if side == "plain":
        yield plain_step(model, config)
    elif side == "before":
        yield step_before(model, config, corpus.known)
    else:
        with single_threaded(), Workers(threads) as workers:
            yield our_step(model, config, corpus.known, workers)


def serve(corpus: Corpus, side: str, layers: int, hidden: int, threads: int) -> None:
    """Print the tokens a second of one block for each line that is read."""
    config = TrainingConfig()
    batches = corpus.batches(config)
    with stepping(corpus, side, corpus.model(layers, hidden, 0.1), config, threads) as step:
        for _ in range(2):
            step(next(batches))
        print("ready", flush=True)
        for _ in sys.stdin:  # sleeps until its turn
            began, steps, seconds = time.perf_counter(), 0, 0.0
            while seconds < BLOCK_SECONDS:
                step(next(batches))
                steps += 1
                seconds = time.perf_counter() - began
            print(steps * config.batch_size * config.sequence_length / seconds, flush=True)


class Apart:
    """A side in a process and session of its own."""

    def __init__(self, path: Path, side: str, shape: tuple[int, int], threads: int) -> None:
        """Start it; `read` waits until it is ready and sleeps."""
        options = [side, *map(str, shape), str(threads)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(path), "--serve", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a measured process ended early; its error stands above")
        return line

    def rate(self) -> float:
        """Tokens a second in a block of its own."""
        assert self.process.stdin is not None
        print("go", file=self.process.stdin, flush=True)
        return float(self.read())


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


def measure(path: Path, shape: tuple[int, int], threads: int) -> dict[tuple[str, str], float]:
    """Condition and side -> tokens a second."""
    found: dict[tuple[str, str], list[float]] = {}
    counts = {**dict.fromkeys(SIDES, threads), MORE: MORE_THREADS * threads}
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(Apart(path, side, shape, count))
            for side, count in counts.items()
        }
        for apart in sides.values():
            apart.read()
        for _ in range(ROUNDS):
            for condition, count in CONDITIONS.items():
                with busy(count):
                    for side in SIDES if count else sides:
                        found.setdefault((condition, side), []).append(sides[side].rate())
    return {key: statistics.median(rates) for key, rates in found.items()}


def compare_curves(corpus: Corpus, layers: int, hidden: int, threads: int) -> float:
    """How far the losses of ours and plain are apart at most, without dropout."""
    config = TrainingConfig(weight_decay=0.0, learning_rate=2e-3, clear_probability=0.0)
    losses = []
    for side in ("plain", "ours"):
        batches, model = corpus.batches(config), corpus.model(layers, hidden, 0.0)
        with stepping(corpus, side, model, config, threads) as step:
            losses.append([step(next(batches)) for _ in range(COMPARED_STEPS)])
    return float(np.abs(np.diff(np.array(losses), axis=0)).max())


def weights_read(corpus: Corpus, layers: int, hidden: int) -> int:
    """The numbers that each token is multiplied by."""
    named = corpus.model(layers, hidden, 0.0).named_parameters()
    return sum(p.numel() for name, p in named if "layers" in name) + len(corpus.known) * hidden


def report(rates: dict[tuple[str, str], float]) -> None:
    """Print all rates and their ratios, a line a condition."""
    for condition in CONDITIONS:
        line = ", ".join(
            f"{side} {rates[condition, side]:,.0f} "
            f"({rates[condition, side] / rates['idle', side]:.0%} of its idle rate)"
            for side in SIDES
        )
        ratio = rates[condition, "ours"] / rates[condition, "before"]
        print(f"  {condition}: {line}; ours over before {ratio:.2f}")


def main() -> None:
    """Measure all sides under all conditions and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--serve", nargs=4, metavar=("SIDE", "LAYERS", "HIDDEN", "THREADS"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    path, threads, corpus = arguments.corpus, available_threads(), Corpus(arguments.corpus)
    if arguments.serve:
        side, *numbers = arguments.serve
        serve(corpus, side, *map(int, numbers))
        return
    if torch.get_num_threads() == 1:  # then `lstm_scan` would take the compiled loop
        parser.error("the side 'before' needs two cores and OMP_NUM_THREADS unset or above 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no busy process is left behind
    for layers, hidden in SHAPES:
        rates = measure(path, (layers, hidden), threads)
        print(f"{layers}x{hidden}, {threads} threads, float32, tokens/s:")
        report(rates)
        ours, more = rates["idle", "ours"], rates["idle", MORE]
        products = 6.0 * weights_read(corpus, layers, hidden) * ours
        share = products / matmul_rate(torch.float32)
        apart = compare_curves(corpus, layers, hidden, threads)
        print(
            f"  with {MORE_THREADS * threads} threads, idle: {more:,.0f} ({more / ours:.0%}); "
            f"ours at {share:.0%} of the rate of matrix products; losses of ours and plain at most "
            f"{apart:.4f} apart over {COMPARED_STEPS} steps",
            flush=True,
        )


if __name__ == "__main__":
    main()
