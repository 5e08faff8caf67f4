"""The engine's mathematics are the torch model's, to rounding, and its loop draws as the wheel."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import generative
from generative import checkpoint, engine
from generative.api.runtime import LONG_REQUEST, Runtime
from generative.engine import ENGINE_CELLS, NumpyStepper, kernels
from generative.engine.compiled_stepper import CompiledStepper
from generative.engine.weights import Weights, quantise_rows, round_rows
from generative.machine import compiling
from generative.model.cell_specs import CELL_SPECS
from generative.model.cells import CELLS
from generative.model.stepper import TorchStepper
from generative.sampling import Request, SamplingOptions, build, collect, sample
from generative.sampling.plain import PlainChain, Runner, plain_chain
from generative.sampling.processors import process_logits, start_rows
from tests.conftest import data
from tests.model.test_model import B, T, V, small, tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

LN_2 = np.log(2)
CHAINS = [
    {},
    {"temperature": 0},
    {"temperature": 0.8, "top_p": 0.95},
    {"temperature": 1.3, "top_k": 4},
    {"top_k": 7, "top_p": 0.7, "min_p": 0.05},
    {"temperature": 0.7, "typical_p": 0.6},
    {"min_p": 0.2, "typical_p": 0.9},
]


@cache
def stepper(precision: str = "float32", compiled: bool = True, **changes: Any) -> Any:
    """A small model's, with logits that spread."""
    model = small(**changes)
    arrays = {name: 3 * value.numpy() for name, value in model.state_dict().items()}
    return engine.build(model.config, arrays, precision=precision, compiled=compiled)


class OnlySteps:
    """A stepper that cannot draw by itself, so that the wheel has to turn."""

    vocab_size: int
    initial_state: Any
    step: Any
    prefill: Any

    def __init__(self, inner: Any) -> None:
        self.vocab_size = inner.vocab_size
        self.initial_state, self.step, self.prefill = (
            inner.initial_state,
            inner.step,
            inner.prefill,
        )


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("cell", "sum_layers", "tied"),
    list(itertools.product(ENGINE_CELLS, [True, False], [True, False])),
)
def test_engine_equals_torch(cell: str, sum_layers: bool, tied: bool, compiled: bool) -> None:
    width = 7  # fits no register
    model = small(
        cell=cell, sum_layers=sum_layers, tied=tied, num_layers=3, hidden_size=width,
        embedding_size=width,
    )  # fmt: skip
    with_torch = TorchStepper(model)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    ours_stepper = engine.build(model.config, arrays, compiled=compiled)
    theirs, ours = with_torch.initial_state(B), ours_stepper.initial_state(B)
    for row in tokens().numpy():
        expected, theirs = with_torch.step(row, theirs)
        logits, ours = ours_stepper.step(row, ours)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        assert logits.shape == (B, V)
    theirs, ours = theirs.select([2, 0]), ours.select([2, 0])
    for mine, other in zip(ours.layers[1], theirs.layers[1], strict=True):
        np.testing.assert_allclose(mine, other.numpy(), atol=1e-5)


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_many_steps_are_one_forward(cell: str) -> None:
    model = small(cell=cell, hidden_size=130, embedding_size=20)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    ours = engine.build(model.config, arrays)
    with torch.no_grad():
        expected, _ = model(tokens(), model.initial_state(B))
    for b in range(B):
        logits, _ = ours.prefill(tokens().numpy()[:, b], ours.initial_state(1))
        np.testing.assert_allclose(logits[0], expected[-1, b].numpy(), atol=1e-4)


@pytest.mark.parametrize("precision", engine.PRECISIONS)
@pytest.mark.parametrize("compiled", [True, False])
def test_prefill_is_many_steps(precision: str, compiled: bool) -> None:
    one = stepper(precision, compiled)
    ids = tokens().numpy()[:, 0]
    logits, state = one.prefill(ids, one.initial_state(1))
    other = one.initial_state(1)
    for t in range(T):
        stepped, other = one.step(ids[t : t + 1], other)
    np.testing.assert_array_equal(logits, stepped)
    np.testing.assert_array_equal(state.layers[1][0], other.layers[1][0])


