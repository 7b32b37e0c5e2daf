"""The rules of PDF/A must find what they are there to find: each is tried on a file that breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from tests.support import pdfa_rules
from tests.support.signers import small_report

Harm = Callable[[pikepdf.Pdf], object]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_report(tmp_path_factory.mktemp("plain"))


def font(pdf: pikepdf.Pdf) -> pikepdf.Object:
    return next(iter(pdf.pages[0].Resources.Font.values()))


def add_content(pdf: pikepdf.Pdf, content: bytes) -> None:
    pdf.pages[0].contents_add(content)


def annotation(pdf: pikepdf.Pdf, **more: object) -> None:
    made = {"Type": Name.Annot, "Subtype": Name.Text, "Rect": [0, 0, 9, 9], "F": 4, **more}
    pdf.pages[0].Annots = Array([pdf.make_indirect(Dictionary(**made))])


def xmp(pdf: pikepdf.Pdf, old: bytes, new: bytes) -> None:
    said = pdf.Root.Metadata.read_bytes()
    assert old in said
    pdf.Root.Metadata.write(said.replace(old, new))


def first_file(pdf: pikepdf.Pdf) -> pikepdf.Object:
    return pdf.Root.Names.EmbeddedFiles.Names[1]


def profile(pdf: pikepdf.Pdf) -> None:
    intent = pdf.Root.OutputIntents[0].DestOutputProfile
    intent.write(intent.read_bytes().replace(b"RGB ", b"CMYK", 1))


def drop_text(pdf: pikepdf.Pdf) -> None:
    for one in pdf.pages[0].Resources.Font.values():
        lines = one.ToUnicode.read_bytes().splitlines(keepends=True)
        one.ToUnicode.write(b"".join(line for line in lines if not re.match(rb"<[0-9a-f]{4}> <", line, re.IGNORECASE)))


def widen(pdf: pikepdf.Pdf) -> None:
    font(pdf).DescendantFonts[0].W = Array([0, 60_000, 1])


CASES: dict[str, tuple[Harm, str]] = {
    "JavaScript": (
        lambda pdf: pdf.Root.__setattr__("OpenAction", Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))),
        "6.5.1",
    ),
    "launch": (lambda pdf: annotation(pdf, A=Dictionary(Type=Name.Action, S=Name.Launch)), "6.5.1"),
    "additional actions": (lambda pdf: pdf.Root.__setattr__("AA", Dictionary()), "6.5.2"),
    "no output intent": (lambda pdf: pdf.Root.__delattr__("OutputIntents"), "6.2.3"),
    "another profile": (profile, "6.2.3"),
    "CMYK": (lambda pdf: add_content(pdf, b"0 0 0 1 k"), "6.2.4.3"),
    "an operator of its own": (lambda pdf: add_content(pdf, b"1 0 0 frob"), "6.2.2"),
    "a resource that is not there": (lambda pdf: add_content(pdf, b"/Nowhere gs"), "6.2.2"),
    "q without Q": (lambda pdf: add_content(pdf, b"q"), "6.2.2"),
    "a transfer function": (
        lambda pdf: pdf.pages[0].Resources.__setattr__("ExtGState", Dictionary(X=Dictionary(TR=Name.Identity))),
        "6.2.5",
    ),
    "a font that is not embedded": (
        lambda pdf: [
            one.DescendantFonts[0].__delattr__("FontDescriptor") for one in pdf.pages[0].Resources.Font.values()
        ],
        "6.2.11.4.1",
    ),
    "no text for a glyph": (drop_text, "6.2.11.7.2"),
    "other widths": (widen, "6.2.11.5"),
    "an annotation that shows nothing": (annotation, "6.3.3"),
    "a hidden annotation": (lambda pdf: annotation(pdf, F=6), "6.3.2"),
    "a sound": (lambda pdf: annotation(pdf, Subtype=Name.Sound), "6.3.1"),
    "appearances to be made": (
        lambda pdf: pdf.Root.__setattr__("AcroForm", Dictionary(Fields=[], NeedAppearances=True)),
        "6.4.1",
    ),
    "XFA": (lambda pdf: pdf.Root.__setattr__("AcroForm", Dictionary(Fields=[], XFA=String("x"))), "6.4.2"),
    "no metadata": (lambda pdf: pdf.Root.__delattr__("Metadata"), "6.6.2.1"),
    "metadata of PDF/A-2": (lambda pdf: xmp(pdf, b'pdfaid:part="3"', b'pdfaid:part="2"'), "6.6.4"),
    "broken metadata": (lambda pdf: xmp(pdf, b"</rdf:RDF>", b""), "6.6.2.1"),
    "another title": (lambda pdf: pdf.docinfo.__setitem__("/Title", "another"), "6.6.3"),
    "a file without a type": (lambda pdf: first_file(pdf).EF.F.__delattr__("Subtype"), "6.8"),
    "a file without a relation": (lambda pdf: first_file(pdf).__delattr__("AFRelationship"), "6.8"),
    "a file that is not associated": (lambda pdf: pdf.Root.__setattr__("AF", Array()), "6.8"),
    "no structure": (lambda pdf: pdf.Root.__delattr__("StructTreeRoot"), "6.7"),
    "no language": (lambda pdf: pdf.Root.__delattr__("Lang"), "6.7.4"),
    "other permissions": (lambda pdf: pdf.Root.__setattr__("Perms", Dictionary(Other=Dictionary())), "6.1.12"),
    "version 2.0": (lambda pdf: pdf.Root.__setattr__("Version", Name("/2.0")), "6.1.2"),
    "a long string": (lambda pdf: pdf.Root.__setattr__("X", String("x" * 40_000)), "6.1.13"),
    "a long name": (lambda pdf: pdf.Root.__setattr__("X", Name("/" + "x" * 200)), "6.1.13"),
    "requirements": (lambda pdf: pdf.Root.__setattr__("Requirements", Array()), "6.11"),
}


def test_a_report_of_ours_breaks_none(plain: Path) -> None:
    assert pdfa_rules.faults(plain) == []


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_what_breaks_a_rule_is_found(plain: Path, tmp_path: Path, case: str) -> None:
    harm, clause = CASES[case]
    other = tmp_path / "harmed.pdf"
    with pikepdf.open(plain) as pdf:
        harm(pdf)
        pdf.save(other, object_stream_mode=pikepdf.ObjectStreamMode.disable, fix_metadata_version=False)
    assert any(fault.startswith(f"{clause} ") for fault in pdfa_rules.faults(other)), pdfa_rules.faults(other)


def test_an_encrypted_file_is_found(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "encrypted.pdf"
    with pikepdf.open(plain) as pdf:
        pdf.save(other, encryption=pikepdf.Encryption(owner="x", user=""))
    assert any("encrypted" in fault for fault in pdfa_rules.faults(other))


@pytest.mark.parametrize(
    ("harm", "clause"),
    [
        (lambda raw: raw.replace(b"%PDF-1.7", b"%PDF-2.0", 1), "6.1.2"),
        (lambda raw: raw + b"more", "6.1.3"),
    ],
    ids=["header", "end"],
)
def test_bytes_around_the_document(plain: Path, tmp_path: Path, harm: Callable[[bytes], bytes], clause: str) -> None:
    other = tmp_path / "harmed.pdf"
    other.write_bytes(harm(plain.read_bytes()))
    assert any(fault.startswith(f"{clause} ") for fault in pdfa_rules.faults(other))
