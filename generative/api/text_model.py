"""A text model for its users: where strings meet ids; knows no MIDI and no command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from generative.api.generation import (
    DEFAULT_NEW_TOKENS,
    GenerateOptions,
    TokenLogprob,
    check_length,
    generate_tokens,
    parse_options,
    request_tokens,
    resolve_seed,
    token_logprobs,
)
from generative.constraints import TextConstraint, compile_text
from generative.errors import OptionError
from generative.sampling import Request, Sampled, sample
from generative.scoring.likelihood import Likelihood

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from generative.api.runtime import Running
    from generative.api.styles import Style
    from generative.sampling import Stepper, Stop
    from generative.tokenizers import TextTokenizer
    from generative.tokenizers.text import StreamDecoder

DRY_BREAKERS = ("\n", ":", '"', "*")  # what ends a repetition where nothing else is said


@dataclass(frozen=True, kw_only=True)
class TextSequence:
    """One continuation.

    Attributes:
        text: what was generated, without the prompt and without a stop string, in whole characters:
            of one whose last bytes did not come, nothing is in the text, though its tokens are
            among `tokens` and their nats counted.
        tokens: its ids; the end token is not among them.
        nats: -ln p of these tokens under the model itself, before any option bent it.
        finish_reason: "length", "end" (the model ended the text) or "stop".
        score: what ranks beams, the stop string and the end included; for samples the
            log-probability of all that was drawn.
        logprobs: of each token, with alternatives; empty unless `top_logprobs` asked for them.
    """

    text: str
    tokens: tuple[int, ...]
    nats: float
    finish_reason: str
    score: float
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def perplexity(self) -> float | None:
        """exp(nats / tokens); None for an empty text."""
        return Likelihood(nats=self.nats, tokens=len(self.tokens)).perplexity


@dataclass(frozen=True, kw_only=True)
class TextGeneration:
    """What `TextModel.generate` made: one or more sequences, and the seed that makes them again."""

    sequences: tuple[TextSequence, ...]
    seed: int

    @property
    def text(self) -> str:
        """The first sequence's text."""
        return self.sequences[0].text


class StopFilter:
    """Text as it may be shown: whole characters, and nothing that could begin a stop string.

    Example:
        shown = StopFilter(decoder, ["\\n\\n"])
        shown.feed(token)    # the characters that are safe to show now
    """

    def __init__(self, decoder: StreamDecoder, stops: Sequence[str]) -> None:
        self._decoder = decoder
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """What `token` makes certain. After a stop string nothing more comes."""
        return self._release(self._decoder.feed(token))

    def finish(self) -> str:
        """What was held back for a stop string that never came; not an unfinished character."""
        return "" if self.stopped else self._held

    def _release(self, new: str) -> str:
        self._held += new
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            # the stop that is complete first, however many characters came at once
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextStream:
    """A text as it comes, piece by piece; `seed` makes it again."""

    def __init__(self, pieces: Iterator[str], seed: int) -> None:
        self._pieces = pieces
        self.seed = seed

    def __iter__(self) -> Iterator[str]:
        """The pieces."""
        return self._pieces

    def __next__(self) -> str:
        """The next piece."""
        return next(self._pieces)


