"""A text model: turns strings into ids for generation and scoring, and ids into strings.

This module must not import MIDI libraries, and torch only where a text is scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack, cast

from generative.api.generation import (
    DEFAULT_NEW_TOKENS,
    GenerateOptions,
    check_length,
    generate_tokens,
    parse_options,
    resolve_seed,
)
from generative.api.request import TextOptions, TextRequest, split_request
from generative.api.results import GeneratedSequence, Generation
from generative.api.stops import StopFilter, cut_at_stop, stop_condition
from generative.api.trained_model import TrainedModel
from generative.constraints import TextConstraint, compile_text
from generative.errors import OptionError
from generative.sampling import Request, Sampled, sample
from generative.scoring.likelihood import Likelihood

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.api.runtime import RuntimeLike
    from generative.api.styles import Style
    from generative.tokenizers import TextTokenizer

# Strings that end a repetition for DRY where `dry_sequence_breakers` is not given.
DRY_BREAKERS = ("\n", ":", '"', "*")


@dataclass(frozen=True, kw_only=True)
class TextSequence(GeneratedSequence):
    """One continuation.

    Attributes:
        text: what was generated, without the prompt and the stop string, in whole characters. A
            character whose last bytes are missing is left out, though its tokens are among `tokens`
            and their nats are counted.
    """

    text: str


class TextGeneration(Generation[TextSequence]):
    """The result of `TextModel.generate`."""

    @property
    def text(self) -> str:
        """The first sequence's text."""
        return self.sequences[0].text


class TextStream:
    """An iterator over the chunks of a text while it is generated, and the seed that repeats it."""

    def __init__(self, chunks: Iterator[str], seed: int) -> None:
        self._chunks = chunks
        self.seed = seed

    def __iter__(self) -> Iterator[str]:
        """The chunks."""
        return self._chunks

    def __next__(self) -> str:
        """The next chunk."""
        return next(self._chunks)


@dataclass(frozen=True, kw_only=True)
class _PreparedRequest:
    """A request in terms of ids, ready to be sampled."""

    ids: list[int]  # start token and prompt
    stops: tuple[str, ...]
    style: Style | None
    options: GenerateOptions
    drawing: Request


