"""A music model for its users: where pieces meet ids; knows no text and no command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np

from generative import midi
from generative.generation import (
    GenerateOptions,
    TokenLogprob,
    generate_tokens,
    resolve_seed,
    token_logprobs,
)
from generative.likelihood import Likelihood
from generative.piece import Piece
from generative.tokenizers.music import MusicGrammar
from generative.tokenizers.music_limits import MusicLimits
from generative.tokenizers.music_vocabulary import DRUM_PROGRAMS, VALUES, token_id

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from generative.runtime import Runtime
    from generative.sampling import Sampled
    from generative.tokenizers.music import MusicTokenizer

DEFAULT_BARS = 8  # where nothing else says how much
TOKENS_PER_BAR = 512  # room for the densest bars where `bars` says how much
TOKENS_PER_SECOND = 256
# A piece of given length may have to go on where the model would end it, and then wander. Of this
# many draws the first is taken in which the grammar never overruled most of the model's belief.
ATTEMPTS = 4
FORCED_MASS = 0.5


@dataclass(frozen=True, kw_only=True)
class TuneSequence:
    """One piece of music.

    Attributes:
        piece: the primer, if there was one, and what continues it.
        tokens: what was generated, without primer and end token.
        nats: -ln p of these tokens under the model itself, before grammar and options.
        finish_reason: "length" or "end".
        score: what ranks beams; for samples the log-probability, -nats.
        logprobs: of each token, with alternatives; empty unless `top_logprobs` asked for them.
    """

    piece: Piece
    tokens: tuple[int, ...]
    nats: float
    finish_reason: str
    score: float
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def perplexity(self) -> float | None:
        """exp(nats / tokens)."""
        return Likelihood(nats=self.nats, tokens=len(self.tokens)).perplexity

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a MIDI file, in one move."""
        midi.write(self.piece, Path(path))


