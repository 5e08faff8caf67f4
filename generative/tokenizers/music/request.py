"""What was asked for beyond the grammar of music, and how far that is fulfilled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from generative.tokenizers.music.cast import Cast
    from generative.tokenizers.music.grammar import Window
    from generative.tokenizers.music.limits import MusicLimits
    from generative.tokenizers.music.state import State
    from generative.tokenizers.music.voices import Voices

# A function that narrows a window of the grammar, which is not empty, to what was asked for.
Narrowing: TypeAlias = "Callable[[LimitedState, Window], Window]"


class Request(NamedTuple):
    """What was asked for; it stays the same throughout a piece.

    Attributes:
        limits: a key, a range, a meter and so on.
        narrowings: the narrowings that these limits need, by type of token.
        deadline_seconds: nothing begins then or later; None is no deadline.
        density_from_step: where the even pace of a density begins.
    """

    limits: MusicLimits
    narrowings: Mapping[str, tuple[Narrowing, ...]]
    deadline_seconds: float | None = None
    density_from_step: int = 0


class Progress(NamedTuple):
    """How far the request is fulfilled.

    Attributes:
        bars_left: how many bars may still begin; None where bars are not counted.
        notes: how many there are since the piece, or what follows its primer, began.
        bar_has_notes: whether a note begins in the current bar.
        opens_with_bar: whether only a new bar, or the end, may come next.
        cast: the instruments asked for and their tracks; None where all may play.
        voices: what each track has played last, the primer included; None where voice leading is
            free.
    """

    bars_left: int | None = None
    notes: int = 0
    bar_has_notes: bool = False
    opens_with_bar: bool = False
    cast: Cast | None = None
    voices: Voices | None = None


class LimitedState(NamedTuple):
    """The state of the music grammar, what was asked for, and how much of it there is."""

    music: State
    request: Request
    progress: Progress
