"""The language model: knows token ids in and logits out, not text, music, losses or schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.model.cells import CELLS
from generative.model.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generative.model.config import ModelConfig


def locked_dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Drop the same features at every step of a window. x: (T, B, H) -> (T, B, H).

    Source: Gal & Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent
    Neural Networks" (2016).
    """
    if not training or probability == 0.0:
        return x
    mask = torch.empty_like(x[:1]).bernoulli_(1.0 - probability).div_(1.0 - probability)
    return x * mask


class LanguageModel(nn.Module):
    """Embedding, recurrent layers, output layer: p(next token | all tokens so far).

    Example:
        model = LanguageModel(ModelConfig(vocab_size=96, hidden_size=256))
        logits, state = model(tokens, model.initial_state(8))   # tokens (T, 8) -> (T, 8, 96)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.cell not in CELLS:
            raise ValueError(f"unknown cell {config.cell!r}; known: {', '.join(sorted(CELLS))}")
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=config.embedding_size**-0.5)
        widths = [config.embedding_size] + [config.hidden_size] * config.num_layers
        cell = CELLS[config.cell]
        self.layers = nn.ModuleList(
            cell(widths[i], config.hidden_size) for i in range(config.num_layers)
        )
        self.output = nn.Linear(config.hidden_size, config.vocab_size)
        nn.init.zeros_(self.output.bias)
        if config.tied:
            self.output.weight = self.embedding.weight

    @property
    def num_parameters(self) -> int:
        """Numbers that training sets; a tied matrix counts once."""
        return sum(p.numel() for p in self.parameters())

    def set_unigram_bias(self, counts: Sequence[int] | Tensor) -> None:
        """Start from the corpus's token frequencies, so that no step is spent on learning them.

        counts: (V,) occurrences in the training data; half a count is added to each.
        """
        smoothed = torch.as_tensor(counts, dtype=torch.float32) + 0.5
        with torch.no_grad():
            self.output.bias.copy_((smoothed / smoothed.sum()).log())

    def initial_state(self, batch_size: int) -> State:
        """The empty memory of `batch_size` sequences: all zeros."""
        zeros = self.output.bias.new_zeros(batch_size, self.config.hidden_size)
        names = CELLS[self.config.cell].state_names
        return State(tuple(tuple(zeros for _ in names) for _ in self.layers))

    def features(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """What the output layer reads. tokens: (T, B) -> (T, B, H), state after the last token."""
        config = self.config
        x = self._embed(tokens)
        total: Tensor | None = None
        new_layers = []
        for layer, old in zip(self.layers, state.layers, strict=True):
            x = locked_dropout(x, config.dropout, self.training)
            x, new = layer(x, old, config.weight_drop)
            new_layers.append(tuple(t.float() for t in new))
            total = x if total is None or not config.sum_layers else total + x
        assert total is not None  # num_layers >= 1
        return locked_dropout(total, config.output_dropout, self.training), State(tuple(new_layers))

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits for the token after each token. tokens: (T, B) -> (T, B, V), new state."""
        features, state = self.features(tokens, state)
        return self.output(features), state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """`forward` for one token a row. tokens: (B,) -> (B, V), new state."""
        logits, state = self(tokens.unsqueeze(0), state)
        return logits.squeeze(0), state

    def _embed(self, tokens: Tensor) -> Tensor:
        """tokens: (T, B) -> (T, B, E); in training some token types are silent for the window."""
        weight = self.embedding.weight
        probability = self.config.embedding_dropout
        if self.training and probability > 0.0:
            keep = torch.empty_like(weight[:, :1]).bernoulli_(1.0 - probability)
            weight = weight * (keep / (1.0 - probability))
        return F.embedding(tokens, weight)
