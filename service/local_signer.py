"""The vault's own certificate for signing reports: self-signed, ECDSA on P-256, ten years.

Below ``<home>/signer/``, n counting renewals from 1:

    0001.pem    the certificate; every one that ever signed stays, so that old reports can be verified
    0001.key    the private key, 32 bytes wrapped by the tenant's key; only the newest is kept

A P-256 key is 32 bytes, which is what a key provider wraps: the key is in clear in memory only, while a report is
signed. The certificate is written last and makes its number count; a crash before it leaves a key that nobody uses.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vault.core.errors import Modified, Unavailable, UsageError
from vault.keys import disk
from vault.keys.provider import KeyProvider, KeyRef

_LIFE: Final = timedelta(days=3652)
_CONTEXT: Final = b"reasonvault/report-signer/1\0"
_MOST_BYTES: Final = 64 * 1024
_SCALAR: Final = 32


class LocalSigner(NamedTuple):
    """A certificate of the vault's own.

    Attributes:
        number: of the renewal, from 1.
    """

    number: int
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> bytes:
        """Return SHA-256 of the certificate."""
        return self.certificate.fingerprint(hashes.SHA256())


def current(home: Path) -> LocalSigner | None:
    """Return the certificate that signs; None where none was made yet.

    Raises:
        Modified: the file is no certificate.
    """
    known = all_of(home)
    return known[-1] if known else None


def all_of(home: Path) -> list[LocalSigner]:
    """Return every certificate this vault ever made, oldest first; raises like ``current``."""
    folder = _folder(home)
    if not disk.exists(folder):
        return []
    numbers = sorted(int(name[:4]) for name in disk.names(folder) if name.endswith(".pem") and name[:4].isdigit())
    return [LocalSigner(number, _read(_place(home, number, "pem"))) for number in numbers]


def ensure(home: Path, provider: KeyProvider, tenant: str, tenant_key: KeyRef, now: datetime) -> LocalSigner:
    """Return the certificate that signs, making one where there is none; raises like ``current`` and ``keep``."""
    known = current(home)
    if known is not None:
        return known
    key = new_key()
    return keep(home, provider, tenant_key, key, certify(key, tenant, now))


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key."""
    return ec.generate_private_key(ec.SECP256R1())


def certify(key: ec.EllipticCurvePrivateKey, tenant: str, now: datetime) -> x509.Certificate:
    """Return the certificate of a new key, valid from ``now`` (aware; its second began) for ten years."""
    now = now.replace(microsecond=0)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Reasonvault reports {tenant}")])
    usage = dict.fromkeys(
        (
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, content_commitment=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def keep(
    home: Path,
    provider: KeyProvider,
    tenant_key: KeyRef,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
) -> LocalSigner:
    """Write a key and its certificate as the next number, then remove the key before.

    Raises:
        KeyUnavailable: the key provider is out of reach, or a file cannot be written; the signer is the one before.
    """
    before = current(home)
    number = 1 if before is None else before.number + 1
    scalar = key.private_numbers().private_value.to_bytes(_SCALAR, "big")
    wrapped = provider.wrap(tenant_key, scalar, _context(certificate))
    if not disk.exists(_folder(home)):
        disk.make_directory(_folder(home))
    disk.write_file(_place(home, number, "key"), wrapped)
    disk.write_file(_place(home, number, "pem"), certificate.public_bytes(serialization.Encoding.PEM))
    if before is not None:
        _place(home, before.number, "key").unlink(missing_ok=True)
    return LocalSigner(number, certificate)


def private_key(
    home: Path, provider: KeyProvider, tenant_key: KeyRef, signer: LocalSigner
) -> ec.EllipticCurvePrivateKey:
    """Unwrap the key of the certificate that signs.

    Raises:
        Modified: the file is not the one that belongs to this certificate and this vault.
        KeyUnavailable, KeyGone: it is missing, or the provider is out of reach.
    """
    raw, _mark = disk.read_file(_place(home, signer.number, "key"), _MOST_BYTES)
    scalar = provider.unwrap(tenant_key, raw, _context(signer.certificate))
    key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    if key.public_key() != signer.certificate.public_key():
        raise Modified(f"{_place(home, signer.number, 'key')} is not the key of its certificate")
    return key


def write_certificate(certificate: x509.Certificate, target: Path) -> None:
    """Write a certificate as PEM for somebody to take away; a file that is there is never overwritten."""
    if target.exists():
        raise UsageError(f"{target} exists: name another file")
    try:
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror}") from None


def _context(certificate: x509.Certificate) -> bytes:
    """What a wrapped key is for, and of which certificate: neither can be exchanged for another."""
    return _CONTEXT + hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def _read(path: Path) -> x509.Certificate:
    raw, _mark = disk.read_file(path, _MOST_BYTES)
    try:
        return x509.load_pem_x509_certificate(raw)
    except ValueError:
        raise Modified(f"{path} is no certificate: restore it from a backup of the home directory") from None


def _folder(home: Path) -> Path:
    return home / "signer"


def _place(home: Path, number: int, kind: str) -> Path:
    return _folder(home) / f"{number:04d}.{kind}"
