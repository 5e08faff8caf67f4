"""A checkpoint's arrays as stepping wants them: knows names and shapes, not how a cell steps.

The first layer never sees an embedding: its product with every token's vector is a table with one
row a token, the bias added, computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = NDArray[np.float32]
INT8_LARGEST = 127  # -128 has no opposite
INT16_LARGEST, INT32_LARGEST = 2**15 - 1, 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One model, float32. G is the number of gates times H; layers are counted from the lowest.

    Attributes:
        table: the first layer's input product and bias for each token. (V, G)
        inputs: what the layers above read from the one below. (G, H) each, one fewer than layers
        biases: of the layers above the first. (G,) each
        hidden: what every layer reads from its own past. (G, H) each
        output: (V, H)
        output_bias: (V,)
        sum_layers: the output layer reads the sum of all layers, not the top one.
        units: None, or for int8 how many steps the matrices see between 0 and 1 in what they read.
    """

    table: Array
    inputs: tuple[Array, ...]
    biases: tuple[Array, ...]
    hidden: tuple[Array, ...]
    output: Array
    output_bias: Array
    sum_layers: bool
    units: int | None = None

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], *, num_layers: int, sum_layers: bool
    ) -> Weights:
        """`arrays` by the torch model's parameter names; they are shared where that is possible."""
        inputs, hidden, biases = (
            [np.ascontiguousarray(arrays[f"layers.{i}.{name}"]) for i in range(num_layers)]
            for name in ("weight_input", "weight_hidden", "bias")
        )
        return cls(
            table=arrays["embedding.weight"] @ inputs[0].T + biases[0],
            inputs=tuple(inputs[1:]),
            biases=tuple(biases[1:]),
            hidden=tuple(hidden),
            output=np.ascontiguousarray(arrays["output.weight"]),
            output_bias=arrays["output.bias"],
            sum_layers=sum_layers,
        )

    @property
    def hidden_size(self) -> int:
        """H."""
        size: int = self.output.shape[1]
        return size

    def rounded(self) -> Weights:
        """Every matrix that is read whole for each token as int8 keeps it, and what it reads as 16
        bits, or as many as its whole numbers can add up in 32.

        The table stays exact: one row of it is read for a token.
        """
        return replace(
            self,
            inputs=tuple(map(round_rows, self.inputs)),
            hidden=tuple(map(round_rows, self.hidden)),
            output=round_rows(self.output),
            units=min(INT16_LARGEST, INT32_LARGEST // (INT8_LARGEST * self.hidden_size)),
        )

    def seen(self, values: Array, bound: int = 1) -> Array:
        """What the matrices see of values that lie within -bound and bound. (B, H) -> (B, H)"""
        if self.units is None:
            return values
        units = np.float32(self.units) / np.float32(bound)
        rounded: Array = np.floor(values * units + np.float32(0.5)) / units
        return rounded


def quantise_rows(matrix: Array) -> tuple[NDArray[np.int8], Array]:
    """The nearest whole numbers in -127..127 and each row's scale. (R, K) -> (R, K), (R,)

    Quantising what `round_rows` gives finds the same numbers again.
    """
    scales = np.abs(matrix).max(axis=1) / np.float32(INT8_LARGEST)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def round_rows(matrix: Array) -> Array:
    """The matrix that `quantise_rows` stands for. (R, K) -> (R, K)"""
    whole, scales = quantise_rows(matrix)
    return whole * scales[:, None]
