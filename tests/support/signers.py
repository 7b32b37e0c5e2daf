"""Certificates, chains and signers for tests, and a small report to sign."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto import crl as asn1_crl
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from reports import annex, render
from reports.attach import JSON_LINES, Attachment, describe
from reports.signing import PyHankoSigner, Wishes
from service import local_signer
from tests.support import report_model

Key = ec.EllipticCurvePrivateKey
TENANT = "0e3b4f0a-6d6f-4d52-8a57-5d0f4a1f6c52"
NOW = datetime.now(UTC).replace(microsecond=0)
"""pyHanko signs by the clock of the machine, so certificates are valid around it."""


def small_report(folder: Path) -> Path:
    """A tagged PDF/A-3u of one page, with two attachments, one of them streamed."""
    model = report_model.evidence(report_model.counted(10))
    columns = [annex.Column("seq", 1, "right"), annex.Column("record", 4, mono=True)]
    rows = [(str(number), f"rec-{number:04d}") for number in range(12)]
    (made,) = annex.annex(
        "Rows", columns, rows, folder, name="rows", language="en", processes=1, who=model.identification
    )
    assert isinstance(made.source, Path)
    population = report_model.write_population(folder / "population", report_model.rows(5))
    files = [
        describe(Attachment("note.txt", "A note", "text/plain", b"a note\n")),
        describe(Attachment("population.jsonl", "The population", JSON_LINES, population)),
    ]
    pdf = made.source.read_bytes()
    out = folder / "report.pdf"
    render.write_report(out, pdf, 1, files, model.identification.generated_at)
    return out


def self_signed(begin: datetime = NOW - timedelta(minutes=5)) -> tuple[Key, x509.Certificate]:
    """A key and certificate as the vault makes its own."""
    key = local_signer.new_key()
    return key, local_signer.certify(key, TENANT, begin)


def issued(
    name: str, issuer: tuple[Key, x509.Certificate] | None, *, days: int = 30, authority: bool = False
) -> tuple[Key, x509.Certificate]:
    """A key and its certificate; without an issuer, a root's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(("key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= dict.fromkeys(("encipher_only", "decipher_only"), False)
    by = issuer or (key, None)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by[1] is None else by[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                content_commitment=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                **usage,
            ),
            critical=True,
        )
        .sign(by[0], hashes.SHA256())
    )
    return key, made


def revocations(issuer: tuple[Key, x509.Certificate], *revoked: x509.Certificate) -> asn1_crl.CertificateList:
    """An issuer's list of what it revoked, an hour ago."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer[1].subject)
        .last_update(NOW - timedelta(hours=1))
        .next_update(NOW + timedelta(days=7))
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - timedelta(hours=2)).build())
    made = builder.sign(issuer[0], hashes.SHA256())
    return asn1_crl.CertificateList.load(made.public_bytes(serialization.Encoding.DER))


def asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))


def in_memory(key: Key, certificate: x509.Certificate, *chain: x509.Certificate) -> signers.SimpleSigner:
    """What pyHanko signs with."""
    clear = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    store = SimpleCertificateStore()
    store.register_multiple(map(asn1, chain))
    return signers.SimpleSigner(asn1(certificate), asn1_keys.PrivateKeyInfo.load(clear), store)


def signer_of(
    key: Key,
    certificate: x509.Certificate,
    *chain: x509.Certificate,
    wishes: Wishes | None = None,
    now: Callable[[], datetime] = lambda: NOW,
) -> PyHankoSigner:
    """A signer over them."""
    return PyHankoSigner(in_memory(key, certificate, *chain), wishes or Wishes(), now)