@pytest.mark.parametrize("token", [-1, V])
def test_a_token_that_is_none_is_refused(token: int) -> None:
    one = stepper()
    with pytest.raises(ValueError, match=f"tokens must be in 0..{V - 1}, not {token}"):
        one.step(np.array([token]), one.initial_state(1))


def test_every_cell_is_covered() -> None:
    assert set(ENGINE_CELLS) == set(CELLS)


def test_the_loop_refuses_a_cell_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell with one array of state, as a GRU has, must not be stepped as a GRU."""
    model = small(cell="gru")
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    known = Weights.from_arrays(model.config, arrays)
    with pytest.raises(ValueError, match="steps the cells lstm, gru, not 'rnn'"):
        CompiledStepper(replace(known, cell="rnn"))
    monkeypatch.setitem(kernels.CELL_NUMBERS, "gru", 7)
    unknown = CompiledStepper(known)
    with pytest.raises(ValueError, match="no step for a cell of this number"):
        unknown.step(np.array([1]), unknown.initial_state(1))


def test_a_cell_without_a_compiled_step_is_stepped_in_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(kernels.CELL_NUMBERS, "gru")
    assert isinstance(stepper.__wrapped__(cell="gru"), NumpyStepper)
    assert isinstance(stepper.__wrapped__(cell="lstm"), CompiledStepper)


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_a_cells_arrays_are_found_by_the_names_that_it_gives(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(cell=cell)
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    spec = replace(CELL_SPECS[cell], input_weight="w", recurrent_weight="u", bias="b")
    names = {"weight_input": "w", "weight_hidden": "u", "bias": "b"}

    def renamed(name: str) -> str:
        first, layer, part = name.split(".") if name.startswith("layers.") else ("", "", "")
        return f"{first}.{layer}.{names[part]}" if layer else name

    expected = Weights.from_arrays(model.config, arrays)
    monkeypatch.setitem(CELL_SPECS, cell, spec)
    found = Weights.from_arrays(model.config, {renamed(name): a for name, a in arrays.items()})
    np.testing.assert_array_equal(found.table, expected.table)
    np.testing.assert_array_equal(found.hidden, expected.hidden)
    np.testing.assert_array_equal(found.biases, expected.biases)


@pytest.mark.parametrize("name", sorted(checkpoint.shipped_models()))
def test_engine_equals_torch_for_models_that_ship(name: str) -> None:
    found = checkpoint.load(name)
    with_torch = TorchStepper(found.build())
    ours = [engine.build(found.config, found.weights, compiled=c) for c in (True, False)]
    theirs, states = with_torch.initial_state(1), [one.initial_state(1) for one in ours]
    for token in [found.tokenizer.start_id, *range(20)]:
        expected, theirs = with_torch.step(np.array([token]), theirs)
        for i, one in enumerate(ours):
            logits, states[i] = one.step(np.array([token]), states[i])
            np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("precision", engine.PRECISIONS)
@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_a_row_of_a_batch_is_its_solo_run_bit_for_bit(cell: str, precision: str) -> None:
    one = stepper(precision, cell=cell, hidden_size=33)
    rows = np.arange(6)
    logits, state = one.step(rows, one.initial_state(6))
    logits, state = one.step(rows[::-1], state)
    for row in rows:
        alone, own = one.prefill(np.array([row, 5 - row]), one.initial_state(1))
        np.testing.assert_array_equal(alone[0], logits[row])
        np.testing.assert_array_equal(own.layers[0][0], state.select([row]).layers[0][0])


@pytest.mark.parametrize("options", CHAINS)
@pytest.mark.parametrize("precision", engine.PRECISIONS)
def test_the_loop_draws_what_the_wheel_draws(options: dict[str, Any], precision: str) -> None:
    compiled = stepper(precision, cell="lstm", hidden_size=40, vocab_size=50)
    assert issubclass(type(compiled), Runner)
    made = [
        collect(
            sample(which, [0, 3], Request(max_new_tokens=300, seed=5), SamplingOptions(**options)),
            1,
        )[0]
        for which in (compiled, OnlySteps(compiled))
    ]
    assert made[0].tokens == made[1].tokens
    np.testing.assert_allclose(made[0].logprobs, made[1].logprobs, atol=1e-10)


def test_the_loop_draws_what_numpy_draws() -> None:
    options = SamplingOptions(temperature=0.8, top_p=0.95)
    made = [
        collect(
            sample(
                stepper(compiled=compiled, cell="gru", hidden_size=40, vocab_size=50),
                [0, 3], Request(max_new_tokens=300, seed=6), options,
            ),
            1,
        )[0]
        for compiled in (True, False)
    ]  # fmt: skip
    assert made[0].tokens == made[1].tokens
    np.testing.assert_allclose(made[0].logprobs, made[1].logprobs, atol=1e-5)


def test_rows_that_end_leave_the_others_as_they_were() -> None:
    one, options = stepper(), SamplingOptions(temperature=1.5)

    def run(which: Any, count: int, stop: Any = None) -> list[Any]:
        request = Request(
            max_new_tokens=60, seed=2, num_return_sequences=count, end_id=0, stop=stop
        )
        return collect(sample(which, [0], request, options), count)

    together, on_the_wheel = run(one, 6), run(OnlySteps(one), 6)
    assert len({len(sampled.tokens) for sampled in together}) > 1
    assert [s.tokens for s in together] == [s.tokens for s in on_the_wheel]
    assert [s.finish_reason for s in together] == [s.finish_reason for s in on_the_wheel]
    assert together[0].tokens == run(one, 1)[0].tokens

    def some_day(total: int | None, token: int) -> tuple[int, bool]:
        return (total or 0) + token, (total or 0) % 5 == 4

    stops = [run(which, 6, some_day) for which in (one, OnlySteps(one))]
    assert {s.finish_reason for s in stops[0]} == {"stop", "end"}
    assert [s.tokens for s in stops[0]] == [s.tokens for s in stops[1]]
    assert [s.finish_reason for s in stops[0]] == [s.finish_reason for s in stops[1]]


class Uniform:
    """A generator that gives one number."""

    def __init__(self, number: float) -> None:
        self._number = number

    def random(self) -> float:
        return self._number


@given(
    logits=st.lists(st.integers(-40, 40), min_size=V, max_size=V),
    scale=st.sampled_from([0.01, 0.1, 0.73, 20.0]),
    uniform=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([None, 0, 0.3, 0.8, 1.9]),
    top_k=st.sampled_from([None, 1, 3, 10, 200]),
    top_p=st.sampled_from([None, 0.013, 0.3, 0.47, 0.5, 0.93]),
    min_p=st.sampled_from([None, 0.031, 0.83]),
    typical_p=st.sampled_from([None, 0.21, 0.25, 0.77]),
)
@example([0] * V, 1.0, 0.5, None, None, 0.3, None, None)
@example([0] * V, 1.0, 0.5, None, None, None, None, 0.25)
def test_any_plain_chain_takes_the_same_token(
    logits: list[int], scale: float, uniform: float, temperature: float | None,
    top_k: int | None, top_p: float | None, min_p: float | None, typical_p: float | None,
) -> None:  # fmt: skip
    options: dict[str, Any] = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "typical_p": typical_p,
    }  # fmt: skip
    array = np.array([logits], dtype=np.float32) * np.float32(scale)
    processors, sampler = build(SamplingOptions(**options))
    chain = plain_chain(processors, sampler)
    assert chain is not None
    rows = start_rows(processors, [0], len(logits), [np.random.default_rng(0)], 1)
    processed, _ = process_logits(processors, rows, array)
    rng: Any = Uniform(uniform)
    one = stepper()
    drawn, logprobs, _, _ = one.run(chain, array, one.initial_state(1), np.array([[uniform]]), None)
    assert drawn[0, 0] == sampler(processed, [rng])[0]
    wide = array[0].astype(np.float64)
    expected = wide[drawn[0, 0]] - np.logaddexp.reduce(wide)
    np.testing.assert_allclose(logprobs[0, 0], expected, atol=1e-9)


def test_numbers_of_other_types_compile_nothing_anew() -> None:
    one: Any = stepper()
    plain: dict[str, Any] = {
        "temperature": 2.0,
        "top_k": 5,
        "top_p": 0.9,
        "min_p": 0.1,
        "typical_p": 0.5,
    }
    other: dict[str, Any] = {
        "temperature": 2, "top_k": np.int32(5), "top_p": np.float32(0.9), "min_p": np.float32(0.1),
        "typical_p": np.float32(0.5),
    }  # fmt: skip
    logits, uniforms = np.zeros((1, V), np.float32), np.full((9, 1), 0.7)
    drawn = [
        one.run(
            plain_chain(*build(SamplingOptions(**options))), logits, one.initial_state(1), uniforms,
            end,
        )[0].tolist()
        for options, end in ((plain, 0), (other, np.int64(0)), ({**plain, "top_k": 2**70}, 0))
    ]  # fmt: skip
    assert drawn[0] == drawn[1]
    assert len(kernels.run.overloads) == 1  # type: ignore[attr-defined]


def test_only_plain_chains_are_plain() -> None:
    assert plain_chain(*build(SamplingOptions(temperature=0))) == PlainChain(greedy=True)
    assert plain_chain(*build(SamplingOptions(repetition_penalty=1.2))) is None
    processors, sampler = build(SamplingOptions(temperature=0.5, top_k=3))
    assert plain_chain(processors, sampler) == PlainChain(temperature=0.5, top_k=3)
    assert plain_chain(processors[::-1], sampler) is None


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_nobodys_state_is_edited(cell: str) -> None:
    one = stepper(cell=cell)
    logits, state = one.prefill(np.array([1, 2]), one.initial_state(1))
    before = [array.copy() for layer in state.layers for array in layer], logits.copy()
    one.step(np.array([3]), state)
    one.run(PlainChain(), logits, state, np.full((5, 1), 0.5), None)
    after = [array for layer in state.layers for array in layer], logits
    for old, new in zip([*before[0], before[1]], [*after[0], after[1]], strict=True):
        np.testing.assert_array_equal(old, new)


def test_quantising_is_within_half_a_step_and_stable() -> None:
    matrix = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    matrix[4] = 0
    whole, scales = quantise_rows(matrix)
    assert np.abs(whole).max(axis=1).tolist() == [127] * 4 + [0] + [127] * 4
    assert (np.abs(round_rows(matrix) - matrix) <= scales[:, None] * 0.5001).all()
    np.testing.assert_array_equal(quantise_rows(round_rows(matrix))[0], whole)


@pytest.mark.parametrize("cell", ENGINE_CELLS)
def test_int8_is_near_and_the_same_without_compiling(cell: str) -> None:
    model = small(cell=cell, hidden_size=70, embedding_size=20)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    exact, whole = (engine.build(model.config, arrays, precision=p) for p in engine.PRECISIONS)
    plain = NumpyStepper(Weights.from_arrays(model.config, arrays).rounded())
    ids, state = tokens().numpy()[:, 0], exact.initial_state(1)
    expected = exact.prefill(ids, state)[0]
    np.testing.assert_allclose(whole.prefill(ids, state)[0], expected, atol=0.01)
    np.testing.assert_allclose(
        whole.prefill(ids, state)[0], plain.prefill(ids, state)[0], atol=1e-3
    )


def nats(one: Any, ids: NDArray[np.int64], start_id: int) -> float:
    """Of B texts read side by side. (T, B)"""
    state, total = one.initial_state(ids.shape[1]), 0.0
    last = np.full(ids.shape[1], start_id)
    for row in ids:
        logits, state = one.step(last, state)
        wide = logits.astype(np.float64)
        chosen = wide[np.arange(len(row)), row]
        total += float((np.logaddexp.reduce(wide, axis=1) - chosen).sum())
        last = row
    return total


def test_int8_costs_next_to_nothing_on_held_out_text() -> None:
    text = data("text/tinyshakespeare/input.txt").read_text(encoding="utf-8")[-20_000:]
    found = checkpoint.load("shakespeare")
    tokenizer: Any = found.tokenizer
    ids = np.array(tokenizer.encode(text)).reshape(40, -1).T
    exact, whole = (
        nats(engine.build(found.config, found.weights, precision=p), ids, tokenizer.start_id)
        for p in engine.PRECISIONS
    )
    assert abs(whole - exact) / len(text) / LN_2 < 0.005


def test_int8_through_the_public_door() -> None:
    whole = generative.load("shakespeare", precision="int8")
    made = whole.generate("ROMEO:", max_new_tokens=40, seed=1, num_return_sequences=3)
    assert made.text == whole.generate("ROMEO:", max_new_tokens=40, seed=1).text
    assert made.text == "".join(whole.stream("ROMEO:", max_new_tokens=40, seed=1))
    with pytest.raises(ValueError, match="precision must be one of float32, int8, not 'int4'"):
        generative.load("shakespeare", precision="int4")


def test_a_long_stream_takes_no_more_memory_than_a_short_one() -> None:
    options = SamplingOptions(temperature=0.8, top_p=0.95)
    draws = sample(stepper(), [0], Request(max_new_tokens=10**6), options)
    for _ in range(3_000):
        next(draws)
    tracemalloc.start()
    try:
        for _ in range(2_000):
            next(draws)
        tracemalloc.reset_peak()
        short = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            next(draws)
        assert tracemalloc.get_traced_memory()[1] - short < 50_000
    finally:
        tracemalloc.stop()


def test_a_machine_without_the_compiler_samples_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "generative.engine.compiled_stepper", None)
    model = small()
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    assert isinstance(engine.build(model.config, arrays), NumpyStepper)
    assert "without the compiled loop" in caplog.text


def test_a_cell_that_the_engine_does_not_know_is_stepped_by_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(ENGINE_CELLS, "lstm")
    assert isinstance(Runtime(checkpoint.load("shakespeare")).stepper_for(1), TorchStepper)
    assert "no cell 'lstm'" in caplog.text


def test_numba_told_to_compile_nothing_leaves_sampling_to_numpy() -> None:
    code = "import generative; print(generative.load('shakespeare').generate('A', seed=1).seed)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"without the compiled loop: numba is told to compile nothing" in done.stderr


def test_the_first_run_is_announced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Compiled:
        overloads: ClassVar[dict[str, str]] = {}

        def __call__(self, number: int) -> int:
            compiling.Announcement(kernels.NOTE).on_start(None)
            return number

    monkeypatch.setattr(kernels, "run", Compiled())
    with caplog.at_level(logging.WARNING):
        assert kernels.call(3) == 3
    assert kernels.NOTE in caplog.text


def test_compiled_is_what_loading_gives_unless_told_otherwise() -> None:
    found = checkpoint.load("shakespeare")
    assert isinstance(Runtime(found).stepper_for(1), CompiledStepper)
    assert isinstance(Runtime(found, compiled=False).stepper_for(10**6), NumpyStepper)


def test_the_compiled_loop_is_loaded_for_long_requests_and_then_stays() -> None:
    runtime = Runtime(checkpoint.load("shakespeare"), compiled=None)
    assert isinstance(runtime.stepper_for(LONG_REQUEST - 1), NumpyStepper)
    assert isinstance(runtime.stepper_for(LONG_REQUEST), CompiledStepper)
    assert isinstance(runtime.stepper_for(1), CompiledStepper)


def test_sampling_imports_no_torch() -> None:
    code = (
        "import sys, generative; "
        "generative.load('shakespeare').generate('a', max_new_tokens=5, seed=1); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert generative.__version__
