"""A checkpoint's arrays in the form that stepping needs. It must not know how a cell steps.

The first layer reads no embedding: the product of its input weight with every token's vector is a
table with one row a token, the bias added, computed once. So is that with the vector of every value
of the context features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generative.model.cell_specs import CELL_SPECS, layer_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generative.model.config import ModelConfig

Array = NDArray[np.float32]
INT8_LARGEST = 127  # -128 is not used, since 128 does not fit
INT16_LARGEST, INT32_LARGEST = 2**15 - 1, 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One model, float32. G is the number of gates times H; layers are counted from the lowest.

    Attributes:
        cell: a key of `CELL_SPECS`.
        table: the first layer's input product and bias for each token. (V, G)
        feature_table: its input product for each value of the context features, one feature after
            another. (W, G), where W is 0 without features
        inputs: the input weights of the layers above the first. (G, H) each
        biases: the biases of the layers above the first. (G,) each
        hidden: the recurrent weights of all layers. (G, H) each
        output: (V, H)
        output_bias: (V,)
        sum_layers: the output layer reads the sum of all layers, not the top one.
        units: None, or for int8 the number of steps between 0 and 1 to which what the matrices
            multiply is rounded.
    """

    cell: str
    table: Array
    feature_table: Array
    inputs: tuple[Array, ...]
    biases: tuple[Array, ...]
    hidden: tuple[Array, ...]
    output: Array
    output_bias: Array
    sum_layers: bool
    units: int | None = None

    @classmethod
    def from_arrays(cls, config: ModelConfig, arrays: Mapping[str, Array]) -> Weights:
        """`arrays` by the torch model's parameter names; they are shared where that is possible."""
        spec = CELL_SPECS[config.cell]
        inputs, hidden, biases = (
            [
                np.ascontiguousarray(arrays[layer_array(layer, name)])
                for layer in range(config.num_layers)
            ]
            for name in (spec.input_weight, spec.recurrent_weight, spec.bias)
        )
        no_features = np.zeros((0, config.embedding_size), np.float32)
        return cls(
            cell=config.cell,
            table=arrays["embedding.weight"] @ inputs[0].T + biases[0],
            feature_table=arrays.get("features.weight", no_features) @ inputs[0].T,
            inputs=tuple(inputs[1:]),
            biases=tuple(biases[1:]),
            hidden=tuple(hidden),
            output=np.ascontiguousarray(arrays["output.weight"]),
            output_bias=arrays["output.bias"],
            sum_layers=config.sum_layers,
        )

    @property
    def hidden_size(self) -> int:
        """H."""
        size: int = self.output.shape[1]
        return size

    def rounded(self) -> Weights:
        """The weights with the precision of int8.

        Every matrix that is read whole for each token is rounded as int8 keeps it. What it
        multiplies is rounded to 16 bits, or to as many as the sums of products in 32 bits permit.
        The tables stay exact, since only a few rows of them are read for a token.
        """
        return replace(
            self,
            inputs=tuple(map(round_rows, self.inputs)),
            hidden=tuple(map(round_rows, self.hidden)),
            output=round_rows(self.output),
            units=min(INT16_LARGEST, INT32_LARGEST // (INT8_LARGEST * self.hidden_size)),
        )

    def rounded_input(self, values: Array, bound: int = 1) -> Array:
        """Values within -bound and bound, rounded as `units` asks. (B, H) -> (B, H)"""
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
    """The matrix that the result of `quantise_rows` stands for. (R, K) -> (R, K)"""
    whole, scales = quantise_rows(matrix)
    return whole * scales[:, None]
