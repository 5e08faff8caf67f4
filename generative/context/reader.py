"""The reader of context features: tokens to values, beside the memory of each row.

It must not know networks or ids.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from generative.context import records
from generative.context.features import FAMILIES, FEATURES, MATCH_FAMILIES, check_names
from generative.context.operations import INTERPRETED
from generative.context.records import KINDS
from generative.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from generative.context.records import Memory, Tables

SEARCH_TOKENS = 1 << 12  # The beginning of a document is looked for in pieces of a stream so long.


@runtime_checkable
class Contextual(Protocol):
    """A tokenizer whose tokens have context features, as that of music; text has none."""

    @property
    def default_features(self) -> tuple[str, ...]:
        """The names of the features that a new model has, where the user chooses none."""
        ...

    def context_tables(self, names: Sequence[str]) -> Tables:
        """What each id means to the features of these names."""
        ...


def tables_for(tokenizer: object, names: Sequence[str]) -> Tables:
    """The tables of these features; they are off without any.

    Raises:
        OptionError: there is no feature of a name, or the tokenizer has no features.
    """
    if not names:
        return records.NO_CONTEXT
    check_names(tuple(names))
    if not isinstance(tokenizer, Contextual):
        name = getattr(tokenizer, "name", type(tokenizer).__name__)
        raise OptionError(f"the {name} tokenizer has no context features")
    return tokenizer.context_tables(names)


def reader_for(tokenizer: object, names: Sequence[str]) -> Reader | None:
    """The reader of these features; None without any. It raises what `tables_for` raises."""
    tables = tables_for(tokenizer, names)
    return Reader(tables) if tables.is_on else None


class Reader:
    """Reads the context features of sequences side by side.

    Example:
        reader = reader_for(MusicTokenizer(), ["bar_position", "voice_0"])
        features, memory = reader.read(tokens, reader.start(8))   # (T, 8) -> (T, 8, 2)
    """

    def __init__(self, tables: Tables) -> None:
        """`tables` are on."""
        self.tables = tables
        self.sizes: tuple[int, ...] = tuple(tables.sizes.tolist())

    def start(self, batch_size: int) -> Memory:
        """The memory of documents before their first token."""
        return records.start(self.tables, batch_size)

    def read(self, tokens: NDArray[np.integer], memory: Memory) -> tuple[NDArray[np.int64], Memory]:
        """The features after each token, each plus its offset, and the memory after the last.

        (T, B), (B, M) -> (T, B, F), (B, M)

        Raises:
            ValueError: an id that is not in the vocabulary.
        """
        vocab_size = len(self.tables.kinds)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab_size:
            raise ValueError(
                f"tokens must be in 0..{vocab_size - 1}, not {tokens.min()}..{tokens.max()}"
            )
        memory = memory.copy()
        features = np.empty((*tokens.shape, len(self.sizes)), np.int64)
        _read_all()(self.tables, memory, np.ascontiguousarray(tokens, dtype=np.int64), features)
        return features, memory

    def memory_at(self, stream: NDArray[np.integer], places: Iterable[int]) -> Memory:
        """The memory of a row for each place of a stream, before the token there. -> (B, M)

        It depends on the document of the token before the place only.

        stream: (N,), a start token before each document.
        """
        rows = [self.start(0)]
        for place in places:
            before = self._document(stream, int(place))[:, np.newaxis]  # (T, 1)
            rows.append(self.read(before, self.start(1))[1])
        return np.concatenate(rows)

    def _document(self, stream: NDArray[np.integer], place: int) -> NDArray[np.integer]:
        """The tokens before a place, from the last start token on."""
        starts = self.tables.kinds == KINDS["start"]
        for end in range(place, 0, -SEARCH_TOKENS):
            begin = max(0, end - SEARCH_TOKENS)
            found = np.flatnonzero(starts[stream[begin:end]])
            if found.size:
                return stream[begin + found[-1] : place]
        return stream[:place]


def build_tables(
    kinds: NDArray[np.int8],
    values: NDArray[np.int32],
    bar_steps: NDArray[np.int32],
    names: Sequence[str],
) -> Tables:
    """The tables of some features, by name in the order of their rows; see `Tables`."""
    check_names(tuple(names))
    chosen = [FEATURES[name] for name in names]
    sizes = np.array([feature.size for feature in chosen], np.int32)
    return records.Tables(
        is_on=bool(chosen),
        has_matches=any(FAMILIES[one.family].name in MATCH_FAMILIES for one in chosen),
        kinds=kinds,
        values=values,
        bar_steps=bar_steps,
        families=np.array([feature.family for feature in chosen], np.int32),
        indices=np.array([feature.index for feature in chosen], np.int32),
        offsets=(np.cumsum(sizes) - sizes).astype(np.int32),
        sizes=sizes,
    )


@cache
def _read_all() -> Callable[..., Any]:
    """`Operations.read_all`, compiled where that is possible."""
    try:
        from generative.context.compiled import read_all
    except ImportError:
        return INTERPRETED.read_all
    return read_all
