"""A loaded model at work: builds the stepper and the scorer when first needed, from one checkpoint.

The one place that decides what runs a model: the torch-free engine steps, torch scores. Knows ids,
no media.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from generative import engine
from generative.api.styles import in_style, style_weights
from generative.engine.recalling import RecallStepper
from generative.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from generative.api.styles import Style
    from generative.checkpoint import Checkpoint
    from generative.model.language_model import LanguageModel
    from generative.sampling import Stepper

LOG = logging.getLogger(__name__)
# The compiled loop takes half a second to load: what it saves on this many tokens.
LONG_REQUEST = 3000
STYLES_KEPT = 4  # blends whose steppers stay at hand


class Running(Protocol):
    """What `TextModel` and `MusicModel` ask of what runs them."""

    checkpoint: Checkpoint

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of its styles."""
        ...

    def stepper_for(self, tokens: int) -> Stepper[Any]:
        """What a request steps that reads and draws so many tokens, of all its rows together."""
        ...

    def styled(self, style: Style | None) -> Running:
        """The same in a style throughout."""
        ...

    def token_nats(self, ids: Sequence[int], reset_every: int | None) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        ...

    def dynamic_token_nats(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The same while it learns from what it has read. -> (T,)"""
        ...

    def adapted(self, ids: Sequence[int]) -> Running:
        """The same as it is after reading."""
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
        """`precision` and `compiled` are `engine.build`'s; scoring is float32 always.

        compiled: None decides by what is asked for: the compiled loop is for long requests.

        Raises:
            ValueError: a precision that is none.
        """
        engine.check_precision(precision)
        self.checkpoint = checkpoint
        self._device = device
        self._precision = precision
        self._compiled = compiled
        self._styled: dict[tuple[tuple[str, float], ...], Runtime] = {}
        self._steppers: dict[bool, Stepper[Any]] = {}  # compiled or not

    @property
    def styles(self) -> tuple[str, ...]:
        """The names that `styled` may be asked for."""
        return self.checkpoint.config.labels

    def styled(self, style: Style | None) -> Runtime:
        """The same in a style throughout, see `style_weights`; None is as it is.

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
        """What a request steps that reads and draws so many tokens, of all its rows together.

        It is the engine on a CPU, torch for other devices and cells.
        """
        compiled = self._compiled
        if compiled is None:  # what was loaded once costs nothing more
            compiled = tokens >= LONG_REQUEST or True in self._steppers
        if compiled not in self._steppers:
            length, boosts = self.checkpoint.config.recall_length, self.checkpoint.boosts
            layers = self._layers(compiled)
            made = layers if boosts is None else RecallStepper(layers, length, boosts)
            self._steppers[compiled] = made
        return self._steppers[compiled]

    def _layers(self, compiled: bool) -> Stepper[Any]:
        """What steps the layers alone."""
        config = self.checkpoint.config
        if self._device == "cpu" and config.cell in engine.ENGINE_CELLS:
            return engine.build(
                config,
                self.checkpoint.weights,
                precision=self._precision,
                compiled=compiled,
            )
        if self._device == "cpu":
            LOG.warning("the engine has no cell %r: torch steps it, more slowly", config.cell)
        if self._precision != "float32":
            LOG.warning("torch steps in float32; %s is the engine's", self._precision)
        from generative.model.stepper import TorchStepper

        return TorchStepper(self.torch_model)

    def token_nats(self, ids: Sequence[int], reset_every: int | None) -> NDArray[np.float64]:
        """-ln p of each token given all before it. -> (T,)"""
        from generative.machine.threads import Workers, available_threads, single_threaded
        from generative.scoring.loss import token_nats

        start_id = self.checkpoint.tokenizer.start_id
        count = 1 if reset_every is None else available_threads()
        with single_threaded(), Workers(count) as workers:
            return token_nats(self.torch_model, ids, start_id, reset_every, workers=workers)

    def dynamic_token_nats(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The same while a copy of the weights learns from what it has read. -> (T,)"""
        return self._read(ids)[0]

    def adapted(self, ids: Sequence[int]) -> Runtime:
        """The same with the weights as they are after reading; nothing on the disk changes."""
        model = self._read(ids)[1]
        learnt = {k: v.float().cpu().numpy() for k, v in model.state_dict().items()}
        weights = {**self.checkpoint.weights, **learnt}  # it reads without a style
        return self._with(replace(self.checkpoint, weights=weights))

    def _with(self, checkpoint: Checkpoint) -> Runtime:
        """Another model run in the same way."""
        return Runtime(checkpoint, self._device, precision=self._precision, compiled=self._compiled)

    def _read(self, ids: Sequence[int]) -> tuple[NDArray[np.float64], LanguageModel]:
        from generative.machine.threads import single_threaded
        from generative.scoring.dynamic import dynamic_token_nats

        model = in_style(self.checkpoint, {}).build(self._device)
        start_id = self.checkpoint.tokenizer.start_id
        with single_threaded():
            nats = dynamic_token_nats(model, ids, start_id, self.checkpoint.statistics())
        return nats, model