@dataclass(frozen=True, kw_only=True)
class Tune:
    """What `MusicModel.generate` made: one or more sequences and the seed to repeat them."""

    sequences: tuple[TuneSequence, ...]
    seed: int

    @property
    def piece(self) -> Piece:
        """The first sequence's music."""
        return self.sequences[0].piece

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the first sequence as a MIDI file."""
        self.sequences[0].save(path)


class MusicModel:
    """A trained model of music.

    Example:
        tune = generative.load("chorales").generate(bars=8, seed=3)
        tune.save("out.mid")
    """

    kind = "music"

    def __init__(self, runtime: Runtime) -> None:
        """`runtime` of a checkpoint of music."""
        self._runtime = runtime
        self.checkpoint = runtime.checkpoint
        self.tokenizer = cast("MusicTokenizer", runtime.checkpoint.tokenizer)

    def generate(
        self,
        primer: str | os.PathLike[str] | Piece | None = None,
        *,
        bars: int | None = None,
        seconds: float | None = None,
        max_new_tokens: int | None = None,
        key: str | Iterable[int] | None = None,
        pitch_range: str | tuple[int, int] | None = None,
        meter: str | tuple[int, int] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Tune:
        """Make music that always decodes to a valid file: only what the grammar allows is drawn.

        Args:
            primer: a MIDI file or a piece to continue.
            bars: exactly so many new bars; of a few draws, one that ends there willingly.
            seconds: so many new seconds; notes that would last longer are cut.
            max_new_tokens: at most; given alone, the model ends the piece where it likes. With none
                of the three it makes 8 bars.
            key: pitches may only be of "D minor", "Eb major" (see `music_limits.MODES`), of the
                notes "C D E G A", or of pitch classes 0..11.
            pitch_range: from "C3-C6" or two MIDI pitches; C4 is 60. Drums are free of both.
            meter: "3/4", throughout; a primer has to end in it.
            options: see `GenerateOptions`.

        Raises:
            MidiError: the primer cannot be read.
            ValueError: an option that is out of range, or limits that cannot be met.
        """
        if bars is not None and bars < 1:
            raise ValueError(f"bars must be at least 1, not {bars}")
        if seconds is not None and not 0 < seconds < np.inf:
            raise ValueError(f"seconds must be a positive number, not {seconds}")
        if bars is seconds is max_new_tokens is None:
            bars = DEFAULT_BARS
        begin = [] if primer is None else self.tokenizer.encode(_as_piece(primer))
        limits = MusicLimits.of(key, pitch_range, meter)
        grammar = MusicGrammar(self.tokenizer, bars=bars, seconds=seconds, limits=limits)
        room = _room(bars, seconds) if max_new_tokens is None else max_new_tokens
        seed = resolve_seed(options.get("seed"))
        count = options.get("num_return_sequences") or 1
        attempts = 1 if bars is seconds is None or (options.get("num_beams") or 1) > 1 else ATTEMPTS
        tries = generate_tokens(
            self._runtime.stepper,
            [self.tokenizer.start_id, *begin],
            end_id=self.tokenizer.start_id,
            max_new_tokens=room,
            options={**options, "num_return_sequences": count * attempts},
            seed=seed,
            constraint=grammar,
            constraint_state=grammar.resume(begin),
        )
        sampled = [_least_forced(tries[i : i + attempts]) for i in range(0, len(tries), attempts)]
        if bars is not None and any(one.finish_reason == "length" for one in sampled):
            raise ValueError(f"{bars} bars did not fit in {room} tokens; give max_new_tokens more")
        return Tune(
            sequences=tuple(self._sequence(begin, one, bars, seconds) for one in sampled),
            seed=seed,
        )

    def answer(
        self, phrase: Piece, *, bars: int | None = None, **options: Unpack[GenerateOptions]
    ) -> Piece:
        """What follows a phrase, without it, on that phrase's instruments.

        Args:
            phrase: what to continue.
            bars: how many; None is as many as the phrase has.
            options: see `GenerateOptions`.

        Returns:
            A piece that begins with the bar after the phrase's last.
        """
        phrase = self.tokenizer.normal_form(phrase)
        own = {track.program + DRUM_PROGRAMS * track.is_drum for track in phrase.tracks}
        others = [
            token_id("program", program) for program in VALUES["program"] if program not in own
        ]
        options["banned_tokens"] = (*(options.get("banned_tokens") or ()), *others)
        made = self.generate(phrase, bars=bars or phrase.bars, **options)
        return made.piece.since(phrase.bar_lines[-1])

    def score(
        self, music: str | os.PathLike[str] | Piece, *, reset_every: int | None = None
    ) -> Likelihood:
        """How likely the model finds a piece, every token counted, the first one too.

        Args:
            music: a MIDI file or a piece.
            reset_every: clear the state every so many tokens; None carries it through.

        Returns:
            Its `.nats`, `.perplexity`, `.bits_per_note` ...

        Raises:
            MidiError: the file cannot be read.
        """
        piece = _as_piece(music)
        return self.likelihood(piece, self.token_nats(self.tokenizer.encode(piece), reset_every))

    def adapt(self, music: str | os.PathLike[str] | Piece) -> MusicModel:
        """A model that has learnt from a piece, or a MIDI file, by reading it once.

        It takes on the manner and the vocabulary in seconds; this model stays as it is, on the disk
        and here. Source: Krause et al. (2018); see `generative.dynamic`.
        """
        return MusicModel(self._runtime.adapted(self.tokenizer.encode(_as_piece(music))))

    def token_nats(self, ids: Sequence[int], reset_every: int | None = None) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        return self._runtime.token_nats(ids, reset_every)

    def dynamic_token_nats(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The same while a copy of the model learns from what it has read (dynamic evaluation)."""
        return self._runtime.dynamic_token_nats(ids)

    @staticmethod
    def likelihood(piece: Piece, nats: NDArray[np.float64]) -> Likelihood:
        """The nats of a piece's tokens as one likelihood."""
        return Likelihood(
            nats=float(nats.sum()),
            tokens=len(nats),
            notes=piece.note_count,
            seconds=piece.seconds,
        )

    def _sequence(
        self, begin: list[int], sampled: Sampled, bars: int | None, seconds: float | None
    ) -> TuneSequence:
        piece = self.tokenizer.decode([*begin, *sampled.tokens])
        if bars is not None:
            piece = piece.clipped(piece.bar_lines[-1])
        if seconds is not None:
            end = self.tokenizer.decode(begin).seconds + seconds
            piece = piece.clipped(math.ceil(piece.tempo_map.ticks_at(end)))
        return TuneSequence(
            piece=piece,
            tokens=tuple(sampled.tokens),
            nats=sampled.nats,
            finish_reason=sampled.finish_reason,
            score=sampled.score,
            logprobs=token_logprobs(sampled.details, self.tokenizer.describe),
        )


def _as_piece(music: str | os.PathLike[str] | Piece) -> Piece:
    return music if isinstance(music, Piece) else midi.read(Path(music))


def _least_forced(tries: Sequence[Sampled]) -> Sampled:
    """The first that was never forced, or else the one that was forced least; a whole one first."""
    tries = [sampled for sampled in tries if sampled.finish_reason != "length"] or tries
    willing = (sampled for sampled in tries if sampled.least_allowed_mass > FORCED_MASS)
    return next(willing, max(tries, key=lambda sampled: sampled.least_allowed_mass))


def _room(bars: int | None, seconds: float | None) -> int:
    """Enough tokens for what was asked."""
    rooms = [
        amount * tokens
        for amount, tokens in ((bars, TOKENS_PER_BAR), (seconds, TOKENS_PER_SECOND))
        if amount is not None
    ]
    return max(TOKENS_PER_BAR, math.ceil(min(rooms)))
