"""The saved states of a run: everything that continuing it needs, in one verified file each.

It must not know how weights are trained. The newest two states are kept, so that the older one is
left where the newest is damaged.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from generative.checkpoint import CheckpointError
from generative.errors import FileError
from generative.files import layout, read_arrays, shown, untrusted, write_arrays
from generative.model.state import State
from generative.training.reports import Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from generative.training.step import TrainingStep

FOLDER = layout.RESUME_FOLDER
PATTERN = layout.RESUME_PATTERN
KEPT = 2
FIRST = "step-000000000.safetensors"  # The optimizer has no state before the first step.

_NUMBER = (int, float)
_FORM = {
    "step": int,
    "epoch": int,
    "window": int,
    "seconds": _NUMBER,
    "best_loss": _NUMBER,
    "stale": int,
    "train_loss": (*_NUMBER, type(None)),
    "learning_rate_scale": _NUMBER,
    "history": [{f.name: int if f.name == "step" else _NUMBER for f in fields(Metrics)}],
}


@dataclass(kw_only=True)
class Progress:
    """The position of a run, which is updated as it goes on.

    Attributes:
        step: optimizer steps taken.
        epoch, window: the position in the data: the epoch, and the windows of it that are done.
        seconds: training time spent, over all sessions.
        best_loss: the lowest validation loss, nats per token.
        stale: validations since the one with the lowest loss.
        train_loss: running mean of the training loss; None before the first step.
        learning_rate_scale: halved each time that a step was not finite.
        history: one entry a validation.
    """

    step: int = 0
    epoch: int = 0
    window: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    stale: int = 0
    train_loss: float | None = None
    learning_rate_scale: float = 1.0
    history: list[Metrics] = field(default_factory=list)

    def to_json(self) -> str:
        """As text, from which `from_json` restores floats bit for bit."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """The inverse of `to_json`.

        Raises:
            ValueError: another form, or numbers that no run has.
        """
        values = untrusted.parse_json(text.encode("utf-8"))
        if not untrusted.fits(values, _FORM):
            raise ValueError("not the progress of a run")
        history = [Metrics(**metrics) for metrics in values.pop("history")]
        progress = cls(**values, history=history)
        counts = (progress.step, progress.epoch, progress.window, progress.stale)
        if min(counts) < 0 or not 0 <= progress.seconds < math.inf:
            raise ValueError("a run's counts and seconds are not below 0")
        if not 0 < progress.learning_rate_scale <= 1:
            raise ValueError(f"learning_rate_scale is {progress.learning_rate_scale}")
        return progress


def save(
    folder: Path, fingerprint: str, progress: Progress, tensors: Mapping[str, Tensor], state: State
) -> None:
    """Write the run's state in one move, then drop all but the newest two.

    Args:
        folder: of the model.
        fingerprint: a hash of model, recipe and data; `load` refuses a state of another run.
        progress: the position of the run.
        tensors: the result of `TrainingStep.tensors`.
        state: of all rows of the batch, (B, H) each.
    """
    arrays = {
        **tensors,
        **{
            f"state.{i}.{j}": t for i, layer in enumerate(state.layers) for j, t in enumerate(layer)
        },
    }
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    write_arrays(
        folder / FOLDER / f"step-{progress.step:09d}.safetensors",
        {name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()},
        {"progress": progress.to_json(), "fingerprint": fingerprint},
    )
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def load(
    folder: Path, fingerprint: str, step: TrainingStep, batch_size: int
) -> tuple[Progress, State, list[str]] | None:
    """Restore a training step from the newest whole state.

    Nothing is changed before all of a state was checked.

    Returns:
        The progress, the state of all `batch_size` rows, and a warning for each damaged file; None
        if there is no state at all.

    Raises:
        CheckpointError: all states are damaged, or they belong to another run.
    """
    warnings: list[str] = []
    files = _newest_first(folder)
    empty = step.model.initial_state(batch_size).layers
    rows = {f"state.{i}.{j}": t for i, layer in enumerate(empty) for j, t in enumerate(layer)}
    for path in files:
        shapes = step.shapes(begun=path.name != FIRST)
        shapes |= {name: tuple(tensor.shape) for name, tensor in rows.items()}
        types = dict.fromkeys(shapes, ("F32",)) | {"random": ("U8",)}
        try:
            arrays, notes = read_arrays(path, shapes, types)
            if notes.get("fingerprint") != fingerprint:
                raise CheckpointError(
                    f"{shown(path)}: belongs to a run with another corpus or other options; "
                    "resume with the same ones, or train into a new folder"
                )
            progress = Progress.from_json(notes.get("progress", ""))
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            step.load_tensors(tensors)
        except FileError as error:
            warnings.append(str(error))
            continue
        except CheckpointError:
            raise
        except (ValueError, RuntimeError) as error:  # torch refuses a generator's state so.
            warnings.append(f"{shown(path)}: damaged: {error}")
            continue
        state = State(
            tuple(
                tuple(tensors[f"state.{i}.{j}"].to(t.device) for j, t in enumerate(layer))
                for i, layer in enumerate(empty)
            )
        )
        return progress, state, warnings
    if files:
        raise CheckpointError(
            "every saved state is damaged: " + "; ".join(warnings) + "; train anew without --resume"
        )
    return None


def holds_run(folder: Path) -> bool:
    """Whether a folder has a saved state, whole or not."""
    return bool(_newest_first(folder))


def _newest_first(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob(PATTERN), reverse=True)
