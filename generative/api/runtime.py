"""What runs a checkpoint: the engine without torch steps it, torch scores under it.

Steppers and the torch model are built when they are first needed. This module must not know what
tokens stand for.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from generative import engine
from generative.api.styles import in_style, style_weights
from generative.errors import OptionError
from generative.ngram.model import CACHED, STATIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.api.styles import Style
    from generative.checkpoint import Checkpoint
    from generative.model.language_model import LanguageModel
    from generative.sampling import Stepper

LOG = logging.getLogger(__name__)
# Loading the compiled loop takes half a second, which it saves on a request of so many tokens.
LONG_REQUEST = 3000
# How count models treat what is sampled. A piece of music repeats its parts, so they count what it
# holds so far. A text hardly repeats itself: what it holds would be believed too much.
SAMPLING_PROTOCOLS = {"text": STATIC, "music": CACHED}
STYLES_KEPT = 4  # The number of styles whose steppers are kept in memory.


class RuntimeLike(Protocol):
    """What a `TrainedModel` needs of what runs it: a `Runtime` or a `Mixture`."""

    checkpoint: Checkpoint

    @property
    def styles(self) -> tuple[str, ...]:
        """The names that `styled` accepts."""
        ...

    def stepper_for(self, tokens: int) -> Stepper[Any]:
        """The stepper for a request that reads and draws `tokens` tokens in all its rows."""
        ...

    def styled(self, style: Style | None) -> RuntimeLike:
        """A runtime that is in a style throughout; None is this one."""
        ...

    def token_nats(
        self, ids: Sequence[int], reset_every: int | None, protocol: str
    ) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)

        protocol: one of `ngram.model.PROTOCOLS`.
        """
        ...

    def dynamic_token_nats(self, ids: Sequence[int], protocol: str) -> NDArray[np.float64]:
        """-ln p of each token while the weights learn from the tokens before it. -> (T,)"""
        ...

    def adapted(self, ids: Sequence[int]) -> RuntimeLike:
        """A runtime with the weights as they are after learning from `ids`."""
        ...


class Runtime:
    """Steps and scores under one checkpoint's weights."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "cpu",
        *,
        precision: str = "float32",
        compiled: bool | None = True,
    ) -> None:
        """Run `checkpoint`, of which nothing is built yet.

        Args:
            checkpoint: a model folder's contents.
            device: where torch runs the model.
            precision: of the weights that the engine steps, see `engine.build`; scores are always
                computed in float32.
            compiled: whether the engine steps by the compiled loop; None decides by the size of
                each request, since the loop takes a moment to load.

        Raises:
            ValueError: there is no such precision.
        """
        engine.check_precision(precision)
        self.checkpoint = checkpoint
        self._device = device
        self._precision = precision
        self._compiled = compiled
        self._styled: dict[tuple[tuple[str, float], ...], Runtime] = {}
        self._steppers: dict[bool, Stepper[Any]] = {}  # by whether they are compiled

    @property
    def styles(self) -> tuple[str, ...]:
        """The names that `styled` accepts."""
        return self.checkpoint.config.labels

    def styled(self, style: Style | None) -> Runtime:
        """A runtime that is in a style throughout (see `style_weights`); None is this one.

        Raises:
            OptionError: the model has no such style.
        """
        if style is None:
            return self
        try:
            parts = style_weights(style, self.styles)
        except OptionError as error:
            raise OptionError(f"{self.checkpoint.name}: {error}") from None
        key = tuple(sorted(parts.items()))
        if key not in self._styled:
            if len(self._styled) == STYLES_KEPT:
                del self._styled[next(iter(self._styled))]
            self._styled[key] = self._with(in_style(self.checkpoint, parts))
        return self._styled[key]

    @cached_property
    def torch_model(self) -> LanguageModel:
        """The model with gradients and exact forward passes."""
        return self.checkpoint.build(self._device)

    def stepper_for(self, tokens: int) -> Stepper[Any]:
        """The stepper for a request that reads and draws `tokens` tokens in all its rows.

        The engine steps on a CPU, torch on other devices and for cells that the engine lacks.
        """
        compiled = self._compiled
        if compiled is None:  # A compiled stepper that is already loaded costs nothing more.
            compiled = tokens >= LONG_REQUEST or True in self._steppers
        if compiled not in self._steppers:
            self._steppers[compiled] = self._new_stepper(compiled)
        return self._steppers[compiled]

    def _new_stepper(self, compiled: bool) -> Stepper[Any]:
        config = self.checkpoint.config
        if self._device == "cpu" and config.cell in engine.ENGINE_CELLS:
            return engine.build(
                config,
                self.checkpoint.weights,
                precision=self._precision,
                compiled=compiled,
                counts=self.checkpoint.counts,
                protocol=SAMPLING_PROTOCOLS[self.checkpoint.kind],
                context=self.checkpoint.context,
            )
        if self._device == "cpu":
            LOG.warning("the engine has no cell %r: torch steps it, more slowly", config.cell)
        if self._precision != "float32":
            LOG.warning("torch steps in float32; %s is the engine's", self._precision)
        from generative.model.stepper import TorchStepper

        protocol = SAMPLING_PROTOCOLS[self.checkpoint.kind]
        return engine.counted(TorchStepper(self.torch_model), self.checkpoint.counts, protocol)

    def token_nats(
        self, ids: Sequence[int], reset_every: int | None, protocol: str
    ) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        from generative.machine.threads import Workers, available_threads, single_threaded
        from generative.scoring.loss import token_nats

        start_id = self.checkpoint.tokenizer.start_id
        count = 1 if reset_every is None else available_threads()
        with single_threaded(), Workers(count) as workers:
            return token_nats(
                self.torch_model,
                ids,
                start_id,
                reset_every,
                counts=self.checkpoint.counts,
                protocol=protocol,
                workers=workers,
            )

    def dynamic_token_nats(self, ids: Sequence[int], protocol: str) -> NDArray[np.float64]:
        """-ln p of each token while a copy of the weights learns from those before it. -> (T,)"""
        return self._scored_while_learning(ids, protocol)[0]

    def adapted(self, ids: Sequence[int]) -> Runtime:
        """A runtime with the weights as they are after learning from `ids`, and caches with them.

        Nothing on the disk changes. The model learns without a style, so the vectors of the styles
        stay as they were.
        """
        model = self._scored_while_learning(ids, STATIC)[1]
        learnt = {k: v.float().cpu().numpy() for k, v in model.state_dict().items()}
        weights = {**self.checkpoint.weights, **learnt}
        counts = self.checkpoint.counts
        if counts is not None:
            counts = counts.adapted([self.checkpoint.tokenizer.start_id, *ids])
        return self._with(replace(self.checkpoint, weights=weights, counts=counts))

    def _with(self, checkpoint: Checkpoint) -> Runtime:
        """A runtime of another checkpoint with the same device, precision and loop."""
        return Runtime(checkpoint, self._device, precision=self._precision, compiled=self._compiled)

    def _scored_while_learning(
        self, ids: Sequence[int], protocol: str
    ) -> tuple[NDArray[np.float64], LanguageModel]:
        """The nats of each token, (T,), and the model that has learnt from all of them."""
        from generative.machine.threads import single_threaded
        from generative.scoring.dynamic import dynamic_token_nats

        model = in_style(self.checkpoint, {}).build(self._device)
        start_id = self.checkpoint.tokenizer.start_id
        counts = self.checkpoint.counts
        scorer = None if counts is None else counts.scorer(protocol)
        with single_threaded():
            nats = dynamic_token_nats(
                model, ids, start_id, self.checkpoint.statistics(), scorer=scorer
            )
        return nats, model
