"""What a run leaves to look at: metrics.csv, learning_curve.png, TensorBoard events."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from generative.checkpoint import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

METRICS_FILE = "metrics.csv"
CURVE_FILE = "learning_curve.png"
EVENTS_FOLDER = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One validation. Losses are nats per token; `train_loss` is a running mean with dropout on."""

    step: int
    epoch: float
    seconds: float
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float


def write_metrics(folder: Path, history: Sequence[Metrics]) -> None:
    """The whole history as metrics.csv, one row a validation."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=[field.name for field in fields(Metrics)])
    writer.writeheader()
    writer.writerows(
        {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(m).items()}
        for m in history
    )
    write_bytes(folder / METRICS_FILE, text.getvalue().encode())


def draw_curve(folder: Path, history: Sequence[Metrics]) -> None:
    """Training and validation loss over steps as learning_curve.png, the best point marked."""
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
    """TensorBoard events of one run, beside those of the runs it continues."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(logdir=str(folder / EVENTS_FOLDER))

    def add(self, metrics: Metrics, sample: str | None) -> None:
        """Losses, learning rate, gradient norm and speed of one validation, and a sample."""
        scalars = {
            "loss/training": metrics.train_loss,
            "loss/validation": metrics.validation_loss,
            "optimizer/learning_rate": metrics.learning_rate,
            "optimizer/gradient_norm": metrics.gradient_norm,
            "speed/tokens_per_second": metrics.tokens_per_second,
        }
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, metrics.step)
        if sample is not None:
            self._writer.add_text("sample", f"```\n{sample}\n```", metrics.step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()
