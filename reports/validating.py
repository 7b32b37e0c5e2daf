"""Verifying a signed report as a stranger would: signature, coverage, time-stamp, certificates.

    1. one signature field, and a signature in it
    2. the signature covers every byte of the file but the gap it stands in; nothing was appended
    3. the gap holds the signature in the one spelling we write, and zeros
    4. digest and signature hold; the certification allows no changes
    5. the time-stamp, where there is one, is over this signature
    6. the chains, at the time of the stamp, else at the claimed time of signing

1 to 5 raise; 6 is told. Not checked: what the pages say, and that the vault knows of the report. Bytes of the CMS
container that no signature covers (certificates of its chain) may differ; the digest in ``report.issued`` covers those
as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from asn1crypto.parser import peek
from cryptography.x509 import load_der_x509_certificate
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.validation import EmbeddedPdfSignature, validate_pdf_signature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel

from reports.trust import NOTHING, Trust
from vault.core.errors import Modified, UsageError, VaultError

_VERSION_1: Final = bytes.fromhex("020101")
_SHA256: Final = bytes.fromhex("300d06096086480165030402010500")


class Checked(NamedTuple):
    """A signature that holds.

    Attributes:
        fingerprint: SHA-256 of the signer's certificate.
        claimed_at: when the signer says it signed, UTC; nobody else says so.
        stamped_at: what the time-stamping authority says, UTC; None without a stamp.
        authority: subject of its certificate.
        trusted: whether the signer's chain leads to a root.
        stamp_trusted: whether the authority's does.
    """

    subject: str
    fingerprint: bytes
    claimed_at: datetime | None
    stamped_at: datetime | None
    authority: str | None
    trusted: bool
    stamp_trusted: bool


def check(path: Path, trust: Trust = NOTHING) -> Checked:
    """Verify a signed report; costs one pass over the file and holds no stream of it in memory.

    Raises:
        Modified: it has no signature of the kind that we make, or that does not hold for this file.
        UsageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file, _anything_is_damage():
            signature = _only_signature(file)
            _check_gap(file, signature)
            status = _status(signature, trust)
            _check_status(signature, status)
            return _told(status)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or type(error).__name__}") from None


def _only_signature(file: BinaryIO) -> EmbeddedPdfSignature:
    found: list[EmbeddedPdfSignature] = PdfFileReader(file).embedded_signatures
    if len(found) != 1:
        raise Modified("the file carries no signature" if not found else "the file carries more than one signature")
    return found[0]


def _check_gap(file: BinaryIO, signature: EmbeddedPdfSignature) -> None:
    """Steps 2 and 3. The gap is outside of what is signed: unchecked, it could hold anything after the signature."""
    ranges = [int(number) for number in signature.byte_range]
    size = file.seek(0, os.SEEK_END)
    if len(ranges) != 4 or ranges[0] != 0 or ranges[1] > ranges[2] or ranges[2] + ranges[3] != size:
        raise Modified("the signature does not cover the whole file: something was appended or cut")
    file.seek(ranges[1])
    gap, content = file.read(ranges[2] - ranges[1]), signature.pkcs7_content
    filling = content[peek(content) :]
    if gap != b"<" + content.hex().upper().encode() + b">" or any(filling) or not _framed(signature):
        raise Modified("the place of the signature in the file holds something else as well")


def _framed(signature: EmbeddedPdfSignature) -> bool:
    """Whether the fields that a CMS signature does not cover (RFC 5652, 5.1 and 5.3) are what we write."""
    signed, signer = signature.signed_data, signature.signer_info
    versions = signed["version"].dump() == signer["version"].dump() == _VERSION_1
    digests = [one.dump() for one in (*signed["digest_algorithms"], signer["digest_algorithm"])]
    return bool(versions) and digests == [_SHA256, _SHA256]


def _status(signature: EmbeddedPdfSignature, trust: Trust) -> PdfSignatureStatus:
    claimed = signature.self_reported_timestamp
    return validate_pdf_signature(
        signature,
        trust.signers(claimed),
        trust.stamps(claimed),
        key_usage_settings=KeyUsageConstraints(key_usage=set()),
    )


def _check_status(signature: EmbeddedPdfSignature, status: PdfSignatureStatus) -> None:
    """Steps 2, 4 and 5."""
    if status.coverage is not SignatureCoverageLevel.ENTIRE_FILE:
        raise Modified("the signature does not cover the whole file")
    if not status.intact or not status.valid:
        raise Modified("the file is not the one that was signed")
    if signature.docmdp_level is not MDPPerm.NO_CHANGES:
        raise Modified("the signature is not one that forbids changes")
    stamp = status.timestamp_validity
    if stamp is not None and not (stamp.intact and stamp.valid):
        raise Modified("the time-stamp is not one of this signature")


def _told(status: PdfSignatureStatus) -> Checked:
    stamp, claimed = status.timestamp_validity, status.signer_reported_dt
    return Checked(
        subject=_subject(status.signing_cert),
        fingerprint=status.signing_cert.sha256,
        claimed_at=None if claimed is None else claimed.astimezone(UTC),
        stamped_at=None if stamp is None else stamp.timestamp.astimezone(UTC),
        authority=None if stamp is None else _subject(stamp.signing_cert),
        trusted=status.trusted,
        stamp_trusted=stamp is not None and stamp.trusted,
    )


def _subject(certificate: Any) -> str:
    return load_der_x509_certificate(certificate.dump()).subject.rfc4514_string()


@contextmanager
def _anything_is_damage() -> Iterator[None]:
    """A file that somebody changed may break its reader in any way; each of them says the same about the file."""
    try:
        yield
    except (VaultError, OSError, MemoryError):
        raise
    except Exception as error:
        raise Modified(f"the file is not a signed report that can be read ({type(error).__name__})") from None
