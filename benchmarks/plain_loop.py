"""The training loop of pytorch/examples' word_language_model, written anew, as a peer.

It has nn.LSTM, a decoder, log-softmax over the whole vocabulary and a clipped gradient, in float32
and by all cores; AdamW is in place of its bare gradient steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from generative.model.language_model import LanguageModel
    from generative.training.batches import Batch
    from generative.training.config import TrainingConfig

    Step = Callable[[Batch], float]


class Peer(nn.Module):
    """word_language_model's LSTM."""

    def __init__(self, ours: LanguageModel) -> None:
        """With the same weights."""
        super().__init__()
        shape = ours.config
        self.encoder = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.rnn = nn.LSTM(shape.embedding_size, shape.hidden_size, shape.num_layers)
        self.decoder = nn.Linear(shape.hidden_size, shape.vocab_size)
        theirs = ours.state_dict()
        mine = {
            "encoder.weight": theirs["embedding.weight"],
            "decoder.weight": theirs["output.weight"],
            "decoder.bias": theirs["output.bias"],
        }
        for i in range(shape.num_layers):
            mine[f"rnn.weight_ih_l{i}"] = theirs[f"layers.{i}.weight_input"]
            mine[f"rnn.weight_hh_l{i}"] = theirs[f"layers.{i}.weight_hidden"]
            mine[f"rnn.bias_ih_l{i}"] = theirs[f"layers.{i}.bias"]
            mine[f"rnn.bias_hh_l{i}"] = torch.zeros_like(theirs[f"layers.{i}.bias"])
        self.load_state_dict(mine)

    def forward(
        self, tokens: Tensor, hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(T, B) -> (T * B, V), new state"""
        output, hidden = self.rnn(self.encoder(tokens), hidden)
        decoded = self.decoder(output).view(-1, self.decoder.out_features)
        return F.log_softmax(decoded, dim=1), hidden


def plain_step(ours: LanguageModel, config: TrainingConfig) -> Step:
    """One step of the peer's loop."""
    model = Peer(ours)
    for i in range(ours.config.num_layers):  # a second bias would walk another curve
        getattr(model.rnn, f"bias_hh_l{i}").requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=(config.beta1, config.beta2), weight_decay=0.0
    )
    zeros = torch.zeros(ours.config.num_layers, config.batch_size, ours.config.hidden_size)
    hidden = (zeros, zeros)

    def step(batch: Batch) -> float:
        nonlocal hidden
        hidden = (hidden[0].detach(), hidden[1].detach())
        model.zero_grad()
        output, hidden = model(torch.from_numpy(batch.inputs), hidden)
        loss = F.nll_loss(output, torch.from_numpy(batch.targets).view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.gradient_clip)
        optimizer.step()
        return float(loss.item())

    return step
