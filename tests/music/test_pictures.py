"""What a piano roll and a page show is what the piece says, and nothing is fetched for it."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from importlib import resources
from typing import TYPE_CHECKING, Any

import matplotlib.image
import pytest
from hypothesis import given, settings

from generative.music import general_midi, midi, page, pianoroll, theory
from generative.music.piece import Meter, Piece, Track, beat_ticks
from tests.pieces import note, piece_of, pieces, real_files

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "link", "input", "br", "img"}


class Outline(HTMLParser):
    """The tags of a page, their attributes, and the text of each script; unclosed tags raise."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data
            if self.open[-1] == "script" and self.attributes[-1][1].get("id") == "score":
                self.texts["score"] = data


def score_in(text: str) -> dict[str, Any]:
    return dict(json.loads(Outline(text).texts["score"]))


def test_names_are_those_of_general_midi() -> None:
    assert len(general_midi.INSTRUMENTS) == 128
    names = {0: "Acoustic grand piano", 40: "Violin", 56: "Trumpet", 73: "Flute", 127: "Gunshot"}
    assert {p: general_midi.instrument_name(p, False) for p in names} == names
    drums = {36: "Bass drum", 38: "Snare", 42: "Closed hi-hat", 56: "Cowbell", 81: "Open triangle"}
    assert {key: general_midi.drum_name(key) for key in drums} == drums
    assert general_midi.drum_name(5) == "Drum 5"
    assert [theory.pitch_name(p) for p in (21, 60, 61, 127)] == ["A0", "C4", "C♯4", "G9"]


def test_tracks_are_called_so_that_they_can_be_told_apart() -> None:
    tracks = [
        Track(program=40, notes=()),
        Track(program=40, notes=()),
        Track(program=0, name=" Left  hand ", notes=()),
        Track(program=73, name="flute", notes=()),
        Track(is_drum=True, notes=()),
    ]
    assert general_midi.track_names(tracks) == [
        "Violin 1", "Violin 2", "Left hand (Acoustic grand piano)", "Flute", "Drums",
    ]  # fmt: skip


def test_beats_are_counted_from_each_bar() -> None:
    piece = Piece(
        ticks_per_beat=24,
        tracks=(Track(notes=(note(0, 24), note(96, 24))),),
        meters=(
            Meter(at_ticks=0, numerator=3, denominator=4),
            Meter(at_ticks=72, numerator=4, denominator=8),
        ),
    )
    assert piece.bar_lines == (0, 72, 120)
    assert beat_ticks(piece, piece.bar_lines) == [24, 48, 84, 96, 108]


@pytest.mark.parametrize(
    "piece",
    [
        Piece(ticks_per_beat=24),
        piece_of(note(0, 1, 127)),
        piece_of(note(0, 9_000, 0)),
        Piece(ticks_per_beat=24, tracks=(Track(is_drum=True, notes=(note(3, 1, 99),)),)),
        piece_of(note(24 * 4 * 1_000, 24)),
    ],
    ids=["empty", "highest", "long", "drum alone", "1001 bars"],
)
def test_a_roll_is_drawn_for_any_piece(piece: Piece, tmp_path: Path) -> None:
    pianoroll.draw(piece, tmp_path / "a.png")
    height, width = matplotlib.image.imread(tmp_path / "a.png").shape[:2]
    assert width == 1650
    assert height < 6_000


def test_loud_notes_are_darker_than_soft_ones(tmp_path: Path) -> None:
    pianoroll.draw(piece_of(note(0, 48, 62, 20), note(48, 48, 62, 127)), tmp_path / "a.png")
    image = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    colour = tuple(int(pianoroll.COLOURS[0][i : i + 2], 16) / 255 for i in (1, 3, 5))
    rows = (abs(image - colour).max(axis=2) < 0.01).sum(axis=1)
    row = image[len(rows) // 3 + rows[len(rows) // 3 :].argmax()]  # below the legend
    middle = row[len(row) // 4], row[3 * len(row) // 4]
    assert middle[0].mean() > middle[1].mean() + 0.2


@pytest.mark.parametrize("path", real_files("multitrack", at_most=2))
def test_the_page_holds_the_notes_of_the_piece(path: Path) -> None:
    piece = midi.read(path)
    text = page.page(piece, "a title")
    outline = Outline(text)
    score = score_in(text)
    clock = piece.tempo_map
    assert [track["drum"] for track in score["tracks"]] == [t.is_drum for t in piece.tracks]
    for shown, track in zip(score["tracks"], piece.tracks, strict=True):
        assert len(shown["notes"]) == len(track.notes)
        for (begin, end, pitch, velocity, *silent), sound in zip(
            shown["notes"], track.notes, strict=True
        ):
            assert (pitch, velocity) == (sound.pitch, sound.velocity)
            assert begin == pytest.approx(clock.seconds_at(sound.onset_ticks), abs=1e-4)
            assert end == pytest.approx(clock.seconds_at(sound.end_ticks), abs=1e-4)
            assert not silent or silent[0] > end
    assert len(score["bars"]) == piece.bars
    (link,) = (a["href"] for tag, a in outline.attributes if tag == "a")
    assert link is not None
    assert midi.read(base64.b64decode(link.removeprefix("data:audio/midi;base64,"))) == piece


def test_the_page_needs_no_network_and_says_what_it_is() -> None:
    text = page.page(piece_of(note(0, 24)), "tune")
    outline = Outline(text)
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]", text, re.IGNORECASE)
    for name in ("fetch(", "XMLHttpRequest", "import(", "WebSocket", "@import"):
        assert name not in text
    for _, attributes in outline.attributes:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    policy = next(a["content"] for _, a in outline.attributes if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert outline.attributes[0] == ("html", {"lang": "en"})
    assert outline.texts["title"] == outline.texts["h1"] == "tune"
    inputs = [a for tag, a in outline.attributes if tag == "input"]
    assert len([a for a in inputs if a.get("aria-label")]) + text.count("<label>") == len(inputs)


@pytest.mark.parametrize("name", ["$x^$", "\\frac $\\foo{$", "Bass\0\x1b[31m", "名前", "\udce9"])
def test_any_name_can_be_drawn(name: str, tmp_path: Path) -> None:
    piece = Piece(ticks_per_beat=24, tracks=(Track(name=name, notes=(note(0, 24),)),))
    pianoroll.draw(piece, tmp_path / "a.png")
    page.write(piece, tmp_path / "a\udce9.html")


def test_names_stay_text() -> None:
    evil = "</script><script>alert(1)</script>&\"'{{score}}\u2028"
    piece = Piece(ticks_per_beat=24, tracks=(Track(name=evil, notes=(note(0, 24),)),))
    text = page.page(piece, evil)
    assert text.count("<script") == 2
    assert Outline(text).texts["h1"] == evil
    assert score_in(text)["tracks"][0]["name"].startswith("</script><script>alert(1)")


@given(pieces)
@settings(max_examples=25)
def test_any_piece_makes_a_page(piece: Piece) -> None:
    score = score_in(page.page(piece.normalised(), "any"))
    assert sum(len(track["notes"]) for track in score["tracks"]) == piece.note_count


def test_the_template_is_filled_everywhere() -> None:
    template = resources.files("generative.music").joinpath("page.html").read_text(encoding="utf-8")
    assert set(page.PLACEHOLDER.findall(template)) == {
        "title",
        "facts",
        "filename",
        "midi",
        "score",
    }
    assert not page.PLACEHOLDER.search(page.page(piece_of(note(0, 24)), "tune"))
