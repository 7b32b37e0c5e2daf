"""Signed reports: valid for other people's tools, still PDF/A, and broken by any byte that changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pikepdf
import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers

from reports import signing
from reports.signing import PdfSignature, Wishes
from reports.stamping import HttpStamper, StampRefused
from reports.trust import Trust, read_certificates
from reports.validating import check
from tests.support import pdfa_rules
from tests.support.signers import NOW, asn1, in_memory, issued, revocations, self_signed, signer_of, small_report
from tests.support.tsa import Authority, Mood
from vault.core.errors import Modified, Unavailable, UsageError, VaultError

KEY, CERTIFICATE = self_signed()
OWN = Trust(roots=(asn1(CERTIFICATE),))


def sign(plain: Path, out: Path, signer: signing.PdfSigner | None = None) -> PdfSignature:
    return (signer or signer_of(KEY, CERTIFICATE)).sign(plain, out, report_id="rep-1", kind="evidence")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_report(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def signed(plain: Path) -> Path:
    out = plain.with_name("signed.pdf")
    sign(plain, out)
    return out


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with Authority.opened(tmp_path_factory.mktemp("tsa")) as opened:
        yield opened


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} IS NOT INSTALLED: nobody else's program has looked at the signature")
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def test_poppler_says_valid(signed: Path) -> None:
    said = run("pdfsig", str(signed))
    assert "Signature Validation: Signature is Valid." in said
    assert "Signature Type: ETSI.CAdES.detached" in said
    assert "Total document signed" in said


def test_qpdf_finds_no_fault(signed: Path) -> None:
    assert "No syntax or stream encoding errors" in run("qpdf", "--check", str(signed))


def test_it_verifies_against_the_certificate_and_no_other(signed: Path) -> None:
    found = check(signed, OWN)
    assert found.trusted
    assert found.fingerprint == asn1(CERTIFICATE).sha256
    assert found.claimed_at is not None
    assert abs(found.claimed_at - NOW) < timedelta(minutes=30)
    assert not check(signed).trusted
    assert not check(signed, Trust(roots=(asn1(self_signed()[1]),))).trusted


def test_the_owner_alone_reads_it(signed: Path) -> None:
    assert signed.stat().st_mode & 0o777 == 0o600


def test_signing_leaves_pdf_a_and_everything_in_it(plain: Path, signed: Path) -> None:
    assert pdfa_rules.faults(plain) == []
    assert pdfa_rules.faults(signed) == []
    assert signed.read_bytes().startswith(plain.read_bytes())
    with pikepdf.open(plain) as before, pikepdf.open(signed) as after:
        assert after.check_pdf_syntax() == []
        assert dict(after.docinfo) == dict(before.docinfo)
        assert after.Root.Metadata.read_bytes() == before.Root.Metadata.read_bytes()
        assert after.Root.StructTreeRoot.objgen == before.Root.StructTreeRoot.objgen
        assert [str(one.UF) for one in after.Root.AF] == ["note.txt", "population.jsonl"]
        assert after.attachments["note.txt"].get_file().read_bytes() == b"a note\n"
        assert after.attachments["population.jsonl"].get_file().read_bytes().count(b"\n") == 5
        with after.open_outline() as outline:
            assert [str(one.title) for one in outline.root] == ["Rows, part 1"]
        assert str(after.docinfo["/Title"]) == "Rows, part 1"
        assert "/CreationDate" in after.docinfo
        assert str(after.docinfo["/Author"])


def test_it_is_certified_and_forbids_changes(signed: Path) -> None:
    with pikepdf.open(signed) as pdf:
        (reference,) = pdf.Root.Perms.DocMDP.Reference
        assert reference.TransformParams.P == 1
        assert "/Version" not in pdf.Root
        (widget,) = pdf.pages[0].Annots
        assert [float(edge) for edge in widget.Rect] == [0, 0, 0, 0]
        assert pdf.Root.Perms.DocMDP.Reason == "evidence report rep-1, as it was made"


def changed(signed: Path, other: Path, place: int) -> Path:
    raw = bytearray(signed.read_bytes())
    raw[place] ^= 1
    other.write_bytes(raw)
    return other


def test_a_changed_byte_of_the_document_is_found(signed: Path, tmp_path: Path) -> None:
    raw = signed.read_bytes()
    gap, end = raw.rindex(b"/Contents <3"), len(raw)
    behind = raw.index(b">", gap)
    for place in (*range(0, gap, max(gap // 60, 1)), *range(behind, end, (end - behind) // 20)):
        with pytest.raises(Modified):
            check(changed(signed, tmp_path / "changed.pdf", place), OWN)


def test_a_changed_byte_of_the_signature_is_found(signed: Path, tmp_path: Path) -> None:
    """All of what frames it, which nobody signs, and many of the rest."""
    raw = signed.read_bytes()
    gap = raw.rindex(b"/Contents <3") + len("/Contents <")
    behind = raw.index(b">", gap)
    for place in (*(gap + 2 * at + 1 for at in range(60)), *range(gap, behind, (behind - gap) // 60)):
        assert not _accepted(changed(signed, tmp_path / "changed.pdf", place)), f"byte {place}"


def _accepted(path: Path) -> bool:
    """A changed certificate still has its own signature: it is another certificate."""
    try:
        found = check(path, OWN)
    except Modified:
        return False
    return found.trusted and found.fingerprint == asn1(CERTIFICATE).sha256


@pytest.mark.parametrize("more", [b"\n", b"%%EOF\n", b"x" * 5000], ids=["line", "end", "much"])
def test_appended_bytes_are_found(signed: Path, tmp_path: Path, more: bytes) -> None:
    other = tmp_path / "longer.pdf"
    other.write_bytes(signed.read_bytes() + more)
    with pytest.raises(Modified):
        check(other, OWN)


def test_cut_bytes_are_found(signed: Path, tmp_path: Path) -> None:
    other = tmp_path / "shorter.pdf"
    other.write_bytes(signed.read_bytes()[:-200])
    with pytest.raises(Modified):
        check(other, OWN)


def test_a_revision_behind_the_signature_is_found(signed: Path, tmp_path: Path) -> None:
    other = tmp_path / "revised.pdf"
    shutil.copy(signed, other)
    with other.open("r+b") as file:
        writer = IncrementalPdfFileWriter(file)
        writer.root["/PageMode"] = fields.pdf_name("/UseOutlines")
        writer.update_root()
        writer.write_in_place()
    with pytest.raises(Modified, match="appended or cut"):
        check(other, OWN)


def test_the_gap_holds_nothing_else(signed: Path, tmp_path: Path) -> None:
    raw, other = signed.read_bytes(), tmp_path / "filled.pdf"
    filling = raw.rindex(b"0" * 64 + b">")
    for change in (b"CAFE", b"00aa"):
        other.write_bytes(raw[:filling] + change + raw[filling + 4 :])
        with pytest.raises(Modified, match="something else"):
            check(other, OWN)


def test_a_signature_of_the_gap_in_other_letters_is_no_other_file(signed: Path, tmp_path: Path) -> None:
    raw, other = signed.read_bytes(), tmp_path / "small.pdf"
    gap = raw.rindex(b"/Contents <3")
    end = raw.index(b">", gap)
    other.write_bytes(raw[:gap] + raw[gap:end].replace(b"A", b"a", 1) + raw[end:])
    with pytest.raises(Modified):
        check(other, OWN)


def test_an_unsigned_file_and_none_at_all(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(Modified, match="no signature"):
        check(plain, OWN)
    (tmp_path / "text").write_text("no PDF")
    with pytest.raises(Modified, match="not a signed report"):
        check(tmp_path / "text", OWN)
    with pytest.raises(UsageError, match="cannot read"):
        check(tmp_path / "absent", OWN)


def test_an_approval_that_allows_changes_is_not_ours(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "approved.pdf"
    shutil.copy(plain, other)
    with other.open("r+b") as file:
        meta = signers.PdfSignatureMetadata(
            field_name="x", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
        )
        signers.PdfSigner(meta, in_memory(KEY, CERTIFICATE)).sign_pdf(IncrementalPdfFileWriter(file), in_place=True)
    with pytest.raises(Modified, match="forbids changes"):
        check(other, OWN)


def test_it_can_be_signed_in_place(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "report.pdf"
    shutil.copy(plain, other)
    made = sign(other, other)
    assert made.level == "PAdES-B-B"
    assert made.problems == ()
    assert made.stamped_at is None
    assert check(other, OWN).trusted


def test_what_cannot_be_signed_stays_what_it_is(tmp_path: Path) -> None:
    other = tmp_path / "text.pdf"
    other.write_bytes(b"%PDF-1.7\nno PDF\n")
    with pytest.raises(VaultError, match="cannot be signed"):
        sign(other, other)
    assert other.read_bytes() == b"%PDF-1.7\nno PDF\n"
    with pytest.raises(Unavailable):
        sign(tmp_path / "absent", tmp_path / "out.pdf")


def test_a_key_that_signs_wrongly_is_noticed(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="does not verify"):
        sign(plain, tmp_path / "out.pdf", signer_of(self_signed()[0], CERTIFICATE))


@pytest.mark.parametrize(("days", "what"), [(-4000, "expired at"), (30, "is not valid before")], ids=["old", "new"])
def test_a_certificate_out_of_its_time_is_told(plain: Path, tmp_path: Path, days: int, what: str) -> None:
    key, certificate = self_signed(NOW + timedelta(days=days))
    made = sign(plain, tmp_path / "out.pdf", signer_of(key, certificate))
    (problem,) = made.problems
    assert what in problem
    check(tmp_path / "out.pdf")


def test_facts_before_signing() -> None:
    facts = signer_of(KEY, CERTIFICATE, wishes=Wishes(HttpStamper("http://127.0.0.1:9/"))).describe()
    assert facts.subject.startswith("CN=Reasonvault reports ")
    assert facts.self_signed
    assert facts.level_wanted == "PAdES-B-T"
    assert facts.not_after == CERTIFICATE.not_valid_after_utc


def stamp_roots(authority: Authority) -> tuple[asn1_x509.Certificate, ...]:
    return read_certificates(authority.folder / "root.pem")


def test_a_time_stamp_is_in_it(plain: Path, tmp_path: Path, authority: Authority) -> None:
    trust = Trust(stamp_roots=stamp_roots(authority))
    out = tmp_path / "out.pdf"
    made = sign(plain, out, signer_of(KEY, CERTIFICATE, wishes=Wishes(HttpStamper(authority.url), trust)))
    assert (made.level, made.problems) == ("PAdES-B-T", ())
    found = check(out, trust)
    assert found.stamped_at == made.stamped_at is not None
    assert found.stamp_trusted
    assert found.authority is not None
    assert "Example tsa" in found.authority
    assert not check(out).stamp_trusted
    assert "Signature is Valid" in run("pdfsig", str(out))
    assert pdfa_rules.faults(out) == []


def test_another_authority_is_told(plain: Path, tmp_path: Path, authority: Authority) -> None:
    trust = Trust(stamp_roots=(asn1(CERTIFICATE),))
    wishes = Wishes(HttpStamper(authority.url), trust)
    made = sign(plain, tmp_path / "out.pdf", signer_of(KEY, CERTIFICATE, wishes=wishes))
    assert made.level == "PAdES-B-T"
    assert made.problems == ("The time-stamp's certificate does not lead to any of the roots in the settings.",)


@pytest.mark.parametrize("mood", ["down", "other nonce", "other digest", "refuses", "garbage", "huge", "redirects"])
def test_without_the_authority_it_is_signed_and_told(
    plain: Path, tmp_path: Path, authority: Authority, mood: Mood
) -> None:
    authority.mood = mood
    try:
        wishes = Wishes(HttpStamper(authority.url, timeout=2))
        made = sign(plain, tmp_path / "out.pdf", signer_of(KEY, CERTIFICATE, wishes=wishes))
    finally:
        authority.mood = "well"
    assert (made.level, made.stamped_at) == ("PAdES-B-B", None)
    (problem,) = made.problems
    assert problem.startswith("The signature has no time-stamp: ")
    assert "\n" not in problem
    assert check(tmp_path / "out.pdf", OWN).trusted


def test_nobody_at_the_authoritys_address(plain: Path, tmp_path: Path) -> None:
    wishes = Wishes(HttpStamper("http://127.0.0.1:9/tsr", timeout=2))
    made = sign(plain, tmp_path / "out.pdf", signer_of(KEY, CERTIFICATE, wishes=wishes))
    assert made.problems == ("The signature has no time-stamp: the authority cannot be reached (ConnectError).",)


class OnceOnly(HttpStamper):
    """Answers the trial, and then no more."""

    answered = 0

    def _asked(self, query: bytes) -> bytes:
        self.answered += 1
        if self.answered > 1:
            raise StampRefused("the authority went away")
        return super()._asked(query)


def test_an_authority_that_goes_away_leaves_no_half_signature(
    plain: Path, tmp_path: Path, authority: Authority
) -> None:
    out = tmp_path / "out.pdf"
    made = sign(plain, out, signer_of(KEY, CERTIFICATE, wishes=Wishes(OnceOnly(authority.url))))
    assert made.problems == ("The signature has no time-stamp: the authority went away.",)
    assert check(out, OWN).trusted
    assert out.read_bytes().count(b"/Type /Sig\n") == 1


@pytest.fixture(scope="module")
def chain(authority: Authority) -> tuple[tuple[object, ...], Trust]:
    """A signer below a root, and lists of what root and authority revoked: nothing."""
    root = issued("Company root", None, authority=True)
    key, certificate = issued("Company reports", root)
    tsa_root = x509.load_pem_x509_certificate(authority.root)
    tsa_key = serialization.load_pem_private_key((authority.folder / "root.key").read_bytes(), None)
    lists = (revocations(root), revocations((tsa_key, tsa_root)))  # type: ignore[arg-type]
    trust = Trust((asn1(root[1]),), stamp_roots(authority), crls=lists)
    return (key, certificate, root), trust


def test_revocation_information_is_in_it(
    plain: Path, tmp_path: Path, authority: Authority, chain: tuple[tuple[object, ...], Trust]
) -> None:
    (key, certificate, root), trust = chain
    out = tmp_path / "out.pdf"
    wishes = Wishes(HttpStamper(authority.url), trust, long_term=True)
    made = sign(plain, out, signer_of(key, certificate, root[1], wishes=wishes))  # type: ignore[arg-type, index]
    assert (made.level, made.problems) == ("PAdES-B-LT", ())
    with pikepdf.open(out) as pdf:
        assert len(pdf.Root.DSS.CRLs) == 2
        assert len(pdf.Root.DSS.Certs) >= 2
    assert check(out, trust).trusted
    assert pdfa_rules.faults(out) == []
    assert "Total document signed" in run("pdfsig", str(out))


def test_a_revoked_signer_is_told(
    plain: Path, tmp_path: Path, authority: Authority, chain: tuple[tuple[object, ...], Trust]
) -> None:
    (key, certificate, root), trust = chain
    revoked = revocations(root, certificate)  # type: ignore[arg-type]
    bad = Trust(trust.roots, trust.stamp_roots, crls=(revoked, trust.crls[1]))
    wishes = Wishes(HttpStamper(authority.url), bad, long_term=True)
    made = sign(plain, tmp_path / "out.pdf", signer_of(key, certificate, root[1], wishes=wishes))  # type: ignore[arg-type, index]
    assert made.level == "PAdES-B-T"
    first, second = made.problems
    assert first.startswith("The signature carries no revocation information: ")
    assert "revoked" in first
    assert second == "The signer's certificate does not lead to any of the roots in the settings."


def test_a_chain_without_revocation_information_is_told(
    plain: Path, tmp_path: Path, authority: Authority, chain: tuple[tuple[object, ...], Trust]
) -> None:
    (key, certificate, root), trust = chain
    wishes = Wishes(HttpStamper(authority.url), Trust(trust.roots, trust.stamp_roots), long_term=True)
    made = sign(plain, tmp_path / "out.pdf", signer_of(key, certificate, root[1], wishes=wishes))  # type: ignore[arg-type, index]
    (problem,) = made.problems
    assert made.level == "PAdES-B-T"
    assert problem.startswith("The signature carries no revocation information: ")


def test_a_full_disk_is_told(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(signing.os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        sign(plain, tmp_path / "out.pdf")
