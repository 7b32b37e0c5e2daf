"""The finished file: what a validator, a reader and an attacker would look at."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import msgspec
import pikepdf
import pytest

from reports import layout, wording
from reports.attach import Attachment, Described, attach, describe, write_with_streams
from reports.captions import SECTIONS
from reports.evidence import render_evidence
from reports.fonts import FontBook
from reports.model import EvidenceReport, Fault
from reports.render import RenderedReport
from reports.statistics import PopulationCount
from tests.support import report_model
from vault.core.errors import Unavailable, UsageError, VaultError

HOSTILE = (
    "{{ 7*7 }}</style></title><script>alert(1)</script>\u202egnp.exe\u2066\0\x1b[31m"
    '<img src="http://127.0.0.1:9/x.png"><a href="http://127.0.0.1:9">click</a>'
    "<style>body{display:none}@import url(file:///etc/passwd)</style>{% raw %}"
)


def make(folder: Path, model: EvidenceReport, records: int = 40, **more: Any) -> RenderedReport:
    population = report_model.write_population(folder / "population", report_model.rows(records))
    findings = folder / "findings"
    findings.write_bytes(b'{"test":"amount_missing","seq":1}\n')
    return render_evidence(model, folder / "report.pdf", population=population, findings=findings, **more)


@pytest.fixture(scope="module")
def model() -> EvidenceReport:
    return report_model.evidence(report_model.counted(400))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def report(folder: Path, model: EvidenceReport, complaints: list[str]) -> Iterator[RenderedReport]:
    keeper = logging.Handler(logging.WARNING)
    keeper.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("weasyprint").addHandler(keeper)
    yield make(folder, model, 400)
    logging.getLogger("weasyprint").removeHandler(keeper)


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What WeasyPrint warned of while the shared report was made."""
    return []


@pytest.fixture
def pdf(report: RenderedReport) -> Iterator[pikepdf.Pdf]:
    with pikepdf.open(report.path) as opened:
        yield opened


def text_of(pdf: pikepdf.Pdf) -> str:
    """Everything the pages draw as text, through each font's own map to Unicode."""
    out = []
    for page in pdf.pages:
        maps = {name: _to_unicode(font) for name, font in page.Resources.Font.items()}
        current: dict[int, str] = {}
        for operands, operator in pikepdf.parse_content_stream(page):
            if str(operator) == "Tf":
                current = maps[str(operands[0])]
            elif str(operator) in ("Tj", "TJ"):
                for part in operands[0] if str(operator) == "TJ" else operands:
                    if isinstance(part, pikepdf.String):
                        raw = bytes(part)
                        glyphs = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
                        assert 0 not in glyphs, "a missing glyph is drawn as nothing"
                        out.append("".join(current[glyph] for glyph in glyphs))
        out.append("\n")
    return "".join(out)


