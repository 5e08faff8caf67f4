"""The reports of a run: metrics.csv, learning_curve.png, and events for TensorBoard or W&B."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import os
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from generative.errors import FileError
from generative.files import make_folder, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

METRICS_FILE = "metrics.csv"
CURVE_FILE = "learning_curve.png"
EVENTS_FOLDER = "tensorboard"
HISTOGRAM_BINS = 64


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Reports that a run makes only where they are asked for.

    Attributes:
        histograms: whether events have histograms of the averaged weights.
        wandb: the project of Weights & Biases to report to as well; None for none.
    """

    histograms: bool = False
    wandb: str | None = None

    def __post_init__(self) -> None:
        """Refuse what this machine cannot do.

        Raises:
            ValueError: Weights & Biases is not installed.
        """
        if self.wandb is not None and importlib.util.find_spec("wandb") is None:
            raise ValueError(
                "--wandb needs the package wandb: pip install wandb, or leave the option out"
            )


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The figures of one validation.

    Losses are nats per token; `train_loss` is a running mean with dropout on.
    """

    step: int
    epoch: float
    seconds: float
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float


def write_metrics(folder: Path, history: Sequence[Metrics]) -> None:
    """Write the whole history as metrics.csv, one row a validation."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=[field.name for field in fields(Metrics)])
    writer.writeheader()
    writer.writerows(
        {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(m).items()}
        for m in history
    )
    write_bytes(folder / METRICS_FILE, text.getvalue().encode())


def draw_curve(folder: Path, history: Sequence[Metrics]) -> None:
    """Draw training and validation loss over steps as learning_curve.png, the best point marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [m.step for m in history]
    best = min(history, key=lambda m: m.validation_loss)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, [m.train_loss for m in history], label="training (dropout on)", color="0.6")
    axes.plot(steps, [m.validation_loss for m in history], label="validation", color="C0")
    axes.plot(best.step, best.validation_loss, "o", color="C3")
    axes.annotate(
        f"best {best.validation_loss:.4f}\nat step {best.step:,}",
        (best.step, best.validation_loss),
        xytext=(-8, 12),
        textcoords="offset points",
        ha="right",
    )
    axes.set(xlabel="optimizer step", ylabel="loss (nats per token)", title="Learning curve")
    axes.grid(alpha=0.3)
    axes.legend()
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    write_bytes(folder / CURVE_FILE, data.getvalue())


class EventLog:
    """TensorBoard events of one run, in a file beside those of the runs that it continues.

    They are written at once and in this thread, so that a full disk is an error like any other.
    """

    def __init__(self, folder: Path) -> None:
        """Begin a new file of events in a model folder."""
        from tensorboardX.event_file_writer import EventsWriter

        self._path = folder / EVENTS_FOLDER
        make_folder(self._path)
        self._writer = EventsWriter(str(self._path / "events"), f".{os.getpid()}")

    def add(
        self, metrics: Metrics, sample: str | None, histograms: Mapping[str, NDArray[np.floating]]
    ) -> None:
        """Add one validation: its figures, a sample of text, and histograms.

        Raises:
            FileError: they cannot be written.
        """
        from tensorboardX import summary

        parts = [summary.scalar(tag, value) for tag, value in scalars(metrics).items()]
        if sample is not None:
            parts.append(summary.text("sample", f"```\n{sample}\n```"))
        parts += [
            summary.histogram(tag, values, HISTOGRAM_BINS) for tag, values in histograms.items()
        ]
        try:
            for part in parts:
                self._write(part, metrics.step)
            self._writer.flush()
        except OSError as error:
            raise FileError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _write(self, part: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=part))

    def close(self) -> None:
        """Close the file, which has all that was added already."""
        with contextlib.suppress(OSError):
            self._writer.close()


class WandbLog:
    """A run of Weights & Biases with the same reports as `EventLog`."""

    def __init__(self, folder: Path, project: str, notes: dict[str, Any]) -> None:
        """Begin a run of `project`; `notes` are its configuration."""
        import wandb

        self._run = wandb.init(project=project, dir=str(folder), config=notes, resume="allow")
        self._histogram = wandb.Histogram

    def add(
        self, metrics: Metrics, sample: str | None, histograms: Mapping[str, NDArray[np.floating]]
    ) -> None:
        """Add one validation, as `EventLog.add` does."""
        values: dict[str, Any] = {**scalars(metrics)}
        if sample is not None:
            values["sample"] = sample
        values |= {tag: self._histogram(numbers) for tag, numbers in histograms.items()}
        self._run.log(values, step=metrics.step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def scalars(metrics: Metrics) -> dict[str, float]:
    """The figures that are plotted over steps, by tag."""
    return {
        "loss/training": metrics.train_loss,
        "loss/validation": metrics.validation_loss,
        "optimizer/learning_rate": metrics.learning_rate,
        "optimizer/gradient_norm": metrics.gradient_norm,
        "speed/tokens_per_second": metrics.tokens_per_second,
    }
