"""The certificate's pages: two of them, nothing cut off, states in words, what is outstanding in plain sight."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pikepdf

from reports.attach import Attachment, describe
from reports.certificate import render_certificate
from retention.certified import Position
from tests.support import certificate_model
from tests.unit.reports.test_render import text_of

REPORT = "cd-2f6a1c1e-7a52-4b3d-9a55-1d2f3b4c5d6e"


def printed(folder: Path, **changes: Any) -> tuple[str, int]:
    """Return the text of a certificate and its number of pages."""
    facts = certificate_model.facts(**changes)
    files = [describe(Attachment("manifest.txt", "the manifest", "text/plain", b"reasonvault manifest/1\n"))]
    made = render_certificate(facts, REPORT, folder / "certificate.pdf", files)
    with pikepdf.open(made.path) as pdf:
        xmp = pdf.Root.Metadata.read_bytes().decode()
        assert re.search(r'pdfaid:part="3"', xmp)
        assert re.search(r'pdfaid:conformance="U"', xmp)
        assert pdf.Root.MarkInfo.Marked
        assert set(pdf.attachments) == {"manifest.txt"}
        return text_of(pdf), made.pages


def squeezed(text: str) -> str:
    """Return a text without what line breaks make of it."""
    return re.sub(r"\s", "", text)


def test_two_pages_say_all_of_it(tmp_path: Path) -> None:
    text, pages = printed(tmp_path)
    facts = certificate_model.facts()
    assert pages == 2
    whole = squeezed(text)
    for said in (
        REPORT,
        facts.disposal,
        facts.ledger,
        facts.manifest,
        facts.selection,
        facts.before.root,
        "4,812entriesofledgercn-hangzhou-payments",
        "中国人民银行令〔2007〕第2号",
        "unverified",
        "2036-10-0116:00:00",
        "1–1407,1409–3000,3002–4815",
        "2plannedentrieswereheldandleftbehind.",
        "1entrywastobekeptlongerbythen.",
        "cooling-offof72hoursended",
        "61epochkeysofthedeadgroupsweretried:noneopens",
        "NotarDr.Müller,杭州Tresor4",
        "2036-11-11T03:15:44Z,ortherestartofeveryprocess",
        "evidencereportev-2f6a1c1e-7a52-4b3d-9a55-1d2f3b4c5d6e",
        "verified",
        squeezed(facts.approvers[0].statement),
        facts.approvers[1].person,
        "self-asserted",
    ):
        assert said in whole, said
    for key in facts.keys:
        assert squeezed(key.key) in whole
    assert "Early" not in text


def test_an_early_one_says_so_on_page_one_with_its_reason(tmp_path: Path) -> None:
    text, _ = printed(tmp_path, early=True, kind="early", reason="发错了: sent by mistake", due="")
    first = text.split("\n")[0]
    assert "Early, by order." in first
    assert "发错了: sent by mistake" in first
    assert "last of them was computed" not in text
    text, _ = printed(tmp_path, early=True, kind="early", reason="", due="")
    assert "the reason is not kept any more" in text


def test_what_is_not_as_it_should_be_is_said(tmp_path: Path) -> None:
    facts = certificate_model.facts()
    keys = (replace(facts.keys[0], state="unreachable"), replace(facts.keys[1], destroyed_at="", state="enabled"))
    approvers = (replace(facts.approvers[0], counts=False, registered=0), facts.approvers[1])
    text, _ = printed(tmp_path, keys=keys, approvers=approvers)
    for said in ("unreachable", "not destroyed", "enabled", "1 of 2", "does not verify", "not registered before"):
        assert said in text, said


def test_a_run_that_went_on_behind_the_proof_does_not_say_that_nothing_was_tried(tmp_path: Path) -> None:
    text, _ = printed(tmp_path, epochs_tried=0)
    assert "0epochkeys" not in squeezed(text)
    assert squeezed("Every epoch key of the dead groups was tried and none opened") in squeezed(text)
    assert squeezed("their number is not told") in squeezed(text)


def test_long_lists_stay_short_and_say_where_the_rest_is(tmp_path: Path) -> None:
    facts = certificate_model.facts()
    text, pages = printed(
        tmp_path,
        rules=facts.rules * 20,
        keys=facts.keys * 40,
        copies=facts.copies * 30,
        ranges=tuple((at, at) for at in range(1, 2000, 2)),
        exception_ranges=(),
    )
    assert pages <= 4
    for said in (
        "and 72 more in the attachment facts.json",
        "and 110 more",
        "more in destroyed.txt",
        "in exceptions.txt",
    ):
        assert said in text, said


def test_a_disposal_that_destroyed_nothing_certifies_that(tmp_path: Path) -> None:
    text, pages = printed(
        tmp_path,
        destroyed=0,
        deleted=0,
        selection="",
        exceptions="",
        ranges=(),
        keys=(),
        rules=(),
        copies=(),
        destroyed_at="",
        destroying_at="",
        epochs_tried=0,
        before=Position(0, ""),
    )
    assert pages <= 2
    assert "nothing was destroyed" in text
    assert "Nothing was left to destroy" in text


def test_whose_word_the_times_are(tmp_path: Path) -> None:
    seen = {"outside_at": "2036-11-07T03:15:50Z", "outside_by": ("witness.example/w1", "CN=Example tsa")}
    text, _ = printed(tmp_path, **seen, outside_independent=True)
    said = squeezed(text)
    assert squeezed("is vouched for by witness.example/w1, CN=Example tsa, independent of this vault.") in said
    assert "self-asserted" not in said
    text, _ = printed(tmp_path, **seen)
    said = squeezed(text)
    assert "self-asserted" in said
    assert squeezed("is the vault's own and proves nothing against it") in said
