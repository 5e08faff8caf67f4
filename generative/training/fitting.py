"""The temperature that is fitted on held-out data after training.

It must not know how weights are trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from generative.machine.threads import ALONE, Workers
from generative.model.cell_specs import CELL_SPECS
from generative.scoring.loss import cross_entropy
from generative.training.validation import row_groups, window_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generative.data.labels import Labels
    from generative.model.language_model import LanguageModel
    from generative.training.batches import Ids

TEMPERATURE_RANGE = (0.9, 1.2)
TEMPERATURES_TRIED = 16


@torch.no_grad()
def calibrate(
    model: LanguageModel,
    stream: Ids,
    labels: Labels | None = None,
    *,
    workers: Workers = ALONE,
) -> float:
    """Scale the output layer by 1 / T for the temperature T that fits held-out data best.

    One number is fitted, and the order of the tokens does not change (Guo et al. 2017, "On
    Calibration of Modern Neural Networks"). Where the output matrix is the embedding matrix as
    well, the first layer's input weights undo the scale for what the model reads.

    Returns:
        The temperature.
    """
    temperatures = np.linspace(*TEMPERATURE_RANGE, TEMPERATURES_TRIED).tolist()

    @torch.no_grad()  # The caller's `no_grad` does not reach the workers' threads.
    def losses(rows: slice) -> NDArray[np.float64]:
        totals = np.zeros(len(temperatures))
        for logits, targets in window_logits(model, stream, labels, rows):
            totals += [cross_entropy(logits / t, targets, "sum").item() for t in temperatures]
        return totals

    total = sum(workers.map(losses, row_groups(stream)))
    best = temperatures[int(np.argmin(total))]
    output = model.output
    output.weight.div_(best)
    output.bias.div_(best)
    if output.weight is model.embedding.weight:
        input_weight = CELL_SPECS[model.config.cell].input_weight
        model.layers[0].get_parameter(input_weight).mul_(best)
        if model.config.labels:
            model.labels.weight.div_(best)  # Labels' vectors are added to the scaled embedding.
        if model.config.features:
            model.features.weight.div_(best)  # So are those of context features.
    return float(best)
