"""All that continuing a run needs, in one verified file: knows tensors and places, not learning.

The newest two states are kept, so that a damaged one leaves the one before it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from generative import untrusted
from generative.checkpoint import CheckpointError
from generative.errors import FileError
from generative.files import read_arrays, shown, write_arrays
from generative.model.state import State
from generative.training.reports import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from generative.model.language_model import LanguageModel

FOLDER = "resume"
PATTERN = "step-*.safetensors"
KEPT = 2
FIRST = "step-000000000.safetensors"  # of a run that was stopped before its first step


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
    """Where a run stands; the one thing here that changes as it goes.

    Attributes:
        step: optimizer steps taken.
        epoch, window: the place in the data: windows of this epoch that are done.
        seconds: training time spent, over all sessions.
        best_loss: the lowest validation loss, nats per token.
        stale: validations since then.
        train_loss: running mean of the training loss; None before the first step.
        learning_rate_scale: lowered each time that the loss was no longer finite.
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
        """As text; floats come back bit for bit."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """The inverse of `to_json`.

        Raises:
            ValueError: not that, or numbers that no run comes to.
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
    folder: Path,
    fingerprint: str,
    progress: Progress,
    model: LanguageModel,
    average: LanguageModel,
    optimizer: torch.optim.Optimizer,
    state: State,
) -> None:
    """Write the run's state in one move, then drop all but the newest two.

    `fingerprint` names model, recipe and data; `load` refuses a state of another run.
    """
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    tensors |= {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    tensors |= {
        f"optimizer.{i}.{k}": v
        for i, slots in optimizer.state_dict()["state"].items()
        for k, v in slots.items()
    }
    tensors |= {
        f"state.{i}.{j}": t for i, layer in enumerate(state.layers) for j, t in enumerate(layer)
    }
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    write_arrays(
        folder / FOLDER / f"step-{progress.step:09d}.safetensors",
        {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()},
        {"progress": progress.to_json(), "fingerprint": fingerprint},
    )
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def load(
    folder: Path,
    fingerprint: str,
    model: LanguageModel,
    average: LanguageModel,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
) -> tuple[Progress, State, list[str]] | None:
    """Put model, average, optimizer and the random generator where the newest whole state has them.

    Nothing is changed before all of a state was checked.

    Returns:
        The progress, the state of all lanes, `batch_size` of them, and a warning for each damaged
        file; None if there is no state at all.

    Raises:
        CheckpointError: all states are damaged, or they belong to another run.
    """
    warnings: list[str] = []
    files = _newest_first(folder)
    for path in files:
        shapes = _shapes(model, optimizer, batch_size, begun=path.name != FIRST)
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
            torch.set_rng_state(tensors["random"])
        except FileError as error:
            warnings.append(str(error))
            continue
        except CheckpointError:
            raise
        except (ValueError, RuntimeError) as error:  # torch's of its generator
            warnings.append(f"{shown(path)}: damaged: {error}")
            continue
        model.load_state_dict(_under("model.", tensors))
        average.load_state_dict(_under("average.", tensors))
        slots = _under("optimizer.", tensors)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": _nested(slots.items())})
        device = model.output.bias.device
        layers = _nested((k, v.to(device)) for k, v in _under("state.", tensors).items())
        state = State(tuple(tuple(layers[i].values()) for i in sorted(layers)))
        return progress, state, warnings
    if files:
        raise CheckpointError(
            "every saved state is damaged: " + "; ".join(warnings) + "; train anew without --resume"
        )
    return None


def _shapes(
    model: LanguageModel, optimizer: torch.optim.Optimizer, batch_size: int, *, begun: bool
) -> dict[str, tuple[int, ...]]:
    """The shapes of all that `save` writes for these; `begun`: AdamW has moments."""
    shapes = {"random": tuple(torch.get_rng_state().shape)}
    for name, tensor in model.state_dict().items():
        shapes[f"model.{name}"] = shapes[f"average.{name}"] = tuple(tensor.shape)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, weight in enumerate(weights if begun else ()):
        shapes[f"optimizer.{number}.step"] = ()
        for moment in ("exp_avg", "exp_avg_sq"):
            shapes[f"optimizer.{number}.{moment}"] = tuple(weight.shape)
    for number, layer in enumerate(model.initial_state(batch_size).layers):
        for place, tensor in enumerate(layer):
            shapes[f"state.{number}.{place}"] = tuple(tensor.shape)
    return shapes


def _newest_first(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob(PATTERN), reverse=True)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _nested(items: Iterable[tuple[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
    """{"0.h": t} -> {0: {"h": t}}, inner keys sorted as they were written."""
    nested: dict[int, dict[str, Tensor]] = {}
    for name, tensor in sorted(items):
        number, key = name.split(".", 1)
        nested.setdefault(int(number), {})[key] = tensor
    return nested
