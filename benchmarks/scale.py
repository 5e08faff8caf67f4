"""A corpus larger than one would hold in memory: speed of tokenising and counting, and memory.

    python benchmarks/scale.py --megabytes 1024

writes a small and a large text of the same kind, trains on each for a few steps in a process of its
own, and prints how fast each was tokenised and counted, and how much more memory the large one
took, with that of all the processes that helped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

MEGABYTE = 1_000_000
WORDS = "the sea and a light in rain über naïve — wind over harbour stones, 1851; " * 40
CHILD = """
import sys, time
import generative
from generative.data import ingest
began = time.monotonic()
def timed(name, inner):
    def call(*arguments, **options):
        began = time.monotonic()
        made = inner(*arguments, **options)
        print(f"{name} {time.monotonic() - began:.3f}", flush=True)
        return made
    return call
import generative.api.training
from generative.training import run
sys.modules["generative.api.training"].ingest = timed("tokenised", ingest.ingest)
run.count_corpus = timed("counted", run.count_corpus)
generative.train(sys.argv[1], sys.argv[2], steps=60, hidden=128)
"""


def write_text(path: Path, size: int) -> None:
    """Words in a random order, a few of them beyond ASCII, `size` bytes of UTF-8."""
    rng = np.random.default_rng(0)
    words = WORDS.split(" ")
    left = size
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            block = " ".join(words[i] for i in rng.integers(len(words), size=200_000)) + "\n"
            file.write(block)
            left -= len(block.encode("utf-8"))


def resident_bytes(process: int) -> int:
    """Of a process and all its children, at this moment."""
    total, found = 0, [process]
    while found:
        one = found.pop()
        try:
            status = Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()
            children = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        total += int(status[1]) * os.sysconf("SC_PAGE_SIZE")
        found += [int(child) for child in children.split()]
    return total


def measure(corpus: Path, folder: Path) -> tuple[float, float, float, float]:
    """Seconds of tokenising, counting and the whole run, and the peak in resident megabytes."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(corpus), str(folder)], stdout=subprocess.PIPE, text=True
    )
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident_bytes(child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = child.communicate()
    done.set()
    watcher.join()
    if child.returncode:
        raise SystemExit("the training failed")
    tokenised, counted = (float(line.split()[1]) for line in output.splitlines())
    return tokenised, counted, time.monotonic() - began, peak / MEGABYTE


def main() -> None:
    """Measure both and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=1024)
    arguments = parser.parse_args()
    peaks = []
    for size in (1, arguments.megabytes):
        with tempfile.TemporaryDirectory() as name:
            corpus = Path(name) / "corpus.txt"
            write_text(corpus, size * MEGABYTE)
            seconds, counting, whole, peak = measure(corpus, Path(name) / "model")
            peaks.append(peak)
            print(
                f"{size:>6} MB: tokenised in {seconds:.1f} s, {size / seconds:.0f} MB/s; "
                f"counted in {counting:.1f} s, {size / counting:.0f} MB/s; "
                f"whole run {whole:.1f} s; peak {peak:.0f} MB resident, helpers included",
                flush=True,
            )
    print(f"the larger text took {peaks[1] - peaks[0]:.0f} MB more memory")


if __name__ == "__main__":
    main()
