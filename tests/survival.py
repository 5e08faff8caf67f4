"""What may happen to a run from outside: kills at any moment, files cut and flipped, full disks.

    python -m tests.survival --kills 100 --damages 200 --full-disks 1000

does it often and prints what came of it; the tests do it a few times. Each kind of trouble is one
function, which returns what came of it, and a line in `main`.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import generative
from generative import checkpoint
from generative.checkpoint import CheckpointError
from generative.data import store
from generative.errors import FileError
from generative.files import writing
from generative.training.reports import EventLog
from generative.training.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS: dict[str, Any] = {
    "steps": 300,
    "hidden": 16,
    "batch_size": 4,
    "sequence_length": 16,
    "precision": "float32",
    "dropout": 0.2,
}
LONGEST_LIFE_SECONDS = 0.6
# Of a run whose every write fails once: one validation.
SHORT = {**OPTIONS, "steps": 3}
# What a process that trains comes to.
DONE, BROKEN, REFUSED = 0, 1, 2


def weights(folder: Path) -> dict[str, Any]:
    """The weights that a folder keeps."""
    return checkpoint.load_weights(folder)[0]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def in_child(
    corpus: Path,
    folder: Path,
    options: dict[str, Any] = OPTIONS,
    trouble: Callable[[], None] = lambda: None,
) -> int:
    """Begin or continue a run in a process of its own, where `trouble` was made. Returns its id.

    The process ends with `DONE`, with `REFUSED` after an error that has a message for the user, or
    with `BROKEN` after any other.
    """
    child = os.fork()
    if child:
        return child
    status = BROKEN
    try:
        torch.set_num_threads(1)
        begun = (folder / checkpoint.CONFIG_FILE).is_file()
        trouble()
        generative.train(corpus, folder, resume=begun, **options)
        status = DONE
    except (CheckpointError, FileError) as error:
        status = REFUSED if str(folder) in str(error) else BROKEN
    except Interrupted:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def came_to(child: int) -> int:
    """What a process of `in_child` ended with."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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


def stop_early(corpus: Path, folder: Path, expected: dict[str, Any]) -> None:
    """Stop runs before their first validation, by either signal, and continue them."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        run = folder / f"stopped-by-{number}"
        child = in_child(corpus, run)
        _wait_for(run / "resume" / "step-000000000.safetensors")
        os.kill(child, number)
        os.waitpid(child, 0)
        assert came_to(in_child(corpus, run)) == DONE, "a run that was stopped early is lost"
        assert same(weights(run), expected), "a run that was stopped early came to other weights"


def two_at_once(corpus: Path, folder: Path, expected: dict[str, Any]) -> None:
    """Begin a second run in the folder of a first: it is refused, and the first goes on."""
    run = folder / "shared"
    first = in_child(corpus, run)
    _wait_for(run / "resume" / "step-000000000.safetensors")
    for options in (OPTIONS, {**OPTIONS, "hidden": 24}):
        assert came_to(in_child(corpus, run, options)) == REFUSED, "two runs in one folder"
    assert came_to(first) == DONE
    assert same(weights(run), expected), "a second run changed the first"


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


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
    older = min((whole / "resume").glob("step-*")).name
    outcomes = {"refused": 0, "recovered": 0}
    found = [path for path in sorted(whole.rglob("*")) if path.is_file() and _is_read(path, whole)]
    for number in range(times):
        copy = folder / f"damaged-{number}"
        shutil.copytree(whole, copy)
        victim = copy / rng.choice(found).relative_to(whole)
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


def fill_disk(corpus: Path, folder: Path, at_most: int) -> int:
    """Let the disk be full from a run's first write on, from its second on, and so on.

    Each run must end with a message, and come to the weights of an undisturbed one when it goes on
    with room on the disk.

    Returns:
        The number of writes that failed first, one a run: all of a run's, or `at_most` of them.
    """
    assert came_to(in_child(corpus, folder / "roomy", SHORT)) == DONE
    expected = weights(folder / "roomy")
    for number in range(1, at_most + 1):
        run = folder / f"full-{number}"
        outcome = came_to(in_child(corpus, run, SHORT, lambda: _full_from(number)))  # noqa: B023
        if outcome == DONE:
            return number - 1
        assert outcome == REFUSED, f"full at write {number}: no message"
        assert not [p for p in run.rglob(".*") if p.is_file()], "a temporary file was left"
        assert came_to(in_child(corpus, run, SHORT)) == DONE, f"full at write {number}"
        assert same(weights(run), expected), f"full at write {number}: other weights"
        shutil.rmtree(run)
    return at_most


def _full_from(number: int) -> None:
    """Make every write of this process from its `number`-th on fail as on a full disk."""
    written = 0

    def failing(write: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*arguments: Any) -> None:
            nonlocal written
            written += 1
            if written >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(*arguments)

        return wrapper

    for place, name in ((writing, "_replace"), (store._PartWriter, "write"), (EventLog, "_write")):
        setattr(place, name, failing(getattr(place, name)))


def forbid_writing(corpus: Path, whole: Path, folder: Path) -> None:
    """Continue a run, and begin one, in a folder that may not be written to: nothing changes."""
    closed = folder / "closed"
    shutil.copytree(whole, closed)
    before = {p: p.read_bytes() for p in closed.rglob("*") if p.is_file()}
    for path in (*closed.rglob("*"), closed):
        path.chmod(0o555)
    for output in (closed, closed / "new"):
        outcome = came_to(in_child(corpus, output, trouble=_obey_modes))
        assert outcome == REFUSED, f"{output}: no message"
    assert {p: p.read_bytes() for p in closed.rglob("*") if p.is_file()} == before
    for path in (closed, *closed.rglob("*")):
        path.chmod(0o755)


def _obey_modes() -> None:
    """Let the modes of files and folders hold for root, too, where Linux can do that.

    Source: capset(2), version 3: effective, permitted and inheritable bits, low words first.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        bits = (ctypes.c_uint32 * 6)()
        libc.capget(header, bits)
        bits[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.capset(header, bits)


def _is_read(path: Path, whole: Path) -> bool:
    """Whether loading or resuming reads a file; reports and the card are for people."""
    inside = path.relative_to(whole)
    if inside.name == "lock":
        return False
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
    parser.add_argument("--full-disks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus.txt"
        corpus.write_text("".join(f"{n} bottles stand upon the wall.\n" for n in range(800)))
        torch.set_num_threads(1)
        # What a run imports and compiles is then there in every process that is forked.
        generative.train(corpus, folder / "before", **SHORT)
        hits, runs = kill_and_resume(corpus, folder, arguments.kills, arguments.seed)
        print(f"{hits} kills over {runs} runs: every run came to the undisturbed run's weights")
        full = fill_disk(corpus, folder, arguments.full_disks)
        print(f"{full} runs on a disk that was full from another write on: all went on")
        undisturbed = weights(folder / "undisturbed")
        stop_early(corpus, folder, undisturbed)
        print("SIGTERM and SIGHUP before the first validation: continued to the same weights")
        two_at_once(corpus, folder, undisturbed)
        print("a second run in a folder is refused, and the first comes to its weights")
        stop_half_way(corpus, folder / "stopped")
        outcomes = damage(
            corpus,
            folder / "stopped",
            undisturbed,
            folder,
            arguments.damages,
            arguments.seed,
        )
        print(f"{arguments.damages} damaged files, none loaded wrongly: {outcomes}")
        forbid_writing(corpus, folder / "stopped", folder)
        print("a folder that is closed to writing is left as it is, with a message")


if __name__ == "__main__":
    main()
