"""Issuing, step by step and broken at each; an operator's branding and templates, well meant or not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pikepdf
import pytest
from click.testing import CliRunner, Result

from reports import issue as issuing
from reports.attach import JSON_LINES, Attachment, describe
from reports.issue import Desk, Issued, issue
from reports.kind import Collected, Kind, Pages, Wanted
from reports.layout import lay_out
from reports.look import Brand, Look
from reports.model import Period
from reports.phrase import phrase
from reports.render import RenderedReport
from service import desk
from service.commands import report_making
from tests.support.breaking import Killed
from tests.support.kind_models import Outside, Signer, who
from tests.unit.reports.test_render import text_of
from vault.context import Vault
from vault.core.canonical import b64
from vault.core.errors import Denied, Unavailable, UsageError, VaultError
from vault.events import Event, Told
from vault.ledgers import Ledger

VAULT = cast(Vault, SimpleNamespace(actor=SimpleNamespace(name="p-1")))
SECTIONS = [(1, "limits", phrase("What is not proved"))]
EARLIER = b"an earlier report"


def pages(template: str = "base.html.j2", **changes: Any) -> Pages:
    return Pages(template, who(**changes), phrase("Integrity report"), SECTIONS, {})


@dataclass
class World:
    """A kind, a signer and a vault that write down what is asked of them; ``breaks`` names the step that raises."""

    breaks: str = ""
    error: BaseException = field(default_factory=Killed)
    verdict: str = "OK"
    found: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    text: bytes = b"signed"
    done: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    printed: list[Pages] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    level: str = "PAdES-B-B"

    def step(self, name: str) -> None:
        self.done.append(name)
        if name == self.breaks:
            raise self.error

    def require(self, _vault: Vault, _ledger: Ledger | None) -> None:
        self.step("require")

    def collect(self, vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Any) -> Collected:
        self.step("collect")
        return Collected(pages(), [], {"count": 3}, self.tell, verdict=self.verdict, problems=self.found)

    def tell(self, make: Callable[[dict[str, object]], Event]) -> Told:
        self.step("tell")
        self.events.append(make({"grant": "g-1"}))
        return Told(41, cast(Any, None))

    def assured(self, _vault: Vault) -> Outside:
        self.step("assured")
        return Outside(problems=self.outside)

    def describe(self) -> Signer:
        return Signer()

    def sign(self, made: Path, out: Path, *, report_id: str, kind: str) -> World:
        self.step("sign")
        assert (made.read_bytes(), kind, report_id[:3]) == (b"plain", "integrity", "in-")
        out.write_bytes(self.text)
        return replace(self, problems=self.unsigned)

    def render(self, printed: Pages, _attachments: Any, out: Path, _look: Look) -> RenderedReport:
        self.step("render")
        self.printed.append(printed)
        out.write_bytes(b"plain")
        return RenderedReport(out, hashlib.sha256(b"plain").digest(), 7)

    def put(self, made: Path, out: Path) -> None:
        self.step("put")
        os.replace(made, out)

    def issue(self, out: Path, *, signed: bool = True, purpose: str = "a test") -> Issued:
        kind = Kind("integrity", "in", phrase("Integrity report"), self.require, self.collect)
        wanted = Wanted(None, cast(Any, None), Period(None, None, "UTC"), purpose, facts={"order": "o-1"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(issuing, "render", self.render)
            patch.setattr(issuing, "put", self.put)
            return issue(VAULT, kind, wanted, out, desk=Desk(Look(), cast(Any, self) if signed else None, self.assured))


STEPS = ["require", "assured", "collect", "render", "sign", "tell", "put"]


def test_the_event_is_of_the_signed_file_and_comes_before_it_is_handed_out(tmp_path: Path) -> None:
    world, out = World(), tmp_path / "made.pdf"
    made = world.issue(out)
    assert world.done == STEPS
    (event,) = world.events
    assert event.facts == {
        "report": made.report,
        "kind": "integrity",
        "sha256": b64(hashlib.sha256(out.read_bytes()).digest()),
        "recipient": "p-1",
        "order": "o-1",
        "count": 3,
        "grant": "g-1",
    }
    assert (out.read_bytes(), made.event, made.pages, made.size, made.signed) == (b"signed", 41, 7, 6, "PAdES-B-B")
    assert made.sha256 == hashlib.sha256(b"signed").digest()
    assert list(tmp_path.iterdir()) == [out]


def test_unsigned_the_event_is_of_the_file_as_it_was_made(tmp_path: Path) -> None:
    world = World()
    made = world.issue(tmp_path / "made.pdf", signed=False)
    assert world.done == [step for step in STEPS if step != "sign"]
    assert (made.signed, world.events[0].facts["sha256"]) == ("", b64(hashlib.sha256(b"plain").digest()))
    assert world.printed[0].who.signer is None


@pytest.mark.parametrize(
    "error", [Killed(), Denied("no"), Unavailable("the token is gone")], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("step", STEPS)
def test_whatever_breaks_there_is_no_half_file_and_none_without_its_event(
    tmp_path: Path, step: str, error: BaseException
) -> None:
    out = tmp_path / "made.pdf"
    out.write_bytes(EARLIER)
    world = World(step, error)
    with pytest.raises(type(error)):
        world.issue(out)
    assert world.done == STEPS[: STEPS.index(step) + 1]
    assert out.read_bytes() == EARLIER
    assert list(tmp_path.iterdir()) == [out]
    assert len(world.events) == (step == "put")


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    for step in ("collect", "render", "put"):
        with pytest.raises(Unavailable, match="cannot write the report: No space left"):
            World(step, OSError(28, "No space left on device")).issue(tmp_path / "made.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_no_report_can_take_is_found_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere" / "made.pdf"):
        world = World()
        with pytest.raises(UsageError):
            world.issue(place)
        assert world.done == ["require"]
    world = World()
    with pytest.raises(UsageError, match="--purpose"):
        world.issue(tmp_path / "made.pdf", purpose=" \n")
    assert world.done == []


def test_two_that_take_the_same_place_each_have_a_whole_file_and_an_event(tmp_path: Path) -> None:
    out, second = tmp_path / "made.pdf", World(text=b"second")

    class First(World):
        def put(self, made: Path, to: Path) -> None:
            second.issue(out)
            assert out.read_bytes() == b"second"
            super().put(made, to)

    first = First()
    made = first.issue(out)
    assert (out.read_bytes(), len(first.events), len(second.events)) == (b"signed", 1, 1)
    assert first.events[0].facts["sha256"] != second.events[0].facts["sha256"]
    assert made.sha256 == hashlib.sha256(out.read_bytes()).digest()
    assert list(tmp_path.iterdir()) == [out]


ENDS: dict[str, tuple[World, int, tuple[str, ...], tuple[str, ...]]] = {
    "well": (World(), 0, (), ()),
    "found": (World(found=("one",)), 7, ("one",), ("one",)),
    "outside": (World(outside=("TSA down",)), 7, ("TSA down",), ("TSA down",)),
    "signer": (World(unsigned=("expired",)), 7, ("expired",), ()),
    "all": (World(found=("a",), outside=("b",), unsigned=("c",)), 7, ("a", "b", "c"), ("a", "b")),
    "modified": (World(verdict="MODIFIED", outside=("b",)), 10, ("b",), ("b",)),
    "missing": (World(verdict="MISSING"), 11, (), ()),
    "forked": (World(verdict="FORKED", unsigned=("c",)), 12, ("c",), ()),
}


@pytest.mark.parametrize("name", ENDS)
def test_problems_stand_on_page_one_in_the_answer_and_in_the_exit_code(tmp_path: Path, name: str) -> None:
    """What went wrong while signing is known only after the pages were made: the terminal says it."""
    told, code, said, printed = ENDS[name]
    world = replace(told, done=[], events=[], printed=[])
    made = world.issue(tmp_path / "made.pdf")
    assert made.problems == said
    assert world.printed[0].who.problems == printed
    answer = _ended(made)
    assert answer.exit_code == code
    for problem in said:
        assert f"\n  {problem}\n" in answer.stdout
    document = json.loads(_ended(made, "--json").stdout)
    assert (document["problems"], document["signed"]) == (list(said), "PAdES-B-B")


def _ended(made: Issued, *arguments: str) -> Result:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.terminal.wants_json", lambda: as_json)
            report_making.tell(made)

    return CliRunner().invoke(command, list(arguments))


def look_of(folder: Path, settings: str | bytes, language: str | None = None) -> Look:
    folder.mkdir(exist_ok=True)
    (folder / "branding.toml").write_bytes(settings.encode() if isinstance(settings, str) else settings)
    return desk._look(folder, language)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("accent = 'red'", "#rrggbb"),
        ("accent = '#24466e; } body { background: url(http://127.0.0.1:9) '", "#rrggbb"),
        ('accent = "#24466e\\n"', "#rrggbb"),
        ("accent = '#２４４６６ｅ'", "#rrggbb"),
        ("logo = '../logo.svg'", "logo names a file"),
        ("logo = '/etc/passwd'", "logo names a file"),
        ("logo = 'sub/logo.svg'", "logo names a file"),
        ("logo = '..'", "logo names a file"),
        ("logo = ''", "logo names a file"),
        ('logo = "logo\\u0000.svg"', "logo names a file"),
        ("logo = 'huge.svg'", "logo names a file of at most 1 MiB"),
        ("logo = 'logo.gif'", ".png or .svg"),
        ("logo = 7", "branding.toml"),
        ("colour = '#24466e'", "branding.toml"),
        ("name = ", "branding.toml"),
        (b"name = '\xff'", "branding.toml"),
        ("language = 'xx'", "reports speak en and zh-Hans"),
    ],
)
def test_branding_that_cannot_be_is_refused_with_its_file(tmp_path: Path, settings: str | bytes, says: str) -> None:
    folder = tmp_path / "branding"
    (folder / "sub").mkdir(parents=True)
    for name in ("../logo.svg", "sub/logo.svg", "logo.gif"):
        (folder / name).write_text("<svg/>")
    with (folder / "huge.svg").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(UsageError) as caught:
        look_of(folder, settings)
    assert says in str(caught.value)
    assert "language" in str(settings) or str(folder / "branding.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_report_speaks_another_language(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        look_of(tmp_path / "branding", "", "tlh" * 100)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 100
    assert look_of(tmp_path / "branding", "language = 'zh-Hans'", "en").language == "en"


HOSTILE = '</p><script>alert(1)</script><img src="http://127.0.0.1:9/x.png">{{ 7*7 }}\u202e\u2066'


def test_a_brand_is_text(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    brand = Brand(name=HOSTILE, line=HOSTILE, note="W" * 1_000_000, logo=tmp_path / "logo.svg")
    made, _ = lay_out(pages(problems=(HOSTILE,)), [], Look(brand=brand))
    (tmp_path / "made.pdf").write_bytes(made)
    with pikepdf.open(tmp_path / "made.pdf") as opened:
        printed = text_of(opened)
    assert printed.count("<script>alert(1)</script>") == 3, "line, problem and purpose"
    assert "\u202e" not in printed
    assert "(1,000,000 characters)" in printed


READS: dict[str, str] = {
    "a class": "{{ ''.__class__ }}",
    "a class by its name": "{{ ''['__class__'] }}",
    "a class by a filter": "{{ ('' | attr('__class__')).mro() }}",
    "a format string": "{{ '{0.__class__}'.format('') }}",
    "a module": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "what a function knows": "{{ t.__self__._catalog }}",
    "what a generator knows": "{{ who.problems.__iter__().gi_frame }}",
    "a file": "{% include '/etc/passwd' %}",
    "a file above": "{% include '../../../etc/passwd' %}",
    "an attachment's path": "{{ files[0].attachment.source.read_text() }}",
    "a logo's path": "{{ brand.logo.read_text() }}",
    "a logo's neighbours": "{{ (brand.logo.parent.parent / 'keys').iterdir() | list }}",
    "a range without end": "{% for one in range(1000000000) %}{% endfor %}",
    "a change": "{% set _ = sections.append(1) %}",
    "what is not there": "{{ nowhere }}",
    "no template": "{% for %}",
}


@pytest.mark.parametrize("name", READS)
def test_a_template_sees_the_report_and_nothing_else(tmp_path: Path, name: str) -> None:
    logo, population = tmp_path / "logo.svg", tmp_path / "population"
    for path in (logo, population):
        path.write_text("a secret")
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "mine.html.j2").write_text(f"<p>\n</p>\n{READS[name]}\n")
    files = [describe(Attachment("population.jsonl", "all", JSON_LINES, population))]
    with pytest.raises(VaultError) as caught:
        lay_out(pages("mine.html.j2"), files, Look(brand=Brand(logo=logo), templates=folder))
    message = str(caught.value)
    assert "mine.html.j2, line 3" in message
    assert "\n" not in message
    assert "secret" not in message


FETCHES: dict[str, str] = {
    "a picture": '<img alt="x" src="file:///etc/passwd">',
    "a picture of another host": '<img alt="x" src="http://127.0.0.1:9/x.png">',
    "a style sheet": '<link rel="stylesheet" href="file:///etc/passwd">',
    "a style sheet's style sheet": "<style>@import url(http://127.0.0.1:9/x.css);</style>",
    "a font": '<style>@font-face { font-family: x; src: url("http://127.0.0.1:9/x.ttf") } p { font-family: x }</style>',
    "a background": '<p style="background: url(file:///etc/passwd)">x</p>',
    "an attachment": '<link rel="attachment" href="file:///etc/passwd">',
    "an anchor's attachment": '<a rel="attachment" href="file:///etc/passwd">x</a>',
    "an object": '<object data="file:///etc/passwd"></object>',
    "a drawing's picture": '<svg width="9" height="9"><image href="file:///etc/passwd" width="9" height="9"/></svg>',
    "data": '<img alt="x" src="data:image/svg+xml,x">',
}


@pytest.mark.parametrize("name", FETCHES)
def test_a_template_fetches_nothing_and_its_line_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.html.j2").write_text(f'<html lang="en"><title>x</title>\n<body>{FETCHES[name]}</body></html>')
    with pytest.raises(VaultError, match=r"^template mine\.html\.j2, line 2: .* asks for something"):
        lay_out(pages("mine.html.j2"), [], Look(templates=tmp_path))


@pytest.mark.parametrize(
    "drawing",
    [
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd" width="9" height="9"/></svg>',
        '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg"><style>@import url(http://127.0.0.1:9/x.css);</style></svg>',
        "no drawing",
    ],
    ids=["a picture", "an entity", "a style sheet", "nothing"],
)
def test_a_logo_fetches_nothing(tmp_path: Path, drawing: str) -> None:
    (tmp_path / "logo.svg").write_text(drawing)
    (tmp_path / "mine.html.j2").write_text('<html lang="en"><title>x</title><img alt="x" src="report:brand/logo">')
    with pytest.raises(VaultError, match=r"asks for something|cannot be drawn"):
        lay_out(pages("mine.html.j2"), [], Look(brand=Brand(logo=tmp_path / "logo.svg"), templates=tmp_path))
