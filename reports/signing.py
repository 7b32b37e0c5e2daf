"""Signing a finished report: one PAdES signature over the whole file, appended to it, and nothing else changed.

    1. copy the file to its new name; only the copy is written to
    2. ask the time-stamping authority for a trial token, where there is one: it is known to answer, and how long its
       tokens are
    3. append the signature field, invisible and without an appearance, so that the file stays PDF/A; certify that
       nothing may be changed any more (DocMDP 1)
    4. hash the file in place, sign, have the signature stamped, write it into the gap left for it, fsync
    5. read the file again as a stranger would, and verify it: an HSM or a disk may have failed

Whatever cannot be had (time, a chain) takes the file back to where it was before 3, is told as a problem, and the next
lower level is tried. The lowest, B-B, needs nothing but the key. Metadata stays as it was: pyHanko would write other
values into the XMP packet than into the information dictionary.

From: ETSI EN 319 142-1 (PAdES baseline), ISO 32000-1 12.8, ISO 19005-3 6.1.12, 6.3.3 and 6.4.3.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

from asn1crypto import x509
from cryptography.x509 import load_der_x509_certificate
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
from pyhanko.sign.signers.pdf_signer import DSSContentSettings, SigDSSPlacementPreference
from pyhanko.sign.timestamps import TimeStamper
from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError

from reports.stamping import StampRefused
from reports.trust import NOTHING, Trust
from reports.validating import Checked, check
from vault.core.errors import Modified, Unavailable, VaultError

FIELD: Final = "Signature"
LEVELS: Final = ("PAdES-B-B", "PAdES-B-T", "PAdES-B-LT")
_DIGEST = "sha256"
_CHUNK = 1 << 20


class PdfSignature(NamedTuple):
    """What a file was signed with.

    Attributes:
        level: one of ``LEVELS``: signed; with a time-stamp; with the revocation information of its chains as well.
        subject: of the certificate, RFC 4514.
        fingerprint: SHA-256 of the certificate.
        not_after: end of its validity, UTC.
        stamped_at: what the authority says, UTC; None where the signature carries no time-stamp.
        problems: what is not as it was wanted, one sentence each; empty where nothing is.
    """

    level: str
    subject: str
    fingerprint: bytes
    not_after: datetime
    stamped_at: datetime | None
    problems: tuple[str, ...]


class SignerFacts(NamedTuple):
    """What can be printed about a signature before it is made; ``level_wanted`` may not be reached."""

    subject: str
    fingerprint: bytes
    not_before: datetime
    not_after: datetime
    level_wanted: str
    self_signed: bool


class PdfSigner(Protocol):
    """Signs finished reports."""

    def describe(self) -> SignerFacts:
        """Say who will sign, without using the key."""
        ...

    def sign(self, made: Path, out: Path, *, report_id: str, kind: str) -> PdfSignature:
        """Write ``made`` to ``out``, signed; they may be the same file, which then is signed in place.

        Raises:
            Unavailable: the key is out of reach, or a disk is full. A file that was signed in place is what it was.
            VaultError: the file cannot be signed, or what was made does not verify.
        """
        ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a signature should carry beside itself.

    Attributes:
        stamper: asks an RFC 3161 authority; None for no time-stamp.
        trust: what chains are compared with.
        long_term: whether revocation information goes into the file (B-LT); needs the stamper and roots.
    """

    stamper: TimeStamper | None = None
    trust: Trust = NOTHING
    long_term: bool = False


