"""What models of text and of music have in common: styles, scores and adaptation.

This module must not know what tokens stand for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from generative.api.generation import GenerateOptions, request_tokens
from generative.errors import check_one_of
from generative.ngram.model import PROTOCOLS, STATIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.api.runtime import RuntimeLike
    from generative.api.styles import Style
    from generative.sampling import Stepper
    from generative.scoring.likelihood import Likelihood

SourceT = TypeVar("SourceT")  # what users pass: a text; a MIDI file or a piece
ContentT = TypeVar("ContentT")  # what is encoded: a text; a piece


class TrainedModel(ABC, Generic[SourceT, ContentT]):
    """A trained model, ready to generate and score.

    Attributes:
        kind: "text" or "music".
        runtime: what steps and scores.
        checkpoint: the model's description and weights.
    """

    kind: ClassVar[str]

    def __init__(self, runtime: RuntimeLike) -> None:
        """`runtime` runs a checkpoint of this kind."""
        self.runtime = runtime
        self.checkpoint = runtime.checkpoint

    @property
    def styles(self) -> tuple[str, ...]:
        """The names that `style` may take."""
        return self.runtime.styles

    def in_style(self, style: Style | None) -> Self:
        """The model that generates, scores and learns in one style throughout; None is this one.

        Raises:
            ValueError: there is no such style.
        """
        return self if style is None else type(self)(self.runtime.styled(style))

    def score(
        self, content: SourceT, *, reset_every: int | None = None, protocol: str = STATIC
    ) -> Likelihood:
        """How likely the model finds a text or a piece, every token counted, the first one too.

        Args:
            content: for a text model any text, for a music model a MIDI file or a piece.
            reset_every: clear the state every so many tokens; None carries it through.
            protocol: "static" keeps all weights and counts fixed. "cached" also counts what was
                read of the content, as generation does. "adaptive" lets the weights of the mixture
                of network and counts learn as well.

        Returns:
            A likelihood with `.nats`, `.perplexity`, `.bits_per_char` (text), `.bits_per_note`
            (music) and more.

        Raises:
            MidiError: the MIDI file cannot be read.
            OptionError: there is no such protocol.
        """
        read, ids = self._encoded(content)
        return self.likelihood(read, self.token_nats(ids, reset_every, protocol))

    def adapt(self, content: SourceT) -> Self:
        """A model that has learnt from a text or a piece by reading it once.

        It takes on the manner and the vocabulary in seconds. This model and its folder stay as they
        are. Source: Krause et al. (2018); see `generative.scoring.dynamic`.

        Raises:
            MidiError: the MIDI file cannot be read.
        """
        return type(self)(self.runtime.adapted(self._encoded(content)[1]))

    def token_nats(
        self, ids: Sequence[int], reset_every: int | None = None, protocol: str = STATIC
    ) -> NDArray[np.float64]:
        """-ln p of each token given all before it, see `score`. -> (T,)"""
        check_one_of("protocol", protocol, PROTOCOLS)
        return self.runtime.token_nats(ids, reset_every, protocol)

    def dynamic_token_nats(self, ids: Sequence[int], protocol: str = STATIC) -> NDArray[np.float64]:
        """-ln p of each token while a copy of the model learns from the tokens before it. -> (T,)

        This is dynamic evaluation; see `generative.scoring.dynamic`.
        """
        check_one_of("protocol", protocol, PROTOCOLS)
        return self.runtime.dynamic_token_nats(ids, protocol)

    @abstractmethod
    def likelihood(self, content: Any, nats: NDArray[np.float64]) -> Likelihood:
        """The nats of all tokens of `content`, (T,), as one likelihood."""

    @abstractmethod
    def _encoded(self, content: SourceT) -> tuple[ContentT, list[int]]:
        """What a user passed in the form that is encoded, and its ids."""

    def _stepper(
        self,
        style: Style | None,
        prompt: Sequence[int],
        max_new_tokens: int,
        options: GenerateOptions,
    ) -> Stepper[Any]:
        """What steps the model for a request of this size."""
        tokens = request_tokens(prompt, max_new_tokens, options)
        return self.runtime.styled(style).stepper_for(tokens)
