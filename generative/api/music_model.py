"""A music model for its users: where pieces meet ids; knows no text and no command line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np

from generative.api.generation import (
    GenerateOptions,
    TokenLogprob,
    generate_tokens,
    request_tokens,
    resolve_seed,
    token_logprobs,
)
from generative.api.harmonise import hear
from generative.errors import OptionError
from generative.music import formats, midi
from generative.music.general_midi import instrument_name
from generative.music.keys import detect_key
from generative.music.piece import Piece
from generative.music.quantise import PERFORMANCE, SCORE
from generative.scoring.likelihood import Likelihood
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits, parse_instruments
from generative.tokenizers.music.melody import MelodyGrammar
from generative.tokenizers.music.vocabulary import DRUM_PROGRAMS, is_measured_exactly

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from generative.api.runtime import Running
    from generative.api.styles import Style
    from generative.sampling import Sampled
    from generative.tokenizers.music.tokenizer import MusicTokenizer

DEFAULT_BARS = 8  # where nothing else says how much
DEFAULT_SECONDS = 20.0  # of a performance, which has no bars to count
TOKENS_PER_BAR = 512  # room for the densest bars where `bars` says how much
TOKENS_PER_SECOND = 256
USUAL_TOKENS_PER_BAR, USUAL_TOKENS_PER_SECOND = 40, 20  # rough guesses, not measured
# A piece of given length may have to go on where the model would end it, and then wander. Of this
# many draws the first is taken in which the grammar never overruled most of the model's belief.
ATTEMPTS = 4
FORCED_MASS = 0.5
HARMONISATIONS = 16  # drawn, of which the likeliest is kept
# density in words -> times what the primer, or the model by itself, has
DENSITIES = {"sparse": 0.5, "normal": 1.0, "dense": 1.5}
SELF_PORTRAIT = {"seed": 0, "num_return_sequences": 4, "max_new_tokens": 400}
KEY_OF_PRIMER, KEY_OF_MELODY = "primer", "melody"


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

    def save(
        self, path: str | os.PathLike[str], *, soundfont: str | os.PathLike[str] | None = None
    ) -> None:
        """Write it by the path's suffix: .mid, .wav, .png, .html or .musicxml.

        See `generative.music.formats.save`.
        """
        formats.save(self.piece, path, soundfont=soundfont)


@dataclass(frozen=True, kw_only=True)
class Tune:
    """What `MusicModel.generate` made: one or more sequences and the seed to repeat them."""

    sequences: tuple[TuneSequence, ...]
    seed: int

    @property
    def piece(self) -> Piece:
        """The first sequence's music."""
        return self.sequences[0].piece

    def save(
        self, path: str | os.PathLike[str], *, soundfont: str | os.PathLike[str] | None = None
    ) -> None:
        """Write the first sequence, by the path's suffix."""
        self.sequences[0].save(path, soundfont=soundfont)


