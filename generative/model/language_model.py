"""The language model: token ids to logits, by an embedding, recurrent layers and an output layer.

It must not know text, music, losses or schedules.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.model.cell_specs import CELL_SPECS
from generative.model.cells import CELLS
from generative.model.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.context.reader import Reader
    from generative.model.config import ModelConfig
    from generative.model.noise import Noise


class LanguageModel(nn.Module):
    """Embedding, recurrent layers, output layer: p(next token | all tokens so far).

    Example:
        model = LanguageModel(ModelConfig(vocab_size=96, hidden_size=256))
        logits, state = model(tokens, model.initial_state(8))   # tokens (T, 8) -> (T, 8, 96)
    """

    def __init__(self, config: ModelConfig, context: Reader | None = None) -> None:
        """Build an untrained model.

        Args:
            config: the model's shape.
            context: the reader of the context features that `config` names; None without any.

        Raises:
            ValueError: the reader's features are not of the sizes that `config` has.
        """
        super().__init__()
        sizes = () if context is None else context.sizes
        if sizes != config.feature_sizes:
            raise ValueError(
                f"context features of the sizes {sizes} do not fit a model that reads those of the "
                f"sizes {config.feature_sizes}"
            )
        self.config = config
        self.context = context
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
        if config.labels:
            # Row 0 stands for "no label" and stays zero, since the first layer's bias can do all
            # that it could.
            self.labels = nn.Embedding(1 + len(config.labels), config.embedding_size, padding_idx=0)
            nn.init.zeros_(self.labels.weight)
        if config.features:
            # The vectors of all features together vary as much as that of a token, so that neither
            # hides the other at first.
            self.features = nn.Embedding(sum(config.feature_sizes), config.embedding_size)
            count = len(config.features)
            nn.init.normal_(self.features.weight, std=(config.embedding_size * count) ** -0.5)

    @property
    def num_parameters(self) -> int:
        """The number of trained parameters; a tied matrix counts once."""
        return sum(p.numel() for p in self.parameters())

    def set_unigram_bias(self, counts: Sequence[int] | Tensor) -> None:
        """Set the output bias to the corpus's token frequencies, so that no step is spent on them.

        counts: (V,) occurrences in the training data; half a count is added to each.
        """
        smoothed = torch.as_tensor(counts, dtype=torch.float32) + 0.5
        with torch.no_grad():
            self.output.bias.copy_((smoothed / smoothed.sum()).log())

    def initialise(self, how: str) -> None:
        """Initialise the matrices of the recurrent layers anew; "uniform" leaves them as they are.

        Args:
            how: "xavier": both matrices uniform by their fans (Glorot & Bengio 2010), each gate for
                itself; "orthogonal": the recurrent one orthogonal, gate by gate (Saxe et al. 2014),
                the input one by Xavier's rule.
        """
        if how == "uniform":
            return
        recurrent_rule = nn.init.orthogonal_ if how == "orthogonal" else nn.init.xavier_uniform_
        spec = CELL_SPECS[self.config.cell]
        rules = {spec.input_weight: nn.init.xavier_uniform_, spec.recurrent_weight: recurrent_rule}
        for layer in self.layers:
            for name, rule in rules.items():
                for gate in layer.get_parameter(name).detach().split(self.config.hidden_size):
                    rule(gate)

    def initial_state(self, batch_size: int) -> State:
        """The state of `batch_size` sequences before their first token: zeros."""
        zeros = self.output.bias.new_zeros(batch_size, self.config.hidden_size)
        names = CELL_SPECS[self.config.cell].state
        memory = None if self.context is None else self.context.start(batch_size)
        return State(tuple(tuple(zeros for _ in names) for _ in self.layers), memory)

    def outputs(
        self,
        tokens: Tensor,
        state: State,
        labels: Tensor | None = None,
        noise: Noise | None = None,
    ) -> tuple[Tensor, State]:
        """What the output layer reads: the sum of all layers' outputs, or the top layer's outputs.

        Args:
            tokens: (T, B) ids.
            state: of B rows, before the first token.
            labels: (T, B), of the document that each token belongs to, numbered as in
                `ModelConfig.labels`; None means no label anywhere.
            noise: random numbers for the dropout of `config`; None drops nothing.

        Returns:
            (T, B, H), and the state after the last token.
        """
        config = self.config
        weight, drop_weights = self.embedding.weight, None
        if noise is not None:
            weight = noise.drop_vectors(weight, config.embedding_dropout)
            drop_weights = partial(noise.drop_weights, probability=config.weight_drop)
        x = F.embedding(tokens, weight)
        if labels is not None:
            x = x + self.labels(labels)
        memory = state.memory
        if self.context is not None:
            assert memory is not None  # The state came from `initial_state`.
            features, memory = self.context.read(tokens.cpu().numpy(), memory)
            x = x + self._feature_vectors(features)
        total: Tensor | None = None
        new_layers = []
        for layer, old in zip(self.layers, state.layers, strict=True):
            x, new = layer(locked_dropout(x, config.dropout, noise), old, drop_weights)
            new_layers.append(tuple(t.float() for t in new))
            total = x if total is None or not config.sum_layers else total + x
        assert total is not None  # num_layers >= 1
        return total, State(tuple(new_layers), memory)

    def _feature_vectors(self, features: NDArray[np.int64]) -> Tensor:
        """The sum of the vectors of a token's features. (T, B, F) -> (T, B, E)"""
        weight = self.features.weight
        rows = torch.from_numpy(features.reshape(-1, features.shape[-1])).to(weight.device)
        vectors = F.embedding_bag(rows, weight, mode="sum")  # (T * B, E)
        return vectors.view(*features.shape[:2], -1)

    def forward(
        self, tokens: Tensor, state: State, labels: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits for the token after each token. tokens: (T, B) -> (T, B, V), new state.

        labels: see `outputs`.
        """
        outputs, state = self.outputs(tokens, state, labels)
        return self.output(outputs), state

    def step(
        self, tokens: Tensor, state: State, labels: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """`forward` for one token a row. tokens, labels: (B,) -> (B, V), new state."""
        logits, state = self(
            tokens.unsqueeze(0), state, None if labels is None else labels.unsqueeze(0)
        )
        return logits.squeeze(0), state


def locked_dropout(x: Tensor, probability: float, noise: Noise | None) -> Tensor:
    """Drop the same features at every step of a window. (T, B, H) -> (T, B, H)

    Source: Gal & Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks" (2016).
    """
    if noise is None or probability == 0.0:
        return x
    mask = noise.keep_rows((1, *x.shape[1:]), 1.0 - probability)
    return x * mask.to(x.dtype)
