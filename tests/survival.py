"""What may happen to a run from outside: processes killed at any moment, files cut and flipped.

    python -m tests.survival --kills 100 --damages 200

does it often and prints what came of it; the tests do it a few times.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import generative
from generative import checkpoint
from generative.checkpoint import CheckpointError

OPTIONS: dict[str, Any] = {
    "steps": 600,
    "hidden": 16,
    "batch_size": 4,
    "sequence_length": 16,
    "precision": "float32",
    "dropout": 0.2,
}
LONGEST_LIFE_SECONDS = 1.0


def weights(folder: Path) -> dict[str, Any]:
    """The weights that a folder keeps."""
    return checkpoint.load_weights(folder)[0]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def in_child(corpus: Path, folder: Path) -> int:
    """Begin or continue a run in a process of its own. Returns its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        begun = (folder / checkpoint.CONFIG_FILE).is_file()
        generative.train(corpus, folder, resume=begun, **OPTIONS)
        status = 0
    finally:
        os._exit(status)


def kill_and_resume(corpus: Path, folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill a run after random times, and continue it, until it is done.

    Returns:
        (kills that hit, runs that came to their end): all with the weights of an undisturbed run.
    """
    rng = random.Random(seed)
    os.waitpid(in_child(corpus, folder / "undisturbed"), 0)
    expected = weights(folder / "undisturbed")
    hits = runs = 0
    while hits < kills or runs == 0:
        run = folder / f"run-{runs}"
        while True:
            child = in_child(corpus, run)
            if hits < kills:
                time.sleep(rng.random() * LONGEST_LIFE_SECONDS)
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                break
            hits += 1
        assert os.WEXITSTATUS(status) == 0, "a resumed run failed"
        assert same(weights(run), expected), "a resumed run came to other weights"
        runs += 1
    return hits, runs


def stop_half_way(corpus: Path, folder: Path) -> None:
    """Leave a run that was told to stop once it had validated a few times."""
    child = in_child(corpus, folder)
    metrics = folder / "metrics.csv"
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < 4:
        time.sleep(0.005)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)


def damage(
    corpus: Path, whole: Path, expected: dict[str, Any], folder: Path, times: int, seed: int
) -> dict[str, int]:
    """Cut short or flip one byte of one of a run's files, then load its model and continue it.

    Args:
        corpus: what it learns from.
        whole: the undamaged folder of a run that was stopped.
        expected: the weights that it would come to.
        folder: for the damaged copies.
        times: how many.
        seed: draws file, place and kind of each damage.

    Returns:
        How often that was refused with a message, and how often a message came and the run came
        to the expected weights. Anything else raises.
    """
    rng = random.Random(seed)
    loaded = weights(whole)
    older = min((whole / "resume").iterdir()).name
    outcomes = {"refused": 0, "recovered": 0}
    files = [path for path in sorted(whole.rglob("*")) if path.is_file() and _is_read(path, whole)]
    for number in range(times):
        copy = folder / f"damaged-{number}"
        shutil.copytree(whole, copy)
        victim = copy / rng.choice(files).relative_to(whole)
        data = bytearray(victim.read_bytes())
        at = rng.randrange(len(data))
        if rng.random() < 0.5:
            del data[at:]
        else:
            data[at] ^= 1 << rng.randrange(8)
        victim.write_bytes(data)
        said: list[str] = []
        try:
            assert same(generative.load(copy).checkpoint.weights, loaded), f"{victim}: byte {at}"
        except CheckpointError as error:
            said.append(str(error))
        try:
            generative.train(corpus, copy, resume=True, report=said.append, **OPTIONS)
            assert same(weights(copy), expected), f"{victim}: byte {at}: other weights"
            outcome = "recovered"
        except CheckpointError as error:
            said.append(str(error))
            outcome = "refused"
        # tokens are made again from the corpus, and an older state is not asked for: no word
        silent = victim.parent.name == "tokens" or victim.name == older
        assert silent or any(victim.name in line for line in said), f"{victim}: byte {at}: {said}"
        outcomes[outcome] += 1
        shutil.rmtree(copy)
    return outcomes


def _is_read(path: Path, whole: Path) -> bool:
    """Whether loading or resuming reads a file; reports and the card are for people."""
    inside = path.relative_to(whole)
    return inside.parts[0] in {"resume", "tokens"} or inside.name in {
        checkpoint.CONFIG_FILE,
        checkpoint.WEIGHTS_FILE,
        checkpoint.TOKENIZER_FILE,
    }


def main() -> None:
    """Do it often and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus.txt"
        corpus.write_text("".join(f"{n} bottles stand upon the wall.\n" for n in range(800)))
        hits, runs = kill_and_resume(corpus, folder, arguments.kills, arguments.seed)
        print(f"{hits} kills over {runs} runs: every run came to the undisturbed run's weights")
        torch.set_num_threads(1)
        stop_half_way(corpus, folder / "stopped")
        outcomes = damage(
            corpus,
            folder / "stopped",
            weights(folder / "undisturbed"),
            folder,
            arguments.damages,
            arguments.seed,
        )
        print(f"{arguments.damages} damaged files, none loaded wrongly: {outcomes}")


if __name__ == "__main__":
    main()
