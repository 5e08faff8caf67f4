"""The training loss of one window: teacher forcing, dropout, penalties, scheduled sampling.

It must not know how the weights are updated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.model.language_model import locked_dropout
from generative.scoring.loss import cross_entropy

if TYPE_CHECKING:
    from generative.model.language_model import LanguageModel
    from generative.model.noise import Noise
    from generative.model.state import State
    from generative.training.config import TrainingConfig


class Learner(nn.Module):
    """A model with its loss over the tokens that occur in the training data.

    A token that never occurs is never a target: its output weights are zero and its logit stays the
    constant of its bias. One column of logits, the log-sum-exp of these constants, stands for all
    such tokens. This is exact, and the output layer costs as much as the tokens that occur and not
    as the whole vocabulary.
    """

    known: Tensor  # (K,) ids that occur
    column: Tensor  # (V,) the column of logits of each id
    rest: Tensor  # (1,) log-sum-exp of the other ids' logits

    def __init__(self, model: LanguageModel, config: TrainingConfig, known: Tensor) -> None:
        """Zero the output weights of all ids that are not `known`, (K,), ascending."""
        super().__init__()
        self.model = model
        self.config = config
        vocab_size = model.config.vocab_size
        unknown = torch.ones(vocab_size, dtype=torch.bool, device=known.device)
        unknown[known] = False
        with torch.no_grad():
            model.output.weight[unknown] = 0.0
        column = torch.full((vocab_size,), len(known), device=known.device)
        column[known] = torch.arange(len(known), device=known.device)
        rest = model.output.bias.detach()[unknown].logsumexp(
            0, keepdim=True
        )  # It is -inf where every id is known.
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("column", column, persistent=False)
        self.register_buffer("rest", rest, persistent=False)

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        state: State,
        progress: float,
        labels: Tensor | None = None,
        noise: Noise | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """The loss to minimise, the nats per token in it, and the state after the window.

        Args:
            inputs, targets: (T, B) ids.
            state: of B rows.
            progress: the part of the budget that is spent.
            labels: (T, B), see `LanguageModel.outputs`.
            noise: random numbers for dropout and scheduled sampling; None switches both off.
        """
        config = self.config
        model = self.model
        if config.scheduled_sampling > 0.0 and noise is not None:
            chance = config.scheduled_sampling * progress
            inputs = self._mixed(inputs, state, chance, noise, labels)
        outputs, state = model.outputs(inputs, state, labels, noise)
        features = locked_dropout(outputs, model.config.output_dropout, noise)
        nats = cross_entropy(self._logits(features), self.column[targets])
        loss = nats
        if config.activation_penalty > 0.0:
            loss = loss + config.activation_penalty * features.float().square().mean()
        if config.activation_change_penalty > 0.0:
            change = (outputs[1:] - outputs[:-1]).float()
            loss = loss + config.activation_change_penalty * change.square().mean()
        return loss, nats.detach(), state

    def _logits(self, features: Tensor) -> Tensor:
        """(T, B, H) -> (T, B, K + 1), the last column for all tokens that never occur."""
        output = self.model.output
        weight = F.pad(output.weight[self.known], (0, 0, 0, 1))
        return F.linear(features, weight, torch.cat([output.bias[self.known], self.rest]))

    @torch.no_grad()
    def _mixed(
        self,
        inputs: Tensor,
        state: State,
        probability: float,
        noise: Noise,
        labels: Tensor | None = None,
    ) -> Tensor:
        """The inputs, of which some are replaced by samples from the model. (T, B)

        Source: scheduled sampling (Bengio et al. 2015), in two parallel passes instead of a loop
        over time (Mihaylova & Martins 2019).
        """
        model = self.model
        outputs, _ = model.outputs(inputs, state, labels, noise)
        logits = self._logits(outputs)[:-1, :, : len(self.known)].float()
        # The argmax of logits plus Gumbel noise is a sample from their softmax.
        gumbel = noise.exponential_rows(logits.shape).log_().neg_()
        drawn = self.known[(logits + gumbel).argmax(-1)]  # (T - 1, B)
        chance = noise.uniform_rows(drawn.shape)
        mixed = torch.where(chance < probability, drawn, inputs[1:])
        return torch.cat([inputs[:1], mixed])
