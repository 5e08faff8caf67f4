"""The compiled loop draws what the loop in Python draws."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generative import engine
from generative.engine import kernels
from generative.engine.compiled_stepper import CompiledStepper
from generative.engine.weights import Weights
from generative.machine import compiling
from generative.sampling import Request, SamplingOptions, build, collect, sample
from generative.sampling.plain import PlainChain, Runner, plain_chain
from generative.sampling.processors import process_logits, start_rows
from tests.engine.steppers import OnlySteps, stepper
from tests.model.test_model import V, small

CHAINS = [
    {},
    {"temperature": 0},
    {"temperature": 0.8, "top_p": 0.95},
    {"temperature": 1.3, "top_k": 4},
    {"top_k": 7, "top_p": 0.7, "min_p": 0.05},
    {"temperature": 0.7, "typical_p": 0.6},
    {"min_p": 0.2, "typical_p": 0.9},
]


@pytest.mark.parametrize("options", CHAINS)
@pytest.mark.parametrize("precision", engine.PRECISIONS)
def test_the_compiled_loop_draws_what_the_python_loop_draws(
    options: dict[str, Any], precision: str
) -> None:
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


def test_the_compiled_loop_draws_what_numpy_draws() -> None:
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

    together, stepwise = run(one, 6), run(OnlySteps(one), 6)
    assert len({len(sampled.tokens) for sampled in together}) > 1
    assert [s.tokens for s in together] == [s.tokens for s in stepwise]
    assert [s.finish_reason for s in together] == [s.finish_reason for s in stepwise]
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


def test_a_long_stream_takes_no_more_memory_than_a_short_one() -> None:
    options = SamplingOptions(temperature=0.8, top_p=0.95)
    draws = sample(stepper(), [0], Request(max_new_tokens=10**6), options)
    for _ in range(3_000):
        next(draws)
    gc.collect()
    gc.disable()  # a collection elsewhere allocates; without it, garbage in cycles shows, too
    tracemalloc.start()
    try:
        peaks = []
        # In the first stretch Python's lists of freed tuples fill up: 2,000 of a size, one a run.
        for count in (150_000, 2_000, 20_000):
            tracemalloc.reset_peak()
            for _ in range(count):
                next(draws)
            peaks.append(tracemalloc.get_traced_memory()[1])
        assert peaks[2] - peaks[1] < 50_000  # a list of tokens would take 8 bytes each
    finally:
        tracemalloc.stop()
        gc.enable()


def test_the_first_run_is_announced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Compiled:
        overloads: ClassVar[dict[str, str]] = {}

        def __call__(self, number: int) -> int:
            compiling.Announcement(kernels.NOTE).on_start(None)
            return number

    monkeypatch.setattr(kernels, "run", Compiled())
    monkeypatch.setattr(compiling, "_logged", set())
    with caplog.at_level(logging.WARNING):
        assert kernels.call(3) == 3
    assert kernels.NOTE in caplog.text


def test_the_loop_refuses_a_cell_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell with one array of state, as a GRU has, must not be stepped as a GRU."""
    model = small(cell="gru")
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    known = Weights.from_arrays(model.config, arrays)
    with pytest.raises(ValueError, match=r"steps the cells lstm, gru.*, not 'mystery'"):
        CompiledStepper(replace(known, cell="mystery"))
    monkeypatch.setitem(kernels.CELL_NUMBERS, "gru", 7)
    unknown = CompiledStepper(known)
    with pytest.raises(ValueError, match="no step for a cell of this number"):
        unknown.step(np.array([1]), unknown.initial_state(1))
