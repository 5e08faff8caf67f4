"""Scores of files under a loaded model, and what files share with its corpus; prints nothing."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from generative.checkpoint import CheckpointError
from generative.data import store
from generative.data.corpus import Document, read_corpus
from generative.files import write_text
from generative.ngram.model import ADAPTIVE, STATIC
from generative.scoring import copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from generative.scoring.copies import Copied, Symbols
    from generative.scoring.likelihood import Likelihood

TIMED_TOKENS = 2048  # scored once to measure how long a token takes
COPY_UNITS = {"text": "chars", "music": "notes"}


@dataclass(frozen=True, kw_only=True)
class ScoredDocument:
    """One document's T ids and the nats of each, (T,).

    `adaptive` and `dynamic` are None without these options.
    """

    name: str
    ids: list[int]
    nats: NDArray[np.float64]
    likelihood: Likelihood
    adaptive: Likelihood | None
    dynamic: Likelihood | None


@dataclass(frozen=True, kw_only=True)
class FileScores:
    """The scores of several documents under one model.

    Attributes:
        scored: the documents, in reading order.
        skipped: (file, reason) for each file that could not be read.
        describe: token id -> str, for people.
    """

    scored: tuple[ScoredDocument, ...]
    skipped: tuple[tuple[str, str], ...]
    describe: Callable[[int], str]

    @property
    def documents(self) -> int:
        """The number of documents that were scored."""
        return len(self.scored)

    @property
    def total(self) -> Likelihood:
        """All documents together: sums first, ratios last."""
        return reduce(add, (document.likelihood for document in self.scored))

    @property
    def adaptive(self) -> Likelihood | None:
        """All documents together where counts adapt; None without that option."""
        return _sum(document.adaptive for document in self.scored)

    @property
    def dynamic(self) -> Likelihood | None:
        """All documents together under dynamic evaluation; None without that option."""
        return _sum(document.dynamic for document in self.scored)

    def write_tokens(self, path: Path) -> None:
        """Write one JSON line a token: document, position, id, text for people, nats."""
        lines = (
            json.dumps(
                {
                    "document": document.name,
                    "position": position,
                    "id": token,
                    "token": self.describe(token),
                    "nats": nats,
                },
                ensure_ascii=False,
            )
            for document in self.scored
            for position, (token, nats) in enumerate(
                zip(document.ids, document.nats.tolist(), strict=True)
            )
        )
        write_text(path, "".join(line + "\n" for line in lines))


def _sum(parts: Iterable[Likelihood | None]) -> Likelihood | None:
    found = [part for part in parts if part is not None]
    return reduce(add, found) if found else None


def score_files(
    model: Any,
    files: Sequence[str],
    *,
    encoding: str = "utf-8",
    reset_every: int | None = None,
    adaptive: bool = False,
    dynamic: bool = False,
) -> FileScores:
    """Score every document in `files` from an empty state.

    Args:
        model: a `TextModel` or `MusicModel`.
        files: files, folders and globs of the model's kind.
        encoding: of text files.
        reset_every: the number of tokens after which the state is cleared within a document; None
            carries it through.
        adaptive: also score with counts that learn from what has been read of each document, the
            state carried through.
        dynamic: also score with dynamic evaluation, which starts each document from the trained
            weights and carries the state through; with `adaptive` counts learn there too.

    Raises:
        CorpusError: a file cannot be read.
    """
    read = read_corpus(list(files), kind=model.kind, encoding=encoding)
    scored = []
    dynamic_protocol = ADAPTIVE if adaptive else STATIC
    for document in read.documents:
        ids = model.tokenizer.encode(document.content)
        nats = model.token_nats(ids, reset_every)
        scored.append(
            ScoredDocument(
                name=document.name,
                ids=ids,
                nats=nats,
                likelihood=model.likelihood(document.content, nats),
                adaptive=model.likelihood(document.content, model.token_nats(ids, None, ADAPTIVE))
                if adaptive
                else None,
                dynamic=model.likelihood(
                    document.content, model.dynamic_token_nats(ids, dynamic_protocol)
                )
                if dynamic
                else None,
            )
        )
    return FileScores(scored=tuple(scored), skipped=read.skipped, describe=model.tokenizer.describe)


@dataclass(frozen=True, kw_only=True)
class CopyReport:
    """The longest runs that documents share with the corpus that a model was trained on.

    Attributes:
        kind: "text" or "music".
        documents: the documents that were compared with the corpus.
        copied: the longest shared run of each document.
        corpus: the names of the corpus's documents.
    """

    kind: str
    documents: tuple[Document[Any], ...]
    copied: tuple[Copied, ...]
    corpus: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values: the longest run of all, then each document's (of text: its characters)."""
        rows = []
        for document, copied in zip(self.documents, self.copied, strict=True):
            end = copied.start + copied.length
            row = {
                "document": document.name,
                "longest": copied.length,
                "of": copied.size,
                "source": None if copied.source is None else self.corpus[copied.source],
            }
            if self.kind == "text":
                row["text"] = document.content[copied.start : end]
            rows.append(row)
        return {
            "longest": max(copied.length for copied in self.copied),
            "unit": COPY_UNITS[self.kind],
            "corpus_documents": len(self.corpus),
            "documents": rows,
        }


