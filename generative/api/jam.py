"""Call and response of a music model over MIDI ports: seeds, turns and the recording."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from generative.api.generation import resolve_seed
from generative.music import midi
from generative.music.jam import Recording, Settings, jam, ports
from generative.music.jam.playing import clicks
from generative.music.theory import parse_meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from generative.music.jam import Turn
    from generative.music.jam.ports import InputPort, OutputPort
    from generative.music.piece import Piece

__all__ = ["JamSession", "Settings", "open_ports", "port_names", "settings_from"]


def port_names(backend: str | None = None) -> dict[str, list[str]]:
    """The machine's MIDI ports: "in" and "out" -> names.

    backend: a module of mido; None is `mido.backends.rtmidi`.

    Raises:
        PortError: the backend is missing or does not work on this machine.
    """
    inputs, outputs = ports.names(backend)
    return {"in": inputs, "out": outputs}


@contextmanager
def open_ports(
    input_name: str | None = None, output_name: str | None = None, backend: str | None = None
) -> Iterator[tuple[InputPort, OutputPort]]:
    """The keyboard and the synthesizer; both are closed at the end.

    Raises:
        PortError: a port cannot be found or opened.
    """
    with (
        ports.open_input(input_name, backend) as keyboard,
        ports.open_output(output_name, backend) as synthesizer,
    ):
        yield keyboard, synthesizer


def settings_from(*, meter: str | None = None, **fields: Any) -> Settings:
    """The settings with a meter in words, such as "3/4"; fields that are None keep their defaults.

    Raises:
        OptionError: the meter cannot be read.
        ValueError: a field out of range.
    """
    if meter is not None:
        fields["meter"] = parse_meter(meter)
    return Settings(**{name: value for name, value in fields.items() if value is not None})


class JamSession:
    """One session: its turns so far and their recording.

    Example:
        session = JamSession(Settings(beats_per_minute=100), sampling={"seed": 1})
        with open_ports("keyboard", "synth") as (keyboard, synthesizer):
            session.play(generative.load("chorales"), keyboard, synthesizer, rounds=4)
        session.save(Path("session.mid"))
    """

    def __init__(self, settings: Settings, sampling: Mapping[str, Any] | None = None) -> None:
        """Make a session.

        Args:
            settings: how turns are taken.
            sampling: see `GenerateOptions`. The seed is that of the first answer, and each later
                answer uses the next number; without a seed one is drawn.

        Raises:
            OptionError: a seed out of range.
        """
        self._settings = settings
        self._sampling = dict(sampling or {})
        self.seed = resolve_seed(self._sampling.pop("seed", None))
        self.recording = Recording()
        self.turns: list[dict[str, Any]] = []

    @staticmethod
    def warm_up(model: Any) -> None:
        """Compile everything that an answer needs, so that the first answer does not wait."""
        model.answer(clicks(bars=1, beats_per_minute=120.0, meter=(4, 4)), bars=1, seed=0)

    def play(
        self,
        model: Any,
        keyboard: InputPort,
        synthesizer: OutputPort,
        *,
        rounds: int | None = None,
        on_turn: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Listen and answer in turn.

        Args:
            model: a `MusicModel`.
            keyboard: the port that phrases come from.
            synthesizer: the port that answers are played on.
            rounds: the number of turns; None goes on until interrupted.
            on_turn: called with each turn's figures before its answer sounds.

        Raises:
            OSError: a port is gone.
            KeyboardInterrupt: a signal ended the session.
        """

        def answer(phrase: Piece) -> Piece:
            seed = self.seed + len(self.turns)
            bars = self._settings.bars
            return cast("Piece", model.answer(phrase, bars=bars, **self._sampling, seed=seed))

        def note(turn: Turn) -> None:
            self.turns.append(
                {
                    "heard": turn.phrase.note_count,
                    "bars": turn.phrase.bars,
                    "tempo": turn.phrase.tempos[0].beats_per_minute,
                    "answered": turn.answer.note_count,
                }
            )
            if on_turn:
                on_turn(self.turns[-1])

        jam(
            keyboard,
            synthesizer,
            answer,
            self._settings,
            rounds=rounds,
            recording=self.recording,
            on_turn=note,
        )

    def save(self, path: Path) -> Piece | None:
        """Write what was played to a MIDI file. Without a note nothing is written.

        Returns:
            The recorded piece; None without a note.
        """
        piece = self.recording.piece
        if not piece.note_count:
            return None
        midi.write(piece, path)
        return piece

    def to_json(self, output: Path | None = None) -> dict[str, Any]:
        """The session in plain values. output: the file that `save` was asked to write."""
        return {
            "seed": self.seed,
            "turns": self.turns,
            "file": str(output) if output is not None and self.turns else None,
        }
