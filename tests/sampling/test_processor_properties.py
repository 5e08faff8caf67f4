"""All processors together, with any options, on any logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from generative.sampling import (
    PROCESSOR_NAMES,
    SamplingKeywords,
    SamplingOptions,
    build,
    process_logits,
    row_generator,
    start_rows,
)
from generative.sampling.step import check_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray


SIZE = 6
IDS = st.lists(st.integers(0, SIZE - 1), max_size=SIZE).map(tuple)
WITHIN: dict[str, Any] = {
    "temperature": st.floats(0, 10) | st.lists(st.floats(0.01, 10), min_size=1, max_size=3),
    "top_k": st.integers(0, SIZE + 2),
    "top_p": st.floats(0.01, 1),
    "min_p": st.floats(0, 1),
    "typical_p": st.floats(0.01, 1),
    "epsilon_cutoff": st.floats(0, 0.99),
    "eta_cutoff": st.floats(0, 0.99),
    "top_n_sigma": st.floats(0, 5),
    "xtc_probability": st.floats(0, 1),
    "xtc_threshold": st.floats(0.01, 1),
    "mirostat_tau": st.floats(0, 10),
    "mirostat_eta": st.floats(0, 1),
    "repetition_penalty": st.floats(0.1, 10),
    "presence_penalty": st.floats(-5, 5),
    "frequency_penalty": st.floats(-5, 5),
    "no_repeat_ngram_size": st.integers(0, 4),
    "dry_multiplier": st.floats(0, 5),
    "dry_base": st.floats(1, 4),
    "dry_allowed_length": st.integers(1, 3),
    "dry_penalty_last_n": st.integers(1, 9),
    "dry_sequence_breakers": IDS,
    "logit_bias": st.dictionaries(st.integers(0, SIZE - 1), st.floats(-9, 9), max_size=3),
    "allowed_tokens": IDS,
    "banned_tokens": IDS,
    "min_new_tokens": st.integers(0, 3),
    "samplers": st.lists(st.sampled_from(PROCESSOR_NAMES), max_size=4, unique=True),
}
ANYTHING = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-9, 9)
LISTS = {"dry_sequence_breakers", "allowed_tokens", "banned_tokens", "logit_bias", "samplers"}
BEYOND = {
    name: st.just((99,)) if name in LISTS - {"logit_bias", "samplers"} else ANYTHING
    for name in WITHIN
    if name not in {"logit_bias", "samplers"}
}
LOGITS = hnp.arrays(
    np.float32,
    (2, SIZE),
    elements=st.sampled_from([-np.inf, 0.0, 1.0]) | st.floats(-50, 50, width=32),
)
HISTORY = st.lists(st.integers(0, SIZE - 1), max_size=8)


def test_every_option_is_drawn() -> None:
    assert set(WITHIN) == set(SamplingKeywords.__annotations__)


def check_the_chain(
    options: dict[str, Any],
    logits: NDArray[np.float32],
    history: list[int],
    permitted_errors: list[str],
) -> None:
    """Three tokens; each from a distribution within the given one, or an error that says why."""
    before = logits.copy()
    try:
        processors, sampler = build(SamplingOptions(**options), end_id=0)
        check_logits(logits)
        rngs = [row_generator(0, 0), row_generator(0, 1)]
        known = start_rows(processors, [0, *history], SIZE, rngs, max_steps=3)
        for _ in range(3):
            result, known = process_logits(processors, known, logits)
            assert np.isfinite(result.max(axis=1)).all()
            assert not np.isnan(result).any()
            assert not (np.isfinite(result) & ~np.isfinite(logits)).any()
            drawn = sampler(result, rngs)
            assert np.isfinite(result[[0, 1], drawn]).all()
            known = known.after(drawn)
    except ValueError as error:
        assert any(words in str(error) for words in permitted_errors), error  # noqa: PT017
    np.testing.assert_array_equal(logits, before)


@settings(max_examples=300)
@given(options=st.fixed_dictionaries({}, optional=WITHIN), logits=LOGITS, history=HISTORY)
def test_options_in_range_leave_a_distribution_within_the_given_one(
    options: dict[str, Any], logits: NDArray[np.float32], history: list[int]
) -> None:
    reasons = ["leaves no token that is possible here"] * bool(
        {"allowed_tokens", "banned_tokens"} & set(options)
    )
    if not np.isfinite(logits).any(axis=1).all():
        reasons.append("logits hold")
    check_the_chain(options, logits, history, reasons)


@settings(max_examples=300)
@given(
    options=st.fixed_dictionaries({}, optional=WITHIN),
    beyond=st.dictionaries(st.sampled_from(sorted(BEYOND)), st.none(), min_size=1, max_size=2),
    data=st.data(),
    logits=LOGITS,
    history=HISTORY,
)
def test_any_other_options_do_so_or_say_why_not(
    options: dict[str, Any],
    beyond: dict[str, None],
    data: st.DataObject,
    logits: NDArray[np.float32],
    history: list[int],
) -> None:
    options = options | {name: data.draw(BEYOND[name]) for name in beyond}
    check_the_chain(
        options, logits, history, [" must ", "leaves no", "leave no distribution", "logits hold"]
    )