def _to_unicode(font: pikepdf.Object) -> dict[int, str]:
    pairs = re.findall(rb"<([0-9a-fA-F]{4})> <([0-9a-fA-F]+)>\s*\n", font.ToUnicode.read_bytes())
    return {int(glyph, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for glyph, text in pairs}


def test_it_says_pdf_a_3u_and_keeps_to_it(pdf: pikepdf.Pdf) -> None:
    xmp = pdf.Root.Metadata.read_bytes().decode()
    assert re.search(r'pdfaid:part="3"', xmp)
    assert re.search(r'pdfaid:conformance="U"', xmp)
    assert not pdf.is_encrypted
    (intent,) = pdf.Root.OutputIntents
    assert intent.S == "/GTS_PDFA1"
    assert intent.DestOutputProfile.N == 3
    assert len(pdf.trailer.ID) == 2
    for forbidden in ("/JavaScript", "/Launch", "/GoToR", "/URI", "/OpenAction", "/AA"):
        assert not any(
            isinstance(item, pikepdf.Dictionary) and (forbidden in item or item.get("/S") == forbidden)
            for item in pdf.objects
        )


def test_every_font_is_embedded_as_a_subset_with_its_map_to_unicode(pdf: pikepdf.Pdf) -> None:
    fonts = [item for item in pdf.objects if isinstance(item, pikepdf.Dictionary) and item.get("/Subtype") == "/Type0"]
    assert len(fonts) >= 5
    for font in fonts:
        (inside,) = font.DescendantFonts
        assert re.match(r"/[A-Z]{6}\+Report-", str(font.BaseFont))
        assert "/FontFile2" in inside.FontDescriptor or "/FontFile3" in inside.FontDescriptor
        assert "/ToUnicode" in font


def test_it_is_tagged_titled_and_can_be_walked(pdf: pikepdf.Pdf, model: EvidenceReport) -> None:
    assert pdf.Root.MarkInfo.Marked
    assert str(pdf.Root.Lang) == "en"
    assert pdf.Root.ViewerPreferences.DisplayDocTitle
    kinds = {
        str(item.S)
        for item in pdf.objects
        if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == "/StructElem"
    }
    assert {"/H1", "/H2", "/H3", "/P", "/Table", "/TH", "/TD", "/Figure", "/L"} <= kinds
    figures = [item for item in pdf.objects if isinstance(item, pikepdf.Dictionary) and item.get("/S") == "/Figure"]
    assert len(figures) == 6
    assert all(len(str(figure.Alt)) > 20 for figure in figures)
    with pdf.open_outline() as outline:
        titles = [item.title for item in outline.root]
    assert titles == ["Contents", *(f"{no} {title}" for no, _, title in SECTIONS)]
    assert str(pdf.docinfo.Title) == f"Evidence report {model.identification.report_id}, {report_model.LEDGER}"
    assert str(pdf.docinfo.Author) == "local:li.na"


def test_each_attachment_stands_once_and_is_what_the_page_says(
    pdf: pikepdf.Pdf, folder: Path, model: EvidenceReport
) -> None:
    names = [str(file.UF) for file in pdf.Root.AF]
    assert names == ["checkpoint.txt", "findings.jsonl", "population.jsonl", "verifier-key.txt"]
    assert len({file.objgen for file in pdf.Root.AF}) == len(names)
    tree = pdf.Root.Names.EmbeddedFiles.Names
    assert [str(name) for name in list(tree)[::2]] == names
    assert [file.objgen for file in list(tree)[1::2]] == [file.objgen for file in pdf.Root.AF]
    printed = text_of(pdf)
    for file in pdf.Root.AF:
        assert file.AFRelationship == "/Data"
        stream = file.EF.F
        media_type = "application/jsonl" if str(file.UF).endswith(".jsonl") else "text/plain"
        assert str(stream.Subtype) == f"/{media_type}"
        assert stream.Params.ModDate
        content = stream.read_bytes()
        assert stream.Params.Size == len(content)
        assert hashlib.sha256(content).hexdigest() in printed
    assert pdf.attachments["population.jsonl"].get_file().read_bytes() == (folder / "population").read_bytes()
    assert pdf.attachments["checkpoint.txt"].get_file().read_bytes().decode() == model.integrity.checkpoint.note


def test_the_file_is_whole_private_and_has_the_digest_it_was_given(report: RenderedReport) -> None:
    with pikepdf.open(report.path) as opened:
        assert opened.check_pdf_syntax() == []
        assert len(opened.pages) == report.pages
    content = report.path.read_bytes()
    assert hashlib.sha256(content).digest() == report.sha256
    assert content.count(b"%%EOF") == 1, "one revision"
    assert stat.S_IMODE(report.path.stat().st_mode) == 0o600
    assert not list(report.path.parent.glob(".*"))


def test_page_one_says_what_must_be_said_first(pdf: pikepdf.Pdf, model: EvidenceReport) -> None:
    first, *rest = text_of(pdf).split("\n")
    for words in (
        "Break-glass, no second person.",
        "Completeness, at least",
        "local:li.na",
        "no opinion",
        report_model.LEDGER,
    ):
        assert words in first
    assert model.integrity.checkpoint.root.hex() in first
    for number, page in enumerate([first, *rest[:-1]], start=1):
        assert f"Page {number} of {len(pdf.pages)}" in page
        assert f"Evidence report {model.identification.report_id}" in page


def test_the_same_model_makes_the_same_bytes(
    folder: Path, model: EvidenceReport, report: RenderedReport, tmp_path: Path
) -> None:
    again = make(tmp_path, model, 400)
    assert again.sha256 == report.sha256


def test_layout_warns_of_nothing(report: RenderedReport, complaints: list[str]) -> None:
    assert report.pages
    assert complaints == []


def test_hostile_text_is_printed_and_does_nothing(tmp_path: Path, model: EvidenceReport) -> None:
    rows = tuple(replace(row, record_id=HOSTILE[:128], model=HOSTILE) for row in model.low_confidence.rows)
    slices = tuple(replace(row, label=HOSTILE + str(index)) for index, row in enumerate(model.decisions.models))
    hostile = replace(
        model,
        identification=replace(
            model.identification,
            ledger=HOSTILE,
            purpose="W" * 1_000_000,
            tenant=HOSTILE,
            region=HOSTILE,
            made_by="local:" + HOSTILE,
        ),
        decisions=replace(model.decisions, models=slices),
        low_confidence=replace(model.low_confidence, rows=rows),
    )
    made = make(tmp_path, hostile)
    with pikepdf.open(made.path) as opened:
        printed = text_of(opened)
        links = [note for page in opened.pages for note in page.get("/Annots", []) if "/A" in note]
    assert not links
    assert "<script>alert(1)</script>" in printed
    assert "{{ 7*7 }}" in printed
    assert "\\u{202E}gnp.exe\\u{2066}\\u{0000}\\u{001B}[31m" in printed
    assert "\u202e" not in printed
    before = HOSTILE[: HOSTILE.index("\u202e")]
    assert f"; region {before}\\u{{202E}}gnp.exe" in printed, "no filter in the template: escaped all the same"
    assert "(1,000,000 characters)" in printed
    assert made.pages <= 16


def test_nothing_found_is_said_in_words(tmp_path: Path) -> None:
    count = PopulationCount(zone=ZoneInfo("UTC"), opened=True)
    empty = report_model.evidence(count)
    empty = replace(
        empty,
        population=replace(
            empty.population,
            in_period=0,
            opened=0,
            conflicts=0,
            refusals=type(empty.population.refusals)(),
            sequences=type(empty.population.sequences)(),
        ),
        exceptions=count.checks(),
        integrity=replace(empty.integrity, sample=replace(empty.integrity.sample, items=(), population=0)),
    )
    made = make(tmp_path, empty, 0)
    with pikepdf.open(made.path) as opened:
        printed = text_of(opened)
    assert "The period holds no records: none of these figures exists." in printed
    assert "Low-confidence executions without agreeing review: none." in printed
    assert printed.count("none") >= len(empty.exceptions) + 8
    assert "not tested" in printed, "the reading guide explains the words"
    assert made.pages <= 12


def test_a_test_that_was_not_made_is_not_called_none(tmp_path: Path) -> None:
    count = report_model.counted(50, opened=False)
    extra = Attachment("notes.csv", "Working notes", "text/csv", b"a,b\n1,2\n")
    made = make(tmp_path, report_model.evidence(count), attachments=(extra,))
    with pikepdf.open(made.path) as opened:
        printed = text_of(opened)
        assert opened.attachments["notes.csv"].get_file().read_bytes() == b"a,b\n1,2\n"
    assert printed.count("records were not opened for this report") == 4, "two tests and two strata"
    assert "The count is an upper bound." in printed


def test_a_period_of_bypasses_has_no_model_score_or_latency(tmp_path: Path) -> None:
    count = PopulationCount(zone=ZoneInfo("UTC"), opened=True)
    (row,) = report_model.rows(1)
    count.add(msgspec.structs.replace(row, api="non_ai_bypass", model=None, score=None, ai_ms=None, flags=0))
    made = make(tmp_path, report_model.evidence(count))
    with pikepdf.open(made.path) as opened:
        printed = text_of(opened)
    for words in ("No record names a model.", "No record of the period has a usable score.", "carries a latency."):
        assert words in printed


def test_faults_reach_page_one(tmp_path: Path, model: EvidenceReport) -> None:
    bad = replace(
        model,
        integrity=replace(
            model.integrity,
            verdicts={"OK": 398, "MODIFIED": 2, "FORKED": 1},
            faults=tuple(Fault("MODIFIED", seq, "the envelope differs from its digest") for seq in range(500)),
        ),
        population=replace(model.population, tree_size=999),
    )
    made = make(tmp_path, bad)
    with pikepdf.open(made.path) as opened:
        first, *rest = text_of(opened).split("\n")
    assert "FORKED" in first
    assert "do not add up to the size of the tree" in "".join(rest)
    assert made.pages <= 14, "five hundred faults do not become five hundred rows"


def test_pages_do_not_follow_the_population(tmp_path: Path, report: RenderedReport) -> None:
    large = make(tmp_path, report_model.evidence(report_model.counted(100_000)))
    assert large.pages <= report.pages + 2 <= 15


def test_no_two_attachments_of_one_name(tmp_path: Path, model: EvidenceReport) -> None:
    twin = Attachment("population.jsonl", "Another one", "text/csv", b"")
    with pytest.raises(UsageError, match="share a name"):
        make(tmp_path, model, attachments=(twin,))


def test_a_failed_report_leaves_the_old_one(tmp_path: Path, model: EvidenceReport) -> None:
    (tmp_path / "report.pdf").write_text("the old one")
    with pytest.raises(UsageError, match=r"cannot read population.jsonl"):
        render_evidence(model, tmp_path / "report.pdf", population=tmp_path / "absent", findings=tmp_path / "absent")
    assert (tmp_path / "report.pdf").read_text() == "the old one"
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot write the report"):
        render_evidence(model, tmp_path / "nowhere" / "r.pdf", population=tmp_path / "file", findings=tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable, match="cannot write the report"):
        render_evidence(model, tmp_path / "folder", population=tmp_path / "file", findings=tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "report.pdf"]


def test_an_attachment_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "population"
    source.write_bytes(b"one\n")
    file = describe(Attachment("population.jsonl", "", "application/jsonl", source))
    pdf = _with_placeholder(file)
    source.write_bytes(b"two\n")
    with pytest.raises(UsageError, match="changed while"):
        write_with_streams(pdf, [file], io.BytesIO())


@pytest.mark.parametrize("content", [b"", b"x", b"endstream endobj\n" * 50_000])
def test_a_streamed_attachment_comes_back(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "population"
    source.write_bytes(content)
    file = describe(Attachment("population.jsonl", "", "application/jsonl", source))
    out = io.BytesIO()
    write_with_streams(_with_placeholder(file), [file], out)
    with pikepdf.open(out) as opened:
        assert opened.check_pdf_syntax() == []
        assert opened.attachments["population.jsonl"].get_file().read_bytes() == content


def test_a_pdf_without_a_classic_table_is_refused() -> None:
    with pytest.raises(UsageError, match="cross-reference"):
        write_with_streams(b"%PDF-1.7\nnothing", [], io.BytesIO())


def _with_placeholder(file: Described) -> bytes:
    out = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        attach(pdf, [file], report_model.START)
        pdf.save(out, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return out.getvalue()


def test_a_url_that_is_not_ours_stops_the_report(model: EvidenceReport) -> None:
    for url in ("http://127.0.0.1:9/", "file:///etc/passwd", "data:text/plain,x", "report:font/../x"):
        with pytest.raises(VaultError, match="asks for something"):
            layout.to_pdf(f'<html lang="en"><title>x</title><img alt="x" src="{url}">', "", layout.Served({}), "ev-1")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("one\ntwo {{ absent }}", "template broken.j2, line 2: 'absent' is undefined"),
        (
            "one\n\n{% for %}",
            "template broken.j2, line 3: Expected an expression, got 'end of statement block'",
        ),
        ("{{ 'x' | n }}", "template broken.j2, line 1: ValueError"),
        ("\n{% include 'gone.j2' %}", "template gone.j2 is missing (broken.j2, line 2, asks for it)"),
    ],
)
def test_a_broken_template_is_named_with_its_line(template: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "broken.j2").write_text(template)
    environment = layout.environment(wording.Wording(FontBook()))
    environment.loader = jinja2.FileSystemLoader(tmp_path)
    with pytest.raises(VaultError) as caught, layout.template_errors():
        environment.get_template("broken.j2").render()
    assert str(caught.value) == says
    assert "\n" not in str(caught.value)


def test_population_lines_are_leaves_and_facets_only(folder: Path, report: RenderedReport) -> None:
    lines = (folder / "population").read_text(encoding="utf-8").splitlines()
    assert all(set(json.loads(line)) == {"leaf", "facets"} for line in lines)