class PyHankoSigner:
    """Signs with pyHanko and whatever holds the key: memory, or a PKCS#11 token."""

    def __init__(self, signer: signers.Signer, wishes: Wishes, now: Callable[[], datetime]) -> None:
        """``signer`` has a certificate; ``now`` returns aware times and is asked only about validity."""
        assert signer.signing_cert is not None
        self._signer = signer
        self._wishes = wishes
        self._now = now

    def describe(self) -> SignerFacts:
        return described(self._signer.signing_cert, LEVELS[_wanted(self._wishes)])

    def sign(self, made: Path, out: Path, *, report_id: str, kind: str) -> PdfSignature:
        facts = self.describe()
        problems = list(validity(facts, self._now()))
        if made != out:
            _copy(made, out)
        reason = f"{kind} report {report_id}, as it was made"
        try:
            wishes = self._appended(out, reason, problems)
        except OSError as error:
            raise Unavailable(f"cannot sign {out}: {error.strerror or type(error).__name__}") from None
        found = self._verified(out, wishes, problems)
        return PdfSignature(
            level=LEVELS[_wanted(wishes)],
            subject=facts.subject,
            fingerprint=facts.fingerprint,
            not_after=facts.not_after,
            stamped_at=found.stamped_at,
            problems=tuple(problems),
        )

    def _appended(self, out: Path, reason: str, problems: list[str]) -> Wishes:
        """Append the best signature that can be had; return what it carries."""
        wishes = self._wishes
        with out.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            done = False
            try:
                while not done:
                    file.truncate(size)
                    try:
                        self._append(file, wishes, reason)
                        done = True
                    except StampRefused as error:
                        problems.append(f"The signature has no time-stamp: {error}.")
                        wishes = Wishes(trust=wishes.trust)
                    except _Unproved as error:
                        problems.append(f"The signature carries no revocation information: {error}.")
                        wishes = Wishes(wishes.stamper, wishes.trust)
            finally:
                if not done:
                    file.truncate(size)
            file.flush()
            os.fsync(file.fileno())
        return wishes

    def _append(self, file: BinaryIO, wishes: Wishes, reason: str) -> None:
        if wishes.stamper is not None:
            asyncio.run(wishes.stamper.async_dummy_response(_DIGEST))
        meta = signers.PdfSignatureMetadata(
            field_name=FIELD,
            md_algorithm=_DIGEST,
            reason=reason,
            subfilter=SigSeedSubFilter.PADES,
            certify=True,
            docmdp_permissions=MDPPerm.NO_CHANGES,
            embed_validation_info=wishes.long_term,
            validation_context=wishes.trust.context() if wishes.long_term else None,
            signer_key_usage=set(),
            # In the signature's own revision: it then covers the whole file, and nothing is added after it.
            dss_settings=DSSContentSettings(
                include_vri=False, placement=SigDSSPlacementPreference.TOGETHER_WITH_SIGNATURE
            ),
        )
        signer = _Signing(meta, self._signer, timestamper=wishes.stamper, new_field_spec=SigFieldSpec(FIELD))
        try:
            file.seek(0)
            signer.sign_pdf(_Appending(file), in_place=True, chunk_size=_CHUNK)
        except (PathBuildingError, PathValidationError) as error:
            raise _Unproved(_because(error)) from None
        except SigningError as error:
            if wishes.long_term:
                raise _Unproved(_because(error)) from None
            raise VaultError(f"the report cannot be signed: {error}") from None
        except PdfError as error:
            raise VaultError(f"the report cannot be signed, it is no PDF that can be read: {error}") from None

    def _verified(self, out: Path, wishes: Wishes, problems: list[str]) -> Checked:
        """Step 5. What is broken raises; what is not trusted is a problem."""
        try:
            found = check(out, self._wishes.trust)
        except Modified as error:
            raise VaultError(f"the signature just made does not verify: {error}") from None
        if found.fingerprint != self.describe().fingerprint:
            raise VaultError("the signature just made does not verify: it is another certificate's")
        if self._wishes.trust.roots and not found.trusted:
            problems.append("The signer's certificate does not lead to any of the roots in the settings.")
        if wishes.stamper is not None and self._wishes.trust.stamp_roots and not found.stamp_trusted:
            problems.append("The time-stamp's certificate does not lead to any of the roots in the settings.")
        return found


class _Unproved(Exception):
    """A chain that should go into the file with its revocation information does not verify."""


class _Signing(signers.PdfSigner):
    """Declares the PAdES extension only: for P-256, pyHanko would call the file PDF 2.0, and PDF/A-3 is 1.7."""

    def register_extensions(self, pdf_out: Any, *, md_algorithm: str) -> None:
        pdf_out.register_extension(ESIC_EXTENSION_1)


class _Appending(IncrementalPdfFileWriter):
    """Leaves the document's metadata alone."""

    def _update_meta(self) -> None:
        return None


def described(certificate: x509.Certificate, level: str) -> SignerFacts:
    """Say what a certificate says."""
    found = load_der_x509_certificate(certificate.dump())
    return SignerFacts(
        subject=found.subject.rfc4514_string(),
        fingerprint=certificate.sha256,
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        level_wanted=level,
        self_signed=certificate.self_signed in ("yes", "maybe"),
    )


def validity(facts: SignerFacts, now: datetime) -> Sequence[str]:
    """Return what is wrong with a certificate's dates, one sentence each."""
    if now > facts.not_after:
        return [f"The signer's certificate expired at {facts.not_after:%Y-%m-%d %H:%M:%S} UTC."]
    if now < facts.not_before:
        return [f"The signer's certificate is not valid before {facts.not_before:%Y-%m-%d %H:%M:%S} UTC."]
    return []


def _wanted(wishes: Wishes) -> int:
    return 2 if wishes.long_term else 1 if wishes.stamper is not None else 0


def _because(error: BaseException) -> str:
    words = str(error.__cause__ or error)
    return " ".join(words.split()).rstrip(".")


def _copy(made: Path, out: Path) -> None:
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with made.open("rb") as source, open(descriptor, "wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
    except OSError as error:
        raise Unavailable(f"cannot write {out}: {error.strerror}") from None
