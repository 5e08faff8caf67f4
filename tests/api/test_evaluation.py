"""Scores of documents that are given as ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import generative
from generative.api.evaluation import score_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LongDocument:
    """Ids of which only slices become arrays."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = np.array(ids)

    def __getitem__(self, stretch: slice) -> NDArray[np.integer]:
        assert stretch.stop is not None
        return self.ids[stretch]


def test_of_a_long_text_only_the_part_that_is_scored_is_read() -> None:
    model = generative.load("shakespeare")
    text = "To be, or not to be, that is the question."
    document: Any = LongDocument(model.tokenizer.encode(text))  # type: ignore[arg-type]
    score = score_ids(model, [document], 10)
    assert score is not None
    assert score.nats == model.score(text[:10]).nats