class TextModel:
    """A trained model of text.

    Example:
        model = generative.load("shakespeare")
        print(model.generate("ROMEO:", max_new_tokens=200, temperature=0.8, seed=1).text)
    """

    kind = "text"

    def __init__(self, runtime: Running) -> None:
        """`runtime` of a checkpoint of text."""
        self.runtime = runtime
        self.checkpoint = runtime.checkpoint
        self.tokenizer = cast("TextTokenizer", runtime.checkpoint.tokenizer)

    @property
    def styles(self) -> tuple[str, ...]:
        """The names that `style` may take."""
        return self.runtime.styles

    def in_style(self, style: Style | None) -> TextModel:
        """The model that generates, scores and learns in one style throughout; None is this one.

        Raises:
            ValueError: there is no such style.
        """
        return self if style is None else TextModel(self.runtime.styled(style))

    def generate(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        stop: str | Sequence[str] = (),
        pattern: str | None = None,
        choices: Sequence[str] = (),
        forbid: str | Sequence[str] = (),
        style: Style | None = None,
        **options: Unpack[GenerateOptions],
    ) -> TextGeneration:
        """Continue `prompt`.

        Args:
            prompt: any text; the empty one starts a new document.
            max_new_tokens: tokens to generate at most.
            stop: text that ends a sequence and is left out of it.
            pattern: a regular expression that what is generated matches in full, as
                `re.fullmatch(pattern, text, re.ASCII)` does; nothing that looks around or back.
            choices: what is generated is one of these.
            forbid: what is generated holds none of these.
            style: the name of one, a blend "bach:0.6,folk:0.4", or a table name -> weight; None is
                the model without one.
            options: see `GenerateOptions`.

        Raises:
            ValueError: an option that is out of range, or a constraint that cannot be met.
        """
        stops = _strings("stop", stop)
        options = self._with_breakers(options)
        options = self._with_end(options, pattern, choices)
        constraint = self._constraint(pattern, choices, forbid, stops, max_new_tokens, options)
        seed = resolve_seed(options.get("seed"))
        ids = self._prompt_ids(prompt)
        sampled = generate_tokens(
            self._stepper(style, request_tokens(ids, max_new_tokens, options)),
            ids,
            options,
            Request(
                max_new_tokens=max_new_tokens,
                seed=seed,
                end_id=self.tokenizer.start_id,
                constraint=constraint,
                stop=self._listener(stops) if stops else None,
            ),
        )
        return TextGeneration(
            sequences=tuple(self._sequence(one, stops) for one in sampled), seed=seed
        )

    def stream(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        stop: str | Sequence[str] = (),
        pattern: str | None = None,
        choices: Sequence[str] = (),
        forbid: str | Sequence[str] = (),
        style: Style | None = None,
        **options: Unpack[GenerateOptions],
    ) -> TextStream:
        """`generate`'s text as it comes: never half a character, never part of a stop string.

        Raises:
            ValueError: an option out of range, beams or several sequences, which cannot stream.
        """
        stops = _strings("stop", stop)
        options = self._with_breakers(options)
        options = self._with_end(options, pattern, choices)
        parsed = parse_options(options)
        check_length(max_new_tokens, parsed.sampling)
        if parsed.beams.num_beams > 1 or parsed.num_return_sequences > 1:
            raise ValueError("only a single sampled sequence can be streamed; use generate()")
        shown = StopFilter(self.tokenizer.decoder(), stops)
        seed = resolve_seed(options.get("seed"))
        ids = self._prompt_ids(prompt)
        draws = sample(
            self._stepper(style, request_tokens(ids, max_new_tokens, options)),
            ids,
            Request(
                max_new_tokens=max_new_tokens,
                seed=seed,
                end_id=self.tokenizer.start_id,
                constraint=self._constraint(
                    pattern, choices, forbid, stops, max_new_tokens, options
                ),
            ),
            parsed.sampling,
        )
        return TextStream(_streamed(draws, shown), seed)

    def score(self, text: str, *, reset_every: int | None = None) -> Likelihood:
        """How likely the model finds a text, every token counted, the first one too.

        Args:
            text: any text.
            reset_every: clear the state every so many tokens; None carries it through.

        Returns:
            Its `.nats`, `.perplexity`, `.bits_per_char`, `.bits_per_byte` ...
        """
        return self.likelihood(text, self.token_nats(self.tokenizer.encode(text), reset_every))

    def adapt(self, text: str) -> TextModel:
        """A model that has learnt from a text by reading it once.

        It takes on the manner and the vocabulary in seconds; this model stays as it is, on the disk
        and here. Source: Krause et al. (2018); see `generative.scoring.dynamic`.
        """
        return TextModel(self.runtime.adapted(self.tokenizer.encode(text)))

    def token_nats(self, ids: Sequence[int], reset_every: int | None = None) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        return self.runtime.token_nats(ids, reset_every)

    def dynamic_token_nats(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The same while a copy of the model learns from what it has read (dynamic evaluation)."""
        return self.runtime.dynamic_token_nats(ids)

    @staticmethod
    def likelihood(text: str, nats: NDArray[np.float64]) -> Likelihood:
        """The nats of a text's tokens as one likelihood."""
        return Likelihood(
            nats=float(nats.sum()),
            tokens=len(nats),
            chars=len(text),
            bytes=len(text.encode("utf-8")),
        )

    def _with_breakers(self, options: GenerateOptions) -> GenerateOptions:
        """With DRY's usual breakers as this tokenizer's ids, where none are given."""
        if not options.get("dry_multiplier") or options.get("dry_sequence_breakers") is not None:
            return options
        ends = tuple(breaker.encode() for breaker in DRY_BREAKERS)
        breakers = tuple(
            i for i, piece in enumerate(self.tokenizer.token_bytes) if piece.endswith(ends)
        )
        return {**options, "dry_sequence_breakers": breakers}

    def _with_end(
        self, options: GenerateOptions, pattern: str | None, choices: Sequence[str]
    ) -> GenerateOptions:
        """With leave to end where pattern or choices say so.

        Raises:
            OptionError: it is barred, or put off.
        """
        if pattern is None and not choices:
            return options
        end = self.tokenizer.start_id
        if end in (options.get("banned_tokens") or ()):
            raise OptionError(f"banned_tokens holds the end, {end}, which pattern and choices need")
        if options.get("min_new_tokens"):
            raise OptionError("pattern and choices say the length: leave out min_new_tokens")
        allowed = options.get("allowed_tokens")
        return options if allowed is None else {**options, "allowed_tokens": (*allowed, end)}

    def _constraint(
        self,
        pattern: str | None,
        choices: Sequence[str],
        forbid: str | Sequence[str],
        stops: Sequence[str],
        max_new_tokens: int,
        options: GenerateOptions,
    ) -> TextConstraint | None:
        forbid = _strings("forbid", forbid)
        if isinstance(choices, str):
            raise TypeError("choices must be a list of strings, not one string")
        _check_text("choice", choices)
        if stops and (pattern is not None or choices):
            raise ValueError("stop would cut what pattern or choices ask for; use one of them")
        if pattern is None and not choices and not forbid:
            return None
        size = self.tokenizer.vocab_size
        allowed = options.get("allowed_tokens")
        barred = {*(options.get("banned_tokens") or ())} & set(range(size))
        if allowed is not None:
            barred |= set(range(size)) - set(allowed)
        return TextConstraint(
            self.tokenizer.token_bytes,
            compile_text(pattern, tuple(choices), forbid),
            end_id=self.tokenizer.start_id,
            max_new_tokens=max_new_tokens,
            forbidden=sorted(barred),
        )

    def _stepper(self, style: Style | None, tokens: int) -> Stepper[Any]:
        return self.runtime.styled(style).stepper_for(tokens)

    def _prompt_ids(self, prompt: str) -> list[int]:
        return [self.tokenizer.start_id, *self.tokenizer.encode(prompt)]

    def _listener(self, stops: Sequence[str]) -> Stop:
        """Hears whether a sequence has said one of the stop strings."""
        endings = [stop.encode() for stop in stops]
        longest = max(map(len, endings))
        pieces = self.tokenizer.token_bytes

        def hear(said: bytes | None, token: int) -> tuple[bytes, bool]:
            said = (said or b"") + pieces[token]
            return said[-longest:], any(ending in said for ending in endings)

        return hear

    def _sequence(self, sampled: Sampled, stops: Sequence[str]) -> TextSequence:
        tokens = sampled.tokens
        decoder = self.tokenizer.decoder()
        text = "".join(map(decoder.feed, tokens))  # whole characters only
        if sampled.finish_reason == "stop":  # leave out the stop and the tokens of it alone
            pieces = [self.tokenizer.token_bytes[token] for token in tokens]
            said = b"".join(pieces)
            endings = [stop.encode() for stop in stops]
            found = [(at + len(e), at) for e in endings if (at := said.find(e)) >= 0]
            cut = min(found)[1]  # of several the one that was complete first
            text = said[:cut].decode("utf-8", errors="replace")  # a stop string ends what is open
            begins = np.cumsum([0, *map(len, pieces[:-1])])
            tokens = tokens[: int((begins < cut).sum())]
        count = len(tokens)
        nats = -float(sum(sampled.logprobs[:count]))
        return TextSequence(
            text=text,
            tokens=tuple(tokens),
            nats=nats,
            finish_reason=sampled.finish_reason,
            score=sampled.score,
            logprobs=token_logprobs(sampled.details[:count], self.tokenizer.describe),
        )


def _strings(name: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """One string or several; an empty one alone is none.

    Raises:
        ValueError: an empty string, or bytes that are no text.
    """
    strings = tuple(filter(None, [given])) if isinstance(given, str) else tuple(given)
    if not all(strings):
        raise ValueError(f"a {name} string must not be empty")
    _check_text(name, strings)
    return strings


def _check_text(name: str, strings: Sequence[str]) -> None:
    """Refuse what cannot be written in UTF-8, as bytes of the command line that are no UTF-8."""
    for string in strings:
        try:
            string.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} {string!r} is no text: {error.reason}") from None


def _streamed(draws: Iterator[list[Any]], shown: StopFilter) -> Iterator[str]:
    for (draw,) in draws:
        if draw.finish_reason == "end":
            break
        if text := shown.feed(draw.token):
            yield text
        if shown.stopped:
            return
    if text := shown.finish():
        yield text
