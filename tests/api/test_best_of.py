"""Of several attempts the right one is kept, for each sequence that was asked for."""

from __future__ import annotations

from generative.api.best_of import BestOf, least_forced, likeliest
from generative.sampling import Sampled


def attempt(name: int, mass: float = 1.0, score: float = 0.0, reason: str = "end") -> Sampled:
    return Sampled(
        tokens=[name], logprobs=[score], finish_reason=reason, score=score, least_allowed_mass=mass
    )


def test_the_first_attempt_that_was_not_forced_is_kept() -> None:
    assert least_forced([attempt(0, 0.5), attempt(1, 0.6), attempt(2, 0.9)]).tokens == [1]
    assert least_forced([attempt(0, 0.1), attempt(1, 0.4), attempt(2, 0.2)]).tokens == [1]


def test_an_attempt_that_reached_the_limit_is_kept_only_where_there_is_no_other() -> None:
    broken = attempt(0, 0.9, reason="length")
    assert least_forced([broken, attempt(1, 0.1)]).tokens == [1]
    assert least_forced([broken, attempt(1, 0.1, reason="length")]).tokens == [0]


def test_each_sequence_is_the_best_of_its_own_attempts() -> None:
    best_of = BestOf(3, likeliest, {"num_return_sequences": 2, "seed": 5, "top_k": 4})
    assert best_of.options == {"num_return_sequences": 6, "seed": 5, "top_k": 4}
    assert best_of.seed == 5
    scores = (-3.0, -1.0, -2.0, -9.0, -8.0, -7.0)
    attempts = [attempt(i, score=score) for i, score in enumerate(scores)]
    assert [one.tokens for one in best_of.chosen(attempts)] == [[1], [5]]


def test_beam_search_makes_one_attempt() -> None:
    best_of = BestOf(3, likeliest, {"num_return_sequences": 2, "num_beams": 4})
    assert best_of.options["num_return_sequences"] == 2
    attempts = [attempt(0, score=-1.0), attempt(1, score=-2.0)]
    assert [one.tokens for one in best_of.chosen(attempts)] == [[0], [1]]
