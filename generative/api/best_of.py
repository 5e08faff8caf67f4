"""Several attempts at each sequence, of which the best one is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generative.api.generation import resolve_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generative.api.generation import GenerateOptions
    from generative.sampling import Sampled

# The least probability that a constraint may leave the model at every step of an attempt that
# counts as not forced.
MIN_ALLOWED_MASS = 0.5


class BestOf:
    """Asks for several attempts at each sequence, and chooses among them.

    Beam search makes one attempt, since it chooses by itself.

    Attributes:
        options: the user's options, with `num_return_sequences` multiplied by the attempts.
        seed: the seed of all attempts.
    """

    def __init__(
        self,
        attempts: int,
        choose: Callable[[Sequence[Sampled]], Sampled],
        options: GenerateOptions,
    ) -> None:
        """`choose` takes the attempts at one sequence and returns the best of them.

        Raises:
            OptionError: a seed out of range.
        """
        is_beam_search = (options.get("num_beams") or 1) > 1
        self._attempts = 1 if is_beam_search else attempts
        self._choose = choose
        count = options.get("num_return_sequences") or 1
        self.options: GenerateOptions = {**options, "num_return_sequences": count * self._attempts}
        self.seed = resolve_seed(options.get("seed"))

    def chosen(self, sampled: Sequence[Sampled]) -> list[Sampled]:
        """The best attempt at each sequence; the attempts at one sequence follow each other."""
        step = self._attempts
        return [self._choose(sampled[i : i + step]) for i in range(0, len(sampled), step)]


def least_forced(attempts: Sequence[Sampled]) -> Sampled:
    """The first attempt that the constraint never forced, or else the one it forced least.

    A step is forced where most of the model's probability lies on tokens that are not allowed.
    Attempts that reached the limit of tokens are considered only where no other is left.
    """
    complete = [one for one in attempts if one.finish_reason != "length"] or attempts
    unforced = (one for one in complete if one.least_allowed_mass > MIN_ALLOWED_MASS)
    return next(unforced, max(complete, key=lambda one: one.least_allowed_mass))


def likeliest(attempts: Sequence[Sampled]) -> Sampled:
    """The attempt with the highest score."""
    return max(attempts, key=lambda one: one.score)