class TextModel(TrainedModel[str, str]):
    """A trained model of text.

    Example:
        model = generative.load("shakespeare")
        print(model.generate("ROMEO:", max_new_tokens=200, temperature=0.8, seed=1).text)
    """

    kind = "text"

    def __init__(self, runtime: RuntimeLike) -> None:
        """`runtime` runs a checkpoint of text."""
        super().__init__(runtime)
        self.tokenizer = cast("TextTokenizer", runtime.checkpoint.tokenizer)

    def generate(self, prompt: str = "", **options: Unpack[TextOptions]) -> TextGeneration:
        """Continue `prompt`.

        Args:
            prompt: any text; the empty one starts a new document.
            options: see `TextRequest` and `GenerateOptions`.

        Raises:
            ValueError: an option that is out of range, or a constraint that cannot be met.
        """
        request = self._prepare(prompt, options)
        stops = request.stops
        sampled = generate_tokens(
            self._stepper(
                request.style, request.ids, request.drawing.max_new_tokens, request.options
            ),
            request.ids,
            request.options,
            replace(
                request.drawing,
                stop=stop_condition(self.tokenizer.token_bytes, stops) if stops else None,
            ),
        )
        return TextGeneration(
            sequences=tuple(self._sequence(one, stops) for one in sampled),
            seed=request.drawing.seed,
        )

    def stream(self, prompt: str = "", **options: Unpack[TextOptions]) -> TextStream:
        """Yield the text of `generate` while it is generated.

        A chunk never ends within a character, and never contains a part of a stop string.

        Args:
            prompt: any text; the empty one starts a new document.
            options: see `TextRequest` and `GenerateOptions`.

        Raises:
            ValueError: an option that is out of range, a constraint that cannot be met, or beams or
                several sequences, which cannot be streamed.
        """
        request = self._prepare(prompt, options)
        parsed = parse_options(request.options)
        check_length(request.drawing.max_new_tokens, parsed.sampling)
        if parsed.beams.num_beams > 1 or parsed.num_return_sequences > 1:
            raise ValueError("only a single sampled sequence can be streamed; use generate()")
        draws = sample(
            self._stepper(
                request.style, request.ids, request.drawing.max_new_tokens, request.options
            ),
            request.ids,
            request.drawing,
            parsed.sampling,
        )
        shown = StopFilter(self.tokenizer.decoder(), request.stops)
        return TextStream(_chunks(draws, shown), request.drawing.seed)

    def likelihood(self, content: str, nats: NDArray[np.float64]) -> Likelihood:
        """The nats of all tokens of a text, (T,), as one likelihood."""
        return Likelihood(
            nats=float(nats.sum()),
            tokens=len(nats),
            chars=len(content),
            bytes=len(content.encode("utf-8")),
        )

    def _encoded(self, content: str) -> tuple[str, list[int]]:
        return content, self.tokenizer.encode(content)

    def _prepare(self, prompt: str, options: TextOptions) -> _PreparedRequest:
        """The request in terms of ids, with all that needs no model checked."""
        request, others = split_request(TextRequest, options)
        max_new_tokens = request.get("max_new_tokens")
        if max_new_tokens is None:
            max_new_tokens = DEFAULT_NEW_TOKENS
        stops = _strings("stop", request.get("stop") or ())
        others = self._with_dry_breakers(others)
        if request.get("pattern") is not None or request.get("choices"):
            others = self._with_end(others)
        return _PreparedRequest(
            ids=[self.tokenizer.start_id, *self.tokenizer.encode(prompt)],
            stops=stops,
            style=request.get("style"),
            options=others,
            drawing=Request(
                max_new_tokens=max_new_tokens,
                seed=resolve_seed(others.get("seed")),
                end_id=self.tokenizer.start_id,
                constraint=self._constraint(request, stops, max_new_tokens, others),
            ),
        )

    def _with_dry_breakers(self, options: GenerateOptions) -> GenerateOptions:
        """The options, with ids of `DRY_BREAKERS` where DRY is on and no breakers are given."""
        if not options.get("dry_multiplier") or options.get("dry_sequence_breakers") is not None:
            return options
        ends = tuple(breaker.encode() for breaker in DRY_BREAKERS)
        breakers = tuple(
            token
            for token, its_bytes in enumerate(self.tokenizer.token_bytes)
            if its_bytes.endswith(ends)
        )
        return {**options, "dry_sequence_breakers": breakers}

    def _with_end(self, options: GenerateOptions) -> GenerateOptions:
        """The options, with the end token allowed, since a pattern or choices decide the length.

        Raises:
            OptionError: the end token is banned, or put off by `min_new_tokens`.
        """
        end = self.tokenizer.start_id
        if end in (options.get("banned_tokens") or ()):
            raise OptionError(f"banned_tokens holds the end, {end}, which pattern and choices need")
        if options.get("min_new_tokens"):
            raise OptionError("pattern and choices say the length: leave out min_new_tokens")
        allowed = options.get("allowed_tokens")
        return options if allowed is None else {**options, "allowed_tokens": (*allowed, end)}

    def _constraint(
        self,
        request: TextRequest,
        stops: Sequence[str],
        max_new_tokens: int,
        options: GenerateOptions,
    ) -> TextConstraint | None:
        """What pattern, choices and forbid allow; None where none of them is given."""
        pattern, choices = request.get("pattern"), request.get("choices") or ()
        forbid = _strings("forbid", request.get("forbid") or ())
        if isinstance(choices, str):
            raise TypeError("choices must be a list of strings, not one string")
        _check_text("choice", choices)
        if stops and (pattern is not None or choices):
            raise ValueError("stop would cut what pattern or choices ask for; use one of them")
        if pattern is None and not choices and not forbid:
            return None
        every_id = set(range(self.tokenizer.vocab_size))
        barred = {*(options.get("banned_tokens") or ())} & every_id
        allowed = options.get("allowed_tokens")
        if allowed is not None:
            barred |= every_id - set(allowed)
        return TextConstraint(
            self.tokenizer.token_bytes,
            compile_text(pattern, tuple(choices), forbid),
            end_id=self.tokenizer.start_id,
            max_new_tokens=max_new_tokens,
            forbidden=sorted(barred),
        )

    def _sequence(self, sampled: Sampled, stops: Sequence[str]) -> TextSequence:
        """A sampled sequence as text, cut before its stop string."""
        if sampled.finish_reason == "stop":
            text, count = cut_at_stop(sampled.tokens, self.tokenizer.token_bytes, stops)
        else:
            decoder = self.tokenizer.decoder()
            text, count = "".join(map(decoder.feed, sampled.tokens)), len(sampled.tokens)
        return TextSequence.of(sampled, self.tokenizer.describe, count=count, text=text)


def _strings(name: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """One string or several as a tuple; a single empty string counts as none.

    Raises:
        ValueError: an empty string among several, or one that UTF-8 cannot encode.
    """
    strings = tuple(filter(None, [given])) if isinstance(given, str) else tuple(given)
    if not all(strings):
        raise ValueError(f"a {name} string must not be empty")
    _check_text(name, strings)
    return strings


def _check_text(name: str, strings: Sequence[str]) -> None:
    """Refuse strings that UTF-8 cannot encode, such as undecoded bytes of a command line."""
    for string in strings:
        try:
            string.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} {string!r} is no text: {error.reason}") from None


def _chunks(draws: Iterator[list[Any]], shown: StopFilter) -> Iterator[str]:
    """The text of a single row's draws, as soon as it may be shown."""
    for (draw,) in draws:
        if draw.finish_reason == "end":
            break
        if text := shown.feed(draw.token):
            yield text
        if shown.stopped:
            return
    if text := shown.finish():
        yield text
