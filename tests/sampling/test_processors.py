"""Every processor on a distribution whose answer is known beforehand, and all of them together."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from generative.sampling import (
    OPTIONS,
    PROCESSOR_NAMES,
    Categorical,
    Greedy,
    History,
    Rows,
    SamplingOptions,
    build,
    process_logits,
    row_generator,
    start_rows,
)
from generative.sampling.bans import AllowedTokens, BannedTokens, LogitBias, MinNewTokens
from generative.sampling.penalties import (
    Dry,
    FrequencyPenalty,
    NoRepeatNgram,
    PresencePenalty,
    RepetitionPenalty,
)
from generative.sampling.rows import HistoryNeed
from generative.sampling.table import BEAMS, RESULTS
from generative.sampling.temperature import Temperature, TemperatureSchedule
from generative.sampling.truncation import (
    EpsilonCutoff,
    EtaCutoff,
    MinP,
    Mirostat,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Xtc,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOUR = np.log(np.array([[0.1, 0.5, 0.15, 0.25]]))


def rows(*histories: list[int], size: int = 4, **more: Any) -> Rows:
    """Rows with these histories, which keep all that a processor may need; without any, one row."""
    need = HistoryNeed(counts=True, window=None)
    made = tuple(History.of(tokens, size, need) for tokens in histories or ([],))
    rngs = tuple(row_generator(0, row) for row in range(len(made)))
    return Rows(histories=made, rngs=rngs, **more)


def kept(logits: NDArray[Any]) -> list[int]:
    return np.flatnonzero(np.isfinite(logits[0])).tolist()


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (TopK(1), [1]),
        (TopK(2), [1, 3]),
        (TopK(9), [0, 1, 2, 3]),
        (TopP(0.5), [1]),
        (TopP(0.51), [1, 3]),
        (TopP(0.76), [1, 2, 3]),
        (TopP(1e-9), [1]),
        (MinP(0.4), [1, 3]),
        (MinP(1.0), [1]),
        # entropy 1.208; surprises 2.30, 0.69, 1.90, 1.39: nearest first 3, 1, 2, 0
        (TypicalP(0.2), [3]),
        (TypicalP(0.3), [1, 3]),
        (TypicalP(0.8), [1, 2, 3]),
        (EpsilonCutoff(0.12), [1, 2, 3]),
        (EpsilonCutoff(0.2), [1, 3]),
        (EpsilonCutoff(0.9), [1]),  # the likeliest stays
        # exp(-entropy) is 0.2988: the bound is min(e, 0.2988 sqrt(e))
        (EtaCutoff(0.25), [1, 2, 3]),  # 0.149
        (EtaCutoff(0.36), [1, 3]),  # 0.179
        (EtaCutoff(0.04), [0, 1, 2, 3]),  # 0.04
        # logits -2.30, -0.69, -1.90, -1.39 have the deviation 0.601
        (TopNSigma(1.0), [1]),
        (TopNSigma(1.2), [1, 3]),
        (TopNSigma(2.1), [1, 2, 3]),
        (TopNSigma(3.0), [0, 1, 2, 3]),
        # of 0.5 and 0.25 the lesser stays; with 0.15 among them that one
        (Xtc(1.0, 0.2), [0, 2, 3]),
        (Xtc(1.0, 0.12), [0, 2]),
        (Xtc(1.0, 0.3), [0, 1, 2, 3]),  # one alone is no choice
        (AllowedTokens((0, 3)), [0, 3]),
        (BannedTokens((0, 3)), [1, 2]),
        (MinNewTokens(1, end_id=2), [0, 1, 3]),
        (MinNewTokens(1, end_id=None), [0, 1, 2, 3]),
    ],
)
def test_what_is_cut(processor: Any, expected: list[int]) -> None:
    before = FOUR.copy()
    result = processor(rows(), FOUR)
    assert kept(result) == expected
    np.testing.assert_array_equal(result[0, expected], FOUR[0, expected])
    np.testing.assert_array_equal(FOUR, before)


def test_temperature_is_a_power_of_the_probabilities() -> None:
    cold = probabilities(Temperature(0.5)(rows(), FOUR))
    np.testing.assert_allclose(cold, probabilities(FOUR) ** 2 / (probabilities(FOUR) ** 2).sum())


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2.0), (1, 1.5), (2, 1.0), (3, 0.75), (4, 0.5), (9, 0.5)]
)
def test_a_schedule_moves_in_straight_lines_to_the_last_token(step: int, expected: float) -> None:
    schedule = TemperatureSchedule((2.0, 1.0, 0.5))
    at = rows(step=step, max_steps=5)
    np.testing.assert_array_equal(schedule(at, FOUR), Temperature(expected)(at, FOUR))


def test_a_schedule_of_one_value_or_one_token_is_its_first() -> None:
    assert TemperatureSchedule((0.7,)).at(0.5) == 0.7
    assert TemperatureSchedule((2.0, 1.0)).at(rows(max_steps=1).progress) == 2.0


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    logits = np.array([[2.0, -1.0, 3.0, -4.0]])
    np.testing.assert_array_equal(
        RepetitionPenalty(2.0)(rows([0, 1, 1]), logits), [[1.0, -2.0, 3.0, -4.0]]
    )


def test_presence_counts_once_and_frequency_each_time() -> None:
    logits = np.zeros((1, 4))
    history = rows([0, 1, 1, 1])
    np.testing.assert_array_equal(PresencePenalty(0.5)(history, logits), [[-0.5, -0.5, 0, 0]])
    np.testing.assert_array_equal(FrequencyPenalty(0.5)(history, logits), [[-0.5, -1.5, 0, 0]])


def test_biases_are_added() -> None:
    biased = LogitBias({0: 2.0, 3: -1.0})(rows(), np.zeros((2, 4)))
    np.testing.assert_array_equal(biased, [[2, 0, 0, -1]] * 2)


def test_no_repeat_ngram_bars_what_would_complete_one() -> None:
    assert kept(NoRepeatNgram(3)(rows([1, 2, 3, 1, 2]), FOUR)) == [0, 1, 2]
    assert kept(NoRepeatNgram(2)(rows([1, 2, 1, 0, 1]), FOUR)) == [1, 3]
    assert kept(NoRepeatNgram(1)(rows([1, 2]), FOUR)) == [0, 3]
    assert kept(NoRepeatNgram(3)(rows([1, 2]), FOUR)) == [0, 1, 2, 3]
    assert kept(NoRepeatNgram(1)(rows([0, 1, 2, 3]), FOUR)) == [0, 1, 2, 3]  # never a dead end


@pytest.mark.parametrize(
    ("history", "options", "expected"),
    [
        ([1, 2, 3, 1, 2], {}, {3: 1.0}),  # "1 2" came before 3
        ([0, 1, 2, 3, 0, 1, 2], {}, {3: 1.75}),  # "0 1 2", one more than is allowed
        ([0, 1, 2, 3, 0, 1, 2], {"base": 2.0, "allowed_length": 1}, {3: 4.0}),
        ([1, 2, 3, 1, 2], {"allowed_length": 3}, {}),
        ([1, 2, 3, 1, 2], {"breakers": (1,)}, {}),  # only "2" behind the breaker
        ([0, 1, 2, 3, 0, 1, 2], {"breakers": (0,)}, {3: 1.0}),
        ([1, 2, 3, 1, 2], {"last_n": 4}, {}),
        ([1, 1, 1], {}, {1: 1.0}),  # a repetition may overlap itself
        ([1, 0, 2, 1, 0, 3, 1, 0], {}, {2: 1.0, 3: 1.0}),
        ([], {}, {}),
    ],
)
def test_dry(history: list[int], options: dict[str, Any], expected: dict[int, float]) -> None:
    result = -Dry(1.0, **options)(rows(history), np.zeros((1, 4)))
    np.testing.assert_array_equal(result, [[expected.get(token, 0.0) for token in range(4)]])


def test_xtc_strikes_as_often_as_asked_by_each_rows_own_numbers() -> None:
    many = rows(*[[] for _ in range(4000)])
    struck = ~np.isfinite(Xtc(0.3, 0.2)(many, FOUR.repeat(4000, axis=0))[:, 1])
    assert struck.mean() == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / 4000))
    alone = [
        Xtc(0.3, 0.2)(Rows(histories=(), rngs=(row_generator(0, row),)), FOUR) for row in range(50)
    ]
    assert [not np.isfinite(one[0, 1]) for one in alone] == struck[:50].tolist()


def test_mirostat_moves_its_bound_by_what_was_drawn() -> None:
    # surprises are 3.32, 1, 2.74 and 2 bits; mu begins at 2 tau = 2
    mirostat = Mirostat(1.0, eta=0.5)
    two = np.repeat(FOUR, 2, axis=0)
    first, memory = mirostat.adapt(rows([], []), two, None)
    assert [kept(first[row : row + 1]) for row in (0, 1)] == [[1, 3], [1, 3]]
    before = memory[0].copy()
    drawn = rows([], [], last=np.array([1, 3]))
    then, later = mirostat.adapt(drawn, two, memory)
    np.testing.assert_allclose(later[0], [2.0, 1.5])  # 2 - eta * (1 - 1), 2 - eta * (2 - 1)
    assert [kept(then[row : row + 1]) for row in (0, 1)] == [[1, 3], [1]]
    np.testing.assert_array_equal(memory[0], before)  # memory in, new memory out


def test_mirostat_holds_the_surprise_it_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (1, 200))
    processors, sampler = build(SamplingOptions(mirostat_tau=5.0, mirostat_eta=0.2))
    known = start_rows(processors, [0], 200, [row_generator(1, 0)], max_steps=3000)
    bits = -np.log2(probabilities(logits)[0])
    seen = []
    for _ in range(3000):
        processed, known = process_logits(processors, known, logits)
        drawn = sampler(processed, known.rngs)
        known = known.after(drawn)
        seen.append(bits[drawn[0]])
    assert np.mean(seen[500:]) == pytest.approx(5.0, abs=0.1)


def test_ties_go_to_the_lower_id() -> None:
    flat = np.zeros((1, 5))
    assert kept(TopK(2)(rows(), flat)) == [0, 1]
    assert kept(Xtc(1.0, 0.1)(rows(), flat)) == [4]
    assert Greedy()(flat, [row_generator(0, 0)]).tolist() == [0]


def test_nothing_left_is_an_error_that_names_the_option() -> None:
    for options in ({"allowed_tokens": (0,), "banned_tokens": (0,)}, {"allowed_tokens": ()}):
        processors, _ = build(SamplingOptions(**options))
        with pytest.raises(ValueError, match="leaves no token that is possible"):
            process_logits(
                processors, start_rows(processors, [0], 4, [row_generator(0, 0)], 1), FOUR
            )
    with pytest.raises(ValueError, match=r"banned_tokens must be of ids in 0..3, not \[9\]"):
        BannedTokens((9,))(rows(), FOUR)
    assert kept(MinNewTokens(5, end_id=1)(rows(), np.array([[-np.inf, 0.0]]))) == [1]


def processed_by(options: SamplingOptions, logits: NDArray[Any] = FOUR) -> NDArray[Any]:
    processors, _ = build(options, end_id=0)
    history = [0, 1, 2, 3, 1, 2]
    known = start_rows(processors, history, logits.shape[-1], [row_generator(0, 0)], 3)
    return process_logits(processors, known, logits)[0]


EACH: dict[str, Any] = {
    "repetition_penalty": 1.3,
    "presence_penalty": 0.4,
    "frequency_penalty": 0.2,
    "dry_multiplier": 0.8,
    "logit_bias": {1: -0.5, 2: 0.25},
    "allowed_tokens": (0, 1, 3),
    "banned_tokens": (2,),
    "min_new_tokens": 2,
    "no_repeat_ngram_size": 3,
    "temperature": 0.7,
    "top_n_sigma": 1.5,
    "top_k": 3,
    "top_p": 0.8,
    "min_p": 0.4,
    "typical_p": 0.8,
    "epsilon_cutoff": 0.12,
    "eta_cutoff": 0.3,
    "xtc_probability": 1.0,
    "mirostat_tau": 1.0,
}


def test_each_processor_does_something_and_any_two_compose_in_either_order() -> None:
    assert len(EACH) == len(PROCESSOR_NAMES)
    names = dict(zip(EACH, PROCESSOR_NAMES, strict=True))
    for option, value in EACH.items():
        assert not np.array_equal(processed_by(SamplingOptions(**{option: value})), FOUR), option
    for one, two in itertools.permutations(EACH, 2):
        pair = SamplingOptions(
            **{one: EACH[one], two: EACH[two]}, samplers=(names[one], names[two])
        )
        by_both = processed_by(pair)
        assert kept(by_both)
        assert set(kept(by_both)) <= set(kept(processed_by(SamplingOptions(**{one: EACH[one]}))))


def test_the_order_is_the_users() -> None:
    hot: dict[str, Any] = {"temperature": 3.0, "top_p": 0.6}
    # by default the heat comes first: 0.32 + 0.25 < 0.6, so three tokens stay
    assert kept(processed_by(SamplingOptions(**hot))) == [1, 2, 3]
    assert kept(processed_by(SamplingOptions(**hot, samplers=("top_p", "temperature")))) == [1, 3]
    # what is not named runs before what is
    first, *_, last = build(SamplingOptions(**hot, top_k=2, samplers=("temperature",)))[0]
    assert (first, last) == (TopK(2), Temperature(3.0))
    for wrong, message in ((("heat",), "not 'heat'"), (("top_p", "top_p"), "only once")):
        with pytest.raises(ValueError, match=message):
            build(SamplingOptions(samplers=wrong))


SWITCHED_OFF: Any = {
    option.name: option.default if option.refines else option.neutral
    for option in OPTIONS
    if option.group not in {BEAMS, RESULTS}
}
NEUTRAL = SamplingOptions(**SWITCHED_OFF)


def test_neutral_values_add_nothing() -> None:
    assert build(NEUTRAL)[0] == build(SamplingOptions())[0] == []
    assert isinstance(build(NEUTRAL)[1], Categorical)
    assert processed_by(NEUTRAL) is FOUR


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be finite and at least 0, not -1.0"),
        ({"temperature": float("nan")}, "temperature must be finite and at least 0, not nan"),
        (
            {"temperature": (1.0, 0.0)},
            "a temperature in a list must be finite and above 0",
        ),
        ({"temperature": ()}, "temperature must be a number or a list"),
        ({"top_k": -1}, "top_k must be a whole number, at least 1"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], not 0.0"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\], not 1.5"),
        ({"min_p": 2.0}, r"min_p must be in \[0, 1\], not 2.0"),
        ({"typical_p": -0.1}, "typical_p must be in"),
        ({"epsilon_cutoff": 1.0}, r"epsilon_cutoff must be in \[0, 1\), not 1.0"),
        ({"eta_cutoff": -1.0}, "eta_cutoff must be in"),
        ({"top_n_sigma": -1.0}, "top_n_sigma must be finite and above 0"),
        ({"xtc_probability": 1.1}, r"xtc_probability must be in \[0, 1\]"),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.0}, r"xtc_threshold must be in \(0, 1\]"),
        ({"mirostat_tau": -1.0}, "mirostat_tau must be finite and above 0"),
        ({"mirostat_tau": 1.0, "mirostat_eta": -1.0}, "mirostat_eta must be finite and at least 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be finite and above 0"),
        ({"presence_penalty": float("inf")}, "presence_penalty must be finite"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty must be finite"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram_size must be a whole number, at least 1"),
        ({"dry_multiplier": -1.0}, "dry_multiplier must be finite and at least 0"),
        ({"dry_multiplier": 1.0, "dry_base": 0.5}, "dry_base must be finite and at least 1"),
        ({"dry_multiplier": 1.0, "dry_allowed_length": 0}, "dry_allowed_length must be"),
        ({"dry_multiplier": 1.0, "dry_penalty_last_n": 0}, "dry_penalty_last_n must be"),
        ({"logit_bias": {1: float("-inf")}}, r"logit_bias must be finite \(banned_tokens"),
        ({"min_new_tokens": -1}, "min_new_tokens must be a whole number, at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(SamplingOptions(**options))