class MusicModel:
    """A trained model of music.

    Example:
        tune = generative.load("chorales").generate(bars=8, seed=3)
        tune.save("out.mid")
    """

    kind = "music"

    def __init__(self, runtime: Running) -> None:
        """`runtime` of a checkpoint of music."""
        self.runtime = runtime
        self.checkpoint = runtime.checkpoint
        self.tokenizer = cast("MusicTokenizer", runtime.checkpoint.tokenizer)

    @property
    def styles(self) -> tuple[str, ...]:
        """The names that `style` may take."""
        return self.runtime.styles

    def in_style(self, style: Style | None) -> MusicModel:
        """The model that generates, scores and learns in one style throughout; None is this one.

        Raises:
            ValueError: there is no such style.
        """
        return self if style is None else MusicModel(self.runtime.styled(style))

    def generate(
        self,
        primer: str | os.PathLike[str] | Piece | None = None,
        *,
        primer_bars: str | tuple[int, int] | None = None,
        bars: int | None = None,
        seconds: float | None = None,
        max_new_tokens: int | None = None,
        key: str | Iterable[int] | None = None,
        pitch_range: str | tuple[int, int] | None = None,
        meter: str | tuple[int, int] | None = None,
        tempo: int | None = None,
        instruments: str | Sequence[str | int] | None = None,
        density: str | float | None = None,
        style: Style | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Tune:
        """Make music that always decodes to a valid file: only what the grammar allows is drawn.

        Args:
            primer: a MIDI file or a piece to continue, with its instruments and in its last meter
                and tempo, unless others are asked for.
            primer_bars: only these of its bars, "5-8", "-8", "5-" or (5, 8), from 1; what is new
                begins at the bar line after them.
            bars: exactly so many new bars; of a few draws, one that ends there willingly.
            seconds: so many new seconds; notes that would last longer are cut.
            max_new_tokens: at most; given alone, the model ends the piece where it likes. With none
                of the three it makes 8 bars, or 20 seconds of a performance.
            key: pitches may only be of "D minor", "Eb major" (see `theory.MODES`), of the
                notes "C D E G A", of pitch classes 0..11, or of the key that the "primer" is in
                (`keys.detect_key`; if minor, with both sixths and sevenths).
            pitch_range: from "C3-C6" or two MIDI pitches; C4 is 60. Drums are free of both.
            meter: "3/4", throughout; a primer has to end in it.
            tempo: quarter notes a minute, 16..320, throughout; after a primer from the next bar on.
            instruments: "piano,bass,drums", or General MIDI names and numbers from 0. These play,
                one a track, each at least once, and no others.
            density: notes a quarter note, all instruments together, kept to all along (see
                `MusicLimits`); or "sparse", "normal", "dense": half, once or one and a half times
                what the primer has, or else the model by itself.
            style: the name of one, a blend "bach:0.6,folk:0.4", or a table name -> weight; None is
                the model without one.
            options: see `GenerateOptions`.

        Raises:
            MidiError: the primer cannot be read.
            ValueError: an option that is out of range, or limits that cannot be met.
        """
        if bars is not None and bars < 1:
            raise OptionError(f"bars must be at least 1, not {bars}")
        if seconds is not None and not 0 < seconds < np.inf:
            raise OptionError(f"seconds must be a positive number, not {seconds}")
        if bars is seconds is max_new_tokens is None:
            if self.tokenizer.grid == PERFORMANCE:
                seconds = DEFAULT_SECONDS
            else:
                bars = DEFAULT_BARS
        start, begin = self._primer(primer, primer_bars)
        if key == KEY_OF_PRIMER:
            key = _key_of(start)
        if isinstance(density, str):
            density = self.in_style(style)._density(density, start)
        limits = MusicLimits.of(key, pitch_range, meter, tempo, instruments, density)
        if begin and self.tokenizer.grid == SCORE:
            limits = _like_primer(limits, self.tokenizer.decode(begin))
        grammar = MusicGrammar(self.tokenizer, bars=bars, seconds=seconds, limits=limits)
        room = _room(bars, seconds) if max_new_tokens is None else max_new_tokens
        seed = resolve_seed(options.get("seed"))
        count = options.get("num_return_sequences") or 1
        attempts = 1 if bars is seconds is None or (options.get("num_beams") or 1) > 1 else ATTEMPTS
        options = {**options, "num_return_sequences": count * attempts}
        usual = _usual_tokens(bars, seconds) if max_new_tokens is None else max_new_tokens
        tries = generate_tokens(
            self.runtime.styled(style).stepper_for(request_tokens(begin, usual, options)),
            [self.tokenizer.start_id, *begin],
            end_id=self.tokenizer.start_id,
            max_new_tokens=room,
            options=options,
            seed=seed,
            constraint=grammar,
            constraint_state=grammar.resume(begin, from_bar_line=primer_bars is not None),
        )
        sampled = [_least_forced(tries[i : i + attempts]) for i in range(0, len(tries), attempts)]
        if bars is not None and any(one.finish_reason == "length" for one in sampled):
            raise ValueError(f"{bars} bars did not fit in {room} tokens; give max_new_tokens more")
        made = tuple(self._sequence(begin, one, bars, seconds) for one in sampled)
        if instruments is not None:
            _check_that_all_play(made, parse_instruments(instruments), room)
        return Tune(sequences=made, seed=seed)

    def harmonise(
        self,
        melody: str | os.PathLike[str] | Piece,
        *,
        melody_track: int = 1,
        instruments: str | Sequence[str | int] | None = None,
        key: str | Iterable[int] | None = None,
        pitch_range: str | tuple[int, int] | None = None,
        max_new_tokens: int | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Tune:
        """Write other voices to a melody, which stays as it is, note by note, on the token grid.

        Of 16 draws the one is kept that the model finds likeliest, melody included; with
        `num_beams` the beams choose. The melody is the first track of what comes back, in its own
        meter and tempo; the voices fill its bars and end with them.

        Args:
            melody: a MIDI file or a piece.
            melody_track: which of its tracks that have notes, from 1; the others are left out.
            instruments: of the other voices, one each, "viola,cello" (see `generate`); None leaves
                number and kind to the model.
            key, pitch_range: of the other voices, as for `generate`; "melody" is the melody's key.
            max_new_tokens: at most.
            options: see `GenerateOptions`.

        Raises:
            MidiError: the file cannot be read.
            ValueError: no such track, an option out of range, or limits that cannot be met.
        """
        if self.tokenizer.grid == PERFORMANCE:
            raise ValueError("a model of performances knows no bars: it cannot harmonise")
        piece = _track_of(_as_piece(melody), melody_track)
        asked = () if instruments is None else parse_instruments(instruments)
        count = options.get("num_return_sequences") or 1
        attempts = 1 if (options.get("num_beams") or 1) > 1 else HARMONISATIONS
        options = {**options, "num_return_sequences": count * attempts}
        usual = _usual_tokens(piece.bars, None) if max_new_tokens is None else max_new_tokens
        stepper = self.runtime.stepper_for(request_tokens([], usual, options))
        heard = hear(stepper, self.tokenizer, piece, asked)
        if key == KEY_OF_MELODY:
            key = _key_of(piece)
        limits = MusicLimits.of(key, pitch_range, instruments=heard.instruments)
        grammar = MelodyGrammar(self.tokenizer, heard.melody, limits)
        room = _room(heard.melody.bars, None) if max_new_tokens is None else max_new_tokens
        seed = resolve_seed(options.get("seed"))
        tries = generate_tokens(
            stepper,
            [self.tokenizer.start_id],
            end_id=self.tokenizer.start_id,
            max_new_tokens=room,
            options=options,
            seed=seed,
            constraint=grammar,
            constraint_state=grammar.start(),
        )
        if any(one.finish_reason == "length" for one in tries):
            raise ValueError(f"the melody did not fit in {room} tokens; give max_new_tokens more")
        best = (
            max(tries[i : i + attempts], key=lambda one: one.score)
            for i in range(0, len(tries), attempts)
        )
        made = (self._sequence([], one, None, None) for one in best)
        return Tune(
            sequences=tuple(replace(s, piece=heard.given_back(s.piece)) for s in made), seed=seed
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
            A piece that begins with the bar after the phrase's last; of a performance, so many
            seconds that begin with the phrase's end.
        """
        phrase = self.tokenizer.normal_form(phrase)
        if self.tokenizer.grid == PERFORMANCE:
            made = self.generate(phrase, seconds=phrase.seconds, **options)
            return made.piece.since(phrase.duration_ticks)
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
        and here. Source: Krause et al. (2018); see `generative.scoring.dynamic`.
        """
        return MusicModel(self.runtime.adapted(self.tokenizer.encode(_as_piece(music))))

    def token_nats(self, ids: Sequence[int], reset_every: int | None = None) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        return self.runtime.token_nats(ids, reset_every)

    def dynamic_token_nats(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The same while a copy of the model learns from what it has read (dynamic evaluation)."""
        return self.runtime.dynamic_token_nats(ids)

    @staticmethod
    def likelihood(piece: Piece, nats: NDArray[np.float64]) -> Likelihood:
        """The nats of a piece's tokens as one likelihood."""
        return Likelihood(
            nats=float(nats.sum()),
            tokens=len(nats),
            notes=piece.note_count,
            seconds=piece.seconds,
        )

    def _primer(
        self,
        primer: str | os.PathLike[str] | Piece | None,
        primer_bars: str | tuple[int, int] | None,
    ) -> tuple[Piece | None, list[int]]:
        """What to continue, and its tokens up to where it is continued."""
        if primer is None:
            if primer_bars is not None:
                raise OptionError("primer_bars says which bars of a primer: give one")
            return None, []
        piece = _as_piece(primer)
        if primer_bars is None:
            return piece, self.tokenizer.encode(piece)
        first, last = _bar_span(primer_bars, piece.bars)
        piece = piece.excerpt(first, last)
        if not piece.note_count:
            raise ValueError(f"bars {first}-{last} of the primer hold no notes")
        return piece, self.tokenizer.with_bars(self.tokenizer.encode(piece), last - first + 1)

    def _density(self, word: str, primer: Piece | None) -> float:
        """Notes a quarter note of "sparse", "normal", "dense", or of a number in words."""
        if word not in DENSITIES:
            try:
                return float(word)
            except ValueError:
                choices = ", ".join(DENSITIES)
                raise OptionError(f"density must be a number or {choices}, not {word!r}") from None
        pieces = [primer]
        if primer is None:
            portrait = cast("GenerateOptions", SELF_PORTRAIT)
            pieces = [made.piece for made in self.generate(**portrait).sequences]
        beats = sum(p.duration_ticks / p.ticks_per_beat for p in pieces if p is not None)
        notes = sum(p.note_count for p in pieces if p is not None)
        if not notes:
            raise ValueError(f"density {word!r} is that of the primer, which has no notes")
        return DENSITIES[word] * notes / beats

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


def _bar_span(bars: str | tuple[int, int], count: int) -> tuple[int, int]:
    """The first and last bar of "5-8", "-8" or "5-", of a piece with so many.

    Raises:
        ValueError: another form.
    """
    if not isinstance(bars, str):
        return bars
    match = re.fullmatch(r"(\d*)-(\d*)", bars.strip())
    if match is None or not any(match.groups()):
        raise OptionError(f"primer bars must be like 5-8, -8 or 5-, not {bars!r}")
    return int(match[1] or 1), int(match[2] or count)


def _key_of(piece: Piece | None) -> str:
    """The key to stay in: of a minor one, with the sixths and sevenths of both directions."""
    if piece is None:
        raise OptionError("key 'primer' is the key of a primer: give one")
    return detect_key(piece).replace("minor", "melodic minor")


def _like_primer(limits: MusicLimits | None, primer: Piece) -> MusicLimits:
    """The limits, and where they leave it open, the primer's tempo, meter and instruments.

    primer: in token form.
    """
    limits = limits or MusicLimits()
    meter = primer.meters[-1].numerator, primer.meters[-1].denominator
    programs = tuple(sorted(t.program + DRUM_PROGRAMS * t.is_drum for t in primer.tracks))
    return replace(
        limits,
        tempo=limits.tempo or int(primer.tempos[-1].beats_per_minute),
        meter=limits.meter or (meter if is_measured_exactly(*meter) else None),
        instruments=limits.instruments or programs,
    )


def _track_of(piece: Piece, number: int) -> Piece:
    """One track of a piece, counted from 1 among those with notes, with its meters and tempos.

    Raises:
        ValueError: there is no such track.
    """
    tracks = [track for track in piece.tracks if track.notes]
    if not 1 <= number <= len(tracks):
        raise ValueError(f"the melody has {len(tracks)} tracks with notes, and none is {number}")
    return replace(piece, tracks=(tracks[number - 1],)).normalised()


def _check_that_all_play(
    made: Sequence[TuneSequence], instruments: tuple[int, ...], room: int
) -> None:
    """Refuse a piece that broke off before all instruments had come in.

    Raises:
        ValueError: naming those that are missing.
    """
    for sequence in made:
        missing = list(instruments)
        for track in sequence.piece.tracks:
            program = track.program + DRUM_PROGRAMS * track.is_drum
            if program in missing:
                missing.remove(program)
        if missing:
            kits = (divmod(program, DRUM_PROGRAMS) for program in missing)
            names = ", ".join(instrument_name(number, bool(is_drum)) for is_drum, number in kits)
            raise ValueError(f"{room} tokens were too few for {names}: give max_new_tokens more")


def _least_forced(tries: Sequence[Sampled]) -> Sampled:
    """The first that was never forced, or else the one that was forced least; a whole one first."""
    tries = [sampled for sampled in tries if sampled.finish_reason != "length"] or tries
    willing = (sampled for sampled in tries if sampled.least_allowed_mass > FORCED_MASS)
    return next(willing, max(tries, key=lambda sampled: sampled.least_allowed_mass))


def _usual_tokens(bars: int | None, seconds: float | None) -> int:
    """About how many tokens music of such a length has."""
    return math.ceil((bars or 0) * USUAL_TOKENS_PER_BAR + (seconds or 0) * USUAL_TOKENS_PER_SECOND)


def _room(bars: int | None, seconds: float | None) -> int:
    """Enough tokens for what was asked."""
    rooms = [
        amount * tokens
        for amount, tokens in ((bars, TOKENS_PER_BAR), (seconds, TOKENS_PER_SECOND))
        if amount is not None
    ]
    return max(TOKENS_PER_BAR, math.ceil(min(rooms)))
