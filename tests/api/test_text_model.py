"""Text in, text out: scores, seeds, stops and streams that agree with each other."""

from __future__ import annotations

import math
from typing import Any

import pytest

import generative
from generative.api.text_model import TextModel


def test_a_score_is_the_sum_of_what_sampling_reported(model: TextModel) -> None:
    for seed in range(5):
        (made,) = model.generate("", max_new_tokens=60, temperature=0.7, seed=seed).sequences
        scored = model.score(made.text)
        assert scored.tokens == len(made.tokens)
        assert scored.nats == pytest.approx(made.nats, rel=1e-4)
        assert made.perplexity == pytest.approx(math.exp(made.nats / len(made.tokens)))
        assert made.score == pytest.approx(-made.nats)


def test_the_trained_model_has_learnt(model: TextModel) -> None:
    likely = model.score("17 bottles stand upon the wall").perplexity
    unlikely = model.score("llaw eht nopu dnats selttob 71").perplexity
    assert likely is not None
    assert unlikely is not None
    assert likely < 0.5 * unlikely


def test_any_text_can_be_scored_and_prompt(model: TextModel) -> None:
    text = "🎵 né ▁ 日本"
    score = model.score(text)
    assert (score.chars, score.bytes) == (len(text), len(text.encode()))
    assert math.isfinite(score.nats)
    assert model.generate(text, max_new_tokens=3, seed=1).text is not None
    assert model.score("").tokens == 0


def test_the_same_seed_gives_the_same_text_in_any_batch(model: TextModel) -> None:
    many = model.generate("1", max_new_tokens=40, seed=9, num_return_sequences=4)
    few = model.generate("1", max_new_tokens=40, seed=9, num_return_sequences=2)
    assert [s.text for s in many.sequences[:2]] == [s.text for s in few.sequences]
    again = model.generate("1", max_new_tokens=40)
    assert model.generate("1", max_new_tokens=40, seed=again.seed).text == again.text


def test_a_stream_is_the_text_in_pieces(model: TextModel) -> None:
    whole = model.generate("2 bo", max_new_tokens=80, seed=3).text
    assert "".join(model.stream("2 bo", max_new_tokens=80, seed=3)) == whole


def test_a_stop_string_ends_and_is_left_out(model: TextModel) -> None:
    free = model.generate("5 bottles", max_new_tokens=200, seed=2).text
    stop = free[20:23]
    (made,) = model.generate("5 bottles", max_new_tokens=200, seed=2, stop=stop).sequences
    assert made.text == free[: free.index(stop)]
    assert made.finish_reason == "stop"
    assert model.tokenizer.decode(made.tokens) == made.text
    assert "".join(model.stream("5 bottles", max_new_tokens=200, seed=2, stop=stop)) == made.text


def test_a_stop_after_bytes_that_are_no_text(model: TextModel) -> None:
    broken: dict[str, Any] = {"logit_bias": {255: 900.0}, "max_new_tokens": 3}
    (made,) = model.generate("5", seed=1, stop="\ufffd!", **broken).sequences
    assert (made.text, made.tokens) == ("\ufffd" * 3, (255,) * 3)
    stop = model.tokenizer.decode([ord("5")])
    mixed: dict[str, Any] = {"allowed_tokens": [255, ord("5")], "max_new_tokens": 80}
    (made,) = model.generate("5", seed=1, stop=stop, logit_bias={255: 30.0}, **mixed).sequences
    assert made.text == "\ufffd" * len(made.tokens)
    assert set(made.tokens) <= {255}


def test_beams_stop_too(model: TextModel) -> None:
    options: dict[str, Any] = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 30}
    found = model.generate("5 bottles", stop=" ", **options).sequences
    assert len({one.text for one in found}) == len(found)
    assert not any(" " in one.text for one in found)
    assert "stop" in {one.finish_reason for one in found}


def test_what_is_allowed_may_end_where_a_pattern_says(model: TextModel) -> None:
    a, end = ord("a"), model.tokenizer.start_id
    for beams in (1, 3):
        kwargs: dict[str, Any] = {"max_new_tokens": 10, "num_beams": beams}
        assert model.generate("x", pattern="a{3}", allowed_tokens=[a], **kwargs).text == "aaa"
    with pytest.raises(ValueError, match="banned_tokens holds the end"):
        model.generate("x", pattern="a{3}", banned_tokens=[end])
    with pytest.raises(ValueError, match="leave out min_new_tokens"):
        model.generate("x", choices=["x", "abc"], min_new_tokens=2)


