"""Annexes: every row once, in order, in files that read on their own."""

from __future__ import annotations

import re
from pathlib import Path

import pikepdf
import pypdfium2
import pytest

from reports import annex
from reports.annex import Column
from reports.attach import Attachment
from reports.model import Identification
from tests.support import pdfa_rules, report_model
from vault.core.errors import Unavailable, UsageError

COLUMNS = (Column("seq", 1, "right"), Column("id", 5, mono=True), Column("what", 4))
HOSTILE = (
    "\u202e<script>alert(1)</script>{{ 7*7 }}",
    '</td></tr></table><img src="http://127.0.0.1:9/x"><a href="file:///etc/passwd">y</a>',
    "x" * 1_000_000,
)


@pytest.fixture(scope="module")
def who() -> Identification:
    return report_model.evidence(report_model.counted(10)).identification


@pytest.fixture(scope="module")
def made(who: Identification, tmp_path_factory: pytest.TempPathFactory) -> list[Attachment]:
    rows = [(str(number), f"rec-{number:05d}", "订单" if number % 9 == 0 else "order") for number in range(45)]
    rows[7] = HOSTILE
    folder = tmp_path_factory.mktemp("annex")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annex, "ROWS", 20)
        return annex.annex(
            "Refusals & gaps", COLUMNS, iter(rows), folder, name="refusals", language="zh-Hans", processes=2, who=who
        )


def text_of(one: Attachment) -> str:
    document = pypdfium2.PdfDocument(one.source)
    try:
        return "\n".join(page.get_textpage().get_text_range() for page in document)
    finally:
        document.close()


def test_parts_in_order(made: list[Attachment]) -> None:
    assert [one.name for one in made] == ["refusals-001.pdf", "refusals-002.pdf", "refusals-003.pdf"]
    assert [one.description for one in made][1] == "Refusals & gaps, rows 21 to 40"
    assert {one.media_type for one in made} == {"application/pdf"}


def test_every_row_once(made: list[Attachment]) -> None:
    ids = [found for one in made for found in re.findall(r"rec-\d{5}", text_of(one))]
    assert ids == [f"rec-{number:05d}" for number in range(45) if number != 7]


def test_each_part_is_a_whole_document(made: list[Attachment], who: Identification) -> None:
    for one in made:
        assert isinstance(one.source, Path)
        assert pdfa_rules.faults(one.source) == []
        assert who.report_id in text_of(one)
        with pikepdf.open(one.source) as pdf:
            assert str(pdf.Root.Lang) == "zh-Hans"
            assert str(pdf.docinfo["/Title"]).startswith("Refusals & gaps, 第 ")
            assert "/URI" not in pdf.Root.unparse().decode("latin-1")
            assert not any("/Annots" in page for page in pdf.pages)
        assert one.source.stat().st_mode & 0o777 == 0o600


def test_hostile_cells_are_text(made: list[Attachment]) -> None:
    text = "".join(text_of(made[0]).split())
    assert "\\u{202E}<script>alert(1)</script>{{7*7}}" in text
    assert '</td></tr></table><imgsrc="http://127.0.0.1:9/x">' in text
    assert "1,000,000个字符" in text


def test_the_same_bytes_again(who: Identification, tmp_path: Path) -> None:
    one, other = (
        annex.annex(
            "Rows", COLUMNS, [("1", "2", "3")], tmp_path / name, name="rows", language="en", processes=1, who=who
        )[0].source
        for name in ("one", "other")
        if (tmp_path / name).mkdir() is None
    )
    assert isinstance(one, Path)
    assert isinstance(other, Path)
    assert one.read_bytes() == other.read_bytes()


def test_no_rows_no_file(tmp_path: Path) -> None:
    assert annex.annex("Rows", COLUMNS, [], tmp_path, name="rows", language="en", processes=1) == []
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has not 3 cells"):
        annex.annex("Rows", COLUMNS, [("1", "2")], tmp_path, name="rows", language="en", processes=1)
    with pytest.raises(UsageError, match="no column"):
        annex.annex("Rows", [], [()], tmp_path, name="rows", language="en", processes=1)
    (tmp_path / "rows-001.pdf").touch()
    with pytest.raises(Unavailable, match="cannot write"):
        annex.annex("Rows", COLUMNS, [("1", "2", "3")], tmp_path, name="rows", language="en", processes=1)
