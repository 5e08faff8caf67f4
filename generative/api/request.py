"""The options of a generation request, declared once for each medium.

Signatures of the models, their docstrings and the command line refer to these tables. This module
must not import MIDI libraries, so that a text can be generated without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from generative.api.generation import GenerateOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generative.api.styles import Style

RequestT = TypeVar("RequestT", bound=Mapping[str, Any])


class TextRequest(TypedDict, total=False):
    """What is asked of a text. None, like leaving an option out, switches it off.

    max_new_tokens: the largest number of tokens to generate [200].
    stop: strings that end a sequence and are left out of it.
    pattern: a regular expression that the generated text matches in full, as
        `re.fullmatch(pattern, text, re.ASCII)` does; lookaround and backreferences are refused.
    choices: strings of which the generated text is one.
    forbid: strings that the generated text does not contain.
    style: the name of a style, a blend "bach:0.6,folk:0.4", or a table name -> weight.
    """

    max_new_tokens: int | None
    stop: str | Sequence[str] | None
    pattern: str | None
    choices: Sequence[str] | None
    forbid: str | Sequence[str] | None
    style: Style | None


class VoiceRequest(TypedDict, total=False):
    """What is asked of new voices, with or without a melody. None switches an option off.

    key: the pitches to keep to: "D minor", "Eb major" (see `limits.MODES`), notes "C D E G A",
        pitch classes 0..11, or the key of the given music (`keys.detect_key`; if it is minor, with
        both sixths and both sevenths), which is "primer" for `generate` and "melody" for
        `harmonise`.
    pitch_range: "C3-C6" or the lowest and highest MIDI pitch; C4 is 60. Neither `key` nor
        `pitch_range` restricts drums.
    instruments: "piano,bass,drums", or General MIDI names and numbers from 0. Each of them plays
        in a track of its own, and no other instruments do.
    voice_leading: whether voices that move at one step avoid parallel fifths, octaves and unisons
        wherever another pitch may sound (see `MusicLimits`).
    max_new_tokens: the largest number of tokens to generate.
    """

    key: str | Iterable[int] | None
    pitch_range: str | tuple[int, int] | None
    instruments: str | Sequence[str | int] | None
    voice_leading: bool | None
    max_new_tokens: int | None


class MusicRequest(VoiceRequest, total=False):
    """What is asked of new music, beside the options of `VoiceRequest`.

    primer_bars: the bars of the primer to continue, "5-8", "-8", "5-" or (5, 8), counted from 1;
        new music begins at the bar line after them.
    bars: the exact number of new bars. Of a few draws one is taken that the model ends there with
        little resistance.
    seconds: the duration of the new music in seconds; notes that would last longer are cut.
    meter: the meter throughout, "3/4" or (3, 4); a primer has to end in it.
    tempo: quarter notes a minute throughout, 16..320; after a primer from the next bar on.
    density: notes a quarter note, all instruments together, kept all along (see `MusicLimits`);
        or "sparse", "normal", "dense", which are 0.5, 1 and 1.5 times the density of the primer,
        or without a primer of what the model generates by default.
    style: the name of a style, a blend "bach:0.6,folk:0.4", or a table name -> weight.

    `max_new_tokens` alone lets the model end the piece where it likes. Without `bars`, `seconds`
    and `max_new_tokens` a piece has 8 bars, and a performance lasts 20 seconds.
    """

    primer_bars: str | tuple[int, int] | None
    bars: int | None
    seconds: float | None
    meter: str | tuple[int, int] | None
    tempo: int | None
    density: str | float | None
    style: Style | None


class HarmoniseRequest(VoiceRequest, total=False):
    """What is asked of voices around a melody, beside the options of `VoiceRequest`.

    The key, the range and the instruments are those of the new voices; without `instruments` the
    model decides how many voices there are and what plays them. `voice_leading` keeps the new
    voices from parallels with each other and with the melody.

    melody_track: the number of the track that holds the melody, counted from 1 among the tracks
        with notes [1]; the other tracks are left out.
    """

    melody_track: int | None


class TextOptions(TextRequest, GenerateOptions, total=False):
    """All options of `TextModel.generate` and `TextModel.stream`."""


class MusicOptions(MusicRequest, GenerateOptions, total=False):
    """All options of `MusicModel.generate`."""


class HarmoniseOptions(HarmoniseRequest, GenerateOptions, total=False):
    """All options of `MusicModel.harmonise`."""


def split_request(
    request_type: type[RequestT], options: Mapping[str, Any]
) -> tuple[RequestT, GenerateOptions]:
    """The options that `request_type` declares and that are not None, and all other options."""
    names = request_type.__annotations__
    request = {k: v for k, v in options.items() if k in names and v is not None}
    others = {k: v for k, v in options.items() if k not in names}
    return cast("RequestT", request), cast("GenerateOptions", others)