def find_copies(
    model: Any,
    files: Sequence[str],
    corpus: Sequence[str | Path] = (),
    *,
    encoding: str = "utf-8",
) -> CopyReport:
    """The longest run of characters or notes that each file shares with a model's corpus.

    Args:
        model: a `TextModel` or `MusicModel`.
        files: files, folders and globs to compare with the corpus.
        corpus: files, folders and globs that the model was trained on; if it is empty, the tokens
            that training left in the model's folder are used.
        encoding: of text files, in `files` and `corpus`.

    Raises:
        CorpusError: a file cannot be read.
        CheckpointError: no corpus is named, and none lies in the model's folder.
    """
    documents = read_corpus(list(files), kind=model.kind, encoding=encoding).documents
    known: list[Document[Any]]
    if corpus:
        known = list(read_corpus(list(corpus), kind=model.kind, encoding=encoding).documents)
    else:
        known = _training_documents(model)

    def symbols(document: Document[Any]) -> Symbols:
        if model.kind == "text":
            return copies.of_text(document.content)
        return copies.of_piece(model.tokenizer.normal_form(document.content))

    copied = copies.longest_copies([symbols(d) for d in documents], [symbols(d) for d in known])
    return CopyReport(
        kind=model.kind,
        documents=tuple(documents),
        copied=tuple(copied),
        corpus=tuple(document.name for document in known),
    )


def _training_documents(model: Any) -> list[Document[Any]]:
    """The documents that training left in a model's folder."""
    folder = model.checkpoint.path / store.FOLDER
    tokens = store.open_store(folder)
    if tokens is None:
        raise CheckpointError(
            f"{model.checkpoint.name} has no tokens of its corpus in {folder}: "
            "name the corpus with --corpus PATH"
        )
    return [
        Document(
            name=f"document {number} of {folder}", content=model.tokenizer.decode(ids.tolist())
        )
        for number, ids in enumerate(tokens.documents("train"), start=1)
    ]


def score_ids(
    model: Any,
    documents: Iterable[NDArray[np.integer]],
    tokens_at_most: int,
    seconds_at_most: float = math.inf,
) -> Likelihood | None:
    """The likelihood of documents that are given as ids, each from an empty state.

    Args:
        model: a `TextModel` or `MusicModel`.
        documents: the ids of each, (T,).
        tokens_at_most: the number of tokens to score; the last text is cut to fit, a last piece of
            music is scored in full.
        seconds_at_most: the time to spend; the beginning of the first document is always scored.

    Returns:
        All scored tokens together; None without any.
    """
    total: Likelihood | None = None
    began = time.monotonic()
    for document in documents:
        left = tokens_at_most - (total.tokens if total else 0)
        seconds = seconds_at_most - (time.monotonic() - began)
        if left <= 0 or (total and seconds <= 0):
            break
        if model.kind == "text":
            document = document[:left]  # noqa: PLW2901 - before it becomes a list: it may be huge
        ids = document.tolist()
        if model.kind == "text":
            ids = ids[: _tokens_within(model, ids, seconds)]
        score = model.likelihood(model.tokenizer.decode(ids), model.token_nats(ids))
        total = score if total is None else total + score
    return total


def _tokens_within(model: Any, ids: list[int], seconds: float) -> int:
    """The number of tokens that can be scored in the time, measured on the first ones."""
    if len(ids) <= TIMED_TOKENS or seconds == math.inf:
        return len(ids)
    model.token_nats(ids[: TIMED_TOKENS // 4])  # not timed: the first call prepares the model
    began = time.monotonic()
    model.token_nats(ids[:TIMED_TOKENS])
    return max(TIMED_TOKENS, int(TIMED_TOKENS * (seconds / (time.monotonic() - began) - 1.25)))
