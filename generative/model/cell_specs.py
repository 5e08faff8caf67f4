"""The recurrent cells by name: what their arrays are called, how large they are and what they do.

Whoever reads a model's arrays finds their names here. It must not need torch; `cells` and the
engine have the mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """The arrays of one layer of a cell, whose gates have H rows each, and its state.

    A layer reads its input x only as `input_weight` @ x + `bias`.

    Attributes:
        gates: the number of gates.
        state: the names of its state's arrays, (B, H) each; the first is the layer's output.
        input_weight: the matrix that multiplies what the layer reads. (gates * H, I)
        recurrent_weight: the matrix that multiplies the layer's last output. (gates * H, H)
        bias: the vector that is added to what `input_weight` gives. (gates * H,)
    """

    gates: int
    state: tuple[str, ...]
    input_weight: str = "weight_input"
    recurrent_weight: str = "weight_hidden"
    bias: str = "bias"

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """The shape of each array of a layer."""
        rows = self.gates * hidden_size
        return {
            self.input_weight: (rows, input_size),
            self.recurrent_weight: (rows, hidden_size),
            self.bias: (rows,),
        }


CELL_SPECS = {
    "lstm": CellSpec(gates=4, state=("h", "c")),
    "gru": CellSpec(gates=3, state=("h",)),
}


def layer_array(layer: int, name: str) -> str:
    """The name under which a model stores an array of a layer; the lowest layer is 0."""
    return f"layers.{layer}.{name}"
