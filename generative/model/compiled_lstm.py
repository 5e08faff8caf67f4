"""The compiled loop over time of an LSTM layer: forward and backward, float32 on a CPU.

A step multiplies a few rows, h (R, H), by a matrix that is too large for the cache next to the
core. `pack` lays the matrix out in contiguous panels of 16 columns, (H, 16) each, so that the
product reads memory in order: 4 rows by one panel are summed in registers while h is broadcast. The
loop releases the interpreter's lock and starts no threads of its own, so several Python threads can
each take rows of one batch, all with the same packed matrix. The sums of a row run over k in order
whatever other rows there are, so the result does not depend on how a batch is split.

On the machine of the measurements (Zen 3, AVX2, a peak of 94 billion operations a second) products
with 8 rows ran at 85-95 billion, and a library's LSTM at 50; tiles of 8 rows by 8 columns ran at
61-81, and tiles of 6 by 16 at 65. Splitting rows over OpenMP threads inside the layer was slower
than one thread for each part of the batch, since idle OpenMP threads keep the cores for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch.autograd.function import once_differentiable

from generative.machine.compiling import cached, call, inner, sigmoid, smooth, tanh

if TYPE_CHECKING:
    from torch import Tensor

NOTE = "compiling the recurrent layer for this machine: once, some seconds"
LANES = 16  # columns of a panel
# The rows of a tile. All sums of a tile fit into the registers, and there are enough sums to hide
# the latency of an addition.
ROWS = 8 if binding.get_host_cpu_features().get("avx512f") else 4
PANELS = 4  # panels of a tile with a single row
_ONE = np.float32(1.0)


class Packed(NamedTuple):
    """A recurrent matrix (G, H), G = 4H, in the layout of the loop, padded with zero columns."""

    forward: Tensor  # (ceil(G / 16), H, 16): h @ weight.T
    backward: Tensor  # (ceil(H / 16), G, 16): dgates @ weight


def pack(weight_hidden: Tensor) -> Packed:
    """Lay out weight_hidden (G, H) for the loop. It is needed once an optimizer step."""
    weight = weight_hidden.detach()
    return Packed(_panels(weight.t()), _panels(weight))


def _panels(matrix: Tensor) -> Tensor:
    """(K, N) -> (ceil(N / 16), K, 16), float32"""
    depth, columns = matrix.shape
    count = -(-columns // LANES)
    panels = torch.empty(count, depth, LANES)
    whole = columns // LANES
    blocks = matrix[:, : whole * LANES].unflatten(1, (whole, LANES))
    panels[:whole].copy_(blocks.transpose(0, 1))
    if whole < count:
        panels[whole] = 0
        panels[whole, :, : columns - whole * LANES] = matrix[:, whole * LANES :]
    return panels


def _tile(rows: int, panels: int) -> Any:
    """A compiled function that computes one tile of out = a @ matrix.

    The tile has so many rows and panels from `row` and `panel` on. Rows and panels beyond the last
    one repeat the last one.
    """
    fuse = ("contract",)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, row, matrix, panel, out = args
        a, matrix, out = (
            context.make_array(signature.args[at])(context, builder, value)
            for at, value in ((0, a), (2, matrix), (4, out))
        )
        wide = ir.VectorType(ir.FloatType(), LANES)
        number = row.type
        lanes = ir.Constant(number, LANES)
        height, depth = cgutils.unpack_tuple(builder, a.shape)
        count = cgutils.unpack_tuple(builder, matrix.shape)[0]
        width = cgutils.unpack_tuple(builder, out.shape)[1]

        def numbers(first: Any, how_many: int, end: Any) -> list[Any]:
            last = builder.sub(end, ir.Constant(number, 1))
            found = [builder.add(first, ir.Constant(number, i)) for i in range(how_many)]
            return [builder.select(builder.icmp_signed("<", i, last), i, last) for i in found]

        def vector(data: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(data, [index]), wide.as_pointer())

        def broadcast(value: Any) -> Any:
            undefined = ir.Constant(wide, ir.Undefined)
            first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return builder.shuffle_vector(first, undefined, zeros)

        rows_at = numbers(row, rows, height)
        panels_at = numbers(panel, panels, count)
        lines = [builder.gep(a.data, [builder.mul(i, depth)]) for i in rows_at]
        size = builder.mul(depth, lanes)
        streams = [builder.gep(matrix.data, [builder.mul(i, size)]) for i in panels_at]
        zeros = ir.Constant(wide, [0.0] * LANES)
        sums = [[cgutils.alloca_once_value(builder, zeros) for _ in streams] for _ in lines]
        bounds = (ir.Constant(number, 0), depth, ir.Constant(number, 1))  # start, stop, step
        with cgutils.for_range_slice(builder, *bounds) as (k, _):
            offset = builder.mul(k, lanes)
            weights = [builder.load(vector(stream, offset), align=4) for stream in streams]
            for line, totals in zip(lines, sums, strict=True):
                value = broadcast(builder.load(builder.gep(line, [k])))
                for total, weight in zip(totals, weights, strict=True):
                    product = builder.fmul(value, weight, flags=fuse)
                    builder.store(builder.fadd(builder.load(total), product, flags=fuse), total)
        for i, totals in zip(rows_at, sums, strict=True):
            for j, total in zip(panels_at, totals, strict=True):
                at = builder.add(builder.mul(i, width), builder.mul(j, lanes))
                builder.store(builder.load(total), vector(out.data, at), align=4)
        return context.get_dummy_value()

    @intrinsic
    def tile(_: Any, a: Any, row: Any, matrix: Any, panel: Any, out: Any) -> Any:
        return types.void(a, row, matrix, panel, out), emit

    return tile


_tile_of_rows, _tile_of_one = _tile(ROWS, 1), _tile(1, PANELS)


@inner
def _product(a: Any, panels: Any, out: Any) -> None:
    """out = a @ matrix. a: (R, K), panels: (P, K, 16) -> out: (R, 16P)"""
    rows, count = a.shape[0], panels.shape[0]
    one_left = rows % ROWS == 1
    for panel in range(count):
        for row in range(0, rows - one_left, ROWS):
            _tile_of_rows(a, row, panels, panel, out)
    if one_left:
        for panel in range(0, count, PANELS):
            _tile_of_one(a, rows - 1, panels, panel, out)


@smooth
def _lstm(gates: Any, from_state: Any, old_c: Any, c: Any, h: Any) -> None:
    """One step of one row, by the formulas of `cells.LSTM`.

    Each loop has few arrays, so that the compiler can prove that it may use vector instructions.

    Args:
        gates: x @ weight_input.T + bias; they become the gates i, f, g, o. (4H,)
        from_state: h @ weight_hidden.T. (4H padded,)
        old_c: the cell state before the step. (H,)
        c, h: the state after the step, to be filled. (H,)
    """
    size = c.shape[0]
    i, f, g, o = (
        gates[:size],
        gates[size : 2 * size],
        gates[2 * size : 3 * size],
        gates[3 * size :],
    )
    input_and_forget, from_cell, from_output = (
        gates[: 2 * size],
        from_state[2 * size :],
        from_state[3 * size :],
    )
    for j in range(2 * size):
        input_and_forget[j] = sigmoid(input_and_forget[j] + from_state[j])
    for j in range(size):
        g[j] = tanh(g[j] + from_cell[j])
    for j in range(size):
        o[j] = sigmoid(o[j] + from_output[j])
    for j in range(size):
        c[j] = f[j] * old_c[j] + i[j] * g[j]
    for j in range(size):
        h[j] = o[j] * tanh(c[j])


@cached
def lstm_forward(gates: Any, panels: Any, h: Any, c: Any, from_state: Any) -> None:
    """Run T steps of R rows.

    Args:
        gates: x @ weight_input.T + bias; they become the gates i, f, g, o. (T, R, 4H)
        panels: `Packed.forward`.
        h: the first is the state; the others are filled. (T + 1, R, H)
        c: as `h`, or a ring buffer with N of at least 2, where step t fills index (t + 1) % N.
            (N, R, H)
        from_state: scratch memory. (R, 4H padded)
    """
    steps, rows, _ = gates.shape
    for t in range(steps):
        _product(h[t], panels, from_state)
        old_c, new_c = c[t % c.shape[0]], c[(t + 1) % c.shape[0]]
        for row in range(rows):
            _lstm(gates[t, row], from_state[row], old_c[row], new_c[row], h[t + 1, row])


@smooth
def _lstm_gradients(
    gates: Any, old_c: Any, c: Any, dout: Any, dh: Any, dc: Any, tanh_c: Any
) -> None:
    """The gradients of `_lstm` by the chain rule.

    Args:
        gates: i, f, g, o; they become the gradients of the arguments of sigmoid and tanh. (4H,)
        old_c, c: the cell state before and after the step. (H,)
        dout: the gradient of h from outside the layer. (H,)
        dh: the gradient of h from the next step. (H padded,)
        dc: the gradient of c from the next step; it becomes the gradient of `old_c`. (H,)
        tanh_c: scratch memory. (H,)
    """
    size = c.shape[0]
    i, f, g, o = (
        gates[:size],
        gates[size : 2 * size],
        gates[2 * size : 3 * size],
        gates[3 * size :],
    )
    for j in range(size):
        tanh_c[j] = tanh(c[j])
    for j in range(size):
        dh[j] += dout[j]
    for j in range(size):
        dc[j] += dh[j] * o[j] * (_ONE - tanh_c[j] * tanh_c[j])
    for j in range(size):
        o[j] = dh[j] * tanh_c[j] * o[j] * (_ONE - o[j])
    for j in range(size):
        d, i_j, g_j = dc[j], i[j], g[j]
        i[j] = d * g_j * i_j * (_ONE - i_j)
        g[j] = d * i_j * (_ONE - g_j * g_j)
    for j in range(size):
        d, f_j = dc[j], f[j]
        f[j] = d * old_c[j] * f_j * (_ONE - f_j)
        dc[j] = d * f_j


@cached
def lstm_backward(
    gates: Any, panels: Any, c: Any, dout: Any, dh: Any, dc: Any, scratch: Any
) -> None:
    """Backpropagate through `lstm_forward`.

    Args:
        gates: the result of `lstm_forward`; they become the gradients of the arguments of sigmoid
            and tanh. (T, R, 4H)
        panels: `Packed.backward`.
        c: the result of `lstm_forward`. (T + 1, R, H)
        dout: the gradient of each h. (T, R, H)
        dh: zeros, which become the gradient of the first h. (R, H padded)
        dc: the gradient of the last c; it becomes the gradient of the first c. (R, H)
        scratch: (H,)
    """
    steps, rows, _ = dout.shape
    for t in range(steps - 1, -1, -1):
        for row in range(rows):
            _lstm_gradients(
                gates[t, row], c[t, row], c[t + 1, row], dout[t, row], dh[row], dc[row], scratch
            )
        _product(gates[t], panels, dh)


def _copy(tensor: Tensor) -> Tensor:
    """A contiguous copy, which the compiled functions need."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _numpy(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


