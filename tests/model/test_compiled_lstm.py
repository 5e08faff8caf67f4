"""The compiled LSTM is `torch.lstm` to rounding, however its rows are split over threads."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from generative.machine import compiling
from generative.model import cells, compiled_lstm
from generative.model.cells import LSTM, lstm_scan, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("x", "h", "c", "weight_input", "weight_hidden", "bias")
Results = list[Tensor]


def case(steps: int, rows: int, size: int, width: int = 5) -> list[Tensor]:
    """Random inputs by `NAMES`; some gates saturate."""
    generator = torch.Generator().manual_seed(steps + 100 * rows + 10000 * size)
    shapes = ((steps, rows, width), (rows, size), (rows, size), (4 * size, width))
    tensors = [
        torch.randn(shape, generator=generator)
        for shape in (*shapes, (4 * size, size), (4 * size,))
    ]
    tensors[4] *= 2 / size**0.5
    return [tensor.requires_grad_() for tensor in tensors]


def by_torch(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    both = [*weights, torch.zeros_like(weights[2])]
    out, h, c = torch.lstm(x, (h[None], c[None]), both, True, 1, 0.0, True, False, False)
    return out, h[0], c[0]


def compiled(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, h, c, weight_input, weight_hidden, bias = inputs
    packed = pack(weight_hidden)
    out, (h, c) = lstm_scan(x, (h, c), weight_input, weight_hidden, bias, packed)
    return out, h, c


def gradients(outputs: tuple[Tensor, ...], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a sum that weighs every output differently."""
    total = sum((o * torch.linspace(-1, 1, o.numel()).view_as(o)).sum() for o in outputs)
    assert isinstance(total, Tensor)
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("size", [1, 7, 16, 33, 64])
@pytest.mark.parametrize(("steps", "rows"), [(1, 1), (6, 1), (5, 3), (4, 4), (3, 9), (2, 21)])
def test_outputs_and_gradients_equal_torch(steps: int, rows: int, size: int) -> None:
    inputs = case(steps, rows, size)
    ours, theirs = compiled(*inputs), by_torch(*inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6)
    pairs = zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True)
    for name, (a, b) in zip(NAMES, pairs, strict=True):
        torch.testing.assert_close(
            a,
            b,
            rtol=0,
            atol=5e-6 * (1 + b.abs().max().item()),
            msg=f"{name}: {(a - b).abs().max()}",
        )


def test_the_gradient_of_one_output_alone() -> None:
    """Those of the others are nothing, and come in any layout."""
    inputs = case(4, 3, 8)
    for which in range(3):
        ours, theirs = (
            torch.autograd.grad(f(*inputs)[which].transpose(0, 1).sum(), inputs)
            for f in (compiled, by_torch)
        )
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_without_gradients_the_numbers_are_the_same() -> None:
    for steps in (1, 4, 5):  # c goes round a ring of two
        inputs = case(steps, 5, 12)
        with torch.no_grad():
            quick = compiled(*inputs)
        for a, b in zip(quick, compiled(*inputs), strict=True):
            assert torch.equal(a, b)
            assert not a.requires_grad