def test_seeds_do_not_meet(model: TextModel) -> None:
    second = model.generate("5", seed=5, num_return_sequences=2).sequences[1].text
    assert model.generate("5", seed=5 + 2**32).text != second
    stream = model.stream("5", max_new_tokens=9)
    assert "".join(stream) == model.generate("5", max_new_tokens=9, seed=stream.seed).text


def test_greedy_is_top_k_one(model: TextModel) -> None:
    greedy = model.generate("3", max_new_tokens=50, temperature=0).text
    assert greedy == model.generate("3", max_new_tokens=50, top_k=1).text


def test_beams_are_ranked_and_no_worse_than_greedy(model: TextModel) -> None:
    greedy = model.generate("3", max_new_tokens=12, temperature=0).sequences[0]
    beams = model.generate("3", max_new_tokens=12, num_beams=8, num_return_sequences=4).sequences
    assert [b.score for b in beams] == sorted((b.score for b in beams), reverse=True)
    assert beams[0].score >= greedy.score - 1e-6
    assert len({b.text for b in beams}) == 4


def test_impossible_requests_are_refused(model: TextModel) -> None:
    with pytest.raises(ValueError, match="max_new_tokens must be at least 0"):
        model.generate(max_new_tokens=-1)
    with pytest.raises(ValueError, match="seed must be in"):
        model.generate(seed=-1)
    with pytest.raises(ValueError, match=r"min_new_tokens \(9\) exceeds max_new_tokens \(3\)"):
        model.generate(min_new_tokens=9, max_new_tokens=3)
    with pytest.raises(ValueError, match="temperature 0 draws nothing"):
        model.generate(num_beams=2, beam_method="sample", temperature=0)
    with pytest.raises(ValueError, match=r"length_penalty must be in -10..10, not nan"):
        model.generate(num_beams=2, length_penalty=float("nan"))
    with pytest.raises(ValueError, match=r"stop '.udcff' is no text"):
        model.generate(stop="\udcff")
    with pytest.raises(ValueError, match="stop string must not be empty"):
        model.generate(stop=[""])
    with pytest.raises(ValueError, match="only a single"):
        model.stream(num_beams=2)
    with pytest.raises(TypeError, match="unknown options: colour"):
        model.generate(colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="reset_every must be at least 1"):
        model.score("a", reset_every=0)


def test_an_unfinished_character_is_held_back() -> None:
    text = generative.load("shakespeare", compiled=False)
    assert isinstance(text, TextModel)
    (lead,) = (i for i, piece in enumerate(text.tokenizer.token_bytes) if piece == b"\xd0")
    for count, whole in ((1, ""), (3, "\ufffd\ufffd")):  # a lead byte ends the one before it
        for more in ({}, {"num_beams": 2}, {"top_logprobs": 1}):
            options: dict[str, Any] = {
                "max_new_tokens": count,
                "allowed_tokens": [lead],
                "seed": 1,
                **more,
            }
            (sequence,) = text.generate("A", **options).sequences
            assert sequence.text == whole
            assert sequence.tokens == (lead,) * count
            assert sequence.nats > count
        streamed = text.stream("A", max_new_tokens=count, allowed_tokens=[lead], seed=1)
        assert "".join(streamed) == whole


def test_long_requests_count_all_that_is_read_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    model = generative.load("shakespeare", compiled=False)
    assert isinstance(model, TextModel)
    steppers = type(model.runtime).stepper_for

    def stepper_for(runtime: Any, tokens: int) -> Any:
        asked.append(tokens)
        return steppers(runtime, tokens)

    monkeypatch.setattr(type(model.runtime), "stepper_for", stepper_for)
    model.generate("A" * 50, max_new_tokens=2, seed=1)
    model.generate("A", max_new_tokens=3, num_beams=4, seed=1)
    model.generate("A", max_new_tokens=3, num_return_sequences=5, seed=1)
    next(model.stream("A" * 9, max_new_tokens=7, seed=1))
    assert asked == [51 + 2, 2 + 4 * 3, 2 + 5 * 3, 10 + 7]
