"""What a chain of certificates is compared with: roots, and the revocation information that is at hand."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from asn1crypto import crl, pem, x509
from pyhanko_certvalidator import ValidationContext

from vault.core.errors import UsageError

# pyHanko logs whatever does not verify, with tracebacks: what it finds is ours to tell, in one line.
for _name in ("pyhanko", "pyhanko_certvalidator"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Trust:
    """Nothing is trusted that is not named here: never what the operating system trusts.

    Attributes:
        roots: of signers.
        stamp_roots: of time-stamping authorities.
        others: certificates between a signer and a root.
        crls: certificate revocation lists at hand.
        fetch: whether revocation lists and OCSP answers are fetched from where certificates say they are.
    """

    roots: tuple[x509.Certificate, ...] = ()
    stamp_roots: tuple[x509.Certificate, ...] = ()
    others: tuple[x509.Certificate, ...] = ()
    crls: tuple[crl.CertificateList, ...] = ()
    fetch: bool = False

    def context(self) -> ValidationContext:
        """For signing with revocation information: every certificate below a root must have some, and now."""
        return self._made("require", (*self.roots, *self.stamp_roots), None)

    def signers(self, moment: datetime | None = None) -> ValidationContext:
        """For verifying a signer's chain at a moment; None is now. With lists at hand, every certificate needs its
        issuer's; without, revocation is not checked."""
        return self._made("require" if self.crls else "soft-fail", self.roots, moment)

    def stamps(self, moment: datetime | None = None) -> ValidationContext:
        """For verifying a time-stamp's chain; its revocation is not checked."""
        return self._made("soft-fail", self.stamp_roots, moment)

    def _made(
        self, mode: Literal["soft-fail", "require"], roots: Iterable[x509.Certificate], moment: datetime | None
    ) -> ValidationContext:
        return ValidationContext(
            trust_roots=list(roots),
            other_certs=list(self.others),
            crls=list(self.crls),
            allow_fetching=self.fetch and mode == "require",
            revocation_mode=mode,
            moment=moment,
        )


NOTHING: Final = Trust()
"""Trusts nobody."""


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read every certificate in a PEM file, or the one in a DER file.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    return tuple(_parsed(path, x509.Certificate, "certificate"))


def read_revocations(path: Path) -> tuple[crl.CertificateList, ...]:
    """Read every certificate revocation list in a PEM file, or the one in a DER file; raises alike."""
    return tuple(_parsed(path, crl.CertificateList, "certificate revocation list"))


def _parsed(path: Path, kind: type, what: str) -> list[object]:
    try:
        raw = path.read_bytes()
        ders = [der for _, _, der in pem.unarmor(raw, multiple=True)] if pem.detect(raw) else [raw]
        found = [kind.load(der, strict=True) for der in ders]  # type: ignore[attr-defined]
        for one in found:
            one.native  # noqa: B018 - parsed only when asked
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise UsageError(f"{path} holds no {what} that can be read") from None
    return found