def test_no_number_depends_on_the_rows_beside_it() -> None:
    """Checked bit for bit on the loops themselves; `x @ weight_input.T` is BLAS's."""
    steps, rows, size = 6, 23, 19
    random = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return random.standard_normal(shape, dtype=np.float32)

    packed = compiled_lstm.pack(torch.from_numpy(normal(4 * size, size) / 2))
    gates, dout, dc = normal(steps, rows, 4 * size), normal(steps, rows, size), normal(rows, size)
    hs, cs = normal(steps + 1, rows, size), normal(steps + 1, rows, size)

    def both_ways(begin: int, end: int) -> list[NDArray[np.float32]]:
        g, h, c, d = (a[:, begin:end].copy() for a in (gates, hs, cs, dout))
        forward, backward = (part.numpy() for part in packed)
        scratch = np.empty((end - begin, len(forward) * compiled_lstm.LANES), np.float32)
        compiled_lstm.lstm_forward(g, forward, h, c, scratch)
        last, dh = dc[begin:end].copy(), np.zeros((end - begin, 32), np.float32)
        activations = g.copy()
        compiled_lstm.lstm_backward(g, backward, c, d, dh, last, np.empty(size, np.float32))
        return [activations, h, c, g, dh[None], last[None]]

    whole = both_ways(0, rows)
    for ends in ([0, 1, 23], [0, 4, 8, 23], [0, 5, 11, 18, 21, 23]):
        parts = [both_ways(*pair) for pair in pairwise(ends)]
        for number, expected in enumerate(whole):
            joined = np.concatenate([part[number] for part in parts], axis=1)
            assert joined.tobytes() == expected.tobytes()


def test_threads_at_once_get_what_they_get_in_turn() -> None:
    inputs = [case(40, rows, 48) for rows in (8, 8, 3, 5)]
    packed = pack(inputs[0][4])

    def work(given: list[Tensor]) -> Results:
        x, h, c, weight_input, _, bias = given
        weights = (weight_input, inputs[0][4], bias)
        out, state = lstm_scan(x, (h, c), *weights, packed)
        return [out, *state, *gradients((out, *state), [x, h, c, *weights])]

    in_turn = [work(given) for given in inputs]
    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(work, inputs * 3))
    for found, expected in zip(at_once, in_turn * 3, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_gradient_is_given_once() -> None:
    inputs = case(2, 2, 4)
    out = compiled(*inputs)[0].sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_nan_is_not_hidden() -> None:
    """A weight gone wrong has to be seen in the loss."""
    inputs = case(3, 2, 6)
    with torch.no_grad():
        inputs[4][:, 2] = torch.nan
    assert all(result.isnan().all() for result in compiled(*inputs)[1:])


@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
def test_the_quick_functions(function: str) -> None:
    x = np.linspace(-20, 20, 100001, dtype=np.float32)
    inner = getattr(compiling, function)
    found = np.array([inner(value) for value in x])
    expected = getattr(torch, function)(torch.from_numpy(x).double()).numpy()
    assert np.abs(found - expected).max() < 3e-7


@pytest.mark.parametrize("change", ["float64", "no compiler"])
def test_what_it_cannot_do_torch_does(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = case(3, 2, 4)
    packed = pack(inputs[4])
    assert packed is not None
    if change == "float64":
        inputs = [tensor.double() for tensor in inputs]
    else:
        monkeypatch.setattr(cells, "_compiled", lambda: None)
    x, h, c, weight_input, weight_hidden, bias = inputs
    assert pack(weight_hidden) is None
    out, _ = lstm_scan(x, (h, c), weight_input, weight_hidden, bias, packed)
    assert torch.equal(out, by_torch(*inputs)[0])


def test_mixed_precision_is_torch_s() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert pack(torch.zeros(8, 2)) is None
    assert pack(torch.zeros(8, 2)) is not None


def test_numba_told_not_to_compile() -> None:
    code = "from generative.model import cells; print(cells._compiled())"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.stdout == "None\n", ran.stderr


def test_a_layer_takes_it_with_one_thread_and_enough_to_read() -> None:
    """Seen by which numbers come out, since the two round differently."""
    layer, threads = LSTM(5, 20), torch.get_num_threads()
    state = (torch.zeros(8, 20), torch.zeros(8, 20))
    try:
        for count, steps, is_ours in ((1, 16, True), (1, 15, False), (2, 16, False)):
            torch.set_num_threads(count)
            x = torch.randn(steps, 8, 5)
            weights = (layer.weight_input, layer.weight_hidden, layer.bias)
            expected = (compiled if is_ours else by_torch)(x, *state, *weights)[0]
            assert torch.equal(layer(x, state)[0], expected)
    finally:
        torch.set_num_threads(threads)
