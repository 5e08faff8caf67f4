"""Batches: windows in order, epochs that repeat, shuffled and augmented documents."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from generative.training.batches import StreamBatches, windows

START = 99


def test_windows_are_rows_side_by_side() -> None:
    batches = list(windows(np.arange(13), batch_size=2, sequence_length=3))
    assert [b.inputs.T.tolist() for b in batches] == [
        [[0, 1, 2], [6, 7, 8]],
        [[3, 4, 5], [9, 10, 11]],
    ]
    assert [b.targets.T.tolist() for b in batches] == [
        [[1, 2, 3], [7, 8, 9]],
        [[4, 5, 6], [10, 11, 12]],
    ]
    assert [b.fresh for b in batches] == [True, False]


def stream_of(documents: list[list[int]]) -> Any:
    """A start token before each document and after the last."""
    return np.array([*itertools.chain(*([START, *d] for d in documents)), START])


def test_rows_of_a_batch_are_the_same_whoever_reads_them() -> None:
    stream = np.arange(50)
    for whole, *parts in zip(
        windows(stream, 4, 3, offset=7),
        windows(stream, 4, 3, offset=7, rows=slice(0, 2)),
        windows(stream, 4, 3, offset=7, rows=slice(2, 4)),
        strict=True,
    ):
        together = np.concatenate([part.inputs for part in parts], axis=1)
        np.testing.assert_array_equal(whole.inputs, together)


def test_an_epoch_goes_on_where_it_was_left() -> None:
    streams = StreamBatches(
        stream=stream_of([[1, 2, 3, 4, 5, 6, 7, 8, 9]]),
        start_id=START,
        batch_size=2,
        sequence_length=2,
        seed=1,
    )
    whole = list(streams.epoch(3))
    rest = list(streams.epoch(3, first=1))
    assert [b.inputs.tolist() for b in rest] == [b.inputs.tolist() for b in whole[1:]]
    assert not rest[0].fresh


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    batch_size=st.integers(1, 4),
    sequence_length=st.integers(1, 8),
    shuffle=st.booleans(),
)
def test_an_epoch_reads_nearly_everything_once_and_repeats_exactly(
    lengths: list[int], batch_size: int, sequence_length: int, shuffle: bool
) -> None:
    ids = iter(range(100, 10_000))
    streams = StreamBatches(
        stream=stream_of([list(itertools.islice(ids, n)) for n in lengths]),
        start_id=START,
        batch_size=batch_size,
        sequence_length=sequence_length,
        seed=3,
        shuffle=shuffle,
    )
    batches = list(streams.epoch(1))
    assert len(batches) == streams.windows_per_epoch
    read = [i for b in batches for i in b.inputs.ravel().tolist() if i != START]
    assert len(set(read)) == len(read)
    left_out = sum(lengths) + len(lengths) + 1 - sum(b.inputs.size for b in batches)
    assert left_out <= batch_size * sequence_length + batch_size
    for one, other in zip(batches, streams.epoch(1), strict=True):
        np.testing.assert_array_equal(one.targets, other.targets)


def test_augmentation_sees_every_document() -> None:
    streams = StreamBatches(
        stream=stream_of([[1, 2, 3], [4, 5, 6]]),
        start_id=START,
        batch_size=1,
        sequence_length=8,
        seed=0,
        shuffle=True,
        augment=lambda ids, rng: ids + 10,
    )
    (batch,) = streams.epoch(0)
    assert sorted(batch.inputs.ravel().tolist()) == [11, 12, 13, 14, 15, 16, START, START]
