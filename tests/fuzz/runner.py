"""Runs a target on many inputs and watches its time and memory.

    python -m tests.fuzz TARGET --runs 1000000 --seed 1

uses atheris (coverage-guided) where it is installed, else or with --plain the seeded mutator. A
finding is an exception or a warning, more than a second of processor time on one input, or 300 MB
more than at the start. The plain runner goes on behind a finding, atheris stops and says which
input it was.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.mutator import MAX_BYTES, Mutator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, ModuleType

# name -> what is fed; each is a module of this name with `seeds()` and `run(data)`
TARGETS = {
    "model_config": "config.json of a model folder, sealed again",
    "tokenizer_files": "tokenizer.json and tokenizer.model, their checksums made anew",
    "model_weights": "model.safetensors and gradients.safetensors, sealed again",
    "resume_state": "a saved state of training, sealed again",
    "token_store": "store.json and the ids beside it, sealed again",
    "patterns": "regular expressions, against `re`",
    "music_options": "keys, ranges, meters, instruments and the grammar that they make",
    "text": "UTF-8 and every text tokenizer",
    "midi_files": "MIDI bytes -> Piece -> tokens -> Piece -> MIDI",
}
MAX_SECONDS = 1.0  # of processor time for one input
MAX_KILOBYTES = 300_000  # beyond what was used at the start
STUCK_SECONDS = 120  # in native code, which our clock cannot interrupt


class TooSlowError(BaseException):
    """An input took more than `MAX_SECONDS`; no target may catch it."""


class TooLargeError(BaseException):
    """An input took more than `MAX_KILOBYTES`."""


def load(name: str) -> ModuleType:
    """The module of a target."""
    return importlib.import_module(f"tests.fuzz.{name}")


def peak_kilobytes() -> int:
    """The most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def watched(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """`run` with a clock and a limit on memory. Processor time counts, so a busy machine is none.

    Raises:
        TooSlowError, TooLargeError: from the function that is returned.
    """
    start = peak_kilobytes()

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    signal.signal(signal.SIGVTALRM, too_slow)
    warnings.simplefilter("error")

    def checked(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, MAX_SECONDS)
        try:
            run(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        used = peak_kilobytes() - start
        if used > MAX_KILOBYTES:
            raise TooLargeError(f"{used:,} kB")

    return checked


def plain(
    name: str, runs: int, seed: int, seconds: float = float("inf")
) -> list[tuple[bytes, str]]:
    """Run a target on mutated seeds, at most so many times and so long.

    Returns:
        One (input, traceback) for each place that failed.
    """
    target = load(name)
    mutator = Mutator(target.seeds(), seed)
    for data in target.seeds():
        target.run(data)  # imports and caches are not the inputs' fault
    run = watched(target.run)
    findings: dict[str, tuple[bytes, str]] = {}
    began = time.monotonic()
    done = 0
    while done < runs and time.monotonic() - began < seconds:
        data = mutator.draw()
        done += 1
        try:
            run(data)
        except (Exception, TooSlowError, TooLargeError) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} {last.filename}:{last.lineno}"
            if place not in findings:
                findings[place] = (data, traceback.format_exc())
            if isinstance(error, TooLargeError):
                break  # the peak stays
    rate = done / max(1e-9, time.monotonic() - began)
    print(f"{name}: {done:,} executions, {rate:,.0f}/s, {len(findings)} findings")
    return list(findings.values())


def guided(name: str, runs: int, seed: int) -> None:
    """Run a target under atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["generative"]):
        target = load(name)
        seeds = target.seeds()
        for data in seeds:
            target.run(data)
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, data in enumerate(seeds):
        (folder / str(number)).write_bytes(data)
    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={STUCK_SECONDS}",
        f"-rss_limit_mb={(peak_kilobytes() + 2 * MAX_KILOBYTES) // 1000}",
        f"-artifact_prefix={folder}/finding-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], watched(target.run))
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    known = "\n".join(f"  {name}: {what}" for name, what in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=f"{__doc__}\ntargets:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=TARGETS, metavar="TARGET")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="do without atheris")
    given = parser.parse_args(arguments)
    if not given.plain:
        with contextlib.suppress(ImportError):
            guided(given.target, given.runs, given.seed)
            return
    findings = plain(given.target, given.runs, given.seed)
    for data, reason in findings:
        print(f"{data!r}\n{reason}")
    sys.exit(1 if findings else 0)