def _forward(
    x: Tensor, h: Tensor, c: Tensor, weight_input: Tensor, bias: Tensor, packed: Packed, kept: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates (T, R, 4H), every h (T + 1, R, H) and the last `kept` of c (kept, R, H)."""
    steps, rows, _ = x.shape
    gates = torch.addmm(bias, x.flatten(0, 1), weight_input.t()).unflatten(0, (steps, rows))
    hs, cs = (torch.empty(count, *state.shape) for count, state in ((steps + 1, h), (kept, c)))
    hs[0], cs[0] = h, c
    from_state = torch.empty(rows, len(packed.forward) * LANES)
    call(lstm_forward, NOTE, *_numpy(gates, packed.forward, hs, cs, from_state))
    return gates, hs, cs


class _LSTMScan(torch.autograd.Function):
    """The layer over time with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        weight_input: Tensor,
        _weight_hidden: Tensor,  # Its numbers come in `packed`; autograd needs it for the gradient.
        bias: Tensor,
        packed: Packed,
    ) -> tuple[Tensor, Tensor]:
        """Arguments as in `lstm_scan` -> out (T, R, H), the last c (R, H)."""
        gates, hs, cs = _forward(x, h, c, weight_input, bias, packed, len(x) + 1)
        ctx.save_for_backward(x, weight_input, gates, hs, cs)
        ctx.panels = packed.backward
        return hs[1:], cs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the arguments of `forward`."""
        x, weight_input, gates, hs, cs = ctx.saved_tensors
        rows, size = dc.shape
        dh, dc = torch.zeros(rows, len(ctx.panels) * LANES), _copy(dc)
        arrays = (gates, ctx.panels, cs, dout.contiguous(), dh, dc, torch.empty(size))
        call(lstm_backward, NOTE, *_numpy(*arrays))
        torch.autograd.graph.increment_version(gates)  # A second backward pass is refused by this.
        flat = gates.flatten(0, 1)
        wanted = ctx.needs_input_grad
        return (
            torch.mm(flat, weight_input).view_as(x) if wanted[0] else None,
            dh[:, :size],
            dc,
            torch.mm(flat.t(), x.flatten(0, 1)) if wanted[3] else None,
            torch.mm(flat.t(), hs[:-1].flatten(0, 1)) if wanted[4] else None,
            flat.sum(0) if wanted[5] else None,
            None,
        )


def lstm_scan(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    packed: Packed,
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM layer over time; all tensors float32 on a CPU.

    Args:
        x: (T, R, I), T and R at least 1.
        h, c: the state. (R, H)
        weight_input, weight_hidden, bias: (4H, I), (4H, H), (4H,)
        packed: `pack(weight_hidden)`.

    Returns:
        out (T, R, H), the last h and c (R, H)
    """
    inputs = (x, h, c, weight_input, weight_hidden, bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        out, c = _LSTMScan.apply(*inputs, packed)  # type: ignore[no-untyped-call]
        return out, out[-1].clone(), c
    _, hs, cs = _forward(x, h, c, weight_input, bias, packed, 2)
    return hs[1:], hs[-1].clone(), cs[len(x) % 2]
