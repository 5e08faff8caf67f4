"""A music model: turns pieces into ids for generation and scoring, and ids into pieces.

This module must not know text or the command line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, cast

from generative.api.best_of import BestOf, least_forced, likeliest
from generative.api.generation import GenerateOptions, generate_tokens
from generative.api.harmonise import substitute_unknown
from generative.api.music_length import MusicLength
from generative.api.primer import (
    MusicSource,
    Primer,
    as_piece,
    key_of,
    single_track,
)
from generative.api.request import (
    HarmoniseOptions,
    HarmoniseRequest,
    MusicOptions,
    MusicRequest,
    split_request,
)
from generative.api.trained_model import TrainedModel
from generative.api.tune import Tune, TuneSequence
from generative.errors import OptionError
from generative.music.general_midi import instrument_name
from generative.music.piece import Piece
from generative.music.quantise import PERFORMANCE
from generative.sampling import Request
from generative.scoring.likelihood import Likelihood
from generative.tokenizers.music.constraint import MusicGrammar
from generative.tokenizers.music.limits import MusicLimits, parse_instruments
from generative.tokenizers.music.melody import MelodyGrammar
from generative.tokenizers.music.vocabulary import DRUM_PROGRAMS, program_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.api.runtime import RuntimeLike
    from generative.sampling import Sampled, Stepper
    from generative.tokenizers.music.tokenizer import MusicTokenizer

# A piece of exact length may have to go on where the model would end it. Of so many attempts one
# is taken in which the grammar never excluded most of the model's probability.
ATTEMPTS = 4
HARMONISE_ATTEMPTS = 16  # of which the likeliest is kept
# density in words -> factor of the density of the primer, or of the model's own music
DENSITIES = {"sparse": 0.5, "normal": 1.0, "dense": 1.5}
# The music by which a model's own density is measured.
DENSITY_SAMPLE: MusicOptions = {"seed": 0, "num_return_sequences": 4, "max_new_tokens": 400}
KEY_OF_PRIMER, KEY_OF_MELODY = "primer", "melody"


class MusicModel(TrainedModel[MusicSource, Piece]):
    """A trained model of music.

    Example:
        tune = generative.load("chorales").generate(bars=8, seed=3)
        tune.save("out.mid")
    """

    kind = "music"

    def __init__(self, runtime: RuntimeLike) -> None:
        """`runtime` runs a checkpoint of music."""
        super().__init__(runtime)
        self.tokenizer = cast("MusicTokenizer", runtime.checkpoint.tokenizer)

    def generate(self, primer: MusicSource | None = None, **options: Unpack[MusicOptions]) -> Tune:
        """Make music that always decodes to a valid file: only what the grammar allows is drawn.

        Args:
            primer: a MIDI file or a piece to continue, with its instruments and in its last meter
                and tempo, unless others are asked for.
            options: see `VoiceRequest`, `MusicRequest` and `GenerateOptions`.

        Raises:
            MidiError: the primer cannot be read.
            ValueError: an option that is out of range, or limits that cannot be met.
        """
        request, others = split_request(MusicRequest, options)
        length = MusicLength.of(request, self.tokenizer.grid)
        start = Primer.of(self.tokenizer, primer, request.get("primer_bars"))
        limits = start.completed(self._limits(request, start))
        grammar = MusicGrammar(
            self.tokenizer, bars=length.bars, seconds=length.seconds, limits=limits
        )
        best_of = BestOf(ATTEMPTS if length.is_exact else 1, least_forced, others)
        stepper = self._stepper(
            request.get("style"), start.ids, length.usual_tokens, best_of.options
        )
        state = grammar.resume(start.ids, from_bar_line=start.ends_at_bar_line)
        sampled = best_of.chosen(
            self._draw(stepper, grammar, state, length, best_of, prompt=start.ids)
        )
        if length.bars is not None and _reached_limit(sampled):
            raise ValueError(
                f"{length.bars} bars did not fit in {length.token_limit} tokens; "
                "give max_new_tokens more"
            )
        tune = Tune(
            sequences=tuple(self._continuation(one, start, length) for one in sampled),
            seed=best_of.seed,
        )
        if (instruments := request.get("instruments")) is not None:
            _check_that_all_play(tune, parse_instruments(instruments), length.token_limit)
        return tune

    def harmonise(self, melody: MusicSource, **options: Unpack[HarmoniseOptions]) -> Tune:
        """Write other voices to a melody, which stays as it is, note by note, on the token grid.

        Of 16 draws the one is kept that the model finds likeliest, melody included; with
        `num_beams` the beams choose. The melody is the first track of the result, in its own meter
        and tempo; the voices fill its bars and end with them.

        Args:
            melody: a MIDI file or a piece.
            options: see `VoiceRequest`, `HarmoniseRequest` and `GenerateOptions`.

        Raises:
            MidiError: the file cannot be read.
            ValueError: no such track, an option out of range, or limits that cannot be met.
        """
        if self.tokenizer.grid == PERFORMANCE:
            raise ValueError("a model of performances knows no bars: it cannot harmonise")
        request, others = split_request(HarmoniseRequest, options)
        track = request.get("melody_track")
        piece = single_track(as_piece(melody), 1 if track is None else track)
        instruments = request.get("instruments")
        length = MusicLength(bars=piece.bars, max_new_tokens=request.get("max_new_tokens"))
        best_of = BestOf(HARMONISE_ATTEMPTS, likeliest, others)
        stepper = self._stepper(None, [], length.usual_tokens, best_of.options)
        substitution = substitute_unknown(
            stepper,
            self.tokenizer,
            piece,
            () if instruments is None else parse_instruments(instruments),
        )
        length = replace(length, bars=substitution.melody.bars)
        key = request.get("key")
        limits = MusicLimits.of(
            key_of(piece) if key == KEY_OF_MELODY else key,
            request.get("pitch_range"),
            instruments=substitution.instruments,
            voice_leading=request.get("voice_leading"),
        )
        grammar = MelodyGrammar(self.tokenizer, substitution.melody, limits)
        attempts = self._draw(stepper, grammar, grammar.start(), length, best_of)
        if _reached_limit(attempts):
            raise ValueError(
                f"the melody did not fit in {length.token_limit} tokens; give max_new_tokens more"
            )
        return Tune(
            sequences=tuple(
                self._sequence(one, substitution.undone(self.tokenizer.decode(one.tokens)))
                for one in best_of.chosen(attempts)
            ),
            seed=best_of.seed,
        )

    def answer(
        self, phrase: Piece, *, bars: int | None = None, **options: Unpack[GenerateOptions]
    ) -> Piece:
        """What follows a phrase, without the phrase itself, on its instruments.

        Args:
            phrase: the piece to continue.
            bars: the number of new bars; None is as many as the phrase has.
            options: see `GenerateOptions`.

        Returns:
            A piece that begins with the bar after the phrase's last bar. Of a performance it begins
            with the phrase's end and has the duration of the phrase.
        """
        exact = phrase.normalised().tempos[-1].beats_per_minute
        phrase = self.tokenizer.normal_form(phrase)
        if self.tokenizer.grid == PERFORMANCE:
            made = self.generate(phrase, seconds=phrase.seconds, **options)
            return made.piece.since(phrase.duration_ticks)
        made = self.generate(phrase, bars=bars or phrase.bars, **options)
        answer = made.piece.since(phrase.bar_lines[-1])
        rounded = phrase.tempos[-1].beats_per_minute  # as tokens have it
        tempos = (
            replace(tempo, beats_per_minute=exact) if tempo.beats_per_minute == rounded else tempo
            for tempo in answer.tempos
        )
        return replace(answer, tempos=tuple(tempos))

    def likelihood(self, content: Piece, nats: NDArray[np.float64]) -> Likelihood:
        """The nats of all tokens of a piece, (T,), as one likelihood.

        Notes that tokens do not tell apart, as of one track at the same pitch and step, count once.
        """
        return Likelihood(
            nats=float(nats.sum()),
            tokens=len(nats),
            notes=self.tokenizer.normal_form(content).note_count,
            seconds=content.seconds,
        )

    def _encoded(self, content: MusicSource) -> tuple[Piece, list[int]]:
        piece = as_piece(content)
        return piece, self.tokenizer.encode(piece)

    def _limits(self, request: MusicRequest, primer: Primer) -> MusicLimits | None:
        """What the request limits; None where it limits nothing."""
        key = request.get("key")
        if key == KEY_OF_PRIMER:
            key = primer.key
        density = request.get("density")
        if isinstance(density, str):
            density = self.in_style(request.get("style"))._density(density, primer.piece)
        return MusicLimits.of(
            key,
            request.get("pitch_range"),
            request.get("meter"),
            request.get("tempo"),
            request.get("instruments"),
            density,
            request.get("voice_leading"),
        )

    def _density(self, text: str, primer: Piece | None) -> float:
        """Notes a quarter note of "sparse", "normal" or "dense", or of the digits of a number."""
        if text not in DENSITIES:
            try:
                return float(text)
            except ValueError:
                choices = ", ".join(DENSITIES)
                raise OptionError(f"density must be a number or {choices}, not {text!r}") from None
        if primer is None:
            pieces = [sequence.piece for sequence in self.generate(**DENSITY_SAMPLE).sequences]
        else:
            pieces = [primer]
        beats = sum(piece.duration_ticks / piece.ticks_per_beat for piece in pieces)
        notes = sum(piece.note_count for piece in pieces)
        if not notes:
            raise ValueError(f"density {text!r} is that of the primer, which has no notes")
        return DENSITIES[text] * notes / beats

    def _draw(
        self,
        stepper: Stepper[Any],
        grammar: MusicGrammar | MelodyGrammar,
        state: Any,
        length: MusicLength,
        best_of: BestOf,
        *,
        prompt: Sequence[int] = (),
    ) -> list[Sampled]:
        """All attempts at music that continues `prompt` under a grammar that is in `state`."""
        return generate_tokens(
            stepper,
            [self.tokenizer.start_id, *prompt],
            best_of.options,
            Request(
                max_new_tokens=length.token_limit,
                seed=best_of.seed,
                end_id=self.tokenizer.start_id,
                constraint=grammar,
                constraint_state=state,
            ),
        )

    def _continuation(self, sampled: Sampled, primer: Primer, length: MusicLength) -> TuneSequence:
        """The primer and the sampled tokens as one piece, cut where the length ends."""
        piece = self.tokenizer.decode([*primer.ids, *sampled.tokens])
        return self._sequence(sampled, length.clipped(piece, primer.seconds))

    def _sequence(self, sampled: Sampled, piece: Piece) -> TuneSequence:
        return TuneSequence.of(sampled, self.tokenizer.describe, piece=piece)


def _reached_limit(sampled: Sequence[Sampled]) -> bool:
    """Whether one of the sequences ended because it had as many tokens as are allowed."""
    return any(one.finish_reason == "length" for one in sampled)


def _check_that_all_play(tune: Tune, instruments: Sequence[int], token_limit: int) -> None:
    """Refuse a piece that reached the limit of tokens before all instruments had come in.

    Raises:
        ValueError: naming those that are missing.
    """
    for sequence in tune.sequences:
        missing = list(instruments)
        for program in map(program_number, sequence.piece.tracks):
            if program in missing:
                missing.remove(program)
        if missing:
            kits = (divmod(program, DRUM_PROGRAMS) for program in missing)
            names = ", ".join(instrument_name(number, bool(is_drum)) for is_drum, number in kits)
            raise ValueError(
                f"{token_limit} tokens were too few for {names}: give max_new_tokens more"
            )
